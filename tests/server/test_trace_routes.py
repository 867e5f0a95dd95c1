"""What was called, and a conversation run again, over HTTP and a real kernel."""

from __future__ import annotations

import pytest

from tests.kernel.kernels import call, kernel_on, turn

RULES = [
    ("Delegate", call("no.such", path="a.txt")),
    ("no call", "I cannot."),
]


@pytest.fixture
async def asked(home, serving):
    """A client of a kernel in which one call was asked for, and the process."""
    async with kernel_on(home, RULES) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Delegate")
        async with serving(kernel, home / "k.sock") as served, served.http() as http:
            yield http, pid


async def test_calls_are_told_of_one_process_and_of_all(asked):
    http, pid = asked
    [row] = (await http.get(f"/kernel/v1/processes/{pid}/calls")).json()["calls"]
    assert (row["pid"], row["turn"], row["name"], row["error"]) == (
        pid, 1, "no.such", "unknown_call"
    )  # fmt: skip
    assert row["effect"] == "" and row["finished"] and row["verdict"] == ""
    assert (await http.get("/kernel/v1/calls")).json()["calls"] == [row]
    later = await http.get(f"/kernel/v1/processes/{pid}/calls?after={row['number']}")
    assert later.json()["calls"] == []


async def test_a_conversation_is_replayed(asked):
    http, pid = asked
    told = (await http.post(f"/kernel/v1/processes/{pid}/replay")).json()
    assert told["same"] and told["model"] == "scripted"
    [turned] = told["turns"]
    assert turned["replayed"] == "I cannot."
    assert turned["replayed_calls"][0]["name"] == "no.such"


async def test_there_must_be_such_a_process(asked):
    http, _ = asked
    for method, path in (("GET", "calls"), ("POST", "replay")):
        answer = await http.request(method, f"/kernel/v1/processes/99/{path}")
        assert answer.status_code == 404
        assert "There is no process 99." in answer.json()["error"]["message"]
