"""A question on a plain terminal: a real one, a pseudo-terminal with somebody at its other end."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from llmos.consent import Consent, shown, terminal
from llmos.errors import KernelUnreachable, NoSuchQuestion
from llmos.events import CallAnswered, CallAsked, ToolCall

CALL = ToolCall("c1", "files.write", {"path": "/x"})


def asked(call: ToolCall = CALL, always: str = "files.write with path = /x") -> CallAsked:
    return CallAsked(
        pid=1,
        turn=1,
        call=call,
        title="files.write wants to change something on this machine.",
        reasons=("Your words did not ask for this call.",),
        arguments=(("path", "/x", "you said so"), ("text", "a\nb\x1b[2J", "the model wrote it")),
        preview="\n".join(f"+line {n}" for n in range(60)),
        always=always,
    )


class Answers:
    """A client that keeps what was answered."""

    def __init__(self) -> None:
        self.given: list[tuple[int, str, str]] = []
        self.came = asyncio.Event()
        self.error: Exception | None = None

    async def answer(self, pid: int, call_id: str, answer: str) -> None:
        self.given.append((pid, call_id, answer))
        self.came.set()
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def asking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, Answers, Consent]]:
    person, here = pty.openpty()
    with os.fdopen(here, "r", encoding="utf-8") as stdin, os.fdopen(os.dup(here), "w") as stderr:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", stderr)
        answers = Answers()
        at = terminal()
        assert at is not None
        consent = Consent(answers, at)  # type: ignore[arg-type]
        try:
            yield person, answers, consent
        finally:
            await consent.close()
            os.close(person)


async def until(person: int, text: str) -> str:
    """What is written to the terminal, up to ``text``."""
    read = ""
    async with asyncio.timeout(20):
        while text not in read:
            read += (await asyncio.to_thread(os.read, person, 4096)).decode()
    return read


def test_what_is_shown_is_literal_and_harmless():
    text = "\n".join(shown(asked()))
    assert "  path (you said so):\n    │ /x\n" in text
    assert "  text (the model wrote it):\n    │ a\n    │ b" in text
    assert "\x1b" not in text
    assert "… and 20 more rows of it" in text
    assert "Always would mean:\n    │ files.write with path = /x" in text


@pytest.mark.parametrize(
    "value",
    [
        "~/notes.txt" + " " * 3000 + "; and the rest",
        "~/notes.txt" + "\n" * 3000 + "; and the rest",
        "~/notes.txt" + "\u3000\u200d" * 2000 + "; and the rest",
        "~/notes.txt" + "\t\u2800" * 2000 + "; and the rest",
    ],
)
def test_white_space_pushes_nothing_out_of_view(value: str):
    rows = list(shown(replace(asked(), arguments=(("path", value, "you said so"),), preview="")))
    assert len(rows) < 15 and all(len(row) <= 80 for row in rows)
    assert any("; and the rest" in row for row in rows)


@pytest.mark.parametrize("columns", ["60", "20"])
def test_no_value_makes_a_row_that_reads_as_a_sentence_of_llmos(
    monkeypatch: pytest.MonkeyPatch, columns: str
):
    monkeypatch.setenv("COLUMNS", columns)
    faked = "  to (you said so):\n    │ me@example.org"
    for value in (f"x\n{faked}", f"{'x' * 500}{faked}", f"{'界' * 500}{faked}", f"x\r{faked}"):
        question = replace(asked(), arguments=(("text", value, "a page"),), preview=value)
        rows = list(shown(replace(question, always=f"mail.send with text = {value}")))
        assert [row for row in rows if "you said so" in row and not row.startswith("    │ ")] == []
        question = replace(asked(), title=value, reasons=(value,), arguments=(("a", "b", value),))
        assert not any(row.startswith("  to (") for row in shown(replace(question, preview="")))


def test_what_is_asked_is_said_again_beside_the_answers_where_it_is_far_above():
    long = (("text", "line\n" * 400, "the model wrote it"),)
    *_, last = shown(replace(asked(), arguments=long))
    assert last == "files.write wants to change something on this machine. All of it stands above."
    *_, last = shown(replace(asked(), arguments=(("path", "/x", "you said so"),), preview=""))
    assert "above" not in last


async def test_an_answer_that_does_not_arrive_is_told_and_one_that_came_too_late_is_not(
    monkeypatch: pytest.MonkeyPatch,
):
    async with asking(monkeypatch) as (person, answers, consent):
        for error in (NoSuchQuestion("It was answered."), KernelUnreachable("Nobody is there.")):
            answers.error = error
            consent.take(asked())
            await until(person, "[N]o: ")
            os.write(person, b"y\n")
            async with asyncio.timeout(20):
                await answers.came.wait()
            answers.came.clear()
        shown = await until(person, "Nobody is there.")
        assert "It was answered." not in shown and "Your answer did not arrive" in shown


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("y", "once"), ("yes", "once"), ("c", "conversation"), ("a", "always"), ("", "no")],
)
async def test_a_person_answers_with_a_line(
    monkeypatch: pytest.MonkeyPatch, typed: str, answer: str
):
    async with asking(monkeypatch) as (person, answers, consent):
        consent.take(asked())
        await until(person, "[N]o: ")
        os.write(person, f"{typed}\n".encode())
        async with asyncio.timeout(20):
            await answers.came.wait()
        assert answers.given == [(1, "c1", answer)]


async def test_what_is_no_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    async with asking(monkeypatch) as (person, answers, consent):
        consent.take(asked(always=""))
        await until(person, "[N]o: ")
        os.write(person, b"always\n")
        assert "none of the answers" in await until(person, "[N]o: ")
        os.write(person, b"a\n")
        assert "none of the answers" in await until(person, "[N]o: ")
        os.write(person, b"n\n")
        async with asyncio.timeout(20):
            await answers.came.wait()
        assert answers.given == [(1, "c1", "no")]


async def test_a_line_typed_before_the_question_answers_nothing(monkeypatch: pytest.MonkeyPatch):
    async with asking(monkeypatch) as (person, answers, consent):
        os.write(person, b"y\n")
        consent.take(asked())
        await until(person, "[N]o: ")
        os.write(person, b"n\n")
        async with asyncio.timeout(20):
            await answers.came.wait()
        assert answers.given == [(1, "c1", "no")]


async def test_a_question_that_is_answered_elsewhere_is_dropped_and_the_next_one_asked(
    monkeypatch: pytest.MonkeyPatch,
):
    async with asking(monkeypatch) as (person, answers, consent):
        consent.take(asked())
        consent.take(asked(ToolCall("c2", "mail.send", {})))
        await until(person, "[N]o: ")
        consent.take(CallAnswered(pid=1, turn=1, call_id="c1", answer="once"))
        await until(person, "[N]o: ")
        os.write(person, b"y\n")
        async with asyncio.timeout(20):
            await answers.came.wait()
        assert answers.given == [(1, "c2", "once")]


def test_nobody_is_there_without_a_terminal(monkeypatch: pytest.MonkeyPatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, stdin)
        assert terminal() is None
    os.close(writing)
