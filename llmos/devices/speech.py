"""What hears and what speaks on this machine: one recogniser and one speaker, made on need.

Made from settings; nothing is looked for, let alone loaded, before it is first used, so that a
kernel in which nobody speaks pays nothing. What is missing is said with what to do about it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from llmos.config import VoiceConfig, entries
from llmos.devices.recogniser import Recogniser, best_whisper, find_whisper
from llmos.devices.speaker import Speaker
from llmos.devices.vad import SpeechDetector, open_detector, silero_file
from llmos.devices.voices import Voice, choose, installed_voices
from llmos.errors import LlmosError
from llmos.models import machine

__all__ = ["Speech"]

log = logging.getLogger(__name__)


class Speech:
    """The devices of one process: used from one asyncio loop, made in any thread.

    Args:
        notify: Is told what a person should know, once, such as that a language has no voice.
    """

    def __init__(
        self, settings: VoiceConfig, *, notify: Callable[[str], None] | None = None
    ) -> None:
        self._settings = settings
        self._notify = notify
        self._recogniser: Recogniser | None = None
        self._speaker: Speaker | None = None
        self._voices: tuple[Voice, ...] = ()
        self._making = threading.Lock()  # else two who come at once would make two workers

    @property
    def settings(self) -> VoiceConfig:
        """What it was made from."""
        return self._settings

    def recogniser(self) -> Recogniser:
        """What writes speech down. Reads files: call it in a thread where that matters.

        Raises:
            ModelMissing: It is not on this machine.
            ModelCorrupt: It is there, but its checksum is wrong.
        """
        with self._making:
            if self._recogniser is None:
                wanted = self._settings.recogniser
                hardware = machine.probe()
                model = find_whisper(wanted) if wanted else best_whisper(hardware)
                self._recogniser = Recogniser(model, hardware, threads=self._settings.threads)
            return self._recogniser

    def speaker(self) -> Speaker:
        """What speaks.

        Raises:
            DeviceError: There is no voice on this machine.
        """
        voices = self.voices()
        choose(voices, "")  # says what to do where there is none
        with self._making:
            if self._speaker is None:
                self._speaker = Speaker(
                    voices,
                    preferred=entries(self._settings.voices),
                    speed=self._settings.speed,
                    notify=self._notify,
                )
            return self._speaker

    def voices(self) -> tuple[Voice, ...]:
        """The voices on this machine."""
        self._voices = self._voices or installed_voices()
        return self._voices

    def detector(self) -> SpeechDetector:
        """A detector of speech for one stream."""
        detector, note = open_detector(silero_file())
        if note:
            log.warning("%s", note)
            if self._notify is not None:
                self._notify(note)
        return detector

    async def warm(self) -> None:
        """Have both ready before the first word; what cannot be loaded is said when it is used."""
        for load in (self._load_recogniser, self._load_voice):
            try:
                await load()
            except LlmosError as error:
                log.info("not ready for speech: %s", error)

    async def _load_recogniser(self) -> None:
        await (await asyncio.to_thread(self.recogniser)).load()

    async def _load_voice(self) -> None:
        speaker = await asyncio.to_thread(self.speaker)
        await speaker.load(self._settings.language or speaker.languages[0])

    async def aclose(self) -> None:
        """End the workers. Safe to call twice."""
        for device in (self._recogniser, self._speaker):
            if device is not None:
                await device.close()
