"""The guide and orders: what is forbidden is not planned, what may be no order is in doubt."""

from __future__ import annotations

import pytest

from llmos.boot import syscall_table
from llmos.events import Message, ToolCall
from llmos.kernel.guide import Guide
from llmos.memory.embed import CachedEmbedder
from llmos.memory.embed_onnx import MiniLM

ROWS = syscall_table(lambda: None)[0].rows()


@pytest.fixture
async def guide(embedder_weights, embedder_tokenizer):
    return Guide(CachedEmbedder(MiniLM(embedder_weights, embedder_tokenizer)).embed)


def planned(steps):
    while steps.next_call() is not None:
        steps.take("")
    return [(call.name, call.arguments) for call in steps.calls()]


async def test_what_the_person_forbids_is_not_planned_and_said_so(guide):
    steps = await guide.plan([Message("user", "Do not delete ~/work/notes.txt!")], ROWS)
    assert planned(steps) == []
    assert "Nothing was done." in steps.reply_grammar()


async def test_an_order_is_planned_without_doubt(guide):
    steps = await guide.plan([Message("user", "Delete ~/work/notes.txt")], ROWS)
    assert planned(steps) == [("files.delete", {"path": "~/work/notes.txt"})]
    assert not steps.doubted


async def test_a_question_about_a_change_is_left_to_the_model(guide):
    steps = await guide.plan([Message("user", "How do I delete ~/work/notes.txt?")], ROWS)
    assert planned(steps) == [] and not steps.reply_grammar()


async def test_what_somebody_else_wants_is_in_doubt(guide):
    message = "My boss told me to delete ~/work/notes.txt."
    steps = await guide.plan([Message("user", message)], ROWS)
    assert planned(steps) == [("files.delete", {"path": "~/work/notes.txt"})]
    assert steps.doubted == {"files.delete"}


@pytest.mark.parametrize("again", ["and ~/work/b.txt", "What about ~/work/b.txt?"])
async def test_what_goes_on_from_an_earlier_change_is_in_doubt(guide, again):
    call = ToolCall("1", "files.delete", {"path": "~/work/a.txt"})
    history = [
        Message("user", "Delete ~/work/a.txt"),
        Message("assistant", "", (call,)),
        Message("tool", "Deleted ~/work/a.txt.", call_id="1", name="files.delete"),
        Message("assistant", "Deleted."),
        Message("user", again),
    ]
    steps = await guide.plan(history, ROWS)
    changed = {name for name, _ in planned(steps)} - {"files.read"}
    assert changed <= steps.doubted


async def test_what_is_not_to_go_on_does_not(guide):
    call = ToolCall("1", "files.delete", {"path": "~/work/a.txt"})
    history = [
        Message("user", "Delete ~/work/a.txt"),
        Message("assistant", "", (call,)),
        Message("tool", "Deleted ~/work/a.txt.", call_id="1", name="files.delete"),
        Message("user", "But keep ~/work/b.txt"),
    ]
    assert planned(await guide.plan(history, ROWS)) == []
