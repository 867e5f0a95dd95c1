"""What of an answer is heard, and what never is."""

from __future__ import annotations

import numpy as np
import pytest

from llmos.devices.audio import WIRE_RATE, Samples
from llmos.voice.player import LONGEST_S, Played, Player


def _tone(ms: int, value: float = 0.5) -> Samples:
    return np.full(ms * WIRE_RATE // 1_000, value, dtype=np.float32)


def _answer(*parts: tuple[str, Samples]) -> Player:
    player = Player()
    player.begin("r1")
    for item, sound in parts:
        assert player.add("r1", item, sound)
    return player


def test_chunks_are_read_in_order_and_silence_follows():
    player = _answer(("a", _tone(10, 0.1)), ("a", _tone(10, 0.2)))
    sound = player.read(len(_tone(30)))
    assert np.array_equal(sound, np.concatenate([_tone(10, 0.1), _tone(10, 0.2), _tone(10, 0)]))
    assert not player.playing
    assert player.heard_ms("a") == 20


def test_a_chunk_of_another_response_is_never_heard():
    player = _answer(("a", _tone(10)))
    assert not player.add("r0", "z", _tone(10))
    player.begin("r2")
    assert not player.add("r1", "a", _tone(10))
    assert player.read(480).any()  # what came in time
    assert not player.read(480).any()


def test_cancel_tells_what_was_heard_and_takes_nothing_more():
    player = _answer(("a", _tone(100)), ("b", _tone(100)), ("c", _tone(100)))
    player.read(len(_tone(150)))
    assert player.cancel() == [Played("b", 50), Played("c", 0)]
    assert not player.add("r1", "c", _tone(10))
    assert not player.read(480).any()


def test_cancel_before_anything_was_heard():
    player = _answer(("a", _tone(100)))
    assert player.cancel() == [Played("a", 0)]
    assert not player.repeat()


def test_a_rest_is_silent_and_goes_on_a_little_before():
    player = _answer(("a", _tone(1_000)))
    player.read(len(_tone(500)))
    player.pause()
    assert not player.read(480).any()
    assert player.add("r1", "a", _tone(100))
    player.resume(back_s=0.2)
    player.read(len(_tone(100)))
    assert player.heard_ms("a") == 500  # said twice, heard once
    player.read(len(_tone(200)))
    assert player.heard_ms("a") == 600


def test_repeat_gives_only_what_was_heard_of_a_cancelled_answer():
    player = _answer(("a", _tone(100)))
    player.read(len(_tone(40)))
    player.cancel()
    assert player.repeat()
    assert np.count_nonzero(player.read(len(_tone(100)))) == len(_tone(40))


def test_an_answer_without_end_is_bounded():
    player = _answer(("a", np.zeros(LONGEST_S * WIRE_RATE, dtype=np.float32)))
    assert not player.add("r1", "a", _tone(1))


def test_an_announcement_waits_its_turn_and_is_no_part_of_the_answer():
    player = _answer(("a", _tone(100, 0.1)))
    assert player.announce("n", _tone(100, 0.9), "One moment.")
    assert player.add("r1", "a", _tone(100, 0.2))
    sound = player.read(len(_tone(300)))
    assert np.array_equal(
        sound, np.concatenate([_tone(100, 0.1), _tone(100, 0.9), _tone(100, 0.2)])
    )
    assert player.heard_ms("a") == 200


def test_what_is_withdrawn_is_said_no_further_and_the_rest_follows():
    player = _answer(("a", _tone(100, 0.1)))
    player.announce("n", _tone(100, 0.9), "One moment.")
    player.add("r1", "a", _tone(100, 0.2))
    player.read(len(_tone(150)))
    player.withdraw("n")
    assert np.array_equal(player.read(len(_tone(100))), _tone(100, 0.2))
    assert player.cancel() == []
    player.withdraw("n")


def test_an_answer_that_begins_waits_for_the_one_that_sounds():
    player = _answer(("a", _tone(100, 0.1)))
    player.read(len(_tone(50)))
    player.begin("r2")
    assert player.add("r2", "b", _tone(100, 0.2))
    sound = player.read(len(_tone(150)))
    assert np.array_equal(sound, np.concatenate([_tone(50, 0.1), _tone(100, 0.2)]))
    assert (player.heard_ms("a"), player.heard_ms("b")) == (100, 100)


def test_repeat_is_of_the_answer_that_was_heard_last():
    player = _answer(("a", _tone(100, 0.1)))
    player.begin("r2")
    player.add("r2", "b", _tone(100, 0.2))
    player.read(len(_tone(100)))
    assert player.repeat()
    assert np.array_equal(player.read(len(_tone(100))), _tone(100, 0.2))


def test_the_words_that_sound_are_told_and_those_before_for_a_while():
    player = Player()
    player.begin("r1")
    for number in range(20):
        player.add("r1", "a", _tone(2_000), f"word{number}")
    player.read(len(_tone(1_000)))
    assert player.sounding == "word0"
    player.read(len(_tone(22_000)))
    assert player.sounding.split() == [f"word{number}" for number in range(5, 12)]
    player.cancel()
    assert "word11" in player.sounding and "word12" not in player.sounding


def test_words_of_what_was_heard_are_known_when_the_next_answer_begins():
    player = Player()
    player.begin("r1")
    player.add("r1", "a", _tone(1_000), "mountains")
    player.read(len(_tone(1_000)))
    player.begin("r2")
    assert player.sounding == "mountains"


@pytest.mark.parametrize("tempo", [0.5, 0.8, 1.25])
def test_another_tempo_lasts_as_long_as_it_says_at_the_same_pitch(tempo):
    time = np.arange(2 * WIRE_RATE) / WIRE_RATE
    voiced = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 8)).astype(np.float32)
    player = _answer(("a", voiced))
    player.tempo = tempo
    made = []
    while player.playing:
        made.append(player.read(480))
    sound = np.concatenate(made)
    assert len(sound) == pytest.approx(len(voiced) / tempo, rel=0.02)
    assert player.heard_ms("a") == 2_000
    spectrum = np.abs(np.fft.rfft(sound[:WIRE_RATE]))
    assert np.argmax(spectrum) == pytest.approx(120, abs=2)  # Hz
    assert np.abs(np.diff(sound)).max() < 2 * np.abs(np.diff(voiced)).max()  # no clicks


def test_what_did_not_sound_is_read_again_at_another_tempo():
    player = _answer(("a", _tone(1_000)))
    player.tempo = 0.5
    player.read(len(_tone(400)))
    player.unread(len(_tone(200)))
    assert player.heard_ms("a") == pytest.approx(100, abs=15)
