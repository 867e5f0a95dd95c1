"""Changes in mounted folders are noticed, and where they can't be, that is said."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import pytest
from watchfiles import Change

from llmos import limits
from llmos.errors import LlmosError
from llmos.memory.files.follow import Changes, Follower, system_watch
from llmos.memory.files.mounts import Mount, Mounts, State
from llmos.memory.passages import Passage


class World:
    """A mounted folder that is followed, an index, and time that passes when it is told to."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "Notes"
        self.folder.mkdir()
        (self.folder / "a.txt").write_text("a")
        self.passages: dict[str, Passage] = {}
        self.refusing = ""
        self._changed = asyncio.Condition()
        self._tick = asyncio.Event()
        self.mounts = Mounts(
            home / "state" / "mounts.json", self.put, self.forget, changed=self._told
        )
        self._told_by: set[asyncio.Task[None]] = set()

    async def put(self, passages: Sequence[Passage]) -> None:
        if self.refusing:
            raise LlmosError(self.refusing)
        self.passages |= {passage.id: passage for passage in passages}

    async def forget(self, ids: Iterable[str]) -> None:
        for name in ids:
            self.passages.pop(name, None)

    def texts(self) -> list[str]:
        return sorted(passage.text for passage in self.passages.values())

    async def pause(self, seconds: float) -> None:
        """A rest after work takes no time; a minute is over when ``minute`` says so."""
        if seconds < limits.FOLLOW_POLL_S:
            return
        tick = self._tick
        await tick.wait()

    def minute(self) -> None:
        tick, self._tick = self._tick, asyncio.Event()
        tick.set()

    def _told(self, mount: Mount) -> None:
        task = asyncio.ensure_future(self._wake())
        self._told_by.add(task)
        task.add_done_callback(self._told_by.discard)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(true)

    def mount(self) -> Mount:
        return self.mounts.get(1)


class FakeWatch:
    """Tells the changes it is given; keeps what it was asked to watch."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.queue: asyncio.Queue[Changes | Exception] = asyncio.Queue()

    async def __call__(self, folders: Sequence[str]) -> AsyncGenerator[Changes, None]:
        self.asked.append(list(folders))
        while True:
            changes = await self.queue.get()
            if isinstance(changes, Exception):
                raise changes
            yield changes

    def tell(self, *paths: Path) -> None:
        self.queue.put_nowait({(Change.modified, str(path)) for path in paths})


@pytest.fixture
async def world(home: Path) -> AsyncIterator[World]:
    world = World(home)
    await world.mounts.mount(world.folder)
    yield world
    await world.mounts.close()


@pytest.fixture
async def watch() -> FakeWatch:
    return FakeWatch()


@pytest.fixture
async def follower(world: World, watch: FakeWatch) -> AsyncIterator[Follower]:
    follower = Follower(world.mounts, watch=watch, pause=world.pause)
    yield follower
    await follower.close()


async def test_a_change_is_read(world: World, watch: FakeWatch, follower: Follower):
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    (world.folder / "a.txt").write_text("changed")
    (world.folder / "b.txt").write_text("new")
    watch.tell(world.folder / "a.txt", world.folder / "b.txt")
    await world.until(lambda: world.texts() == ["changed", "new"])
    (world.folder / "a.txt").unlink()
    watch.tell(world.folder / "a.txt")
    await world.until(lambda: world.texts() == ["new"])


async def test_what_changed_before_the_watch_stood_is_read(world, watch, follower):
    (world.folder / "b.txt").write_text("while llmos was away")
    follower.update()
    await world.until(lambda: world.texts() == ["a", "while llmos was away"])


async def test_a_new_folder_is_watched_too(world, watch, follower):
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    (world.folder / "sub").mkdir()
    (world.folder / "sub/b.txt").write_text("b")
    (world.folder / "node_modules").mkdir()
    watch.tell(world.folder / "sub")
    await world.until(lambda: world.texts() == ["a", "b"] and len(watch.asked) == 2)
    if len(watch.asked[-1]) > 1:  # where each folder is watched by itself
        assert watch.asked[-1] == [str(world.folder), str(world.folder / "sub")]


async def test_a_changed_ignore_file_counts_for_all_beside_it(world, watch, follower):
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    (world.folder / ".gitignore").write_text("*.txt")
    watch.tell(world.folder / ".gitignore")
    await world.until(lambda: world.texts() == [])


async def test_many_changes_are_one_look_at_the_folder(world, watch, follower, monkeypatch):
    monkeypatch.setattr(limits, "FOLLOW_PATHS", 1)
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    (world.folder / "b.txt").write_text("b")
    watch.tell(world.folder / "x", world.folder / "y")
    await world.until(lambda: world.texts() == ["a", "b"])


async def test_a_folder_that_can_not_be_watched_is_polled_and_says_so(world, watch, follower):
    watch.queue.put_nowait(OSError(28, "OS file watch limit reached."))
    follower.update()
    await world.until(lambda: world.mount().following.startswith("looked at"))
    assert world.mount().following == "looked at every 60 s: the system has no watches left"
    (world.folder / "b.txt").write_text("b")
    watch.queue.put_nowait(RuntimeError("OS file watch limit reached."))
    world.minute()
    await world.until(lambda: world.texts() == ["a", "b"])


async def test_a_watch_that_breaks_is_tried_again(world, watch, follower):
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    watch.queue.put_nowait(RuntimeError("broken"))
    await world.until(lambda: "can't watch it" in world.mount().following)
    world.minute()
    await world.until(lambda: world.mount().following == "watched")


async def test_a_folder_with_too_many_folders_is_polled(world, watch, follower, monkeypatch):
    monkeypatch.setattr(limits, "FOLLOW_DIRECTORIES", 0)
    follower.update()
    await world.until(lambda: "too many folders" in world.mount().following)
    assert watch.asked == []


async def test_a_folder_that_vanishes_is_gone_until_it_is_back(world, watch, follower):
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    away = world.folder.with_name("away")
    world.folder.rename(away)
    world.minute()
    await world.until(lambda: world.mount().following == "looked for every 60 s")
    assert world.mount().state is State.GONE and world.texts() == ["a"]
    (away / "b.txt").write_text("b")
    away.rename(world.folder)
    world.minute()
    await world.until(lambda: world.mount().following == "watched")
    assert world.mount().state is State.READY and world.texts() == ["a", "b"]


async def test_an_index_that_refuses_is_asked_again(world, watch, follower):
    world.refusing = "The disk is full."
    (world.folder / "b.txt").write_text("b")
    follower.update()
    await world.until(lambda: world.mount().state is State.UNREAD)
    world.refusing = ""
    world.minute()
    await world.until(lambda: world.texts() == ["a", "b"])


async def test_mounts_come_and_go(world, watch, follower, home):
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    other = home / "Other"
    other.mkdir()
    await world.mounts.mount(other)
    follower.update()
    await world.until(lambda: world.mounts.get(2).following == "watched")
    await world.mounts.umount(1)
    follower.update()
    assert world.texts() == []
    (other / "b.txt").write_text("b")
    watch.tell(other / "b.txt")
    await world.until(lambda: world.texts() == ["b"])


async def test_an_umount_that_was_interrupted_is_finished(home, watch):
    world = World(home)
    await world.mounts.mount(world.folder)
    real, world.mounts._forget = world.mounts._forget, None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        await world.mounts.umount(1)
    world.mounts._forget = real
    follower = Follower(world.mounts, watch=watch, pause=world.pause)
    follower.update()
    while world.mounts.list():
        await asyncio.wait(follower._tasks.values())
    assert world.texts() == []
    await follower.close()
    await world.mounts.close()


# --- the real thing ---------------------------------------------------------------------------


async def test_the_system_tells_of_changes(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "FOLLOW_DEBOUNCE_MS", 50)
    monkeypatch.setattr(limits, "FOLLOW_STEP_MS", 10)
    follower = Follower(world.mounts, watch=system_watch, pause=world.pause)
    follower.update()
    await world.until(lambda: world.mount().following == "watched")
    (world.folder / "b.txt").write_text("b")
    await world.until(lambda: world.texts() == ["a", "b"])
    os.replace(world.folder / "b.txt", world.folder / "c.txt")
    await world.until(
        lambda: (
            [p.place for p in world.passages.values() if p.text == "b"] == ["Notes/c.txt, line 1"]
        )
    )
    (world.folder / "sub/deep").mkdir(parents=True)
    (world.folder / "sub/deep/d.txt").write_text("d")
    await world.until(lambda: world.texts() == ["a", "b", "d"])
    await world.until(lambda: world.mount().following == "watched")
    (world.folder / "sub/deep/d.txt").write_text("changed")
    await world.until(lambda: world.texts() == ["a", "b", "changed"])
    await follower.close()
