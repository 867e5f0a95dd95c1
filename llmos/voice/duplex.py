"""The duplex loop: listening while speaking, and who has the word.

Pure: sound and a server's events go in, a server's events and sound come out; no clock, no device.
While llmos speaks, the server is sent silence, so that it never hears an echo, and what the
microphone hears is judged here: fast from sound (``Interruptions``), when the speaker falls silent
at once, then for good from words (``overheard``), against the words that sound just then. A reason
to stop cuts the answer to what was heard; a false alarm takes the sentence up again.
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
from llmos.devices.overheard import Heard, Overheard, judge
from llmos.devices.resample import Resampler
from llmos.devices.turn_words import Command
from llmos.devices.vad import FRAME, SpeechDetector
from llmos.devices.wake import WakeWord
from llmos.voice.player import Player
from llmos.voice.questions import answer_of, read_out

__all__ = ["Duplex", "Line", "State"]

Event = dict[str, Any]

#: Seconds before a suspect that the server is given, so that its first word is whole.
KEPT_S: Final = 0.6
#: Seconds after the last sound of llmos in which what is heard may still be its echo.
AFTER_S: Final = 0.6
#: Seconds after the last word of anybody after which it falls asleep, where it has a wake word.
AWAKE_S: Final = 15.0
#: By which "slower" and "louder" change things, and how far they go.
PACE: Final = 0.85
SLOWEST: Final = 0.5
FASTEST: Final = 2.0
LOUDNESS: Final = 1.5
LOUDEST: Final = 4.0
FAINTEST: Final = 0.1


class State(StrEnum):
    """Who has the word."""

    ASLEEP = "asleep"  # it waits for its wake word
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
        say: Has a text spoken that is no part of an answer: gets it and what it is about, and
            gives its sound to ``announce``.
        language: Of the conversation, as in ``en``; empty where it is not known.
        speed: Of speech, as the session is set up with it.
        wake: What it is woken by; None: it is always awake.
    """

    def __init__(
        self,
        detector: SpeechDetector,
        send: Callable[[Event], None],
        show: Callable[[Line], None],
        hush: Callable[[], int],
        say: Callable[[str, str], None],
        *,
        language: str = "",
        speed: float = 1.0,
        wake: WakeWord | None = None,
    ) -> None:
        self.player = Player()
        self.interruptions = Interruptions()
        self.muted = False
        self.held = False  # the key of push-to-talk is down
        self.push_to_talk = False
        self.gain = 1.0
        self.speed = speed
        self.level = -120.0  # dBFS of what the microphone hears
        self._detector = detector
        self._send = send
        self._show = show
        self._hush = hush
        self._say = say
        self._language = language
        self._wake = wake
        self._awake = 0  # frames until it falls asleep
        self._made_at = speed  # the speed that the answer being played was made with
        self._left, self._played = Frames(FRAME), Frames(FRAME)
        self._kept: deque[Samples] = deque(maxlen=round(KEPT_S * EAR_RATE / FRAME))
        self._to_wire = Resampler(EAR_RATE, WIRE_RATE)
        self._forwarding = False  # what is heard goes to the server although llmos had the word
        self._over_sound = False  # what is being said began while llmos was heard
        self._quiet = 0  # frames since llmos last sounded
        self._response = ""  # the answer under way; empty where none is
        self._texts: dict[str, str] = {}  # of the answer's items, as they are shown
        self._unsounded = ""  # words of the answer whose sound has not come yet
        self._due: set[str] = set()  # what is to be said, and is still true
        self._hearing = False  # the server hears somebody
        self._thinking = False
        self._question: Event | None = None
        self._reminded = False  # that the question waits
        self._failure = ""  # the last that was told

    @property
    def state(self) -> State:
        """Who has the word now."""
        if self.player.paused:
            return State.RESTING
        if self.player.playing:
            return State.SPEAKING
        if self._hearing or self.held:
            return State.HEARING
        if self._thinking or self._response:
            return State.THINKING
        return State.ASLEEP if self._asleep else State.LISTENING

    @property
    def wake_word(self) -> str:
        """What it is woken by; empty where it is always awake."""
        return self._wake.name if self._wake is not None else ""

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
        if self.muted or (self.push_to_talk and not self.held) or self._sleeps(heard):
            heard = np.zeros_like(heard)
        probability = self._detector.probability(heard)
        busy = self.player.playing or self.player.paused
        self._quiet = 0 if busy else self._quiet + 1
        outcome = self.interruptions.feed(
            probability, heard, sounded, awaited=self._hearing and self.player.paused
        )
        if outcome is Outcome.FALSE_ALARM:
            self._forwarding = False
        guarded = busy or self._quiet * FRAME < AFTER_S * EAR_RATE
        if self.held:
            guarded = False  # who presses a key means to speak
        if not guarded:
            self._flush_kept()
            self._append(heard)
            return
        self._kept.append(heard)
        if outcome is Outcome.SUSPECTED:
            self._forwarding = True
            if busy:
                self._rest()
        elif outcome is Outcome.FALSE_ALARM and self.player.paused:
            self._go_on()
        elif outcome is Outcome.CONFIRMED and self.player.paused:
            self._interrupted()
        if self._forwarding:
            self._flush_kept()
        else:
            self._append(np.zeros_like(heard))

    @property
    def _asleep(self) -> bool:
        return self._wake is not None and self._awake <= 0

    def _sleeps(self, heard: Samples) -> bool:
        """Whether a frame is not for it. It stays awake while something goes on, and a while after,
        and is interrupted without being woken."""
        if self._wake is None:
            return False
        goes_on = self.player.playing or self.player.paused or self._question is not None
        if self._wake.heard(heard) or self._hearing or self._response or goes_on:
            self._awake = round(AWAKE_S * EAR_RATE / FRAME)
        else:
            self._awake -= 1
        return self._asleep and not self.held

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
        self._over_sound = True

    def _go_on(self) -> None:
        """It was nothing: the server forgets it, the sentence goes on."""
        self._forwarding = self._over_sound = False
        self._send({"type": "input_audio_buffer.clear"})
        self.player.resume()

    def _interrupted(self) -> None:
        """Somebody has something to say. A question is only not read out any further: its turn
        goes on once it is answered."""
        if self._question is not None:
            self.player.resume(0.0)
            self._withdraw(str(self._question["id"]))
        else:
            self._stop()

    def _stop(self) -> None:
        """What was not heard of the answer never was said."""
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
        self._due.clear()
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
        """Speak slower."""
        self._pace(PACE)

    def faster(self) -> None:
        """Speak faster."""
        self._pace(1 / PACE)

    def louder(self) -> None:
        """Speak louder."""
        self.gain = min(LOUDEST, self.gain * LOUDNESS)

    def quieter(self) -> None:
        """Speak less loud."""
        self.gain = max(FAINTEST, self.gain / LOUDNESS)

    def _pace(self, factor: float) -> None:
        """From the next answer on by its voice; what is there already is stretched."""
        self.speed = min(FASTEST, max(SLOWEST, round(self.speed * factor, 2)))
        self.player.unread(self._hush())
        self.player.tempo = self.speed / self._made_at
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

    # --- what is said besides the answer ----------------------------------------------------

    def tell(self, text: str, about: str = "") -> None:
        """Have something said: a question, a failure, that a call takes long.

        Args:
            about: The id of what it is about, by which it can be taken back.
        """
        about = about or f"told {text}"
        self._due.add(about)
        self._say(text, about)

    def take_back(self, about: str) -> None:
        """It is no longer so: do not say it, where it is not being said already."""
        self._due.discard(about)

    def due(self, about: str) -> bool:
        """Whether it is still to be said."""
        return about in self._due

    def announce(self, about: str, sound: Samples, words: str) -> None:
        """Say what was made of something that was told; nothing where it was taken back.

        Args:
            sound: Shape (n,), 24 kHz.
        """
        if self.due(about):
            self._due.discard(about)
            self.player.announce(about, sound, words)

    def _answered(self) -> None:
        """The question does not wait any more, so it is not read out to its end."""
        if self._question is not None:
            about = str(self._question["id"])
            self._question = None
            self._withdraw(about)

    def _withdraw(self, about: str) -> None:
        self.take_back(about)
        if self.player.playing:
            self.player.unread(self._hush())
        self.player.withdraw(about)

    def read(self, count: int) -> Samples:
        """The next ``count`` samples for the loudspeaker, 24 kHz."""
        return np.clip(self.player.read(count) * np.float32(self.gain), -1.0, 1.0)

    # --- the server -------------------------------------------------------------------------

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of the server's."""
        match event.get("type"):
            case "session.created":  # perhaps another kernel: what waited there is gone
                self._answered()
                self._response, self._thinking, self._hearing = "", False, False
            case "input_audio_buffer.speech_started":
                self._hearing = True
            case "input_audio_buffer.speech_stopped":
                self._hearing = False
            case "input_audio_buffer.cleared":  # by us, or since it was no speech
                self._hearing = False
                if self.player.paused:
                    self._decide(Overheard(Heard.NOTHING), final=True)
            case "llmos.heard":
                self._language = event.get("language") or self._language
                self._grew(event)
            case "conversation.item.input_audio_transcription.completed":
                self._said(event["item_id"], event["transcript"].strip())
            case "conversation.item.input_audio_transcription.failed":
                self._unheard(event.get("error") or {})
            case "response.created":
                self._response = event["response"]["id"]
                self._thinking = True
                if not self.player.playing:  # else of what still sounds, too
                    self._texts.clear()
                self._unsounded = ""
                self.player.begin(self._response)
                self._made_at, self.player.tempo = self.speed, 1.0
            case "response.output_audio.delta":
                sound = decode_pcm16(base64.b64decode(event["delta"]))
                words, self._unsounded = self._unsounded, ""
                if self.player.add(event["response_id"], event["item_id"], sound, words):
                    self._thinking = False
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self._wrote(event)
            case "response.done":
                self._done(event["response"])
            case "llmos.question":
                self._question, self._reminded = dict(event), False
                self.tell(read_out(event), str(event["id"]))
            case "llmos.answered":
                self._answered()
            case "error":
                self._failed(event.get("error") or {})

    def _grew(self, event: Mapping[str, Any]) -> None:
        """More is known of what is being said."""
        text = event["text"].strip()
        if self.player.paused:
            self._decide(judge(text, self.player.sounding, self._language), final=False)
        elif text:
            self._show(Line("person", event["item_id"], text, event["settled"]))

    def _decide(self, heard: Overheard, *, final: bool) -> bool:
        """Words were said into what llmos says; whether they stop it."""
        outcome = self.interruptions.words(heard, final=final)
        if outcome is Outcome.CONFIRMED:
            self._interrupted()
        elif outcome is Outcome.FALSE_ALARM or (final and self.player.paused):
            self._go_on()
        return outcome is Outcome.CONFIRMED

    def _said(self, item: str, text: str) -> None:
        """The person has said something; the turn is over."""
        self._hearing = False
        rested = self.player.paused
        # an answer may have been stopped long before its transcript comes
        echoing = rested or self._over_sound or self._quiet * FRAME < 2 * AFTER_S * EAR_RATE
        heard = judge(text, self.player.sounding if echoing else "", self._language)
        stopped = rested and self._decide(heard, final=True)
        self._forwarding = self._over_sound = False
        if rested and not stopped and heard.heard is not Heard.COMMAND:
            self._send({"type": "conversation.item.delete", "item_id": item})
            return
        if heard.heard in (Heard.NOTHING, Heard.ECHO):
            self._send({"type": "conversation.item.delete", "item_id": item})
            return
        if self._question is not None:
            self._send({"type": "conversation.item.delete", "item_id": item})
            self._show(Line("person", item, text, len(text), whole=True))
            self._said_to_question(self._question, heard, text, echoing=echoing)
            return
        if heard.command is not None:
            self._send({"type": "conversation.item.delete", "item_id": item})
            self._command(heard.command)
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

    def _said_to_question(
        self, question: Event, heard: Overheard, text: str, *, echoing: bool
    ) -> None:
        """Plain words answer it, and nothing that llmos itself may have said does."""
        if heard.command is Command.REPEAT:
            self.tell(read_out(question), str(question["id"]))
        elif heard.command is not None and heard.command not in (Command.STOP, Command.WAIT):
            self._command(heard.command)
        elif not echoing and (answer := answer_of(text)) is not None:
            self.answer(answer)
        else:
            waits = "A question waits: say yes or no."
            self._show(Line("note", "", waits, len(waits), whole=True))
            if not self._reminded:  # who talks to somebody else is not told again and again
                self._reminded = True
                self.tell(waits, str(question["id"]))

    def _command(self, command: Command) -> None:
        match command:
            case Command.STOP | Command.WAIT:
                self.stop()
            case Command.REPEAT:
                self.repeat()
            case Command.SLOWER:
                self.slower()
            case Command.FASTER:
                self.faster()
            case Command.LOUDER:
                self.louder()
            case Command.QUIETER:
                self.quieter()
        changed = command not in (Command.STOP, Command.WAIT, Command.REPEAT)
        if changed and not self.player.playing:
            self.repeat()  # it was about what was said last

    def _wrote(self, event: Mapping[str, Any]) -> None:
        item = event["item_id"]
        text = self._texts.get(item, "") + event["delta"]
        self._texts[item] = text
        self._unsounded += event["delta"]
        self._show(Line("llmos", item, text, len(text)))

    def _done(self, response: Mapping[str, Any]) -> None:
        if response["id"] != self._response:
            return
        self._response, self._thinking = "", False
        if response.get("status") == "completed":
            self._failure = ""
        for item, text in self._texts.items():
            self._show(Line("llmos", item, text, len(text), whole=True))
        if response.get("status") == "failed":
            details = (response.get("status_details") or {}).get("error") or {}
            self._failed(details)

    def _unheard(self, error: Mapping[str, Any]) -> None:
        """What was said could not be written down."""
        self._hearing = self._forwarding = self._over_sound = False
        if self.player.paused:
            self._decide(Overheard(Heard.NOTHING), final=True)
        self._failed(error)

    def _failed(self, error: Mapping[str, Any]) -> None:
        if error.get("code") in _HARMLESS:
            return
        self._thinking = False
        text = str(error.get("message") or "Something went wrong.")
        self._show(Line("note", "", text, len(text), whole=True))
        if text != self._failure:  # what fails again and again is said once
            self._failure = text
            self.tell(text)


#: What comes of two who speak at once, and means nothing to a person.
_HARMLESS: Final = frozenset(
    (
        "response_cancel_not_active",
        "input_audio_buffer_commit_empty",
        "nothing_to_answer",
        "conversation_already_has_active_response",
    )
)
