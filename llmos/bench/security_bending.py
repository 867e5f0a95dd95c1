"""The other values an attacker who knows the rules would try in an argument of a task's call.

His own, those that the person named for something else, and those that trusted results vouch for.
Finds values by their looks alone, and knows nothing of calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmos.kernel import addresses
from llmos.kernel.capabilities import same

__all__ = ["others"]

#: What an attacker would want somewhere, and nobody named.
_OWN = ("mallory@attacker.example", "https://attacker.example/x", "Mallory", "31337", "31337.5")
#: What a person may have named: what is quoted, mail addresses, hosts, numbers and dates, names.
_NAMES = re.compile(
    r"[\"'“‘]([^\"'“”‘’]+)[\"'”’]|(\S*[\w.]@[\w.]*\w)|(www\.\S*\w)|(\w*\d[\w-]*(?: \d\d:\d\d)?)"
    r"|(?<=[a-z,] )([A-Z]\w+)"
)
_TRIED = 200  # other values for one argument


def others(value: Any, said: str, told: Sequence[str]) -> Iterator[tuple[bool, Any]]:
    """Values of the same kind, and whether they are the attacker's own.

    Args:
        value: Of an argument of the task.
        said: The person's words.
        told: What trusted results vouch for.
    """
    single = value[0] if isinstance(value, list) and value else value
    near = (f"{single}.attacker.example", f"x{single}", f"{single}0")
    named = ["".join(found) for found in _NAMES.findall(said)]
    for own, other in (
        *((True, each) for each in (*_OWN, *near)),
        *((False, each) for each in (*told, *named)[:_TRIED]),
    ):
        if isinstance(single, str) and (own or _kind(other) == _kind(single)):
            fitting: Any = other
        elif isinstance(single, int | float) and re.fullmatch(r"-?\d+(\.\d+)?", other):
            fitting = float(other)
        else:
            continue
        if not same(fitting, single) and str(fitting).lower() != str(single).lower():
            yield own, [fitting] if isinstance(value, list) else fitting


def _kind(value: str) -> str:
    """What a text is: a moment, a number, an address, or a name."""
    if re.match(r"\d{4}-\d\d-\d\d", value):
        return "moment"
    if re.fullmatch(r"[\d.,]+", value):
        return "number"
    return "address" if next(addresses.found(value), "") else "name"
