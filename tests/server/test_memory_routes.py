"""Pages, search and drafts over HTTP."""

from __future__ import annotations

from llmos import limits


async def spoken(http, text="The dog is called Bruno."):
    pid = (await http.post("/kernel/v1/processes", json={})).json()["pid"]
    await http.post(f"/kernel/v1/processes/{pid}/messages", json={"content": text})
    return pid


async def test_what_was_said_is_found(http):
    pid = await spoken(http)
    answer = await http.get("/kernel/v1/memory/search", params={"query": "bruno"})
    [hit] = answer.json()["hits"]
    assert (hit["id"], hit["pid"], hit["text"]) == ("p1", pid, "The dog is called Bruno.")
    assert (hit["similarity"], hit["words"]) == (0.9, None)
    other = {"query": "bruno", "pid": 77}
    assert (await http.get("/kernel/v1/memory/search", params=other)).status_code == 404


async def test_a_page_is_read_by_its_id(http):
    await spoken(http)
    [page] = (await http.get("/kernel/v1/memory/pages/p1")).json()["pages"]
    assert (page["id"], page["kind"], page["origin"]) == ("p1", "user", "user")
    assert page["text"] == "The dog is called Bruno."
    gone = await http.get("/kernel/v1/memory/pages/p9")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_stored")
    assert (await http.get("/kernel/v1/memory/pages/nine")).status_code == 400


async def test_the_page_table_says_what_is_in_view(http):
    pid = await spoken(http)
    table = (await http.get(f"/kernel/v1/processes/{pid}/pages")).json()
    assert table["pages"] == [
        {
            "id": "p1",
            "kind": "user",
            "turn": 1,
            "characters": 24,
            "resident": True,
            "pinned": False,
            "time": 0.0,
            "origin": "user",
            "tokens": 5,
            "beginning": "The dog is called Bruno.",
        }
    ]
    assert (table["front"], table["front_tokens"]) == ("Be kind.", 2)


async def test_a_page_is_pinned_and_let_go(http):
    pid = await spoken(http)
    path = f"/kernel/v1/processes/{pid}/pages"
    for pinned in (True, False):
        answer = await http.patch(f"{path}/p1", json={"pinned": pinned})
        assert (answer.status_code, answer.content) == (204, b"")
        [row] = (await http.get(path)).json()["pages"]
        assert row["pinned"] is pinned
    assert (await http.patch(f"{path}/p9", json={"pinned": True})).status_code == 404
    assert (await http.patch(f"{path}/p1", json={"pinned": "yes"})).status_code == 400


async def test_a_long_page_is_listed_by_its_beginning(http):
    pid = await spoken(http, "word " * 400)
    table = (await http.get(f"/kernel/v1/processes/{pid}/pages")).json()["pages"]
    assert len(table) > 1
    assert all(len(row["beginning"]) == limits.PAGE_LINE for row in table)
    assert table[0]["beginning"].endswith("…")


async def test_what_forgetting_would_take_along_is_told_before(http):
    pid = await spoken(http, "I live in Lisbon. And you?")
    fact = (await http.post("/kernel/v1/memory/facts", json={"text": "I live in Lisbon."})).json()
    path = "/kernel/v1/memory/forgetting"
    told = (await http.get(path, params={"id": fact["id"]})).json()
    assert told["records"] == 2
    assert [(row["kind"], row["beginning"]) for row in told["listed"]] == [
        ("memory", "I live in Lisbon."),
        ("user", "I live in Lisbon. And you?"),
    ]
    assert told["listed"][1]["pid"] == pid
    assert len((await http.get("/kernel/v1/memory/facts")).json()["facts"]) == 1
    assert (await http.get(path, params={"id": "m99"})).status_code == 404
    assert (await http.get(path, params={"id": "f1"})).status_code == 400


async def test_a_draft_is_taken_and_leaves_no_trace(http, kernel):
    pid = await spoken(http)
    answer = await http.post(f"/kernel/v1/processes/{pid}/draft", json={"text": "What is"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert kernel.drafts == [(pid, "What is")]
    assert len(kernel.stored[pid]) == 1


async def test_facts_are_kept_changed_and_forgotten(http):
    kept = await http.post("/kernel/v1/memory/facts", json={"text": "I live in Lisbon."})
    assert kept.status_code == 201
    fact = kept.json()
    assert (fact["text"], fact["block"], fact["origin"]) == ("I live in Lisbon.", "fact", "user")
    path = f"/kernel/v1/memory/facts/{fact['id']}"
    changed = (await http.patch(path, json={"text": "I live in Porto.", "pinned": True})).json()
    assert changed["history"] == [{"time": 1.0, "text": "I live in Lisbon."}]
    listed = (await http.get("/kernel/v1/memory/facts")).json()
    assert [f["text"] for f in listed["facts"]] == ["I live in Porto."]
    assert "I live in Porto." in listed["core"]
    assert (await http.delete(path)).json() == {"erased": 1}
    assert (await http.delete(path)).status_code == 404


async def test_a_past_conversation_is_taken_in(http, kernel):
    said = [{"role": "user", "content": "Hi", "time": 5}, {"role": "assistant", "content": "Yo"}]
    made = await http.post("/kernel/v1/import", json={"messages": said, "title": "Old"})
    assert made.status_code == 201
    assert [m.message.content for m in kernel.stored[made.json()["pid"]]] == ["Hi", "Yo"]
    for wrong in ([], [{"role": "tool", "content": "x"}], [{"content": "x"}]):
        answer = await http.post("/kernel/v1/import", json={"messages": wrong})
        assert answer.status_code == 400
    assert len(kernel.stored) == 1


async def test_folders_are_mounted_and_umounted(http):
    made = await http.post("/kernel/v1/mounts", json={"folder": "/home/me/notes"})
    assert made.status_code == 201
    [row] = (await http.get("/kernel/v1/mounts")).json()["mounts"]
    assert (row["number"], row["folder"], row["state"]) == (1, "/home/me/notes", "ready")
    assert (await http.delete("/kernel/v1/mounts/1")).json() == {"passages": 5}
    assert (await http.delete("/kernel/v1/mounts/1")).status_code == 409
    assert (await http.post("/kernel/v1/mounts", json={"folder": "notes"})).status_code == 400
