from __future__ import annotations

import pytest

from llmos.events import Message, ToolCall
from llmos.kernel.followup import Earlier, earlier, follow_up
from llmos.kernel.spans import Copied
from llmos.kernel.syscalls import Example, Outcome, Syscall


def is_room(text: str) -> bool:
    return text.lower() in {"kitchen", "hall", "living room"}


def is_mix(text: str) -> bool:
    return text in {"green with red", "green and more blue"}


async def nothing(_process: object, _arguments: object) -> Outcome:
    return Outcome("done")


def row(name: str, argument: str, copied: Copied) -> Syscall:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}}
    worked = (Example("?", {argument: "x"}, ""),)
    return Syscall(name, "Does.", schema, "read", nothing, worked=worked, copied={argument: copied})


CALLS = [
    row("lamp.read", "room", Copied(is_room, "room")),
    row("paint.mix", "mix", Copied(is_mix, "mix", joins=(" with ",))),
]
LAMP = Earlier("lamp.read", {"room": "hall"}, "on")


@pytest.mark.parametrize(
    "message",
    ["and in kitchen?", "kitchen?", "what about kitchen", "Ok, and how about the kitchen?"],
)
def test_another_value_repeats_the_call(message: str) -> None:
    going_on = follow_up(message, [LAMP], CALLS)
    assert going_on is not None
    assert going_on.call.name == "lamp.read"
    assert going_on.ways == ({"room": "kitchen"},)


@pytest.mark.parametrize(
    "message",
    ["thanks", "and who cleans the kitchen?", "I like my kitchen", "and hall?", "", "and?",
     "well I would really like to know more about that old kitchen of yours"],
)  # fmt: skip
def test_other_messages_do_not(message: str) -> None:
    assert follow_up(message, [LAMP], CALLS) is None


def test_a_composed_value_goes_on_from_the_result() -> None:
    made = [Earlier("paint.mix", {"mix": "blue with yellow"}, "green")]
    going_on = follow_up("with red?", made, CALLS)
    assert going_on is not None
    assert going_on.ways == ({"mix": "green with red"},)


def test_only_the_turn_before_counts() -> None:
    call = ToolCall("1", "lamp.read", {"room": "hall"})
    history = [
        Message("user", "is the hall lit?"),
        Message("assistant", "", (call,)),
        Message("tool", "on", call_id="1", name="lamp.read"),
        Message("assistant", "It is on."),
        Message("user", "and the kitchen?"),
    ]
    assert earlier(history) == [LAMP]
    later = [*history, Message("assistant", "Off."), Message("user", "and here?")]
    assert earlier(later) == []
    assert earlier(history[:1]) == []
