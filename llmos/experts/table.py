"""A table of ``plugin.toml``, read key by key; what is left over is a mistake.

Every text is short and on one line. Knows types and lengths, not what a key means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos import limits
from llmos.errors import ExpertError

__all__ = ["FILE", "Table"]

FILE = "plugin.toml"


class Table:
    """A TOML table. Every method takes its key out, and raises ``ExpertError`` where it is wrong.

    Args:
        where: What a sentence calls it.
        table: As ``tomllib`` gave it.
    """

    def __init__(self, where: str, table: Any) -> None:
        if not isinstance(table, Mapping):
            raise ExpertError(f"{where} of {FILE} must be a table.")
        self.where, self.left = where, dict(table)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        value = self.left.pop(key, default)
        if value is None:
            raise ExpertError(f"{FILE} lacks “{key}”.")
        return self._short(key, value, empty=default is not None)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where it is not there."""
        value = self.left.pop(key, [])
        if not isinstance(value, list) or len(value) > limits.EXPERT_ITEMS:
            raise ExpertError(
                f"“{key}” of {FILE} must be a list of at most {limits.EXPERT_ITEMS} texts."
            )
        return tuple(self._short(key, item) for item in value)

    def flag(self, key: str) -> bool:
        """``true`` or ``false``; false where it is not there."""
        value = self.left.pop(key, False)
        if not isinstance(value, bool):
            raise ExpertError(f"“{key}” of {self.where} must be true or false.")
        return value

    def level(self, key: str) -> str:
        """``read``, ``write``, or empty where it is not there."""
        value = self.text(key, "")
        if value not in ("", "read", "write"):
            raise ExpertError(f"“{key}” of {self.where} must be “read” or “write”.")
        return value

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            shown = str(next(iter(self.left)))[:60]
            raise ExpertError(f"{self.where} of {FILE} has an unknown key {shown!r}.")

    def _short(self, key: str, value: Any, *, empty: bool = False) -> str:
        if not isinstance(value, str) or len(value) > limits.EXPERT_TEXT_CHARS:
            raise ExpertError(
                f"“{key}” of {FILE} must be text of at most {limits.EXPERT_TEXT_CHARS} characters."
            )
        if not empty and not value.strip():
            raise ExpertError(f"“{key}” of {FILE} is empty.")
        return " ".join(value.split())
