"""Forgetting over HTTP, and what is told before."""

from __future__ import annotations

from pathlib import Path


async def test_what_forgetting_would_take_along_is_told_before(http, spoken):
    pid = await spoken("I live in Lisbon. And you?")
    fact = (await http.post("/kernel/v1/memory/facts", json={"text": "I live in Lisbon."})).json()
    path = "/kernel/v1/memory/forgetting"
    told = (await http.get(path, params={"id": fact["id"]})).json()
    assert told["records"] == 2
    assert [(row["kind"], row["beginning"]) for row in told["listed"]] == [
        ("memory", "I live in Lisbon."),
        ("user", "I live in Lisbon. And you?"),
    ]
    assert told["listed"][1]["pid"] == pid
    counts = {name: count for name, count in told["counts"].items() if count}
    assert counts == {"memories": 1, "messages": 1}
    both = (await http.get(path, params={"id": [fact["id"], told["listed"][1]["id"]]})).json()
    assert both == told, "what two names take along goes once"
    assert len((await http.get("/kernel/v1/memory/facts")).json()["facts"]) == 1
    assert (await http.get(path, params={"id": "m99"})).status_code == 404
    assert (await http.get(path, params={"id": "f1"})).status_code == 400


async def test_a_journal_that_a_repair_put_aside_is_named(http, kernel, spoken):
    await spoken()
    path = "/kernel/v1/memory/forgetting"
    assert (await http.get(path, params={"id": "p1"})).json()["left"] == []
    kernel.damaged.append(Path("/state/journal.db.damaged-20260101-000000"))
    left = (await http.get(path, params={"id": "p1"})).json()["left"]
    assert left == ["/state/journal.db.damaged-20260101-000000"]


async def test_a_page_is_forgotten_by_its_id(http, spoken):
    await spoken()
    assert (await http.delete("/kernel/v1/memory/pages/p1")).json() == {"erased": 1}
    assert (await http.delete("/kernel/v1/memory/pages/p9")).status_code == 404
    assert (await http.delete("/kernel/v1/memory/pages/m1")).status_code == 400
