"""What a Realtime client's person says: from appended sound to turns that are written down.

Knows the listener's turns and the items they become; not what answers them. A turn that is over by
itself, and one that the client commits (push to talk), are written down alike. What is said while a
committed turn is being written down waits, so that neither loses a word to the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio

from llmos.config import VoiceConfig
from llmos.devices.audio import EAR_RATE, Samples
from llmos.devices.listening import (
    HeardEvent,
    Transcribe,
    TurnBegan,
    TurnEmpty,
    TurnFailed,
    TurnGrew,
    TurnLikelyOver,
    TurnOver,
)
from llmos.devices.speaking import Synthesise
from llmos.devices.vad import SpeechDetector
from llmos.errors import DeviceError, LlmosError
from llmos.server.realtime_ear import Ear
from llmos.server.realtime_events import new_id
from llmos.server.realtime_items import Items, spoken_item
from llmos.server.realtime_outbox import Outbox
from llmos.server.realtime_settings import Refusal, Settings

__all__ = ["Devices", "Hearing"]

_EMPTY = "input_audio_buffer_commit_empty"


class Named(Protocol):
    """A voice."""

    @property
    def name(self) -> str: ...


class Speaks(Protocol):
    """The voices of this machine."""

    @property
    def languages(self) -> tuple[str, ...]: ...

    def speaking(self, voice: str = "", speed: float | None = None) -> Synthesise: ...


class Devices(Protocol):
    """What hears and speaks: ``llmos.devices.speech.Speech``. All but ``settings`` read files."""

    @property
    def settings(self) -> VoiceConfig: ...

    def recogniser(self) -> Transcribe: ...

    def detector(self) -> SpeechDetector: ...

    def speaker(self) -> Speaks: ...

    def voices(self) -> Sequence[Named]: ...

    async def warm(self) -> None: ...


@dataclass(slots=True)
class _Turn:
    """A turn that is being heard.

    Args:
        item: Its item's id.
        onset: The sample it begins with, at 16 kHz.
        sent: Characters of its transcript that were sent.
        committed: The client said that it is over.
    """

    item: str
    onset: int = 0
    sent: int = 0
    committed: bool = False


class Hearing:
    """Of one session. Used from the asyncio loop only.

    Args:
        devices: None where nothing hears.
        settings: As they are now.
        began: Is called when somebody begins to speak.
        grew: Gets the words of a turn, as far as they are known.
        over: Is called when a turn with words ended by itself.
    """

    def __init__(
        self,
        devices: Devices | None,
        outbox: Outbox,
        items: Items,
        settings: Callable[[], Settings],
        *,
        began: Callable[[], None],
        grew: Callable[[str], None],
        over: Callable[[], None],
    ) -> None:
        self._devices = devices
        self._outbox = outbox
        self._items = items
        self._settings = settings
        self._told_began = began
        self._told_grew = grew
        self._told_over = over
        self._ear: Ear | None = None
        self._deaf = False  # told why nothing is heard
        self._before = 0  # samples that ears before this one heard
        self._turns: dict[int, _Turn] = {}  # by the ear's number
        self._unwritten: set[str] = set()  # items that were committed and are not written down yet
        self._written = asyncio.Event()
        self._written.set()

    @property
    def writing(self) -> bool:
        """Whether something that was committed is being written down."""
        return bool(self._unwritten)

    async def written(self) -> None:
        """Wait until all that was committed is written down, or cannot be."""
        await self._written.wait()

    # --- in ---------------------------------------------------------------------------------

    def set(self) -> None:
        """The settings changed."""
        if self._ear is not None:
            self._ear.detects(self._settings().detects)

    async def append(self, sound: Samples) -> None:
        """Hear more, at 24 kHz.

        Raises:
            LlmosError: There is nothing to hear with; said once, and again for each commit.
        """
        if any(turn.committed for turn in self._turns.values()):
            await self._written.wait()
        ear = self._ear
        changed = ear is not None and ear.language != self._settings().language
        if ear is not None and changed and not ear.turn:  # what is being said is heard to its end
            self._before += ear.position
            self._ear = None
            await ear.close()
        if self._ear is None and not self._deaf:
            self._ear = await self._listening()
        if self._ear is not None:
            await self._ear.hear(sound)

    async def commit(self) -> None:
        """The person has said what they wanted to say.

        Raises:
            Refusal: They have said nothing.
            LlmosError: There is nothing to hear with.
        """
        if self._ear is None and self._deaf:  # it may be there by now
            self._ear = await self._listening()
        ear = self._ear
        if ear is None or ear.empty:
            sentence = "The buffer is empty, or holds less than a tenth of a second."
            raise Refusal(sentence, code=_EMPTY)
        await ear.flush()
        turn = self._turns.get(ear.turn)
        if turn is not None and not turn.committed:
            if not self._settings().detection:
                turn.committed = True
                self._committed(turn)
            ear.over()
        elif self._settings().detection:
            raise Refusal("Nobody spoke.", code=_EMPTY)
        else:  # silence
            ear.drop(turn=False)
            turn = _Turn(new_id("item"))
            self._committed(turn)
            self._transcribed(turn, "")

    def clear(self) -> None:
        """Forget what was said since the last turn."""
        ear = self._ear
        if ear is not None:
            turn = self._turns.get(ear.turn)
            kept = turn is not None and turn.committed  # it is only being written down
            ear.drop(turn=not kept)
            if not kept:
                self._turns.clear()
        self._outbox.tell("input_audio_buffer.cleared")

    async def close(self) -> None:
        """Hear nothing any more."""
        if self._ear is not None:
            await self._ear.close()

    async def _listening(self) -> Ear:
        self._deaf = True
        if self._devices is None:
            raise DeviceError("This server does not hear.", remedy="Write instead.")
        recogniser = await anyio.to_thread.run_sync(self._devices.recogniser)
        detector = await anyio.to_thread.run_sync(self._devices.detector)
        self._deaf = False
        settings = self._settings()
        return Ear(
            detector,
            recogniser,
            self._heard,
            language=settings.language,
            detection=settings.detects,
        )

    # --- what is heard ----------------------------------------------------------------------

    def _heard(self, event: HeardEvent) -> None:
        """A listener's event; of a turn that was dropped nothing is told."""
        turn = self._turns.get(event.turn)
        if isinstance(event, TurnBegan):
            self._began(event)
        elif turn is None:
            return
        elif isinstance(event, TurnGrew):
            self._grew(turn, event)
        elif isinstance(event, TurnLikelyOver):
            self._told_grew(event.text)
        elif isinstance(event, TurnOver | TurnEmpty | TurnFailed):
            del self._turns[event.turn]
            self._over(turn, event)

    def _began(self, event: TurnBegan) -> None:
        turn = self._turns[event.turn] = _Turn(new_id("item"), self._before + event.onset)
        if self._settings().detection:
            at = max(0, _ms(turn.onset))
            self._outbox.tell(
                "input_audio_buffer.speech_started", audio_start_ms=at, item_id=turn.item
            )
            self._told_began()

    def _grew(self, turn: _Turn, event: TurnGrew) -> None:
        self._delta(turn, event.text[: event.settled])
        self._outbox.extra(
            "llmos.heard",
            item_id=turn.item,
            text=event.text,
            settled=event.settled,
            language=event.language,
        )
        self._told_grew(event.text)

    def _over(self, turn: _Turn, event: TurnOver | TurnEmpty | TurnFailed) -> None:
        assert self._ear is not None
        end = self._before + (event.end if isinstance(event, TurnOver) else self._ear.position)
        detection = self._settings().detection
        if not turn.committed:
            if detection:
                kind = "input_audio_buffer.speech_stopped"
                self._outbox.tell(kind, audio_end_ms=_ms(end), item_id=turn.item)
            if isinstance(event, TurnEmpty):
                self._outbox.tell("input_audio_buffer.cleared")
                return
            self._committed(turn)
        if isinstance(event, TurnFailed):
            self._untranscribed(turn, event.error)
            return
        text = event.text if isinstance(event, TurnOver) else ""
        self._transcribed(turn, text, (end - turn.onset) / EAR_RATE)
        if text and detection:
            self._told_over()

    # --- what it becomes --------------------------------------------------------------------

    def _committed(self, turn: _Turn) -> None:
        self._unwritten.add(turn.item)
        self._written.clear()
        item = spoken_item(turn.item)
        before = self._items.add(turn.item, item)
        tell = self._outbox.tell
        tell("input_audio_buffer.committed", item_id=turn.item, previous_item_id=before)
        tell("conversation.item.added", item=item, previous_item_id=before)
        tell("conversation.item.done", item=item, previous_item_id=before)

    def _transcribed(self, turn: _Turn, text: str, seconds: float = 0.0) -> None:
        """A turn is written down."""
        self._delta(turn, text)
        self._items.replace(turn.item, spoken_item(turn.item, text))
        self._items.wait(turn.item, text)
        if self._settings().transcribed:
            self._outbox.tell(
                "conversation.item.input_audio_transcription.completed",
                item_id=turn.item,
                content_index=0,
                transcript=text,
                usage={"type": "duration", "seconds": round(max(seconds, 0.0), 3)},
            )
        self._known(turn)

    def _untranscribed(self, turn: _Turn, error: LlmosError) -> None:
        told = {"type": "server_error", "code": error.code, "message": str(error), "param": None}
        kind = "conversation.item.input_audio_transcription.failed"
        self._outbox.tell(kind, item_id=turn.item, content_index=0, error=told)
        self._known(turn)

    def _known(self, turn: _Turn) -> None:
        self._unwritten.discard(turn.item)
        if not self._unwritten:
            self._written.set()

    def _delta(self, turn: _Turn, text: str) -> None:
        """Tell more of what is certain of a transcript."""
        if len(text) > turn.sent and self._settings().transcribed:
            delta, turn.sent = text[turn.sent :], len(text)
            kind = "conversation.item.input_audio_transcription.delta"
            self._outbox.tell(kind, item_id=turn.item, content_index=0, delta=delta)


def _ms(samples: int) -> int:
    return round(samples * 1000 / EAR_RATE)
