"""What a person does about permissions: which answers, grants and folders are taken."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmos.errors import KernelError, NoSuchProcess, NoSuchQuestion
from llmos.events import CallAsked, Event, ToolCall
from llmos.kernel.permissions import Permissions
from llmos.kernel.process import Process
from llmos.kernel.questions import Answered, Questions
from llmos.kernel.syscalls import Syscall, SyscallTable
from llmos.kernel.table import Table
from llmos.memory.grants import Grants
from llmos.memory.journal import Journal


async def nothing(*_: Any) -> Any:
    raise AssertionError("no call is made here")


def row(name: str, *arguments: str) -> Syscall:
    return Syscall(name, "", {"properties": {key: {} for key in arguments}}, "egress", nothing)


CALLS = SyscallTable([row("mail.send", "to", "body"), row("mail.list", "box"), row("pay", "to")])


class Desk:
    """Permissions over one process, and who answers at once."""

    def __init__(self, journal: Journal, pid: int) -> None:
        self.pid = pid
        self.says: list[str] = []
        self.questions = Questions(self._tell, lambda _: True)
        table = Table(journal, self._tell)
        table.add(Process.restored(journal.process(pid)))
        grants = Grants(journal, self._home)
        self.permissions = Permissions(self.questions, grants, CALLS, table)

    def _tell(self, event: Event) -> None:
        if isinstance(event, CallAsked):
            assert list(self.permissions.waiting()) == [event]
            assert list(self.permissions.waiting(self.pid)) == [event]
            assert list(self.permissions.waiting(self.pid + 1)) == []
            for said in self.says:
                self.permissions.answer(event.pid, event.call.id, said)

    async def _home(self) -> int:
        return self.pid


@pytest.fixture
async def desk(home: Path) -> AsyncIterator[Desk]:
    journal = Journal(home / "state" / "journal.db")
    try:
        yield Desk(journal, (await journal.create_process()).pid)
    finally:
        await journal.close()


async def test_an_answer_reaches_the_question(desk: Desk):
    desk.says = ["once"]
    call = ToolCall("c1", "mail.send", {})
    asked = CallAsked(pid=desk.pid, turn=1, call=call, title="Send?")
    assert await desk.questions.ask(asked) is Answered.ONCE
    with pytest.raises(NoSuchQuestion):
        desk.permissions.answer(desk.pid, "c1", "once")
    with pytest.raises(NoSuchProcess):
        desk.permissions.answer(desk.pid + 1, "c1", "once")


async def test_a_call_is_granted_with_the_arguments_that_were_named(desk: Desk):
    allow = desk.permissions.grant
    given = await allow(call="mail.send", arguments={"to": "ann"}, patterns={"body": "*"})
    assert (given.call, given.arguments, given.patterns) == (
        "mail.send",
        {"to": "ann"},
        {"body": "*"},
    )
    assert (given.pid, given.until, given.folder, given.write) == (0, 0, "", False)
    assert list(await desk.permissions.grants()) == [given]
    assert await desk.permissions.revoke(given.id) == given
    assert list(await desk.permissions.grants()) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "either a call or a folder"),
        ({"call": "pay", "folder": "/tmp"}, "either a call or a folder"),
        ({"call": "pay", "arguments": {"body": "x"}}, "no argument"),
        ({"call": "pay", "patterns": {"body": "*"}}, "no argument"),
        ({"call": "mail.*", "arguments": {"colour": "red"}}, "no argument"),
        ({"call": "mail"}, "no call"),
        ({"call": "mail.*.x"}, "no call"),
    ],
)
async def test_a_grant_that_could_never_hold_is_refused(
    desk: Desk, wrong: dict[str, Any], why: str
):
    with pytest.raises(KernelError, match=why):
        await desk.permissions.grant(**wrong)
    assert list(await desk.permissions.grants()) == []


async def test_who_names_an_argument_that_is_none_reads_which_there_are(desk: Desk):
    with pytest.raises(KernelError) as refused:
        await desk.permissions.grant(call="mail.*", arguments={"colour": "red"})
    assert refused.value.remedy == "It has: to, body, box."


async def test_an_argument_of_any_of_the_calls_is_one_of_the_pattern(desk: Desk):
    given = await desk.permissions.grant(call="mail.*", arguments={"box": "in"})
    assert given.call == "mail.*"


async def test_a_grant_holds_in_a_conversation_that_there_is_and_for_days(desk: Desk):
    with pytest.raises(NoSuchProcess):
        await desk.permissions.grant(call="pay", pid=desk.pid + 1)
    before = time.time()
    given = await desk.permissions.grant(call="pay", pid=desk.pid, days=2)
    assert given.pid == desk.pid
    assert before + 2 * 86400 <= given.until <= time.time() + 2 * 86400


@pytest.mark.parametrize("write", [False, True])
async def test_a_folder_is_granted_as_it_is_without_links(desk: Desk, tmp_path: Path, write: bool):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    given = await desk.permissions.grant(
        folder=str(tmp_path / "link"), write=write, pid=desk.pid, days=1
    )
    assert given.folder == str((tmp_path / "there").resolve())
    assert (given.write, given.pid, given.call) == (write, desk.pid, "")
    assert given.until > time.time()


async def test_a_folder_below_the_home_is_named_with_a_tilde(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    given = await desk.permissions.grant(folder="~/notes")
    assert given.folder == str((tmp_path / "notes").resolve())


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("notes", "whole path"),
        ("./notes", "whole path"),
        ("{}/nothing", "There is no folder"),
        ("{}/file.txt", "is no folder"),
        ("{}/state", "belongs to llmos itself"),
        ("{}/state/sub", "belongs to llmos itself"),
        ("{}/link", "belongs to llmos itself"),
        ("/", "whole machine"),
    ],
)
async def test_what_is_no_folder_of_the_persons_own_is_not_granted(
    desk: Desk, home: Path, monkeypatch: pytest.MonkeyPatch, named: str, why: str
):
    (home / "file.txt").write_text("x", "utf-8")
    (home / "notes").mkdir()
    (home / "state" / "sub").mkdir()
    (home / "link").symlink_to(home / "state" / "sub")
    monkeypatch.chdir(home)
    with pytest.raises(KernelError, match=why) as refused:
        await desk.permissions.grant(folder=named.format(home))
    assert refused.value.remedy
    assert list(await desk.permissions.grants()) == []
