from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from llmos import paths


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A state directory whose path is too long for a socket address."""
    return tmp_path / ("d" * 100) / "state"


def test_a_socket_with_a_long_path_is_where_every_terminal_finds_it(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runtime = paths.private_dir(Path("/tmp") / f"llmos-test-{os.getpid()}")
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        first = paths.socket_path(deep)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        assert paths.socket_path(deep) == first
        assert first.parent == runtime / "llmos"
        assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
        assert paths.socket_path(deep.parent) != first
    finally:
        (runtime / "llmos").rmdir()
        runtime.rmdir()


def test_a_link_in_the_place_of_the_socket_s_folder_is_refused(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runtime = paths.private_dir(Path("/tmp") / f"llmos-test-{os.getpid()}")
    try:
        (runtime / "llmos").symlink_to(tmp_path)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with pytest.raises(PermissionError):
            paths.socket_path(deep)
    finally:
        (runtime / "llmos").unlink()
        runtime.rmdir()


def test_a_private_folder_s_new_parents_are_private_too(tmp_path: Path):
    paths.private_dir(tmp_path / "a" / "b" / "c")
    for folder in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_own_tools_are_below_the_home(home: Path):
    assert paths.tools_dir() == home / "tools"


@pytest.mark.parametrize("kind", ["file", "dangling link", "nothing", "folder"])
def test_what_stands_in_the_place_of_a_folder_that_can_be_made_anew_is_put_aside(
    tmp_path: Path, kind: str
):
    folder = tmp_path / "index"
    if kind == "file":
        folder.write_text("mine")
    elif kind == "dangling link":
        folder.symlink_to(tmp_path / "none")
    elif kind == "folder":
        folder.mkdir()
        (folder / "kept").touch()
    assert paths.remade_dir(folder).is_dir()
    aside = tmp_path / "index.broken"
    assert os.path.lexists(aside) == (kind in ("file", "dangling link"))
    assert kind != "file" or aside.read_text() == "mine"
    assert (folder / "kept").exists() == (kind == "folder")
