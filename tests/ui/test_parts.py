"""The status line, the clipboard, the stream and the link, each alone."""

from __future__ import annotations

import asyncio

import pytest
from fake_client import FakeKernel
from textual.app import App, ComposeResult

from llmos.errors import KernelUnreachable
from llmos.events import Usage
from llmos.ui.clipboard import helper
from llmos.ui.link import KernelLink
from llmos.ui.markdown import FLUSH_MAX_S, FLUSH_S, StreamedMarkdown
from llmos.ui.status import RateMeter, gauge, usage_line


def test_the_rate_counts_the_tokens_of_the_last_seconds():
    now = 0.0
    meter = RateMeter(lambda: now)
    meter.add(5)
    assert meter.rate == 0.0
    for _ in range(40):
        now += 0.25
        meter.add(10)
    assert meter.rate == pytest.approx(40.0)


def test_the_gauge_is_as_full_as_the_window():
    assert gauge(0.0) == " " * 10
    assert gauge(0.5) == "█████     "
    assert gauge(1.0) == gauge(1.7) == "█" * 10


def test_a_turn_without_tokens_divides_by_nothing():
    assert usage_line(Usage()) == "0 tokens"


def test_the_clipboard_helper_is_the_one_of_this_machine():
    assert helper({"TMUX": "x", "SSH_TTY": "y"}, "linux") == ["tmux", "load-buffer", "-w", "-"]
    assert helper({"SSH_TTY": "y", "DISPLAY": ":0"}, "linux") is None
    assert helper({}, "darwin") == ["pbcopy"]
    assert helper({"WAYLAND_DISPLAY": "w"}, "linux") == ["wl-copy"]
    assert helper({}, "linux") is None


def test_slow_drawing_writes_less_often():
    assert StreamedMarkdown._pause(0.0) == FLUSH_S
    assert FLUSH_S < StreamedMarkdown._pause(0.1) < FLUSH_MAX_S
    assert StreamedMarkdown._pause(9.0) == FLUSH_MAX_S


class Page(App[None]):
    def compose(self) -> ComposeResult:
        yield StreamedMarkdown()


async def test_a_stream_writes_many_tokens_in_few_steps_and_loses_none():
    app = Page()
    async with app.run_test():
        document = app.query_one(StreamedMarkdown)
        steps = 0
        append = document.append

        def counted(text: str):
            nonlocal steps
            steps += 1
            return append(text)

        document.append = counted
        for n in range(500):
            document.write(f"w{n} ")
        await document.finish()
        assert document.source == "".join(f"w{n} " for n in range(500))
        assert steps <= 3


@pytest.mark.parametrize(
    "text",
    [
        "- one\n- two\n  - deep\n  - deeper\n- three\n\n  second paragraph\n",
        "".join(f"{n}. item {n}\n" for n in range(1, 13)) + "\nafter\n",
        "3. code:\n   ```py\n   x = 1\n   ```\n4. end\n\n- other\n",
        "- a\n\n  > quote\n  > more\n- b\n\n1. x\n",
    ],
)
async def test_a_list_that_streams_ends_as_the_list_written_at_once(text: str):
    app = Page()
    async with app.run_test() as pilot:
        streamed = app.query_one(StreamedMarkdown)
        whole = StreamedMarkdown(text)
        await app.mount(whole)
        for character in text:
            await streamed.append(character)
        await pilot.pause()

        def shown(document: StreamedMarkdown) -> list[tuple[str, str, int, int]]:
            return [
                (type(node).__name__, str(node.render()), node.region.x, node.region.height)
                for node in document.walk_children()
                if not node.children
            ]

        assert shown(streamed) == shown(whole)
        # A number alone is a paragraph for a moment, which ends the list before it: one row more.
        assert streamed.region.height - whole.region.height in (0, 1)
        assert whole.region.height <= text.count("\n") + 6  # rows are no higher than their text


async def test_a_line_end_cut_in_two_stays_a_line_end():
    app = Page()
    async with app.run_test():
        document = app.query_one(StreamedMarkdown)
        document.write("a\r")
        await asyncio.sleep(0)
        document.write("\nb\r")
        await document.finish()
        assert document.source == "a\nb␍"


async def test_a_wait_for_a_kernel_that_goes_away_ends_with_an_error():
    kernel = FakeKernel()
    states: list[str] = []
    link = KernelLink(kernel.connect, lambda state, _: states.append(state), retry_s=0.0)

    async def nothing(_: object) -> None: ...

    following = asyncio.create_task(link.follow(0, nothing, nothing))
    await link.wait_for(0)
    waiting = asyncio.create_task(link.wait_for(7))
    kernel.die()
    with pytest.raises(KernelUnreachable):
        await waiting
    kernel.up = True
    link.retry_now()
    async with asyncio.timeout(10):
        while link.state != "ready":
            await asyncio.sleep(0)
    following.cancel()
    assert states[0] == "ready"
    assert "lost" in states
    assert states[-1] == "ready"
