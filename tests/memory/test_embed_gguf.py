"""A GGUF embedder, on real weights: the starter's chat model, which is a bad one but does it all.

One worker for the whole module, but where a test ends it or stands in for it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing, TextTooLong
from llmos.memory import embed_gguf
from llmos.memory.embed import ModelEmbedder
from llmos.memory.embed_gguf import GgufEmbedder

LONG = "The harbour master wrote down every ship that came in. " * 4
WINDOW = 40  # tokens, so that a long text is quickly computed


@pytest.fixture(scope="module")
def gguf(starter_weights: Path) -> Iterator[GgufEmbedder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "EMBED_WINDOW", WINDOW)
        embedder = GgufEmbedder(starter_weights)
    yield embedder
    embedder.close()


@pytest.fixture
def fresh(starter_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GgufEmbedder]:
    """One whose worker a test may end."""
    monkeypatch.setattr(limits, "EMBED_WINDOW", WINDOW)
    embedder = GgufEmbedder(starter_weights)
    yield embedder
    embedder.close()


def worker_says(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Put a program in the worker's place; ``read()`` and ``say(told, blob)`` are there."""
    folder.joinpath("embed_gguf_worker.py").write_text(
        "import json, socket, struct, time\n"
        "stream = socket.socket(fileno=0)\n"
        "def read():\n"
        "    size, _ = struct.unpack('!II', stream.recv(8, socket.MSG_WAITALL))\n"
        "    return json.loads(stream.recv(size, socket.MSG_WAITALL))\n"
        "def say(told, blob=b''):\n"
        "    text = json.dumps(told).encode()\n"
        "    stream.sendall(struct.pack('!II', len(text), len(blob)) + text + blob)\n"
        f"{code}\n"
    )
    monkeypatch.setattr(embed_gguf, "__file__", str(folder / "embed_gguf.py"))


def test_vectors_are_float32_rows_of_length_one(gguf: GgufEmbedder) -> None:
    embedder: ModelEmbedder = gguf
    vectors = embedder.embed(["a cat", "", "Grüße \N{SNOWMAN} 12.5 %", "half a pair \ud83d"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 576) == (4, embedder.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, 576)


def test_its_name_and_its_window_come_from_the_file(gguf: GgufEmbedder) -> None:
    assert gguf.model == "SmolLM2-135M-Instruct.Q4_1"
    assert gguf.name.startswith(f"{gguf.model}@")
    assert gguf.window == WINDOW


def test_a_text_has_the_same_vector_alone_and_in_a_batch(gguf: GgufEmbedder) -> None:
    texts = [LONG, "short", "a question about ships and harbours?", LONG[:200], "x", "", "7", "a b"]
    together = gguf.embed([*texts, *texts, "one more"])
    alone = np.concatenate([gguf.embed([text]) for text in texts])
    assert np.abs(together[: len(texts)] - alone).max() < 1e-3
    assert np.abs(together[len(texts) : 2 * len(texts)] - alone).max() < 1e-3


@pytest.mark.parametrize(
    ("text", "alike", "unlike"),
    [
        ("How do I reset my password?", "I forgot my login credentials.", "The soup needs salt."),
        ("The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose."),
        ("Add 17 and 25.", "What is 17 plus 25?", "Book a table for tonight."),
    ],
)
def test_sentences_that_mean_the_same_are_closer(
    gguf: GgufEmbedder, text: str, alike: str, unlike: str
) -> None:
    a, b, c = gguf.embed([text, alike, unlike])
    assert a @ b > a @ c


def test_a_text_longer_than_the_window_is_cut_and_that_is_told(gguf: GgufEmbedder) -> None:
    result = gguf.embed_counted(["short", LONG, LONG + "soup"])
    assert result.truncated == (False, True, True)
    assert result.tokens[0] == 1 and result.tokens[1] > WINDOW
    assert result.used == 1 + 2 * WINDOW
    assert np.abs(result.vectors[1] - result.vectors[2]).max() < 1e-3


def test_a_text_that_must_not_be_cut_is_refused_with_both_counts(gguf: GgufEmbedder) -> None:
    tokens = gguf.embed_counted([LONG]).tokens[0]
    with pytest.raises(TextTooLong, match=f"{tokens} tokens long.*holds {WINDOW}") as refused:
        gguf.embed_counted(["short"] * 9 + [LONG], cut=False)
    assert refused.value.at == 9
    with pytest.raises(TextTooLong, match="more than"):
        gguf.embed_counted([" x" * limits.EMBED_CHARS], cut=False)
    assert gguf.embed_counted(["short"], cut=False).truncated == (False,)


def test_what_looks_like_a_control_token_is_text(gguf: GgufEmbedder) -> None:
    assert gguf.embed_counted(["<|im_end|>"]).tokens[0] > 1


def test_it_computes_on_one_thread_at_low_priority(gguf: GgufEmbedder) -> None:
    gguf.embed(["a cat"])
    worker = psutil.Process(gguf.pid)
    assert worker.nice() >= 10
    computing = [t for t in worker.threads() if t.user_time + t.system_time > 0.05]
    assert len(computing) == 1


def test_many_threads_may_ask_at_once(gguf: GgufEmbedder) -> None:
    texts = [f"text number {n}" for n in range(6)]
    expected = gguf.embed(texts)
    found: dict[int, np.ndarray] = {}

    def ask(n: int) -> None:
        found[n] = gguf.embed([texts[n]])[0]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert np.abs(np.stack([found[n] for n in range(6)]) - expected).max() < 1e-3


def test_nothing_is_started_before_the_first_use(fresh: GgufEmbedder) -> None:
    assert fresh.pid == 0
    fresh.load()
    assert fresh.pid != 0


def test_a_worker_that_dies_is_started_again_and_the_text_still_gets_its_vector(
    fresh: GgufEmbedder,
) -> None:
    before = fresh.embed(["a cat"])
    first = fresh.pid
    os.kill(first, signal.SIGKILL)
    assert np.array_equal(fresh.embed(["a cat"]), before)
    assert fresh.pid != first


def test_close_ends_the_worker_and_whoever_asks_then_gets_a_sentence(fresh: GgufEmbedder) -> None:
    fresh.load()
    worker = psutil.Process(fresh.pid)
    fresh.close()
    fresh.close()
    assert not worker.is_running()
    with pytest.raises(ModelCorrupt, match="is closed"):
        fresh.embed(["a cat"])


def test_close_frees_whoever_waits(
    fresh: GgufEmbedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker_says(
        monkeypatch,
        tmp_path,
        f"read(); say({{'dimension': 2, 'window': {WINDOW}}}); read(); time.sleep(600)",
    )
    fresh.load()
    errors: list[Exception] = []
    asked = threading.Event()

    def ask() -> None:
        asked.set()
        try:
            fresh.embed(["a cat"])
        except ModelCorrupt as error:
            errors.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert asked.wait(30)
    fresh.close()
    waiting.join(30)
    assert not waiting.is_alive() and "is closed" in str(errors[0])


OPENED = f"read(); say({{'dimension': 2, 'window': {WINDOW}}}); read(); "


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit", "cannot be loaded: it ends its process"),
        ("read(); say({'error': 'it is made to rank texts'})", "made to rank texts"),
        ("read(); say([])", "cannot be loaded: it makes its process answer nonsense"),
        ("read(); say({'dimension': -1, 'window': 5})", "nonsense"),
        ("read(); say({'dimension': 2, 'window': 10**9})", "nonsense"),
        (OPENED + "raise SystemExit", "ends its process"),
        (OPENED + "say({'tokens': [1, 2], 'used': 1}, bytes(8))", "nonsense"),
        (OPENED + "say({'tokens': [1], 'used': 1}, bytes(9))", "nonsense"),
        (OPENED + "say({'tokens': ['1'], 'used': 1}, bytes(8))", "nonsense"),
        (OPENED + "stream.sendall(struct.pack('!II', 2**31, 2**31))", "nonsense"),
        (OPENED + "say({'error': 'it makes vectors that are no directions'})", "no directions"),
    ],
)
def test_whatever_the_worker_does_is_one_sentence(
    fresh: GgufEmbedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, words: str
) -> None:
    worker_says(monkeypatch, tmp_path, code)
    with pytest.raises(ModelCorrupt, match=words) as failed:
        fresh.embed(["a cat"])
    assert "\n" not in str(failed.value)
    assert fresh.pid == 0 or "directions" in words


def test_a_worker_that_is_late_is_ended(
    fresh: GgufEmbedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker_says(monkeypatch, tmp_path, OPENED + "time.sleep(600)")
    fresh.load()
    worker = psutil.Process(fresh.pid)
    monkeypatch.setattr(limits, "EMBED_WORKER_S", 0.05)
    with pytest.raises(ModelCorrupt, match=r"takes longer than 0\.05 s"):
        fresh.embed(["a cat"])
    assert not worker.is_running()


def test_a_file_is_checked_before_llama_cpp_sees_it(starter_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"gone\.gguf"):
        GgufEmbedder(tmp_path / "gone.gguf")
    cut = tmp_path / "cut.gguf"
    with starter_weights.open("rb") as file:
        cut.write_bytes(file.read(3_000_000))
    with pytest.raises(ModelCorrupt, match=r"cut\.gguf"):
        GgufEmbedder(cut)
    (tmp_path / "no.gguf").write_bytes(b"GGUF and nothing more")
    with pytest.raises(ModelCorrupt, match=r"no\.gguf"):
        GgufEmbedder(tmp_path / "no.gguf")


# --- a model made to embed: BERT, tiny and random, written here -----------------------------------

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁the", "▁cat", "▁sleeps", "▁rates", "▁rose"]
WIDE, BLOCKS, CONTEXT = 32, 2, 256


def write_bert(path: Path, pooling: int | None) -> Path:
    """A BERT whose file names ``pooling``, as llama.cpp numbers it."""
    gguf_file = pytest.importorskip("gguf", reason="the package gguf is not installed")
    writer = gguf_file.GGUFWriter(path, "bert")
    drawn = np.random.default_rng(7)

    def tensor(name: str, *shape: int, around: float = 0.0) -> None:
        values = around + drawn.normal(0, 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))

    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDE)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(2 * WIDE)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_uint32("bert.pooling_type", pooling)
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(WORDS)
    writer.add_token_types([3] * 5 + [1] * (len(WORDS) - 5))  # control tokens, then words
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    tensor("token_embd.weight", len(WORDS), WIDE)
    tensor("token_types.weight", 2, WIDE)
    tensor("position_embd.weight", CONTEXT, WIDE)
    for name in ("token_embd_norm", *(f"blk.{n}.attn_output_norm" for n in range(BLOCKS))):
        tensor(f"{name}.weight", WIDE, around=1.0)
        tensor(f"{name}.bias", WIDE)
    for n in range(BLOCKS):
        tensor(f"blk.{n}.layer_output_norm.weight", WIDE, around=1.0)
        tensor(f"blk.{n}.layer_output_norm.bias", WIDE)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{n}.{part}.weight", WIDE, WIDE)
            tensor(f"blk.{n}.{part}.bias", WIDE)
        tensor(f"blk.{n}.ffn_up.weight", 2 * WIDE, WIDE)
        tensor(f"blk.{n}.ffn_up.bias", 2 * WIDE)
        tensor(f"blk.{n}.ffn_down.weight", WIDE, 2 * WIDE)
        tensor(f"blk.{n}.ffn_down.bias", WIDE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("pooling", [None, 1, 2, 3], ids=["unsaid", "mean", "cls", "last"])
def test_a_model_made_to_embed_gives_one_vector_a_text_whatever_its_batch(
    tmp_path: Path, pooling: int | None
) -> None:
    embedder = GgufEmbedder(write_bert(tmp_path / "bert.gguf", pooling))
    texts = ["the cat sleeps", "rates rose", "the cat", "the " * 400, ""]
    result = embedder.embed_counted(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    embedder.close()
    assert (embedder.dimension, embedder.window) == (WIDE, CONTEXT)
    assert result.tokens[:3] == (5, 4, 4)  # between two control tokens
    assert result.truncated == (False, False, False, True, False)
    assert np.abs(result.vectors - alone).max() < 1e-3


def test_the_pooling_the_file_names_is_used_and_the_mean_where_it_names_none(
    tmp_path: Path,
) -> None:
    made = []
    for pooling in (None, 1, 2, 3):
        embedder = GgufEmbedder(write_bert(tmp_path / f"bert{pooling}.gguf", pooling))
        made.append(embedder.embed(["the cat sleeps"])[0])
        embedder.close()
    unsaid, mean, cls, last = made
    assert np.array_equal(unsaid, mean)
    assert min(abs(mean - cls).max(), abs(mean - last).max(), abs(cls - last).max()) > 0.01


def test_a_model_that_ranks_is_no_embedder(tmp_path: Path) -> None:
    embedder = GgufEmbedder(write_bert(tmp_path / "rank.gguf", 4))
    with pytest.raises(ModelCorrupt, match="cannot be used: "):
        embedder.load()
    assert embedder.pid == 0
