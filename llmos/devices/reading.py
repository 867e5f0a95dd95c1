"""A text read out on its way: into samples, or through a loudspeaker.

For who only speaks, and is not spoken to: ``llmos speak``, ``llmos ask --speak``. What is said to
a person who may interrupt is the voice terminal's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from llmos.devices.audio import Samples
from llmos.devices.sound_portaudio import PortAudio
from llmos.devices.speaking import Synthesise, Utterance
from llmos.devices.speech import Speech

__all__ = ["Aloud", "Reader"]


class Reader:
    """One text, which may still be growing. Made on a running asyncio loop.

    Args:
        voice: That reads it.
        languages: That there are voices for; at least one.
    """

    def __init__(self, voice: Synthesise, languages: Sequence[str]) -> None:
        self._utterance = Utterance(1, voice, languages, languages[0])

    def feed(self, piece: str) -> None:
        """More of the text."""
        self._utterance.feed(piece)

    def end(self) -> None:
        """There is no more of it."""
        self._utterance.end()

    async def sounds(self) -> AsyncGenerator[Samples, None]:
        """The sound, 24 kHz, as it is made.

        Raises:
            LlmosError: It cannot be spoken.
        """
        try:
            async for sound in self._utterance.sounds():
                yield sound.sound
        finally:
            await self._utterance.stop()

    async def play(self, name: str = "") -> None:
        """Read it out; return when all of it was heard.

        Args:
            name: Of the loudspeaker; empty takes the system's.

        Raises:
            LlmosError: There is no loudspeaker, or it cannot be spoken.
        """
        system = await PortAudio.open()
        try:
            loudspeaker = await system.loudspeaker(name)
            async with aclosing(self.sounds()) as sounds:
                async for sound in sounds:
                    await loudspeaker.write(sound)
            await loudspeaker.drain()
        finally:
            await system.close()


class Aloud:
    """An answer read out through the loudspeaker of the settings, while it comes.

    Args:
        speech: The devices; closed in the end.
    """

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._reader: Reader | None = None
        self._before: list[str] = []  # of the answer, until there is a voice
        self._over = False
        self._playing = asyncio.create_task(self._play(), name="read out")

    def feed(self, piece: str) -> None:
        """More of it."""
        if self._reader is None:
            self._before.append(piece)
        else:
            self._reader.feed(piece)

    async def end(self) -> None:
        """There is no more of it; return when all of it was heard.

        Raises:
            LlmosError: It could not be spoken.
        """
        self._over = True
        if self._reader is not None:
            self._reader.end()
        try:
            await self._playing
        finally:
            await self._speech.aclose()

    async def _play(self) -> None:
        speaker = await asyncio.to_thread(self._speech.speaker)
        self._reader = Reader(speaker, speaker.languages)
        for piece in self._before:
            self._reader.feed(piece)
        if self._over:
            self._reader.end()
        await self._reader.play(self._speech.settings.loudspeaker)
