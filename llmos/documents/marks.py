"""The marks that some texts begin with, which say in what encoding they are."""

from __future__ import annotations

import codecs

__all__ = ["marked"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def marked(raw: bytes) -> tuple[bytes, str]:
    """The mark that bytes begin with, and the encoding of what stands behind it.

    Args:
        raw: A text, or at least the first four bytes of it.

    Returns:
        No mark and UTF-8 where there is none.
    """
    return next((each for each in _MARKS if raw.startswith(each[0])), (b"", "utf-8"))
