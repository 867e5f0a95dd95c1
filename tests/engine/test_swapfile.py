"""Snapshot files: they survive a restart, keep to their budget, and never lie."""

from __future__ import annotations

import os
import random
import stat
import struct
import threading
from pathlib import Path

import pytest

from llmos import limits
from llmos.engine.swap import Snapshot
from llmos.engine.swapfile import SUFFIX, SwapFiles, erase, unsound


def tokens(seed: int, length: int = 300) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(50_000), k=length))


def snapshot(seed: int, length: int = 300, model: str = "model", size: int = 5000) -> Snapshot:
    state = random.Random(f"{seed} {length}").randbytes(size)
    return Snapshot(tokens(seed, length), bytearray(state), model)


def opened(folder: Path, budget: int = 10**6, model: str = "model", **more: bool) -> SwapFiles:
    return SwapFiles(folder / "swap", budget, model, **more)


def fetched(files: SwapFiles, wanted: tuple[int, ...]) -> Snapshot | None:
    found: list[Snapshot | None] = []
    done = threading.Event()
    files.fetch(wanted, lambda snapshot: (found.append(snapshot), done.set()))
    assert done.wait(10)
    return found[0]


def only_file(folder: Path) -> Path:
    [path] = (folder / "swap").iterdir()
    return path


def test_a_snapshot_survives_a_restart_and_is_found_by_its_longest_prefix(tmp_path):
    files = opened(tmp_path)
    for seed in (1, 2):
        files.put(snapshot(seed))
    files.close()
    files = opened(tmp_path)
    wanted, length = files.match([*tokens(2)[:280], 1, 2, 3])
    assert (wanted, length) == (tokens(2), 280)
    back = fetched(files, wanted)
    assert back is not None and back.state == snapshot(2).state
    assert files.match([5, 6, 7]) == ((), 0)
    assert files.match(tokens(2)[:280], whole=True) == ((), 0)
    files.close()


def test_files_are_for_this_user_alone_and_nothing_half_written_stays(tmp_path):
    files = opened(tmp_path)
    (tmp_path / "swap" / "x.part").write_bytes(b"half")
    files.put(snapshot(1))
    files.close()
    opened(tmp_path).close()
    path = only_file(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_longer_snapshot_takes_the_place_of_its_beginning_where_models_can_rewind(tmp_path):
    for rewinds, left in ((True, 1), (False, 2)):
        files = opened(tmp_path / str(rewinds), rewinds=rewinds)
        files.put(snapshot(1, 300))
        files.put(snapshot(1, 400))
        assert files.wait(10)
        assert len(files) == left
        files.close()


def test_the_least_recently_used_file_goes_when_the_budget_is_full(tmp_path):
    size = 5000 + 4 * 300 + 200
    files = opened(tmp_path, budget=3 * size)
    for seed in (1, 2, 3):
        files.put(snapshot(seed))
    assert files.wait(10)
    assert fetched(files, tokens(1)) is not None
    files.put(snapshot(4))
    assert files.wait(10)
    assert files.match(tokens(1))[1] == 300
    assert files.match(tokens(2))[1] == 0
    assert files.bytes <= files.budget
    assert len(list((tmp_path / "swap").iterdir())) == 3
    files.put(snapshot(5, size=10**6))  # larger than all
    assert files.wait(10)
    assert files.match(tokens(5))[1] == 0
    files.close()


def test_another_model_s_snapshots_are_not_found_but_wait_for_it(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.close()
    other = opened(tmp_path, model="another")
    assert other.match(tokens(1)) == ((), 0)
    assert fetched(other, tokens(1)) is None
    other.close()
    again = opened(tmp_path)
    assert fetched(again, tokens(1)) is not None
    again.close()


def _cut(data: bytes) -> bytes:
    return data[:-1]


def _long(data: bytes) -> bytes:
    return data + b"x"


def _flip(at: float):
    def flip(data: bytes) -> bytes:
        place = int(at * (len(data) - 1))
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return flip


DAMAGES = [_cut, _long, *(_flip(at) for at in (0, 0.001, 0.01, 0.1, 0.3, 0.6, 1.0)), lambda d: b""]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("while_open", [False, True])
def test_a_damaged_file_is_dropped_and_never_an_answer(tmp_path, damage, while_open):
    files = opened(tmp_path)
    files.put(snapshot(1))
    assert files.wait(10)
    if not while_open:
        files.close()
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    if not while_open:
        files = opened(tmp_path)
    found, length = files.match(tokens(1))
    if length:  # its tokens may be what is damaged; it is found out when it is read
        assert fetched(files, found) is None
    assert files.match(tokens(1))[1] == 0
    files.close()
    assert list((tmp_path / "swap").iterdir()) == []


def test_two_files_that_changed_places_are_noticed(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.put(snapshot(2))
    assert files.wait(10)
    one, two = (tmp_path / "swap").iterdir()
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert fetched(files, tokens(1)) is None
    assert fetched(files, tokens(2)) is None
    files.close()


def test_a_header_that_lies_about_its_sizes_allocates_nothing(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.close()
    path = only_file(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"state": 5000', b'"state": 9000'))
    assert len(opened(tmp_path)) == 0


def test_what_is_no_snapshot_file_is_no_reason_not_to_start(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.close()
    folder = tmp_path / "swap"
    (folder / f"folder{SUFFIX}").mkdir()
    os.mkfifo(folder / f"pipe{SUFFIX}")
    deep = b"[" * 4000
    (folder / f"deep{SUFFIX}").write_bytes(b"llmossn2" + struct.pack("<I", len(deep)) + deep)
    assert unsound(folder / f"deep{SUFFIX}") == "its header does not make sense"
    assert unsound(folder / f"pipe{SUFFIX}") == "it is no file"
    files = opened(tmp_path)
    assert len(files) == 1 and files.dropped == 1
    assert files.match(tokens(1)) == (tokens(1), 300)
    files.close()


def test_erasing_leaves_no_file_whoever_wrote_it(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.close()
    folder = tmp_path / "swap"
    (folder / "texts.json").write_text("[]")
    (folder / f"half{SUFFIX}.part").write_bytes(b"x")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    erase(folder)
    assert [path.name for path in folder.iterdir()] == ["folder"]
    erase(tmp_path / "none")


def test_short_snapshots_are_not_worth_a_file(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1, limits.SWAP_FILE_TOKENS - 1))
    assert files.wait(10)
    assert len(files) == 0
    files.close()


def test_a_full_disk_costs_the_snapshot_and_nothing_else(tmp_path, monkeypatch):
    files = opened(tmp_path)
    monkeypatch.setattr(limits, "SWAP_FILE_SPARE_BYTES", 1 << 60)
    files.put(snapshot(1))
    assert files.wait(10)
    assert (len(files), files.dropped) == (0, 1)
    monkeypatch.setattr(limits, "SWAP_FILE_SPARE_BYTES", 0)

    def broken(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", broken)
    files.put(snapshot(2))
    assert files.wait(10)
    monkeypatch.undo()
    monkeypatch.setattr(limits, "SWAP_FILE_SPARE_BYTES", 0)
    files.put(snapshot(2))
    assert files.wait(10)
    assert len(files) == 1
    files.close()


def test_a_disk_that_fails_to_read_costs_the_snapshot_and_nothing_else(tmp_path, monkeypatch):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.put(snapshot(2))
    assert files.wait(10)
    path_open = Path.open

    def failing(path: Path, *args, **more):
        if path.suffix == ".snapshot":
            raise OSError(5, "Input/output error")
        return path_open(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        assert fetched(files, tokens(1)) is None
    assert files.match(tokens(1))[1] == 0
    assert fetched(files, tokens(2)) is not None
    files.close()


class _Slow:
    """A disk that writes nothing until it is let."""

    def __init__(self, files: SwapFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.began = threading.Event(), threading.Event()
        save = files._save

        def saved(snapshot: Snapshot):
            self.began.set()
            assert self.go.wait(20)
            return save(snapshot)

        monkeypatch.setattr(files, "_save", saved)


def test_what_waits_for_a_slow_disk_is_bounded_and_may_be_put_again(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SWAP_FILE_QUEUE_BYTES", 12_000)
    files = opened(tmp_path)
    disk = _Slow(files, monkeypatch)
    assert [files.put(snapshot(seed)) for seed in range(6)] == [True, True, *[False] * 4]
    assert files.put(snapshot(0))  # it is being written
    assert files.waiting == 10_000
    disk.go.set()
    assert files.wait(10)
    assert (len(files), files.waiting) == (2, 0)
    assert all(files.put(snapshot(seed), seconds=10) for seed in range(6))
    assert files.wait(10)
    assert len(files) == 6
    files.close()


def test_one_snapshot_larger_than_what_may_wait_is_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SWAP_FILE_QUEUE_BYTES", 100)
    files = opened(tmp_path)
    assert files.put(snapshot(1))
    assert files.wait(10) and len(files) == 1
    files.close()


def test_a_write_that_fails_in_whatever_way_makes_room_for_the_next(tmp_path, monkeypatch):
    files = opened(tmp_path)

    def fails(_snapshot: Snapshot):
        raise ValueError("of a kind nobody thought of")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_save", fails)
        assert files.put(snapshot(1))
        assert files.wait(10)
    assert files.waiting == 0 and not files.holds(tokens(1))
    assert files.put(snapshot(1))
    assert files.wait(10) and len(files) == 1
    files.close()


def test_what_is_forgotten_leaves_no_byte(tmp_path):
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.put(snapshot(2))
    files.forget()
    assert list((tmp_path / "swap").iterdir()) == []
    assert files.match(tokens(1))[1] == 0
    files.close()


def test_a_file_in_the_place_of_the_folder_is_put_aside(tmp_path):
    (tmp_path / "swap").write_text("mine")
    files = opened(tmp_path)
    files.put(snapshot(1))
    files.close()
    assert only_file(tmp_path).suffix
    assert (tmp_path / "swap.broken").read_text() == "mine"
