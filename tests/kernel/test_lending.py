"""What is lent to calls: every service, to the process that calls, and only what is granted."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmos import limits, services
from llmos.config import Config
from llmos.errors import CallFailed
from llmos.events import Message
from llmos.kernel.lending import Lender
from llmos.kernel.process import Process
from llmos.kernel.syscalls import Invocation
from llmos.labels import Label, Origin
from llmos.memory.grants import Grant, Grants
from llmos.memory.journal import Journal
from llmos.memory.records import piped
from llmos.sdk import ToolError


class Desk:
    """A lender, and processes it lends to."""

    def __init__(self, journal: Journal, state: Path) -> None:
        self.journal = journal
        self.grants = Grants(journal, self._home)
        self.lender = Lender(Config(state=state), journal, self.grants, self._due)

    async def process(self, *said: str, employer: Process | None = None) -> Process:
        above = employer.pid if employer is not None else 0
        process = Process.restored(await self.journal.create_process(parent=above))
        process.employer = employer
        for text in said:
            await self.keep(process, Message("user", text), Origin.USER)
        return process

    async def keep(self, process: Process, message: Message, origin: Origin) -> None:
        await self.journal.append(process.pid, message, turn=1, label=Label(origin))

    def lent(self, process: Process) -> Mapping[str, Any]:
        return self.lender.lend(process, "t.c")

    async def roots(self, process: Process) -> list[str]:
        return [str(root) for root in await self.lent(process)["folders"].roots()]

    async def _home(self) -> int:
        return (await self.journal.create_process()).pid

    async def _due(self, _pid: int, _timer: services.Timer) -> None:
        raise AssertionError("nobody is reminded here")


@pytest.fixture
async def desk(home: Path) -> AsyncIterator[Desk]:
    journal = Journal(home / "state" / "journal.db")
    desk = Desk(journal, home / "state")
    await desk.lender.open()
    try:
        yield desk
    finally:
        await desk.lender.close()
        await journal.close()


@pytest.fixture
def person(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with a file, a secret and a hidden file in it."""
    found = tmp_path_factory.mktemp("person").resolve()
    for name in ("notes.txt", "my notes.txt", "id_rsa", ".netrc"):
        (found / name).write_text("x", "utf-8")
    monkeypatch.setenv("HOME", str(found))
    return found


# --- which services -----------------------------------------------------------------------------


def methods(contract: type) -> dict[str, list[str]]:
    """The methods of a contract and the names of their arguments."""
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(contract).items()
        if callable(method) and not name.startswith("_")
    }


@pytest.mark.parametrize("own", [False, True])
async def test_what_is_lent_is_what_the_contracts_declare(desk: Desk, own: bool):
    from llmos.experts.lending import METHODS
    from llmos.experts.talk import _CONTRACTS

    process = await desk.process()
    lent = desk.lender.lend_own(process, "t.c") if own else desk.lent(process)
    assert set(lent) == set(services.SERVICES) == set(METHODS)
    for name, contract in _CONTRACTS.items():
        declared = methods(contract)
        assert set(declared) == set(METHODS[name])
        for method, arguments in declared.items():
            given = getattr(type(lent[name]), method)
            assert list(inspect.signature(given).parameters) == arguments, f"{name}.{method}"
            assert inspect.iscoroutinefunction(given), f"{name}.{method}"


async def test_llmoss_own_calls_see_every_reminder_and_others_only_their_own(desk: Desk):
    process, other = await desk.process(), await desk.process()
    child = await desk.process(employer=process)
    await desk.lent(other)["timers"].set(time.time() + 3600, "Water the plants")
    assert await desk.lent(process)["timers"].list() == []
    assert len(await desk.lender.lend_own(process, "t.c")["timers"].list()) == 1
    assert await desk.lender.lend_own(child, "t.c")["timers"].list() == []


async def test_what_a_process_was_lent_ends_with_it(desk: Desk):
    process = await desk.process()
    folders = desk.lent(process)["folders"]
    await desk.lent(process)["timers"].set(time.time() + 3600, "Water the plants")
    assert desk.lent(process)["folders"] is folders
    await desk.lender.ended(process.pid)
    assert desk.lender.timers.all() == []
    assert desk.lent(process)["folders"] is not folders


# --- which folders ------------------------------------------------------------------------------


async def test_what_is_granted_is_asked_anew_at_every_use(desk: Desk, person: Path):
    process = await desk.process()
    folders = desk.lent(process)["folders"]
    assert await folders.roots() == []
    grant = await desk.grants.give(Grant(folder=str(person)))
    assert await folders.read(f"{person}/notes.txt") == "x"
    with pytest.raises(ToolError):
        await folders.write(f"{person}/new.txt", "y")
    await desk.grants.revoke(grant.id)
    with pytest.raises(ToolError):
        await folders.read(f"{person}/notes.txt")


async def test_a_folder_is_granted_in_one_conversation_and_to_its_children(
    desk: Desk, person: Path
):
    process, other = await desk.process(), await desk.process()
    child = await desk.process(employer=process)
    await desk.grants.give(Grant(folder=str(person), write=True, pid=process.pid))
    await desk.grants.give(Grant(call="mail.send"))
    for each in (process, child):
        assert await desk.roots(each) == [str(person)]
        assert desk.lent(each)["shell"]._granted() == {person: True}
    assert await desk.roots(other) == []
    assert desk.lent(other)["shell"]._granted() == {}


@pytest.mark.parametrize(
    "said",
    [
        "Read {}/notes.txt.",
        "Read ~/notes.txt, please",
        "(see {}/notes.txt)",
        "“{}/notes.txt” it is",
    ],
)
async def test_what_a_person_names_may_be_read_there_and_by_its_children(
    desk: Desk, person: Path, said: str
):
    process = await desk.process(said.format(person))
    child, other = await desk.process(employer=process), await desk.process()
    for each in (process, child):
        assert await desk.roots(each) == [f"{person}/notes.txt"]
        with pytest.raises(ToolError):
            await desk.lent(each)["folders"].overwrite(f"{person}/notes.txt", "y")
    assert desk.lent(process)["shell"]._granted() == {}
    assert await desk.roots(other) == []


async def test_a_path_with_spaces_is_named_in_quotes(desk: Desk, person: Path):
    process = await desk.process('Read "~/my notes.txt"')
    assert await desk.roots(process) == [f"{person}/my notes.txt"]


async def test_what_no_person_said_names_nothing(desk: Desk, person: Path):
    process = await desk.process()
    named = f"Read {person}/notes.txt"
    await desk.keep(process, Message("user", named), Origin.MODEL)
    await desk.keep(process, Message("assistant", named), Origin.USER)
    await desk.keep(process, Message("tool", named), Origin.USER)
    await desk.keep(process, piped("Look", named), Origin.UNTRUSTED)
    child = await desk.process(named, employer=process)
    assert await desk.roots(process) == await desk.roots(child) == []


@pytest.mark.parametrize(
    "named",
    [
        *("~/id_rsa", "~/.netrc", "~/nothing.txt", "/", "/proc/self/environ", "/dev/null"),
        *("~/", "~/..", "https://x.org/notes.txt", "a~/notes.txt", "x/notes.txt"),
    ],
)
async def test_more_than_a_mention_can_mean_is_not_named_by_it(
    desk: Desk, person: Path, named: str
):
    assert await desk.roots(await desk.process(f"Read {named} now")) == []


async def test_a_secret_that_lies_elsewhere_is_not_named_by_its_path(
    desk: Desk, person: Path, tmp_path: Path
):
    for name in ("notes.txt", "id_rsa"):
        (tmp_path / name).write_text("x", "utf-8")
    process = await desk.process(f"Read {tmp_path}/notes.txt and {tmp_path}/id_rsa")
    assert await desk.roots(process) == [f"{tmp_path.resolve()}/notes.txt"]


async def test_a_keychain_or_a_browsers_profile_is_not_named_by_its_path(
    desk: Desk, person: Path, monkeypatch: pytest.MonkeyPatch
):
    """On macOS they lie in a folder of the home that is not hidden by its name."""
    (person / "Library" / "Mail").mkdir(parents=True)
    process = await desk.process("Read ~/Library/Mail and ~/Library")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert await desk.roots(process) == []


async def test_only_so_many_paths_are_named_the_newest(
    desk: Desk, person: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "NAMED_PATHS", 1)
    process = await desk.process("Read ~/notes.txt", 'and "~/my notes.txt"')
    assert await desk.roots(process) == [f"{person}/my notes.txt"]
    monkeypatch.setattr(limits, "NAMED_PATHS", 2)
    again = await desk.process('Read "~/my notes.txt"', *["Read ~/notes.txt"] * 3)
    assert await desk.roots(again) == [f"{person}/my notes.txt", f"{person}/notes.txt"]


# --- bytes for code -----------------------------------------------------------------------------


async def test_code_gets_the_bytes_of_a_granted_file_as_a_strangers_and_private(
    desk: Desk, person: Path
):
    process, row = await desk.process("Read ~/notes.txt"), desk.lender.content()
    outcome = await row.run(Invocation(process), {"path": "~/notes.txt"})
    assert outcome.payload == b"x"
    for label in (outcome.label, row.label):
        assert label is not None and label.origin is Origin.UNTRUSTED and label.private
    assert (row.effect, row.beside) == ("read", "files.read")
    with pytest.raises(CallFailed):
        await row.run(Invocation(process), {"path": "~/my notes.txt"})


async def test_a_link_that_a_tool_may_have_put_there_is_not_what_the_person_named(desk, person):
    (person / "work").mkdir()
    (person / "work" / "data.csv").write_text("1,2")
    (person / "diary.txt").write_text("dear diary")
    process = await desk.process("Read ~/work/data.csv and ~/link.txt")
    await desk.grants.give(Grant(folder=str(person / "work"), write=True))
    assert str(person / "work" / "data.csv") in await desk.roots(process)
    (person / "work" / "data.csv").unlink()
    (person / "work" / "data.csv").symlink_to("../diary.txt")
    assert str(person / "diary.txt") not in await desk.roots(process)
    (person / "link.txt").symlink_to("diary.txt")  # the person's own link
    assert str(person / "diary.txt") in await desk.roots(process)


async def test_two_experts_of_one_chat_share_no_python_session(desk):
    process = await desk.process("Hello")
    await desk.lender.open()
    try:
        mine = desk.lender.lend(process, "python.run", role="snake")["interpreter"]
        assert not (await mine.run("x = 1")).error
        assert (await desk.lent(process)["interpreter"].run("x")).error
    finally:
        await desk.lender.close()
