from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from llmos import limits, paths
from llmos.errors import HostError
from llmos.host import placing
from llmos.host.folders import Folders
from llmos.host.maker import Maker
from llmos.host.places import Grant
from llmos.host.undo import Log
from llmos.sdk import ToolError


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the person's, away from llmos's own home."""
    return tmp_path_factory.mktemp("granted").resolve()


@pytest.fixture
def log(home: Path) -> Log:
    return Log(paths.state_dir() / "undo")


@pytest.fixture
async def folders(folder: Path, log: Log):
    granted = [Grant.of(folder, write=True)]
    each = Folders(lambda: granted, log)
    yield each
    await each.close()


async def refused(work) -> str:
    with pytest.raises(ToolError) as caught:
        await work
    return str(caught.value)


# --- reading ----------------------------------------------------------------------------------


async def test_a_listing_tells_size_and_time_and_leaves_out_what_is_hidden_or_secret(
    folders, folder
):
    (folder / "b.txt").write_text("four")
    (folder / "Sub").mkdir()
    for name in (".env", ".hidden", "server.pem", "id_rsa", "Login Data", "a\nb.txt"):
        (folder / name).write_text("secret")
    os.utime(folder / "b.txt", (1e9, 1e9))
    listed = await folders.list(str(folder))
    assert [Path(each.path).name for each in listed] == ["Sub", "b.txt"]
    assert (listed[1].size, listed[1].modified, listed[1].folder) == (4, 1e9, False)


async def test_a_pattern_looks_below_and_a_path_may_begin_with_the_folders_name(folders, folder):
    (folder / "x" / "y").mkdir(parents=True)
    (folder / "x" / "y" / "One.JPG").touch()
    (folder / "two.jpg").touch()
    found = [Path(each.path).name for each in await folders.list("", "*.jpg")]
    assert sorted(found) == ["One.JPG", "two.jpg"]
    found = await folders.list(f"{folder.name}/x", "y/*.jpg")
    assert [Path(each.path).name for each in found] == ["One.JPG"]


async def test_to_read_a_file_the_case_of_its_letters_is_no_matter_but_to_write_it_is(
    folders, folder
):
    (folder / "Reports").mkdir()
    (folder / "Reports" / "May.md").write_text("sunny")
    assert await folders.read("reports/may.md") == "sunny"
    await folders.write("reports/may.md", "rainy")
    assert (folder / "Reports" / "May.md").read_text() in ("sunny", "rainy")
    assert (folder / "reports" / "may.md").read_text() == "rainy"


async def test_text_is_read_in_its_encoding(folders, folder):
    (folder / "a").write_bytes("grün\r\nrot\r\n".encode("utf-16"))
    (folder / "b").write_bytes("grün".encode("latin-1"))
    assert await folders.read("a") == "grün\nrot\n"
    assert await folders.read("b") == "grün"


async def test_a_page_of_html_is_read_as_text(folders, folder):
    (folder / "page.html").write_text("<html><body><p>Roses are red.</p><script>x</script></body>")
    assert "Roses are red." in await folders.read("page.html")


async def test_what_is_binary_is_not_read(folders, folder):
    (folder / "a.bin").write_bytes(b"\0\1\2" * 100)
    assert "binary" in await refused(folders.read("a.bin"))


async def test_of_a_very_long_file_the_beginning_is_read_and_that_is_said(
    folders, folder, monkeypatch
):
    monkeypatch.setattr(limits, "GRANTED_TEXT_CHARS", 10)
    (folder / "long.txt").write_text("0123456789abc")
    assert await folders.read("long.txt") == (
        "0123456789\n[The file goes on; only its beginning is here.]"
    )


async def test_search_is_literal_and_bounded(folders, folder, monkeypatch):
    (folder / "a.txt").write_text("One\nTWO (2)\nthree two (2)\n")
    (folder / ".env").write_text("two (2)")
    found = await folders.search("two (2)")
    assert [(each.line, each.text) for each in found] == [(2, "TWO (2)"), (3, "three two (2)")]
    assert found.missing == ""
    monkeypatch.setattr(limits, "GRANTED_FOUND", 1)
    found = await folders.search("two")
    assert len(found) == 1
    assert "more" in found.missing


async def test_a_folder_with_more_names_than_are_looked_at_is_cut_and_says_so(
    folders, folder, monkeypatch
):
    for number in range(30):
        (folder / f"{number}").touch()
    monkeypatch.setattr(limits, "GRANTED_LISTED", 20)
    listed = await folders.list(str(folder))
    assert len(listed) == 20
    assert "20" in listed.missing


# --- what lies outside ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../etc/passwd", "~/../../etc/passwd", "/proc/self/environ", "x/../../.."],
)
async def test_nothing_outside_is_read(folders, path):
    said = await refused(folders.read(path))
    assert "granted" in said or "There is no" in said


async def test_links_are_not_followed_wherever_they_stand(folders, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (folder / "link").symlink_to(outside)
    (folder / "file.md").symlink_to(outside / "secret.md")
    for path in ("link/secret.md", "file.md"):
        assert "link" in await refused(folders.read(path))
        assert "link" in await refused(folders.write(path, "x"))
    assert "link" in await refused(folders.list("link"))
    assert await folders.list(str(folder)) == []
    assert await folders.search("secret") == []
    assert (outside / "secret.md").read_text() == "secret"


async def test_devices_pipes_and_sockets_are_left_alone(folders, folder):
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s"))
        for name in ("pipe", "s"):
            assert "no ordinary file" in await refused(folders.read(name))
            assert "no ordinary file" in await refused(folders.write(name, "x"))
    assert await folders.list(str(folder)) == []


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "a\x1b[2Jb", "a" * 5000])
async def test_names_that_no_path_should_hold_are_refused(folders, name):
    said = await refused(folders.write(name, "x"))
    assert "\x1b" not in said and "\0" not in said


async def test_hidden_files_and_secrets_are_refused_unless_granted_exactly(folder, log):
    (folder / ".env").write_text("KEY=1")
    granted = [Grant.of(folder, write=True)]
    each = Folders(lambda: granted, log)
    assert "hidden" in await refused(each.read(".env"))
    assert "hidden" in await refused(each.write(".bashrc", "x"))
    assert "secret" in await refused(each.write("key.pem", "x"))
    granted.append(Grant.of(folder / ".env"))
    assert await each.read(str(folder / ".env")) == "KEY=1"
    assert "hidden" in await refused(each.write(str(folder / ".profile"), "x"))


async def test_llmos_itself_is_out_of_reach_even_where_all_around_it_is_granted(home, log):
    state = paths.private_dir(paths.state_dir())
    (state / "journal.db").write_text("all that was said")
    (home / "config.toml").write_text("")
    each = Folders(lambda: [Grant.of(home, write=True)], log)
    assert "itself" in await refused(each.read(str(state / "journal.db")))
    assert "itself" in await refused(each.write(str(home / "config.toml"), "x"))
    assert await each.search("said") == []


async def test_a_folder_granted_for_reading_is_not_changed(folder, log):
    (folder / "a.txt").write_text("a")
    each = Folders(lambda: [Grant.of(folder)], log)
    for work in (each.write("a.txt", "b"), each.delete("a.txt"), each.move("a.txt", "b.txt")):
        assert "not changed" in await refused(work)
    assert (folder / "a.txt").read_text() == "a"


async def test_a_grant_that_was_taken_back_counts_at_once(folder, log):
    granted = [Grant.of(folder)]
    each = Folders(lambda: granted, log)
    await each.list(str(folder))
    granted.clear()
    assert "No folder is granted" in await refused(each.list(str(folder)))


def test_the_whole_machine_cannot_be_granted():
    with pytest.raises(HostError):
        Grant.of("/")


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc", "/dev", "/dev/stdin"])
def test_where_the_system_shows_its_processes_nothing_can_be_granted(path):
    """The kernel's environment may hold the keys to other people's servers."""
    with pytest.raises(HostError):
        Grant.of(path)


# --- changing ---------------------------------------------------------------------------------


async def test_a_new_file_gets_the_folders_it_needs_and_shows_its_diff(folders, folder):
    diff, seen = await folders.preview("write", path="new/deep/a.txt", text="one\n")
    assert not (folder / "new").exists()
    assert diff.splitlines()[0] == "--- /dev/null"
    assert diff.splitlines()[2:] == ["@@ -0,0 +1 @@", "+one"]
    assert await folders.write("new/deep/a.txt", "one\n", seen) == diff
    assert (folder / "new/deep/a.txt").read_text() == "one\n"


async def test_an_edit_keeps_encoding_line_ends_and_permissions(folders, folder):
    file = folder / "a.txt"
    file.write_bytes("grün\r\nrot\r\n".encode("utf-16"))
    file.chmod(0o640)
    diff = await folders.edit("a.txt", "rot\n", "blau\n")
    assert "-rot" in diff and "+blau" in diff
    assert file.read_bytes() == "grün\r\nblau\r\n".encode("utf-16")
    assert file.stat().st_mode & 0o777 == 0o640


async def test_an_edit_needs_a_text_that_stands_there_once(folders, folder):
    (folder / "a.txt").write_text("x x")
    assert "2 times" in await refused(folders.edit("a.txt", "x", "y"))
    assert "does not stand" in await refused(folders.edit("a.txt", "z", "y"))


async def test_a_file_changed_between_diff_and_write_is_left_as_it_is(folders, folder):
    file = folder / "a.txt"
    file.write_text("one")
    for change, rest in (
        ("overwrite", {"text": "two"}),
        ("edit", {"old": "one", "new": "two"}),
        ("delete", {}),
    ):
        _, seen = await folders.preview(change, path="a.txt", **rest)
        file.write_text("one and a half")
        said = await refused(getattr(folders, change)(path="a.txt", seen=seen, **rest))
        assert "changed" in said
        assert file.read_text() == "one and a half"
        file.write_text("one")


async def test_who_writes_in_the_last_instant_keeps_their_text(folders, folder, monkeypatch):
    file = folder / "a.txt"
    file.write_text("one")

    def barge_in(name: str) -> None:
        if name == "change-prepared":
            file.write_text("theirs")

    monkeypatch.setattr(placing, "failpoint", barge_in)
    assert "in the meantime" in await refused(folders.overwrite("a.txt", "two"))
    assert file.read_text() == "theirs"
    assert os.listdir(folder) == ["a.txt"]


async def test_a_new_file_never_replaces_one_that_came_in_the_last_instant(
    folders, folder, monkeypatch
):
    def barge_in(name: str) -> None:
        if name == "change-prepared":
            (folder / "a.txt").write_text("theirs")

    monkeypatch.setattr(placing, "failpoint", barge_in)
    assert "in the meantime" in await refused(folders.overwrite("a.txt", "two"))
    assert (folder / "a.txt").read_text() == "theirs"
    assert os.listdir(folder) == ["a.txt"]


async def test_moving_renames_moves_into_a_folder_and_replaces_nothing(folders, folder):
    (folder / "a.txt").write_text("a")
    (folder / "sub").mkdir()
    await folders.move("a.txt", "b.txt")
    await folders.move("b.txt", str(folder / "sub"))
    assert (folder / "sub/b.txt").read_text() == "a"
    (folder / "c.txt").write_text("c")
    assert "already" in await refused(
        folders.move(str(folder / "sub/b.txt"), str(folder / "c.txt"))
    )
    await folders.move(str(folder / "c.txt"), str(folder / "2024-05" / "c.txt"))
    assert (folder / "2024-05" / "c.txt").read_text() == "c"
    assert "granted" in await refused(folders.move("sub", "/tmp/elsewhere"))
    assert "into itself" in await refused(folders.move("sub", str(folder / "sub" / "x")))


async def test_copying_copies_every_byte_and_replaces_nothing(folders, folder):
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "a.bin").chmod(0o640)
    (folder / "sub").mkdir()
    await folders.copy("a.bin", "b.bin")
    await folders.copy("a.bin", f"{folder}/sub")
    for copied in (folder / "b.bin", folder / "sub" / "a.bin"):
        assert copied.read_bytes() == bytes(range(256))
        assert copied.stat().st_mode & 0o777 == 0o640
    assert (folder / "a.bin").exists()
    assert "already" in await refused(folders.copy("a.bin", "b.bin"))
    assert "only files" in await refused(folders.copy("sub", "sub2"))
    assert "no file" in await refused(folders.copy("none.txt", "x.txt"))
    assert "granted" in await refused(folders.copy("a.bin", "/tmp/elsewhere.bin"))


async def test_a_copy_is_of_what_was_shown(folders, folder):
    (folder / "a.txt").write_text("as shown")
    _, seen = await folders.preview("copy", path="a.txt", to="b.txt")
    (folder / "a.txt").write_text("something else")
    assert "changed since" in await refused(folders.copy("a.txt", "b.txt", seen))
    assert not (folder / "b.txt").exists()


async def test_the_last_change_is_taken_back_and_then_the_one_before(folders, folder):
    (folder / "a.txt").write_text("one\n")
    await folders.append("a.txt", "two")
    await folders.copy("a.txt", "b.txt")
    shown, seen = await folders.preview("undo")
    assert "b.txt" in shown
    await folders.undo(seen)
    assert not (folder / "b.txt").exists()
    assert "-two" in await folders.undo()
    assert (folder / "a.txt").read_text() == "one\n"
    assert "nothing to undo" in await refused(folders.undo())


async def test_what_is_taken_back_is_what_was_shown_and_nothing_that_was_changed_since(
    folders, folder
):
    (folder / "a.txt").write_text("one\n")
    await folders.append("a.txt", "two")
    _, seen = await folders.preview("undo")
    await folders.write("b.txt", "new")
    assert "changed since" in await refused(folders.undo(seen))
    (folder / "b.txt").write_text("by hand")
    assert "was changed since" in await refused(folders.undo())
    assert (folder / "b.txt").read_text() == "by hand"


async def test_a_change_outside_of_what_is_granted_now_is_not_taken_back(folders, folder, tmp_path):
    (folder / "a.txt").write_text("one\n")
    await folders.append("a.txt", "two")
    other = tmp_path / "other"
    other.mkdir()
    narrow = Folders(lambda: [Grant.of(other, write=True)], folders._maker._log)
    assert "granted" in await refused(narrow.undo())
    assert (folder / "a.txt").read_text() == "one\ntwo\n"


async def test_a_folder_that_is_not_there_is_made_where_it_is_said_and_no_file_takes_its_name(
    folders, folder
):
    (folder / "a.txt").write_text("a")
    (folder / "file").write_text("")
    assert "no folder" in await refused(folders.move("a.txt", str(folder / "old")))
    assert "is no folder" in await refused(folders.move("a.txt", f"{folder}/file/"))
    await folders.move("a.txt", f"{folder}/old/")
    assert (folder / "old" / "a.txt").read_text() == "a"
    await folders.move("file", str(folder / "name"))  # neither has an ending
    assert (folder / "name").is_file()


async def test_a_read_only_file_and_the_granted_folder_itself_are_not_changed(folders, folder):
    (folder / "a.txt").write_text("a")
    (folder / "a.txt").chmod(0o444)
    assert "read-only" in await refused(folders.overwrite("a.txt", "b"))
    assert "granted folder itself" in await refused(folders.move(str(folder), "/tmp/x"))


async def test_a_full_disk_under_the_log_means_that_nothing_is_changed(
    folders, folder, monkeypatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (folder / "a.txt").write_text("a")
    monkeypatch.setattr(paths, "atomic_write", full)
    assert "Nothing was changed" in await refused(folders.overwrite("a.txt", "b"))
    assert (folder / "a.txt").read_text() == "a"


async def test_every_change_can_be_taken_back(folders, folder, log):
    file = folder / "a.txt"
    file.write_text("one\n")
    await folders.overwrite("a.txt", "two\n")
    await folders.edit("a.txt", "two", "three")
    await folders.move("a.txt", "b.txt")
    await folders.delete("b.txt")
    await folders.write("new/c.txt", "c")
    assert sorted(os.listdir(folder)) == ["new"]
    maker_ = Maker(log)
    for _ in range(5):
        maker_.undo()
    assert os.listdir(folder) == ["a.txt"]
    assert file.read_text() == "one\n"
    with pytest.raises(HostError, match="nothing to undo"):
        maker_.undo()


async def test_what_was_shown_of_one_file_is_not_done_to_another_of_the_same_text(
    tmp_path_factory, log
):
    place = tmp_path_factory.mktemp("two").resolve()
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "todo.txt").write_text("buy milk\n")
    granted = [Grant.of(place / name, write=True) for name in ("a", "b")]
    folders = Folders(lambda: granted, log)
    _, seen = await folders.preview("delete", path="todo.txt")
    (place / "a" / "todo.txt").rename(place / "a" / "other.txt")
    assert "changed since" in await refused(folders.delete("todo.txt", seen))
    assert (place / "b" / "todo.txt").exists()
    await folders.close()
