"""What is remembered, over HTTP."""

from __future__ import annotations


async def test_facts_are_kept_changed_and_forgotten(http):
    kept = await http.post("/kernel/v1/memory/facts", json={"text": "I live in Lisbon."})
    assert kept.status_code == 201
    fact = kept.json()
    assert (fact["text"], fact["block"], fact["origin"]) == ("I live in Lisbon.", "fact", "user")
    path = f"/kernel/v1/memory/facts/{fact['id']}"
    changed = (await http.patch(path, json={"text": "I live in Porto.", "pinned": True})).json()
    assert changed["merged"] == []
    assert changed["history"] == [{"time": 1.0, "text": "I live in Lisbon."}]
    listed = (await http.get("/kernel/v1/memory/facts")).json()
    assert [f["text"] for f in listed["facts"]] == ["I live in Porto."]
    assert "I live in Porto." in listed["core"]
    assert (await http.delete(path)).json() == {"erased": 1}
    assert (await http.delete(path)).status_code == 404
