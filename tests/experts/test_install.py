"""Installing experts: what is shown before the yes, what is refused, and what is left behind."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos import limits, paths
from llmos.errors import ExpertError
from llmos.experts import archive, install, locked

MANIFEST = """
format = 1
name = "birds"
version = "1.0.0"
licence = "Apache-2.0"
summary = "Birds."
prompt = "You know birds."
"""


@pytest.fixture
def installed() -> Path:
    return paths.plugins_dir()


def left(installed: Path) -> list[str]:
    return sorted(path.name for path in installed.iterdir() if path.name != ".lock")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


# --- what goes well -----------------------------------------------------------------------------


async def test_an_expert_is_installed_and_speaks(write, experts, installed):
    staged = install.stage(write(permissions='folders = "read"', uses='"folders"'))
    assert staged.before is None
    assert not (await experts(installed / "none")).all()  # not yet
    staged.commit()
    loaded = await experts(installed / "none")
    (expert,) = loaded.all()
    assert (expert.name, expert.version, expert.bundled) == ("ornithologist", "1.0.0", False)
    assert expert.prompt == "You know birds."
    assert expert.starters == ("Which bird is that?",)
    assert expert.knowledge == ("knowledge/gulls.md",)
    assert list(expert.own) == ["bird.sing"]
    lock = locked.read(installed / "ornithologist.lock.json")
    assert set(lock.files) == {
        *("plugin.toml", "knowledge/gulls.md", "tools/bird/tool.toml"),
        "tools/bird/__init__.py",
    }
    for path in [installed, *installed.rglob("*")]:
        assert not path.stat().st_mode & 0o077, path


def test_what_it_may_do_is_told_from_its_declarations(write):
    staged = install.stage(
        write(
            permissions='web = ["birds.example", "*.gull.example"]\nfolders = "write"\n'
            "memory_mb = 128",
            uses='"web"',
            effect="egress",
        )
    )
    staged.discard()
    assert staged.told == (
        "It may read pages of birds.example, any site below gull.example, and of no other site; "
        "an address can carry words of your chat there.",
        "It may read files in the folders that you granted to llmos, and any file or folder whose "
        "path you write in the chat, and change files in those that you granted with --write "
        "(this grants no folder; “llmos grants” lists yours).",
        "Within that, it may use these tools of llmos: clock, calculator.evaluate.",
        "It brings tools of its own: bird.sing (goes to the web). They run in a jail, with at "
        "most 128 MB of memory, and reach nothing but what is said here.",
        "It brings a file that it quotes from (1 kB).",
    )


def test_folders_that_are_only_read_are_not_told_as_changed(write):
    staged = install.stage(write(permissions='folders = "read"\npython = true\nweb = ["*"]'))
    staged.discard()
    told = " ".join(staged.told)
    assert "read any page of the web; an address can carry words of your chat there." in told
    assert "in the folders that you granted to llmos" in told and "change" not in told
    assert "run Python in a jail without network, which reaches your files only as is" in told
    staged = install.stage(write(permissions="python = true"))
    staged.discard()
    assert "which reaches your files not at all." in " ".join(staged.told)


def test_who_declares_nothing_is_told_to_reach_nothing(tmp_path):
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "plugin.toml").write_text(MANIFEST)
    staged = install.stage(tmp_path / "birds")
    staged.discard()
    assert staged.told == ("It may not use the web, your files, or anything else of your machine.",)


@pytest.mark.parametrize(
    ("kind", "top"),
    [
        *(("zip", ""), ("zip", "birds-1.0/"), ("tar", ""), ("tar.gz", "")),
        *(("tar.gz", "birds-1.0/"), ("tar.gz", "./")),
    ],
)
def test_archives_are_installed_with_and_without_a_folder_around(tmp_path, installed, kind, top):
    files = {"plugin.toml": MANIFEST.encode(), "notes/a.md": b"A"}
    path = tmp_path / f"birds.{kind}"
    if kind == "zip":
        zipped(path, {f"{top}{name}": data for name, data in files.items()})
    else:
        tarred(path, [(member(f"{top}{name}"), data) for name, data in files.items()])
        if kind == "tar":
            path.write_bytes(gzip.decompress(path.read_bytes()))
    install.stage(path).commit()
    lock = locked.read(installed / "birds.lock.json")
    assert set(lock.files) == set(files)


def test_what_others_make_anew_is_no_part_of_an_expert(write, installed):
    folder = write()
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    (folder / "tools" / "bird" / "__pycache__").mkdir()
    (folder / "tools" / "bird" / "__pycache__" / "x.pyc").write_bytes(b"x")
    staged = install.stage(folder)
    staged.discard()
    assert not [name for name in staged.files if ".git" in name or "pyc" in name]


# --- updates and removal ------------------------------------------------------------------------


def test_an_update_shows_what_it_changes(write, installed):
    install.stage(write()).commit()
    old = locked.read(installed / "ornithologist.lock.json")
    source = write(
        permissions='web = ["birds.example"]', plugin=('version = "1.0.0"', 'version = "1.1.0"')
    )
    staged = install.stage(source)
    assert staged.before == "1.0.0"
    assert any(
        change.startswith("New: It may read pages of birds.example, and of no other site;")
        for change in staged.changes
    )
    assert any(line.startswith("No longer: It may not use the web") for line in staged.changes)
    assert "One file changes." in staged.changes
    assert locked.read(installed / "ornithologist.lock.json") == old
    staged.commit()
    new = locked.read(installed / "ornithologist.lock.json")
    assert new.version == "1.1.0"
    assert left(installed) == [new.folder, "ornithologist.lock.json"]


def test_the_same_again_says_so(write):
    install.stage(write()).commit()
    staged = install.stage(write())
    staged.discard()
    assert staged.changes == ("Nothing: it is the same.",)


def test_what_is_removed_takes_its_knowledge_along(write, installed):
    install.stage(write()).commit()
    indexed = paths.state_dir() / "experts" / "ornithologist.0123"
    other = paths.state_dir() / "experts" / "ornithologist-2.0123"
    indexed.mkdir(parents=True)
    other.mkdir()
    install.remove("ornithologist")
    assert left(installed) == []
    assert not indexed.exists()
    assert other.exists()


def test_only_what_is_installed_can_be_removed():
    with pytest.raises(ExpertError, match="No expert named 'nobody' is installed"):
        install.remove("nobody")
    with pytest.raises(ExpertError, match="No expert named '../x' is installed"):
        install.remove("../x")
    with pytest.raises(ExpertError, match="coder comes with llmos and can't be removed"):
        install.remove("coder")


def test_nobody_can_take_the_name_of_an_expert_that_comes_with_llmos(write, installed):
    with pytest.raises(ExpertError, match="named coder comes with llmos already"):
        install.stage(write(name="coder"))
    assert left(installed) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clock", "of a tool that is there"),
        ("reader", "of the kernel's"),
        ("memory", "of the kernel's"),
    ],
)
def test_nobody_can_take_the_name_of_a_tool_that_is_there(write, installed, name, says):
    folder = write()
    (folder / "tools" / "bird").rename(folder / "tools" / name)
    toml = folder / "tools" / name / "tool.toml"
    toml.write_text(toml.read_text().replace('"bird"', f'"{name}"'))
    plugin = folder / "plugin.toml"
    plugin.write_text(plugin.read_text().replace("tools/bird", f"tools/{name}"))
    with pytest.raises(ExpertError, match=f"tool {name} has the name {says}"):
        install.stage(folder)
    assert left(installed) == []


def test_what_changes_between_the_question_and_the_yes_is_not_installed(write, installed):
    staged = install.stage(write())
    (staged.folder / "plugin.toml").write_text("x")
    with pytest.raises(ExpertError, match="changed since you were shown"):
        staged.commit()
    assert left(installed) == []


def test_a_crash_between_the_steps_leaves_the_old_version_whole(write, installed, monkeypatch):
    install.stage(write()).commit()
    before = locked.read(installed / "ornithologist.lock.json")
    staged = install.stage(write(plugin=("1.0.0", "2.0.0")))

    def crash(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locked, "write", crash)
    with pytest.raises(ExpertError, match="No space left on device. Nothing was changed"):
        staged.commit()
    assert locked.read(installed / "ornithologist.lock.json") == before
    locked.verify(installed / before.folder, before)
    assert left(installed) == [before.folder, "ornithologist.lock.json"]


# --- what changed later -------------------------------------------------------------------------


def _compiled(folder: Path) -> None:
    folder.mkdir()
    (folder / "x.pyc").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: (f / "plugin.toml").write_text("x"), "'plugin.toml' of ornithologist changed"),
        (lambda f: (f / "knowledge/gulls.md").unlink(), "'knowledge/gulls.md' .* is gone"),
        (lambda f: (f / "new.py").write_text(""), "'new.py' of ornithologist came along"),
        (lambda f: (f / "tools/bird/x.pyc").write_text(""), "x.pyc' of ornithologist came along"),
        (lambda f: _compiled(f / "tools/bird/__pycache__"), "x.pyc' of ornithologist came along"),
        (lambda f: (f / "away").symlink_to("/etc"), "'away' is no regular file"),
        (lambda f: shutil.rmtree(f), "is gone|can't be read"),
    ],
)
async def test_a_changed_expert_is_listed_as_broken_with_the_remedy(
    write, experts, installed, change, sentence
):
    install.stage(write()).commit()
    lock = locked.read(installed / "ornithologist.lock.json")
    change(installed / lock.folder)
    loaded = await experts(installed / "none")
    assert loaded.all() == ()
    with pytest.raises(ExpertError, match=sentence):
        loaded.get("ornithologist")


@pytest.mark.parametrize("text", ["", "{}", "[]", "x", '{"name": "birds", "folder": "../x"}'])
async def test_a_damaged_lock_is_no_crash(write, experts, installed, text):
    paths.private_dir(installed)
    (installed / "birds.lock.json").write_text(text)
    loaded = await experts(installed / "none")
    with pytest.raises(ExpertError, match="The lock of the expert 'birds' is damaged"):
        loaded.get("birds")
    install.remove("birds")
    assert left(installed) == []


# --- hostile archives ---------------------------------------------------------------------------


def _encrypted(path: Path) -> Path:
    zipped(path, {"plugin.toml": MANIFEST.encode()})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    return path


def _link_in_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("plugin.toml", MANIFEST)
        info = zipfile.ZipInfo("passwd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


def _twice(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("plugin.toml", MANIFEST)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("plugin.toml", MANIFEST)
    return path


def _files(**files: bytes) -> Callable[[Path], Path]:
    return lambda path: zipped(path, {"plugin.toml": MANIFEST.encode(), **files})


def _tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> Callable[[Path], Path]:
    return lambda path: tarred(path, [(member("plugin.toml"), MANIFEST.encode()), *members])


def _bomb(path: Path) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        info = member("plugin.toml")
        info.size = 1 << 40
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(bytes(1 << 20))
    return path


def _header_bomb(path: Path) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        info = member("x", tarfile.XHDTYPE)
        info.size = 1 << 32
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(100):
            file.write(bytes(1 << 20))
    return path


def _long_list(path: Path) -> Path:
    _files()(path)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\5\6")
    raw[at + 12 : at + 16] = (50 << 20).to_bytes(4, "little")
    path.write_bytes(raw)
    return path


def _cut(path: Path) -> Path:
    _tar_of((member("a"), os.urandom(100_000)))(path)
    path.write_bytes(path.read_bytes()[:50_000])
    return path


HOSTILE: list[tuple[str, Callable[[Path], Path], str]] = [
    ("up", _files(**{"../evil": b"x"}), "leads elsewhere"),
    ("up inside", _files(**{"a/../../evil": b"x"}), "leads elsewhere"),
    ("absolute", _files(**{"/tmp/evil": b"x"}), "leads elsewhere"),
    ("drive", _files(**{"C:evil": b"x"}), "leads elsewhere"),
    ("backslash", _files(**{"a\\evil": b"x"}), "leads elsewhere"),
    ("newline", _files(**{"a\nb": b"x"}), "not a plain one"),
    ("escape", _files(**{"a\x1b[2Jb": b"x"}), "not a plain one"),
    ("bidi", _files(**{"a\u202egnp.py": b"x"}), "not a plain one"),
    ("dot", _files(**{"a/./b": b"x"}), "not a plain one"),
    ("space", _files(**{"a ": b"x"}), "not a plain one"),
    ("option", _files(**{"-rf": b"x"}), "not a plain one"),
    ("decomposed", _files(**{"e\u0301": b"x"}), "not a plain one"),
    ("long", _files(**{"x" * 300: b"x"}), "too long"),
    ("deep", _files(**{"a/" * 20 + "b": b"x"}), "too long"),
    ("case", _files(**{"Plugin.toml": b"x"}), "collide"),
    ("case of a folder", _files(**{"a/b": b"x", "A/c": b"x"}), "collide"),
    ("file and folder", _files(**{"a": b"x", "a/b": b"x"}), "collide"),
    ("folder and file", _files(**{"a/b": b"x", "a": b"x"}), "collide"),
    ("twice", _twice, "twice"),
    ("link", _link_in_zip, "no regular file"),
    ("encrypted", _encrypted, "encrypted"),
    ("nested", _files(**{"inner.zip": b"PK"}), "another archive"),
    ("nested tar", _files(**{"inner.tar.GZ": b"x"}), "another archive"),
    ("no manifest", lambda p: zipped(p, {"a": b"x"}), "no plugin.toml"),
    ("manifest below", lambda p: zipped(p, {"a/b/plugin.toml": b"x"}), "no plugin.toml"),
    ("zip bomb", _files(big=bytes(17 << 20)), "larger than 16 MB"),
    ("many bombs", _files(**{f"b{i}": bytes(16 << 20) for i in range(5)}), "larger than 64 MB"),
    ("many", _files(**{f"f{i}": b"" for i in range(2001)}), "more than 2,000 files"),
    ("long list", _long_list, "list of contents is too long"),
    ("no zip", lambda p: _written(p, b"PK\3\4" + bytes(100)), "damaged"),
    ("nothing", lambda p: _written(p, b""), "no zip and no tar"),
    ("text", lambda p: _written(p, b"hello"), "no zip and no tar"),
    ("bz2", lambda p: _written(p, b"BZh91AY&SY"), "no zip and no tar"),
    ("tar up", _tar_of((member("../evil"), b"x")), "leads elsewhere"),
    ("tar absolute", _tar_of((member("/evil"), b"x")), "leads elsewhere"),
    ("tar link", _tar_of((member("a", tarfile.SYMTYPE, "/etc"), b"")), "no regular file"),
    ("tar hard link", _tar_of((member("a", tarfile.LNKTYPE, "/etc/passwd"), b"")), "no regular"),
    ("tar device", _tar_of((member("a", tarfile.CHRTYPE), b"")), "no regular file"),
    ("tar pipe", _tar_of((member("a", tarfile.FIFOTYPE), b"")), "no regular file"),
    ("tar twice", _tar_of((member("a"), b""), (member("a"), b"")), "twice"),
    ("tar many", _tar_of(*((member(f"f{i}"), b"") for i in range(4001))), "more than 2,000"),
    ("tar bomb", _bomb, "larger than"),
    ("tar header bomb", _header_bomb, "larger than 64 MB|damaged"),
    ("tar cut", _cut, "damaged"),
    ("gzip of nothing", lambda p: _written(p, b"\x1f\x8b\x08" + bytes(40)), "damaged"),
]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "sentence"), [row[1:] for row in HOSTILE], ids=[r[0] for r in HOSTILE]
)
def test_a_hostile_archive_is_one_sentence_and_leaves_nothing(tmp_path, installed, make, sentence):
    path = make(tmp_path / "evil.archive")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ExpertError, match=sentence) as caught:
        install.stage(path)
    assert str(caught.value).isprintable()
    assert left(installed) == []
    assert sorted(tmp_path.iterdir()) == sorted([*before, installed])


def test_a_full_disk_is_told_as_such_and_leaves_nothing(write, installed, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archive, "_folder", full)
    with pytest.raises(ExpertError, match="no room on the disk") as caught:
        install.stage(write())
    assert "Free some space" in caught.value.remedy
    assert left(installed) == []


@pytest.mark.parametrize("step", ["_folder", "fingerprints", "told"])
def test_ctrl_c_before_the_question_leaves_nothing(write, installed, monkeypatch, step):
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    module = {"_folder": archive, "fingerprints": locked, "told": install}[step]
    monkeypatch.setattr(module, step, pressed)
    with pytest.raises(KeyboardInterrupt):
        install.stage(write())
    assert left(installed) == []


def test_hostile_folders_are_refused(write, installed, tmp_path):
    folder = write()
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ExpertError, match="“link” is a link"):
        install.stage(folder)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ExpertError, match="“pipe” is no regular file"):
        install.stage(folder)
    (folder / "pipe").unlink()
    (folder / "plugin.toml").unlink()
    with pytest.raises(ExpertError, match="no plugin.toml here"):
        install.stage(folder)
    with pytest.raises(ExpertError, match="There is no"):
        install.stage(tmp_path / "nowhere")
    with pytest.raises(ExpertError, match="neither a folder nor a file"):
        install.stage(Path("/dev/null"))
    assert left(installed) == []


def test_a_lock_is_read_as_it_was_written(tmp_path):
    lock = locked.Lock("birds", "1.0", "birds-abc", {"a/ü.md": "0" * 64})
    locked.write(tmp_path, lock)
    assert locked.read(tmp_path / "birds.lock.json") == lock
    assert json.loads((tmp_path / "birds.lock.json").read_text())["version"] == "1.0"
    assert limits.EXPERT_FILES
