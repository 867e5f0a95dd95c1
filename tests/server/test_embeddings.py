"""``/v1/embeddings``, through the official client."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import numpy as np
import openai
import pytest

from llmos import limits
from llmos.errors import ModelCorrupt, RemoteDown, RemoteError, TextTooLong
from llmos.memory.embed_onnx import MiniLM
from llmos.memory.embed_remote import RemoteEmbedder
from llmos.memory.index import Index
from llmos.memory.passages import Passage


async def embed(client, given="Two words", model="numbers", **options):
    return await client.embeddings.create(model=model, input=given, **options)


async def test_a_text_becomes_a_vector_and_its_tokens_are_counted(client):
    answer = await embed(client, "Two words", encoding_format="float")
    [found] = answer.data
    assert (answer.object, answer.model, found.object, found.index) == (
        "list", "numbers", "embedding", 0,
    )  # fmt: skip
    assert np.linalg.norm(found.embedding) == pytest.approx(1, abs=1e-6)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (2, 2)


async def test_several_texts_come_back_in_their_order(client, kernel):
    texts = ["x" * n for n in range(1, limits.EMBED_PIECE + 4)]
    answer = await embed(client, texts)
    vectors = np.array([row.embedding for row in answer.data], np.float32)
    assert [row.index for row in answer.data] == list(range(len(texts)))
    assert np.abs(vectors - kernel.embedder.embed(texts)).max() == 0
    assert answer.usage.prompt_tokens == len(texts)
    assert kernel.embedder.asked[:2] == [limits.EMBED_PIECE, 3]


async def test_base64_holds_the_same_numbers(http):
    body = {"model": "numbers", "input": ["a", "bcd"]}
    plain = (await http.post("/v1/embeddings", json=body)).json()
    packed = (await http.post("/v1/embeddings", json=body | {"encoding_format": "base64"})).json()
    for one, other in zip(plain["data"], packed["data"], strict=True):
        numbers = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        assert numbers.tolist() == one["embedding"]


async def test_fields_that_mean_nothing_here_and_the_models_own_dimension_are_taken(client):
    answer = await embed(client, ["a"], dimensions=3, user="me")
    assert len(answer.data[0].embedding) == 3


@pytest.mark.parametrize(
    ("given", "options", "param", "words"),
    [
        ("", {}, "input", "at least 1"),
        ([], {}, "input", "at least 1"),
        (["a", ""], {}, "input[1]", "at least 1"),
        ([1, 2], {}, "input", "tokenizer|token"),
        ([[1, 2], [3]], {}, "input", "must be text"),
        (["a", 1], {}, "input[1]", "string"),
        (["a"] * (limits.EMBED_INPUTS + 1), {}, "input", str(limits.EMBED_INPUTS)),
        ("a", {"dimensions": 2}, "dimensions", "have 3 dimensions"),
        ("a", {"extra_body": {"truncate": True}}, "truncate", "truncate"),
        ("a", {"extra_body": {"encoding_format": "hex"}}, "encoding_format", "base64"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(client, given, options, param, words):
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        await embed(client, given, **options)
    assert refused.value.param == param


async def test_a_text_that_is_too_long_is_refused_with_both_counts_never_cut(client):
    texts = ["short"] * limits.EMBED_PIECE + ["word " * 9]
    with pytest.raises(openai.BadRequestError, match=r"9 tokens .* holds 8") as refused:
        await embed(client, texts)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == f"input[{limits.EMBED_PIECE}]"


async def test_another_model_is_not_found_and_the_one_there_is_named(client, kernel):
    with pytest.raises(openai.NotFoundError, match="'numbers'") as refused:
        await embed(client, model="text-embedding-3-small")
    assert refused.value.code == "model_not_found"
    kernel.embedder = None
    with pytest.raises(openai.NotFoundError, match="no embedder"):
        await embed(client)
    assert [model.id async for model in client.models.list()] == ["starter"]


@pytest.mark.parametrize(
    ("error", "status"), [(RemoteDown("It is down."), 502), (ModelCorrupt("It ends."), 503)]
)
async def test_an_embedder_that_fails_is_an_error_of_the_request(client, kernel, error, status):
    kernel.embedder.error = error
    with pytest.raises(openai.InternalServerError) as failed:
        await embed(client)
    assert failed.value.status_code == status
    kernel.embedder.error = None
    assert (await embed(client)).usage.total_tokens == 2


async def test_the_kernel_goes_on_while_vectors_are_computed(client, kernel, http):
    kernel.embedder.gate.clear()
    waiting = asyncio.create_task(embed(client))
    assert await asyncio.to_thread(kernel.embedder.begun.wait, 30)
    assert (await http.get("/v1/models")).status_code == 200
    kernel.embedder.gate.set()
    assert (await waiting).usage.total_tokens == 2


async def test_nothing_more_is_computed_for_a_client_that_is_gone(served, kernel):
    kernel.embedder.gate.clear()
    texts = ["a"] * (limits.EMBED_PIECE * 3)
    async with served.http() as gone:
        waiting = asyncio.create_task(
            gone.post("/v1/embeddings", json={"model": "numbers", "input": texts})
        )
        assert await asyncio.to_thread(kernel.embedder.begun.wait, 30)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with served.http() as http:  # the server has read that the other one went
        assert (await http.get("/v1/models")).status_code == 200
    kernel.embedder.gate.set()
    async with served.openai() as other:  # its turn comes after the other's
        assert (await embed(other)).usage.total_tokens == 2
    assert kernel.embedder.asked.count(limits.EMBED_PIECE) == 1


# --- full circle: llmos as the embedder of another llmos ----------------------------------------


LONG = "The harbour master wrote down every ship that came in. " * 60


@pytest.fixture
async def far(kernel, serving, tmp_path, embedder_weights, embedder_tokenizer):
    """A server with the real embedder, and an embedder that asks it."""
    near = kernel.embedder = MiniLM(embedder_weights, embedder_tokenizer)
    async with serving(kernel, tmp_path / "far" / "k.sock", None) as served:
        address = f"http://127.0.0.1:{served.port}/v1#{near.model}"
        remote = RemoteEmbedder(address, api_key="secret")
        yield remote, near
        remote.close()


async def test_a_kernels_vectors_are_the_same_over_the_wire(far):
    remote, near = far
    texts = ["A cat sleeps on the sofa.", "Grüße", *(f"text {n}" for n in range(40))]
    made = await asyncio.to_thread(remote.embed_counted, texts)
    mine = near.embed_counted(texts)
    assert remote.dimension == near.dimension == 384
    assert np.abs(made.vectors - mine.vectors).max() < 1e-6
    assert made.used == mine.used == sum(mine.tokens)


async def test_what_a_kernel_refuses_as_too_long_is_cut_by_the_other_or_passed_on(far):
    remote, near = far
    made = await asyncio.to_thread(remote.embed_counted, ["short", LONG])
    assert made.truncated == (False, True)
    assert float(made.vectors[1] @ near.embed([LONG])[0]) > 0.9
    with pytest.raises(TextTooLong, match=f"{near.token_count(LONG)} tokens .* holds 256") as error:
        await asyncio.to_thread(lambda: remote.embed_counted(["short", LONG], cut=False))
    assert error.value.at == 1


async def test_an_index_finds_by_meaning_with_another_kernels_embedder(far, tmp_path):
    remote, _ = far
    await asyncio.to_thread(remote.load)
    index = Index(tmp_path / "index", remote, chroma="off")
    await index.start()
    texts = ["A cat sleeps on the sofa.", "Interest rates rose again.", LONG]
    await index.put(
        [Passage(f"p{n}", "turn", 1, "process 1", float(n), text) for n, text in enumerate(texts)]
    )
    await index.settled()
    assert (await index.search("a pet at rest", k=1))[0].passage.id == "p0"
    assert (await index.search("boats arriving at the port", k=1))[0].passage.id == "p2"
    await index.close()


async def test_a_wrong_key_and_a_wrong_model_are_told(far, served):
    remote, near = far
    for address, key, words in (
        (remote.name, "wrong", "embedder_key"),
        (remote.name.replace(near.model, "other"), "secret", "'all-MiniLM-L6-v2'"),
    ):
        other = RemoteEmbedder(address, api_key=key)
        with pytest.raises(RemoteError) as refused:
            await asyncio.to_thread(other.load)
        assert words in str(refused.value)
        other.close()


async def test_the_route_takes_no_number_that_is_none(served):
    raw = json.dumps({"model": "numbers", "input": "a"})[:-1] + ', "dimensions": NaN}'
    async with served.http() as http:
        answer: httpx.Response = await http.post(
            "/v1/embeddings", content=raw, headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400


async def test_a_server_that_lies_leaves_one_line_without_a_traceback(served, kernel, caplog):
    kernel.embedder.error = RemoteError("The embedding server answers what cannot be used.")
    async with served.http() as http:
        for _ in range(3):
            answer = await http.post("/v1/embeddings", json={"model": "numbers", "input": "a"})
            assert answer.status_code == 502
    [line] = [r for r in caplog.records if "answers what cannot be used" in r.message]
    assert line.exc_info is None
