"""What stands in a file: text, tables, PDF, Word, spreadsheets and HTML as numbered sections.

``reader`` knows formats and hands over sections as they fill up; bytes that need a decoder go into
a jail (``decoder``). Who reads which file, and what becomes of the text, is up to the caller.
"""

from __future__ import annotations

__all__: list[str] = []
