from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmos import limits
from llmos.errors import CallFailed, KernelError
from llmos.kernel.directory import OPEN, Directory, opened, opening
from llmos.kernel.syscalls import Example, Invocation, Outcome, Syscall, SyscallTable
from tests.kernel.kernels import call, kernel_on, said, turn

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "What it is about, at length."}},
    "required": ["text"],
    "additionalProperties": False,
}


async def answer(_made: Invocation, arguments: Mapping[str, Any]) -> Outcome:
    return Outcome(f"Did {arguments['text']}.")


def rows(tools: int, calls: int = 4) -> list[Syscall]:
    table: list[SyscallTable] = []
    many = [
        Syscall(
            name=f"tool{tool}.call{number}",
            description="Does one of the many things that a tool of this kind may be asked for.",
            schema=SCHEMA,
            effect="pure",
            run=answer,
            worked=(Example("Do it?", {"text": "it"}, "Did it."),),
        )
        for tool in range(tools)
        for number in range(calls)
    ]
    many.append(opening(lambda: table[0]))
    table.append(SyscallTable(many))
    return many


def words(text: str) -> int:
    """As a tokenizer might count: a token for every four bytes."""
    return len(text) // 4 + 1


def test_few_calls_stand_there_whole():
    directory = Directory(rows(3), words)
    assert directory.whole
    names = [schema["function"]["name"] for schema in directory.schemas()]
    assert len(names) == 12
    assert OPEN not in names
    assert len(directory.callable([])) == 12


def test_many_calls_are_a_directory_that_stays_small():
    directory = Directory(rows(50), words)
    [schema] = directory.schemas()
    listed = schema["function"]["description"]
    assert words(json.dumps(schema)) < limits.DIRECTORY_TOKENS + 300
    assert all(f"tool{n}: " in listed for n in range(50))
    assert "call3" in listed
    assert [row.name for row in directory.callable([])] == [OPEN]


def test_only_what_was_opened_can_be_called():
    directory = Directory(rows(50), words)
    names = [row.name for row in directory.callable(["tool7.call1", "no.such", "tool7.call1"])]
    assert names == [OPEN, "tool7.call1"]


async def test_a_manual_has_the_schema_and_an_example():
    table = rows(2)
    opener = table[-1]
    outcome = await opener.run(None, {"names": ["tool1.call0"]})  # type: ignore[arg-type]
    schema, question, example = outcome.text.split("\n")
    assert json.loads(schema)["parameters"] == SCHEMA
    assert question == "Example: Do it?"
    assert json.loads(example) == {"name": "tool1.call0", "arguments": {"text": "it"}}
    with pytest.raises(CallFailed, match=r"no call 'tool1\.x'.* There are: tool1\.call0"):
        await opener.run(None, {"names": ["tool1.x"]})  # type: ignore[arg-type]


def test_what_was_opened_is_read_from_the_calls():
    made = [(OPEN, {"names": ["a.b", "c.d"]}), ("a.b", {"names": ["e.f"]}), (OPEN, {})]
    assert opened(made) == ["a.b", "c.d"]


async def test_a_model_opens_a_call_and_makes_it(home: Path):
    rules = [
        ("Did that", "It is done."),
        ("Example: ", call("tool9.call2", text="that")),
        ("Go", call(OPEN, names=["tool9.call2"])),
    ]
    async with kernel_on(home, rules, calls=rows(50), window=60_000) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "stop", KernelError
        assert said(kernel, pid)[-1] == ("assistant", "It is done.")
