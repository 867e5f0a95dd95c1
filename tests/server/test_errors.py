"""Every error has OpenAI's form, whatever went wrong."""

from __future__ import annotations

import pytest

from llmos import errors
from llmos.server.errors import error_of

JSON = {"Content-Type": "application/json"}
CHAT = "/v1/chat/completions"


def is_error(answer, status, code):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    return error


async def test_an_unknown_address(http):
    is_error(await http.get("/v2/models"), 404, "unknown_url")


async def test_a_wrong_method_names_the_right_ones(http):
    answer = await http.put("/kernel/v1/processes/1")
    is_error(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET, PATCH"


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"model": "\xff"}', b"\xff\xfe", b"[" * 100_000, b'{"n": ' + b"1" * 5000 + b"}"],
    ids=["cut", "not UTF-8", "a byte order mark", "deep", "a huge number"],
)
async def test_a_body_that_is_not_json(http, body):
    is_error(await http.post(CHAT, content=body, headers=JSON), 400, "invalid_json")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"5"])
async def test_a_body_that_is_no_object(http, body):
    answer = await http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == 400
    assert "message" in answer.json()["error"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_does_not_have(http, value):
    body = '{"model": "starter", "messages": [{"role": "user", "content": ""}], "top_p": VALUE}'
    answer = await http.post(CHAT, content=body.replace("VALUE", value), headers=JSON)
    is_error(answer, 400, "invalid_json")


async def test_a_number_beyond_all_numbers_is_no_value(http):
    body = b'{"model": "starter", "messages": [{"role": "user", "content": ""}], "top_p": 1e999}'
    answer = await http.post(CHAT, content=body, headers=JSON)
    assert is_error(answer, 400, "invalid_value")["param"] == "top_p"


@pytest.mark.parametrize("place", ["content", "metadata", "schema"])
async def test_half_a_surrogate_pair_is_no_text(http, place):
    text = '"\\ud800"'
    content = text if place == "content" else '""'
    rest = ""
    if place == "metadata":
        rest = f', "metadata": {{{text}: {text}}}'
    if place == "schema":
        schema = f'{{"type": "object", "properties": {{{text}: {{"const": {text}}}}}}}'
        form = f'{{"type": "json_schema", "json_schema": {{"name": "x", "schema": {schema}}}}}'
        rest = f', "response_format": {form}'
    body = f'{{"model": "starter", "messages": [{{"role": "user", "content": {content}}}]{rest}}}'
    answer = await http.post(CHAT, content=body, headers=JSON)
    is_error(answer, 400, "invalid_json")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("pages/x", "'page' has not the right form. Such as p12.3."),
        ("files/x", "'passage' has not the right form. Such as f1-2.3."),
        ("forgetting?id=x", "'id' has not the right form. Such as m12 or p12.3."),
        ("search?query=%20", "'query' is empty."),
    ],
)
async def test_a_text_of_another_form_is_told_in_words(http, path, sentence):
    answer = await http.get(f"/kernel/v1/memory/{path}")
    assert is_error(answer, 400, "invalid_value")["message"] == sentence


async def test_a_field_of_a_body_of_another_form_is_told_in_words(http):
    answer = await http.post("/kernel/v1/memory/facts", json={"text": " "})
    assert is_error(answer, 400, "invalid_value")["message"] == "'text' is empty."
    answer = await http.post("/kernel/v1/mounts", json={"folder": "notes"})
    told = is_error(answer, 400, "invalid_value")["message"]
    assert told == "'folder' has not the right form. A path that begins with /."
    tool = {"type": "function", "function": {"name": "no name"}}
    body = {"model": "starter", "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    told = is_error(await http.post(CHAT, json=body), 400, "invalid_value")["message"]
    assert told == "'tools[0].function.name' must match the pattern ^[a-zA-Z0-9_-]{1,64}$."


async def test_a_body_of_another_type(http):
    answer = await http.post(CHAT, content=b"model=starter", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


async def test_a_defect_is_a_500_without_its_traceback(http, kernel, monkeypatch):
    def broken():
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(kernel, "stats", broken)
    answer = await http.get("/kernel/v1/stats")
    error = is_error(answer, 500, None)
    assert error["type"] == "server_error"
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.PromptTooLong(9, 8), 400),
        (errors.GrammarError("x"), 400),
        (errors.TemplateError("x"), 400),
        (errors.NoSuchProcess("x"), 404),
        (errors.ProcessEnded("x"), 409),
        (errors.KernelError("x"), 409),
        (errors.BudgetExceeded("x"), 429),
        (errors.EngineError("x"), 500),
        (errors.RemoteError("x"), 502),
        (errors.EngineStopped("x"), 503),
        (errors.StoreFull("x"), 507),
        (errors.StoreError("x"), 500),
        (errors.NotRemembered("x"), 400),
    ],
)
def test_the_kernel_s_errors_have_a_status_each(error, status):
    got, body = error_of(error)
    assert got == status
    assert body["error"]["code"] == error.code
    assert body["error"]["message"] == str(error)
