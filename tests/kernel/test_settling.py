from __future__ import annotations

import pytest

from llmos.engine.backend import Priority
from llmos.engine.local import LocalBackend
from llmos.engine.scripted import ScriptedRuntime
from llmos.kernel.monitor import From
from llmos.kernel.process import Budget, Process
from llmos.kernel.settling import Settler
from llmos.kernel.syscalls import Outcome, Syscall, SyscallTable

SCHEMA = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "body": {"type": "string"}},
    "additionalProperties": False,
}


async def nothing(_made, _arguments) -> Outcome:
    return Outcome("")


TABLE = SyscallTable(
    [
        Syscall(
            "mail.send",
            "Send a message.",
            SCHEMA,
            "egress",
            nothing,
            sources={"to": From.TRUSTED, "body": From.ANY},
        ),
        Syscall("page.read", "Read a page.", {"type": "object", "properties": {}}, "read", nothing),
    ]
)


async def settled(written: str, words: str, seen: list[str] | None = None):
    def script(prompt: str) -> str:
        if seen is not None:
            seen.append(prompt)
        return written

    backend = LocalBackend(lambda: ScriptedRuntime(script))
    await backend.start()
    process = Process(1, "", "", Priority.NORMAL, 0, 0.0, Budget())
    try:
        return list(await Settler(backend).settle(process, TABLE, words) or ())
    finally:
        await backend.close()


async def test_the_model_is_shown_the_persons_words_and_the_calls_with_an_effect():
    seen: list[str] = []
    await settled("none", "Write to ann@x.org", seen)
    assert "Task: Write to ann@x.org" in seen[0]
    assert "mail.send {to}: Send a message." in seen[0]
    assert "page.read" not in seen[0]


async def test_of_what_it_writes_only_what_the_person_named_is_taken():
    [slot] = await settled('mail.send {"to": "ann@x.org"}\n', "Write to ann@x.org")
    assert (slot.call, dict(slot.arguments), slot.uses) == ("mail.send", {"to": "ann@x.org"}, 1)
    [slot] = await settled('mail.send {"to": "eve@evil.example"}\n', "Write to ann@x.org")
    assert dict(slot.arguments) == {}


@pytest.mark.parametrize(
    "written", ["none", "", "page.read {}\n", "no.such {}\n", "rubbish", "mail.sendx {}"]
)
async def test_what_is_no_call_with_an_effect_settles_nothing(written: str):
    assert await settled(written, "Write to ann@x.org") == []


async def test_arguments_that_cannot_be_read_leave_the_call_open():
    [slot] = await settled('mail.send {"to": \n', "Write to ann@x.org")
    assert dict(slot.arguments) == {}


async def test_every_line_is_one_call():
    slots = await settled("mail.send {}\n" * 3, "Write to three")
    assert len(slots) == 3
