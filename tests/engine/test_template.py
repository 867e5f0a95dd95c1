"""The chat template runs in a worker that can neither loop, grow, look around nor take us down."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest

from llmos import limits
from llmos.engine.template import CHATML, TemplateWorker
from llmos.errors import SandboxMissing, TemplateError
from llmos.events import Message, ToolCall
from llmos.sandbox import tiers
from llmos.sandbox.jail import Jail

HELLO = (Message("system", "Be brief."), Message("user", "Hello"))


@pytest.fixture
async def make() -> AsyncIterator[Callable[[str], TemplateWorker]]:
    workers: list[TemplateWorker] = []

    def build(template: str) -> TemplateWorker:
        workers.append(TemplateWorker(template, bos="<s>", eos="</s>"))
        return workers[-1]

    yield build
    for worker in workers:
        await worker.close()


Make = Callable[[str], TemplateWorker]


async def test_no_template_gives_chatml(make: Make) -> None:
    worker = make("")
    assert worker.template == CHATML
    text = await worker.render(HELLO, (), True)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert text.startswith(await worker.render(HELLO, (), False))


async def test_messages_have_the_openai_form_with_arguments_as_an_object(make: Make) -> None:
    call = ToolCall("c1", "clock.now", {"zone": "Zürich"})
    messages = (
        Message("user", "Time?"),
        Message("assistant", "", (call,)),
        Message("tool", "12:00", call_id="c1", name="clock.now"),
    )
    tools = ({"type": "function", "function": {"name": "clock.now"}},)
    text = await make("{{ messages|tojson }}\n{{ tools|tojson }}").render(messages, tools, True)
    first, second = map(json.loads, text.splitlines())
    function = {"name": "clock.now", "arguments": {"zone": "Zürich"}}
    assert first == [
        {"role": "user", "content": "Time?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "12:00", "tool_call_id": "c1", "name": "clock.now"},
    ]
    assert second == list(tools)


async def test_templates_find_what_model_hubs_promise(make: Make) -> None:
    template = """{% set ns = namespace(n=0) %}
{% for m in messages %}
    {% set ns.n = ns.n + 1 %}
    {% if loop.last %}{% break %}{% endif %}
{% endfor %}
{{ bos_token }}{{ ns.n }}{{ eos_token }} {{ {"a": "<é>'"}|tojson }} {{ [1]|tojson(indent=2) }}
{% generation %}x{% endgeneration %}
{{ "tools" if tools is not none else "none" }} {{ add_generation_prompt }} {{ " a ".strip() }}"""
    text = await make(template).render(HELLO, (), True)
    assert text == '<s>2</s> {"a": "<é>\'"} [\n  1\n]\nxnone True a'


async def test_a_refusal_by_the_template_is_one_sentence(make: Make) -> None:
    worker = make("{{ raise_exception('Roles must alternate.') }}")
    with pytest.raises(
        TemplateError, match=r"^The model's chat template fails: Roles must alternate\.$"
    ):
        await worker.render(HELLO, (), True)


async def test_a_template_that_does_not_parse_says_where(make: Make) -> None:
    with pytest.raises(TemplateError, match="line 2"):
        await make("a\n{% if %}").render(HELLO, (), True)


async def test_without_a_jail_templates_run_in_a_limited_process(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def none() -> Jail:
        raise SandboxMissing("Nothing on this machine can hold untrusted code.")

    monkeypatch.setattr(tiers, "best", none)
    assert await make("{{ messages[1].content }}").render(HELLO, (), True) == "Hello"
    assert "chat templates run without a jail" in caplog.text


async def test_a_huge_range_is_refused(make: Make) -> None:
    with pytest.raises(TemplateError, match="Range too big"):
        await make("{% for i in range(10**12) %}x{% endfor %}").render(HELLO, (), True)


LOOP = (
    "{% if messages[0].content == 'loop' %}{% for i in range(99999) %}"
    "{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}done"
)


async def test_a_looping_template_is_stopped_and_the_next_conversation_renders(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TEMPLATE_SECONDS", 0.3)
    worker = make(LOOP)
    with pytest.raises(TemplateError, match=r"did not finish within 0\.3 s"):
        await worker.render([Message("user", "loop")], (), True)
    monkeypatch.setattr(limits, "TEMPLATE_SECONDS", 20.0)
    assert await worker.render(HELLO, (), True) == "done"


async def test_a_template_that_computes_for_ever_while_compiling_is_stopped(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TEMPLATE_SECONDS", 0.3)
    with pytest.raises(TemplateError, match="did not finish"):
        await make("{{ 9 ** (9 ** 8) }}").render(HELLO, (), True)


async def test_a_worker_alone_ends_at_its_own_processor_limit(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make(LOOP)
    monkeypatch.setattr(limits, "TEMPLATE_SECONDS", 0.1)
    await worker.render(HELLO, (), True)  # the worker knows 0.1 s, the parent waits for longer
    monkeypatch.setattr(limits, "TEMPLATE_SECONDS", 60.0)
    with pytest.raises(TemplateError, match="did not finish"):
        await worker.render([Message("user", "loop")], (), True)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses RLIMIT_AS")
@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 'a'|center(10**9) }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(40) %}"
        "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    ],
)
async def test_a_giant_string_is_refused(make: Make, template: str) -> None:
    with pytest.raises(TemplateError, match="more than 256 MB"):
        await make(template).render(HELLO, (), True)


async def test_a_huge_output_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEMPLATE_OUTPUT_CHARS", 10_000)
    worker = make("{% for i in range(90000) %}{{ 'a' * 10 }}{% endfor %}")
    with pytest.raises(TemplateError, match="more than"):
        await worker.render(HELLO, (), True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ raise_exception.__globals__['sys'] }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
async def test_a_template_reaches_nothing_of_python(make: Make, template: str) -> None:
    try:
        text = await make(template).render(HELLO, (), True)
    except TemplateError:
        text = ""
    assert not text.strip()


async def test_endless_recursion_is_refused(make: Make) -> None:
    with pytest.raises(TemplateError, match="chat template"):
        await make("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}").render(HELLO, (), True)


async def test_a_crashed_worker_is_replaced_without_a_word(make: Make) -> None:
    worker = make("{{ messages[1].content }}")
    assert await worker.render(HELLO, (), True) == "Hello"
    first = worker._process
    assert first is not None
    await first.kill()
    assert await worker.render(HELLO, (), True) == "Hello"
    assert worker._process is not None
    assert worker._process.pid != first.pid


async def test_a_worker_that_always_crashes_is_an_error_of_the_template(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TemplateError, match="ends its worker"):
        await make("x").render(HELLO, (), True)


async def test_a_cancelled_render_leaves_no_answer_behind(make: Make) -> None:
    worker = make(LOOP)
    await worker.render(HELLO, (), True)
    task = asyncio.create_task(worker.render([Message("user", "loop")], (), True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await worker.render(HELLO, (), True) == "done"


async def test_the_worker_has_no_environment_and_a_neutral_directory(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    worker = make("x")
    await worker.render(HELLO, (), True)
    assert worker._process is not None
    if not os.path.isdir(f"/proc/{worker._process.pid}"):
        pytest.skip("this system has no /proc")
    with open(f"/proc/{worker._process.pid}/environ", "rb") as file:
        assert b"secret" not in file.read()
    assert os.readlink(f"/proc/{worker._process.pid}/cwd") == "/"


async def test_the_date_is_the_same_for_the_life_of_the_worker(make: Make) -> None:
    worker = make("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}")
    first = await worker.render(HELLO, (), True)
    assert first == time.strftime("%Y-%m-%d", worker._today) + " 00:00:00"
    assert worker._process is not None
    await worker._process.kill()
    assert await worker.render(HELLO, (), True) == first


async def test_renders_at_the_same_time_do_not_mix(make: Make) -> None:
    worker = make("{{ messages[0].content }}")
    texts = [f"message {n}" for n in range(50)]
    rendered = await asyncio.gather(*(worker.render([Message("user", t)], (), True) for t in texts))
    assert rendered == texts


async def test_a_template_that_refuses_system_messages_gets_them_with_the_first_question(
    make: Make,
) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}"
    )
    assert await make(template).render(HELLO, (), True) == "user: Be brief.\n\nHello;"


async def test_text_that_is_not_unicode_is_replaced(make: Make) -> None:
    text = await make("{{ messages[0].content }}").render([Message("user", "a\ud800b")], (), True)
    assert text == "a?b"


async def test_a_closed_worker_says_so(make: Make) -> None:
    worker = make("x")
    await worker.render(HELLO, (), True)
    await worker.close()
    await worker.close()
    with pytest.raises(TemplateError, match="closed"):
        await worker.render(HELLO, (), True)


def test_a_template_of_any_size_is_refused() -> None:
    with pytest.raises(TemplateError, match="too long"):
        TemplateWorker("x" * (limits.TEMPLATE_CHARS + 1), bos="", eos="")
