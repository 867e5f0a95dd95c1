"""One answer in a Realtime session: from the events of its turn to text or sound for the client.

It outlives its own cancelling: the turn is then interrupted, and what the process keeps of it is
read to the end, so that it can be told how much of that was heard. Nothing but its end is sent once
it was cancelled.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from llmos import limits
from llmos.devices.audio import WIRE_RATE, Samples, encode_pcm16
from llmos.devices.speaking import Utterance
from llmos.errors import EngineError, KernelError, LlmosError
from llmos.events import Event, ReplyDelta, ReplyFinished, TurnFinished, TurnStarted
from llmos.server.realtime_events import new_id, usage_of
from llmos.server.realtime_outbox import Outbox

__all__ = ["Response", "kept_of"]

_log = logging.getLogger(__name__)

_CHUNK: Final = round(limits.REALTIME_DELTA_S * WIRE_RATE)  # samples of one event
#: Between what was written before calls and after them, where that does not begin with a new line.
GAP: Final = "\n\n"

Cancelled = Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a response says of itself.

    Args:
        conversation: The session's conversation.
        voice: That speaks, as the client named it.
        metadata: The client's own.
    """

    conversation: str
    voice: str = ""
    metadata: dict[str, str] | None = None


class Response:
    """An answer. Its events go to ``outbox``.

    Args:
        previous: Id of the item before; None where there is none.
        utterance: What speaks it; None where it is written.
        interrupt: Ends the turn, within a step.
        inbox: The events of the process; None when no more come.
    """

    def __init__(
        self,
        outbox: Outbox,
        told: Told,
        *,
        previous: str | None,
        utterance: Utterance | None,
        interrupt: Callable[[], Awaitable[Any]],
        inbox: asyncio.Queue[Event | None],
    ) -> None:
        self.id = new_id("resp")
        self.item_id = new_id("item")
        self.turn = 0  # of the process; 0 until it began
        self.done = False  # for the client: its end was told, or nobody is there
        self.over = asyncio.Event()  # for the process, or it never will be
        self.kept = False  # all that the process keeps of it is known
        self.sent_s = 0.0  # of sound
        self._inbox = inbox
        self._outbox = outbox
        self._told = told
        self._previous = previous
        self._utterance = utterance
        self._interrupt = interrupt
        self._text = ""  # of the answer, as it was streamed
        self._shown = ""  # of it, as it was sent
        self._kept: list[str] = []  # of it, as it is kept
        self._gap = False  # something was written before a call
        self._status = "in_progress"  # of the item
        self._began = 0.0
        self._begin()

    # --- what becomes of it -----------------------------------------------------------------

    async def follow(self, message_id: str) -> None:
        """Tell of the turn that answers a message, until all of it is told."""
        finished = await self._turn(message_id)
        self.over.set()
        if self._is_done():
            return
        failed: LlmosError | None = None
        if self._utterance is not None:
            self._utterance.end()
            failed = await self._spoken
        if self._is_done():
            return
        usage = usage_of(finished.usage)
        if failed is not None:
            self.fail(failed, usage)
        elif finished.reason == "stop":
            self._end("completed", usage=usage)
        elif finished.reason == "length":
            self._end("incomplete", reason="max_output_tokens", usage=usage)
        elif finished.reason == "interrupted":  # by somebody else
            self._end("cancelled", reason="client_cancelled", usage=usage)
        else:
            sentence = finished.error or "The answer was broken off."
            self._end("failed", error=(finished.code or finished.reason, sentence), usage=usage)

    def fail(self, error: LlmosError, usage: dict[str, Any] | None = None) -> None:
        """Tell that there is no answer, or no more of it, and why."""
        if self.done:
            return
        self._outbox.fail(error)
        self._end("failed", error=(error.code, str(error)), usage=usage)

    def cancel(self, reason: Cancelled) -> None:
        """Tell its end, and nothing else from here on. ``stop`` must follow."""
        if not self.done:
            self._outbox.drop(self.id)
            self._end("cancelled", reason=reason)

    async def stop(self) -> None:
        """Make no more sound; end the turn, if it has begun. One that has not ends when it does."""
        if self._utterance is not None:
            await self._utterance.stop()
        if self.turn and not self.over.is_set():
            await self._end_turn()

    async def close(self) -> None:
        """No more of it is sent, and no more sound made. The turn, if it is not over, goes on."""
        self.done = True
        if self._utterance is not None:
            await self._utterance.stop()
            self._spoken.cancel()

    def heard(self, seconds: float) -> str:
        """The beginning of what is kept of it that was heard in so many seconds of its sound."""
        if self._utterance is None:
            return ""
        heard = self._utterance.heard(seconds)
        self._shown = heard
        kept = ""
        for text in filter(None, self._kept):
            kept += GAP + text if kept and not text.startswith("\n") else text
        return kept_of(kept, heard)

    @property
    def spoken(self) -> bool:
        """Whether it has sound."""
        return self._utterance is not None

    def _is_done(self) -> bool:  # a call: it changes while something is waited for
        return self.done

    # --- the turn ---------------------------------------------------------------------------

    async def _turn(self, message_id: str) -> TurnFinished:
        while True:
            event = await self._inbox.get()
            if event is None:
                raise KernelError("The conversation cannot be followed any more.")
            if isinstance(event, TurnStarted) and event.message_id == message_id:
                self.turn = event.turn
                if self.done:  # before it began
                    await self._end_turn()
            elif not self.turn or getattr(event, "turn", 0) != self.turn:
                continue  # somebody else's
            elif isinstance(event, ReplyDelta) and event.text:
                self._write(event.text)
            elif isinstance(event, ReplyFinished):
                self._kept.append(event.text)
                self._gap = bool(self._text)
            elif isinstance(event, TurnFinished):
                self.kept = True
                return event

    async def _end_turn(self) -> None:
        try:
            await self._interrupt()
        except LlmosError as error:  # it is over, or the process is
            _log.info("a turn is not interrupted: %s", error)

    def _write(self, text: str) -> None:
        if self._gap and not text.startswith("\n"):
            text = GAP + text
        self._gap = False
        self._text += text
        if self.done:
            return
        if self._utterance is not None:
            self._utterance.feed(text)
        else:
            self._show(text)

    # --- what is sent -----------------------------------------------------------------------

    def _begin(self) -> None:
        tell, item = self._outbox.tell, self.item
        tell("response.created", response=self._shape("in_progress"))
        tell("response.output_item.added", response_id=self.id, output_index=0, item=item)
        tell("conversation.item.added", previous_item_id=self._previous, item=item)
        self._part("response.content_part.added", part=self._content())
        if self._utterance is not None:
            self._spoken = asyncio.create_task(self._speak(self._utterance))

    async def _speak(self, utterance: Utterance) -> LlmosError | None:
        """Send the sound as it is made.

        Returns:
            Why it broke off, where it did.
        """
        try:
            async for sound in utterance.sounds():
                text = sound.text
                for start in range(0, len(sound.sound), _CHUNK):
                    await self._paced()
                    if self.done:
                        return None
                    if text:
                        self._show(text)
                    text = ""
                    self._sound(sound.sound[start : start + _CHUNK])
        except LlmosError as error:
            return error
        except Exception as error:
            _log.exception("an answer is not sent")
            return EngineError(f"The answer could not be sent: {type(error).__name__}.")
        return None

    async def _paced(self) -> None:
        await self._outbox.room()
        now = time.monotonic()
        self._began = self._began or now
        ahead = self.sent_s - (now - self._began) - limits.REALTIME_AHEAD_S
        if ahead > 0:
            await asyncio.sleep(ahead)

    def _sound(self, sound: Samples) -> None:
        self.sent_s += len(sound) / WIRE_RATE
        delta = base64.b64encode(encode_pcm16(sound)).decode()
        self._part("response.output_audio.delta", delta=delta)

    def _show(self, text: str) -> None:
        self._shown += text
        kind = "output_audio_transcript" if self._utterance is not None else "output_text"
        self._part(f"response.{kind}.delta", delta=text)

    def _end(
        self,
        status: str,
        *,
        reason: str = "",
        error: tuple[str, str] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> None:
        if status != "cancelled" and (rest := self._text[len(self._shown) :]):
            self._show(rest)  # what has no sound: code, a table, a voice that failed
        self.done = True
        if self._utterance is not None:
            self._part("response.output_audio.done")
            self._part("response.output_audio_transcript.done", transcript=self._shown)
        else:
            self._part("response.output_text.done", text=self._shown)
        self._part("response.content_part.done", part=self._content())
        self._status = "completed" if status == "completed" else "incomplete"
        tell, item = self._outbox.tell, self.item
        tell("conversation.item.done", previous_item_id=self._previous, item=item)
        tell("response.output_item.done", response_id=self.id, output_index=0, item=item)
        details: dict[str, Any] = {"type": status}
        if reason:
            details["reason"] = reason
        if error is not None:
            details["error"] = {"type": "server_error", "code": error[0], "message": error[1]}
        shape = self._shape(status, details=details, output=[item], usage=usage)
        tell("response.done", response=shape)

    def _part(self, type: str, **fields: Any) -> None:
        place = {"response_id": self.id, "item_id": self.item_id}
        self._outbox.tell(type, **place, output_index=0, content_index=0, **fields)

    def _content(self) -> dict[str, Any]:
        if self._utterance is not None:
            return {"type": "audio", "transcript": self._shown}
        return {"type": "text", "text": self._shown}

    @property
    def item(self) -> dict[str, Any]:
        """The item as it is now."""
        content: list[dict[str, Any]] = []
        if self._status != "in_progress":
            if self._utterance is not None:
                content = [{"type": "output_audio", "transcript": self._shown}]
            else:
                content = [{"type": "output_text", "text": self._shown}]
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": self._status,
            "role": "assistant",
            "content": content,
        }

    def _shape(
        self,
        status: str,
        *,
        details: dict[str, Any] | None = None,
        output: list[dict[str, Any]] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        audio: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": WIRE_RATE}}
        if self._told.voice:
            audio["voice"] = self._told.voice
        return {
            "object": "realtime.response",
            "id": self.id,
            "conversation_id": self._told.conversation,
            "status": status,
            "status_details": details,
            "output": output or [],
            "output_modalities": ["audio" if self._utterance is not None else "text"],
            "max_output_tokens": "inf",
            "audio": {"output": audio} if self._utterance is not None else None,
            "usage": usage,
            "metadata": self._told.metadata,
        }


def kept_of(kept: str, heard: str) -> str:
    """The beginning of what is kept that ``heard`` stands for.

    What is kept is what was streamed without the citations that do not hold.

    Args:
        kept: Of an answer.
        heard: The beginning of the answer as it was streamed.
    """
    reached = 0
    for char in heard:
        if reached < len(kept) and kept[reached] == char:
            reached += 1
    return kept[:reached]
