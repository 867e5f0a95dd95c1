"""How well the starter model calls its tools: questions that need a call, and turns that do not.

The questions and what is right about them are data (``data/calls.json``); none of them is an
example of a tool. Dates are judged as of a fixed moment, which the kernel's clock shows
(``LLMOS_CLOCK``). A question counts as right when the right calls were made, no other, and every
expected value stands in what the person reads.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from llmos.bench.harness import Bench, say
from llmos.bench.processes import PrivateKernel
from llmos.bench.turns import Answer, turn, warm_up
from llmos.client import Client
from llmos.errors import KernelError
from llmos.events import ToolCall
from llmos.kernel.kernel import Kernel

__all__ = ["Item", "items", "measure", "right", "valid"]

KEYS = ("call_valid_rate", "call_right_rate", "needless_call_rate")
REPLY_TOKENS = 160
AT_ONCE = 4
_WRONG_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Item:
    """One turn of a person.

    Args:
        text: What they say.
        kind: ``arithmetic``, ``clock``, ``date``, ``two`` or ``chat``.
        expect: For each call: the tools that are right, and what the answer contains, each of
            it in one of several ways (``50 years|50 full years``).
    """

    text: str
    kind: str
    expect: tuple[tuple[frozenset[str], tuple[str, ...]], ...]


def items() -> tuple[str, list[Item]]:
    """The moment the clock shows, and the turns."""
    data = json.loads(files("llmos.bench").joinpath("data/calls.json").read_text("utf-8"))
    return data["now"], [
        Item(
            row["text"],
            row["kind"],
            tuple(
                (frozenset(one["tool"].split("|")), tuple(one["answer_contains"]))
                for one in row["expect"]
            ),
        )
        for row in data["items"]
    ]


async def measure(bench: Bench) -> None:
    """The group's figures."""
    if not bench.wants(*KEYS):
        return
    now, turns = items()
    schemas = _schemas()
    environ = {"LLMOS_CLOCK": now, "TZ": "UTC", "LLMOS_AGENT_REPLY_TOKENS": str(REPLY_TOKENS)}
    async with PrivateKernel(bench.home, bench.model, environ) as kernel:
        await warm_up(kernel.client)
        answers = await _ask_all(kernel.client, turns)
    asked = [(i, a) for i, a in zip(turns, answers, strict=True) if i.expect]
    chats = [(i, a) for i, a in zip(turns, answers, strict=True) if not i.expect]
    calls = [call for answer in answers for call in answer.calls]
    wrong = [(item, answer) for item, answer in asked if not right(item, answer)]
    needless = [(item, answer) for item, answer in chats if answer.calls]
    bench.samples["calls"] = {
        "right_by_kind": _by_kind(asked),
        "calls": len(calls),
        "wrong": [_shown(*each) for each in wrong[:_WRONG_SHOWN]],
        "needless": [_shown(*each) for each in needless[:_WRONG_SHOWN]],
    }
    told = {"questions": len(asked), "chat_turns": len(chats), "now": now}
    if importlib.util.find_spec("jsonschema") is None:
        bench.left_out["call_valid_rate"] = "The package jsonschema is not installed."
    elif not calls:
        raise KernelError("No question led to a call.")
    else:
        good = sum(valid(call, schemas) for call in calls)
        bench.found("call_valid_rate", good / len(calls), calls=len(calls))
    bench.found("call_right_rate", 1 - len(wrong) / len(asked), **told)
    if broken := [answer.error for _, answer in chats if answer.reason == "error"]:
        # A turn that broke made no call, which is no merit.
        raise KernelError(f"{len(broken)} chat turns failed: {broken[0]}")
    bench.found("needless_call_rate", len(needless) / len(chats), **told)


# --- asking -----------------------------------------------------------------------------------


async def _ask_all(client: Client, turns: Sequence[Item]) -> list[Answer]:
    """Every turn in a fresh process, a few at once."""
    gate, done = asyncio.Semaphore(AT_ONCE), 0

    async def one(item: Item) -> Answer:
        nonlocal done
        async with gate:
            answer = await turn(client, item.text)
        done += 1
        if done % 25 == 0:
            say(f"  {done} of {len(turns)} turns")
        return answer

    return await asyncio.gather(*(one(item) for item in turns))


# --- judging ----------------------------------------------------------------------------------


def right(item: Item, answer: Answer) -> bool:
    """Whether the right calls were made, no other kind of call, and the answer says it all.

    A call that failed and was written anew counts once.
    """
    names = [call.name for call in answer.calls]
    wanted = [tools for tools, _ in item.expect]
    if any(not any(name in tools for tools in wanted) for name in names):
        return False
    if not _covers(wanted, names):
        return False
    values = [value for _, values in item.expect for value in values]
    return all(any(_says(answer.text, way) for way in value.split("|")) for value in values)


def _covers(wanted: Sequence[frozenset[str]], names: Iterable[str]) -> bool:
    """Whether each wanted call can be given one of ``names`` of its own."""
    if not wanted:
        return True
    left = list(names)
    for at, name in enumerate(left):
        if name in wanted[0] and _covers(wanted[1:], left[:at] + left[at + 1 :]):
            return True
    return False


def _says(text: str, value: str) -> bool:
    """Whether ``value`` stands in ``text`` and is not a part of another number or word."""
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text)  # 16,050 is 16050
    pattern = rf"(?<![\w.]){re.escape(value)}(?!\d|[.,:]\d)"
    return re.search(pattern, plain, re.IGNORECASE) is not None


def valid(call: ToolCall, schemas: Mapping[str, Any]) -> bool:
    """Whether a call names a row of the table and its arguments fit the row's schema."""
    import jsonschema

    if call.name not in schemas:
        return False
    checker = jsonschema.Draft202012Validator(schemas[call.name])
    return bool(checker.is_valid(call.arguments))


def _schemas() -> dict[str, Any]:
    """The schema of every call, as the kernel's table has it."""
    from llmos.boot import syscall_table

    def nobody() -> Kernel:
        raise AssertionError("no call is made here")

    return {row.name: row.schema for row in syscall_table(nobody)[0]}


def _by_kind(asked: Iterable[tuple[Item, Answer]]) -> dict[str, str]:
    total: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for item, answer in asked:
        total[item.kind] += 1
        good[item.kind] += right(item, answer)
    return {kind: f"{good[kind]}/{total[kind]}" for kind in total}


def _shown(item: Item, answer: Answer) -> dict[str, Any]:
    return {
        "text": item.text,
        "calls": [[call.name, call.arguments] for call in answer.calls],
        "answer": answer.text[:200],
        "reason": answer.error or answer.reason,
    }
