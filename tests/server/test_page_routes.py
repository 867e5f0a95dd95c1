"""Pages, search and drafts over HTTP."""

from __future__ import annotations

import threading

from llmos import limits


async def test_what_was_said_is_found(http, spoken):
    pid = await spoken()
    answer = await http.get("/kernel/v1/memory/search", params={"query": "bruno"})
    [hit] = answer.json()["hits"]
    assert (hit["id"], hit["pid"], hit["text"]) == ("p1", pid, "The dog is called Bruno.")
    assert (hit["similarity"], hit["words"]) == (0.9, None)
    other = {"query": "bruno", "pid": 77}
    assert (await http.get("/kernel/v1/memory/search", params=other)).status_code == 404


async def test_a_page_is_read_by_its_id(http, spoken):
    await spoken()
    [page] = (await http.get("/kernel/v1/memory/pages/p1")).json()["pages"]
    assert (page["id"], page["kind"], page["origin"]) == ("p1", "user", "user")
    assert page["text"] == "The dog is called Bruno."
    gone = await http.get("/kernel/v1/memory/pages/p9")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_stored")
    assert (await http.get("/kernel/v1/memory/pages/nine")).status_code == 400


async def test_the_page_table_says_what_is_in_view(http, spoken):
    pid = await spoken()
    table = (await http.get(f"/kernel/v1/processes/{pid}/pages")).json()
    assert table["pages"] == [
        {
            "id": "p1",
            "kind": "user",
            "turn": 1,
            "characters": 24,
            "resident": True,
            "shared": False,
            "pinned": False,
            "time": 0.0,
            "origin": "user",
            "tokens": 5,
            "beginning": "The dog is called Bruno.",
        }
    ]
    assert (table["front"], table["front_tokens"]) == ("Be kind.", 2)


async def test_a_page_is_pinned_and_let_go(http, spoken):
    pid = await spoken()
    path = f"/kernel/v1/processes/{pid}/pages"
    for pinned in (True, False):
        answer = await http.patch(f"{path}/p1", json={"pinned": pinned})
        assert (answer.status_code, answer.content) == (204, b"")
        [row] = (await http.get(path)).json()["pages"]
        assert row["pinned"] is pinned
    assert (await http.patch(f"{path}/p9", json={"pinned": True})).status_code == 404
    assert (await http.patch(f"{path}/p1", json={"pinned": "yes"})).status_code == 400


async def test_a_long_page_is_listed_by_its_beginning(http, spoken):
    pid = await spoken("word " * 400)
    table = (await http.get(f"/kernel/v1/processes/{pid}/pages")).json()["pages"]
    assert len(table) > 1
    assert all(len(row["beginning"]) == limits.PAGE_LINE for row in table)
    assert table[0]["beginning"].endswith("…")


async def test_a_draft_is_taken_and_leaves_no_trace(http, kernel, spoken):
    pid = await spoken()
    answer = await http.post(f"/kernel/v1/processes/{pid}/draft", json={"text": "What is"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert kernel.drafts == [(pid, "What is")]
    assert len(kernel.stored[pid]) == 1


async def test_whoever_shows_only_the_end_of_a_page_table_gets_what_is_in_view_and_no_more(
    http, kernel, spoken
):
    pid = await spoken("one")
    for text in ("two", "three", "four"):
        await http.post(f"/kernel/v1/processes/{pid}/messages", json={"content": text})
    kernel.out_of_view = {"p2", "p3"}
    path = f"/kernel/v1/processes/{pid}/pages"
    table = (await http.get(path, params={"last": 1})).json()
    assert [row["id"] for row in table["pages"]] == ["p1", "p4"]
    assert (table["unlisted"], table["unlisted_characters"]) == (2, len("twothree"))
    for last in (0, 4, 1000):
        table = (await http.get(path, params={"last": last})).json()
        assert [row["id"] for row in table["pages"]] == ["p1", "p2", "p3", "p4"]
        assert (table["unlisted"], table["unlisted_characters"]) == (0, 0)
    assert (await http.get(path, params={"last": -1})).status_code == 400


async def test_a_page_table_is_counted_beside_the_kernel_s_loop(http, kernel, spoken, monkeypatch):
    pid = await spoken()
    threads = set()
    monkeypatch.setattr(kernel.backend, "count", lambda _: threads.add(threading.get_ident()) or 7)
    table = (await http.get(f"/kernel/v1/processes/{pid}/pages")).json()
    assert table["pages"][0]["tokens"] == table["front_tokens"] == 7
    assert threads and threading.get_ident() not in threads
