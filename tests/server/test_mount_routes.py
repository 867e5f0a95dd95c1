"""What comes from elsewhere, over HTTP: folders and past conversations."""

from __future__ import annotations


async def test_folders_are_mounted_and_umounted(http):
    made = await http.post("/kernel/v1/mounts", json={"folder": "/home/me/notes"})
    assert made.status_code == 201
    [row] = (await http.get("/kernel/v1/mounts")).json()["mounts"]
    assert (row["number"], row["folder"], row["state"]) == (1, "/home/me/notes", "ready")
    assert (await http.delete("/kernel/v1/mounts/1")).json() == {"passages": 5}
    assert (await http.delete("/kernel/v1/mounts/1")).status_code == 409
    assert (await http.post("/kernel/v1/mounts", json={"folder": "notes"})).status_code == 400


async def test_a_past_conversation_is_taken_in(http, kernel):
    said = [{"role": "user", "content": "Hi", "time": 5}, {"role": "assistant", "content": "Yo"}]
    made = await http.post("/kernel/v1/import", json={"messages": said, "title": "Old"})
    assert made.status_code == 201
    assert [m.message.content for m in kernel.stored[made.json()["pid"]]] == ["Hi", "Yo"]
    for wrong in ([], [{"role": "tool", "content": "x"}], [{"content": "x"}]):
        answer = await http.post("/kernel/v1/import", json={"messages": wrong})
        assert answer.status_code == 400
    assert len(kernel.stored) == 1


async def test_a_passage_of_a_file_is_shown_with_its_place(http):
    found = (await http.get("/kernel/v1/memory/files/f1-2.3")).json()
    assert found["text"] == "The sea is calm." and found["place"] == "notes/sea.md, lines 1-2"
    assert (await http.get("/kernel/v1/memory/files/f1-9.9")).status_code == 404
