"""Kill -9, full disks and two people at once, seen from the kernel: nothing lost, nothing left."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmos.errors import KernelError, MountError, NotStored, StoreError, StoreFull
from llmos.fsck import fsck
from llmos.kernel.kernel import Kernel
from llmos.labels import Origin
from llmos.memory.journal import Journal
from llmos.memory.portable import export, import_conversations, read
from llmos.memory.writer import full
from tests.kernel.dying import remembers
from tests.kernel.kernels import mounted, remembering, turn
from tests.memory.nursery import Nursery, nursery

SECRET = "The archive's password is swordfish."
LONG = "word " * 60
STARTING_S = 10.0  # a bound, not a measurement: starting takes a tenth of a second
FILES = 150


@pytest.fixture(scope="module")
def children() -> Iterator[Nursery]:
    with nursery() as running:
        yield running


async def killed(children: Nursery, job: str, home: Path, place: str) -> list[list[str]]:
    """Have a child do ``job`` and die at ``place``; what it had acknowledged."""
    said, status = await asyncio.to_thread(children.order, job=job, path=home, failpoint=place)
    assert status == signal.SIGKILL
    return said


def bytes_under(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def all_is_sound() -> bool:
    """Whether ``llmos fsck`` finds nothing, on the stopped kernel of this test's home."""
    done = await asyncio.to_thread(CliRunner().invoke, fsck, [])  # it has a loop of its own
    return done.exit_code == 0 and done.output.startswith("All is sound")


# --- what leaves the window -------------------------------------------------------------------


@pytest.mark.parametrize("place", ["journal.append.window", "journal.appended.window"])
async def test_a_kill_while_turns_leave_the_window_loses_nothing(
    children: Nursery, home: Path, place: str
) -> None:
    """Before what left is on the disk, and between that and the window in memory."""
    said: dict[str, str] = {}
    for times in (1, 2, 3):
        told = await killed(children, "talk", home, f"{place}:{times}")
        said |= {id: text for _, id, text in told}
        async with remembering(home, window=2000) as kernel:
            [process] = kernel.processes()
            await kernel.wait(process.pid)  # what nobody had answered is answered
            messages = await kernel.messages(process.pid)
            assert said.items() <= {m.id: m.message.content for m in messages}.items()
            table = await kernel.keeper.page_table(process.pid)
            assert {m.seq for m in messages} <= {page.seq for page, _ in table}
            out_of_view = [page for page, resident in table if not resident]
            assert out_of_view
            for page in out_of_view:
                assert await kernel.keeper.pages(page.id) == (page,)
            _, finished = await turn(kernel, process.pid, "And now?")
            assert finished.reason == "stop"
        assert await all_is_sound()


async def test_a_kill_at_any_moment_of_a_conversation_loses_nothing_that_was_acknowledged(
    children: Nursery, home: Path
) -> None:
    dice, said = random.Random(3), dict[str, str]()
    for _ in range(12):
        told, status = await asyncio.to_thread(
            children.order, job="talk", path=home, after=dice.randrange(1, 7), seed=dice.random()
        )
        assert status == signal.SIGKILL
        said |= {id: text for _, id, text in told}
        began = time.monotonic()
        async with remembering(home, window=2000) as kernel:
            assert time.monotonic() - began < STARTING_S
            [process] = kernel.processes()
            await kernel.wait(process.pid)
            messages = await kernel.messages(process.pid)
            assert said.items() <= {m.id: m.message.content for m in messages}.items()
            assert {m.seq for m in messages} <= {
                p.seq for p, _ in await kernel.keeper.page_table(1)
            }
            roles = [r.label.origin for r in kernel.journal.records() if r.stored.id in said]
            assert set(roles) == {Origin.USER}
        assert await all_is_sound()


async def test_what_a_call_remembered_is_remembered_once_whenever_the_kernel_is_killed(
    children: Nursery, home: Path
) -> None:
    places = ("kernel.before_call", "journal.append.memory", "journal.appended.memory")
    for place in (*places, "kernel.after_call", "journal.finish_call", "journal.finish_turn"):
        for times in (1, 3):
            await killed(children, "remember", home, f"{place}:{times}")
            async with remembering(home, remembers) as kernel:
                [process] = kernel.processes()
                await kernel.wait(process.pid)
                kept = [r.stored.message.content for r in kernel.journal.records_of("memory")]
                assert len(kept) == len(set(kept)) == len(await kernel.keeper.facts())
                assert kernel.journal.open_calls() == []
    assert len(kept) >= 12
    assert await all_is_sound()


# --- files ------------------------------------------------------------------------------------


def written(home: Path, mark: str) -> None:
    folder = home / "folder"
    folder.mkdir(exist_ok=True)
    for number in range(FILES):
        (folder / f"{number}.txt").write_text(f"{mark} of file {number}")


def texts(kernel: Kernel) -> list[str]:
    """Of all files in the index."""
    assert kernel.memory is not None
    with kernel.memory.index._words.reading() as db:
        rows = db.execute("SELECT text FROM passages WHERE source = 'file' ORDER BY text")
        return [text for (text,) in rows]


def expected(mark: str) -> list[str]:
    return sorted(f"{mark} of file {number}" for number in range(FILES))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("place", ["mount.coming", "mount.put", "mount.here", "mount.leaving"])
async def test_a_kill_while_a_folder_is_read_is_made_good_by_the_next_start(
    children: Nursery, home: Path, place: str, times: int
) -> None:
    """Before and after a batch is in the index, and before and after what it replaces is out."""
    written(home, "first")
    if place != "mount.leaving":
        await killed(children, "mount", home, f"{place}:{times}")
        async with remembering(home) as kernel:
            await mounted(kernel)
            assert texts(kernel) == expected("first")
        assert await all_is_sound()
    else:
        async with remembering(home) as kernel:
            await kernel.keeper.mount(str(home / "folder"))
            await mounted(kernel)
    written(home, "second")
    await killed(children, "mount", home, f"{place}:{times}")
    async with remembering(home) as kernel:
        await mounted(kernel)
        assert texts(kernel) == expected("second")
        [(mount, _)] = kernel.keeper.mounts()
        assert (mount.files, mount.passages) == (FILES, FILES)
    assert await all_is_sound()


async def test_a_kill_during_an_umount_leaves_nothing_of_the_folder(
    children: Nursery, home: Path
) -> None:
    written(home, "first")
    async with remembering(home) as kernel:
        await kernel.keeper.mount(str(home / "folder"))
        await mounted(kernel)
    await killed(children, "umount", home, "mount.leaving:1")
    async with remembering(home) as kernel:
        with contextlib.suppress(MountError):  # by itself, unless this comes first
            await kernel.keeper.umount(str(home / "folder"))
        assert kernel.keeper.mounts() == [] and texts(kernel) == []
    assert b"first of file" not in bytes_under(home / "state")
    assert await all_is_sound()


# --- forgetting -------------------------------------------------------------------------------


async def told(home: Path) -> None:
    """A kernel that was told something, in a conversation too, and stopped."""
    async with remembering(home) as kernel:
        fact = await kernel.keeper.remember(SECRET)
        assert fact.id == "m1"
        pid = (await kernel.create(title="talk")).pid
        for text in (SECRET, f"And then? {LONG}", f"And now? {LONG}"):
            await turn(kernel, pid, text)
        await kernel.wait(pid)
        assert kernel.memory is not None
        await kernel.memory.feed.catch_up()
    assert list((home / "state" / "swap").glob("*.snapshot"))
    assert b"swordfish" in (home / "state" / "index" / "index.db").read_bytes()


async def gone(kernel: Kernel, home: Path) -> None:
    """Nothing of the secret is anywhere, the moment the kernel has started."""
    await kernel.keeper.at_rest()
    assert await kernel.keeper.facts() == []
    assert kernel.journal.asked() == []
    assert b"swordfish" not in bytes_under(home / "state")
    assert list((home / "state" / "swap").glob("*.snapshot")) == []
    assert all(
        "swordfish" not in hit.passage.text for hit in await kernel.keeper.search("swordfish")
    )


@pytest.mark.parametrize(
    "place",
    [
        "journal.before_commit:1",  # that it is to be forgotten is not on the disk yet
        "journal.after_commit:1",
        "journal.before_commit:2",
        "journal.after_commit:2",  # the journal has erased it, nobody else knows
        "memory.erased",
        "memory.forgotten",  # the index has, too
        "journal.scrub",
        "journal.checkpoint",
        "journal.scrubbed",  # windows and snapshots are left
        "journal.before_commit:3",  # and this, that it is done
        "journal.after_commit:3",
    ],
)
async def test_a_kill_while_something_is_forgotten_leaves_all_of_it_or_no_byte(
    children: Nursery, home: Path, place: str
) -> None:
    await told(home)
    assert await killed(children, "forget", home, place) == [["begun"]]
    async with remembering(home) as kernel:
        if place == "journal.before_commit:1":
            [fact] = await kernel.keeper.facts()
            assert fact.text == SECRET
            assert (await kernel.keeper.search("swordfish"))[0].passage.text == SECRET
            await kernel.keeper.forget(fact.id)
        await gone(kernel, home)
        [process] = kernel.processes()
        _, finished = await turn(kernel, process.pid, "Go on.")
        assert finished.reason == "stop"
    assert b"swordfish" not in bytes_under(home / "state")
    assert await all_is_sound()


@pytest.mark.parametrize(
    "place", ["kernel.after_call", "journal.finish_call", "journal.finish_turn", "memory.erased"]
)
async def test_what_a_turn_was_told_to_forget_is_forgotten_though_a_kill_came_first(
    children: Nursery, home: Path, place: str
) -> None:
    """The call says it is done at rest; the kill comes between the call and that."""
    await told(home)
    await killed(children, "asked", home, place)
    async with remembering(home) as kernel:
        await gone(kernel, home)
    assert await all_is_sound()


async def test_a_kill_before_the_wish_is_on_the_disk_leaves_the_call_interrupted(
    children: Nursery, home: Path
) -> None:
    await told(home)
    await killed(children, "asked", home, "kernel.before_call")
    async with remembering(home) as kernel:
        [process] = kernel.processes()
        [call] = kernel.journal.calls(process.pid)
        assert (call.call.name, call.error) == ("memory.forget", "interrupted")
        assert [fact.text for fact in await kernel.keeper.facts()] == [SECRET]


async def test_forgetting_while_an_export_reads_says_so_and_ends_when_the_export_has(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmos.limits.STORE_BUSY_S", 0.05)
    await told(home)
    async with remembering(home) as kernel:
        pieces = export(home / "state" / "journal.db")
        lines = [next(pieces), next(pieces)]
        with pytest.raises(StoreError, match="Another program reads"):
            await kernel.keeper.forget("m1")
        assert await kernel.keeper.facts() == []  # everywhere else it is gone
        assert all(
            "swordfish" not in hit.passage.text for hit in await kernel.keeper.search("swordfish")
        )
        assert b"swordfish" not in bytes_under(home / "state" / "index")
        lines += pieces
        await kernel.keeper.forget("m1")
        await gone(kernel, home)
    file = home / "all.jsonl"
    file.write_text("".join(lines))
    other = Journal(home / "other" / "journal.db")
    await import_conversations(other, read(file))
    assert other.verify() == []  # the export is of the moment at which it began, and whole
    await other.close()


async def test_what_an_export_held_up_goes_at_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmos.limits.STORE_BUSY_S", 0.05)
    await told(home)
    pieces = export(home / "state" / "journal.db")
    async with remembering(home) as kernel:
        next(pieces)
        with pytest.raises(StoreError):
            await kernel.keeper.forget("m1")
    pieces.close()
    async with remembering(home) as kernel:
        await gone(kernel, home)


async def test_a_draft_that_is_typed_while_its_conversation_is_forgotten_is_not_computed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with remembering(home) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, f"{SECRET} {LONG}")
        await kernel.wait(pid)
        [said, _] = await kernel.messages(pid)
        scrub, begun, typed = kernel.journal.scrub, asyncio.Event(), asyncio.Event()

        async def held() -> None:
            begun.set()
            await typed.wait()
            await scrub()

        monkeypatch.setattr(kernel.journal, "scrub", held)
        drafting = asyncio.create_task(kernel._transcript.draft(kernel.table[pid], f"And {LONG}"))
        forgetting = asyncio.create_task(kernel.keeper.forget(f"p{said.seq}"))
        await begun.wait()
        await drafting
        assert kernel.table[pid].ahead is None
        typed.set()
        await forgetting
    assert b"swordfish" not in bytes_under(home / "state")


async def test_nothing_is_forgotten_beneath_a_replay_and_nothing_replayed_beneath_it(
    home: Path,
) -> None:
    async with remembering(home, [("And", "Yes.")]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, f"{SECRET} {LONG}")
        await turn(kernel, pid, "And then?")
        [said, *_] = await kernel.messages(pid)
        replaying = asyncio.create_task(kernel.tracer.replay(pid))
        while not list((home / "state").glob("replay/*/journal.db")):
            await asyncio.sleep(0)
        with pytest.raises(KernelError, match="being replayed. Forget it when that is done"):
            await kernel.keeper.forget(f"p{said.seq}")
        kernel.memory.forgetting.doomed.add(f"p{said.seq}")  # as a model's call does
        kernel.keeper.forget_at_rest()
        assert not kernel.keeper.taking
        assert len((await replaying).turns) == 2
        await kernel.keeper.at_rest()
    assert b"swordfish" not in bytes_under(home / "state")


async def test_of_two_who_forget_one_thing_at_once_one_does_and_the_others_are_told(
    home: Path,
) -> None:
    async with remembering(home) as kernel:
        first, second = (
            await kernel.keeper.remember("One thing."),
            await kernel.keeper.remember("Another."),
        )
        names = (first.id, second.id, second.id, second.id)
        done = await asyncio.gather(*map(kernel.keeper.forget, names), return_exceptions=True)
        assert done[:2] == [1, 1]
        assert [type(each) for each in done[2:]] == [NotStored, NotStored]
        assert kernel.journal.asked() == []


async def test_a_message_that_comes_while_something_is_forgotten_is_answered_before_the_next(
    home: Path,
) -> None:
    async with remembering(home) as kernel:
        first, second = (
            await kernel.keeper.remember("One thing."),
            await kernel.keeper.remember("Another."),
        )
        pid = (await kernel.create()).pid
        forgetting = asyncio.create_task(kernel.keeper.forget(first.id))
        waiting = asyncio.create_task(kernel.keeper.forget(second.id))
        assert await kernel.send(pid, "Hello")
        assert await forgetting == 1
        done = await asyncio.gather(waiting, return_exceptions=True)
        await kernel.wait(pid)
        left = [fact.text for fact in await kernel.keeper.facts()]
        if isinstance(done[0], KernelError):  # the turn came first: nothing is forgotten under it
            assert left == ["Another."]
        else:
            assert (done, left) == ([1], [])
        assert (await kernel.messages(pid))[-1].message.role == "assistant"


@pytest.mark.parametrize("edit_first", [True, False])
async def test_what_is_edited_while_it_is_forgotten_is_gone_with_both_texts(
    home: Path, edit_first: bool
) -> None:
    async with remembering(home) as kernel:
        fact = await kernel.keeper.remember(SECRET)
        work = [
            kernel.keeper.change_fact(fact.id, text="It is marlin now."),
            kernel.keeper.forget(fact.id),
        ]
        await asyncio.gather(*(work if edit_first else reversed(work)), return_exceptions=True)
        assert await kernel.keeper.facts() == []
        assert await kernel.keeper.search("swordfish marlin") == []
        assert b"swordfish" not in bytes_under(home / "state")
        assert b"marlin" not in bytes_under(home / "state")
        assert kernel.journal.asked() == []


async def test_something_is_forgotten_while_a_folder_is_read(home: Path) -> None:
    written(home, "first")
    async with remembering(home) as kernel:
        fact = await kernel.keeper.remember(SECRET)
        await kernel.keeper.mount(str(home / "folder"))
        assert kernel.keeper.mounts()[0][0].state == "reading"
        await kernel.keeper.forget(fact.id)
        assert b"swordfish" not in bytes_under(home / "state")
        await mounted(kernel)
        assert texts(kernel) == expected("first")
    assert await all_is_sound()


async def test_forgetting_on_a_full_disk_says_so_and_ends_at_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_db: sqlite3.Connection, path: Path) -> None:
        raise full(path)

    await told(home)
    async with remembering(home) as kernel:
        with monkeypatch.context() as patch:
            patch.setattr("llmos.memory.journal.rewrite", no_room)
            with pytest.raises(StoreFull):
                await kernel.keeper.forget("m1")
            assert await kernel.keeper.facts() == []
            assert b"swordfish" not in bytes_under(home / "state" / "index")
    async with remembering(home) as kernel:
        await gone(kernel, home)


# --- a clock that is set back -----------------------------------------------------------------


async def test_a_conversation_goes_on_in_its_order_though_the_clock_was_set_back(
    home: Path,
) -> None:
    async with remembering(home, window=2000) as kernel:
        pid = (await kernel.create()).pid
        await kernel.keeper.remember("I live in Lisbon.", block="user")
        for number in range(6):
            await turn(kernel, pid, f"Question {number}. {LONG}")
        shown = kernel.table[pid].window.messages()
    async with remembering(home, window=2000) as kernel:
        now = time.time() - 10 * 365 * 86_400
        kernel.journal._clock = lambda: now
        await kernel.keeper.page_table(pid)  # opens the window
        assert kernel.table[pid].window.messages() == shown
        [fact] = await kernel.keeper.facts()
        await kernel.keeper.change_fact(fact.id, text="I live in Porto.")
        for number in range(6, 12):
            _, finished = await turn(kernel, pid, f"Question {number}. {LONG}")
            assert finished.reason == "stop"
        assert [fact.text for fact in await kernel.keeper.facts()] == ["I live in Porto."]
        asked = [m for m in await kernel.messages(pid) if m.message.role == "user"]
        assert [m.message.content.split(".")[0] for m in asked] == [
            f"Question {number}" for number in range(12)
        ]
        shown = kernel.table[pid].window.messages()
    async with remembering(home, window=2000) as kernel:
        await kernel.keeper.page_table(pid)
        assert kernel.table[pid].window.messages() == shown
        assert [fact.text for fact in await kernel.keeper.facts()] == ["I live in Porto."]
    assert await all_is_sound()


# --- a disk that is full ----------------------------------------------------------------------


async def test_a_turn_is_answered_though_the_index_has_no_room_and_it_is_read_on_later(
    home: Path,
) -> None:
    async with remembering(home) as kernel:
        assert kernel.memory is not None
        pid = (await kernel.create()).pid
        words = kernel.memory.index._words
        (pages,) = words._db.execute("PRAGMA page_count").fetchone()
        words._db.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(8):
            _, finished = await turn(kernel, pid, f"{SECRET} {LONG * 20}")
            assert finished.reason == "stop"
        with pytest.raises(StoreError, match="is full"):
            await kernel.keeper.search("swordfish")
        words._db.execute("PRAGMA max_page_count = 1000000")
        assert "swordfish" in (await kernel.keeper.search("swordfish"))[0].passage.text
    assert await all_is_sound()
