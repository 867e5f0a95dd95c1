"""Chat completions, through the official client."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from llmos.engine.backend import Priority

HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}


async def ask(client, **options):
    options.setdefault("messages", HELLO)
    return await client.chat.completions.create(model="starter", **options)


async def chunks(client, **options):
    return [chunk async for chunk in await ask(client, stream=True, **options)]


def test_the_fixture_speaks_in_words(kernel):
    assert kernel.backend.count("one two") == 2


async def test_a_reply_comes_whole_with_exact_counts(client):
    answer = await ask(client)
    assert answer.choices[0].message.content == "Hello there, you."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.tool_calls is None
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint == "fp_0123456789abcdef"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 3, 5)
    assert usage.prompt_tokens_details.cached_tokens == 1


async def test_a_stream_says_the_same_as_the_whole_reply(client):
    got = await chunks(client)
    assert got[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in got) == "Hello there, you."
    assert [c.choices[0].finish_reason for c in got[-2:]] == [None, "stop"]
    assert len({c.id for c in got}) == 1
    assert all(c.usage is None for c in got)


async def test_a_stream_ends_with_usage_where_asked(client):
    got = await chunks(client, stream_options={"include_usage": True})
    assert got[-1].choices == []
    assert got[-1].usage.total_tokens == 5
    assert got[-1].usage.prompt_tokens_details.cached_tokens == 1


async def test_several_replies_to_one_prompt_are_one_generation_of_the_backend(client, kernel):
    answer = await ask(client, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [n for _, _, n in kernel.backend.asked] == [3]
    assert answer.usage.prompt_tokens == 2
    assert answer.usage.completion_tokens == 9


async def test_several_streams_carry_their_index(client):
    texts = ["", ""]
    ends = []
    for chunk in await chunks(client, n=2):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        ends += [choice.index] if choice.finish_reason else []
    assert texts == ["Hello there, you."] * 2
    assert sorted(ends) == [0, 1]


async def test_max_tokens_ends_a_reply_with_length(client):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = await ask(client, **{name: 2})
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].message.content == "Hello there, "


async def test_sampling_options_reach_the_engine(client, kernel):
    await ask(
        client,
        temperature=0.5,
        top_p=0.9,
        seed=-1,
        stop=["a", "b"],
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        logit_bias={"5": -100},
        extra_body={
            "top_k": 7,
            "min_p": 0.2,
            "typical_p": 0.8,
            "repeat_penalty": 1.1,
            "dry_multiplier": 0.8,
            "dry_base": 2,
            "dry_allowed_length": 3,
        },
        extra_headers={"x-llmos-priority": "idle"},
    )
    params, priority, _ = kernel.backend.asked[0]
    assert priority is Priority.IDLE
    assert params.stop == ("a", "b")
    assert params.logit_bias == {5: -100.0}
    assert (params.top_k, params.min_p, params.typical_p) == (7, 0.2, 0.8)
    assert (params.temperature, params.top_p, params.repeat_penalty) == (0.5, 0.9, 1.1)
    assert (params.dry_multiplier, params.dry_base, params.dry_allowed_length) == (0.8, 2, 3)
    assert (params.frequency_penalty, params.presence_penalty) == (0.1, -0.2)
    assert params.seed is not None
    assert 0 <= params.seed < 2**32


async def test_openai_s_defaults_hold_where_nothing_is_said(client, kernel):
    await ask(client)
    params, priority, n = kernel.backend.asked[0]
    assert (params.temperature, params.top_p, params.max_tokens) == (1.0, 1.0, None)
    assert (priority, n) == (Priority.INTERACTIVE, 1)


async def test_logprobs_carry_exact_bytes_and_finite_numbers(client):
    answer = await ask(client, logprobs=True, top_logprobs=2)
    first = answer.choices[0].logprobs.content[0]
    assert (first.token, first.logprob, bytes(first.bytes)) == ("Hello ", -0.5, b"Hello ")
    broken = first.top_logprobs[1]
    assert (broken.token, broken.bytes, broken.logprob) == ("\ufffd", [0xF0, 0x9F], -9999.0)
    assert len(answer.choices[0].logprobs.content) == 3


async def test_logprobs_come_with_the_stream(client):
    got = await chunks(client, logprobs=True)
    entries = [e for c in got if c.choices[0].logprobs for e in c.choices[0].logprobs.content]
    assert [e.token for e in entries] == ["Hello ", "there, ", "you."]
    assert entries[0].top_logprobs == []


async def test_roles_and_parts_become_plain_messages(client, kernel):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    await ask(client, messages=messages)
    given = kernel.backend.prompts[0].messages
    assert [m.role for m in given] == ["system", "user", "assistant", "tool"]
    assert given[1].content == "AB"
    assert given[2].calls[0].arguments == {"a": 1}
    assert (given[3].call_id, given[3].name) == ("c1", "f")


async def test_the_client_s_own_reply_can_be_sent_back(client, kernel):
    reply = (await ask(client)).choices[0].message
    await ask(client, messages=[*HELLO, reply, *HELLO])
    await ask(client, messages=[*HELLO, reply.model_dump(), *HELLO])
    assert kernel.backend.prompts[-1].messages[1].content == "Hello there, you."


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, FORMAT])
async def test_a_response_format_becomes_a_grammar(client, kernel, wanted):
    kernel.backend.reply = '{"city": "Bonn"}'
    answer = await ask(client, response_format=wanted)
    assert json.loads(answer.choices[0].message.content) == {"city": "Bonn"}
    params, _, _ = kernel.backend.asked[0]
    assert "root ::=" in params.grammar
    assert params.trigger == ""


async def test_plain_text_has_no_grammar(client, kernel):
    await ask(client, response_format={"type": "text"})
    assert kernel.backend.asked[0][0].grammar == ""


async def test_a_prompt_beyond_the_window_is_refused_with_both_counts(client):
    words = " ".join(["word"] * 600)
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, messages=[{"role": "user", "content": words}])
    assert refused.value.code == "context_length_exceeded"
    assert "600" in refused.value.message
    assert "512" in refused.value.message


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"extra_body": {"temprature": 1}}, "temprature", "unrecognized_request_argument"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 1000}, "n", "invalid_value"),
        ({"stop": [""]}, "stop[0]", "invalid_value"),
        ({"stop": 5}, "stop", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logit_bias": {"1000": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "invalid_value"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "wizard", "content": ""}]}, "messages[0]", "invalid_value"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c9", "content": ""}]},
            "messages[0].tool_call_id",
            "invalid_value",
        ),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
        ({"extra_headers": {"x-llmos-priority": "urgent"}}, "x-llmos-priority", "invalid_value"),
    ],
)
async def test_a_wrong_request_is_told_what_and_where(client, options, param, code):
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, **options)
    error = refused.value
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")


async def test_an_image_is_refused_with_a_clear_sentence(client):
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, messages=[{"role": "user", "content": parts}])
    assert "reads text only" in refused.value.message
    assert refused.value.param == "messages[0].content[0]"


async def test_arguments_that_are_no_object_are_refused(client):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, messages=[{"role": "assistant", "tool_calls": [call]}])
    assert refused.value.param == "messages[0].tool_calls[0].function.arguments"


async def test_fields_without_a_meaning_here_are_accepted(client):
    options = {"user": "u", "store": True, "metadata": {"a": "b"}, "service_tier": "auto"}
    assert (await ask(client, **options, seed=1)).choices


async def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert refused.value.code == "model_not_found"


async def test_an_error_in_mid_stream_reaches_the_client_as_an_error(client, kernel):
    kernel.backend.breaks_at = 1
    stream = await ask(client, stream=True)
    await anext(stream)
    assert (await anext(stream)).choices[0].delta.content == "Hello "
    with pytest.raises(openai.APIError, match="The model broke"):
        await anext(stream)


async def test_an_error_before_the_answer_is_a_500_with_its_sentence(client, kernel):
    kernel.backend.breaks_at = 1
    with pytest.raises(openai.InternalServerError, match="The model broke"):
        await ask(client)


@pytest.mark.parametrize("n", [1, 3])
async def test_a_client_that_goes_in_mid_stream_cancels_its_generations(client, kernel, n):
    kernel.backend.gate.clear()
    stream = await ask(client, stream=True, n=n)
    await anext(stream)  # the role: generation is waiting for its first token
    await stream.close()
    await asyncio.gather(*(speech.cancelled.wait() for speech in kernel.backend.speeches))
    assert len(kernel.backend.speeches) == n


async def test_a_client_that_goes_while_it_waits_cancels_too(client, kernel):
    kernel.backend.gate.clear()
    waiting = asyncio.create_task(ask(client))
    while not kernel.backend.speeches:
        await asyncio.sleep(0)
    waiting.cancel()
    await kernel.backend.speeches[0].cancelled.wait()


async def test_a_schema_that_nests_without_end_is_refused(http):
    deep = {"type": "object"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}}
    body = {
        "model": "starter",
        "messages": HELLO,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": deep}},
    }
    answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
