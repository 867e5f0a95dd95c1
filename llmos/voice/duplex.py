"""The duplex loop: listening while speaking, and who has the word.

Pure: sound and a server's events go in, a server's events and sound come out; no clock, no device.
While llmos speaks, the server is sent silence, so that it never hears an echo, and what the
microphone hears is judged here: fast from sound (``Interruptions``), when the speaker falls silent
at once, then for good from words (``overheard``). A reason to stop cuts the answer to what was
heard; a false alarm takes the sentence up again.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from llmos.devices.audio import (
    EAR_RATE,
    WIRE_RATE,
    Frames,
    Samples,
    decode_pcm16,
    encode_pcm16,
    level_dbfs,
)
from llmos.devices.interruption import Interruptions, Outcome
from llmos.devices.overheard import Heard, judge
from llmos.devices.resample import Resampler
from llmos.devices.turn_words import Command
from llmos.devices.vad import FRAME, SpeechDetector
from llmos.voice.player import Player
from llmos.voice.questions import answer_of

__all__ = ["Duplex", "Line", "State"]

Event = dict[str, Any]

_ANNOUNCED: Final = "announcement"
#: Seconds before a suspect that the server is given, so that its first word is whole.
KEPT_S: Final = 0.6
#: Seconds after the last sound of llmos in which what is heard may still be its echo.
AFTER_S: Final = 0.6
#: Characters of an answer that was being spoken, by which an echo is known again.
SPOKEN_CHARS: Final = 600
#: By which "slower" and "louder" change things, and how far they go.
SLOWER: Final = 0.85
SLOWEST: Final = 0.5
LOUDER: Final = 1.5
LOUDEST: Final = 4.0


class State(StrEnum):
    """Who has the word."""

    LISTENING = "listening"
    HEARING = "hearing"  # the person speaks
    THINKING = "thinking"
    SPEAKING = "speaking"
    RESTING = "resting"  # it fell silent, and waits for what was meant


@dataclass(frozen=True, slots=True)
class Line:
    """A caption.

    Args:
        who: ``person``, ``llmos`` or ``note``.
        id: Of what it belongs to; a line of the same id takes its place.
        text: All of it.
        settled: How many of its characters, from the first, stay.
        whole: Whether nothing is added any more.
    """

    who: str
    id: str
    text: str
    settled: int = 0
    whole: bool = False


class Duplex:
    """One conversation by voice.

    Args:
        detector: Of speech, for what the canceller leaves.
        send: Takes events for the server.
        show: Takes captions.
        hush: Makes the loudspeaker fall silent at once; gives the samples at 24 kHz that it had
            been given and that did not sound.
        language: Of the conversation, as in ``en``; empty where it is not known.
    """

    def __init__(
        self,
        detector: SpeechDetector,
        send: Callable[[Event], None],
        show: Callable[[Line], None],
        hush: Callable[[], int],
        *,
        language: str = "",
    ) -> None:
        self.player = Player()
        self.interruptions = Interruptions()
        self.muted = False
        self.held = False  # the key of push-to-talk is down
        self.push_to_talk = False
        self.gain = 1.0
        self.speed = 1.0
        self.level = -120.0  # dBFS of what the microphone hears
        self._detector = detector
        self._send = send
        self._show = show
        self._hush = hush
        self._language = language
        self._left, self._played = Frames(FRAME), Frames(FRAME)
        self._kept: deque[Samples] = deque(maxlen=round(KEPT_S * EAR_RATE / FRAME))
        self._to_wire = Resampler(EAR_RATE, WIRE_RATE)
        self._forwarding = False  # what is heard goes to the server although llmos had the word
        self._over_sound = False  # what is being said began while llmos was heard
        self._quiet = 0  # frames since llmos last sounded
        self._response = ""  # the answer under way; empty where none is
        self._texts: dict[str, str] = {}  # of the answer's items, as they are shown
        self._spoken = ""  # the last that was said aloud
        self._hearing = False  # the server hears somebody
        self._thinking = False
        self._question: Event | None = None

    @property
    def state(self) -> State:
        """Who has the word now."""
        if self.player.paused:
            return State.RESTING
        if self.player.playing:
            return State.SPEAKING
        if self._hearing or self.held:
            return State.HEARING
        return State.THINKING if self._thinking or self._response else State.LISTENING

    @property
    def question(self) -> Event | None:
        """The question about a call that waits for the person."""
        return self._question

    # --- the microphone ---------------------------------------------------------------------

    def hear(self, left: Samples, played: Samples) -> None:
        """Take 10 ms.

        Args:
            left: What the canceller leaves of what the microphone heard; any length, 16 kHz.
            played: What sounded in it, its delay taken off, as long.
        """
        frames = zip(self._left.feed(left), self._played.feed(played), strict=True)
        for heard, sounded in frames:
            self._frame(heard, sounded)

    def _frame(self, heard: Samples, sounded: Samples) -> None:
        self.level = level_dbfs(heard)
        if self.muted or (self.push_to_talk and not self.held):
            heard = np.zeros_like(heard)
        probability = self._detector.probability(heard)
        busy = self.player.playing or self.player.paused
        self._quiet = 0 if busy else self._quiet + 1
        outcome = self.interruptions.feed(probability, heard, sounded)
        guarded = busy or self._quiet * FRAME < AFTER_S * EAR_RATE
        if self.held:
            guarded = False  # who presses a key means to speak
        if not guarded:
            self._flush_kept()
            self._append(heard)
            return
        self._kept.append(heard)
        if outcome is Outcome.SUSPECTED and busy:
            self._rest()
        elif outcome is Outcome.CONFIRMED and self.player.paused:
            self._stop()
        elif outcome is Outcome.FALSE_ALARM and self.player.paused:
            self._go_on()
        if self._forwarding:
            self._flush_kept()
        elif outcome is Outcome.SUSPECTED:  # behind its own last word
            self._forwarding = True
            self._flush_kept()
        else:
            self._append(np.zeros_like(heard))

    def _flush_kept(self) -> None:
        while self._kept:
            self._append(self._kept.popleft())

    def _append(self, heard: Samples) -> None:
        wire = self._to_wire.feed(heard)
        if len(wire):
            audio = base64.b64encode(encode_pcm16(wire)).decode()
            self._send({"type": "input_audio_buffer.append", "audio": audio})

    # --- an interruption --------------------------------------------------------------------

    def _rest(self) -> None:
        """Fall silent; the sentence may be taken up again."""
        self.player.unread(self._hush())
        self.player.pause()
        self._forwarding = self._over_sound = True

    def _go_on(self) -> None:
        """It was nothing: the server forgets it, the sentence goes on."""
        self._forwarding = self._over_sound = False
        self._send({"type": "input_audio_buffer.clear"})
        self.player.resume()

    def _stop(self) -> None:
        """Somebody has something to say: what was not heard of the answer never was said."""
        if not self.player.paused:
            self.player.unread(self._hush())
        cut = self.player.cancel()
        if self._response:
            self._send({"type": "response.cancel", "response_id": self._response})
            self._response = ""
        for played in cut:
            if played.item in self._texts:
                self._send(
                    {
                        "type": "conversation.item.truncate",
                        "item_id": played.item,
                        "content_index": 0,
                        "audio_end_ms": played.audio_end_ms,
                    }
                )
        self._thinking = False

    # --- the keys ---------------------------------------------------------------------------

    def stop(self) -> None:
        """Be quiet."""
        if self.player.playing or self.player.paused or self._response:
            self._stop()
        self._forwarding = self._over_sound = False
        self._send({"type": "input_audio_buffer.clear"})

    def press(self, down: bool) -> None:
        """The key of push-to-talk."""
        if down and not self.held and (self.player.playing or self.player.paused):
            self._stop()
        if self.held and not down:
            self._send({"type": "input_audio_buffer.commit"})
        self.held = down

    def repeat(self) -> None:
        """Say the last answer once more."""
        self.player.repeat()

    def slower(self) -> None:
        """Speak slower, from the next answer on."""
        self.speed = max(SLOWEST, round(self.speed * SLOWER, 2))
        self._send(
            {
                "type": "session.update",
                "session": {"type": "realtime", "audio": {"output": {"speed": self.speed}}},
            }
        )

    def answer(self, answer: str) -> None:
        """Answer the question that waits: ``once``, ``conversation``, ``always`` or ``no``."""
        if self._question is not None:
            self._send({"type": "llmos.answer", "id": self._question["id"], "answer": answer})

    def announce(self, sound: Samples) -> None:
        """Have something said besides the answer: a question, a failure.

        Args:
            sound: Shape (n,), 24 kHz.
        """
        if not self.player.add(self._response or _ANNOUNCED, _ANNOUNCED, sound):
            self.player.begin(self._response or _ANNOUNCED)
            self.player.add(self._response or _ANNOUNCED, _ANNOUNCED, sound)

    def read(self, count: int) -> Samples:
        """The next ``count`` samples for the loudspeaker, 24 kHz."""
        return np.clip(self.player.read(count) * np.float32(self.gain), -1.0, 1.0)

    # --- the server -------------------------------------------------------------------------

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of the server's."""
        match event.get("type"):
            case "session.created":  # perhaps another kernel: what waited there is gone
                self._question = None
                self._response, self._thinking, self._hearing = "", False, False
            case "input_audio_buffer.speech_started":
                self._hearing = True
            case "input_audio_buffer.speech_stopped" | "input_audio_buffer.cleared":
                self._hearing = False
            case "llmos.heard":
                self._language = event.get("language") or self._language
                self._grew(event)
            case "conversation.item.input_audio_transcription.completed":
                self._said(event["item_id"], event["transcript"].strip())
            case "conversation.item.input_audio_transcription.failed":
                self._failed(event.get("error") or {})
            case "response.created":
                self._response = event["response"]["id"]
                self._thinking = True
                self._texts.clear()
                self.player.begin(self._response)
            case "response.output_audio.delta":
                sound = decode_pcm16(base64.b64decode(event["delta"]))
                if self.player.add(event["response_id"], event["item_id"], sound):
                    self._thinking = False
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self._wrote(event)
            case "response.done":
                self._done(event["response"])
            case "llmos.question":
                self._question = dict(event)
            case "llmos.answered":
                self._question = None
            case "error":
                self._failed(event.get("error") or {})

    def _grew(self, event: Mapping[str, Any]) -> None:
        """More is known of what is being said."""
        text = event["text"].strip()
        if self.player.paused:
            self._decide(text, final=False)
        elif text:
            self._show(Line("person", event["item_id"], text, event["settled"]))

    def _decide(self, text: str, *, final: bool) -> bool:
        """Judge words that were said into an answer; whether they stop it."""
        heard = judge(text, self._spoken, self._language)
        outcome = self.interruptions.words(heard, final=final)
        if outcome is Outcome.CONFIRMED:
            self._stop()
        elif outcome is Outcome.FALSE_ALARM or (final and self.player.paused):
            self._go_on()
        return outcome is Outcome.CONFIRMED

    def _said(self, item: str, text: str) -> None:
        """The person has said something; the turn is over."""
        self._hearing = False
        interrupted = self.player.paused
        if interrupted and not self._decide(text, final=True):
            self._send({"type": "conversation.item.delete", "item_id": item})
            return
        # an answer may have been stopped long before its transcript comes
        echoing = self._over_sound or self._quiet * FRAME < 2 * AFTER_S * EAR_RATE
        self._forwarding = self._over_sound = False
        heard = judge(text, self._spoken if echoing else "", self._language)
        if heard.heard is Heard.COMMAND and heard.command is not None and self._question is None:
            self._send({"type": "conversation.item.delete", "item_id": item})
            self._command(heard.command)
            return
        if heard.heard in (Heard.NOTHING, Heard.ECHO):
            self._send({"type": "conversation.item.delete", "item_id": item})
            return
        if self._question is not None:
            self._send({"type": "conversation.item.delete", "item_id": item})
            answer = None if echoing else answer_of(text)  # nothing that llmos itself may have said
            self._show(Line("person", item, text, len(text), whole=True))
            if answer is None:
                waits = "A question waits: say yes or no."
                self._show(Line("note", "", waits, len(waits), whole=True))
            else:
                self.answer(answer)
            return
        own = heard.own or text
        if heard.heard is Heard.SPEECH and own != text:  # without what was llmos's own voice in it
            self._send({"type": "conversation.item.delete", "item_id": item})
            content = [{"type": "input_text", "text": own}]
            told = {"type": "message", "role": "user", "content": content}
            self._send({"type": "conversation.item.create", "item": told})
        self._show(Line("person", item, own, len(own), whole=True))
        self._thinking = True
        self._send({"type": "response.create"})

    def _command(self, command: Command) -> None:
        if command in (Command.STOP, Command.WAIT):
            self.stop()
        elif command is Command.REPEAT:
            self.repeat()
        elif command is Command.SLOWER:
            self.slower()
            self.repeat()
        elif command is Command.LOUDER:
            self.gain = min(LOUDEST, self.gain * LOUDER)
            self.repeat()

    def _wrote(self, event: Mapping[str, Any]) -> None:
        item = event["item_id"]
        text = self._texts.get(item, "") + event["delta"]
        self._texts[item] = text
        self._spoken = (self._spoken + event["delta"])[-SPOKEN_CHARS:]
        self._show(Line("llmos", item, text, len(text)))

    def _done(self, response: Mapping[str, Any]) -> None:
        if response["id"] != self._response:
            return
        self._response, self._thinking = "", False
        for item, text in self._texts.items():
            self._show(Line("llmos", item, text, len(text), whole=True))
        if response.get("status") == "failed":
            details = (response.get("status_details") or {}).get("error") or {}
            self._failed(details)

    def _failed(self, error: Mapping[str, Any]) -> None:
        if error.get("code") in _HARMLESS:
            return
        self._thinking = False
        text = str(error.get("message") or "Something went wrong.")
        self._show(Line("note", "", text, len(text), whole=True))


#: What comes of two who speak at once, and means nothing to a person.
_HARMLESS: Final = frozenset(
    (
        "response_cancel_not_active",
        "input_audio_buffer_commit_empty",
        "nothing_to_answer",
        "conversation_already_has_active_response",
    )
)
