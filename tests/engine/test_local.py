"""The engine behind the kernel's loop: exact tokens of known text, streams that always end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

import pytest

from llmos import limits
from llmos.config import EngineConfig
from llmos.engine.backend import SamplingParams
from llmos.engine.llama import LlamaRuntime
from llmos.engine.local import LocalBackend
from llmos.engine.scripted import Script, ScriptedRuntime
from llmos.errors import EngineError, EngineStopped


class Pairs(ScriptedRuntime):
    """A vocabulary in which ``ab`` is one token to the tokenizer, but two to the model."""

    AB = 255
    MARK = 254  # a control token, written "<m>"

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        tokens = super().tokenize(text, special=special)
        raw = bytes(tokens).replace(b"<m>", bytes([self.MARK])).replace(b"ab", bytes([self.AB]))
        return list(raw)

    def piece(self, token: int, *, special: bool = False) -> bytes:
        if token == self.MARK:
            return b"<m>" if special else b""
        return b"ab" if token == self.AB else super().piece(token, special=special)


@pytest.fixture
async def backend() -> AsyncIterator[LocalBackend]:
    made = LocalBackend(lambda: Pairs(Script([], "abc")))
    await made.start()
    yield made
    await made.close()


async def said(backend: LocalBackend, text: str, **params: object) -> str:
    prompt = await backend.text_prompt(text)
    (stream,) = backend.generate(prompt, SamplingParams(**params))  # type: ignore[arg-type]
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].finish in ("stop", "length")
    return "".join(chunk.text for chunk in chunks)


async def test_a_reply_comes_back_as_the_tokens_the_model_wrote(backend):
    assert await said(backend, "x<m>") == "abc"
    spelled = [ord("x"), Pairs.MARK, *b"abc"]
    assert backend.tokenize("x<m>abc") == spelled
    assert backend.tokenize("x<m>abc<m>ab") == [*spelled, Pairs.MARK, Pairs.AB]


async def test_text_that_may_merge_with_what_precedes_it_is_tokenized_anew(backend):
    await said(backend, "x<m>", max_tokens=1)  # the model wrote "a"
    assert backend.tokenize("x<m>a<m>") == [ord("x"), Pairs.MARK, ord("a"), Pairs.MARK]
    assert backend.tokenize("x<m>ab") == [ord("x"), Pairs.MARK, Pairs.AB]


async def test_a_reply_cut_at_a_stop_string_is_not_taken_for_its_tokens(backend):
    assert await said(backend, "x<m>", stop=("c",)) == "ab"
    assert backend.tokenize("x<m>ab") == [ord("x"), Pairs.MARK, Pairs.AB]


async def test_a_prompt_of_tokens_teaches_nothing_about_texts(backend):
    odd = [ord("x"), *b"<m>"]  # spells a control token, but in letters
    prompt = await backend.token_prompt(odd)
    assert (prompt.tokens, prompt.text) == (tuple(odd), "x<m>")
    (stream,) = backend.generate(prompt, SamplingParams(max_tokens=3))
    async for _ in stream:
        pass
    assert not backend._known
    assert backend.tokenize("x<m>abc") == [ord("x"), Pairs.MARK, Pairs.AB, ord("c")]


async def test_the_beginning_of_a_prompt_teaches_nothing_about_its_text(backend):
    prompt = (await backend.text_prompt("x<m>abcabc")).beginning(3)
    (stream,) = backend.generate(prompt, SamplingParams(max_tokens=3))
    async for _ in stream:
        pass
    assert not backend._known


async def test_what_is_remembered_is_bounded_in_tokens_and_texts(backend, monkeypatch):
    monkeypatch.setattr(limits, "KNOWN_TOKENS", 40)
    for number in range(30):
        await said(backend, f"{number}<m>")
        assert backend._known_tokens == sum(map(len, backend._known.values())) <= 40
    monkeypatch.setattr(limits, "KNOWN_TEXTS", 2)
    await said(backend, "last<m>")
    assert len(backend._known) == 2


async def test_closing_ends_every_stream(backend):
    prompt = await backend.text_prompt("hello")
    streams = backend.generate(prompt, SamplingParams(ignore_end=True), n=3)
    await backend.close()
    for stream in streams:
        *_, last = [chunk async for chunk in stream]
        assert isinstance(last.error, EngineStopped)
    with pytest.raises(EngineStopped):
        backend.generate(prompt, SamplingParams())


async def test_a_prompt_begins_with_the_token_its_model_wants_first_once(gemma_weights):
    made = LocalBackend(lambda: LlamaRuntime(gemma_weights, EngineConfig(window=256)))
    await made.start()
    try:
        plain = await made.text_prompt("Hello")
        opened = await made.text_prompt("<bos>Hello")
        assert plain == opened
        assert plain.tokens[0] == 2
        assert plain.tokens.count(2) == 1
    finally:
        await made.close()


async def test_a_long_text_is_tokenized_beside_the_loop_to_the_same_tokens(backend, monkeypatch):
    threads = set()

    def tokenize(text, *, special):
        threads.add(threading.current_thread() is threading.main_thread())
        return Pairs.tokenize(backend.engine.runtime, text, special=special)

    await said(backend, "x<m>")
    monkeypatch.setattr(backend.engine.runtime, "tokenize", tokenize)
    text = "x<m>abc<m>" + "ab" * 30_000
    prompt = await backend.text_prompt(text)
    assert threads == {False}
    assert prompt.tokens == (ord("x"), Pairs.MARK, *b"abc", Pairs.MARK, *[Pairs.AB] * 30_000)
    await backend.text_prompt("short")
    assert threads == {False, True}


async def restarted(backend: LocalBackend, known) -> LocalBackend:
    await backend.close()
    made = LocalBackend(lambda: Pairs(Script([], "abc")), known=known)
    await made.start()
    return made


async def test_known_texts_survive_a_restart(tmp_path):
    known = tmp_path / "texts.json"
    first = LocalBackend(lambda: Pairs(Script([], "abc")), known=known)
    await first.start()
    await said(first, "x<m>")
    spelled = [ord("x"), Pairs.MARK, *b"abc"]
    again = await restarted(first, known)
    assert again.tokenize("x<m>abc") == spelled
    await again.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"fingerprint": "scripted", "tokens": [["a"]]}', b'{"tokens": 3}'],
)
async def test_a_damaged_file_of_known_texts_is_not_believed(tmp_path, content):
    known = tmp_path / "texts.json"
    known.write_bytes(content)
    backend = LocalBackend(lambda: Pairs(Script([], "abc")), known=known)
    await backend.start()
    assert backend.tokenize("x<m>abc") == [ord("x"), Pairs.MARK, Pairs.AB, ord("c")]
    await backend.close()


async def test_known_texts_of_another_model_are_not_taken_up(tmp_path):
    known = tmp_path / "texts.json"
    known.write_text('{"fingerprint": "another", "tokens": [[120, 254, 97, 98, 99]]}')
    backend = LocalBackend(lambda: Pairs(Script([], "abc")), known=known)
    await backend.start()
    assert backend.tokenize("x<m>abc") == [ord("x"), Pairs.MARK, Pairs.AB, ord("c")]
    await backend.close()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_what_is_no_file_in_the_place_of_known_texts_holds_nothing_up(tmp_path, make):
    """Opening a pipe would wait for ever; and forgetting goes on beside a folder."""
    known = tmp_path / "texts.json"
    make(known)
    backend = LocalBackend(lambda: Pairs(Script([], "abc")), known=known)
    await backend.start()
    await said(backend, "x<m>")
    await backend.forget()
    assert known.exists() is (make is os.mkdir)
    await backend.close()


async def test_what_cannot_be_forgotten_is_told(backend, monkeypatch):
    def broken() -> None:
        raise RuntimeError("cells cannot be freed")

    monkeypatch.setattr(backend.engine.admission, "forget", broken)
    with pytest.raises(EngineError, match="could not be dropped"):
        await backend.forget()


async def test_of_what_runs_while_all_is_forgotten_nothing_is_kept_either(tmp_path):
    under_way, forgotten = threading.Event(), threading.Event()

    def wait(_runs: object) -> None:
        under_way.set()
        forgotten.wait(30)

    known = tmp_path / "texts.json"
    runtime = ScriptedRuntime(Script([], "A long answer."), on_decode=wait)
    backend = LocalBackend(lambda: runtime, known=known)
    await backend.start()
    prompt = await backend.text_prompt("The password is swordfish. " * 8)
    (stream,) = backend.generate(prompt, SamplingParams(max_tokens=8))
    await asyncio.to_thread(under_way.wait)
    forgetting = asyncio.create_task(backend.forget())
    await asyncio.sleep(0)
    forgotten.set()
    await forgetting
    async for _ in stream:
        pass
    stats = backend.stats()
    assert (stats["cells_used"], stats["snapshots"], backend._known) == (0, 0, {})
    await backend.close()
