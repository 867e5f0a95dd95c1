"""Archives are unpacked in a jail, and what comes out of it is not believed."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos import paths
from llmos.errors import ExpertError, SandboxMissing
from llmos.experts import archive, install, unpack
from llmos.sandbox import landlock, tiers
from llmos.sandbox.jail import Jail

MANIFEST = b"""
format = 1
name = "birds"
version = "1.0.0"
licence = "Apache-2.0"
summary = "Birds."
prompt = "You know birds."
"""


def packed(kind: str, files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in files.items():
                zipped.writestr(name, data)
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w") as tarred:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tarred.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "birds.zip"
    path.write_bytes(packed("zip", {"plugin.toml": MANIFEST, "notes/a.md": b"A"}))
    return path


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A worker that an archive has taken over: it runs this code instead."""

    def call(code: str) -> None:
        path = tmp_path / "taken_over.py"
        path.write_text(
            "import json, os, sys, time\n"
            "def frame(word, data=b''):\n"
            "    sys.stdout.buffer.write(b'%s %d\\n' % (word.encode(), len(data)) + data)\n"
            "    sys.stdout.buffer.flush()\n"
            "def names(*said):\n"
            "    frame('names', json.dumps(said).encode())\n"
            "    return json.loads(sys.stdin.buffer.readline())\n"
            "sys.stdin.buffer.read(json.loads(sys.stdin.buffer.readline())['bytes'])\n"
            f"{code}\n"
        )
        monkeypatch.setattr(unpack, "_WORKER", path)

    return call


def left() -> list[str]:
    return sorted(path.name for path in paths.plugins_dir().iterdir() if path.name != ".lock")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_files_come_out_whole(kind: str, tmp_path: Path):
    files = {
        "top/plugin.toml": MANIFEST,
        "top/empty": b"",
        "top/large": bytes(range(256)) * 10_000,
        "top/.git/config": b"not wanted",
        "__MACOSX/._x": b"not wanted",
    }
    path = tmp_path / "birds"
    path.write_bytes(packed(kind, files))
    into = tmp_path / "into"
    into.mkdir()
    archive.gather(path, into)
    found = {str(f.relative_to(into)): f.read_bytes() for f in into.rglob("*") if f.is_file()}
    assert found == {
        name.removeprefix("top/"): data for name, data in files.items() if data != b"not wanted"
    }


def test_what_is_not_wanted_is_not_unpacked(tmp_path: Path):
    files = {"plugin.toml": MANIFEST, **{f".git/{n}": bytes(16 << 20) for n in range(6)}}
    path = tmp_path / "birds.zip"
    path.write_bytes(packed("zip", files))
    install.stage(path).discard()


async def test_within_an_event_loop_an_archive_is_unpacked_as_well(source: Path):
    staged = install.stage(source)
    staged.discard()
    assert set(staged.files) == {"plugin.toml", "notes/a.md"}


def test_the_second_jail_of_linux_does_as_well(source: Path, monkeypatch: pytest.MonkeyPatch):
    if landlock.abi() < 1:
        pytest.skip("This kernel has no Landlock.")

    async def best() -> Jail:
        return landlock.Landlock()

    monkeypatch.setattr(tiers, "best", best)
    install.stage(source).discard()


def test_without_a_jail_nothing_is_unpacked(source: Path, monkeypatch: pytest.MonkeyPatch):
    async def none() -> Jail:
        raise SandboxMissing("Nothing on this machine can hold untrusted code.")

    monkeypatch.setattr(tiers, "best", none)
    with pytest.raises(ExpertError, match=r"needs a sandbox. Nothing on this machine") as caught:
        install.stage(source)
    assert "install the folder" in caught.value.remedy
    assert left() == []


@settings(
    max_examples=12,  # each takes a jail
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["zip", "tar", "tar.gz"]),
    at=st.integers(0, 400),
    noise=st.binary(min_size=1, max_size=40),
)
def test_a_spoilt_archive_is_unpacked_or_one_sentence(
    kind: str, at: int, noise: bytes, tmp_path: Path
):
    raw = packed(kind, {"plugin.toml": MANIFEST, "a": b"A" * 300})
    path = tmp_path / "spoilt"
    path.write_bytes(raw[:at] + noise + raw[at + len(noise) :])
    try:
        install.stage(path).discard()
    except ExpertError as error:
        assert str(error).isprintable()
    assert left() == []


# --- a worker that was taken over -----------------------------------------------------------------

MINE = f"frame('data', {MANIFEST!r}); frame('end')"
LIES: dict[str, tuple[str, str]] = {
    "nothing": ("pass", "its decoder failed"),
    "a crash": ("os.abort()", "its decoder failed"),
    "no frame": ("print('x')", "its decoder failed"),
    "a line without end": ("print('x' * (4 << 20))", "its decoder failed"),
    "a frame too large": ("print('data 999999999')", "its decoder failed"),
    "a frame too short": ("sys.stdout.write('names 100\\n[]')", "its decoder failed"),
    "data before names": (MINE, "its decoder failed"),
    "names that are none": ("names(1, 2)", "its decoder failed"),
    "names that are lists": ("names(['plugin.toml'])", "its decoder failed"),
    "no list": ("frame('names', b'7')", "its decoder failed"),
    "deep JSON": ("frame('names', b'[' * 100_000)", "its decoder failed"),
    "no JSON": ("frame('names', b'x')", "its decoder failed"),
    "too many names": ("names(*map(str, range(4001)))", "its decoder failed"),
    "many names": ("names('plugin.toml', *map(str, range(2001)))", "more than 2,000 files"),
    "a huge name": ("names('plugin.toml', 'x' * 100_000)", "too long"),
    "up": ("names('plugin.toml', '../evil')", "leads elsewhere"),
    "up inside": ("names('plugin.toml', 'a/../../evil')", "leads elsewhere"),
    "absolute": ("names('plugin.toml', '/etc/cron.d/evil')", "leads elsewhere"),
    "null": ("names('plugin.toml', 'a\\0b')", "not a plain one"),
    "half a character": ("names('plugin.toml', '\\ud800')", "not a plain one"),
    "the same twice": ("names('plugin.toml', 'plugin.toml')", "twice"),
    "two that collide": ("names('plugin.toml', 'Plugin.toml')", "collide"),
    "no manifest": ("names('a')", "no plugin.toml"),
    "the end after the names": ("names('plugin.toml')", "its decoder failed"),
    "names within a file": ("names('plugin.toml'); names('x')", "its decoder failed"),
    "empty data": ("names('plugin.toml'); frame('data')", "its decoder failed"),
    "half a file": ("names('plugin.toml'); frame('data', b'x')", "its decoder failed"),
    "a file without end": (
        "names('plugin.toml')\nwhile True: frame('data', bytes(1 << 20))",
        "“plugin.toml” in it is larger than 16 MB",
    ),
    "files without end": (
        "names('plugin.toml', *map(str, range(99)))\n"
        "while True:\n    for _ in range(16): frame('data', bytes(1 << 20))\n    frame('end')",
        "larger than 64 MB",
    ),
    "no reason": ("frame('refused', b'[]')", "its decoder failed"),
    "an unknown reason": ("frame('refused', b'[\"x\", \"y\"]')", "its decoder failed"),
    "a reason of its own": ("frame('refused', b'[[], {}]')", "its decoder failed"),
    "a reason that formats": (
        'frame("refused", b\'["kind", "{0.__class__}"]\')',
        r"“{0.__class__}",
    ),
    "an escape": ('frame("refused", b\'["kind", "\\\\u001b[2J"]\')', "“␛.2J”, which is no regular"),
    "a long reason": ('frame("refused", b"x" * 5000)', "its decoder failed"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_sentence_and_leaves_nothing(
    lie: str, source: Path, worker: Callable[[str], None]
):
    code, sentence = LIES[lie]
    worker(code)
    before = sorted(source.parent.iterdir())
    with pytest.raises(ExpertError, match=sentence) as caught:
        install.stage(source)
    assert str(caught.value).isprintable()
    assert left() == []
    assert sorted(source.parent.iterdir()) == sorted([*before, paths.plugins_dir()])


def test_who_takes_too_long_is_ended(
    source: Path, worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("llmos.limits.EXPERT_UNPACK_SECONDS", 0.5)
    worker("time.sleep(600)")
    with pytest.raises(ExpertError, match="takes too long to unpack"):
        install.stage(source)
    assert left() == []


def test_it_sees_neither_the_archive_nor_the_home(source: Path, worker: Callable[[str], None]):
    seen = [str(source), str(paths.plugins_dir()), "/etc/passwd"]
    worker(
        f"seen = [p for p in {json.dumps(seen)} if os.access(p, os.R_OK)]\n"
        "frame('refused', json.dumps(['kind', f'{seen}']).encode())"
    )
    with pytest.raises(ExpertError, match=r"It holds “\[\]”"):
        install.stage(source)
