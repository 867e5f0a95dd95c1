"""From a chat to talking, and back to it."""

from __future__ import annotations

import pytest

from llmos.errors import DeviceError
from llmos.voice import opening
from llmos.voice.screen import VoiceScreen
from tests.voice.rooms import Kernel, System, terminal_of


@pytest.fixture
async def spoken(monkeypatch):
    """A line by voice that is opened in place of this machine's devices."""
    link, system = Kernel(), System()

    async def opened(show, *, pid=0, client=None):
        assert client is not None
        link.pid = pid
        return terminal_of(link, system, [])

    monkeypatch.setattr(opening, "open_terminal", opened)
    return link, system


async def test_f6_talks_in_this_chat_and_comes_back_to_it(terminal, spoken):
    link, system = spoken
    async with terminal() as t:
        pid = await t.say("hello")
        await t.pilot.press("f6")
        await t.until(lambda: isinstance(t.app.screen, VoiceScreen))
        await t.until(lambda: link.sessions)
        assert link.pid == pid
        await t.pilot.press("q")
        await t.until(lambda: t.app.screen is t.chat)
        await t.until(lambda: system.closed)
        assert t.chat.pid == pid


async def test_what_was_begun_by_voice_is_open_afterwards(terminal, spoken):
    link, _ = spoken
    async with terminal() as t:
        other = (await (await t.kernel.connect()).create()).pid
        await t.pilot.press("f6")
        await t.until(lambda: link.sessions)
        link.pid = other  # the kernel made a process for it
        await t.pilot.press("q")
        await t.until(lambda: t.chat.pid == other)


async def test_without_a_microphone_the_chat_says_so(terminal, monkeypatch):
    async def opened(show, *, pid=0, client=None):
        raise DeviceError("There is no microphone.", remedy="Plug one in.")

    monkeypatch.setattr(opening, "open_terminal", opened)
    async with terminal() as t:
        await t.pilot.press("f6")
        await t.told("There is no microphone.")
        assert t.app.screen is t.chat
