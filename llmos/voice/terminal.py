"""The voice terminal: microphone, loudspeaker, echo canceller and the line to the kernel, joined.

Knows no screen. Every loop here goes on when its device or its kernel comes back, and when another
device is chosen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from llmos.devices.audio import EAR_RATE, WIRE_RATE, decode_pcm16
from llmos.devices.delay import DelayEstimator
from llmos.devices.echo import CANCELLER_FRAME, EchoCanceller
from llmos.devices.sound import (
    DeviceGone,
    Devices,
    Heard,
    Loudspeaker,
    Microphone,
    SoundSystem,
    back_again,
)
from llmos.devices.vad import SpeechDetector
from llmos.devices.wake import WakeWord
from llmos.errors import DeviceError, KernelUnreachable, LlmosError
from llmos.voice.duplex import Duplex, Line
from llmos.voice.link import Link

__all__ = ["Terminal", "session_of"]

log = logging.getLogger(__name__)

#: Samples at 24 kHz that are handed to the loudspeaker at once: 20 ms.
_STEP: Final = WIRE_RATE // 50
#: Seconds between two looks whether there is anything to play, or a device or kernel again.
_IDLE_S: Final = 0.01
_AGAIN_S: Final = 1.0
#: Seconds that a call takes before a person is told of it.
LONG_S: Final = 3.0
#: Seconds of silence that are heard when a microphone goes, so that what was said is answered.
_ENDED_S: Final = 4.5


def session_of(*, language: str = "", speed: float = 1.0) -> dict[str, Any]:
    """How a session is set up whose client decides itself when to answer and when to stop.

    Args:
        language: That is spoken, as in ``en``; empty takes it as it comes.
        speed: Of its speech.
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
        system: What other devices are chosen from; None where there are no others.
        microphone / loudspeaker: Open.
        canceller: Of the one's echo in the other.
        detector: Of speech in what the canceller leaves.
        show: Takes captions, and notes about devices and the kernel.
        language: That is spoken; empty takes it as it comes.
        speed: Of its speech.
        wake: What it is woken by; None: it is always awake.
    """

    def __init__(
        self,
        link: Link,
        system: SoundSystem | None,
        microphone: Microphone,
        loudspeaker: Loudspeaker,
        canceller: EchoCanceller,
        detector: SpeechDetector,
        show: Callable[[Line], None],
        *,
        language: str = "",
        speed: float = 1.0,
        wake: WakeWord | None = None,
    ) -> None:
        self._link = link
        self._system = system
        self._microphone = microphone
        self._loudspeaker = loudspeaker
        self._canceller = canceller
        self._delay = DelayEstimator()
        self._show = show
        self._language = language
        self._deaf = ""  # what was told of the microphone
        self._to_say: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._long: dict[str, asyncio.TimerHandle] = {}  # calls under way
        self.ready = asyncio.Event()  #: the kernel listens
        self.duplex = Duplex(
            detector, link.send, show, self._hush, self._say,
            language=language, speed=speed, wake=wake,
        )  # fmt: skip

    async def run(self) -> None:
        """Talk until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                group.create_task(self._speak())
                group.create_task(self._connect())
                group.create_task(self._announce())
        finally:
            self._forget_calls()
            await self._microphone.close()
            await self._loudspeaker.close()
            if self._system is not None:
                await self._system.close()

    @property
    def pid(self) -> int:
        """The process that is talked with; 0 before it is known."""
        return self._link.pid

    # --- devices ----------------------------------------------------------------------------

    @property
    def using(self) -> tuple[str, str]:
        """The names of the microphone and the loudspeaker."""
        return self._microphone.name, self._loudspeaker.name

    async def devices(self) -> Devices:
        """What there is to choose from."""
        return await self._others().devices()

    async def use_microphone(self, name: str) -> None:
        """Listen to another one from now on.

        Raises:
            DeviceError: It does not open; the one before is kept.
        """
        before, self._microphone = self._microphone, await self._others().microphone(name)
        await before.close()
        self._changed()

    async def use_loudspeaker(self, name: str) -> None:
        """Speak through another one from now on, from where it was.

        Raises:
            DeviceError: It does not open; the one before is kept.
        """
        opened = await self._others().loudspeaker(name)
        self.duplex.player.unread(self._hush())
        before, self._loudspeaker = self._loudspeaker, opened
        await before.close()
        self._changed()

    def _others(self) -> SoundSystem:
        if self._system is None:
            raise DeviceError("There are no other devices here.")
        return self._system

    def _changed(self) -> None:
        """Other devices, another echo."""
        self._canceller.reset()
        self._delay.reset()
        self.duplex.interruptions.leak.reset()

    def _hush(self) -> int:
        waiting = self._loudspeaker.waiting
        self._loudspeaker.flush()
        return waiting

    # --- the loops --------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            microphone = self._microphone
            try:
                async for heard in microphone.frames():
                    self._heard(heard)
                if microphone is self._microphone:
                    return  # a file is over
            except DeviceGone as gone:
                self.duplex.hear(*np.zeros((2, round(_ENDED_S * EAR_RATE)), np.float32))
                await self._wait_for(microphone, lambda: self._microphone, gone)

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
        if self._deaf != (deaf := self._microphone.deaf):
            self._deaf = deaf
            self._note(deaf or f"{self._microphone.name} hears something now.")

    async def _speak(self) -> None:
        while True:
            if not self.duplex.player.playing:
                await asyncio.sleep(_IDLE_S)
                continue
            loudspeaker = self._loudspeaker
            try:
                await loudspeaker.write(self.duplex.read(_STEP))
            except DeviceGone as gone:
                self.duplex.player.unread(_STEP)  # it never sounded
                await self._wait_for(loudspeaker, lambda: self._loudspeaker, gone)

    async def _connect(self) -> None:
        while True:
            session = session_of(language=self._language, speed=self.duplex.speed)
            try:
                async with contextlib.aclosing(self._link.events(session)) as events:
                    async for event in events:
                        if event.get("type") == "session.updated":
                            self.ready.set()
                        self.duplex.take(event)
                        self._look(event)
            except KernelUnreachable as error:
                self.ready.clear()
                self._forget_calls()
                self._note(f"{error} Trying again …")
                await asyncio.sleep(_AGAIN_S)

    def _look(self, event: dict[str, Any]) -> None:
        """Tell of calls that take long."""
        if event.get("type") != "llmos.call":
            return
        call = str(event["id"])
        if event.get("state") == "began":
            name = str(event.get("name", "")).replace(".", " ").replace("_", " ")
            say = partial(self.duplex.tell, f"One moment, I am using {name}.", call)
            self._long[call] = asyncio.get_running_loop().call_later(LONG_S, say)
        elif (waiting := self._long.pop(call, None)) is not None:
            waiting.cancel()
            self.duplex.take_back(call)

    def _forget_calls(self) -> None:
        for waiting in self._long.values():
            waiting.cancel()
        self._long.clear()

    def _say(self, text: str, about: str) -> None:
        self._to_say.put_nowait((text, about))

    async def _announce(self) -> None:
        while True:
            text, about = await self._to_say.get()
            if not self.duplex.due(about):
                continue
            try:
                sound = decode_pcm16(await self._link.speech(text, self.duplex.speed))
            except LlmosError as error:
                self._note(f"{text} ({error})")
            else:
                self.duplex.announce(about, sound, text)

    async def _wait_for(
        self,
        device: Microphone | Loudspeaker,
        current: Callable[[], Microphone | Loudspeaker],
        gone: DeviceGone,
    ) -> None:
        """Until it is back, or another one was chosen."""
        self._note(str(gone))
        if await back_again(device, lambda: current() is device, _AGAIN_S):
            self._changed()
            self._note(f"{device.name} is back.")

    def _note(self, text: str) -> None:
        log.info("%s", text)
        self._show(Line("note", "", text, len(text), whole=True))
