"""Questions, grants, artifacts and experts, over HTTP."""

from __future__ import annotations

from llmos.events import CallAsked, ToolCall

CALL = ToolCall("c1", "files.write", {"path": "/x"})


async def test_questions_are_listed_and_answered_once(http, kernel):
    pid = (await kernel.create()).pid
    kernel.permissions.asked.append(CallAsked(pid=pid, turn=1, call=CALL, title="May it?"))
    [asked] = (await http.get("/kernel/v1/questions")).json()["questions"]
    assert (asked["title"], asked["call"]["name"]) == ("May it?", "files.write")
    path = f"/kernel/v1/processes/{pid}/answers"
    answered = await http.post(path, json={"call_id": "c1", "answer": "once"})
    assert answered.json() == {"given": True}
    assert kernel.permissions.answers == [(pid, "c1", "once")]
    wrong = await http.post(path, json={"call_id": "c9", "answer": "once"})
    assert wrong.status_code == 409
    assert (await http.post(path, json={"call_id": "c1", "answer": "maybe"})).status_code == 400
    other = await http.post(
        "/kernel/v1/processes/99/answers", json={"call_id": "c", "answer": "no"}
    )
    assert other.status_code == 404


async def test_grants_are_given_listed_and_taken_back(http):
    body = {"call": "files.*", "arguments": {"path": "/x"}, "patterns": {"to": "*@x.org"}}
    given = await http.post("/kernel/v1/grants", json=body)
    assert given.status_code == 201
    grant = given.json()
    assert (grant["call"], grant["arguments"], grant["pid"]) == ("files.*", {"path": "/x"}, 0)
    assert (await http.get("/kernel/v1/grants")).json()["grants"] == [grant]
    path = f"/kernel/v1/grants/{grant['id']}"
    assert (await http.delete(path)).json() == grant
    assert (await http.delete(path)).status_code == 404
    assert (await http.post("/kernel/v1/grants", json={})).status_code == 409


async def test_a_file_is_never_served_as_something_that_runs(http, kernel):
    id = "a" * 64
    kernel.artifacts.kept[id] = b"<script>alert(1)</script>"
    answer = await http.get(f"/kernel/v1/artifacts/{id}")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await http.get(f"/kernel/v1/artifacts/{'b' * 64}")).status_code == 404
    assert (await http.get("/kernel/v1/artifacts/..%2F..%2Fjournal.db")).status_code in (400, 404)


async def test_experts_are_listed_prepared_and_speak(http, kernel):
    row = {"name": "coder", "summary": "Codes.", "version": "1", "starters": [], "broken": ""}
    kernel.known_experts.append(row)
    assert (await http.get("/kernel/v1/experts")).json() == {"experts": [row]}
    assert (await http.post("/kernel/v1/experts/coder/front")).json() == {"prepared": True}
    assert (await http.post("/kernel/v1/experts/nobody/front")).status_code == 404
    made = await http.post("/kernel/v1/processes", json={"expert": "coder"})
    assert made.status_code == 201
    assert (await http.post("/kernel/v1/processes", json={"expert": "no"})).status_code == 404
