"""Text to speech: the voices of this machine, spoken by a worker process.

Fulfils ``speaking.Synthesise``. The worker is started with the first clause, is ended when nothing
was said for a while, and takes no more memory than it may. One that dies in the middle of a word
is replaced, and the clause goes on with that word.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from llmos.devices.audio import decode_pcm16
from llmos.devices.speaking import Synthesise, Voiced
from llmos.devices.voices import Voice, choose, languages
from llmos.devices.worker import Answer, Worker, WorkerDied
from llmos.errors import DeviceError

__all__ = ["FASTEST", "SLOWEST", "Speaker"]

log = logging.getLogger(__name__)

#: Of a voice's own speed.
SLOWEST: Final = 0.5
FASTEST: Final = 2.0
#: Bytes the worker may take: two voices, and the longest clause.
MEMORY_BYTES: Final = 700 * 1024 * 1024
#: Seconds without a word after which it is ended; it is back in about a second.
IDLE_S: Final = 300.0
#: Seconds it may take to start, and to speak a sentence.
ANSWER_S: Final = 60.0
#: Times in a row that a clause is begun without a word of it being made.
TRIES: Final = 2

_READ: Final = "Read it on the screen; the log has the details."


class Speaker:
    """The voices of this machine. Used from one asyncio loop.

    Args:
        voices: That are there; at least one is needed for anything to be said.
        preferred: Names of those to take where there are several, the most preferred first.
        speed: See ``speed``.
        threads: That compute. A second one makes clauses about half as long in the making and
            takes a core from the language model.
        memory_bytes: The worker's, at most.
        idle_s: Without a word, after which it is ended.
        notify: Is told, once for each language, that there is no voice of it.
    """

    def __init__(
        self,
        voices: Sequence[Voice],
        *,
        preferred: Sequence[str] = (),
        speed: float = 1.0,
        threads: int = 1,
        memory_bytes: int = MEMORY_BYTES,
        idle_s: float = IDLE_S,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self._voices = tuple(voices)
        self._preferred = tuple(preferred)
        self._threads = threads
        self._notify = notify
        self._told: set[str] = set()
        self._exact: bool | None = None
        self.speed = speed
        self._worker = Worker(
            "voice",
            Path(__file__).with_name("speaker_worker.py"),
            memory_bytes=memory_bytes,
            idle_s=idle_s,
            answer_s=ANSWER_S,
            env={"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""},
        )

    @property
    def speed(self) -> float:
        """Against the voice's own, from ``SLOWEST`` to ``FASTEST``; for the clauses to come."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._speed = min(max(speed, SLOWEST), FASTEST)

    @property
    def languages(self) -> tuple[str, ...]:
        """That have a voice, as in ``en``."""
        return languages(self._voices)

    @property
    def exact(self) -> bool | None:
        """Whether the times of the last words were the voice's own, not estimates; None before."""
        return self._exact

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        return self._worker.pid

    @property
    def memory_bytes(self) -> int:
        """Of memory the worker takes now."""
        return self._worker.memory_bytes

    async def load(self, language: str) -> None:
        """Have the voice of a language ready, so that the first clause is not late.

        Raises:
            DeviceError: It cannot be used.
        """
        async with contextlib.aclosing(self(" ", words=0, language=language)) as pieces:
            async for _ in pieces:
                pass

    async def unload(self) -> None:
        """End the worker once it is silent; the next clause starts another one."""
        await self._worker.unload()

    async def close(self) -> None:
        """End the worker at once, for good. Safe to call twice."""
        await self._worker.close()

    def __call__(self, text: str, *, words: int, language: str) -> AsyncGenerator[Voiced, None]:
        """See ``Synthesise``. Closing the generator breaks the computation off.

        Raises:
            DeviceError: There is no voice, its package is not installed, or it failed.
        """
        return self._speak("", None, text, words=words, language=language)

    def speaking(self, voice: str = "", speed: float | None = None) -> Synthesise:
        """The same worker, with a voice and a speed of one's own.

        Args:
            voice: Name of the one to take for its language; empty takes the usual one.
            speed: From ``SLOWEST`` to ``FASTEST``; None takes ``speed`` as it is at each clause.
        """
        return functools.partial(self._speak, voice, speed)

    async def _speak(
        self, name: str, speed: float | None, text: str, *, words: int, language: str
    ) -> AsyncGenerator[Voiced, None]:
        voice = self._choose(language, name)
        speed = self._speed if speed is None else min(max(speed, SLOWEST), FASTEST)
        rest = _Rest(text, words)
        tries = 0
        while True:
            before = rest.words_done
            try:
                async with contextlib.aclosing(self._ask(voice, rest, speed)) as answers:
                    async for told, sound in answers:
                        if voiced := self._voiced(told, sound, rest):
                            yield voiced
                return
            except WorkerDied as error:
                tries = 1 if rest.words_done > before else tries + 1
                if tries >= TRIES:
                    raise DeviceError(
                        f"The voice {voice.name} cannot be used: its process {error}.",
                        remedy=_READ,
                    ) from error
                rest.begin_again()

    def _choose(self, language: str, name: str) -> Voice:
        preferred = (name, *self._preferred) if name else self._preferred
        choice = choose(self._voices, language, preferred)
        if choice.notice and language not in self._told:
            self._told.add(language)
            log.info("%s", choice.notice)
            if self._notify is not None:
                self._notify(choice.notice)
        return choice.voice

    def _ask(self, voice: Voice, rest: _Rest, speed: float) -> AsyncGenerator[Answer, None]:
        return self._worker.ask(
            {
                "path": str(voice.path.resolve()),
                "config": str(voice.config.resolve()),
                "threads": self._threads,
                "speed": speed,
                "text": rest.text,
                "words": rest.words,
            }
        )

    def _voiced(self, told: Mapping[str, Any], sound: bytes, rest: _Rest) -> Voiced | None:
        """A piece, if there is any sound in it that was not heard before.

        Raises:
            WorkerDied: It is nonsense.
        """
        if told.get("last") and not sound:
            return None
        rate, ends = told.get("rate"), told.get("ends")
        if type(rate) is not int or not 8_000 <= rate <= 96_000 or not isinstance(ends, list):
            raise WorkerDied("answers nonsense")
        if any(type(end) is not int or end < 0 for end in ends):
            raise WorkerDied("answers nonsense")
        self._exact = bool(told.get("exact"))
        samples = decode_pcm16(sound)
        skipped = rest.take(len(samples), ends, rate)
        kept = tuple((end - skipped) / rate for end in ends if end > skipped)
        return Voiced(samples[skipped:], rate, kept) if skipped < len(samples) else None


class _Rest:
    """What of a clause is still to be said, should it have to be begun again.

    Args:
        text: Of the clause.
        words: In it, as who asked counts them.
    """

    def __init__(self, text: str, words: int) -> None:
        self.text = text
        self.words = words
        self.words_done = 0  # of the whole clause
        self._here = 0  # words that ended since it was begun, for the last time
        self._passed_s = 0.0  # of sound since then
        self._skip_s = 0.0  # of it, at its beginning, that was heard before

    def take(self, samples: int, ends: Sequence[int], rate: int) -> int:
        """Count a piece.

        Returns:
            How many of its first samples were heard before.
        """
        skipped = min(max(round((self._skip_s - self._passed_s) * rate), 0), samples)
        self._passed_s += samples / rate
        self._here += len(ends)
        self.words_done += sum(end > skipped for end in ends)
        return skipped

    def begin_again(self) -> None:
        """Go on with the first word that did not end.

        Where words cannot be told apart, all of it is spoken once more, and as much of the sound
        left out as was heard.
        """
        spoken = self.text.split()
        if len(spoken) == self.words:
            left = spoken[self._here :]
            self.text, self.words = " ".join(left), len(left)
        else:
            self._skip_s = max(self._skip_s, self._passed_s)
        self._here, self._passed_s = 0, 0.0
