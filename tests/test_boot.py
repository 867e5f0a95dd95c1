from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from llmos import boot as boot_module
from llmos import limits, paths
from llmos.boot import boot, lock
from llmos.config import Config, EngineConfig, MemoryConfig
from llmos.errors import (
    ConfigError,
    KernelRunning,
    LlmosError,
    ModelCorrupt,
    ModelError,
    ModelMissing,
    ModelTooLarge,
    RemoteError,
    StoreError,
    StoreFull,
)
from llmos.events import TurnStarted
from llmos.labels import Origin
from llmos.memory.embed_gguf import GgufEmbedder
from llmos.memory.embed_remote import RemoteEmbedder
from llmos.memory.journal import Journal


@pytest.fixture
def script(home: Path) -> Path:
    file = home / "script.json"
    file.write_text(json.dumps({"rules": [], "default": "Yes."}))
    return file


def config(script: Path | str, **engine) -> Config:
    model = script if isinstance(script, str) else f"scripted:{script}"
    return Config(engine=EngineConfig(model=model, **engine))


async def refused(settings: Config) -> LlmosError:
    """Why it does not start; and that it lets go of everything."""
    with pytest.raises(LlmosError) as caught:
        async with boot(settings):
            pass
    assert "\n" not in str(caught.value)
    if not isinstance(caught.value, KernelRunning | StoreError):
        with lock(settings.state):
            pass
        await Journal(settings.state / "journal.db").close()
    return caught.value


async def test_a_kernel_boots_answers_and_closes(script: Path):
    async with boot(config(script)) as kernel:
        assert kernel.status()["model"]["name"] == "scripted"
        assert {"process.spawn", "process.wait"} < {row.name for row in kernel.calls}
        pid = (await kernel.create()).pid
        await kernel.send(pid, "Hello")
        await kernel.wait(pid)
        assert kernel.journal.messages(pid)[-1].message.content == "Yes."
    assert not kernel.backend.alive


async def test_a_second_kernel_on_a_state_directory_is_refused(script: Path):
    settings = config(script)
    async with boot(settings):
        assert isinstance(await refused(settings), KernelRunning)
    async with boot(settings):  # and once the first is gone it is not
        pass


async def test_a_stale_lock_and_a_stale_socket_are_no_obstacle(script: Path):
    settings = config(script)
    paths.private_dir(settings.state)
    (settings.state / "kernel.lock").write_text("4711")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.socket_path(settings.state)))
    async with boot(settings):
        pass


async def test_a_missing_or_malformed_script_or_model_is_refused(home: Path):
    assert isinstance(await refused(config(home / "no.json")), ModelMissing)
    (home / "bad.json").write_text("[]")
    assert isinstance(await refused(config(home / "bad.json")), ModelCorrupt)
    assert isinstance(await refused(config(str(home / "no.gguf"))), ModelError)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GGUF",
        b"not a model at all" * 100,
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1 << 40),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1 << 60) + b"x" * 64,
    ],
)
async def test_a_truncated_or_lying_model_file_is_refused_with_a_sentence(home: Path, raw: bytes):
    file = home / "model.gguf"
    file.write_bytes(raw)
    assert isinstance(await refused(config(str(file))), ModelError)


async def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    starter_weights: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = config(str(starter_weights), window=8192, cells=1_000_000_000)
    assert isinstance(await refused(settings), ModelTooLarge)


async def test_a_server_that_is_not_there_is_refused():
    assert isinstance(await refused(config("http://127.0.0.1:9/v1")), RemoteError)


@pytest.mark.parametrize(
    ("embedder", "kind"),
    [
        ("no such model", ModelMissing),
        ("http://127.0.0.1:9/v1", ConfigError),
        ("/no/such/model.onnx", ModelMissing),
    ],
)
async def test_a_wrong_embedder_is_refused_with_a_remedy(script: Path, embedder: str, kind: type):
    settings = dataclasses.replace(config(script), memory=MemoryConfig(embedder=embedder))
    error = await refused(settings)
    assert isinstance(error, kind) and error.remedy


async def test_an_embedder_that_is_a_server_that_is_down_is_waited_for(
    script: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    memory = MemoryConfig(embedder="http://127.0.0.1:9/v1#m", chroma="off")
    monkeypatch.setattr(limits, "INDEX_RETRY_S", 0.0)
    back = asyncio.Event()
    waits = threading.Event()  # until the status was looked at
    loop = asyncio.get_running_loop()

    class Shaky(RemoteEmbedder):
        tries = 0

        def load(self) -> None:
            Shaky.tries += 1
            if Shaky.tries < 3 or not waits.is_set():
                super().load()
            self._dimension = 4
            loop.call_soon_threadsafe(back.set)

        def embed(self, texts):
            return np.full((len(texts), 4), 0.5, np.float32)

    monkeypatch.setattr("llmos.memory.embed_remote.RemoteEmbedder", Shaky)
    async with boot(dataclasses.replace(config(script), memory=memory)) as kernel:
        assert any("go by words until" in line.message for line in caplog.records)
        assert kernel.embedder is not None and kernel.memory is not None
        await kernel.memory.remember("The bins go out on Tuesday.")
        assert await kernel.keeper.search("bins")
        assert kernel.status()["hint"].startswith(
            "Searches go by words for now: The embedder http://127.0.0.1:9/v1#m cannot be reached."
        )
        waits.set()
        await asyncio.wait_for(back.wait(), 60)
        while kernel.memory.index.progress().embedded == 0:
            await asyncio.sleep(0)
        assert "Searches go by words" not in kernel.status()["hint"]


async def test_a_kernel_without_an_embedder_knows_words(script: Path):
    settings = dataclasses.replace(config(script), memory=MemoryConfig(embedder="off"))
    async with boot(settings) as kernel:
        assert kernel.embedder is None and kernel.memory is not None
        await kernel.memory.remember("The bins go out on Tuesday.")
        assert await kernel.keeper.search("bins")


async def test_a_missing_starter_embedder_is_no_obstacle_but_is_told(
    script: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("llmos.models.catalog.locate", lambda *_args, **_options: None)
    async with boot(config(script)) as kernel:
        assert kernel.embedder is None
    assert any("search knows words only" in line.message for line in caplog.records)


async def test_a_gguf_embedders_worker_ends_with_the_kernel(script: Path, starter_weights: Path):
    memory = MemoryConfig(embedder=str(starter_weights), chroma="off")
    async with boot(dataclasses.replace(config(script), memory=memory)) as kernel:
        assert isinstance(kernel.embedder, GgufEmbedder)
        worker = psutil.Process(kernel.embedder.pid)
        assert worker.is_running()
    assert not worker.is_running()


async def test_a_full_disk_is_told_of_at_the_start(script: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
    assert isinstance(await refused(config(script)), StoreFull)


async def test_a_state_directory_that_cannot_be_used_is_told_of(
    script: Path, home: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = config(script)
    (home / "state").write_text("in the way")
    error = await refused(settings)
    assert isinstance(error, StoreError) and "cannot be used" in str(error)
    (home / "state").unlink()

    def read_only(*_args: object) -> int:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(boot_module.os, "open", read_only)
    assert "Read-only file system" in str(await refused(settings))


async def test_a_broken_tool_is_listed_and_the_kernel_starts(script: Path, home: Path):
    tool = home / "tools" / "bad"
    tool.mkdir(parents=True)
    (tool / "tool.toml").write_text("this is not TOML [")
    async with boot(config(script)) as kernel:
        [sentence] = kernel.status()["broken"]
        assert "bad" in sentence


async def test_a_clock_that_is_no_moment_is_refused_and_everything_closed(
    script: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLMOS_CLOCK", "yesterday")
    assert isinstance(await refused(config(script)), ConfigError)


async def test_work_in_the_background_ends_with_the_kernel(
    script: Path, monkeypatch: pytest.MonkeyPatch
):
    class Guide:
        def prepare(self, _rows):
            self.fitting = asyncio.ensure_future(asyncio.Event().wait())
            return self.fitting

    guide = Guide()
    monkeypatch.setattr(boot_module, "_guide", lambda _config, _backend, _embedder: guide)
    async with boot(config(script)):
        pass
    await asyncio.wait([guide.fitting])
    assert guide.fitting.cancelled()


def test_what_is_otherwise_than_asked_is_a_hint(starter_weights: Path):
    _backend, hint = boot_module.processor(config(str(starter_weights), window=30_000))
    assert "8192 tokens" in hint and "not 30000" in hint


def test_a_model_is_loaded_with_the_layers_that_fit_the_card(starter_weights: Path):
    from llmos.models import gguf, hardware

    card = hardware.Device("CUDA0", "x", "gpu", 800 << 20, 1 << 30)
    machine = hardware.Hardware(16 << 30, 8 << 30, 4, (card,), gpu_build=True)
    header = gguf.verify(starter_weights)
    sized, note = boot_module._sized(EngineConfig(), header, machine)
    assert 0 < sized.gpu_layers <= header.layers
    assert not note


async def test_a_reminder_that_came_due_while_no_kernel_ran_is_given(script: Path):
    settings = config(script)
    async with boot(settings) as kernel:
        pid = (await kernel.create()).pid
        await kernel.send(pid, "Hello")
        await kernel.wait(pid)
    kept = {"next": 2, "timers": [{"id": "t1", "pid": pid, "due": 1.0, "text": "Call Ann"}]}
    (settings.state / "timers.json").write_text(json.dumps(kept))
    async with boot(settings) as kernel:
        with kernel.subscribe(pid) as events:
            async with asyncio.timeout(30):
                async for event in events:
                    if isinstance(event, TurnStarted):
                        break
        assert (event.text, event.by) == ("(Reminder) Call Ann", "reminder")
        [record] = [
            r for r in kernel.journal.records(pid) if r.stored.message.content == event.text
        ]
        assert record.label.origin is Origin.MODEL  # it is not the person who speaks
        await kernel.wait(pid)
        assert [m.message.name for m in await kernel.messages(pid) if m.turn == event.turn] == [
            "reminder",
            "",
        ]
        window = kernel.table[pid].window
        assert window is not None and not any(message.name for message in window.messages())
    assert json.loads((settings.state / "timers.json").read_text())["timers"] == []
