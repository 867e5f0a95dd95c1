"""Worked examples as a card shows them: about the person's own files.

A small model copies what an example names. Where a call's declaration says that an argument is all
the values of a kind in the person's words (``listed``), an example with as many of them is shown
with theirs in place of its own, and comes before others. Knows nothing of meaning: who chooses the
examples puts them in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from llmos.kernel.syscalls import Example, Syscall
from llmos.kernel.wordlists import STOP

__all__ = ["adapted", "copied_names", "leaked", "words", "wrong_copy"]


def adapted(
    call: Syscall, worked: Sequence[Example], way: Mapping[str, Any], count: int
) -> list[Example]:
    """The last ``count`` examples, with the person's values in place of their own.

    Args:
        call: The row they belong to.
        worked: Its examples, the nearest in meaning last.
        way: Arguments that are known from the person's words.
        count: At most so many.
    """
    shown = list(worked)
    for name in call.listed:
        values = [str(value) for value in way.get(name) or ()]
        alike = [each for each in shown if len(each.arguments.get(name) or ()) == len(values)]
        shown = [_with(each, name, values) for each in alike] or shown
    return shown[-count:]


def wrong_copy(
    arguments: Mapping[str, Any],
    call: Syscall,
    worked: Sequence[Example],
    way: Mapping[str, Any],
    clause: str,
) -> bool:
    """Whether a call is an example's, word for word, and that one was about something else.

    What the example's question has in common with its call is what it is about: "the average".

    Args:
        arguments: As a model wrote them.
        call: The row they were written for.
        worked: Its examples, the nearest in meaning last.
        way: As for ``adapted``.
        clause: The person's words.
    """
    said = words(clause)
    alike = [
        each
        for each in adapted(call, worked, way, len(worked))
        if dict(each.arguments) == dict(arguments)
    ]
    about = (words(each.question) & words(_written(each.arguments)) for each in alike)
    return bool(alike) and not any(each <= said for each in about)


def leaked(arguments: Mapping[str, Any], call: Syscall, clause: str) -> bool:
    """Whether what is to be changed holds words of an example that the person did not say.

    Two in a row, one of them no word that any text may have: "buy milk" became "buy milk and
    bread", since the example is about "milk and bread". Of code that is no mistake.

    Args:
        arguments: As a model wrote them.
        call: The row they were written for.
        clause: The person's words.
    """
    if call.effect not in ("write", "memory"):
        return False
    said = words(clause)
    for name, value in arguments.items():
        shown = {p for each in call.worked for p in _pairs(each.arguments.get(name))}
        if any(_telling(pair, said) for pair in shown & _pairs(value)):
            return True
    return False


def _pairs(value: Any) -> set[tuple[str, str]]:
    """The words of a text, two by two."""
    found = re.findall(r"\w+", value.lower()) if isinstance(value, str) else []
    return set(pairwise(found))


def _telling(pair: tuple[str, str], said: set[str]) -> bool:
    return any(word not in said and word not in STOP for word in pair)


def words(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(re.findall(r"\w+", text.lower()))


def _written(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), ensure_ascii=False).replace("\\n", " ")


def copied_names(written: str, call: Syscall, clause: str) -> bool:
    """Whether a composed text quotes a name that only an example has in its list of values.

    Args:
        written: What a model composed, such as code.
        call: The row it was written for.
        clause: The person's words.
    """
    own = {
        each
        for name in call.listed
        for worked in call.worked
        for value in worked.arguments.get(name) or ()
        for each in _names(str(value))
    }
    quoted = {each for each in own if f"'{each}'" in written or f'"{each}"' in written}
    return any(each not in clause for each in quoted)


def _with(worked: Example, name: str, values: Sequence[str]) -> Example:
    """An example about other values. Each stands for one of its own, also by its bare name."""
    others = dict[str, str]()
    for own, value in zip(map(str, worked.arguments.get(name) or ()), values, strict=True):
        others |= dict(zip(_names(own), _names(value), strict=True))
    arguments = {n: _replaced(v, others) for n, v in worked.arguments.items()}
    return replace(worked, question=_replaced(worked.question, others), arguments=arguments)


def _names(value: str) -> tuple[str, str]:
    """A value, and its bare name: what a file is called where it was put."""
    return value, PurePosixPath(value).name


def _replaced(value: Any, others: Mapping[str, str]) -> Any:
    """``value`` with each of the names, the longest first, replaced wherever it stands."""
    if isinstance(value, list | tuple):
        return [_replaced(each, others) for each in value]
    if not isinstance(value, str) or not others:
        return value
    longest = sorted(others, key=len, reverse=True)
    own = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, longest))})(?!\w)")
    return own.sub(lambda found: others[found[0]], value)
