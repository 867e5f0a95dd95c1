"""A server as an embedder, and everything a server can do wrong.

Against llmos's own server: ``tests/server/test_embeddings.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from llmos import limits
from llmos.errors import ConfigError, LlmosError, RemoteDown, RemoteError, TextTooLong
from llmos.memory.embed import ModelEmbedder
from llmos.memory.embed_remote import RemoteEmbedder

ADDRESS = "http://there:1/v1#minilm"


class Server:
    """Answers as it should, or as ``wrong`` says; keeps what it was asked.

    Args:
        most: Words that a text may have; it refuses a request with a longer one.
        wrong: Makes of a right answer a wrong one.
    """

    def __init__(self, *, most: int = 10**6, wrong: Callable[[Any], Any] | None = None) -> None:
        self.most = most
        self.wrong = wrong
        self.asked: list[list[str]] = []
        self.keys: list[str] = []
        self.fails: Exception | httpx.Response | None = None
        self.dimension = 2

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url == "http://there:1/v1/embeddings"
        said = json.loads(request.content)
        assert said["model"] == "minilm"
        self.asked.append(said["input"])
        self.keys.append(request.headers.get("authorization", ""))
        if isinstance(self.fails, Exception):
            raise self.fails
        if self.fails is not None:
            return self.fails
        words = [len(text.split()) for text in said["input"]]
        if max(words) > self.most:
            message = f"This model's maximum context length is {self.most} tokens."
            return httpx.Response(400, json={"error": {"message": message}})
        data = [
            {
                "object": "embedding",
                "index": at,
                "embedding": [float(n), *[1.0] * (self.dimension - 1)],
            }
            for at, n in enumerate(words)
        ]
        answer: Any = {"object": "list", "data": data, "usage": {"prompt_tokens": sum(words)}}
        if self.wrong is not None:
            answer = self.wrong(answer)
        return httpx.Response(
            200, content=answer if isinstance(answer, bytes) else json.dumps(answer)
        )


class Clock:
    """Time that goes on when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def embedder(server: Server, **options: Any) -> RemoteEmbedder:
    return RemoteEmbedder(ADDRESS, transport=httpx.MockTransport(server), **options)


def directions(*words: int) -> np.ndarray:
    rows = np.array([[n, 1.0] for n in words], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_vectors_come_in_the_texts_order_with_length_one() -> None:
    remote: ModelEmbedder = embedder(Server(wrong=lambda a: {**a, "data": a["data"][::-1]}))
    vectors = remote.embed(["one", "two words", "now three words"])
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, directions(1, 2, 3))
    assert remote.embed([]).shape == (0, 2)


def test_the_dimension_is_learnt_and_the_name_says_where_and_which() -> None:
    remote = embedder(Server())
    assert (remote.dimension, remote.window, remote.model) == (0, 0, "minilm")
    assert remote.name == "http://there:1/v1#minilm"
    remote.load()
    assert remote.dimension == 2


def test_a_password_in_the_address_is_for_the_server_alone() -> None:
    remote = RemoteEmbedder(
        "http://me:secret@there:1/v1#m", transport=httpx.MockTransport(Server())
    )
    assert "secret" not in remote.name


def test_the_key_is_sent() -> None:
    server = Server()
    embedder(server, api_key="k").load()
    assert server.keys == ["Bearer k"]


def test_many_texts_go_in_several_requests_and_the_tokens_are_summed() -> None:
    server = Server()
    texts = ["a b"] * (limits.EMBED_REMOTE_BATCH + 1)
    made = embedder(server).embed_counted(texts)
    assert [len(texts) for texts in server.asked] == [limits.EMBED_REMOTE_BATCH, 1]
    assert (made.used, made.tokens) == (2 * len(texts), ())


@pytest.mark.parametrize(
    "address", ["http://there/v1", "http://#m", "http://[::1#m", "http:///v1#m"]
)
def test_an_address_without_host_or_model_is_a_wrong_setting(address: str) -> None:
    with pytest.raises(ConfigError, match="memory.embedder") as refused:
        RemoteEmbedder(address)
    assert "#model" in refused.value.remedy


def test_a_text_the_server_calls_too_long_is_cut_and_that_is_told() -> None:
    server = Server(most=4)
    made = embedder(server).embed_counted(["a b", "c", "d e f g h i j k l m n o", "p q r"])
    assert made.truncated == (False, False, True, False)
    assert np.allclose(made.vectors, directions(2, 1, 3, 3))


def test_a_text_that_must_not_be_cut_is_refused_in_the_servers_words() -> None:
    remote = embedder(Server(most=4))
    with pytest.raises(TextTooLong, match="maximum context length is 4 tokens") as refused:
        remote.embed_counted(["a b", "c", "d", "e f g h i j"], cut=False)
    assert refused.value.at == 3
    with pytest.raises(TextTooLong, match="characters long") as refused:
        remote.embed_counted(["a", "x" * (limits.EMBED_CHARS + 1)], cut=False)
    assert refused.value.at == 1


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(413, json={"error": "inputs must have less than 512 tokens. Given: 900"}),
        httpx.Response(500, json={"error": {"message": "input is too large to process."}}),
        httpx.Response(400, json={"error": {"code": "context_length_exceeded", "message": "No."}}),
        httpx.Response(400, json={"detail": "input exceeds the maximum number of tokens"}),
    ],
)
def test_each_server_has_its_own_words_for_too_long(refusal: httpx.Response) -> None:
    server = Server()
    server.fails = refusal
    with pytest.raises(TextTooLong):
        embedder(server).embed_counted(["a"], cut=False)
    with pytest.raises(RemoteError, match="takes no text") as refused:
        embedder(server).embed(["a" * 10**5])
    assert "memory.embedder" in refused.value.remedy
    assert len(server.asked) <= 2 + limits.EMBED_REMOTE_CUTS


@pytest.mark.parametrize(
    "said",
    [
        "You exceeded your current quota: tokens per minute.",
        "Request too large: exceeded token rate limit.",
    ],
)
def test_a_rate_limit_is_no_word_about_the_length_of_a_text(said: str) -> None:
    server = Server()
    server.fails = httpx.Response(429, json={"error": {"message": said}})
    with pytest.raises(RemoteDown, match="refused \\(429\\)"):
        embedder(server).embed(["a", "b", "c", "d"])
    assert len(server.asked) == 1


def replaced(value: Any) -> Callable[[Any], Any]:
    """The answer with the second text's vector replaced."""

    def wrong(answer: Any) -> Any:
        answer["data"][1]["embedding"] = value
        return answer

    return wrong


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda _: b"<html>", "no list of vectors"),
        (lambda _: b"[" * 100_000, "no list of vectors"),
        (lambda _: [], "no list of vectors"),
        (lambda _: {"data": [1, 2]}, "no list of vectors"),
        (lambda a: {"data": a["data"][:1]}, "1 vectors for 2 texts"),
        (lambda a: {"data": a["data"] * 2}, "4 vectors for 2 texts"),
        (lambda a: {"data": [a["data"][0]] * 2}, "which vector is which"),
        (lambda a: {"data": [{**row, "index": "0"} for row in a["data"]]}, "which vector is which"),
        (replaced([1.0]), "of the same length"),
        (replaced([]), "of the same length"),
        (replaced("AAAA"), "of the same length"),
        (replaced(None), "of the same length"),
        (replaced([float("nan"), 1.0]), "is no number"),
        (replaced([float("inf"), 1.0]), "is no number"),
        (replaced([10**400, 1.0]), "is no number"),
        (replaced(["1", "2"]), "is no number"),
        (replaced([[1.0], [2.0]]), "is no number"),
        (replaced([0.0, 0.0]), "no direction"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_sentence(wrong: Any, words: str) -> None:
    remote = embedder(Server(wrong=wrong))
    with pytest.raises(RemoteError, match=words) as refused:
        remote.embed(["a", "b"])
    assert "\n" not in str(refused.value)
    assert remote.dimension == 0


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EMBED_REMOTE_BYTES", 1000)
    with pytest.raises(RemoteError, match="too much") as refused:
        embedder(Server(wrong=lambda _: b" " * 2000)).load()
    assert "memory.embedder" in refused.value.remedy


def test_an_answer_that_trickles_in_is_given_up() -> None:
    clock = Clock()

    def trickle(_: httpx.Request) -> httpx.Response:
        def body() -> Any:
            while True:
                clock.now += 1
                yield b" "

        return httpx.Response(200, content=body())

    remote = RemoteEmbedder(ADDRESS, transport=httpx.MockTransport(trickle), clock=clock)
    with pytest.raises(RemoteDown, match="ReadTimeout"):
        remote.load()
    assert clock.now <= limits.EMBED_REMOTE_QUERY_S + 1


def test_a_server_whose_vectors_change_their_length_is_refused() -> None:
    server = Server()
    remote = embedder(server)
    remote.load()
    server.dimension = 3
    with pytest.raises(RemoteError, match="3 numbers, not of 2"):
        remote.embed(["a"])


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, RemoteError, "embedder_key"),
        (404, RemoteError, "its address and its model"),
        (301, RemoteError, "its address and its model"),
        (429, RemoteDown, "its own log"),
        (503, RemoteDown, "its own log"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(status: int, kind: type, words: str) -> None:
    server = Server()
    server.fails = httpx.Response(status, json={"error": {"message": "Not so."}})
    with pytest.raises(LlmosError, match=rf"refused \({status}\): Not so\.") as refused:
        embedder(server).load()
    assert type(refused.value) is kind
    assert words in refused.value.remedy


def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while() -> None:
    server, clock = Server(), Clock()
    remote = embedder(server, clock=clock)
    server.fails = httpx.ConnectError("refused")
    for _ in range(3):
        with pytest.raises(RemoteDown, match="cannot be reached"):
            remote.embed(["a"])
    assert len(server.asked) == 1
    server.fails = None
    clock.now += limits.EMBED_REMOTE_REST_S
    assert remote.embed(["a"]).shape == (1, 2)


def test_load_asks_a_server_that_is_left_alone() -> None:
    server = Server()
    remote = embedder(server, clock=Clock())
    server.fails = httpx.ReadTimeout("late")
    with pytest.raises(RemoteDown):
        remote.load()
    server.fails = None
    remote.load()
    assert remote.dimension == 2


def test_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    server = Server()
    embedder(server).embed(["half a pair \ud83d"])
    assert server.asked == [["half a pair ?"]]


def test_a_closed_one_says_so_in_a_sentence() -> None:
    remote = embedder(Server())
    remote.close()
    with pytest.raises(RemoteDown):
        remote.embed(["a"])


@pytest.mark.parametrize("number", [1e308, -1e308, 5e-324, 1e-200])
def test_enormous_and_tiny_numbers_are_a_direction_all_the_same(number: float) -> None:
    def scaled(answer: Any) -> Any:
        for row in answer["data"]:
            row["embedding"] = [number, number]
        return answer

    made = embedder(Server(wrong=scaled)).embed(["a", "b"])
    assert np.allclose(np.abs(made), np.sqrt(0.5))


def test_the_words_of_a_server_are_harmless_and_end_before_ours_begin() -> None:
    said = {"error": {"message": "maximum context\x1b[2J length exceeded"}}
    remote = embedder(lambda request: httpx.Response(400, json=said))
    with pytest.raises(TextTooLong) as refused:
        remote.embed_counted(["a"], cut=False)
    assert "\x1b" not in str(refused.value)
    assert "length exceeded. Split it" in str(refused.value)
