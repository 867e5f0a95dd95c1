"""The legacy route, through the official client."""

from __future__ import annotations

import openai
import pytest


async def complete(client, prompt="Once upon", **options):
    return await client.completions.create(model="starter", prompt=prompt, **options)


async def test_a_text_is_continued(client, kernel):
    answer = await complete(client)
    assert answer.choices[0].text == "Hello there, you."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == 2
    assert kernel.backend.asked[0][0].max_tokens == 16


async def test_echo_puts_the_prompt_first(client):
    assert (await complete(client, echo=True)).choices[0].text == "Once uponHello there, you."
    stream = await complete(client, echo=True, stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    assert text == "Once uponHello there, you."


async def test_several_prompts_and_replies_are_numbered_in_a_row(client, kernel):
    answer = await complete(client, ["a", "b c"], n=2, echo=True)
    texts = [choice.text for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [text[0] for text in texts] == ["a", "a", "b", "b"]
    assert answer.usage.prompt_tokens == 3
    assert answer.usage.completion_tokens == 12
    assert [n for _, _, n in kernel.backend.asked] == [2, 2]


@pytest.mark.parametrize(("prompt", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2)])
async def test_tokens_are_prompts_too(client, kernel, prompt, count):
    answer = await complete(client, prompt)
    assert len(answer.choices) == count
    assert answer.usage.prompt_tokens == 3


async def test_logprobs_have_the_legacy_form(client):
    logprobs = (await complete(client, logprobs=2)).choices[0].logprobs
    assert logprobs.tokens == ["Hello ", "there, ", "you."]
    assert logprobs.token_logprobs == [-0.5] * 3
    assert logprobs.text_offset == [0, 6, 13]
    assert logprobs.top_logprobs[0] == {"Hello ": -0.5, "bytes:\\xf0\\x9f": -9999.0}


async def test_a_stream_s_offsets_go_on_from_chunk_to_chunk(client):
    stream = await complete(client, logprobs=0, stream=True)
    offsets = [o async for c in stream for o in (c.choices[0].logprobs.text_offset)]
    assert offsets == [0, 6, 13]


async def test_a_stream_ends_with_usage_where_asked(client):
    stream = await complete(client, stream=True, stream_options={"include_usage": True})
    last = [chunk async for chunk in stream][-1]
    assert last.choices == []
    assert last.usage.total_tokens == 5


@pytest.mark.parametrize(
    ("prompt", "options", "param"),
    [
        ("", {}, "prompt"),
        ([], {}, "prompt"),
        ([[]], {}, "prompt[0]"),
        ([1, "a"], {}, "prompt[1]"),
        ([1000], {}, "prompt"),
        ([-1], {}, "prompt[0]"),
        (["a"] * 60, {"n": 2}, "n"),
        ("a", {"suffix": "b"}, "suffix"),
        ("a", {"best_of": 2}, "best_of"),
        ("a", {"echo": True, "logprobs": 1}, "echo"),
        ("a", {"logprobs": 99}, "logprobs"),
        ("a", {"extra_body": {"tools": []}}, "tools"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(client, prompt, options, param):
    with pytest.raises(openai.BadRequestError) as refused:
        await complete(client, prompt, **options)
    assert refused.value.param == param


async def test_when_one_prompt_of_several_is_too_long_none_runs(client, kernel):
    with pytest.raises(openai.BadRequestError) as refused:
        await complete(client, ["short", "long " * 600])
    assert refused.value.code == "context_length_exceeded"
    assert kernel.backend.speeches[0].cancelled.is_set()
