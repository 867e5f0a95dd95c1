from __future__ import annotations

import pytest

from llmos import limits, paths
from llmos.door.tools import load
from llmos.host.machine import Machine
from llmos.sdk import Context

CALL = load(paths.bundled("tools") / "system").calls[0]


class Canned:
    def __init__(self, **changed: object) -> None:
        self.found = {
            "processor": {"percent": 12.4, "cores": 8, "load": 1.5},
            "memory": {"total": 16e9, "used": 15.2e9, "percent": 95.0},
            "swap": {"total": 0, "used": 0, "percent": 0.0},
            "disks": [{"place": "/", "total": 5e11, "free": 1e10, "percent": 98.0}],
            "battery": {"percent": 40, "charging": False, "minutes": 90},
            "uptime": 90_061,
            "busiest": [{"name": "firefox", "percent": 8.1}],
            "largest": [{"name": "firefox", "memory": 3e9}],
        } | changed

    async def status(self) -> dict[str, object]:
        return self.found


async def say(machine, **arguments: str) -> str:
    return (await CALL.run(arguments, Context(lent={"machine": machine}))).text


async def test_what_is_full_is_said_first():
    assert (await say(Canned())).splitlines() == [
        "The disk / is nearly full.",
        "The memory is nearly full.",
        "Processor: 12% busy (8 cores, load 1.5). Busiest: firefox 8.1%.",
        "Memory: 15 GB of 16 GB used (95%). Largest: firefox 3.0 GB.",
        "Disk /: 10 GB of 500 GB free (98% full).",
        "Battery: 40%, 1 hour and 30 minutes left.",
        "It has been running for 1 day and 1 hour.",
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("battery", "There is no battery."),
        ("disk", "Disk /: 10 GB of 500 GB free (98% full)."),
        ("uptime", "It has been running for 1 day and 1 hour."),
    ],
)
async def test_a_part_is_told_alone(part, expected):
    assert await say(Canned(battery=None), part=part) == expected


async def test_this_machine_tells_figures_and_names_alone(monkeypatch):
    monkeypatch.setattr(limits, "MACHINE_SECONDS", 0.0)
    found = await Machine().status()
    assert found["processor"]["cores"] >= 1
    assert 0 < found["memory"]["used"] <= found["memory"]["total"]
    assert found["disks"]
    for each in (*found["busiest"], *found["largest"]):
        assert set(each) <= {"name", "percent", "memory"}
        assert "\n" not in each["name"]
    assert "Processor" in await say(Machine())
    assert CALL.origin == "untrusted"  # anybody chooses what a program or a disk is called
    vouched = {name: found[name] for name in CALL.trusted}
    assert set(vouched) == set(found) - {"busiest", "largest", "disks"}
    assert not [each for each in _leaves(vouched) if isinstance(each, str)]


def _leaves(data):
    if isinstance(data, dict):
        return [leaf for each in data.values() for leaf in _leaves(each)]
    return [data]
