"""One Realtime connection: what a client says becomes turns of a process, and answers come back.

Joins an ear, the items of the conversation, a process and the responses; a client's event is one
method. Whoever speaks is transcribed as they speak, and what is known of it is computed ahead. A
client that goes leaves the conversation whole: the turn under way goes on to its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anyio

from llmos import limits
from llmos.config import VoiceConfig
from llmos.devices.audio import EAR_RATE
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
from llmos.devices.speaking import Synthesise, Utterance
from llmos.devices.vad import SpeechDetector
from llmos.errors import DeviceError, KernelError, LlmosError
from llmos.events import (
    BY_REMINDER,
    CallAnswered,
    CallAsked,
    CallFinished,
    CallStarted,
    Event,
    TurnStarted,
)
from llmos.server import realtime_events as said
from llmos.server.contract import ServedKernel
from llmos.server.realtime_ear import Ear
from llmos.server.realtime_events import error_event, event_of, new_id
from llmos.server.realtime_items import Items, spoken_item, written_item
from llmos.server.realtime_outbox import Outbox
from llmos.server.realtime_process import KeepsHeard, TalkedTo
from llmos.server.realtime_response import Cancelled, Response, Told
from llmos.server.realtime_settings import Refusal, Settings

__all__ = ["Devices", "RealtimeSession"]

_log = logging.getLogger(__name__)

_UNFORESEEN = "Something went wrong inside llmos; its log says what."
_NOTHING = "There is nothing to answer: nothing was said since the last answer."


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


_Inbox = asyncio.Queue[Event | None]


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


class RealtimeSession:
    """One connection. Used from the asyncio loop only.

    Args:
        keeps: The kernel, too.
        devices: None where nothing hears or speaks.
        outbox: What it tells the client.
        pid: The process to talk with; 0 for a new one.
        extras: Whether the client takes ``llmos.`` events.
    """

    def __init__(
        self,
        kernel: ServedKernel,
        keeps: KeepsHeard,
        devices: Devices | None,
        outbox: Outbox,
        *,
        pid: int = 0,
        extras: bool = False,
    ) -> None:
        self.id = new_id("sess")
        self.ended = asyncio.Event()  # no more events of the process come
        self.why: LlmosError | None = None
        self._kernel = kernel
        self._devices = devices
        self._outbox = outbox
        self._extras = extras
        self._process = TalkedTo(
            kernel, keeps, pid, tell=self._happened, ended=self._end, answers=extras
        )
        self._settings = Settings(spoken=False)
        self._voices: tuple[str, ...] = ()
        self._items = Items()
        self._ear: Ear | None = None
        self._deaf = False  # told why nothing is heard
        self._before = 0  # samples that ears before this one heard
        self._turns: dict[int, _Turn] = {}  # by the ear's number
        self._unwritten: set[str] = set()  # items that were committed and are not written down yet
        self._written = asyncio.Event()
        self._written.set()
        self._active: Response | None = None
        self._again = False  # a turn ended while an answer was under way
        self._inboxes: set[_Inbox] = set()  # of answers whose turns are not over
        self._unasked: deque[tuple[str, _Inbox]] = deque()  # reminders, with what came of them
        self._closed = False
        self._cuts: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[str, CallAsked] = {}
        self._told_pid = False

    async def open(self) -> None:
        """Tell the client what the session is."""
        if self._devices is not None:
            own = self._devices.settings
            self._settings = replace(self._settings, language=own.language, speed=own.speed)
            try:
                voices = await anyio.to_thread.run_sync(self._devices.voices)
            except LlmosError as error:  # then answers are written
                _log.warning("nothing can be spoken: %s", error)
                voices = ()
            self._voices = tuple(voice.name for voice in voices)
            self._settings = replace(self._settings, spoken=bool(self._voices))
            if self._voices:
                self._spawn(self._devices.warm())  # who opens a session means to speak
        self._tell("session.created", session=self._shown())
        self._process.listen()
        if self._process.begun:
            self._tell_pid()

    async def receive(self, text: str) -> None:
        """Do what a client's event says; whatever goes wrong is told and ends nothing."""
        id: str | None = None
        try:
            event = said.parse(text)
            id = event.event_id
            await self._do(event)
        except Refusal as refusal:
            self._outbox.put(error_event(refusal, id or said.event_id_of(text)))
        except LlmosError as error:
            _log.info("a session's event fails: %s", error)
            self._fail(error, id)
        except Exception:
            _log.exception("a session's event fails")
            self._fail(KernelError(_UNFORESEEN), id)

    def refuse(self, sentence: str) -> None:
        """Refuse what is no event at all."""
        self._outbox.put(error_event(Refusal(sentence, code="invalid_frame")))

    async def close(self) -> None:
        """The client is gone. What it said is kept, and what is under way goes on."""
        self._closed = True
        if self._ear is not None:
            await self._ear.close()
        if self._active is not None:
            await self._active.close()
        if self._cuts:  # what was heard of an answer is kept all the same
            await asyncio.wait(self._cuts)
        while self._tasks:
            for task in (tasks := set(self._tasks)):
                task.cancel()
            await asyncio.wait(tasks)
        await self._process.close()

    # --- a client's events ------------------------------------------------------------------

    async def _do(self, event: said.ClientEvent) -> None:
        match event:
            case said.Append():
                await self._append(event)
            case said.Commit():
                await self._commit()
            case said.Clear():
                self._clear()
            case said.UpdateSession():
                await self._update(event)
            case said.CreateItem():
                self._create_item(event)
            case said.RetrieveItem():
                item = self._items.item(event.item_id)
                self._tell("conversation.item.retrieved", item=item)
            case said.DeleteItem():
                self._items.delete(event.item_id)
                self._tell("conversation.item.deleted", item_id=event.item_id)
            case said.Truncate():
                self._truncate(event)
            case said.CreateResponse():
                await self._create_response(event)
            case said.Cancel():
                self._cancel(event)
            case said.Answer():
                self._answer_question(event)

    async def _update(self, event: said.UpdateSession) -> None:
        asked = event.session
        serves = self._kernel.backend.info.name
        if asked.model is not None and asked.model != serves:
            sentence = f"This session's model is '{serves}', and stays."
            raise Refusal(sentence, param="session.model", code="model_not_found")
        begun = self._process.begun
        self._settings = self._settings.updated(asked, voices=self._voices, begun=begun)
        if self._ear is not None:
            self._ear.automatic(bool(self._settings.detection))
        self._tell("session.updated", session=self._shown())

    async def _append(self, event: said.Append) -> None:
        sound = event.samples()
        ear = self._ear
        changed = ear is not None and ear.language != self._settings.language
        if ear is not None and changed and not ear.turn:  # what is being said is heard to its end
            self._before += ear.position
            self._ear = None
            self._turns.clear()
            await ear.close()
        if self._ear is None:
            self._ear = await self._listening()
        if self._ear is not None:
            await self._ear.hear(sound)

    async def _listening(self) -> Ear | None:
        """An ear; None where there is none, which is told once.

        Raises:
            LlmosError: There is none.
        """
        if self._deaf:
            return None
        self._deaf = True
        if self._devices is None:
            raise DeviceError("This server does not hear.", remedy="Write instead.")
        recogniser = await anyio.to_thread.run_sync(self._devices.recogniser)
        detector = await anyio.to_thread.run_sync(self._devices.detector)
        self._deaf = False
        return Ear(
            detector,
            recogniser,
            self._heard,
            language=self._settings.language,
            automatic=bool(self._settings.detection),
        )

    async def _commit(self) -> None:
        if self._ear is None and self._deaf:  # it may be there by now
            self._deaf = False
            self._ear = await self._listening()
        ear = self._ear
        if ear is None or ear.empty:
            sentence = "The buffer is empty, or holds less than a tenth of a second."
            raise Refusal(sentence, code="input_audio_buffer_commit_empty")
        await ear.flush()
        turn = self._turns.get(ear.turn)
        if self._settings.detection:
            if turn is None:
                raise Refusal("Nobody spoke.", code="input_audio_buffer_commit_empty")
            ear.over()  # told as the end of any turn
        elif turn is None:
            turn = _Turn(new_id("item"))
            ear.drop(turn=False)
            self._committed(turn)
            self._transcribed(turn, "")
        elif not turn.committed:
            turn.committed = True
            self._committed(turn)
            ear.over()

    def _clear(self) -> None:
        ear = self._ear
        if ear is not None:
            turn = self._turns.get(ear.turn)
            kept = turn is not None and turn.committed  # it is only being written down
            ear.drop(turn=not kept)
            if not kept:
                self._turns.clear()
        self._tell("input_audio_buffer.cleared")

    def _create_item(self, event: said.CreateItem) -> None:
        if not event.text.strip():
            raise Refusal("The message is empty.", param="item.content[0].text")
        self._items.require_room()
        id = self._items.placed(event.item.id, event.previous_item_id)
        item = written_item(id, event.text)
        previous = self._items.add(id, item)
        self._items.wait(id, event.text)
        self._tell("conversation.item.added", previous_item_id=previous, item=item)
        self._tell("conversation.item.done", previous_item_id=previous, item=item)

    async def _create_response(self, event: said.CreateResponse) -> None:
        if self._active is not None and not self._active.done:
            raise Refusal(
                "An answer is under way; cancel it first.",
                code="conversation_already_has_active_response",
            )
        if not self._items.text() and not self._unwritten:
            raise Refusal(_NOTHING, code="nothing_to_answer")
        settings = self._settings
        if event.spoken is not None:
            param = "response.output_modalities"
            settings = settings.speaking(event.spoken, self._voices, param)
        if event.voice is not None:
            param = "response.audio.output.voice"
            settings = settings.with_voice(event.voice, self._voices, param)
        metadata = event.response.metadata if event.response is not None else None
        await self._respond(settings, metadata)

    def _cancel(self, event: said.Cancel) -> None:
        active = self._active
        if active is None or active.done:
            raise Refusal("No answer is under way.", code="response_cancel_not_active")
        if event.response_id not in (None, active.id):
            sentence = "The answer under way is another one."
            raise Refusal(sentence, param="response_id", code="response_cancel_not_active")
        self._break_off(active, "client_cancelled")

    def _truncate(self, event: said.Truncate) -> None:
        response = self._items.answer(event.item_id)
        sent_ms = round(response.sent_s * 1000)
        if event.audio_end_ms > sent_ms:
            sentence = f"Only {sent_ms} ms of it were sent, not {event.audio_end_ms}."
            raise Refusal(sentence, param="audio_end_ms")
        if not response.done:
            self._break_off(response, "client_cancelled")
        cut = self._spawn(self._cut(response, event))
        self._cuts.add(cut)
        cut.add_done_callback(self._cuts.discard)

    def _answer_question(self, event: said.Answer) -> None:
        asked = self._asked.get(event.id)
        if asked is None:
            raise Refusal("No question of that id waits.", param="id", code="no_such_question")
        self._kernel.permissions.answer(asked.pid, event.id, event.answer)

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
            self._draft(event.text)
        elif isinstance(event, TurnOver | TurnEmpty | TurnFailed):
            del self._turns[event.turn]
            self._over(turn, event)

    def _began(self, event: TurnBegan) -> None:
        turn = self._turns[event.turn] = _Turn(new_id("item"), self._before + event.onset)
        if not self._settings.detection:
            return
        self._tell(
            "input_audio_buffer.speech_started",
            audio_start_ms=max(0, _ms(turn.onset)),
            item_id=turn.item,
        )
        active = self._active
        if self._settings.interrupts and active is not None and not active.done:
            self._break_off(active, "turn_detected")

    def _grew(self, turn: _Turn, event: TurnGrew) -> None:
        self._delta(turn, event.text[: event.settled])
        self._extra(
            "llmos.heard",
            item_id=turn.item,
            text=event.text,
            settled=event.settled,
            language=event.language,
        )
        self._draft(event.text)

    def _over(self, turn: _Turn, event: TurnOver | TurnEmpty | TurnFailed) -> None:
        assert self._ear is not None
        end = self._before + (event.end if isinstance(event, TurnOver) else self._ear.position)
        if not turn.committed:
            if self._settings.detection:
                self._tell(
                    "input_audio_buffer.speech_stopped", audio_end_ms=_ms(end), item_id=turn.item
                )
            if isinstance(event, TurnEmpty):
                self._tell("input_audio_buffer.cleared")
                return
            self._committed(turn)
        if isinstance(event, TurnFailed):
            self._untranscribed(turn, event.error)
            return
        text = event.text if isinstance(event, TurnOver) else ""
        self._transcribed(turn, text, (end - turn.onset) / EAR_RATE)
        if text and self._settings.detection and self._settings.answers:
            self._again = True
            self._go_on()

    def _committed(self, turn: _Turn) -> None:
        self._unwritten.add(turn.item)
        self._written.clear()
        item = spoken_item(turn.item)
        previous = self._items.add(turn.item, item)
        self._tell("input_audio_buffer.committed", item_id=turn.item, previous_item_id=previous)
        self._tell("conversation.item.added", item=item, previous_item_id=previous)
        self._tell("conversation.item.done", item=item, previous_item_id=previous)

    def _transcribed(self, turn: _Turn, text: str, seconds: float = 0.0) -> None:
        """A turn is written down."""
        self._delta(turn, text)
        self._items.replace(turn.item, spoken_item(turn.item, text))
        self._items.wait(turn.item, text)
        if self._settings.transcribed:
            self._tell(
                "conversation.item.input_audio_transcription.completed",
                item_id=turn.item,
                content_index=0,
                transcript=text,
                usage={"type": "duration", "seconds": round(max(seconds, 0.0), 3)},
            )
        self._known(turn)

    def _untranscribed(self, turn: _Turn, error: LlmosError) -> None:
        told = {"type": "server_error", "code": error.code, "message": str(error), "param": None}
        self._tell(
            "conversation.item.input_audio_transcription.failed",
            item_id=turn.item,
            content_index=0,
            error=told,
        )
        self._known(turn)

    def _known(self, turn: _Turn) -> None:
        self._unwritten.discard(turn.item)
        if not self._unwritten:
            self._written.set()

    def _delta(self, turn: _Turn, text: str) -> None:
        """Tell more of what is certain of a transcript."""
        if len(text) > turn.sent and self._settings.transcribed:
            delta, turn.sent = text[turn.sent :], len(text)
            self._tell(
                "conversation.item.input_audio_transcription.delta",
                item_id=turn.item,
                content_index=0,
                delta=delta,
            )

    def _draft(self, text: str) -> None:
        before = self._items.text()
        self._process.draft(f"{before}\n{text}" if before else text, self._settings.instructions)

    # --- answers ----------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Once no answer is under way, tell of a reminder, or answer what waits."""
        if self._closed or (self._active is not None and not self._active.done):
            return
        if self._unasked:
            self._spawn(self._respond(self._settings, unasked=self._unasked.popleft()))
        elif self._again and self._items.text():
            self._again = False
            self._spawn(self._respond(self._settings))

    async def _respond(
        self,
        settings: Settings,
        metadata: dict[str, str] | None = None,
        *,
        unasked: tuple[str, _Inbox] | None = None,
    ) -> None:
        """Begin an answer.

        Args:
            metadata: The client's own.
            unasked: The message that is answered already, and the events since.
        """
        try:
            voice, languages = await self._voice(settings) if settings.spoken else (None, ())
        except LlmosError:
            if unasked is not None:
                self._inboxes.discard(unasked[1])
            raise
        if self._active is not None and not self._active.done:  # begun meanwhile
            if unasked is None:
                self._again = True
            else:
                self._unasked.appendleft(unasked)
            return
        utterance: Utterance | None = None
        if voice is not None:
            own = settings.language if settings.language in languages else languages[0]
            utterance = Utterance(1, voice, languages, own)
        id, inbox = unasked or ("", asyncio.Queue())
        self._inboxes.add(inbox)
        response = Response(
            self._outbox,
            Told(self._items.conversation, settings.voice, metadata),
            previous=self._items.last,
            utterance=utterance,
            interrupt=self._process.interrupt,
            inbox=inbox,
        )
        self._items.add(response.item_id, response)
        self._active = response
        self._spawn(self._answer(response, id, inbox))

    async def _voice(self, settings: Settings) -> tuple[Synthesise, tuple[str, ...]]:
        assert self._devices is not None
        speaker = await anyio.to_thread.run_sync(self._devices.speaker)
        return speaker.speaking(settings.voice_name, settings.speed), speaker.languages

    async def _answer(self, response: Response, id: str, inbox: _Inbox) -> None:
        try:
            if id := id or await self._asked_for(response):
                await response.follow(id)
        except LlmosError as error:
            response.fail(error)
        except Exception:
            _log.exception("an answer fails")
            response.fail(KernelError(_UNFORESEEN))
        finally:
            response.over.set()
            self._inboxes.discard(inbox)
            await response.close()
            self._go_on()

    async def _asked_for(self, response: Response) -> str:
        """Have answered what waits, once all of it is known.

        Returns:
            The message's id; empty where the answer was cancelled before.
        """
        await self._written.wait()
        if self._cuts:
            await asyncio.wait(self._cuts)
        if response.done:
            return ""
        waiting = self._items.waiting
        if not (text := self._items.text(waiting)):
            raise KernelError(_NOTHING)
        await self._opened()
        id = await self._process.send(text)
        self._items.answered(waiting)
        return id

    def _break_off(self, response: Response, reason: Cancelled) -> None:
        response.cancel(reason)
        self._spawn(response.stop())

    async def _cut(self, response: Response, event: said.Truncate) -> None:
        """Have the conversation keep what was heard of an answer."""
        try:
            async with asyncio.timeout(limits.REALTIME_CUT_S):
                await response.over.wait()
            if response.turn:
                if not response.kept:
                    raise KernelError("It is not known what is kept of the answer.")
                kept = response.heard(event.audio_end_ms / 1000)
                await self._process.heard(response.turn, kept)
        except TimeoutError:
            sentence = "The turn does not end, so all of the answer is kept."
            self._fail(KernelError(sentence), event.event_id)
            return
        except LlmosError as error:
            self._fail(error, event.event_id)
            return
        self._tell(
            "conversation.item.truncated",
            item_id=event.item_id,
            content_index=0,
            audio_end_ms=event.audio_end_ms,
        )

    # --- the process ------------------------------------------------------------------------

    async def _opened(self) -> None:
        await self._process.open(self._settings.instructions)
        self._tell_pid()

    def _tell_pid(self) -> None:
        if not self._told_pid:
            self._told_pid = True
            self._extra("llmos.process", pid=self._process.pid)

    def _happened(self, event: Event) -> None:
        """Something happened in the process."""
        if isinstance(event, TurnStarted) and event.by == BY_REMINDER:
            self._reminded(event)
        for inbox in self._inboxes:
            inbox.put_nowait(event)
        self._tell_pid()
        match event:
            case CallStarted():
                call = event.call
                self._extra("llmos.call", id=call.id, name=call.name, state="began")
            case CallFinished():
                self._extra(
                    "llmos.call",
                    id=event.call.id,
                    name=event.call.name,
                    state="ended",
                    seconds=event.seconds,
                    error=event.error,
                )
            case CallAsked():
                self._asked[event.call.id] = event
                self._extra(
                    "llmos.question",
                    id=event.call.id,
                    title=event.title,
                    reasons=list(event.reasons),
                    arguments=[
                        {"name": name, "value": value, "source": source}
                        for name, value, source in event.arguments
                    ],
                    preview=event.preview,
                    always=event.always,
                )
            case CallAnswered():
                self._asked.pop(event.call_id, None)
                self._extra("llmos.answered", id=event.call_id, answer=event.answer)

    def _reminded(self, event: TurnStarted) -> None:
        """A reminder is answered in the process: the answer is told, although nobody asked."""
        inbox: _Inbox = asyncio.Queue()
        self._inboxes.add(inbox)
        self._unasked.append((event.message_id, inbox))
        if len(self._unasked) > limits.REALTIME_REMINDERS:
            self._inboxes.discard(self._unasked.popleft()[1])  # they stand in the conversation
        asyncio.get_running_loop().call_soon(self._go_on)

    def _end(self, why: LlmosError | None) -> None:
        self.why = why
        self.ended.set()
        for inbox in self._inboxes:
            inbox.put_nowait(None)

    # --- telling ----------------------------------------------------------------------------

    def _tell(self, type: str, **fields: Any) -> None:
        self._outbox.put(event_of(type, **fields))

    def _fail(self, error: LlmosError, event_id: str | None = None) -> None:
        refusal = Refusal(str(error), code=error.code, kind="server_error")
        self._outbox.put(error_event(refusal, event_id))

    def _extra(self, type: str, **fields: Any) -> None:
        if self._extras:
            self._tell(type, **fields)

    def _shown(self) -> dict[str, Any]:
        return self._settings.shown(self.id, self._kernel.backend.info.name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a session's work failed", exc_info=error)
            self._fail(error if isinstance(error, LlmosError) else KernelError(_UNFORESEEN))


def _ms(samples: int) -> int:
    return round(samples * 1000 / EAR_RATE)
