"""A terminal on a kernel in memory, 80 by 24."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from llmos.ui.app import LlmosApp
from llmos.ui.chat import ChatScreen

if "fake_client" not in sys.modules:  # test folders are no packages
    for _name in ("fake_memory", "fake_client"):
        _spec = importlib.util.spec_from_file_location(
            _name, Path(__file__).with_name(f"{_name}.py")
        )
        assert _spec is not None
        assert _spec.loader is not None
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)

from fake_client import FakeKernel


class Terminal:
    """A running app, driven from outside."""

    def __init__(self, app: LlmosApp, pilot: Pilot[None], kernel: FakeKernel) -> None:
        self.app = app
        self.pilot = pilot
        self.kernel = kernel

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat

    async def until(self, true: Callable[[], Any]) -> None:
        """Let the app work until ``true()`` holds."""
        async with asyncio.timeout(20):
            while not true():
                await self.pilot.pause()

    async def write(self, text: str) -> None:
        """Put ``text`` into the input and press Enter."""
        self.chat.composer.text = text
        await self.pilot.press("enter")

    async def say(self, text: str) -> int:
        """Send ``text``, begin its turn, return the process."""
        number = len(self.kernel.said) + 1
        await self.write(text)
        stored = await self.kernel.sent(number)
        self.kernel.start(self.chat.pid, stored)
        await self.until(lambda: not self.chat.conversation.pending)
        return self.chat.pid

    @property
    def screen_text(self) -> str:
        """Everything on the screen, as a person sees it."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)

    async def sees(self, text: str) -> None:
        try:
            await self.until(lambda: text in self.screen_text)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.screen_text}") from None

    async def told(self, text: str) -> None:
        """Wait for a notification; the pilot does not show them."""
        await self.until(lambda: any(text in note.message for note in self.app._notifications))

    async def settled(self) -> None:
        await self.until(lambda: self.chat.link.state == "ready")


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def terminal(kernel: FakeKernel):
    """``async with terminal() as t``: a terminal on ``kernel``."""

    @asynccontextmanager
    async def run(
        size: tuple[int, int] = (80, 24), *, wait: bool = True, **options: Any
    ) -> AsyncIterator[Terminal]:
        app = LlmosApp(kernel.connect, **options)
        async with app.run_test(size=size) as pilot:
            running = Terminal(app, pilot, kernel)
            if wait:
                await running.settled()
            yield running

    return run
