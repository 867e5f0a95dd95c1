"""What processes and folders use, as a look from outside finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmos import limits
from llmos.sandbox import child, lineage, usage
from llmos.sandbox.jail import Bounds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Looks into /proc.")

TREE = """
import os, sys, threading
kept = bytearray(b'x') * (30 << 20)
child = os.fork()
if child == 0:
    if os.fork() == 0:
        thread = threading.Thread(target=sys.stdin.read); thread.start()
    name = sys.argv[1] + str(os.getpid())
    f = open(name, 'wb'); os.unlink(name); f.write(b'x' * (5 << 20)); f.flush()
    os.write(1, b'x')
os.write(1, b'x')
import signal; signal.pause()
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A process, its child, and its grandchild, which has two threads."""
    argv = [sys.executable, "-I", "-S", "-c", TREE, str(tmp_path / "gone")]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            for _ in range(5):
                assert process.stdout.read(1) == b"x"
            yield process.pid
        finally:
            os.killpg(process.pid, 9)


@pytest.mark.parametrize("listed", [True, False])
def test_everything_below_is_found_whether_or_not_the_kernel_lists_it(
    root: int, listed: bool, monkeypatch: pytest.MonkeyPatch
):
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: listed and exists(path))
    below = lineage.descendants(root)
    assert len(below) == 2
    assert root not in below
    assert lineage.threads(below) == 3


def test_what_they_use_is_counted_together(root: int, tmp_path: Path):
    used = usage.measure(root, 1 << 40)
    assert used.threads == 3
    assert used.memory_bytes > 50 << 20  # the plain sum of two processes with 30 MB each
    assert usage.measure(root, 1).memory_bytes < 30 << 20  # they share them with their parent
    assert used.nameless_bytes >= 2 * (5 << 20)
    assert not (tmp_path / "gone").exists()


SOCKETS = """
import os, signal, socket
pairs = [socket.socketpair() for _ in range(50)]
pipes = [os.pipe() for _ in range(20)]
os.fork()
os.write(1, b'x')
signal.pause()
"""


def test_sockets_and_pipes_count_as_full_and_once_where_processes_share_them():
    argv = [sys.executable, "-I", "-S", "-c", f"import os\nif os.fork(): os.wait()\n{SOCKETS}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.read(1) + process.stdout.read(1) == b"xx"
            used = usage.measure(process.pid, 1).memory_bytes  # the rest of it exactly
        finally:
            os.killpg(process.pid, 9)
    waiting = 100 * usage._socket_bytes() + 20 * 65_536
    assert waiting < used < waiting + (16 << 20)


LOCKS = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
for number in range(50):
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 2 * number)
os.write(1, b'x')
signal.pause()
"""


def test_record_locks_are_counted(tmp_path: Path):
    code = f"import os\nif os.fork(): os.wait()\n{LOCKS}"
    argv = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "locked")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.read(1) == b"x"
            used = usage.measure(process.pid, 1 << 40)
        finally:
            os.killpg(process.pid, 9)
    assert used.locks == 50
    bounds = Bounds(memory_bytes=1 << 40)
    assert child._exceeded(bounds, used, 0) == ""
    assert child._exceeded(bounds, replace(used, locks=limits.JAIL_LOCKS + 1), 0) == "memory"


def test_what_a_socket_holds_is_what_this_machine_lets_it(tmp_path: Path):
    (tmp_path / "set").write_text("16777216\n")
    assert usage._socket_bytes(str(tmp_path / "set")) == 16 << 20
    assert usage._socket_bytes(str(tmp_path / "missing")) == 212_992


MAPPED = """
import ctypes, mmap, os, signal, sys
map = ctypes.CDLL(None).mmap
map.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
kept = [mmap.mmap(-1, 8 << 20)]
for number in range(4):
    name = sys.argv[1] + str(number)
    fd = os.open(name, os.O_CREAT | os.O_RDWR)
    os.write(fd, b'x' * (2 << 20))
    map(None, 4096, 1, 1, fd, 0)
    if number != 1: os.unlink(name)
    if number != 2: os.close(fd)
if os.fork() == 0: os.write(1, b'x')
os.write(1, b'x')
signal.pause()
"""


@pytest.mark.parametrize("allowed", [True, False])
def test_deleted_files_that_are_only_mapped_count_whole_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
):
    look = os.stat

    def stat(path: str, **options: bool) -> os.stat_result:
        if "map_files" in str(path) and not allowed:
            raise PermissionError
        return look(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    argv = [sys.executable, "-I", "-S", "-c", f"import os\nif os.fork(): os.wait()\n{MAPPED}"]
    argv.append(str(tmp_path / "file"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.read(1) + process.stdout.read(1) == b"xx"
            found = usage.mapped_bytes(process.pid, 1000)
        finally:
            os.killpg(process.pid, 9)
    exact = allowed and os.geteuid() == 0
    assert found in (range(4 << 20, 5 << 20) if exact else [2000])


def test_what_has_ended_uses_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert usage.measure(process.pid, 1) == usage.Usage(0, 0, 0, 0)


def test_a_folder_counts_its_blocks_and_its_names_and_follows_no_link(tmp_path: Path):
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    empty = usage.folder_bytes([folder], 1 << 40)
    (tmp_path / "big").write_bytes(b"x" * (1 << 20))
    (folder / "link").symlink_to(tmp_path / "big")
    (folder / "loop").symlink_to(folder)
    (folder / "sparse").touch()
    os.truncate(folder / "sparse", 1 << 30)
    names = usage.folder_bytes([folder], 1 << 40) - empty
    assert 3 * limits.JAIL_ENTRY_BYTES <= names < 100_000  # a long link takes a block
    (folder / "in" / "file").write_bytes(b"x" * (1 << 20))
    assert usage.folder_bytes([folder], 1 << 40) >= empty + (1 << 20)


def test_counting_stops_at_the_ceiling(tmp_path: Path):
    for name in range(50):
        (tmp_path / str(name)).touch()
    assert usage.folder_bytes([tmp_path], 10) == limits.JAIL_ENTRY_BYTES


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path):
    assert usage.folder_bytes([tmp_path / "nowhere"], 10) == 0
