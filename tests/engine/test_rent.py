"""Ski rental: pay when the steps have lost as much, and never more than twice the best."""

from __future__ import annotations

import pytest

from llmos import limits
from llmos.engine.rent import Rent


def lose(rent: Rent, seconds: float) -> None:
    """A step that loses ``seconds``."""
    rent.step(seconds / limits.WASTED_CELL_COST / 100, 100)


def test_a_move_is_due_when_the_steps_have_lost_what_it_costs():
    rent = Rent()
    price = 100 * limits.SAVE_S
    lose(rent, 0.9 * price)
    assert not rent.due(100)
    lose(rent, 0.2 * price)
    assert rent.due(100)
    assert not rent.due(100)


def test_a_cheap_move_does_not_pay_for_a_dear_one():
    rent = Rent()
    lose(rent, 111 * limits.SAVE_S)
    assert rent.due(10)
    assert rent.due(100)
    assert not rent.due(10)


def test_what_was_lost_before_there_was_nothing_to_move_is_forgotten():
    rent = Rent()
    lose(rent, 100 * limits.SAVE_S)
    rent.settle()
    assert not rent.due(1)


@pytest.mark.parametrize("per_token", [1e-5, 1e-3])
def test_the_price_follows_what_moves_take(per_token):
    rent = Rent()
    for _ in range(40):
        rent.saved(100 * per_token, 100)
    lose(rent, 95 * per_token)
    assert not rent.due(100)
    lose(rent, 10 * per_token)
    assert rent.due(100)


@pytest.mark.parametrize("steps", [1, 5, 10, 11, 50, 1000])
def test_it_never_costs_more_than_twice_what_foresight_would(steps):
    rent, paid, price = Rent(), 0.0, 100 * limits.SAVE_S
    moved = False
    for _ in range(steps):
        if moved:
            break
        lose(rent, price / 10)
        paid += price / 10
        if rent.due(100):
            moved, paid = True, paid + price
    assert paid <= 2.1 * min(steps * price / 10, price)
