"""What of an answer is heard, and what never is."""

from __future__ import annotations

import numpy as np

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
