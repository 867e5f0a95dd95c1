"""The soak on the scripted double, small; and that each of its checks can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos.bench.soak import Soak, judge, soak

BALANCED = {"running": 0, "waiting": 0, "cells_used": 7, "cells_idle": 7}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.json"
    file.write_text(json.dumps({"default": "Rivers run to the sea, and bread rises. " * 8}))
    return file


def healthy() -> Soak:
    found = Soak()
    found.counts.update(finished=5, cancelled=3)
    found.memory = [(float(i), 1_000_000) for i in range(20)]
    return found


async def test_clients_that_come_and_vanish_leave_balanced_books(tmp_path, script):
    found = await soak(tmp_path, model=f"scripted:{script}", seconds=3.0, clients=8, seed=1)
    found["checks"].pop("memory_steady")  # a process this young still grows
    assert all(found["checks"].values()), found
    assert found["finished"] > 0
    assert found["cancelled"] > 0
    assert found["failed"] == 0
    json.dumps(found)


def test_a_run_in_which_all_is_well_is_ok():
    assert judge(healthy(), BALANCED)["ok"]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"running": 1}, "nothing_runs"),
        ({"waiting": 1}, "nothing_runs"),
        ({"cells_used": 8}, "cells_free_but_idle_prefixes"),
    ],
)
def test_an_engine_that_did_not_come_to_rest_is_not_ok(change, check):
    verdict = judge(healthy(), BALANCED | change)
    assert not verdict["ok"]
    assert not verdict["checks"][check]


def test_a_failed_request_is_not_ok_and_is_told():
    found = healthy()
    found.counts["failed"] = 1
    found.failures = ["reads: KernelError: no"]
    verdict = judge(found, BALANCED)
    assert not verdict["ok"]
    assert verdict["failures"] == ["reads: KernelError: no"]


def test_memory_that_grows_after_the_warm_up_is_not_ok():
    found = healthy()
    found.memory = [(float(i), 1_000_000 + 10_000 * i) for i in range(20)]
    assert not judge(found, BALANCED)["checks"]["memory_steady"]


def test_memory_that_grows_only_during_the_warm_up_is_ok():
    found = healthy()
    found.memory = [(float(i), 1_000_000 + 500_000 * min(i, 5)) for i in range(40)]
    assert judge(found, BALANCED)["ok"]


def test_a_process_left_over_is_not_ok():
    assert not judge(healthy(), BALANCED, living=1)["ok"]


def test_a_run_in_which_nothing_was_cancelled_shows_nothing():
    found = healthy()
    found.counts["cancelled"] = 0
    assert not judge(found, BALANCED)["ok"]
