"""The sentences that say most, word for word."""

from __future__ import annotations

import numpy as np

from llmos.memory.extract import central


def unit(*rows):
    made = np.array(rows, np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_what_most_of_it_is_about_comes_first_and_what_repeats_it_last():
    sentences = ["Bees.", "Bees again.", "Trains.", "Bees and wood."]
    vectors = unit([1, 0, 0.1], [1, 0, 0.11], [0, 1, 0], [1, 0.3, 0.6])
    assert central(sentences, vectors, 20) == ["Bees.", "Bees and wood."]


def test_the_order_is_that_in_which_they_were_said_and_all_come_where_there_is_room():
    sentences = ["One.", "Two.", "Three."]
    assert central(sentences, unit([0, 1], [1, 0], [1, 1]), 100) == sentences


def test_what_is_longer_than_the_room_is_left_out():
    assert central(["Much too long for it."], unit([1, 0]), 5) == []
    assert central([], np.zeros((0, 2), np.float32), 5) == []
