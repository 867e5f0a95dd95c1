"""The voice terminal: microphone, loudspeaker, echo canceller and the line to the kernel, joined.

Knows no screen. Every loop here goes on when its device or its kernel comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from llmos.devices.audio import WIRE_RATE, decode_pcm16
from llmos.devices.delay import DelayEstimator
from llmos.devices.echo import CANCELLER_FRAME, EchoCanceller
from llmos.devices.sound import DeviceGone, Heard, Loudspeaker, Microphone, back_again
from llmos.devices.vad import SpeechDetector
from llmos.errors import KernelUnreachable, LlmosError
from llmos.voice.duplex import Duplex, Line
from llmos.voice.link import Link
from llmos.voice.questions import read_out

__all__ = ["Terminal", "session_of"]

log = logging.getLogger(__name__)

#: Samples at 24 kHz that are handed to the loudspeaker at once: 20 ms.
_STEP: Final = WIRE_RATE // 50
#: Seconds between two looks whether there is anything to play, or a kernel again.
_IDLE_S: Final = 0.01
_AGAIN_S: Final = 1.0
#: Seconds that a call takes before a person is told of it.
LONG_S: Final = 3.0


def session_of(*, language: str = "", speed: float = 1.0) -> dict[str, Any]:
    """How a session is set up whose client decides itself when to answer and when to stop.

    Args:
        language: That is spoken, as in ``en``; empty takes it as it comes.
    """
    transcription = {"model": "whisper-1"} | ({"language": language} if language else {})
    detection = {"type": "semantic_vad", "create_response": False, "interrupt_response": False}
    pcm = {"type": "audio/pcm", "rate": WIRE_RATE}
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": pcm, "transcription": transcription, "turn_detection": detection},
            "output": {"format": pcm, "speed": speed},
        },
    }


class Terminal:
    """One conversation by voice, with devices.

    Args:
        microphone / loudspeaker: Open.
        canceller: Of the one's echo in the other.
        detector: Of speech in what the canceller leaves.
        show: Takes captions, and notes about devices and the kernel.
        session: See ``session_of``.
    """

    def __init__(
        self,
        link: Link,
        microphone: Microphone,
        loudspeaker: Loudspeaker,
        canceller: EchoCanceller,
        detector: SpeechDetector,
        show: Callable[[Line], None],
        session: dict[str, Any],
        *,
        language: str = "",
    ) -> None:
        self._link = link
        self._microphone = microphone
        self._loudspeaker = loudspeaker
        self._canceller = canceller
        self._delay = DelayEstimator()
        self._show = show
        self._session = session
        self.duplex = Duplex(detector, link.send, show, self._hush, language=language)
        self.ready = asyncio.Event()  #: the kernel listens
        self._to_say: asyncio.Queue[str] = asyncio.Queue()
        self._long: dict[str, asyncio.TimerHandle] = {}  # calls under way

    async def run(self) -> None:
        """Talk until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._speak())
            group.create_task(self._connect())
            group.create_task(self._announce())

    def _hush(self) -> int:
        waiting = self._loudspeaker.waiting
        self._loudspeaker.flush()
        return waiting

    # --- the loops --------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async for heard in self._microphone.frames():
                    self._heard(heard)
                return  # a file is over
            except DeviceGone as gone:
                await self._wait_for(self._microphone, gone)

    def _heard(self, heard: Heard) -> None:
        count = len(heard.sound)
        reference = self._loudspeaker.reference(heard.at_s, count)
        self._delay.feed(heard.sound, reference)
        delay_s = self._delay.delay_s or 0.0
        self._canceller.set_delay(delay_s)
        left = [
            self._canceller.process(
                heard.sound[at : at + CANCELLER_FRAME], reference[at : at + CANCELLER_FRAME]
            )
            for at in range(0, count, CANCELLER_FRAME)
        ]
        sounded = self._loudspeaker.reference(heard.at_s - delay_s, count) if delay_s else reference
        self.duplex.hear(np.concatenate(left), sounded)

    async def _speak(self) -> None:
        while True:
            if not self.duplex.player.playing:
                await asyncio.sleep(_IDLE_S)
                continue
            try:
                await self._loudspeaker.write(self.duplex.read(_STEP))
            except DeviceGone as gone:
                await self._wait_for(self._loudspeaker, gone)

    async def _connect(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._link.events(self._session)) as events:
                    async for event in events:
                        if event.get("type") == "session.updated":
                            self.ready.set()
                        self.duplex.take(event)
                        self._look(event)
            except KernelUnreachable as error:
                self.ready.clear()
                self._note(f"{error} Trying again …")
                await asyncio.sleep(_AGAIN_S)

    def _look(self, event: dict[str, Any]) -> None:
        """Have said aloud what is no part of an answer."""
        match event.get("type"):
            case "llmos.question":
                self._say(read_out(event))
            case "llmos.call" if event.get("state") == "began":
                loop = asyncio.get_running_loop()
                name = str(event.get("name", "")).replace(".", " ").replace("_", " ")
                say = partial(self._say, f"One moment, I am using {name}.")
                self._long[event["id"]] = loop.call_later(LONG_S, say)
            case "llmos.call":
                if (waiting := self._long.pop(event["id"], None)) is not None:
                    waiting.cancel()
            case "response.done" if event["response"].get("status") == "failed":
                details = (event["response"].get("status_details") or {}).get("error") or {}
                self._say(str(details.get("message") or "Something went wrong."))

    def _say(self, text: str) -> None:
        self._to_say.put_nowait(text)

    async def _announce(self) -> None:
        while True:
            text = await self._to_say.get()
            try:
                self.duplex.announce(decode_pcm16(await self._link.speech(text)))
            except LlmosError as error:
                self._note(f"{text} ({error})")

    async def _wait_for(self, device: Microphone | Loudspeaker, gone: DeviceGone) -> None:
        self._note(str(gone))
        await back_again(device)
        self._canceller.reset()
        self._delay.reset()
        self._note(f"{device.name} is back.")

    def _note(self, text: str) -> None:
        log.info("%s", text)
        self._show(Line("note", "", text, len(text), whole=True))
