"""The engine with snapshots on disk: a conversation goes on after a restart, bit for bit."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos import limits
from llmos.config import EngineConfig
from llmos.engine.backend import ModelInfo, Runtime, SamplingParams
from llmos.engine.engine import Engine
from llmos.engine.llama import LlamaRuntime
from llmos.engine.scripted import Script, ScriptedRuntime
from llmos.engine.swapfile import SwapFiles

LONG = [1 + i % 200 for i in range(600)]


def started(load: Callable[[], Runtime], folder: Path, **more: int) -> Engine:
    def files(info: ModelInfo) -> SwapFiles:
        return SwapFiles(folder / "swap", 1 << 30, info.fingerprint, rewinds=info.can_rewind)

    engine = Engine(load, files=files, **more)
    engine.start()
    return engine


def scripted() -> Runtime:
    return ScriptedRuntime(Script(), window=2000, cells=4000)


def asked(engine: Engine, tokens: list[int], count: int = 20):
    """The tokens of a greedy reply, and the sequence."""
    chunks: queue.Queue = queue.Queue()
    params = SamplingParams(max_tokens=count, ignore_end=True)
    [sequence] = engine.submit(tokens, params, lambda s, chunk: chunks.put(chunk))
    while not (chunk := chunks.get(timeout=60)).finish:
        pass
    assert chunk.finish == "length", chunk.error
    return sequence.tokens[len(tokens) :], sequence


def test_a_conversation_is_read_from_disk_after_a_restart(tmp_path):
    engine = started(scripted, tmp_path)
    asked(engine, LONG)
    engine.close()
    engine = started(scripted, tmp_path)
    assert engine.stats()["snapshot_files"] == 1
    _, sequence = asked(engine, [*LONG, 7])
    assert sequence.cached_tokens == 600
    assert engine.stats()["snapshots_read"] == 1
    engine.close()


def test_what_memory_has_no_room_for_goes_to_disk_and_comes_back(tmp_path):
    engine = started(scripted, tmp_path, swap_bytes=1)
    asked(engine, LONG)
    asked(engine, LONG[::-1])
    engine.call(lambda: engine.admission.persist())
    engine.call(lambda: engine.admission.forget())
    done = queue.Queue()
    engine.call(lambda: done.put(engine.admission.files.wait(10)))
    assert done.get(timeout=20)
    assert engine.stats()["cells_used"] == 0
    _, sequence = asked(engine, [*LONG, 7])
    assert sequence.cached_tokens == 600  # straight into the cells: the store has no room for it
    engine.close()


@pytest.mark.parametrize("room", [1, 1 << 30])  # the store's, in bytes
def test_what_is_expected_is_read_from_disk_once_for_all_who_want_it(tmp_path, room):
    engine = started(scripted, tmp_path)
    asked(engine, LONG)
    engine.close()
    engine = started(scripted, tmp_path, swap_bytes=room)
    files, held = engine.admission.files, []
    fetch, files.fetch = files.fetch, lambda *asked: held.append(asked)
    engine.expect([*LONG, 7])
    engine.expect([*LONG, 7])
    chunks: queue.Queue = queue.Queue()
    params = SamplingParams(max_tokens=2, ignore_end=True)
    [sequence] = engine.submit([*LONG, 7, 8], params, lambda s, chunk: chunks.put(chunk))
    taken: queue.Queue = queue.Queue()
    engine.call(lambda: taken.put(sequence.fetching))
    assert taken.get(timeout=10), "it waits for what is being read"
    assert len(held) == 1
    fetch(*held[0])
    while not chunks.get(timeout=10).finish:
        pass
    assert sequence.cached_tokens == 600
    assert (engine.stats()["snapshots_read"], engine.stats()["swapped_in"]) == (1, 1)
    engine.close()


def test_all_that_memory_holds_is_written_when_the_engine_ends_however_little_may_wait(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "SWAP_FILE_QUEUE_BYTES", 1)
    prompts = [[1 + (i * step) % 200 for i in range(600)] for step in (1, 3, 7, 11)]
    engine = started(scripted, tmp_path)
    for prompt in prompts:
        asked(engine, prompt)
    engine.close()
    engine = started(scripted, tmp_path)
    assert engine.stats()["snapshot_files"] == len(prompts)
    engine.close()


def test_what_was_computed_of_a_reply_that_the_engines_end_cuts_is_written_too(tmp_path):
    engine = started(scripted, tmp_path)
    chunks: queue.Queue = queue.Queue()

    def stop_at_the_first_words(_sequence, chunk) -> None:
        chunks.put(chunk)
        engine.stop()

    params = SamplingParams(max_tokens=1300, ignore_end=True)
    engine.submit(LONG, params, stop_at_the_first_words)
    while not (chunk := chunks.get(timeout=60)).finish:
        pass
    assert chunk.finish == "error"
    engine.close()
    engine = started(scripted, tmp_path)
    _, sequence = asked(engine, [*LONG, 7])
    assert sequence.cached_tokens == 600
    engine.close()


def test_a_sequence_cancelled_while_it_waits_for_the_disk_ends(tmp_path):
    engine = started(scripted, tmp_path)
    asked(engine, LONG)
    engine.close()
    engine = started(scripted, tmp_path)
    held: list = []
    engine.admission.files.fetch = lambda tokens, done: held.append(done)
    chunks: queue.Queue = queue.Queue()
    [sequence] = engine.submit([*LONG, 7], SamplingParams(), lambda s, chunk: chunks.put(chunk))
    ready = queue.Queue()
    engine.call(lambda: ready.put(sequence.fetching))
    assert ready.get(timeout=10)
    engine.cancel(sequence)
    assert chunks.get(timeout=10).finish == "cancelled"
    held[0](None)
    assert asked(engine, [1, 2, 3])[0]
    engine.close()


@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.parametrize("damage", [False, True])
def test_the_reply_after_a_restart_is_the_reply_without_one(
    tmp_path, starter_weights, damage, expected
):
    def load() -> Runtime:
        return LlamaRuntime(starter_weights, EngineConfig(window=1024, cells=2048), threads=1)

    engine = started(load, tmp_path)
    text = "Once upon a time there was a small fox who lived in a forest. " * 20
    prompt = engine.runtime.tokenize(text, special=False)
    reply, _ = asked(engine, prompt, 16)
    longer = [*prompt, *reply, *engine.runtime.tokenize(" The fox said:", special=False)]
    without, _ = asked(engine, longer, 16)
    engine.call(engine.admission.forget)
    engine.close()

    engine = started(load, tmp_path)
    again, _ = asked(engine, prompt, 16)
    engine.close()
    assert again == reply
    if damage:
        for path in (tmp_path / "swap").iterdir():
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path.write_bytes(data)
    engine = started(load, tmp_path)
    if expected:
        engine.expect(longer)
    after, sequence = asked(engine, longer, 16)
    assert after == without
    assert (sequence.cached_tokens > len(prompt)) is not damage
    engine.close()
