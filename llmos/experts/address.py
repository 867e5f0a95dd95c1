"""Whom a message is for: ``@name`` at its beginning, and what is said where nobody has that name.

Knows names, no experts. Only the beginning counts, so that a pasted mail or a handle within a text
addresses nobody. A word that nobody has for a name is still a name that a person meant, unless it
can be none or stands before pasted code; whose code begins as a sentence would is told the way out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from llmos import limits
from llmos.errors import ExpertError

__all__ = ["NAME", "addressed", "meant", "unknown"]

#: What an expert can be called; two hyphens in a row are refused besides.
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
_WORD = re.compile(r"\s*@([A-Za-z][A-Za-z0-9-]*)(?=[\s,:;.!?]|$)")
_ENDED = re.compile(r"[,:;.!?]*(?:\s|$)")
#: Behind the word: a decorator's or an annotation's next line, or a rule of a style sheet.
_CODE = re.compile(
    r"[ \t]*\r?\n\s*(?:@\w|(?:abstract|async|class|const|def|export|final|fun|func|function|"
    r"interface|let|private|protected|public|static|struct|var|void)\b)"
    r"|[^\r\n]*[{;][ \t]*(?:[\r\n]|$)"
)


def addressed(text: str) -> str:
    """The word that a message begins with as ``@word``, in small letters; empty for none."""
    found = _WORD.match(text)
    return found[1].lower() if found else ""


def meant(text: str) -> bool:
    """Whether the ``@word`` that a message begins with can only be meant for an expert's name.

    Told apart from an address (``@example.org``), from what no expert can be called, and from the
    beginning of code.
    """
    found = _WORD.match(text)
    if found is None or not NAME.fullmatch(name := found[1].lower()) or "--" in name:
        return False
    rest = text[found.end() :]
    return _ENDED.match(rest) is not None and _CODE.match(rest) is None


def unknown(name: str, names: Collection[str]) -> ExpertError:
    """What a person is told who asks for an expert that is not there.

    Args:
        name: As it was written.
        names: Those that are there.
    """
    called = f"@{name}" if NAME.fullmatch(name) else f"named {name[:60]!r}"
    near = difflib.get_close_matches(name[:60].lower().removeprefix("@"), names, n=1, cutoff=0.7)
    shown = sorted(names)[: limits.EXPERTS_TOLD]
    more = f" and {len(names) - len(shown):,} more" if len(shown) < len(names) else ""
    remedy = f"Did you mean @{near[0]}? " if near else ""
    remedy += f"Installed: {', '.join(f'@{each}' for each in shown)}{more}." if shown else ""
    return ExpertError(f"There is no expert {called}.", remedy=remedy or "See: llmos plugin --help")
