"""Who has the word: sound and a server's events in, events and silence out; nothing is played."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from llmos.devices.audio import EAR_RATE, WIRE_RATE, decode_pcm16, encode_pcm16
from llmos.devices.vad import FRAME
from llmos.voice.duplex import AFTER_S, AWAKE_S, Duplex, State
from tests.devices.voices import voice

LOUD = voice(0.032)[:FRAME]
QUIET = np.zeros(FRAME, np.float32)


class Loud:
    """A detector: whatever is loud is speech."""

    def probability(self, frame):
        return 1.0 if np.abs(frame).mean() > 0.005 else 0.0

    def reset(self):
        pass


class Rig:
    """A duplex loop, what it sent, and a loudspeaker that is one number."""

    def __init__(self):
        self.sent, self.lines, self.told, self.hushed = [], [], [], 0
        self.duplex = Duplex(
            Loud(), self.sent.append, self.lines.append, self._hush, self._say, language="en"
        )

    def _say(self, text, about):
        self.told.append((text, about))

    def _hush(self):
        self.hushed += 1
        return 0

    def hear(self, frame, seconds, played=QUIET):
        for _ in range(round(seconds * EAR_RATE / FRAME)):
            self.duplex.hear(frame, played)

    def take(self, type, **fields):
        self.duplex.take({"type": type, **fields})

    def kinds(self):
        return [event["type"] for event in self.sent if "append" not in event["type"]]

    def sound(self):
        """What the server was sent, 24 kHz."""
        sent = [e["audio"] for e in self.sent if e["type"] == "input_audio_buffer.append"]
        return np.concatenate([decode_pcm16(base64.b64decode(audio)) for audio in sent])

    def answer(self, seconds=10.0, text="The mountains are high, and the valley is wide."):
        """An answer is being spoken."""
        self.take("response.created", response={"id": "r1"})
        self.more(text, seconds=seconds)
        self.duplex.read(WIRE_RATE)  # a second of it is heard

    def more(self, text, *, response="r1", item="i1", seconds=1.0, value=0.1):
        """The answer goes on."""
        self.take("response.output_audio_transcript.delta", item_id=item, delta=text)
        sound = encode_pcm16(np.full(round(seconds * WIRE_RATE), value, np.float32))
        delta = base64.b64encode(sound).decode()
        self.take("response.output_audio.delta", response_id=response, item_id=item, delta=delta)

    def speak(self, seconds=10.0):
        """What was told last is made, and a second of it is heard."""
        text, about = self.told[-1]
        sound = np.full(round(seconds * WIRE_RATE), 0.1, np.float32)
        self.duplex.announce(about, sound, text)
        self.duplex.read(WIRE_RATE)

    def answers(self):
        return [event["answer"] for event in self.sent if event["type"] == "llmos.answer"]

    def said(self, text, item="p1"):
        self.take(
            "conversation.item.input_audio_transcription.completed", item_id=item, transcript=text
        )


@pytest.fixture
def rig():
    return Rig()


def test_what_is_heard_goes_to_the_server_and_is_answered_once_it_is_said(rig):
    rig.hear(QUIET, AFTER_S + 0.2)
    rig.take("input_audio_buffer.speech_started")
    assert rig.duplex.state is State.HEARING
    rig.hear(LOUD, 1.0)
    assert np.abs(rig.sound()).max() > 0.05
    rig.said("What is DNS?")
    assert rig.kinds() == ["response.create"]
    assert rig.lines[-1].text == "What is DNS?" and rig.lines[-1].whole
    assert rig.duplex.state is State.THINKING


def test_while_it_speaks_the_server_hears_silence(rig):
    rig.answer()
    rig.hear(0.03 * LOUD, 0.5, played=LOUD)  # what is left of its own echo
    assert rig.duplex.state is State.SPEAKING
    assert np.abs(rig.sound()).max() == 0.0


def test_somebody_who_speaks_silences_it_at_once_and_is_heard_from_the_first_word(rig):
    rig.answer()
    rig.hear(LOUD, 0.16)
    assert rig.duplex.state is State.RESTING
    assert rig.hushed == 1
    assert np.abs(rig.sound()).max() > 0.05
    assert rig.kinds() == []  # nothing is decided yet


def test_a_reason_to_stop_cuts_the_answer_to_what_was_heard(rig):
    rig.answer()
    rig.hear(LOUD, 0.16)
    rig.take("llmos.heard", item_id="p1", text="No, the other one", settled=0, language="en")
    assert rig.kinds() == ["response.cancel", "conversation.item.truncate"]
    cut = rig.sent[-1]
    assert (cut["item_id"], cut["audio_end_ms"]) == ("i1", 1000)
    rig.said("No, the other one.")
    assert rig.kinds()[-1] == "response.create"
    assert not rig.duplex.player.playing


@pytest.mark.parametrize("heard", ["Mhm.", "The mountains are high", "Haha haha"])
def test_a_false_alarm_takes_the_sentence_up_again(rig, heard):
    rig.answer()
    rig.hear(LOUD, 0.16)
    rig.said(heard)
    assert "response.cancel" not in rig.kinds()
    assert "input_audio_buffer.clear" in rig.kinds()
    assert "response.create" not in rig.kinds()
    assert rig.duplex.state is State.SPEAKING


def test_a_cough_is_over_before_any_word_comes(rig):
    rig.answer()
    rig.hear(LOUD, 0.16)
    rig.hear(QUIET, 1.5)
    assert rig.duplex.state is State.SPEAKING
    assert rig.kinds() == ["input_audio_buffer.clear"]


def test_what_comes_late_of_a_cancelled_answer_is_never_heard(rig):
    rig.answer()
    rig.duplex.stop()
    sound = base64.b64encode(encode_pcm16(np.full(1_000, 0.5, np.float32))).decode()
    rig.take("response.output_audio.delta", response_id="r1", item_id="i1", delta=sound)
    assert not rig.duplex.player.playing
    assert np.abs(rig.duplex.read(1_000)).max() == 0.0


def test_of_an_answer_and_the_reminder_behind_it_only_what_was_heard_is_kept(rig):
    rig.answer(seconds=2.0)
    rig.take("response.done", response={"id": "r1", "status": "completed"})
    rig.take("response.created", response={"id": "r2"})
    rig.more("It is time.", response="r2", item="i2")
    rig.duplex.stop()
    cuts = [e for e in rig.sent if e["type"] == "conversation.item.truncate"]
    assert [(e["item_id"], e["audio_end_ms"]) for e in cuts] == [("i1", 1000), ("i2", 0)]


@pytest.mark.parametrize(("said", "playing"), [("Stop.", False), ("Repeat that, please.", True)])
def test_a_command_is_done_here_and_is_no_message(rig, said, playing):
    rig.answer(seconds=1.0)
    rig.take("response.done", response={"id": "r1", "status": "completed"})
    rig.hear(QUIET, 2.0)
    rig.said(said)
    assert rig.kinds()[0] == "conversation.item.delete"
    assert "response.create" not in rig.kinds()
    assert rig.duplex.player.playing is playing


def test_muted_it_sends_silence(rig):
    rig.duplex.muted = True
    rig.hear(LOUD, 2.0)
    assert np.abs(rig.sound()).max() == 0.0


def test_a_key_opens_and_ends_a_turn_and_stops_what_is_spoken(rig):
    rig.duplex.push_to_talk = True
    rig.hear(LOUD, 1.0)
    assert np.abs(rig.sound()).max() == 0.0
    rig.answer()
    rig.duplex.press(True)
    assert rig.kinds() == ["response.cancel", "conversation.item.truncate"]
    rig.hear(LOUD, 0.5)
    assert np.abs(rig.sound()).max() > 0.05
    rig.duplex.press(False)
    assert rig.kinds()[-1] == "input_audio_buffer.commit"


QUESTION = {"id": "c1", "title": "files.delete wants to change something.", "arguments": []}


@pytest.mark.parametrize(
    ("said", "answer"), [("Yes, please.", "once"), ("No!", "no"), ("Maybe later", None)]
)
def test_a_question_is_answered_by_plain_words(rig, said, answer):
    rig.take("llmos.question", **QUESTION)
    rig.hear(QUIET, 3.0)
    rig.said(said)
    answers = [event["answer"] for event in rig.sent if event["type"] == "llmos.answer"]
    assert answers == ([answer] if answer else [])
    assert "response.create" not in rig.kinds()
    rig.take("llmos.answered", id="c1", answer="once")
    assert rig.duplex.question is None


@pytest.fixture
def asked(rig):
    """A question is being read out."""
    rig.take("response.created", response={"id": "r1"})
    rig.take("llmos.question", **QUESTION)
    rig.speak()
    return rig


def test_a_question_is_read_out_with_its_literal_arguments(rig):
    argument = {"name": "path", "value": "a.txt", "source": "you"}
    rig.take("llmos.question", **{**QUESTION, "arguments": [argument]})
    assert "path: a.txt (you)." in rig.told[0][0]


def test_while_it_speaks_nothing_answers_a_question(asked):
    asked.hear(LOUD, 0.16)
    asked.said("Yes")
    assert asked.answers() == []
    assert asked.duplex.player.playing  # it is read out to its end


@pytest.mark.parametrize("seconds", [0.4, 1.8])  # stopped by its words, by its length
def test_a_yes_into_a_question_is_no_answer_however_late_its_words_come(asked, seconds):
    asked.hear(LOUD, seconds)
    asked.take("llmos.heard", item_id="p1", text="Yes, do it", settled=0, language="en")
    asked.hear(QUIET, 3.0)
    asked.said("Yes, do it.")
    assert asked.answers() == []
    asked.hear(QUIET, 1.0)
    asked.said("Yes.", item="p2")  # into silence
    assert asked.answers() == ["once"]


def test_who_speaks_into_a_question_ends_its_reading_not_its_turn(asked):
    asked.hear(LOUD, 0.4)
    asked.take("llmos.heard", item_id="p1", text="What is that for", settled=0, language="en")
    assert not asked.duplex.player.playing
    assert "response.cancel" not in asked.kinds()
    sound = base64.b64encode(encode_pcm16(np.full(WIRE_RATE, 0.5, np.float32))).decode()
    asked.take("response.output_audio.delta", response_id="r1", item_id="i1", delta=sound)
    assert asked.duplex.player.playing  # the answer goes on after it


def test_the_echo_of_a_question_ends_nothing(asked):
    asked.hear(LOUD, 0.16)
    asked.said("Files delete wants to change something")
    assert asked.duplex.player.playing


def test_a_question_that_a_key_answered_is_read_out_no_further(asked):
    asked.duplex.answer("no")
    asked.take("llmos.answered", id="c1", answer="no")
    assert not asked.duplex.player.playing
    assert asked.hushed == 1


def test_what_was_answered_while_its_speech_was_made_is_not_read_out(rig):
    rig.take("llmos.question", **QUESTION)
    rig.take("llmos.answered", id="c1", answer="once")
    rig.speak()
    assert not np.abs(rig.duplex.read(WIRE_RATE)).any()


def test_a_question_is_read_again_on_demand_and_reminded_of_once(rig):
    rig.take("llmos.question", **QUESTION)
    rig.hear(QUIET, 3.0)
    rig.said("Repeat that, please.")
    assert rig.told[1] == rig.told[0]
    for _ in range(3):
        rig.said("The weather is fine today")
    assert len(rig.told) == 3 and "yes or no" in rig.told[2][0]


def test_an_echo_is_known_by_what_sounds_now_not_by_what_was_sent_last(rig):
    first = "The mountains are high, and the valley is wide."
    rig.answer(text=first)
    for number in range(30):
        rig.more(f"Rivers run to the sea through town number {number}.")
    rig.hear(LOUD, 0.16)
    rig.said("The mountains are high")
    assert "response.cancel" not in rig.kinds()
    assert rig.duplex.player.playing


@pytest.mark.parametrize("said", ["Louder", "A bit slower, please", "Repeat that"])
def test_a_command_about_the_voice_keeps_the_answer(rig, said):
    rig.answer()
    rig.hear(LOUD, 0.16)
    rig.take("llmos.heard", item_id="p1", text=said, settled=0, language="en")
    rig.said(said)
    assert "response.cancel" not in rig.kinds()
    assert rig.duplex.player.playing


def test_louder_and_quieter_change_what_is_heard(rig):
    rig.answer()
    before = np.abs(rig.duplex.read(100)).max()
    rig.duplex.louder()
    assert np.abs(rig.duplex.read(100)).max() == pytest.approx(1.5 * before, rel=0.01)
    rig.duplex.quieter()
    assert np.abs(rig.duplex.read(100)).max() == pytest.approx(before, rel=0.01)


def test_slower_takes_longer_for_what_is_there_and_the_next_answer_is_made_so(rig):
    rig.answer(seconds=2.0)
    rig.duplex.slower()
    rest = 0
    while rig.duplex.player.playing:
        rig.duplex.read(480)
        rest += 480
    assert rest == pytest.approx(WIRE_RATE / 0.85, rel=0.05)
    rig.take("response.created", response={"id": "r2"})
    assert rig.duplex.player.tempo == 1.0


def test_a_failure_is_said_behind_what_still_sounds(rig):
    rig.answer()
    error = {"code": "engine", "message": "The model is gone."}
    failed = {"id": "r1", "status": "failed", "status_details": {"error": error}}
    rig.take("response.done", response=failed)
    assert rig.told == [("The model is gone.", "told The model is gone.")]
    rig.duplex.announce("told The model is gone.", np.full(100, 0.5, np.float32), "x")
    assert 0.05 < np.abs(rig.duplex.read(2_400)).max() < 0.2  # the answer still goes on


def test_repeat_after_an_announcement_is_the_answer(rig):
    rig.answer(seconds=1.0)
    rig.take("response.done", response={"id": "r1", "status": "completed"})
    rig.duplex.tell("One moment.", "call")
    rig.duplex.announce("call", np.full(100, 0.5, np.float32), "One moment.")
    rig.duplex.read(2_400)
    rig.duplex.repeat()
    heard = np.abs(rig.duplex.read(WIRE_RATE + 2_400))
    assert 0.05 < heard.max() < 0.2
    assert np.count_nonzero(heard) == WIRE_RATE


def test_what_was_not_understood_is_said_and_the_sentence_goes_on(rig):
    rig.answer()
    rig.hear(LOUD, 0.16)
    kind = "conversation.item.input_audio_transcription.failed"
    rig.take(kind, item_id="p1", error={"code": "device", "message": "I did not understand."})
    assert rig.duplex.player.playing
    assert [text for text, _ in rig.told] == ["I did not understand."]
    rig.take("error", error={"code": "device", "message": "I did not understand."})
    assert len(rig.told) == 1  # what fails again and again is said once


def test_a_noise_that_the_server_took_for_speech_takes_the_sentence_up_again(rig):
    rig.answer()
    rig.hear(LOUD, 0.16)
    rig.take("input_audio_buffer.speech_started")
    rig.take("input_audio_buffer.cleared")
    assert rig.duplex.state is State.SPEAKING


def test_a_short_word_is_waited_for_while_it_is_written_down(rig):
    rig.answer()
    rig.hear(LOUD, 0.16)
    rig.take("input_audio_buffer.speech_started")
    rig.hear(QUIET, 2.0)  # the recogniser is slow
    assert rig.duplex.state is State.RESTING
    rig.said("No.")
    assert "response.cancel" in rig.kinds()


def test_a_noise_after_the_last_word_does_not_open_the_ear_to_the_next_answer(rig):
    rig.answer(seconds=1.0)
    rig.duplex.read(WIRE_RATE)
    rig.hear(LOUD, 0.16)  # in what may still be echo
    rig.hear(QUIET, 3.0)
    rig.take("response.created", response={"id": "r2"})
    rig.more("Rivers.", response="r2", item="i2")
    rig.sent.clear()
    rig.hear(0.03 * LOUD, 0.5, played=LOUD)
    assert np.abs(rig.sound()).max() == 0.0


def test_a_reminder_waits_for_the_end_of_the_answer_before_it(rig):
    rig.answer(seconds=2.0)
    rig.take("response.done", response={"id": "r1", "status": "completed"})
    rig.take("response.created", response={"id": "r2"})
    rig.more("It is time.", response="r2", item="i2", value=0.5)
    assert np.abs(rig.duplex.read(WIRE_RATE)).max() < 0.2
    assert np.abs(rig.duplex.read(WIRE_RATE)).max() > 0.4


def test_a_failure_is_told_and_what_two_speakers_cause_is_not(rig):
    rig.take("error", error={"code": "response_cancel_not_active", "message": "x"})
    assert rig.lines == []
    rig.take("error", error={"code": "device", "message": "The voice is gone."})
    assert rig.lines[-1].text == "The voice is gone."


def test_slower_is_told_to_the_server(rig):
    rig.duplex.slower()
    assert rig.sent[-1]["session"]["audio"]["output"]["speed"] == 0.85


def test_a_kernel_that_came_back_knows_nothing_of_what_waited(rig):
    rig.take("llmos.question", **QUESTION)
    rig.take("response.created", response={"id": "r1"})
    rig.take("session.created", session={})
    assert rig.duplex.question is None
    assert rig.duplex.state is State.LISTENING
    rig.hear(QUIET, 3.0)
    rig.said("What is DNS?")
    assert rig.kinds() == ["response.create"]


class Word:
    """A wake word: a frame that is louder than any voice."""

    name = "hey"

    def heard(self, sound):
        return bool(sound.min() > 0.9)


CALL = np.full(FRAME, 0.95, np.float32)


@pytest.fixture
def sleeper():
    rig = Rig()
    rig.duplex._wake = Word()
    return rig


def test_asleep_nothing_is_sent_until_the_wake_word(sleeper):
    sleeper.hear(LOUD, 1.0)
    assert sleeper.duplex.state is State.ASLEEP
    assert np.abs(sleeper.sound()).max() == 0.0
    sleeper.hear(CALL, 0.04)
    sleeper.hear(LOUD, 1.0)
    assert sleeper.duplex.state is State.LISTENING
    assert np.abs(sleeper.sound()).max() > 0.05


def test_it_stays_awake_while_something_goes_on_and_sleeps_a_while_after(sleeper):
    sleeper.hear(CALL, 0.04)
    sleeper.answer(seconds=1.0)
    sleeper.hear(QUIET, 2 * AWAKE_S)
    assert sleeper.duplex.state is not State.ASLEEP
    sleeper.take("response.done", response={"id": "r1", "status": "completed"})
    sleeper.hear(QUIET, AWAKE_S - 1)
    assert sleeper.duplex.state is State.LISTENING
    sleeper.hear(QUIET, 2.0)
    assert sleeper.duplex.state is State.ASLEEP


def test_an_answer_is_interrupted_without_being_woken(sleeper):
    sleeper.answer()
    sleeper.hear(LOUD, 0.16)
    assert sleeper.duplex.state is State.RESTING
