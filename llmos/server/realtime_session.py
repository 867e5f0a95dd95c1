"""One Realtime connection: what a client says becomes turns of a process, and answers come back.

Joins what is heard, the items of the conversation, a process and the answers; knows no socket. A
client that goes leaves the conversation whole: the turn under way goes on to its end.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import anyio

from llmos import limits
from llmos.errors import KernelError, LlmosError
from llmos.events import CallAnswered, CallAsked, CallFinished, CallStarted, Event
from llmos.server import realtime_events as said
from llmos.server.contract import ServedKernel
from llmos.server.realtime_answers import UNFORESEEN, Answers
from llmos.server.realtime_events import new_id
from llmos.server.realtime_hearing import Devices, Hearing
from llmos.server.realtime_items import Items, written_item
from llmos.server.realtime_outbox import Outbox
from llmos.server.realtime_process import TalkedTo
from llmos.server.realtime_settings import Refusal, Settings, is_any_model

__all__ = ["RealtimeSession"]

_log = logging.getLogger(__name__)


class RealtimeSession:
    """One connection. Used from the asyncio loop only.

    Args:
        devices: None where nothing hears or speaks.
        outbox: What it tells the client.
        pid: The process to talk with; 0 for a new one.
        answers: Whether a person is there who answers questions about calls.
    """

    def __init__(
        self,
        kernel: ServedKernel,
        devices: Devices | None,
        outbox: Outbox,
        *,
        pid: int = 0,
        answers: bool = False,
    ) -> None:
        self.id = new_id("sess")
        self.ended = asyncio.Event()  # no more events of the process come
        self.why: LlmosError | None = None
        self._kernel = kernel
        self._devices = devices
        self._outbox = outbox
        self._settings = Settings(spoken=False)
        self._voices: tuple[str, ...] = ()
        self._asked: dict[str, CallAsked] = {}
        self._warming: asyncio.Task[None] | None = None
        self._items = Items()
        self._process = TalkedTo(
            kernel,
            pid,
            outbox,
            instructions=lambda: self._settings.instructions,
            tell=self._happened,
            ended=self._end,
            answers=answers,
        )
        self._hearing = Hearing(
            devices,
            outbox,
            self._items,
            lambda: self._settings,
            began=self._speech_began,
            grew=self._speech_grew,
            over=self._speech_over,
        )
        self._answers = Answers(
            devices, outbox, self._items, self._process, self._hearing, lambda: self._settings
        )

    async def open(self) -> None:
        """Tell the client what the session is."""
        if self._devices is not None:
            try:
                voices = await anyio.to_thread.run_sync(self._devices.voices)
            except LlmosError as error:  # then answers are written
                _log.warning("nothing can be spoken: %s", error)
                voices = ()
            own = self._devices.settings
            self._voices = tuple(voice.name for voice in voices)
            self._settings = replace(
                self._settings,
                spoken=bool(self._voices),
                language=own.language,
                speed=own.speed,
            )
            if self._voices:  # who opens a session means to speak
                self._warming = asyncio.create_task(self._devices.warm())
        self._outbox.tell("session.created", session=self._shown())
        self._process.listen()

    async def receive(self, text: str) -> None:
        """Do what a client's event says; whatever goes wrong is told and ends nothing."""
        id: str | None = None
        try:
            event = said.parse(text)
            id = event.event_id
            await self._do(event)
        except Refusal as refusal:
            self._outbox.refuse(refusal, id or said.event_id_of(text))
        except LlmosError as error:
            _log.info("a session's event fails: %s", error)
            self._outbox.fail(error, id)
        except Exception:
            _log.exception("a session's event fails")
            self._outbox.fail(KernelError(UNFORESEEN), id)

    async def close(self) -> None:
        """The client is gone. What it said is kept, and what is under way goes on."""
        await self._answers.settle()
        await self._hearing.close()
        await self._answers.close()
        await self._process.close()
        if self._warming is not None:  # for whoever comes next, too
            await asyncio.wait({self._warming}, timeout=limits.GOODBYE_S)

    # --- a client's events ------------------------------------------------------------------

    async def _do(self, event: said.ClientEvent) -> None:
        match event:
            case said.Append():
                await self._hearing.append(event.samples())
            case said.Commit():
                await self._hearing.commit()
            case said.Clear():
                self._hearing.clear()
            case said.UpdateSession():
                self._update(event)
            case said.CreateItem():
                self._create_item(event)
            case said.RetrieveItem():
                item = self._items.item(event.item_id)
                self._outbox.tell("conversation.item.retrieved", item=item)
            case said.DeleteItem():
                self._items.delete(event.item_id)
                self._outbox.tell("conversation.item.deleted", item_id=event.item_id)
            case said.Truncate():
                self._answers.truncate(event)
            case said.CreateResponse():
                await self._create_response(event)
            case said.Cancel():
                self._answers.cancel(event)
            case said.Answer():
                self._answer_question(event)

    def _update(self, event: said.UpdateSession) -> None:
        asked, serves = event.session, self._kernel.backend.info.name
        if asked.model not in (None, serves) and not is_any_model(asked.model or ""):
            sentence = f"This session's model is '{serves}', and stays."
            raise Refusal(sentence, param="session.model", code="model_not_found")
        begun = self._process.begun
        self._settings = self._settings.updated(asked, voices=self._voices, begun=begun)
        self._hearing.set()
        self._outbox.tell("session.updated", session=self._shown())

    def _create_item(self, event: said.CreateItem) -> None:
        if not event.text.strip():
            raise Refusal("The message is empty.", param="item.content[0].text")
        self._items.require_room()
        id = self._items.placed(event.item.id, event.previous_item_id)
        item = written_item(id, event.text)
        previous = self._items.add(id, item)
        self._items.wait(id, event.text)
        self._outbox.tell("conversation.item.added", previous_item_id=previous, item=item)
        self._outbox.tell("conversation.item.done", previous_item_id=previous, item=item)

    async def _create_response(self, event: said.CreateResponse) -> None:
        settings = self._settings
        if event.spoken is not None:
            param = "response.output_modalities"
            settings = settings.speaking(event.spoken, self._voices, param)
        if event.voice is not None:
            param = "response.audio.output.voice"
            settings = settings.with_voice(event.voice, self._voices, param)
        metadata = event.response.metadata if event.response is not None else None
        await self._answers.create(settings, metadata)

    def _answer_question(self, event: said.Answer) -> None:
        asked = self._asked.get(event.id)
        if asked is None:
            raise Refusal("No question of that id waits.", param="id", code="no_such_question")
        self._kernel.permissions.answer(asked.pid, event.id, event.answer)

    # --- what is heard ----------------------------------------------------------------------

    def _speech_began(self) -> None:
        if self._settings.interrupts:
            self._answers.interrupt()

    def _speech_grew(self, text: str) -> None:
        """Have what is known of the words computed ahead, with what waits before them."""
        before = self._items.text()
        self._process.draft(f"{before}\n{text}" if before else text)

    def _speech_over(self) -> None:
        if self._settings.answers:
            self._answers.follow_up()

    # --- the process ------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        self._answers.happened(event)
        match event:
            case CallStarted(call=call):
                self._outbox.extra("llmos.call", id=call.id, name=call.name, state="began")
            case CallFinished(call=call):
                self._outbox.extra(
                    "llmos.call",
                    id=call.id,
                    name=call.name,
                    state="ended",
                    seconds=event.seconds,
                    error=event.error,
                )
            case CallAsked():
                self._ask(event)
            case CallAnswered():
                self._asked.pop(event.call_id, None)
                self._outbox.extra("llmos.answered", id=event.call_id, answer=event.answer)

    def _ask(self, event: CallAsked) -> None:
        """Have a person asked, in the kernel's own words."""
        self._asked[event.call.id] = event
        self._outbox.extra(
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

    def _end(self, why: LlmosError | None) -> None:
        self.why = why
        self.ended.set()
        self._answers.ended()

    def _shown(self) -> dict[str, Any]:
        return self._settings.shown(self.id, self._kernel.backend.info.name)
