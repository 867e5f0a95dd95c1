from __future__ import annotations

from pathlib import Path

import pytest

from llmos.sandbox import tiers
from llmos.sandbox.shell import Shell
from llmos.sdk import ToolError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A granted folder with a file, beside one that is not."""
    (tmp_path / "secret").write_text("s")
    folder = tmp_path / "it's granted"
    folder.mkdir()
    (folder / "notes.txt").write_text("one\ntwo\n")
    return folder


async def test_a_command_runs_in_the_granted_folder(folder):
    ran = await Shell(lambda: {folder: True}).run("wc -l < notes.txt; echo new > made.txt")
    assert (ran.output.strip(), ran.error) == ("2", "")
    assert (folder / "made.txt").read_text() == "new\n"


async def test_it_changes_nothing_where_it_may_only_read(folder):
    ran = await Shell(lambda: {folder: False}).run("cat notes.txt; echo x > made.txt")
    assert ran.output.startswith("one\ntwo") and "status" in ran.error
    assert not (folder / "made.txt").exists()


async def test_it_sees_nothing_beside_the_granted_folder(folder):
    ran = await Shell(lambda: {folder: True}).run("cat ../secret")
    assert "status" in ran.error and ran.output != "s"


async def test_errors_come_in_the_order_in_which_they_were_printed(folder):
    ran = await Shell(lambda: {folder: True}).run("echo 1; echo 2 >&2; echo 3; exit 4")
    assert (ran.output, ran.error) == ("1\n2\n3", "It ended with status 4.")


async def test_without_a_grant_it_is_refused(folder):
    with pytest.raises(ToolError, match="No folder is granted"):
        await Shell(lambda: {}).run("ls")


@pytest.mark.parametrize("command", ["", "  ", "a\0b"])
async def test_what_is_no_command_is_refused(folder, command):
    with pytest.raises(ToolError, match="no command"):
        await Shell(lambda: {folder: True}).run(command)


async def test_a_folder_that_may_only_be_read_inside_one_that_may_be_changed_is_refused(folder):
    inner = folder / "inner"
    inner.mkdir()
    with pytest.raises(ToolError, match="grant one or the other"):
        await Shell(lambda: {folder: True, inner: False}).run("ls")


async def test_a_single_file_is_read_but_no_place_to_work_in(folder, tmp_path):
    shell = Shell(lambda: {tmp_path / "secret": True, folder: True, tmp_path / "gone": True})
    ran = await shell.run(f"cat '{tmp_path / 'secret'}'; pwd")
    assert ran.output == f"s{folder}"
    with pytest.raises(ToolError, match="No folder is granted"):
        await Shell(lambda: {tmp_path / "secret": True}).run("ls")


async def test_it_runs_in_the_strongest_jail_unless_told_otherwise(folder):
    assert (await Shell(lambda: {folder: True}, jail=tiers.best).run("echo hi")).output == "hi"


@pytest.mark.parametrize("write", [True, False])
async def test_a_folder_that_holds_llmos_itself_is_shown_to_no_command(home, write):
    """Whoever reads the journal sees every conversation; whoever writes tools runs anything."""
    (home / "state").mkdir(exist_ok=True)
    for granted in (home.parent, home, home / "state", home / "tools" / "mine"):
        granted.mkdir(exist_ok=True, parents=True)
        with pytest.raises(ToolError, match="belongs to llmos itself"):
            await Shell(lambda granted=granted: {granted: write}).run("ls")


async def test_a_granted_folder_that_became_a_link_is_not_followed(tmp_path):
    work = tmp_path / "person" / "work"
    inner = work / "a" / "proj"
    inner.mkdir(parents=True)
    (tmp_path / "person" / "diary.txt").write_text("dear diary")
    shell = Shell(lambda: {work: True, inner: True})
    await shell.run("mv a b; mkdir a; ln -s ../.. a/proj")
    with pytest.raises(ToolError, match="a link stands in its way"):
        await shell.run("cat a/proj/diary.txt")
