"""How a prompt's tokens fall to its messages: every token to one of them, on real weights."""

from __future__ import annotations

import pytest

from llmos.engine.local import LocalBackend
from llmos.engine.scripted import Script, ScriptedRuntime
from llmos.events import Message

SAID = [
    Message("system", "You are kind."),
    Message("user", "What is this?  "),
    Message("assistant", "A question about <|im_end|> and größere Dinge."),
    Message("user", "What is this?"),
    Message("assistant", ""),
    Message("user", "日本語"),
]


@pytest.fixture
async def backend():
    made = LocalBackend(lambda: ScriptedRuntime(Script([])))
    await made.start()
    yield made
    await made.close()


async def test_every_token_falls_to_one_message(backend):
    prompt = await backend.prompt(SAID)
    sizes = backend.sizes(prompt, [message.content for message in SAID])
    assert sum(sizes) == backend.size(prompt) == len(prompt.tokens)
    assert all(size > 0 for size in sizes)


async def test_a_message_has_as_many_as_it_adds(backend):
    said = [message for message in SAID if message.content]
    texts = [message.content for message in said]
    for count in range(2, len(said)):
        less = await backend.prompt(said[:count], generate=False)
        more = await backend.prompt(said[: count + 1], generate=False)
        sizes = backend.sizes(more, texts[: count + 1])
        assert sizes[-1] <= len(more.tokens) - len(less.tokens) <= sizes[-1] + 40  # its opening


async def test_what_a_template_leaves_out_has_none(backend):
    prompt = await backend.prompt(SAID)
    texts = [message.content for message in SAID]
    sizes = backend.sizes(prompt, [*texts[:3], "never said", *texts[3:]])
    assert sum(sizes) == len(prompt.tokens)
