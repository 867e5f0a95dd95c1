"""What is in the index is what is in the mounted folders, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import docx
import pytest

from llmos import limits
from llmos.credentials import KEPT_OUT
from llmos.errors import LlmosError, MountError
from llmos.memory.files import sync as syncing
from llmos.memory.files.mounts import Mounts, Progress, State
from llmos.memory.files.walk import Stamp
from llmos.memory.passages import Passage


class Index:
    """Keeps passages, and counts what it is handed."""

    def __init__(self) -> None:
        self.passages: dict[str, Passage] = {}
        self.puts: list[str] = []
        self.during_put = lambda: None

    async def put(self, passages: Sequence[Passage]) -> None:
        for passage in passages:
            self.passages[passage.id] = passage
            self.puts.append(passage.id)
        self.during_put()

    async def forget(self, ids: Iterable[str]) -> None:
        for name in ids:
            self.passages.pop(name, None)

    async def known(self, start: str) -> list[str]:
        return [name for name in self.passages if name.startswith(start)]

    @property
    def texts(self) -> dict[str, str]:
        """By place."""
        return {passage.place: passage.text for passage in self.passages.values()}


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Notes"
    made.mkdir()
    return made


def opened(home: Path, index: Index, **options) -> Mounts:
    file = home / "state" / "mounts.json"
    return Mounts(file, index.put, index.forget, known=index.known, **options)


@pytest.fixture
async def mounts(home: Path, index: Index) -> AsyncIterator[Mounts]:
    mounts = opened(home, index)
    yield mounts
    await mounts.close()


def aged(path: Path, text: str, age: float = 60.0) -> None:
    """Write a file as if that had been a while ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(age * 1e9)))


async def test_a_mounted_folder_is_in_the_index(mounts: Mounts, index: Index, folder: Path):
    aged(folder / "a.txt", "first\nsecond\n")
    aged(folder / "sub/b.md", "# Top\ntext\n")
    mount = await mounts.mount(folder)
    assert (mount.number, mount.folder, mount.files, mount.passages) == (1, folder, 2, 2)
    assert mount.state is State.READY and mount.synced > 0 and mount.skipped == ()
    assert index.texts == {
        "Notes/a.txt, lines 1-2": "first\nsecond",
        "Notes/sub/b.md, heading Top, lines 1-2": "# Top\ntext",
    }
    passage = index.passages["f1-1.1"]
    assert (passage.source, passage.pid, passage.speaker) == ("file", 0, "")
    assert passage.time == pytest.approx((folder / "a.txt").stat().st_mtime)


async def test_a_passage_has_its_neighbours_as_context(mounts, index, folder):
    aged(folder / "a.txt", "".join(f"line {n} of the file\n" for n in range(300)))
    await mounts.mount(folder)
    n = 3
    before, this, after = (index.passages[f"f1-1.{at}"] for at in (n - 1, n, n + 1))
    edge = limits.FILE_CONTEXT_CHARS
    assert this.context == f"{before.text[-edge:]}\n{after.text[:edge]}"
    assert index.passages["f1-1.1"].context == index.passages["f1-1.2"].text[:edge]


async def test_progress_is_told_file_by_file(mounts, folder):
    for name in ("a", "b", "c"):
        aged(folder / name, "text")
    told: list[Progress] = []
    await mounts.mount(folder, progress=told.append)
    assert [(p.done, p.files, p.passages) for p in told] == [
        (0, 3, 0),
        (1, 3, 1),
        (2, 3, 2),
        (3, 3, 3),
    ]


async def test_only_what_changed_is_read_again(mounts, index, folder):
    for name in ("a", "b", "c"):
        aged(folder / name, f"text of {name}")
    await mounts.mount(folder)
    index.puts.clear()
    await mounts.sync(1)
    assert index.puts == []
    aged(folder / "b", "another text", age=30)
    (folder / "c").unlink()
    aged(folder / "d", "new text")
    mount = await mounts.sync(1)
    assert len(index.puts) == 2
    assert index.texts == {
        "Notes/a, line 1": "text of a",
        "Notes/b, line 1": "another text",
        "Notes/d, line 1": "new text",
    }
    assert (mount.files, mount.passages) == (3, 3)


async def test_a_touched_file_is_not_handed_over_again(mounts, index, folder):
    aged(folder / "a", "text")
    await mounts.mount(folder)
    index.puts.clear()
    aged(folder / "a", "text", age=10)
    await mounts.sync(1)
    assert index.puts == []


async def test_a_change_that_leaves_no_trace_is_noticed(mounts, index, folder):
    """Same length, same time: as on a file system that counts whole seconds."""
    (folder / "a").write_text("before")
    status = (folder / "a").stat()
    await mounts.mount(folder)
    (folder / "a").write_text("behind")
    os.utime(folder / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    await mounts.sync(1)
    assert index.texts == {"Notes/a, line 1": "behind"}


async def test_the_old_text_is_found_until_the_new_one_is_in(mounts, index, folder):
    aged(folder / "a", "before")
    await mounts.mount(folder)
    aged(folder / "a", "behind", age=10)
    seen = []
    index.during_put = lambda: seen.append(sorted(p.text for p in index.passages.values()))
    await mounts.sync(1)
    assert seen == [["before", "behind"]]
    assert index.texts == {"Notes/a, line 1": "behind"}


async def test_a_part_is_synced_alone(mounts, index, folder):
    aged(folder / "a", "a")
    aged(folder / "sub/b", "b")
    aged(folder / "sub/c", "c")
    await mounts.mount(folder)
    aged(folder / "a", "changed", age=10)
    aged(folder / "sub/b", "changed", age=10)
    (folder / "sub/c").unlink()
    await mounts.sync(1, only={b"sub"})
    assert index.texts == {"Notes/a, line 1": "a", "Notes/sub/b, line 1": "changed"}


async def test_every_file_is_read_again_where_asked(mounts, index, folder):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    index.passages.clear()
    mount = await mounts.sync(1, again=True)
    assert index.texts == {"Notes/a, line 1": "a"}
    assert mount.passages == 1


async def test_what_is_newly_ignored_is_forgotten(mounts, index, folder):
    aged(folder / "a.log", "a")
    aged(folder / "b.txt", "b")
    await mounts.mount(folder)
    (folder / ".gitignore").write_text("*.log")
    await mounts.sync(1)
    assert list(index.texts) == ["Notes/b.txt, line 1"]


async def test_what_is_not_read_is_listed_with_the_reason(mounts, index, folder):
    (folder / "a.png").write_bytes(b"\x89PNG\0\0")
    (folder / "b.pdf").write_text("no pdf")
    aged(folder / "c.txt", "text")
    os.mkfifo(folder / "pipe")
    mount = await mounts.mount(folder)
    assert {one.place: one.reason for one in mount.skipped} == {
        "a.png": "Not read: .png files are binary, in a format that llmos does not know.",
        "b.pdf": "It is damaged, or no PDF.",
        "pipe": "It is no file but a pipe, socket or device.",
    }
    assert (mount.skips, mount.files) == (3, 1)
    (folder / "pipe").unlink()
    (folder / "a.png").unlink()
    assert [one.place for one in (await mounts.sync(1, only={b"pipe"})).skipped] == [
        "a.png",
        "b.pdf",
    ]
    assert [one.place for one in (await mounts.sync(1)).skipped] == ["b.pdf"]


async def test_a_hostile_file_does_not_stop_the_others(mounts, index, folder):
    document = docx.Document()
    document.add_paragraph("fine")
    document.save(folder / "b.docx")
    (folder / "a.docx").write_bytes((folder / "b.docx").read_bytes()[:9000])
    aged(folder / "c.txt", "text")
    mount = await mounts.mount(folder)
    assert set(index.texts.values()) == {"fine", "text"}
    assert [one.place for one in mount.skipped] == ["a.docx"]


# --- changes while it reads -------------------------------------------------------------------


async def test_a_file_that_changes_while_it_is_read_is_read_once_more(
    mounts, index, folder, monkeypatch
):
    monkeypatch.setattr(limits, "MOUNT_BATCH", 2)
    aged(folder / "a", "".join(f"old line {n}\n" for n in range(500)))
    changes = iter([True])
    index.during_put = lambda: next(changes, None) and aged(folder / "a", "new line\n", age=30)
    mount = await mounts.mount(folder)
    assert index.texts == {"Notes/a, line 1": "new line"}
    assert (mount.passages, mount.skipped) == (1, ())


async def test_a_file_that_never_rests_is_told(mounts, index, folder, monkeypatch):
    monkeypatch.setattr(limits, "MOUNT_BATCH", 2)
    aged(folder / "log", "line\n" * 1000)

    def grow() -> None:
        with (folder / "log").open("a") as file:
            file.write("line\n")

    index.during_put = grow
    mount = await mounts.mount(folder)
    assert [one.place for one in mount.skipped] == ["log"]
    assert "changes while it is read" in mount.skipped[0].reason
    assert mount.passages == len(index.passages) > 0
    index.during_put = lambda: None
    assert (await mounts.sync(1)).skipped == ()


async def test_a_file_that_goes_while_it_is_read_is_no_matter(mounts, index, folder, monkeypatch):
    aged(folder / "a", "a")
    aged(folder / "b", "b")
    real = syncing.open_inside

    def vanishing(where: Path, path: bytes):
        (folder / "a").unlink(missing_ok=True)
        return real(where, path)

    monkeypatch.setattr(syncing, "open_inside", vanishing)
    mount = await mounts.mount(folder)
    assert index.texts == {"Notes/b, line 1": "b"} and mount.skipped == ()


async def test_a_folder_that_can_not_be_listed_keeps_its_passages(
    mounts, index, folder, monkeypatch
):
    aged(folder / "sub/a", "a")
    aged(folder / "b", "b")
    await mounts.mount(folder)
    real = os.scandir

    def failing(path):
        if path.endswith(b"sub"):
            raise OSError(5, "Input/output error")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        mount = await mounts.sync(1)
    assert len(index.passages) == 2
    assert [(one.place, one.reason) for one in mount.skipped] == [
        ("sub", "It can't be read: Input/output error.")
    ]
    assert (await mounts.sync(1)).skipped == ()


# --- limits -----------------------------------------------------------------------------------


async def test_a_folder_has_only_so_many_files(mounts, index, folder, monkeypatch):
    monkeypatch.setattr(limits, "MOUNT_FILES", 2)
    for name in "abc":
        aged(folder / name, name)
    mount = await mounts.mount(folder)
    assert mount.files == 2
    assert mount.skipped[0].reason == "Only its first 2 files are read: it has more."


async def test_a_folder_has_only_so_many_passages(mounts, index, folder, monkeypatch):
    monkeypatch.setattr(limits, "MOUNT_PASSAGES", 5)
    for name in "ab":
        aged(folder / name, "a line of text\n" * 200)
    mount = await mounts.mount(folder)
    assert mount.passages == len(index.passages) == 5
    assert [one.place for one in mount.skipped] == ["b"]
    assert "the most" in mount.skipped[0].reason


async def test_a_text_of_200_mb_is_read_in_bounds(mounts, index, folder, monkeypatch):
    monkeypatch.setattr(limits, "FILE_TEXT_BYTES", 1024 * 1024)
    with (folder / "log").open("wb") as file:
        file.write(b"a line of a very long log\n" * 50_000)
        file.truncate(200 * 1024 * 1024)
    mount = await mounts.mount(folder)
    assert mount.skipped[0].reason == "Only the first 1 MB of its 200 MB were read."
    assert 1300 < mount.passages == len(index.passages) < 2700


# --- interruptions ----------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(1, 6))
async def test_a_cancelled_sync_is_finished_by_the_next(
    mounts, index, folder, monkeypatch, after: int
):
    monkeypatch.setattr(limits, "MOUNT_BATCH", 2)
    for name in "abcd":
        aged(folder / name, f"{name}: a line of text\n" * 100)
    task = asyncio.ensure_future(mounts.mount(folder))
    left = iter(range(after))
    index.during_put = lambda: next(left, None) is None and task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mounts.get(1).state is State.UNREAD
    index.during_put = lambda: None
    mount = await mounts.sync(1)
    expected = Index()
    other = opened(folder.parent / "other", expected)
    await other.mount(folder)
    await other.close()
    assert sorted(index.texts.items()) == sorted(expected.texts.items())
    assert mount.passages == len(index.passages) and mount.state is State.READY


async def test_a_crash_leaves_nothing_behind(home, index, folder, monkeypatch):
    monkeypatch.setattr(limits, "MOUNT_BATCH", 2)
    aged(folder / "a", "a line of text\n" * 200)
    crashed = opened(home, index)

    class Crash(BaseException):
        pass

    def crash() -> None:
        raise Crash

    index.during_put = crash
    with pytest.raises(Crash):
        await crashed.mount(folder)
    assert len(index.passages) == 2
    await crashed.close()
    index.during_put = lambda: None
    mounts = opened(home, index)
    aged(folder / "a", "one line", age=10)
    mount = await mounts.sync(1)
    assert index.texts == {"Notes/a, line 1": "one line"} and mount.passages == 1
    await mounts.close()


async def test_an_index_that_refuses_loses_nothing(mounts, index, folder):
    aged(folder / "a", "a")

    def refuse() -> None:
        raise LlmosError("The disk is full.")

    index.during_put = refuse
    with pytest.raises(LlmosError, match="disk is full"):
        await mounts.mount(folder)
    assert mounts.get(1).state is State.UNREAD
    index.during_put = lambda: None
    await mounts.sync(1)
    assert index.texts == {"Notes/a, line 1": "a"}


async def test_a_full_disk_under_the_list_mounts_nothing_and_loses_nothing(
    mounts, index, folder, monkeypatch
):
    aged(folder / "a", "a")

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("llmos.paths.atomic_write", full)
        with pytest.raises(MountError, match="No space left"):
            await mounts.mount(folder)
    assert mounts.list() == [] and index.passages == {}
    assert (await mounts.mount(folder)).passages == 1


@pytest.mark.parametrize("room", [0, 1, 2])
async def test_notes_that_have_no_room_are_a_sentence_and_are_kept_up_later(
    mounts, index, folder, monkeypatch, room
):
    monkeypatch.setattr(limits, "MOUNT_BATCH", 8)
    for number in range(200):
        aged(folder / f"{number:03} {'long name ' * 10}", f"text {number}")
    db = mounts._notes._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + room}")
    with pytest.raises(MountError, match="notes on mounted files .* can't be used"):
        await mounts.mount(folder)
    assert mounts.get(1).state is State.UNREAD
    db.execute("PRAGMA max_page_count = 100000")
    mount = await mounts.sync(1)
    assert (mount.state, mount.passages, len(index.passages)) == (State.READY, 200, 200)


async def test_mounts_are_there_after_a_restart(home, index, folder):
    aged(folder / "a", "a")
    first = opened(home, index)
    await first.mount(folder)
    await first.close()
    index.puts.clear()
    mounts = opened(home, index)
    assert [(m.number, m.folder, m.passages) for m in mounts.list()] == [(1, folder, 1)]
    assert (await mounts.sync(1)).state is State.READY
    assert index.puts == []
    await mounts.close()


@pytest.mark.parametrize("damage", ["deleted", "overwritten"])
async def test_lost_notes_cost_a_new_reading(home, index, folder, damage: str):
    aged(folder / "a", "a line of text\n" * 200)
    first = opened(home, index)
    await first.mount(folder)
    await first.close()
    for path in (home / "state").glob("mounts.db*"):
        if damage == "deleted":
            path.unlink()
        else:
            path.write_bytes(b"no database" * 1000)
    aged(folder / "a", "short", age=10)
    mounts = opened(home, index)
    await mounts.sync(1)
    assert index.texts == {"Notes/a, line 1": "short"}
    await mounts.close()


async def test_a_damaged_list_is_left_as_it_is(home, index):
    file = home / "state" / "mounts.json"
    file.parent.mkdir()
    file.write_text('{"version": 1, "mounts": [{}]')
    with pytest.raises(MountError, match="can't be read"):
        opened(home, index)
    assert file.read_text() == '{"version": 1, "mounts": [{}]'


async def test_a_pipe_in_the_place_of_the_list_is_refused_at_once(home, index):
    file = home / "state" / "mounts.json"
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.raises(MountError, match="it is no file"):
        opened(home, index)


async def test_a_list_of_a_newer_llmos_is_refused(home, index):
    file = home / "state" / "mounts.json"
    file.parent.mkdir()
    file.write_text('{"version": 2}')
    with pytest.raises(MountError, match="newer llmos"):
        opened(home, index)


async def test_what_is_kept_is_private(home, mounts, folder):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    for path in (home / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert json.loads((home / "state/mounts.json").read_text())["mounts"][0]["folder"] == str(
        folder
    )


# --- folders that are away --------------------------------------------------------------------


async def test_a_folder_that_is_away_keeps_its_passages(mounts, index, folder):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    folder.rename(folder.with_name("away"))
    assert (await mounts.sync(1)).state is State.GONE
    assert len(index.passages) == 1
    folder.with_name("away").rename(folder)
    index.puts.clear()
    assert (await mounts.sync(1)).state is State.READY
    assert index.puts == []


async def test_a_link_in_place_of_a_folder_is_not_followed(mounts, index, folder, home):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    folder.rename(folder.with_name("away"))
    aged(home / "state" / "private", "llmos's own")
    folder.symlink_to(home / "state")
    assert (await mounts.sync(1)).state is State.GONE
    assert len(index.passages) == 1


async def test_an_empty_folder_in_place_of_a_drive_is_not_believed(mounts, index, folder):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    folder.rename(folder.with_name("drive"))
    folder.mkdir()
    assert (await mounts.sync(1)).state is State.GONE
    assert len(index.passages) == 1


async def test_a_folder_that_was_emptied_is_empty(mounts, index, folder):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    (folder / "a").unlink()
    assert (await mounts.sync(1)).state is State.READY
    assert index.passages == {}


async def test_a_folder_made_anew_is_compared_by_its_bytes(mounts, index, folder):
    aged(folder / "a", "a")
    await mounts.mount(folder)
    index.puts.clear()
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    assert (await mounts.sync(1, only={b"nothing"})).state is State.READY
    assert index.puts == [] and len(index.passages) == 1


# --- mount and umount -------------------------------------------------------------------------


async def test_umount_takes_everything_out(home, mounts, index, folder):
    aged(folder / "a", "a line of text\n" * 200)
    aged(folder / "b", "b")
    mount = await mounts.mount(folder)
    assert await mounts.umount(folder) == mount.passages
    assert index.passages == {} and mounts.list() == []
    for path in (home / "state").iterdir():
        assert b"Notes" not in path.read_bytes()
    with sqlite3.connect(home / "state/mounts.db") as db:
        assert db.execute("SELECT count(*) FROM readings").fetchone() == (0,)


async def test_the_traces_are_erased_at_the_end_of_an_umount_alone(home, index, folder):
    erased: list[int] = []

    async def erase() -> None:
        erased.append(len(index.passages))

    mounts = opened(home, index, erase=erase)
    aged(folder / "a", "a")
    await mounts.mount(folder)
    aged(folder / "a", "b", age=10)
    await mounts.sync(1)
    assert erased == []
    await mounts.umount(1)
    assert erased == [0]
    await mounts.close()


async def test_umount_stops_a_sync(mounts, index, folder, monkeypatch):
    monkeypatch.setattr(limits, "MOUNT_BATCH", 2)
    aged(folder / "a", "a line of text\n" * 2000)
    leaving: list[asyncio.Task[int]] = []

    def leave() -> None:
        if not leaving:
            leaving.append(asyncio.ensure_future(mounts.umount(1)))

    index.during_put = leave
    with pytest.raises(MountError, match="being umounted"):
        await mounts.mount(folder)
    assert await leaving[0] > 0
    assert index.passages == {} and mounts.list() == []


async def test_an_umount_that_was_interrupted_is_done_again(home, index, folder):
    aged(folder / "a", "a")
    first = opened(home, index)
    await first.mount(folder)

    async def refuse(_: Iterable[str]) -> None:
        raise LlmosError("The disk is full.")

    first._forget = refuse
    with pytest.raises(LlmosError):
        await first.umount(1)
    await first.close()
    mounts = opened(home, index)
    assert mounts.get(1).state is State.LEAVING
    with pytest.raises(MountError, match="being umounted"):
        await mounts.sync(1)
    assert await mounts.umount(1) == 1
    assert index.passages == {} and mounts.list() == []
    await mounts.close()


async def test_numbers_are_never_given_again(home, index, folder):
    aged(folder / "a", "a")
    first = opened(home, index)
    await first.mount(folder)
    await first.umount(1)
    await first.close()
    mounts = opened(home, index)
    assert (await mounts.mount(folder)).number == 2
    assert list(index.passages) == ["f2-2.1"]
    await mounts.close()


async def test_folders_that_can_not_be_mounted(home, mounts, folder, tmp_path):
    (tmp_path / "file").touch()
    (folder / "sub").mkdir()
    (home / "state").mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to(folder)
    await mounts.mount(folder)
    for path, sentence in (
        (tmp_path / "not there", "There is no folder"),
        (tmp_path / "file", "is a file. Mount the folder it is in."),
        (tmp_path / "file" / "below", "There is no folder"),
        (folder, "is mounted already (number 1)."),
        (tmp_path / "link", "is mounted already (number 1)."),
        (folder / "sub", f"lies in {folder}, which is mounted already (number 1)."),
        (tmp_path, "which is mounted already (number 1). Umount that first."),
        (Path("/"), "The whole file system can't be mounted."),
        (home / "state", "holds llmos's own files"),
        (Path("nul\0l"), "can't be read"),
    ):
        with pytest.raises(MountError) as caught:
            await mounts.mount(path)
        assert sentence in str(caught.value)
    assert len(mounts.list()) == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="There is no /proc here.")
async def test_what_the_system_makes_up_can_not_be_mounted(mounts):
    with pytest.raises(MountError, match="the system's own workings"):
        await mounts.mount("/proc/self/fd")


async def test_there_are_only_so_many_mounts(mounts, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOUNTS_MAX", 1)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    await mounts.mount(tmp_path / "a")
    with pytest.raises(MountError, match="1 mounts already"):
        await mounts.mount(tmp_path / "b")


async def test_what_is_not_mounted_can_not_be_umounted(mounts, tmp_path):
    with pytest.raises(MountError, match="is not mounted"):
        await mounts.umount(tmp_path)
    with pytest.raises(MountError, match="There is no mount 7"):
        await mounts.umount(7)


async def test_the_own_files_in_a_mounted_folder_are_left_out(home, index, monkeypatch):
    mounts = opened(home, index)
    aged(home / "a.txt", "a")
    aged(home / "models/m.txt", "model")
    await mounts.mount(home)
    assert list(index.texts) == [f"{home.name}/a.txt, line 1"]
    await mounts.close()


async def test_changes_of_a_mount_are_told(home, index, folder):
    told: list[State] = []
    mounts = opened(home, index, changed=lambda mount: told.append(mount.state))
    await mounts.mount(folder)
    await mounts.umount(1)
    assert told == [State.READING, State.READY, State.LEAVING]
    await mounts.close()


def test_a_file_from_the_end_of_time_is_a_file_like_any_other(tmp_path):
    file = tmp_path / "late.txt"
    file.write_text("Late.")
    os.utime(file, (0, 1.5e10))  # the year 2445, in nanoseconds more than SQLite can count
    assert -(2**63) < Stamp.of(file.stat()).mtime_ns < 2**63


async def test_a_credential_in_a_file_does_not_come_into_the_index(mounts, index, folder):
    token = "ghp_" + "Ab3" * 12
    aged(folder / "notes.md", f"The token of the shop is {token}, from May.\n")
    await mounts.mount(folder)
    assert list(index.texts.values()) == [f"The token of the shop is {KEPT_OUT}, from May."]
    assert token in (folder / "notes.md").read_text()
