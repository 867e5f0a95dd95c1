"""The fields of a JSON object from somewhere else, each of the type and size it should have.

Whatever is not so is told to whoever made the object, in words; what happens then is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from llmos import limits

__all__ = ["LATEST", "NO_SYSTEM", "UNTOLD", "Fields"]

E = TypeVar("E", bound=StrEnum)
_MOST = (1 << 62) - 1  # SQLite keeps twice as much: one can be added
#: Seconds from the epoch that every calendar here can tell, into either direction.
LATEST = 2.5e11
#: Said of a conversation that does not tell all its times.
UNTOLD = "Of some of it no time is told: the time before it stands there, or that of the file."
#: Said of one whose system prompt nobody vouches for.
NO_SYSTEM = "Its system prompt was left out: --mine takes it over."


@dataclass(frozen=True, slots=True)
class Fields:
    """One object.

    Args:
        data: The object.
        wrong: Raises an error with the sentence it is given.
    """

    data: dict[str, Any]
    wrong: Callable[[str], NoReturn]

    def text(self, name: str, most: int = limits.MESSAGE_CHARS) -> str:
        """A text of at most ``most`` characters."""
        value = self.data.get(name)
        if not isinstance(value, str):
            self.wrong(f"“{name}” is no text")
        if len(value) > most:
            self.wrong(f"“{name}” is longer than {most:,} characters")
        return value

    def integer(self, name: str) -> int:
        """A whole number from 0 on."""
        value = self.data.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            self.wrong(f"“{name}” is no whole number")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.data.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.wrong(f"“{name}” is no number")
        if not abs(value) < 1e15 or not math.isfinite(value):
            self.wrong(f"“{name}” is too large a number")
        return float(value)

    def moment(self, name: str) -> float:
        """A time, in seconds since the epoch."""
        value = self.number(name)
        if abs(value) > LATEST:
            self.wrong(f"“{name}” is no time of our calendar")
        return value

    def amount(self, name: str) -> float:
        """A number from 0 on."""
        value = self.number(name)
        if value < 0:
            self.wrong(f"“{name}” is less than nothing")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.data.get(name)
        if not isinstance(value, bool):
            self.wrong(f"“{name}” is neither true nor false")
        return value

    def choice(self, name: str, kinds: type[E]) -> E:
        """One of the values of ``kinds``."""
        try:
            return kinds(self.text(name, limits.TITLE_CHARS))
        except ValueError:
            self.wrong(f"“{name}” is none of {', '.join(kinds)}")

    def strings(self, name: str, most: int) -> tuple[str, ...]:
        """A list of at most ``most`` short texts."""
        value = self.data.get(name)
        if not isinstance(value, list) or len(value) > most:
            self.wrong(f"“{name}” is no list of at most {most:,} texts")
        if not all(
            isinstance(item, str) and len(item) <= limits.IMPORT_NAME_CHARS for item in value
        ):
            self.wrong(f"“{name}” holds something that is no short text")
        return tuple(value)

    def hexadecimal(self, name: str) -> bytes:
        """Bytes written as digits; none at all are fine."""
        try:
            return bytes.fromhex(self.text(name, limits.TITLE_CHARS))
        except ValueError:
            self.wrong(f"“{name}” is not hexadecimal")

    def inside(self, name: str) -> Fields:
        """An object within this one."""
        value = self.data.get(name)
        if not isinstance(value, dict):
            self.wrong(f"“{name}” is no object")
        return Fields(value, self.wrong)
