"""Pages, search and drafts over HTTP."""

from __future__ import annotations


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
    [row] = (await http.get(f"/kernel/v1/processes/{pid}/pages")).json()["pages"]
    assert row == {"id": "p1", "kind": "user", "turn": 1, "characters": 24, "resident": True}


async def test_a_draft_is_taken_and_leaves_no_trace(http, kernel):
    pid = await spoken(http)
    answer = await http.post(f"/kernel/v1/processes/{pid}/draft", json={"text": "What is"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert kernel.drafts == [(pid, "What is")]
    assert len(kernel.stored[pid]) == 1
