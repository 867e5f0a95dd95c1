"""Which embedder the settings ask for; and an index that goes from one to another."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from llmos import limits
from llmos.config import MemoryConfig
from llmos.errors import ConfigError, LlmosError, ModelCorrupt, ModelMissing, RemoteDown
from llmos.memory.embed import ModelEmbedder
from llmos.memory.embed_gguf import GgufEmbedder
from llmos.memory.embed_onnx import MiniLM, OnnxEmbedder
from llmos.memory.embed_remote import RemoteEmbedder
from llmos.memory.embedders import choose, load_when_back, starter
from llmos.memory.index import Index
from llmos.memory.passages import Passage

TEXTS = ["A cat sleeps on the sofa.", "Interest rates rose.", "harbour " * 300]


def wanted(text: str | Path, **more: str) -> ModelEmbedder:
    embedder = choose(MemoryConfig(embedder=str(text), **more))
    assert embedder is not None
    return embedder


@pytest.fixture
def folder(tmp_path: Path, embedder_weights: Path, embedder_tokenizer: Path) -> Path:
    """MiniLM as sentence-transformers lays it out."""
    home = tmp_path / "my-minilm"
    (home / "onnx").mkdir(parents=True)
    (home / "1_Pooling").mkdir()
    shutil.copy(embedder_weights, home / "onnx" / "model.onnx")
    with zipfile.ZipFile(embedder_tokenizer) as archive:
        (home / "tokenizer.json").write_bytes(archive.read("tokenizer.json"))
    pooling(home, mean_tokens=True)
    (home / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (home / "modules.json").write_text(json.dumps(modules))
    return home


def pooling(home: Path, **on: bool) -> None:
    flags = {f"pooling_mode_{name}": on.get(name, False) for name in ("cls_token", "max_tokens")}
    flags |= {f"pooling_mode_{name}": value for name, value in on.items()}
    (home / "1_Pooling" / "config.json").write_text(json.dumps(flags))


# --- the setting ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["starter", "embedder"])
def test_the_starter_is_the_default_and_has_a_name_in_the_catalog(
    name: str, embedder_weights: Path, embedder_tokenizer: Path
) -> None:
    assert MemoryConfig().embedder == "starter"
    assert isinstance(wanted(name), MiniLM)


def test_off_is_none() -> None:
    assert choose(MemoryConfig(embedder="off")) is None


def test_a_folder_gives_the_vectors_that_the_model_gives(folder: Path) -> None:
    embedder = wanted(folder)
    embedder.load()
    assert (embedder.model, embedder.dimension, embedder.window) == ("my-minilm", 384, 256)
    assert np.array_equal(embedder.embed(TEXTS), starter().embed(TEXTS))


@pytest.mark.parametrize("place", ["onnx/model.onnx", "model.onnx", "tiny.onnx"])
def test_a_file_with_its_tokenizer_beside_it_or_above_is_an_embedder(
    folder: Path, place: str
) -> None:
    if place != "onnx/model.onnx":
        shutil.move(folder / "onnx" / "model.onnx", folder / place)
    for path in (folder / place, folder):
        embedder = wanted(path)
        assert isinstance(embedder, OnnxEmbedder)
        assert embedder.embed(TEXTS[:1]).shape == (1, 384)
        assert embedder.model == ("tiny" if place == "tiny.onnx" else "my-minilm")


def test_the_pooling_that_the_folder_names_is_used(folder: Path) -> None:
    mean = wanted(folder)
    pooling(folder, cls_token=True)
    cls = wanted(folder)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    last = wanted(folder)
    vectors = [embedder.embed([*TEXTS, "short"]) for embedder in (mean, cls, last)]
    assert len({embedder.name for embedder in (mean, cls, last)}) == 3  # never compared
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(vectors[one] - vectors[other]).max() > 0.01
    for embedder, together in zip((mean, cls, last), vectors, strict=True):
        assert np.abs(embedder.embed(["short"])[0] - together[-1]).max() < 1e-3


def test_the_window_is_the_smallest_that_a_file_names(folder: Path) -> None:
    (folder / "sentence_bert_config.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    (folder / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 512}')
    assert wanted(folder).window == 512
    (folder / "config.json").write_text(
        '{"model_type": "xlm-roberta", "max_position_embeddings": 514}'
    )
    assert wanted(folder).window == 512
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 128}')
    assert wanted(folder).window == 128
    (folder / "config.json").write_text('{"max_position_embeddings": 8192}')
    (folder / "tokenizer_config.json").unlink()
    assert wanted(folder).window == limits.EMBED_WINDOW
    (folder / "config.json").unlink()
    assert wanted(folder).window == limits.EMBED_TOKENS


def test_a_gguf_file_is_an_embedder_by_path_and_by_name(home: Path, starter_weights: Path) -> None:
    assert isinstance(wanted(starter_weights), GgufEmbedder)
    (home / "models").mkdir()
    (home / "models" / "Mine.gguf").symlink_to(starter_weights)
    assert wanted("mine").model == "Mine"


def test_an_address_is_an_embedder_and_its_key_a_setting_of_its_own() -> None:
    embedder = wanted("http://127.0.0.1:9/v1#m", embedder_key="k")
    assert isinstance(embedder, RemoteEmbedder)
    with pytest.raises(RemoteDown):
        embedder.load()


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("no such model", ModelMissing, "no model called"),
        ("/no/such/folder", ModelMissing, "/no/such/folder"),
        ("/no/such.onnx", ModelMissing, "/no/such.onnx"),
        ("/no/such.gguf", ModelMissing, "/no/such.gguf"),
        ("whisper-tiny", LlmosError, "whisper-tiny"),
        ("http://here/v1", ConfigError, "no server's address"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_a_remedy(text: str, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words) as refused:
        wanted(text)
    assert "\n" not in str(refused.value) and refused.value.remedy


def test_an_empty_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory.embedder is empty"):
        MemoryConfig(embedder=" ")


def test_a_chat_model_of_the_catalog_is_no_embedder(starter_weights: Path) -> None:
    from llmos.models import catalog

    other = next(e for e in catalog.entries() if e.purpose == "chat" and e.name != "starter")
    with pytest.raises(LlmosError) as refused:
        wanted(other.name)
    assert refused.value.remedy


def test_what_a_folder_lacks_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "other.json")
    with pytest.raises(ModelMissing, match=r"tokenizer\.json"):
        wanted(folder)
    shutil.move(folder / "onnx" / "model.onnx", folder / "a.onnx")
    shutil.copy(folder / "a.onnx", folder / "b.onnx")
    with pytest.raises(ModelMissing, match=r"a\.onnx, b\.onnx"):
        wanted(folder)
    (folder / "a.onnx").unlink()
    (folder / "b.onnx").unlink()
    with pytest.raises(ModelMissing, match="no ONNX model"):
        wanted(folder)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', "max_tokens"),
        ("1_Pooling/config.json", '{"pooling_mode": "weightedmean"}', "weightedmean"),
        ("1_Pooling/config.json", "{", "cannot be read"),
        ("modules.json", '[{"type": "sentence_transformers.models.Dense"}]', "Dense"),
        ("config.json", "[" * 100_000, "cannot be read"),
        ("config.json", " " * 2_000_000, "cannot be read"),
    ],
)
def test_what_would_make_other_vectors_than_the_models_is_refused(
    folder: Path, file: str, text: str, words: str
) -> None:
    (folder / file).write_text(text)
    with pytest.raises(ModelCorrupt, match=words):
        wanted(folder)


def test_what_else_stands_in_its_files_is_no_matter(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": null}')
    (folder / "modules.json").write_text("{}")
    assert wanted(folder).window == limits.EMBED_TOKENS


# --- a server that is late --------------------------------------------------------------------


class Late:
    """An embedder whose server is down for some tries."""

    name = model = "late"
    window = 0

    def __init__(self, *errors: LlmosError) -> None:
        self.dimension = 0
        self.errors = list(errors)
        self.tries = 0

    def load(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        self.dimension = 384

    def embed(self, texts: list[str]) -> np.ndarray:
        return starter().embed(texts)


async def test_vectors_follow_when_a_server_is_back(
    tmp_path: Path,
    embedder_weights: Path,
    embedder_tokenizer: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "INDEX_RETRY_S", 0.0)
    late = Late(RemoteDown("It is down."), LlmosError("It refuses."))
    index = Index(tmp_path / "index", None, chroma="off")
    await index.start()
    await index.put(passages())
    assert [hit.passage.id for hit in await index.search("sofa")] == ["p1"]  # by words
    assert await index.search("a pet at rest") == []
    await load_when_back(late, lambda: index.use(late))
    await index.settled()
    assert late.tries == 3
    assert (await index.search("a pet at rest"))[0].passage.id == "p1"
    await index.close()


# --- from one embedder to another -------------------------------------------------------------


def passages() -> list[Passage]:
    said = ["A cat sleeps on the sofa.", "Interest rates rose again.", "The soup needs salt."]
    return [
        Passage(f"p{n}", "turn", 1, "process 1", float(n), text) for n, text in enumerate(said, 1)
    ]


class Gated:
    """The starter's chat model as an embedder, that waits for leave before it computes."""

    def __init__(self, embedder: GgufEmbedder) -> None:
        self.leave = threading.Event()
        self.name = embedder.name
        self._embedder = embedder

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed(self, texts: list[str]) -> np.ndarray:
        assert self.leave.wait(60)
        return self._embedder.embed(texts)


async def test_another_embedder_makes_all_vectors_anew_while_words_go_on_finding(
    tmp_path: Path, embedder_weights: Path, embedder_tokenizer: Path, starter_weights: Path
) -> None:
    first = Index(tmp_path / "index", starter(), chroma="off")
    await first.start()
    await first.put(passages())
    await first.settled()
    assert (await first.search("a pet at rest"))[0].passage.id == "p1"  # by meaning
    await first.close()

    gguf = GgufEmbedder(starter_weights)
    gguf.load()
    gated = Gated(gguf)
    second = Index(tmp_path / "index", gated, chroma="off")
    await second.start()
    assert (second.progress().embedded, second.progress().total) == (0, 3)
    assert [hit.passage.id for hit in await second.search("interest")] == ["p2"]
    gated.leave.set()
    await second.settled()
    assert second.progress().embedded == 3
    hit = (await second.search("The soup needs more salt."))[0]
    question, text = gguf.embed(["The soup needs more salt.", passages()[2].text])
    assert hit.passage.id == "p3"
    assert hit.similarity == pytest.approx(float(question @ text), abs=2e-3)  # of the new space
    await second.close()

    off = Index(tmp_path / "index", None, chroma="off")  # and none leaves them alone
    await off.start()
    assert [hit.passage.id for hit in await off.search("sofa")] == ["p1"]
    await off.close()
    third = Index(tmp_path / "index", gated, chroma="off")
    await third.start()
    assert third.progress().embedded == 3
    await third.close()
    gguf.close()


async def test_a_server_that_goes_down_and_comes_back_leaves_nothing_without_a_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Shaky:
        name, dimension = "shaky", 4

        def __init__(self) -> None:
            self.down = True
            self.asked = asyncio.Event()
            self.loop = asyncio.get_running_loop()
            self.tries = 0

        def embed(self, texts: list[str]) -> np.ndarray:
            self.tries += 1
            if self.tries == 3:
                self.loop.call_soon_threadsafe(self.asked.set)
            if self.down:
                raise RemoteDown("It is down.")
            return np.full((len(texts), 4), 0.5, np.float32)

    monkeypatch.setattr(limits, "INDEX_RETRY_S", 0.0)
    shaky = Shaky()
    index = Index(tmp_path / "index", shaky, chroma="off")
    await index.start()
    await index.put(passages())
    await asyncio.wait_for(shaky.asked.wait(), 60)  # tried again without anything new
    with pytest.raises(RemoteDown):
        await index.settled()
    shaky.down = False
    while True:
        try:
            await index.settled()
            break
        except RemoteDown:
            await asyncio.sleep(0)
    assert index.progress().embedded == 3
    assert sum("no vectors for now" in line.message for line in caplog.records) <= 2
    await index.close()
