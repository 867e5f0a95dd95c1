"""The OpenAI routes over the real engine: the shipped double, and the starter model's weights."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import openai
import pytest

from llmos.config import EngineConfig
from llmos.engine.local import LocalBackend
from llmos.engine.scripted import Script, ScriptedRuntime

HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "rain": {"type": "boolean"}},
    "required": ["city", "rain"],
    "additionalProperties": False,
}


async def until_idle(backend):
    while (stats := backend.stats())["running"] or stats["waiting"]:
        await asyncio.sleep(0.001)
    return stats


@pytest.fixture
async def scripted(serving, tmp_path):
    """The official client over the engine with the scripted runtime, which waits at ``gate``."""
    script = Script([("Once", " upon a time")], default="Hello thére, you.")
    backend = LocalBackend(lambda: ScriptedRuntime(script, window=512))
    await backend.start()
    kernel = SimpleNamespace(backend=backend, touch=lambda: None)
    async with serving(kernel, tmp_path / "k.sock") as served, served.openai() as client:
        yield client, backend
    await backend.close()


async def test_text_survives_the_engine_whole_and_streamed(scripted):
    client, _ = scripted
    whole = await client.chat.completions.create(model="scripted", messages=HELLO, n=2)
    assert [c.message.content for c in whole.choices] == ["Hello thére, you."] * 2
    texts = ["", ""]
    stream = await client.chat.completions.create(
        model="scripted", messages=HELLO, n=2, stream=True
    )
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["Hello thére, you."] * 2


async def test_several_replies_prefill_their_prompt_once(scripted):
    client, backend = scripted
    answer = await client.chat.completions.create(model="scripted", messages=HELLO, n=4)
    assert backend.stats()["prefilled_tokens"] == answer.usage.prompt_tokens


async def test_a_second_request_says_what_was_cached(scripted):
    client, _ = scripted
    for _ in range(2):
        answer = await client.completions.create(model="scripted", prompt="Once" * 20)
    details = answer.usage.prompt_tokens_details
    assert 0 < details.cached_tokens < answer.usage.prompt_tokens


async def test_tokens_can_be_echoed_as_text(scripted):
    client, _ = scripted
    answer = await client.completions.create(model="scripted", prompt=list(b"Once"), echo=True)
    assert answer.choices[0].text == "Once upon a time"


@pytest.mark.parametrize(
    "options",
    [{"messages": [{"role": "user", "content": "x" * 600}]}, {"max_tokens": 100_000}],
    ids=["the prompt", "the reply"],
)
async def test_what_does_not_fit_the_window_is_refused(scripted, options):
    client, _ = scripted
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**{"model": "scripted", "messages": HELLO, **options})
    assert refused.value.code == "context_length_exceeded"
    assert "512" in refused.value.message


@pytest.fixture
async def starter(serving, tmp_path, starter_weights):
    """The official client over the starter model."""
    from llmos.engine.llama import LlamaRuntime

    config = EngineConfig(window=1024, cells=2048, threads=1)
    backend = LocalBackend(lambda: LlamaRuntime(starter_weights, config, name="starter", threads=1))
    await backend.start()
    kernel = SimpleNamespace(backend=backend, touch=lambda: None)
    async with serving(kernel, tmp_path / "k.sock") as served, served.openai() as client:
        yield client, backend
    await backend.close()


async def test_the_starter_model_keeps_to_schemas_tools_and_logprobs(starter):
    client, backend = starter

    async def ask(text, **options):
        answer = await client.chat.completions.create(
            model="starter",
            messages=[{"role": "user", "content": text}],
            temperature=0,
            max_tokens=96,
            **options,
        )
        return answer.choices[0]

    named = {"name": "weather", "strict": True, "schema": SCHEMA}
    form = {"type": "json_schema", "json_schema": named}
    value = json.loads((await ask("Rain in Bonn?", response_format=form)).message.content)
    assert sorted(value) == ["city", "rain"]

    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    choice = await ask(
        "Rain in Bonn?", tools=[tool], tool_choice="required", parallel_tool_calls=False
    )
    [call] = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert sorted(json.loads(call.function.arguments)) == ["city", "rain"]

    choice = await ask("Hello!", logprobs=True, top_logprobs=3)
    entries = choice.logprobs.content
    assert b"".join(bytes(e.bytes) for e in entries).decode() == choice.message.content
    assert all(e.logprob == max(t.logprob for t in e.top_logprobs) for e in entries)

    stream = await client.chat.completions.create(
        model="starter", messages=HELLO, stream=True, extra_body={"dry_multiplier": 0.8}
    )
    await anext(stream)
    await stream.close()
    stats = await until_idle(backend)
    assert stats["running"] == 0
