"""Headers are read in a jail, and nothing that comes out of it is believed."""

from __future__ import annotations

import logging
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos.errors import ModelCorrupt, ModelError, SandboxMissing
from llmos.models import gguf, header_process
from llmos.models.container import Damaged
from llmos.models.gguf import read_header
from llmos.models.header import GgufHeader
from llmos.sandbox import landlock, tiers
from llmos.sandbox.jail import Jail
from llmos.sandbox.unjailed import Unjailed

Make = Callable[..., bytes]
Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(raw: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(raw)
        return path

    return call


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A worker that a file has taken over: it runs this code instead."""

    def call(code: str) -> None:
        path = tmp_path / "taken_over.py"
        path.write_text(f"import json, os, sys, time\n{code}\n")
        monkeypatch.setattr(header_process, "_WORKER", path)

    return call


def kept(home: Path) -> list[str]:
    """What a test left in its home, besides the model file and the worker."""
    return sorted({path.name for path in home.iterdir()} - {"model.gguf", "taken_over.py"})


async def test_within_an_event_loop_a_header_is_read_as_well(make_gguf: Make, write: Write) -> None:
    assert read_header(write(make_gguf())).architecture == "llama"


HUGE = 1 << 60
LYING: dict[str, tuple[dict[str, object], str]] = {
    "tensors": ({"tensor_count": HUGE}, f"it claims {HUGE} tensors"),
    "keys": ({"key_count": HUGE}, f"it claims {HUGE} keys"),
    "a text": ({"metadata": {"x": struct.pack("<IQ", 8, HUGE)}}, "ends within the value of 'x'"),
    "a list": ({"metadata": {"x": struct.pack("<IIQ", 9, 4, HUGE)}}, "ends within"),
    "lists of lists": ({"metadata": {"x": struct.pack("<IIQ", 9, 9, HUGE)}}, "ends within"),
    "nesting": (
        {"metadata": {"x": struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50}},
        "nests arrays",
    ),
    "a tensor": ({"tensors": [("t", [HUGE], 0, 0)]}, "cut short"),
}


@pytest.mark.parametrize("lie", LYING)
def test_a_lying_header_is_one_sentence(
    lie: str, make_gguf: Make, write: Write, home: Path
) -> None:
    arguments, words = LYING[lie]
    path = write(make_gguf(**arguments))
    with pytest.raises(ModelCorrupt, match=words) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert kept(home) == []


@pytest.mark.parametrize("length", [0, 3, 4, 24, 100, 300])
def test_a_file_cut_short_is_one_sentence(length: int, make_gguf: Make, write: Write) -> None:
    with pytest.raises(ModelCorrupt, match="damaged"):
        read_header(write(make_gguf()[:length]))


@settings(
    max_examples=12,  # each takes a jail; thousands go through the same code in test_container
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(noise=st.binary(max_size=200), at=st.integers(0, 300))
def test_random_bytes_are_a_header_or_one_sentence(
    noise: bytes, at: int, make_gguf: Make, write: Write
) -> None:
    raw = make_gguf()
    path = write(raw[:at] + noise + raw[at + len(noise) :])
    try:
        assert read_header(path).file_size == path.stat().st_size
    except ModelCorrupt as error:
        assert str(error).isprintable()


def test_a_file_of_noise_larger_than_a_pipe_is_no_gguf_file(write: Write) -> None:
    with pytest.raises(ModelCorrupt, match="does not start like a GGUF file"):
        read_header(write(random.Random(1).randbytes(3 << 20)))


# --- a worker that was taken over -----------------------------------------------------------------

NONSENSE = {
    "nothing": "pass",
    "no JSON": "print('x')",
    "deep JSON": "print('[' * 100_000)",
    "a list": "print([])",
    "another word": "print('{\"model\": 1}')",
    "both": "print(json.dumps({'header': {}, 'damaged': 'x'}))",
    "no header": "print(json.dumps({'header': 7}))",
    "other fields": "print(json.dumps({'header': {'name': 'x'}}))",
    "no reason": "print(json.dumps({'damaged': ['x']}))",
    "bytes": "sys.stdout.buffer.write(bytes(range(256)))",
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(
    case: str, make_gguf: Make, write: Write, worker: Callable[[str], None], home: Path
) -> None:
    worker(NONSENSE[case])
    with pytest.raises(Damaged, match="what its header says makes no sense"):
        read_header(write(make_gguf()))
    assert kept(home) == []


def test_more_than_any_header_says_is_refused(
    make_gguf: Make, write: Write, worker: Callable[[str], None]
) -> None:
    worker("while True: sys.stdout.write('x' * 65536)")
    with pytest.raises(Damaged, match="larger than any real one"):
        read_header(write(make_gguf()))


def test_its_reason_is_shown_in_one_harmless_line(
    make_gguf: Make, write: Write, worker: Callable[[str], None]
) -> None:
    worker("print(json.dumps({'damaged': 'it is \\x1b[2J\\nfine.' + 'x' * 10_000}))")
    with pytest.raises(Damaged, match="it is ␛.2J fine") as caught:
        read_header(write(make_gguf()))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_who_takes_too_long_is_ended(
    make_gguf: Make,
    write: Write,
    worker: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmos.limits.GGUF_SECONDS", 0.5)
    worker("time.sleep(600)")
    with pytest.raises(Damaged, match="too long to read"):
        read_header(write(make_gguf()))


def test_a_process_that_fails_says_nothing_about_the_file(
    make_gguf: Make,
    write: Write,
    worker: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker("raise ImportError('no such module')")
    with pytest.raises(ModelError, match="the process that reads its header failed") as caught:
        read_header(write(make_gguf()))
    assert not isinstance(caught.value, ModelCorrupt)
    assert "Delete" not in caught.value.remedy
    assert "no such module" in caplog.text


def test_it_sees_neither_the_file_nor_the_home(
    make_gguf: Make, write: Write, worker: Callable[[str], None], home: Path
) -> None:
    path = write(make_gguf())
    worker(
        f"seen = [p for p in ({str(path)!r}, {str(home)!r} + '/state', '/etc/passwd')"
        " if os.access(p, os.R_OK)]\nprint(json.dumps({'damaged': f'it sees {seen}'}))"
    )
    with pytest.raises(Damaged, match=r"it sees \[\]"):
        read_header(path)


# --- jails ----------------------------------------------------------------------------------------


def in_jail(monkeypatch: pytest.MonkeyPatch, jail: Jail) -> None:
    async def best() -> Jail:
        return jail

    monkeypatch.setattr(tiers, "best", best)


def without_jail(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> Jail:
        raise SandboxMissing("Nothing on this machine can hold untrusted code.")

    monkeypatch.setattr(tiers, "best", none)


async def test_the_second_jail_of_linux_does_as_well(
    make_gguf: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    if landlock.abi() < 1:
        pytest.skip("This kernel has no Landlock.")
    in_jail(monkeypatch, landlock.Landlock())
    assert read_header(write(make_gguf())).layers == 2


def test_without_a_jail_a_header_is_read_in_a_limited_process(
    starter_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_jail(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert gguf.verify(starter_weights).layers == 30
    assert "headers of model files are read without a jail" in caplog.text


def test_without_a_jail_memory_is_bounded_all_the_same(
    make_gguf: Make,
    write: Write,
    worker: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_jail(monkeypatch)
    worker("x = []\nsys.stdin.buffer.read()\nwhile True: x.append(b'x' * (32 << 20))")
    with pytest.raises(ModelError):
        read_header(write(make_gguf()))


def test_without_a_jail_a_lie_is_the_same_sentence(
    make_gguf: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_jail(monkeypatch)
    with pytest.raises(ModelCorrupt, match=f"it claims {HUGE} keys"):
        read_header(write(make_gguf(key_count=HUGE)))


async def test_a_process_that_cannot_start_is_one_sentence(
    make_gguf: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_jail(monkeypatch, Unjailed())
    monkeypatch.setattr(header_process.sys, "executable", "/nonexistent/python")
    path = write(make_gguf())
    with pytest.raises(ModelError, match="could not be looked at"), path.open("rb") as file:
        await header_process.read(file, path.stat().st_size, path)


def test_what_is_read_is_a_header_of_the_true_type(make_gguf: Make, write: Write) -> None:
    header = read_header(write(make_gguf()))
    assert isinstance(header, GgufHeader)
    assert header.kv_heads == (2, 2)
