"""A header is read once, and again when its file is another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos import limits, paths
from llmos.errors import ModelCorrupt
from llmos.models import header_cache, header_process
from llmos.models.gguf import read_header, verify

Make = Callable[..., bytes]


@pytest.fixture
def model(tmp_path: Path, make_gguf: Make) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(make_gguf())
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read in a jail."""
    found: list[Path] = []
    inner = header_process.read

    async def read(file: object, size: int, path: Path) -> object:
        found.append(path)
        return await inner(file, size, path)  # type: ignore[arg-type]

    monkeypatch.setattr(header_process, "read", read)
    return found


def cached() -> list[Path]:
    return sorted((paths.cache_dir() / "headers").iterdir())


def test_the_second_time_no_jail_is_needed(model: Path, reads: list[Path]) -> None:
    first = verify(model)
    assert verify(model) == first
    assert reads == [model]
    (kept,) = cached()
    assert not kept.stat().st_mode & 0o077
    assert not kept.parent.stat().st_mode & 0o077


def test_a_file_that_changed_is_read_again(model: Path, reads: list[Path], make_gguf: Make) -> None:
    read_header(model)
    before = model.stat()
    raw = model.read_bytes().replace(b"Tiny", b"Tony")
    model.write_bytes(raw)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if it had not been touched
    assert model.stat().st_size == before.st_size
    assert read_header(model).name == "Tony"
    assert len(reads) == 2
    assert len(cached()) == 1


def test_under_another_name_it_is_told_by_that(
    tmp_path: Path, make_gguf: Make, reads: list[Path]
) -> None:
    path = tmp_path / "one.gguf"
    path.write_bytes(make_gguf({"general.name": None}))
    assert read_header(path).name == "one"
    link = tmp_path / "two.gguf"
    link.symlink_to(path)
    header = read_header(link)
    assert (header.name, header.path) == ("two", link)
    assert len(reads) == 1


def test_what_is_damaged_is_not_kept(tmp_path: Path, make_gguf: Make) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(make_gguf()[:100])
    with pytest.raises(ModelCorrupt):
        read_header(path)
    assert not (paths.cache_dir() / "headers").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", "7", "[" * 10_000, '{"stamp": 1, "header": 2}'),
        *("LIE", "OTHER FIELDS", "\x00"),
    ],
)
def test_a_damaged_cache_only_costs_time(text: str, model: Path, reads: list[Path]) -> None:
    first = read_header(model)
    (kept,) = cached()
    good = json.loads(kept.read_text())
    if text == "LIE":
        text = json.dumps({**good, "header": {**good["header"], "layers": "many"}})
    if text == "OTHER FIELDS":
        text = json.dumps({**good, "header": {"name": "x"}})
    kept.write_text(text)
    assert read_header(model) == first
    assert len(reads) == 2
    assert json.loads(kept.read_text()) == good


def test_a_cache_that_cannot_be_written_only_costs_time(
    model: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths, "atomic_write", full)
    assert read_header(model) == read_header(model)
    assert len(reads) == 2


def test_another_version_of_llmos_reads_again(
    model: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_header(model)
    monkeypatch.setattr(header_cache, "__version__", "0.0.1")
    read_header(model)
    assert len(reads) == 2


def test_of_too_many_headers_the_oldest_go(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GGUF_HEADERS_KEPT", 2)
    header = read_header(model)
    (own,) = cached()
    os.utime(own, (1, 1))
    for name in ("a", "b"):
        other = model.with_name(name)
        other.write_bytes(b"x")
        header_cache.put(other.stat(), header)
    assert len(cached()) == 2
    assert own not in cached()


def test_a_file_that_changes_while_it_is_read_is_not_believed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = header_process.read

    async def read(file: object, size: int, path: Path) -> object:
        header = await inner(file, size, path)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes() + b"more")
        return header

    monkeypatch.setattr(header_process, "read", read)
    with pytest.raises(ModelCorrupt, match="changed while it was read"):
        read_header(model)
    assert not (paths.cache_dir() / "headers").exists()
