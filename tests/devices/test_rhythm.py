"""How long a speaker rests."""

from __future__ import annotations

import pytest

from llmos.devices.rhythm import REMEMBERED, Rhythm


def test_before_anything_is_heard_people_rest_as_people_do():
    assert 0.3 <= Rhythm().quantile(0.5) <= 0.5
    assert 0.6 <= Rhythm().quantile(0.9) <= 1.0


def test_a_slow_speaker_is_learned():
    rhythm = Rhythm()
    for _ in range(20):
        rhythm.pause(1.1)

    assert rhythm.quantile(0.5) == pytest.approx(1.1)
    assert rhythm.heard == 20


def test_a_new_speaker_is_learned_over_the_old_one():
    rhythm = Rhythm()
    for seconds in (1.2, 0.3):
        for _ in range(REMEMBERED):
            rhythm.pause(seconds)

    assert rhythm.quantile(0.9) == pytest.approx(0.3)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 2.6, 60.0, float("nan"), -1.0])
def test_what_is_no_pause_teaches_nothing(seconds):
    rhythm = Rhythm()
    before = rhythm.quantile(0.9)
    rhythm.pause(seconds)

    assert rhythm.quantile(0.9) == before
    assert rhythm.heard == 0


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_nothing_and_all(q):
    with pytest.raises(ValueError, match="no share"):
        Rhythm().quantile(q)
