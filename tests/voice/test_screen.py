"""The screen of a conversation by voice: what is said stands there, and keys do what they say."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from textual.widgets import OptionList, Static

from llmos.errors import DeviceError
from llmos.voice import commands
from llmos.voice.app import VoiceApp
from llmos.voice.dialogs import DeviceChoice, Help
from llmos.voice.duplex import Line, State
from llmos.voice.screen import VoiceScreen
from tests.voice.rooms import Kernel, System, terminal_of

QUESTION = {
    "id": "c1",
    "title": "files.delete wants to change something.",
    "arguments": [{"name": "path", "value": "a\u202eb\x1b[2J.txt", "source": "you"}],
}


class Shown:
    """The running application, its kernel and its devices."""

    def __init__(self) -> None:
        self.link, self.system = Kernel(), System()
        self.app = VoiceApp(self._open)
        self.terminal = None
        self.pilot = None

    async def _open(self, show):
        self.terminal = terminal_of(self.link, self.system, [])
        self.terminal.duplex._show = self.terminal._show = show
        return self.terminal

    @property
    def text(self):
        statics = self.app.screen.query(Static)
        return "\n".join(str(static.visual) for static in statics)

    async def until(self, true):
        async with asyncio.timeout(20):
            while not true():
                await self.pilot.pause()


@pytest.fixture
async def shown():
    shown = Shown()
    async with shown.app.run_test(size=(80, 24)) as pilot:
        shown.pilot = pilot
        await shown.until(lambda: shown.terminal is not None and shown.terminal.ready.is_set())
        yield shown


async def test_a_caption_grows_and_what_is_only_a_guess_looks_so(shown):
    shown.link.comes("llmos.heard", item_id="p1", text="What is DMS", settled=8, language="en")
    await shown.until(lambda: "What is DMS" in shown.text)
    screen = shown.app.screen
    screen.show(Line("person", "p1", "What is DNS?", 12, whole=True))
    await shown.until(lambda: "What is DNS?" in shown.text)
    assert "DMS" not in shown.text
    assert len(screen.query(".person")) == 1


async def test_who_has_the_word_is_shown(shown):
    await shown.until(lambda: "Listening" in shown.text)
    shown.link.comes("input_audio_buffer.speech_started", item_id="p1", audio_start_ms=0)
    await shown.until(lambda: "I hear you" in shown.text)
    await shown.pilot.press("m")
    await shown.until(lambda: "Muted" in shown.text)
    assert shown.terminal.duplex.muted


async def test_keys_of_pace_volume_and_talking(shown):
    duplex = shown.terminal.duplex
    await shown.pilot.press("s", "plus")
    await shown.until(lambda: "speed 0.85" in shown.text and "volume 150%" in shown.text)
    await shown.pilot.press("f", "minus")
    assert duplex.speed == pytest.approx(1.0) and duplex.gain == pytest.approx(1.0)
    await shown.pilot.press("space")
    assert duplex.state is State.HEARING
    await shown.pilot.press("space")
    assert shown.link.kinds()[-1] == "input_audio_buffer.commit"
    await shown.pilot.press("o")
    assert not duplex.push_to_talk


@pytest.mark.parametrize(("key", "answer"), [("y", "once"), ("n", "no")])
async def test_a_question_shows_its_literal_arguments_and_is_answered_by_a_key(shown, key, answer):
    shown.link.comes("llmos.question", **QUESTION)
    await shown.until(lambda: "wants to change" in shown.text)
    assert "\x1b" not in shown.text and "\u202e" not in shown.text
    await shown.pilot.press(key)
    answers = [e["answer"] for e in shown.link.sent if e["type"] == "llmos.answer"]
    assert answers == [answer]
    shown.link.comes("llmos.answered", id="c1", answer=answer)
    await shown.until(lambda: "wants to change" not in shown.text)


async def test_another_device_is_chosen_while_it_runs(shown):
    await shown.pilot.press("d")
    await shown.until(lambda: isinstance(shown.app.screen, DeviceChoice))
    options = shown.app.screen.query_one(OptionList)
    await shown.until(lambda: options.option_count == 4)
    assert "the system's choice" in str(options.get_option_at_index(0).prompt)
    assert "[voice] microphone" in shown.text  # no markup
    options.highlighted = 1  # the other microphone
    options.action_select()
    headset = shown.system.rooms["headset"].microphone
    await shown.until(lambda: shown.terminal._microphone is headset)
    del shown.system.rooms["desk"]
    await shown.pilot.press("escape")
    assert isinstance(shown.app.screen, VoiceScreen)


async def test_help_names_every_key(shown):
    await shown.pilot.press("question_mark")
    await shown.until(lambda: isinstance(shown.app.screen, Help))
    for word in ("push to talk", "mute", "repeat", "slower", "louder", "microphone", "leave"):
        assert word in shown.text
    await shown.pilot.press("escape")
    assert isinstance(shown.app.screen, VoiceScreen)


async def test_leaving_closes_the_devices(shown):
    await shown.pilot.press("q")
    await shown.until(lambda: shown.system.closed)
    assert shown.app.failed is None


async def test_without_a_microphone_it_ends_with_a_sentence():
    async def opened(show):
        raise DeviceError("There is no microphone.", remedy="Plug one in.")

    app = VoiceApp(opened)
    async with app.run_test() as pilot:
        async with asyncio.timeout(20):
            while app.failed is None:
                await pilot.pause()
    assert "no microphone" in str(app.failed)


async def test_without_a_screen_captions_are_lines(capsys):
    link, system = Kernel(), System()
    done = asyncio.Event()

    async def opened(show):
        def shows(line):
            show(line)
            done.set()

        terminal = terminal_of(link, system, [])
        terminal.duplex._show = shows
        return terminal

    running = asyncio.create_task(commands._plain(opened))
    link.comes("response.created", response={"id": "r1"})
    delta = {"item_id": "i1", "delta": "It opens\x1b[2J at nine."}
    link.comes("response.output_text.delta", **delta)
    link.comes("response.done", response={"id": "r1", "status": "completed"})
    async with asyncio.timeout(20):
        while "at nine" not in (told := capsys.readouterr().out):
            await asyncio.sleep(0)
    assert told.startswith("llmos: It opens") and "\x1b" not in told
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert system.closed
