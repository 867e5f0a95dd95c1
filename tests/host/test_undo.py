from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmos import limits, paths
from llmos.errors import HostError
from llmos.failpoints import VARIABLE
from llmos.host import changes
from llmos.host.commands import undo
from llmos.host.maker import Maker
from llmos.host.undo import Log

KILLED = """
import sys
from pathlib import Path
from llmos.host import changes
from llmos.host.maker import Maker
from llmos.host.undo import Log
kind, log, *rest = sys.argv[1:]
change = {
    "write": lambda: changes.write(Path(rest[0]), rest[1]),
    "overwrite": lambda: changes.overwrite(Path(rest[0]), rest[1]),
    "delete": lambda: changes.delete(Path(rest[0])),
    "move": lambda: changes.move(Path(rest[0]), Path(rest[1])),
}[kind]()
Maker(Log(Path(log))).make(change)
"""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("person").resolve()


@pytest.fixture
def log(home: Path) -> Log:
    return Log(paths.state_dir() / "undo")


@pytest.fixture
def made(log: Log) -> Maker:
    return Maker(log)


def write(made: Maker, path: Path, text: str) -> int:
    return made.make(changes.overwrite(path, text)).number


def test_what_was_made_in_one_go_is_undone_together_or_not_at_all(made, folder):
    for name in "ab":
        (folder / name).write_text(name)
        made.make(changes.move(folder / name, folder / f"new {name}"), "one go")
    (folder / "a").write_text("in the way")
    with pytest.raises(HostError):
        made.undo()
    assert (folder / "new b").exists()
    (folder / "a").unlink()
    assert [entry.path for entry, _ in made.undo()] == [str(folder / "b"), str(folder / "a")]
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    with pytest.raises(HostError, match="nothing to undo"):
        made.undo()


def test_what_was_undone_meanwhile_is_not_undone_in_the_place_of_another(made, folder):
    first, second = write(made, folder / "a.txt", "one"), write(made, folder / "a.txt", "two")
    made.undo()
    with pytest.raises(HostError, match="meanwhile"):
        made.undo(only=[second])
    assert [entry.number for entry, _ in made.undo(only=[first])] == [first]


def test_the_last_change_is_undone_first_and_an_undoing_can_be_undone(made, folder):
    file = folder / "a.txt"
    first, second = write(made, file, "one"), write(made, file, "two")
    assert made.undo()[0][0].number == second
    assert file.read_text() == "one"
    assert made.undo()[0][0].number == first
    assert not file.exists()
    again = next(each for each in made.changes()[0] if each.undoes == first)
    made.undo(again.number)
    assert file.read_text() == "one"


def test_a_change_is_undone_once_and_one_that_never_was_is_told(made, folder):
    number = write(made, folder / "a.txt", "one")
    made.undo(number)
    with pytest.raises(HostError, match="undone already"):
        made.undo(number)
    with pytest.raises(HostError, match="no change 99"):
        made.undo(99)


def test_a_file_that_was_changed_since_is_left_alone_unless_forced_and_then_is_not_lost(
    made, folder
):
    file = folder / "a.txt"
    file.write_text("one")
    number = write(made, file, "two")
    file.write_text("by hand")
    with pytest.raises(HostError, match="--force"):
        made.undo(number)
    assert file.read_text() == "by hand"
    made.undo(number, force=True)
    assert file.read_text() == "one"
    made.undo(made.changes()[0][-1].number)
    assert file.read_text() == "by hand"


def test_a_deleted_file_comes_back_with_its_bytes_its_permissions_and_its_folder(made, folder):
    file = folder / "sub" / "a.bin"
    file.parent.mkdir()
    file.write_bytes(bytes(range(256)))
    file.chmod(0o600)
    made.make(changes.delete(file))
    file.parent.rmdir()
    made.undo()
    assert file.read_bytes() == bytes(range(256))
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_move_is_not_undone_onto_something_that_came_there(made, folder):
    (folder / "a").write_text("moved")
    made.make(changes.move(folder / "a", folder / "b"))
    (folder / "a").write_text("new")
    with pytest.raises(HostError, match="already something"):
        made.undo(force=True)
    assert ((folder / "a").read_text(), (folder / "b").read_text()) == ("new", "moved")


def test_what_was_put_in_the_place_of_a_moved_file_is_not_moved_back(made, folder):
    (folder / "a").write_text("moved")
    made.make(changes.move(folder / "a", folder / "b"))
    (folder / "other").write_text("other")
    (folder / "other").replace(folder / "b")
    with pytest.raises(HostError, match="not what was moved"):
        made.undo()


def test_the_oldest_go_first_where_room_is_needed_and_that_is_told(made, folder, monkeypatch):
    monkeypatch.setattr(limits, "UNDO_BYTES", 250)
    (folder / "a").write_text("x" * 100)
    for number in range(5):
        write(made, folder / "a", f"{number}" * 100)
    kept, lost = made.changes()
    assert [each.number for each in kept] == [4, 5]
    assert lost == 3
    with pytest.raises(HostError, match="room was needed"):
        made.undo(1)


def test_what_somebody_who_was_killed_had_half_written_is_swept_away(made, folder):
    write(made, folder / "a", "one")
    (paths.state_dir() / "undo" / ".2.image.x").write_text("half")
    write(made, folder / "a", "two")
    assert sorted(os.listdir(paths.state_dir() / "undo")) == ["1.done", "2.done", "2.image", "lock"]


def test_the_log_is_bounded_also_where_nothing_is_kept_of_a_change(made, folder, monkeypatch):
    monkeypatch.setattr(limits, "UNDO_CHANGES", 3)
    for number in range(6):
        write(made, folder / f"{number}", "new")
    assert [each.number for each in made.changes()[0]] == [4, 5, 6]


def test_the_log_is_private_and_a_damaged_entry_hides_no_other(made, folder):
    write(made, folder / "a", "one")
    write(made, folder / "b", "two")
    kept = paths.state_dir() / "undo"
    assert kept.stat().st_mode & 0o77 == 0
    assert all(file.stat().st_mode & 0o77 == 0 for file in kept.iterdir())
    for damaged in (b"{", b"[]", b'{"path": 3}', b"\xff" * 10, b"[" * 50_000):
        (kept / "1.done").write_bytes(damaged)
        assert [each.number for each in made.changes()[0]] == [2]


@pytest.mark.parametrize(
    "point", ["change-begun", "change-prepared", "change-exchanged", "change-made"]
)
@pytest.mark.parametrize("kind", ["overwrite", "create", "delete", "move"])
def test_killed_at_any_moment_a_file_is_as_before_or_as_after_and_undo_knows_which(
    made, log, folder, kind, point
):
    file, other = folder / "a.txt", folder / "b.txt"
    if kind != "create":
        file.write_text("before")
    rest = {"move": [str(file), str(other)], "delete": [str(file)]}.get(kind, [str(file), "after"])
    ran = subprocess.run(
        [
            *(sys.executable, "-c", KILLED, "write" if kind == "create" else kind),
            *(str(paths.state_dir() / "undo"), *rest),
        ],
        env={**os.environ, VARIABLE: point},
        check=False,
    )
    kept, _ = made.changes()
    if ran.returncode:
        assert ran.returncode < 0 or ran.returncode > 100
    was = {each.name: each.read_text() for each in folder.iterdir()}
    before = {} if kind == "create" else {"a.txt": "before"}
    after = {"delete": {}, "move": {"b.txt": "before"}}.get(kind, {"a.txt": "after"})
    assert was == (after if kept else before)
    if kept:
        made.undo()
        assert {each.name: each.read_text() for each in folder.iterdir()} == before
    write(made, file, "later")  # the log is whole and goes on
    assert made.undo()[0][0].kind == "overwrite"


# --- the command ------------------------------------------------------------------------------


def test_the_command_lists_shows_and_undoes(made, folder):
    (folder / "a.txt").write_text("one\n")
    write(made, folder / "a.txt", "two\n")
    run = CliRunner()
    listed = json.loads(run.invoke(undo, ["--list", "--json"]).output)
    assert [each["number"] for each in listed["changes"]] == [1]
    assert "a.txt" in run.invoke(undo, ["--list"]).output
    done = run.invoke(undo, [])
    assert done.exit_code == 0
    assert "-two" in done.output and "+one" in done.output
    assert (folder / "a.txt").read_text() == "one\n"
    again = run.invoke(undo, [])
    assert isinstance(again.exception, HostError)


def test_the_command_makes_names_harmless(made, folder):
    write(made, folder / "a\x1b[2Jb.txt", "one")
    assert "\x1b" not in CliRunner().invoke(undo, ["--list"]).output


def test_nothing_was_changed_yet(home):
    assert "Nothing" in CliRunner().invoke(undo, ["--list"]).output


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "Free some space"), (errno.EACCES, "LLMOS_HOME")]
)
def test_where_nothing_can_be_kept_the_remedy_is_the_right_one(home, monkeypatch, number, remedy):
    def refused(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(paths, "private_dir", refused)
    told = CliRunner().invoke(undo, []).exception
    assert isinstance(told, HostError) and remedy in told.remedy
