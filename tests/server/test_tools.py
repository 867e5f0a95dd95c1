"""Tools in chat completions, through the official client."""

from __future__ import annotations

import json

import openai
import pytest

ASK = [{"role": "user", "content": "Is it raining in Bonn?"}]
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
OTHER = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'


def tool(name, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": f"The {name}.", "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [tool("weather", city={"type": "string"}), tool("clock")]
NAMED = {"type": "function", "function": {"name": "weather"}}


async def ask(client, **options):
    options = {"messages": ASK, "tools": TOOLS, **options}
    return await client.chat.completions.create(model="starter", **options)


async def test_a_call_is_read_from_the_reply(client, kernel):
    kernel.backend.reply = CALL
    choice = (await ask(client)).choices[0]
    [call] = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments) == {"city": "Bonn"}
    assert call.id.startswith("call_")
    assert choice.message.content is None
    assert choice.finish_reason == "tool_calls"


async def test_a_model_may_answer_instead_of_calling(client, kernel):
    kernel.backend.reply = "No, the sun shines < today."
    choice = (await ask(client)).choices[0]
    assert choice.message.content == "No, the sun shines < today."
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"


async def test_text_before_calls_is_kept_and_calls_have_ids_of_their_own(client, kernel):
    kernel.backend.reply = f"Let me look. {CALL}\n{OTHER}"
    message = (await ask(client)).choices[0].message
    assert message.content == "Let me look."
    assert [call.function.name for call in message.tool_calls] == ["weather", "clock"]
    assert len({call.id for call in message.tool_calls}) == 2


async def test_a_streamed_call_follows_the_text_in_openai_s_deltas(client, kernel):
    kernel.backend.reply = f"Let me look. {CALL}\n{OTHER}"
    text, calls, seen, finish = "", {}, [], None
    async for chunk in await ask(client, stream=True):
        delta = chunk.choices[0].delta
        finish = chunk.choices[0].finish_reason or finish
        if delta.content and delta.content.strip():
            text += delta.content
            seen.append("text")
        for part in delta.tool_calls or ():
            seen.append("call")
            call = calls.setdefault(part.index, {"id": part.id, "name": "", "arguments": ""})
            call["name"] += part.function.name or ""
            call["arguments"] += part.function.arguments or ""
    assert text.strip() == "Let me look."
    assert "text" not in seen[seen.index("call") :]
    assert finish == "tool_calls"
    assert [calls[index]["name"] for index in (0, 1)] == ["weather", "clock"]
    assert json.loads(calls[0]["arguments"]) == {"city": "Bonn"}
    assert calls[0]["id"] != calls[1]["id"]


async def test_what_the_choice_of_a_tool_means_for_the_sampler(client, kernel):
    kernel.backend.reply = CALL
    for choice in ("auto", "required", NAMED, "none"):
        await ask(client, tool_choice=choice)
    auto, required, named, none = (params for params, _, _ in kernel.backend.asked)
    assert auto.grammar
    assert auto.trigger
    for params in (required, named):
        assert params.grammar
        assert params.trigger == ""
    assert "weather" in named.grammar
    assert "clock" not in named.grammar
    assert (none.grammar, none.trigger) == ("", "")


async def test_without_a_choice_calls_are_not_looked_for(client, kernel):
    kernel.backend.reply = CALL
    choice = (await ask(client, tool_choice="none")).choices[0]
    assert choice.message.content == CALL
    assert choice.finish_reason == "stop"


async def test_calls_are_parallel_only_where_allowed(client, kernel):
    kernel.backend.reply = CALL
    await ask(client, tool_choice="required")
    await ask(client, tool_choice="required", parallel_tool_calls=False)
    many, one = (params.grammar for params, _, _ in kernel.backend.asked)
    assert many != one


async def test_a_reply_cut_within_a_call_says_length(client, kernel):
    kernel.backend.reply = CALL
    choice = (await ask(client, max_tokens=1)).choices[0]
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls is None


async def test_a_whole_round_of_calls_goes_through(client, kernel):
    kernel.backend.reply = CALL
    message = (await ask(client)).choices[0].message
    kernel.backend.reply = "No."
    answer = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "dry"}
    choice = (await ask(client, messages=[*ASK, message, answer])).choices[0]
    assert choice.message.content == "No."


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools[1].function.name"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [tool("no spaces please")]}, "tools[0].function.name"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ],
)
async def test_tools_that_contradict_themselves_are_refused(client, options, param):
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, **options)
    assert refused.value.param == param


async def test_a_schema_that_cannot_become_a_grammar_is_refused_with_a_reason(client):
    broken = tool("weather", city={"$ref": "https://example.org/schema.json"})
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(client, tools=[broken])
    assert refused.value.code == "invalid_schema"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_only_looks_like_a_call_is_text(client, kernel, stream):
    kernel.backend.reply = 'See: <tool_call> {"name": } </tool_call> and more'
    answer = await ask(client, stream=stream)
    if stream:
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
    else:
        text = answer.choices[0].message.content
        assert answer.choices[0].message.tool_calls is None
    assert "".join(text.split()) == 'See:<tool_call>{"name":}</tool_call>andmore'


async def test_tools_are_told_as_the_template_takes_them(client, kernel):
    await ask(client)
    prompt = kernel.backend.prompts[0]
    assert prompt.messages[0].role == "system"
    assert "weather(city: string)" in prompt.messages[0].content
    assert prompt.tools == ()
