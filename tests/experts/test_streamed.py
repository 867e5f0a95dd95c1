"""A jailed tool that yields is as one in the kernel's process."""

from __future__ import annotations

import pytest

from llmos.sdk import Context, Result


@pytest.mark.parametrize("begin", ["def", "async def"])
async def test_a_jailed_tool_streams_as_one_in_the_kernel_does(write, experts, begin: str):
    write(
        f"""
{begin} sing(context: Context):
    '''Sing.'''
    yield "la "
    yield "li"
    yield Result("", {{"notes": 2}})
"""
    )
    told: list[str] = []
    context = Context(told=lambda text, _done: told.append(text))
    call = (await experts()).get("ornithologist").own["bird.sing"]
    assert await call.run({}, context) == Result("la li", {"notes": 2})
    assert told == ["la ", "li"]


@pytest.mark.parametrize("begin", ["def", "async def"])
async def test_what_a_jailed_tool_yields_wrongly_is_one_sentence(write, experts, begin: str):
    write(f"\n{begin} sing(context: Context):\n    '''Sing.'''\n    yield 5\n")
    call = (await experts()).get("ornithologist").own["bird.sing"]
    with pytest.raises(Exception, match="yields int; it may yield text"):
        await call.run({})
