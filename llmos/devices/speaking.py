"""An answer, spoken while it is still being written: text goes in, sound comes out, and at every
moment it is known which of its characters were heard.

Clauses are synthesised one after the other and not far ahead, so that an answer that is broken off
cost little. A held answer is synthesised and not let out: it was begun before it was sure that the
person had finished. Every piece of sound carries the number of the turn it answers; after ``stop``
none comes any more, so nothing stale is ever played.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from llmos.devices.audio import WIRE_RATE, Samples
from llmos.devices.clauses import Clauser
from llmos.devices.contracts import Clause, SpokenPart
from llmos.devices.language import language_of
from llmos.devices.parts import heard_prefix, parts_of, spoken_text
from llmos.devices.resample import Resampler
from llmos.errors import DeviceError, LlmosError

__all__ = ["Sound", "Synthesise", "Utterance", "Voiced"]

log = logging.getLogger(__name__)

#: Pieces of sound that wait to be taken; a voice gives one for each sentence.
AHEAD: Final = 2
#: Seconds of a word that may be missing when it counts as heard: the times of words are estimates,
#: and a word is understood before its last sound dies away.
TAIL_S: Final = 0.06

_LOST: Final = "The answer could not be spoken; the log has the details."


@dataclass(frozen=True, slots=True)
class Voiced:
    """A piece of sound from a voice.

    Args:
        sound: Shape (n,), at ``rate`` Hz.
        rate: The voice's own.
        word_ends_s: When each word that ends in it ends, in seconds from its first sample.
    """

    sound: Samples
    rate: int
    word_ends_s: tuple[float, ...] = ()


class Synthesise(Protocol):
    """A voice."""

    def __call__(self, text: str, *, words: int, language: str) -> AsyncGenerator[Voiced, None]:
        """The sound of a clause, piece by piece.

        Args:
            text: As a person would say it, ``words`` words with blanks between them (none in
                scripts without blanks).
            language: Of the text, as in ``en``.

        Raises:
            LlmosError: It cannot be spoken.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sound:
    """What is to be played next.

    Args:
        turn: Which it answers.
        sound: Shape (n,), 24 kHz.
        text: The characters of the answer that are to be shown with it: the clause that begins,
            and what was not to be read out before it; empty within a clause.
    """

    turn: int
    sound: Samples
    text: str = ""


class Utterance:
    """One answer. Used from the asyncio loop only, where its work begins at once.

    Args:
        turn: The turn that it answers.
        synthesise: The voice.
        languages: That there are voices for, as in ``en``; at least one.
        language: Of the conversation; what a clause that decides nothing is spoken in.
        held: No sound comes before ``release``.
    """

    def __init__(
        self,
        turn: int,
        synthesise: Synthesise,
        languages: Sequence[str],
        language: str,
        *,
        held: bool = False,
    ) -> None:
        self.turn = turn
        self.language = language
        self._synthesise = synthesise
        self._languages = languages
        self._clauser = Clauser()
        self._clauses: asyncio.Queue[Clause | None] = asyncio.Queue()
        self._sounds: asyncio.Queue[Sound | LlmosError | None] = asyncio.Queue(AHEAD)
        self._free = asyncio.Event()
        if not held:
            self._free.set()
        self._parts: list[SpokenPart] = []  # of all clauses whose sound was made or is being made
        self._word_ends: list[float] = []  # of their words, in seconds from the first sample
        self._made = 0  # samples
        self._silent = ""  # what is shown that no sound came with yet
        self._work = asyncio.create_task(self._run())

    # --- in ---------------------------------------------------------------------------------

    def feed(self, piece: str) -> None:
        """More of the answer, as it is streamed."""
        for clause in self._clauser.feed(piece):
            self._clauses.put_nowait(clause)

    def end(self) -> None:
        """The answer is complete."""
        for clause in self._clauser.flush():
            self._clauses.put_nowait(clause)
        self._clauses.put_nowait(None)

    def release(self) -> None:
        """A held answer may be heard."""
        self._free.set()

    async def stop(self) -> None:
        """Make no more sound, and let none out."""
        self._work.cancel()
        await asyncio.wait({self._work})
        while not self._sounds.empty():
            self._sounds.get_nowait()
        self._free.set()
        self._sounds.put_nowait(None)

    # --- out --------------------------------------------------------------------------------

    async def sounds(self) -> AsyncIterator[Sound]:
        """The sound, in order; taking it slowly makes it slowly.

        Raises:
            LlmosError: What comes next cannot be spoken.
        """
        await self._free.wait()
        while (sound := await self._sounds.get()) is not None:
            if isinstance(sound, LlmosError):
                raise sound
            yield sound

    @property
    def seconds(self) -> float:
        """Of sound that was made so far."""
        return self._made / WIRE_RATE

    def heard(self, seconds: float) -> str:
        """The beginning of the answer, as it is written, that was heard in so many seconds of it.

        Word by word: what stands for a word that was not heard to its end is not in it.
        """
        ended = sum(end <= seconds + TAIL_S for end in self._word_ends)
        return heard_prefix(self._parts, ended)

    # --- making it --------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while (clause := await self._clauses.get()) is not None:
                await self._speak(clause)
            await self._sounds.put(None)
        except LlmosError as error:
            await self._sounds.put(error)
        except Exception as error:
            log.exception("turn %d cannot be spoken", self.turn)
            lost = DeviceError(_LOST, remedy="Read it on the screen.")
            lost.__cause__ = error
            await self._sounds.put(lost)

    async def _speak(self, clause: Clause) -> None:
        if clause.text.strip():
            self.language = language_of(clause.text, self._languages, self.language)
        parts = parts_of(clause, self.language)
        self._parts += parts
        count = sum(len(part.words) for part in parts)
        self._silent += clause.shown
        if not count:
            return
        resampler: Resampler | None = None
        ends: list[float] = []
        from_s, voiced_s = self.seconds, 0.0
        spoken = self._synthesise(spoken_text(parts), words=count, language=self.language)
        async with contextlib.aclosing(spoken) as pieces:
            async for piece in pieces:
                resampler = resampler or Resampler(piece.rate, WIRE_RATE)
                ends += [from_s + voiced_s + end for end in piece.word_ends_s]
                voiced_s += len(piece.sound) / piece.rate
                known = min(len(ends), count)
                self._word_ends[len(self._word_ends) :] = ends[:known]
                ends, count = ends[known:], count - known
                await self._give(resampler.feed(piece.sound))
        if resampler is not None:
            await self._give(resampler.flush())
        # a voice that does not say when a word ends has said it by the end
        self._word_ends += [self.seconds] * count

    async def _give(self, sound: Samples) -> None:
        """Let a piece out once there is room."""
        if len(sound):
            self._made += len(sound)
            text, self._silent = self._silent, ""
            await self._sounds.put(Sound(self.turn, sound, text))
