"""Idle consolidation over HTTP."""

from __future__ import annotations


async def test_a_dream_is_begun_watched_and_stopped(http):
    assert (await http.get("/kernel/v1/dream")).json()["dreaming"] is False
    assert (await http.post("/kernel/v1/dream")).status_code == 202
    state = (await http.get("/kernel/v1/dream")).json()
    assert (state["dreaming"], state["step"], state["done"], state["of"]) == (True, "turns", 1, 3)
    assert (state["refused"], state["error"]) == (1, "")
    assert (await http.delete("/kernel/v1/dream")).status_code == 204
    assert (await http.get("/kernel/v1/dream")).json()["dreaming"] is False


async def test_what_a_dream_made_is_listed_and_undone(http):
    [made] = (await http.get("/kernel/v1/memory/derived")).json()["made"]
    assert made == {"id": "d3", "kind": "summary", "text": "A dog.", "time": 1.0, "pid": 1}
    assert (await http.delete("/kernel/v1/memory/derived/d3")).json() == {"erased": 1}
    assert (await http.delete("/kernel/v1/memory/derived/d3")).status_code == 404
    assert (await http.delete("/kernel/v1/memory/derived/three")).status_code == 400


async def test_a_page_names_those_it_is_linked_with(http):
    pid = (await http.post("/kernel/v1/processes", json={})).json()["pid"]
    await http.post(f"/kernel/v1/processes/{pid}/messages", json={"content": "Hello."})
    [page] = (await http.get("/kernel/v1/memory/pages/p1")).json()["pages"]
    assert page["related"] == ["p7"]
