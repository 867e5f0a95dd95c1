"""Chroma in its worker: what goes wrong there stays there."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from llmos import limits
from llmos.errors import ConfigError
from llmos.memory.chroma import Chroma, ChromaFailed
from llmos.memory.chroma_worker import LENGTHS
from llmos.memory.index import Index
from llmos.memory.passages import Passage, Scope

DIMENSION = 16


class Numbers:
    """Unit vectors that are near where texts share their words. No meaning in them."""

    name = "numbers"
    dimension = DIMENSION

    def embed(self, texts):
        rows = [sum(_word(word) for word in text.split()) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def _word(word: str) -> np.ndarray:
    weight = 5 if word.isdigit() else 1
    return weight * np.random.default_rng(list(word.encode())).standard_normal(DIMENSION)


def turns(count: int, start: int = 0) -> list[Passage]:
    return [
        Passage(f"n{i}", "turn", i % 4, "process", float(i), f"text number {i}", context="near")
        for i in range(start, start + count)
    ]


def vectors(count: int) -> np.ndarray:
    return Numbers().embed([f"text number {i}" for i in range(count)])


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """The folder of an index of 60 passages whose copy in Chroma is whole, closed."""

    async def make(folder: Path) -> None:
        async with opened(folder) as index:
            await index.put(turns(60))
            await index.settled(chroma=True)
            assert index.progress().chroma == "ready"

    folder = tmp_path_factory.mktemp("copied")
    asyncio.run(make(folder))
    return folder / "index"


@pytest.fixture
def folder(tmp_path, copied) -> Path:
    """The same, for a test to harm."""
    return Path(shutil.copytree(copied, tmp_path / "index"))


@pytest.fixture
async def index(tmp_path, folder):
    """An index whose every search asks Chroma."""
    async with opened(tmp_path) as index:
        await index.settled(chroma=True)
        assert index.progress().chroma == "ready"
        yield index


class opened:
    """An index, started and closed."""

    def __init__(self, folder: Path, chroma: str = "embedded") -> None:
        self._index = Index(folder / "index", Numbers(), chroma=chroma, exact=0)

    async def __aenter__(self) -> Index:
        await self._index.start()
        return self._index

    async def __aexit__(self, *_: object) -> None:
        await self._index.close()


async def candidates(index: Index, text: str, scope: Scope | None = None) -> list[str] | None:
    """What Chroma itself names; None where it does not answer."""
    assert index._mirror is not None
    found = await index._mirror.nearest(Numbers().embed([text])[0], scope or Scope(), 10)
    return None if found is None else [f"n{n - 1}" for n in found[0]]


async def found(index: Index, number: int) -> None:
    """The search finds a passage by its vector alone."""
    (hit,) = await index.search(f"text number {number}", k=1)
    assert hit.passage.id == f"n{number}"
    assert hit.similarity == pytest.approx(1.0, abs=1e-3)


def worker(index: Index) -> int:
    assert index._mirror is not None
    return index._mirror.worker


# --- the worker -------------------------------------------------------------------------------


async def test_a_collection_is_kept_and_asked_with_conditions(tmp_path):
    chroma = Chroma(tmp_path / "chroma", "", "llmos")
    assert await chroma.open("mark") == (0, "mark")
    ids = [str(i) for i in range(20)]
    about = [{"pid": i % 4, "source": "turn"} for i in range(20)]
    await chroma.add(ids, vectors(20), about)
    await chroma.add(ids, vectors(20), about)
    await chroma.delete(["3", "unknown"])
    await chroma.close()
    assert await chroma.open("another mark") == (19, "mark")
    nearest = await chroma.query(vectors(20)[5], 3)
    assert nearest[0] == ("5", pytest.approx(0, abs=1e-5))
    assert {int(id) % 4 for id, _ in await chroma.query(vectors(20)[5], 9, {"pid": 2})} == {2}
    await chroma.drop()
    assert await chroma.open("new") == (0, "new")
    await chroma.close()


async def test_the_worker_has_no_network_keeps_its_files_private_and_stores_no_text(tmp_path):
    chroma = Chroma(tmp_path / "chroma", "", "llmos")
    await chroma.open("mark")
    await chroma.add(["1"], vectors(1), [{"pid": 1, "source": "turn"}])
    process = psutil.Process(chroma.pid)
    assert process.net_connections() == []
    await chroma.close()
    files = [file for file in (tmp_path / "chroma").rglob("*") if file.is_file()]
    assert files and {file.stat().st_mode & 0o077 for file in files} == {0}
    assert not any(b"text number" in file.read_bytes() for file in files)
    assert not any(b"onnx" in file.read_bytes().lower() for file in files)  # no embedding function


async def test_a_refusal_is_an_error_of_that_request_alone(tmp_path):
    chroma = Chroma(tmp_path / "chroma", "", "llmos")
    with pytest.raises(ChromaFailed, match="not open"):
        await chroma.delete(["1"])
    await chroma.open("mark")
    await chroma.add(["1"], vectors(1), [{"pid": 1}])
    with pytest.raises(ChromaFailed, match="query"):
        await chroma.query(np.ones(3, np.float32), 1)  # of another dimension
    assert chroma.alive and (await chroma.query(vectors(1)[0], 1))[0][0] == "1"
    await chroma.close()


async def test_a_worker_ends_with_whoever_started_it(tmp_path):
    program = Path(sys.modules[Chroma.__module__].__file__ or "").with_name("chroma_worker.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(program), stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(LENGTHS.pack(100, 0) + b"half a message")
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_cancelled_request_leaves_no_answer_for_the_next(tmp_path):
    chroma = Chroma(tmp_path / "chroma", "", "llmos")
    await chroma.open("mark")
    os.kill(chroma.pid, signal.SIGSTOP)
    request = asyncio.create_task(chroma.delete(["1"]))
    await asyncio.wait([request], timeout=0.01)
    request.cancel()
    await asyncio.wait([request])
    assert not chroma.alive
    assert await chroma.open("mark") == (0, "mark")
    await chroma.close()


# --- the copy ---------------------------------------------------------------------------------


async def test_a_search_of_many_passages_asks_chroma_and_compares_exactly(index):
    await found(index, 7)
    assert "n7" in (await candidates(index, "text number 7") or [])
    named = await candidates(index, "text number 7", Scope(pids=(2,), sources=("turn",)))
    assert named and {int(id[1:]) % 4 for id in named} == {2}


async def test_copying_stands_still_while_somebody_waits_for_the_model(tmp_path):
    async with opened(tmp_path, "off") as index:
        await index.put(turns(20))
        await index.settled()
    async with opened(tmp_path) as index:
        index.pause()
        settled = asyncio.create_task(index.settled(chroma=True))
        await found(index, 7)
        assert worker(index) == 0 and not settled.done()
        assert index.progress().chroma == "building"
        index.resume()
        await settled
        assert "n7" in (await candidates(index, "text number 7") or [])


async def test_what_chroma_lacks_yet_is_found_nevertheless(index):
    index.pause()
    index._mirror._small = 100  # what is behind may be compared one by one
    index.resume()
    os.kill(worker(index), signal.SIGSTOP)
    await index.put(turns(1, start=60))
    await index.settled()
    await found(index, 60)
    os.kill(worker(index), signal.SIGCONT)
    await index.settled(chroma=True)
    assert "n60" in (await candidates(index, "text number 60") or [])


async def test_forgotten_passages_go_from_the_copy(index):
    await index.forget(["n7"], erase=False)
    await index.settled(chroma=True)
    assert "n7" not in (await candidates(index, "text number 7") or ["n7"])
    assert "n7" not in [hit.passage.id for hit in await index.search("text number 7", k=60)]


async def test_the_copy_is_used_again_after_a_restart(folder, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        async with opened(tmp_path) as again:
            await again.settled(chroma=True)
            assert "n7" in (await candidates(again, "text number 7") or [])
    assert caplog.records == []
    assert not (folder / "chroma.broken").exists()


def _deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def _flipped(folder: Path) -> None:
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        file.write_bytes(bytes(byte ^ 0xFF for byte in file.read_bytes()))


def _other_version(folder: Path) -> None:
    with sqlite3.connect(folder / "chroma.sqlite3") as db:
        db.execute("UPDATE migrations SET hash = 'of another version'")
    db.close()


def _another_index(folder: Path) -> None:
    with sqlite3.connect(folder / "chroma.sqlite3") as db:
        db.execute("UPDATE collection_metadata SET str_value = 'of another index'")
    db.close()


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


def _emptied(folder: Path) -> None:
    with sqlite3.connect(folder / "chroma.sqlite3") as db:
        db.execute("DELETE FROM embeddings")
        db.execute("DELETE FROM embeddings_queue")
    db.close()


@pytest.mark.parametrize(
    "harm", [_deleted, _flipped, _other_version, _another_index, _a_file, _emptied]
)
async def test_a_damaged_copy_is_put_aside_and_made_anew(folder, tmp_path, harm):
    (folder / "chroma.broken").mkdir()  # one is kept at most
    harm(folder / "chroma")
    async with opened(tmp_path) as again:
        await found(again, 7)  # before, meanwhile
        await again.settled(chroma=True)
        assert again.progress().chroma == "ready"
        assert "n7" in (await candidates(again, "text number 7") or [])
        await found(again, 7)
    aside = [path.name for path in folder.glob("chroma*broken*")]
    assert aside == ["chroma.broken"]


async def test_a_worker_that_is_killed_comes_back(index):
    before = worker(index)
    os.kill(before, signal.SIGKILL)
    for number in range(3):
        await found(index, number)
    await index.settled(chroma=True)
    assert worker(index) not in (0, before)
    assert "n7" in (await candidates(index, "text number 7") or [])


async def test_a_worker_that_hangs_is_replaced_while_searches_go_on(index, monkeypatch):
    monkeypatch.setattr(limits, "CHROMA_S", 1.0)
    before = worker(index)
    os.kill(before, signal.SIGSTOP)
    await found(index, 7)
    monkeypatch.setattr(limits, "CHROMA_QUERY_S", 30.0)
    await found(index, 8)  # waits until the hanging worker is given up
    monkeypatch.setattr(limits, "CHROMA_S", 20.0)
    await index.settled(chroma=True)
    assert worker(index) not in (0, before)
    assert not psutil.pid_exists(before)
    assert index.progress().chroma == "ready"


async def test_a_worker_that_never_starts_is_given_up_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    async with opened(tmp_path) as index:
        await index.put(turns(3))
        await index.settled(chroma=True)
        assert index.progress().chroma.startswith("broken: Chroma's worker ended")
        await found(index, 1)
        monkeypatch.undo()
        await index.rebuild()
        await index.settled(chroma=True)
        assert index.progress().chroma == "ready"


async def test_without_the_package_there_is_a_sentence_and_the_search(tmp_path, monkeypatch):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # sees no packages
    bare.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(bare))
    async with opened(tmp_path) as index:
        await index.put(turns(3))
        await index.settled(chroma=True)
        assert index.progress().chroma == "broken: The package chromadb is not installed."
        await found(index, 1)


def test_a_place_that_is_none_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="'localhost:8000' is no place for Chroma"):
        Index(tmp_path / "index", Numbers(), chroma="localhost:8000")


async def test_a_small_index_has_no_worker_and_no_copy(tmp_path):
    index = Index(tmp_path / "index", Numbers())
    await index.start()
    await index.put(turns(20))
    await index.settled(chroma=True)
    assert index.progress().chroma == "ready" and worker(index) == 0
    assert not (tmp_path / "index" / "chroma").exists()
    await index.close()


async def test_erasing_throws_the_copy_of_a_small_index_away(tmp_path):
    async with opened(tmp_path) as index:
        await index.put(turns(20))
        await index.settled(chroma=True)
        index._exact = 100
        folder = tmp_path / "index" / "chroma"
        (folder / "mark").write_text("The folder of before.")
        await index.forget(["n3"])
        await index.settled(chroma=True)
        assert (folder / "chroma.sqlite3").exists() and not (folder / "mark").exists()
        assert "n3" not in (await candidates(index, "text number 3") or ["n3"])


# --- a server ---------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path):
    """The Rust server of the package chromadb."""
    program = Path(sys.executable).with_name("chroma")
    if not program.exists():
        pytest.skip("The program chroma of the package chromadb is not installed: run make setup.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        str(program), "run", "--path", str(tmp_path / "server"),
        "--host", "127.0.0.1", "--port", str(port),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while b"listening on address" not in (line := await process.stdout.readline()):
            assert line, "the server ended"
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_external_server_keeps_the_copy(tmp_path, server):
    _, url = server
    async with opened(tmp_path, url) as index:
        await index.put(turns(40))
        await index.settled(chroma=True)
        assert index.progress().chroma == "ready"
        assert not (tmp_path / "index" / "chroma").exists()
        assert "n7" in (await candidates(index, "text number 7") or [])
        await found(index, 7)
        await index.rebuild()
        await index.settled(chroma=True)
        assert "n7" in (await candidates(index, "text number 7") or [])


async def test_a_server_that_goes_away_is_asked_again(tmp_path, server, monkeypatch):
    monkeypatch.setattr(limits, "CHROMA_RETRY_S", 0.05)
    process, url = server
    async with opened(tmp_path, url) as index:
        await index.put(turns(40))
        await index.settled(chroma=True)
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(limits, "CHROMA_S", 0.5)
        monkeypatch.setattr(limits, "CHROMA_START_S", 5.0)
        monkeypatch.setattr(limits, "CHROMA_QUERY_S", 30.0)
        await found(index, 7)
        await index.settled(chroma=True)
        assert index.progress().chroma.startswith("broken: Chroma did not answer in time")
        os.kill(process.pid, signal.SIGCONT)
        monkeypatch.setattr(limits, "CHROMA_S", 20.0)
        while index.progress().chroma != "ready":
            index._mirror.changed()
            await index.settled(chroma=True)
        assert "n7" in (await candidates(index, "text number 7") or [])
