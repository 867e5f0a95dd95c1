"""Reminders, over HTTP."""

from __future__ import annotations

from llmos.services import Timer


async def test_reminders_are_listed_and_taken_back(http, kernel):
    pid = (await kernel.create(title="Shopping")).pid
    kernel.timers["t2"] = Timer("t2", 2000.0, "milk \ud800", pid, "Shopping")
    kernel.timers["t1"] = Timer("t1", 1000.0, "", pid, "Shopping")
    first, second = (await http.get("/kernel/v1/reminders")).json()["reminders"]
    assert first == {"id": "t1", "due": 1000.0, "text": "", "pid": pid, "title": "Shopping"}
    assert (second["id"], second["text"]) == ("t2", "milk ?")
    assert (await http.delete("/kernel/v1/reminders/t1")).json() == first
    assert (await http.get("/kernel/v1/reminders")).json()["reminders"] == [second]
    gone = await http.delete("/kernel/v1/reminders/t1")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "no_such_reminder")
    assert (await http.delete("/kernel/v1/reminders/all")).status_code == 400
