"""Questions to a person: who is asked, which answers there are, and which one holds."""

from __future__ import annotations

import asyncio

import pytest

from llmos import limits
from llmos.errors import KernelError, NoSuchQuestion
from llmos.events import CallAnswered, CallAsked, Event, ToolCall
from llmos.kernel.questions import Answered, Questions


def question(id: str = "c1", *, pid: int = 1, always: str = "") -> CallAsked:
    call = ToolCall(id, "mail.send", {})
    return CallAsked(pid=pid, turn=1, call=call, title="Send?", always=always)


class Desk:
    """Questions, and what is told of them."""

    def __init__(self, *heard: int) -> None:
        self.told: list[Event] = []
        self.questions = Questions(self._tell, lambda pid: pid in heard)
        self._asked = asyncio.Event()

    def _tell(self, event: Event) -> None:
        self.told.append(event)
        self._asked.set()

    async def asks(self, asked: CallAsked) -> asyncio.Task[Answered]:
        task = asyncio.create_task(self.questions.ask(asked))
        await self._asked.wait()
        self._asked.clear()
        return task

    def answers(self) -> list[str]:
        return [event.answer for event in self.told if isinstance(event, CallAnswered)]


async def test_where_nobody_can_answer_nobody_is_asked():
    desk = Desk(2)
    assert await desk.questions.ask(question(pid=1)) is Answered.NOBODY
    assert desk.told == []


@pytest.mark.parametrize("said", ["once", "no", "conversation", "always"])
async def test_an_answer_is_what_was_said_and_is_told(said: str):
    desk = Desk(1)
    task = await desk.asks(question(always="All mails."))
    desk.questions.answer(1, "c1", said)
    assert await task == said
    assert desk.answers() == [said]


@pytest.mark.parametrize("said", ["conversation", "always", "", "yes", "ONCE"])
async def test_what_is_no_answer_leaves_the_question_open(said: str):
    desk = Desk(1)
    task = await desk.asks(question())
    with pytest.raises(KernelError, match="must be one of no, once"):
        desk.questions.answer(1, "c1", said)
    assert list(desk.questions.waiting()) == [question()]
    desk.questions.answer(1, "c1", "no")
    assert await task is Answered.NO


async def test_the_first_answer_holds():
    desk = Desk(1)
    task = await desk.asks(question())
    desk.questions.answer(1, "c1", "no")
    with pytest.raises(NoSuchQuestion):
        desk.questions.answer(1, "c1", "once")
    assert await task is Answered.NO
    with pytest.raises(NoSuchQuestion):
        desk.questions.answer(1, "c1", "once")


async def test_an_answer_is_to_one_question_of_one_process():
    desk = Desk(1, 2)
    first, second = question("c1", pid=1), question("c1", pid=2)
    tasks = [await desk.asks(first), await desk.asks(second)]
    assert list(desk.questions.waiting()) == [first, second]
    assert list(desk.questions.waiting(2)) == [second]
    for pid, id in ((3, "c1"), (1, "c2")):
        with pytest.raises(NoSuchQuestion):
            desk.questions.answer(pid, id, "once")
    desk.questions.answer(2, "c1", "once")
    assert await tasks[1] is Answered.ONCE
    assert list(desk.questions.waiting()) == [first]
    desk.questions.answer(1, "c1", "no")
    assert await tasks[0] is Answered.NO


async def test_who_does_not_answer_in_time_allows_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "QUESTION_SECONDS", 0)
    desk = Desk(1)
    assert await desk.questions.ask(question()) is Answered.NOBODY
    assert desk.answers() == [""]
    assert list(desk.questions.waiting()) == []


async def test_a_question_whose_turn_is_over_waits_no_more_and_that_is_told():
    desk = Desk(1)
    task = await desk.asks(question())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(desk.questions.waiting()) == []
    assert desk.answers() == [""]
    with pytest.raises(NoSuchQuestion):
        desk.questions.answer(1, "c1", "once")
