"""Where a text would lead: links, hosts, mail addresses and accounts that stand in it.

What a message says may be informed by what was read, but where it leads its reader may not: a link,
an account or an address within it is judged like an argument of its own. Letters are first brought
to their compatible forms and invisible ones taken out, so that ``ｅｖｉｌ．com`` is found as
``evil.com``. What only a person could make out ("evil dot com", a telephone number) is not found.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["INVISIBLE", "found", "normal"]

#: Marks that are not seen, or that change what is seen: format characters and variation selectors.
INVISIBLE = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}\U000e0000-\U000e01ef]")
_TOP = r"(?:xn--[\w-]+|[^\W\d_]{2,})"
_REST = r"[^\s<>\"'`|]*+"
_LOCAL = r"[\w.!#$%&'’*+/=?^{}~-]"
#: Tried one after the other, each on the whole text, so that none hides what another would find.
#: Each begins only where a run of its letters begins: whatever the text, the time is linear.
_FOUND = tuple(
    re.compile(each, re.IGNORECASE)
    for each in (
        "|".join(
            (
                # Browsers take any number of slashes.
                rf"(?<![a-z0-9+.-])[a-z0-9+.-]++:/+{_REST}",
                rf"\b(?:mailto|tel|sms|data|javascript|file):{_REST}",
                rf"(?<!{_LOCAL}){_LOCAL}++@[\w-]++(?:\.[\w-]++)*+",
                rf"(?<![\w.-])\.*(?:[\w-]++\.)+{_TOP}\b(?:[:/?#\\]{_REST})?",
                rf"\b\d{{1,3}}(?:\.\d{{1,3}}){{3}}\b(?:[:/?#\\]{_REST})?",
            )
        ),
        r"\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}\b",  # an IBAN, in groups or not
        r"\b(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{24,}\b",  # a key, a wallet
    )
)
_ACCOUNT = re.compile(r"[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}", re.IGNORECASE)
_CLOSING = ".,;:!?)]}>*_~"
#: Endings of files that no host has. Others, such as ``md`` and ``zip``, hosts have, too.
_FILE = re.compile(
    r"[^@:/\\]*\.(?:csv|docx?|epub|gguf|gif|html?|jpe?g|json|log|odt|pdf|png|pptx?|svg|tex|toml|txt"
    r"|wav|webp|xlsx?|xml|ya?ml)",
    re.IGNORECASE,
)


def found(text: str) -> Iterator[str]:
    """Every address in a text, as it is compared (``normal``)."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    plain = re.sub(r"[。｡](?=[a-z0-9])", ".", plain, flags=re.IGNORECASE)
    for match in itertools.chain.from_iterable(each.finditer(plain) for each in _FOUND):
        address = match[0].rstrip(_CLOSING).lstrip(".'’")
        if not address or _FILE.fullmatch(address):
            continue
        if _ACCOUNT.fullmatch(address) and sum(map(str.isdigit, address)) < 6:
            continue  # words that happen to follow each other
        yield normal(address)


@lru_cache(maxsize=4096)
def normal(address: str) -> str:
    """An address as it is compared.

    A host has no case, and is spoken of without ``https://``; the rest of an address has case. An
    account has neither case nor spaces.
    """
    if _ACCOUNT.fullmatch(address):
        return re.sub(r"[ -]", "", address).upper()
    head, mark, rest = re.fullmatch(
        r"((?:[a-z][a-z0-9+.-]*:/+)?[^/?#\\]*)([/?#\\]?)(.*)", address, re.IGNORECASE | re.DOTALL
    ).groups()  # type: ignore[union-attr]
    head = head.lower().removeprefix("https://").removeprefix("mailto:")
    return head if mark == "/" and not rest else f"{head}{mark}{rest}"
