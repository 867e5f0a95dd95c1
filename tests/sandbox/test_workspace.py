from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmos import limits
from llmos.sandbox.printed import Printed
from llmos.sandbox.workspace import Workspace
from llmos.sdk import ToolError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "work")
    workspace.make()
    return workspace


def names(workspace: Workspace, before=None) -> list[str]:
    return [each.name for each in workspace.changed(before or {})[0]]


def test_links_and_what_is_no_file_are_never_opened(workspace, tmp_path):
    (tmp_path / "secret").write_text("s")
    (workspace.path / "link").symlink_to(tmp_path / "secret")
    (workspace.path / "folder").symlink_to(tmp_path)
    (workspace.path / "broken").symlink_to("nowhere")
    os.mkfifo(workspace.path / "pipe")  # opening it would wait for a writer
    (workspace.path / "real.txt").write_text("r")
    assert names(workspace) == ["real.txt"]


def test_a_file_in_place_of_a_link_does_not_follow_it(workspace, tmp_path):
    (tmp_path / "outside").write_text("before")
    (workspace.path / "a.txt").symlink_to(tmp_path / "outside")
    workspace.put("a.txt", b"after")
    assert (tmp_path / "outside").read_text() == "before"
    assert (workspace.path / "a.txt").read_bytes() == b"after"
    assert (workspace.path / "a.txt").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/x", "a\0b", "x" * 300])
def test_a_name_that_is_none_is_refused(workspace, name):
    with pytest.raises(ToolError):
        workspace.put(name, b"")
    assert list(workspace.path.iterdir()) == []


def test_a_folder_in_the_way_is_said(workspace):
    (workspace.path / "data").mkdir()
    with pytest.raises(ToolError, match="cannot be put there"):
        workspace.put("data", b"")
    assert [p.name for p in workspace.path.iterdir()] == ["data"]


def test_too_large_a_file_is_not_put_there(workspace, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_PUT_BYTES", 3)
    with pytest.raises(ToolError, match="larger"):
        workspace.put("a", b"1234")


def test_names_with_newlines_and_other_marks_are_made_harmless(workspace):
    for name in (b"a\nb.txt", b"\x1b[31m.txt", b"\xff.txt", "r\u202etxt.exe".encode()):
        (workspace.path / os.fsdecode(name)).write_text("x")
    assert len(names(workspace)) == 4
    assert all(name.isprintable() and "/" not in name for name in names(workspace))


def test_files_of_one_name_in_two_folders_keep_apart(workspace):
    for folder in ("a", "b"):
        (workspace.path / folder).mkdir()
        (workspace.path / folder / "x.csv").write_text(folder)
    assert names(workspace) == ["x.csv", "b-x.csv"]


def test_hidden_files_and_caches_stay(workspace):
    for name in (".config/x", "__pycache__/y.pyc", ".z"):
        path = workspace.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert names(workspace) == []


def test_what_is_handed_over_is_bounded_and_what_is_not_is_said(workspace, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_ARTIFACT_BYTES", 10)
    monkeypatch.setattr(limits, "PYTHON_ARTIFACTS", 2)
    (workspace.path / "a-large").write_bytes(bytes(11))
    for name in "bcd":
        (workspace.path / name).write_bytes(b"x")
    artifacts, said = workspace.changed({})
    assert [each.name for each in artifacts] == ["b", "c"]
    assert "a-large is too large" in said[0] and "more files" in said[1]


def test_only_so_many_names_are_looked_at_and_only_so_deep(workspace, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_FILES_LOOKED", 5)
    for number in range(20):
        (workspace.path / f"{number}").write_text("x")
    assert len(workspace.marks()) == 5
    deep = workspace.path / "/".join(["d"] * (limits.PYTHON_FILES_DEPTH + 2))
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")
    assert len(workspace.marks()) <= 5


def test_very_many_folders_are_not_all_looked_at(workspace, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_FILES_LOOKED", 5)
    for number in range(20):
        (workspace.path / f"{number}").mkdir()
        (workspace.path / f"{number}" / "x").write_text("x")
    assert len(workspace.marks()) < 5


def test_a_folder_deeper_than_python_follows_and_one_without_rights_are_removed(workspace):
    (workspace.path / "shut").mkdir()
    (workspace.path / "shut" / "x").write_text("x")
    (workspace.path / "shut").chmod(0)
    opened = os.open(workspace.path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=opened)
        inner = os.open("d", os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = inner
    os.close(opened)
    workspace.changed({})
    workspace.remove()
    assert not workspace.path.exists()
    workspace.remove()


def test_a_short_text_is_shown_whole_and_a_long_one_with_its_ends():
    printed = Printed(4, 3)
    for byte in b"abcdefg":
        printed.feed(bytes([byte]))
    assert printed.text() == "abcdefg"
    printed.feed(b"hijklmnopqrstuvwxyz")
    assert printed.text() == "abcd\n… 19 bytes of what was printed are left out here …\nxyz"
    assert printed.total == 26
