"""Which scripts have no blanks between words, and which characters a reader sees as one."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["joins", "unspaced"]

#: Written without blanks between words: Thai, Lao, Burmese, Khmer, kana, bopomofo, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_LEADING_VOWELS = frozenset("เแโใไເແໂໃໄ")  # written before the consonant that they belong to


def unspaced(char: str) -> bool:
    """Whether ``char`` is of a script that puts no blanks between words."""
    return _UNSPACED.match(char) is not None


def joins(before: str, char: str) -> bool:
    """Whether a reader sees ``before`` and ``char`` as one. Near to UAX #29, and stricter."""
    return (
        unicodedata.category(char)[0] == "M"
        or char in "\u200c\u200d"
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin colours
        or before == "\u200d"
        or before in _LEADING_VOWELS
        or char in "ะาำ"
        or ("\u1160" <= char <= "\u11ff")  # the rest of a Korean syllable
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= char <= "\U0001f1ff")
    )
