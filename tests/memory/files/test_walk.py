"""A walk finds the files that count, says why others don't, and never leaves the folder."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from llmos import limits
from llmos.errors import FileNotRead
from llmos.memory.files.walk import Found, Unread, Walk, open_inside, shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = (tmp_path / "folder").resolve()
    made.mkdir()
    return made


def write(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(folder: Path, **options) -> list[str]:
    return [shown(e.path) for e in Walk(folder, **options) if isinstance(e, Found)]


def unread(folder: Path) -> dict[str, str]:
    return {shown(e.path): e.reason for e in Walk(folder) if isinstance(e, Unread)}


def test_files_are_found_in_the_order_of_their_names(folder: Path):
    write(folder, "b.txt", "a/z.md", "a/b/c.py")
    assert found(folder) == ["a/b/c.py", "a/z.md", "b.txt"]


def test_what_is_hidden_or_made_by_tools_is_left_out(folder: Path):
    write(folder, "kept", ".hidden", ".git/config", "node_modules/m/a.js", "x/__pycache__/a.pyc")
    write(folder, ".venv/a.py", "env/pyvenv.cfg", "env/lib.py", "cache/CACHEDIR.TAG", "cache/a")
    assert found(folder) == ["kept"]
    assert unread(folder) == {}


def test_ignore_files_are_obeyed_where_they_stand(folder: Path):
    write(folder, "a.log", "sub/a.log", "sub/keep.log", "sub/deep/b.tmp", "sub/c.tmp", "out/x", "y")
    (folder / ".gitignore").write_text("*.log\n/out/\n# comment\n\n")
    (folder / "sub/.gitignore").write_text("!keep.log\nc.tmp\n")
    (folder / "sub/deep/.ignore").write_text("*.tmp")
    assert found(folder) == ["sub/keep.log", "y"]


def test_the_own_ignore_file_has_the_last_word(folder: Path):
    write(folder, "a.log", ".notes/idea.md", "b.txt")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / ".llmosignore").write_text("!*.log\n!.notes\n!idea.md\nb.txt\n")
    assert found(folder) == [".notes/idea.md", "a.log"]


def test_the_rules_of_a_repository_hold_in_its_folders(tmp_path: Path):
    write(tmp_path, "repo/.git/HEAD", "repo/docs/a.md", "repo/docs/a.log")
    (tmp_path / "repo/.gitignore").write_text("*.log")
    (tmp_path / ".gitignore").write_text("*.md")  # of nothing that the folder belongs to
    assert found((tmp_path / "repo/docs").resolve()) == ["a.md"]


def test_a_malformed_pattern_is_passed_over(folder: Path):
    write(folder, "a.txt", "b.log")
    (folder / ".gitignore").write_bytes(b"!\n\xff\xfe[\n//\n[z-a]\n*.log\n")
    assert found(folder) == ["a.txt"]


def test_a_pattern_made_to_be_slow_is_not(folder: Path):
    write(folder, "a" * 200, "b")
    (folder / ".gitignore").write_text("*a" * 100 + "b\n")
    assert found(folder) == ["b"]  # what is left of the pattern leaves out more than it did


def test_an_ignore_file_that_is_no_file_is_as_if_it_were_not_there(folder: Path):
    write(folder, "a.txt", "secret")
    os.mkfifo(folder / ".gitignore")
    (folder / ".ignore").symlink_to("/dev/zero")
    assert found(folder) == ["a.txt", "secret"]


def test_own_folders_are_left_out(folder: Path):
    write(folder, "state/journal.db", "a.txt")
    assert found(folder, exclude=[folder / "state"]) == ["a.txt"]


def test_a_link_to_a_file_in_the_folder_counts_once(folder: Path):
    write(folder, "sub/real.txt")
    (folder / "link.txt").symlink_to("sub/real.txt")
    os.link(folder / "sub/real.txt", folder / "sub/same.txt")
    assert found(folder) == ["sub/real.txt"]
    assert unread(folder) == {}


def test_links_out_of_the_folder_and_in_circles_are_not_followed(folder: Path, tmp_path: Path):
    write(tmp_path, "secret/key.txt")
    write(folder, "a.txt", ".hidden")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "file").symlink_to(tmp_path / "secret/key.txt")
    (folder / "round").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "nothing").symlink_to("not there")
    (folder / "left-out").symlink_to(".hidden")
    assert found(folder) == ["a.txt"]
    assert unread(folder) == {
        "out": "It is a link out of the folder.",
        "file": "It is a link out of the folder.",
        "self": "It is a link that leads to itself.",
        "nothing": "It is a link to nothing.",
        "left-out": "It is a link to a file that is left out.",
    }


def test_pipes_and_sockets_are_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write(folder, "a.txt")
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert found(folder) == ["a.txt"]
        assert set(unread(folder)) == {"pipe", "socket"}


@pytest.mark.skipif(os.getuid() == 0, reason="Root may read everything.")
def test_what_can_not_be_read_is_told(folder: Path):
    write(folder, "closed/a.txt", "b.txt")
    (folder / "closed").chmod(0)
    try:
        entries = list(Walk(folder))
    finally:
        (folder / "closed").chmod(0o700)
    assert Unread(b"closed", "It can't be read: Permission denied.", blind=True) in entries


def test_a_folder_that_fails_is_told_and_hides_what_is_below(folder: Path, monkeypatch):
    write(folder, "bad/a.txt", "b.txt")
    real = os.scandir

    def failing(path):
        if path.endswith(b"bad"):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    entries = list(Walk(folder))
    assert Unread(b"bad", "It can't be read: Input/output error.", blind=True) in entries
    assert [e.path for e in entries if isinstance(e, Found)] == [b"b.txt"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS takes no name that is not UTF-8.")
def test_names_that_are_no_text_are_found_and_shown(folder: Path):
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    (folder / "two\nlines").write_text("x")
    entries = [e for e in Walk(folder) if isinstance(e, Found)]
    assert [e.path for e in entries] == [b"caf\xe9.txt", b"two\nlines"]
    assert [shown(e.path) for e in entries] == ["caf\ufffd.txt", "two\ufffdlines"]
    with open_inside(folder, entries[0].path) as file:
        assert file.read() == b"x"


def test_a_look_at_a_part_sees_only_that(folder: Path):
    write(folder, "a/b/c.txt", "a/d.txt", "a/log", "e.txt")
    (folder / ".gitignore").write_text("log")
    assert found(folder, only=[b"a/b", b"e.txt", b"a/log"]) == ["a/b/c.txt", "e.txt"]
    assert found(folder, only=[b"gone"]) == []
    assert found(folder, only=[b""]) == found(folder)


def test_a_folder_too_deep_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MOUNT_DEPTH", 2)
    write(folder, "1/2/a.txt", "1/2/3/b.txt")
    assert found(folder) == ["1/2/a.txt"]
    assert unread(folder) == {"1/2/3": "It lies too deep."}


def test_more_names_than_the_limit_are_not_looked_at(folder: Path, monkeypatch):
    monkeypatch.setattr(limits, "MOUNT_ENTRIES", 3)
    write(folder, "a", "b", "c/d", "c/e")
    assert len(found(folder)) < 4
    assert "too many" in unread(folder)[""]


def test_a_folder_that_is_not_there_can_not_be_looked_at(folder: Path):
    with pytest.raises(FileNotFoundError):
        list(Walk(folder / "not there"))


# --- opening what was found -------------------------------------------------------------------


def test_a_file_swapped_for_a_link_is_not_opened(folder: Path, tmp_path: Path):
    write(tmp_path, "secret/key.txt")
    (folder / "key.txt").symlink_to(tmp_path / "secret/key.txt")
    (folder / "sub").symlink_to(tmp_path / "secret")
    for path in (b"key.txt", b"sub/key.txt"):
        with pytest.raises(FileNotRead, match="no file any more"):
            open_inside(folder, path)


def test_a_file_swapped_for_a_pipe_is_not_waited_for(folder: Path):
    os.mkfifo(folder / "pipe")
    with pytest.raises(FileNotRead, match="no file any more"):
        open_inside(folder, b"pipe")
