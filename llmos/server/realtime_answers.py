"""The answers of a Realtime session: begun, broken off, cut to what was heard; one at a time.

What waits is sent to the process as one message when an answer is wanted. A reminder that comes is
answered by the process itself, and its answer is told as soon as no other is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from llmos import limits
from llmos.devices.speaking import Synthesise, Utterance
from llmos.errors import KernelError, LlmosError
from llmos.events import BY_REMINDER, Event, TurnStarted
from llmos.server.realtime_events import Cancel, Truncate
from llmos.server.realtime_hearing import Devices, Hearing
from llmos.server.realtime_items import Items
from llmos.server.realtime_outbox import Outbox
from llmos.server.realtime_process import TalkedTo
from llmos.server.realtime_response import Cancelled, Response, Told
from llmos.server.realtime_settings import Refusal, Settings

__all__ = ["UNFORESEEN", "Answers"]

_log = logging.getLogger(__name__)

UNFORESEEN = "Something went wrong inside llmos; its log says what."
_NOTHING = "There is nothing to answer: nothing was said since the last answer."

_T = TypeVar("_T")
_Inbox = asyncio.Queue[Event | None]


class Answers:
    """Of one session. Used from the asyncio loop only.

    Args:
        devices: None where nothing speaks.
        settings: As they are now.
    """

    def __init__(
        self,
        devices: Devices | None,
        outbox: Outbox,
        items: Items,
        process: TalkedTo,
        hearing: Hearing,
        settings: Callable[[], Settings],
    ) -> None:
        self._devices = devices
        self._outbox = outbox
        self._items = items
        self._process = process
        self._hearing = hearing
        self._settings = settings
        self._active: Response | None = None
        self._again = False  # a turn ended while an answer was under way
        self._inboxes: set[_Inbox] = set()  # of answers whose turns are not over
        self._unasked: deque[tuple[str, _Inbox]] = deque()  # reminders, with what came of them
        self._cuts: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[Any]] = set()  # until what waits is in the journal
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def under_way(self) -> Response | None:
        """The answer that is being told."""
        active = self._active
        return active if active is not None and not active.done else None

    # --- what a client wants ----------------------------------------------------------------

    async def create(self, settings: Settings, metadata: dict[str, str] | None) -> None:
        """Answer what waits.

        Raises:
            Refusal: An answer is under way, or nothing waits.
        """
        if self.under_way is not None:
            raise Refusal(
                "An answer is under way; cancel it first.",
                code="conversation_already_has_active_response",
            )
        if not self._items.text() and not self._hearing.writing:
            raise Refusal(_NOTHING, code="nothing_to_answer")
        await self._respond(settings, metadata)

    def follow_up(self) -> None:
        """A turn ended: answer it, once no answer is under way."""
        self._again = True
        self._go_on()

    def interrupt(self) -> None:
        """Somebody begins to speak: break off the answer under way."""
        if self.under_way is not None:
            self._break_off(self.under_way, "turn_detected")

    def cancel(self, event: Cancel) -> None:
        """Break off the answer under way.

        Raises:
            Refusal: There is none, or it is another one.
        """
        active = self.under_way
        if active is None:
            raise Refusal("No answer is under way.", code="response_cancel_not_active")
        if event.response_id not in (None, active.id):
            sentence = "The answer under way is another one."
            raise Refusal(sentence, param="response_id", code="response_cancel_not_active")
        self._break_off(active, "client_cancelled")

    def truncate(self, event: Truncate) -> None:
        """Have the conversation keep what was heard of an answer.

        Raises:
            Refusal: It is no answer that was spoken, or not so much of it was sent.
        """
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

    # --- what happens in the process --------------------------------------------------------

    def happened(self, event: Event) -> None:
        """Something happened in the process."""
        if isinstance(event, TurnStarted) and event.by == BY_REMINDER:
            self._reminded(event)
        for inbox in self._inboxes:
            inbox.put_nowait(event)

    def ended(self) -> None:
        """Nothing more of the process is known."""
        for inbox in self._inboxes:
            inbox.put_nowait(None)

    async def settle(self) -> None:
        """The client is gone: what it asked to have answered is still said to the process."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.REALTIME_CUT_S):
                while self._sending:
                    await asyncio.wait(self._sending)

    async def close(self) -> None:
        """The client is gone. Turns go on; what was heard of an answer is kept all the same."""
        self._closed = True
        if self._active is not None:
            await self._active.close()
        if self._cuts:
            await asyncio.wait(self._cuts)
        while self._tasks:
            for task in (tasks := set(self._tasks)):
                task.cancel()
            await asyncio.wait(tasks)

    def _reminded(self, event: TurnStarted) -> None:
        inbox: _Inbox = asyncio.Queue()
        self._inboxes.add(inbox)
        self._unasked.append((event.message_id, inbox))
        if len(self._unasked) > limits.REALTIME_REMINDERS:
            self._inboxes.discard(self._unasked.popleft()[1])  # they stand in the conversation
        asyncio.get_running_loop().call_soon(self._go_on)

    # --- answering --------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Once no answer is under way, tell of a reminder, or answer what waits."""
        if self._closed or self.under_way is not None:
            return
        if self._unasked:
            self._spawn(self._respond(self._settings(), unasked=self._unasked.popleft()))
        elif self._again and self._items.text():
            self._again = False
            self._awaited(self._spawn(self._respond(self._settings())))

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
        if self.under_way is not None:  # begun meanwhile
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
            if not id:
                id = await self._awaited(asyncio.create_task(self._asked_for(response)))
            if id:
                await response.follow(id)
        except LlmosError as error:
            response.fail(error)
        except Exception:
            _log.exception("an answer fails")
            response.fail(KernelError(UNFORESEEN))
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
        await self._hearing.written()
        if self._cuts:
            await asyncio.wait(self._cuts)
        if response.done:
            return ""
        waiting = self._items.waiting
        if not (text := self._items.text(waiting)):
            raise KernelError(_NOTHING)
        await self._process.open()
        id = await self._process.send(text)
        self._items.answered(waiting)
        return id

    # --- breaking off -----------------------------------------------------------------------

    def _break_off(self, response: Response, reason: Cancelled) -> None:
        response.cancel(reason)
        self._spawn(response.stop())

    async def _cut(self, response: Response, event: Truncate) -> None:
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
            self._outbox.fail(KernelError(sentence), event.event_id)
        except LlmosError as error:
            self._outbox.fail(error, event.event_id)
        else:
            self._outbox.tell(
                "conversation.item.truncated",
                item_id=event.item_id,
                content_index=0,
                audio_end_ms=event.audio_end_ms,
            )

    def _awaited(self, task: asyncio.Task[_T]) -> asyncio.Task[_T]:
        """Have it waited for, should the client go."""
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a session's work failed", exc_info=error)
            self._outbox.fail(error if isinstance(error, LlmosError) else KernelError(UNFORESEEN))
