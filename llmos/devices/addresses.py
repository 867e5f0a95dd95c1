"""Addresses of the web and of mail, files and paths: what one is, and how it is read out.

Of a long address only the host is said: it is on the screen, and nobody remembers the rest.
"""

from __future__ import annotations

import re

from llmos.devices.lexicon import Lexicon

__all__ = ["read_address"]

_PATH_LENGTH = 40  # characters of a web address behind its host that are read out
_TOP = "com|org|net|edu|gov|io|dev|ai|app|info|eu|de|at|ch|uk|fr|es|it|nl|us|tv|me"
_ENDINGS = (
    "py|md|txt|json|toml|yaml|yml|csv|pdf|png|jpe?g|gif|svg|js|ts|html?|css|c|h|cpp|rs|go|sh|exe"
    "|zip|gz|tar|docx?|xlsx?|pptx?|odt|mp3|mp4|wav|ini|cfg|log|xml|sql|ipynb|gguf|onnx|java"
)
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,6}"

_MAIL = re.compile(rf"[\w.+-]{{1,64}}@(?:{_HOST})[A-Za-z]{{2,24}}(?![\w@])")
_WEB = re.compile(
    rf"(?:(?:https?|ftp)://(?:www\.)?|www\.)(?P<host>[^\s/?#<>\"，。、）]{{1,255}})"
    r"(?P<path>[/?#][^\s<>\"，。、）]{0,2000})?"
    rf"|(?P<bare>{_HOST}(?:{_TOP}))(?![\w-])(?P<barepath>/[^\s<>\"，。、）]{{0,2000}})?"
)
_FILE = re.compile(rf"[\w-]{{0,64}}(?:\.[\w-]{{1,32}}){{0,3}}\.(?:{_ENDINGS})(?!\w)")
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.+@-]{1,64}){1,16}[/\\]?")
_TRAILING = ".,;:!?)]}'\"*_"


def read_address(text: str, at: int, lexicon: Lexicon) -> tuple[int, list[str]] | None:
    """The address that begins at ``at``: where it ends, and the words for it; or None."""
    if found := _MAIL.match(text, at):
        return found.end(), _spelled(found[0], lexicon)
    if found := _WEB.match(text, at):
        whole = found[0].rstrip(_TRAILING)
        host = (found["host"] or found["bare"]).rstrip(_TRAILING)
        path = (found["path"] or found["barepath"] or "").rstrip(_TRAILING).rstrip("/")
        said = host if len(path) > _PATH_LENGTH or "?" in path else host + path
        words = _spelled(said, lexicon)
        return (at + len(whole), words) if words else None
    if found := _FILE.match(text, at):
        return found.end(), _spelled(found[0], lexicon)
    if found := _PATH.match(text, at):
        whole = found[0].rstrip(".")
        return at + len(whole), _spelled(whole, lexicon)
    return None


def _spelled(address: str, lexicon: Lexicon) -> list[str]:
    signs = {
        **{".": lexicon.dot, "/": lexicon.slash, "\\": lexicon.slash, "-": lexicon.dash},
        **{"_": lexicon.underscore, "@": lexicon.at, ":": lexicon.colon, "~": "", "+": "plus"},
    }
    parts = re.findall(r"[^\W_]+|[\W_]", address)
    return [word for part in parts if (word := signs.get(part, part if part.isalnum() else ""))]
