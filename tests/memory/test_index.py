"""The index as a whole: words and meaning fused, in the background, on real weights."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from llmos.errors import ModelMissing, StoreError
from llmos.memory.embed import CachedEmbedder
from llmos.memory.embed_onnx import MiniLM
from llmos.memory.index import Index
from llmos.memory.passages import Passage, Scope

TALK = [
    ("Caroline", "I adopted a puppy last weekend, a tiny beagle."),
    ("Melanie", "How sweet! Did you find a name already?"),
    ("Caroline", "We went for Waffles in the end."),
    ("Melanie", "My sister is getting married in Lisbon this June."),
    ("Caroline", "Will you fly there?"),
    ("Melanie", "By train, actually, I cannot stand airports."),
    ("Caroline", "The invoice ZX-4821 is still unpaid, remind me on Friday."),
    ("Melanie", "The physician told me to cut down on salt because of my blood pressure."),
    ("Caroline", "I finally repaired the bicycle, the chain had come off."),
    ("Melanie", "Our landlord raised the rent by eight percent."),
]


def talk(pid: int = 1) -> list[Passage]:
    """The conversation, each turn with its neighbours."""
    said = [text for _, text in TALK]
    return [
        Passage(
            f"p{pid}.{at}", "turn", pid, f"process {pid}", float(at), text,
            context="\n".join([*said[max(at - 1, 0) : at], *said[at + 1 : at + 2]]),
            speaker=speaker,
        )
        for at, (speaker, text) in enumerate(TALK)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def embedder(embedder_weights, embedder_tokenizer):
    return CachedEmbedder(MiniLM(embedder_weights, embedder_tokenizer))


@pytest.fixture
async def index(tmp_path, embedder):
    index = Index(tmp_path / "index", embedder, chroma="off")
    await index.start()
    yield index
    await index.close()


class Gate:
    """An embedder that waits for leave before each batch."""

    name, dimension = "gate", 4

    def __init__(self) -> None:
        self.leave = threading.Semaphore(0)
        self.calls = 0

    def embed(self, texts):
        assert self.leave.acquire(timeout=60)
        self.calls += 1
        return np.full((len(texts), 4), 0.5, np.float32)


class Refusing:
    """An embedder that refuses some texts, or all."""

    name, dimension = "refusing", 4

    def __init__(self, refused: str) -> None:
        self.refused = refused

    def embed(self, texts):
        if any(self.refused in text for text in texts):
            raise ModelMissing("The embedding model is not there.")
        return np.full((len(texts), 4), 0.5, np.float32)


async def ids(index: Index, query: str, *, k: int = 3, scope: Scope | None = None) -> list[str]:
    return [hit.passage.id for hit in await index.search(query, k=k, scope=scope or Scope())]


# --- finding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "id"),
    [
        ("Which pet does she have?", "p1.0"),  # by meaning: no word in common
        ("advice from the doctor about food", "p1.7"),
        ("What is the dog called?", "p1.2"),  # only its neighbours say that it is a dog
        ("ZX-4821", "p1.6"),  # by its letters: no meaning in it
        ("What did Melanie say about the wedding?", "p1.3"),
    ],
)
async def test_a_passage_is_found_by_meaning_by_its_neighbours_and_by_its_letters(index, query, id):
    await index.put(talk())
    await index.settled()
    assert id in await ids(index, query)


async def test_a_hit_tells_its_exact_cosine_and_its_share_of_words(index, embedder):
    await index.put(talk())
    await index.settled()
    query = "Did Caroline repair the bicycle?"
    hit = (await index.search(query))[0]
    assert hit.passage == talk()[8]
    question, text = embedder.embed([query, hit.passage.text])
    assert hit.similarity == pytest.approx(float(question @ text), abs=2e-3)
    assert hit.words is not None and 0.4 < hit.words < 1  # not the speaker's name
    assert await index.similar(query, ["p1.8", "unknown"]) == {
        "p1.8": pytest.approx(hit.similarity, abs=1e-6)
    }
    assert (await index.search("😀", k=1))[0].words is None


async def test_hits_come_best_first_and_no_more_than_asked_for(index):
    await index.put(talk())
    await index.settled()
    hits = await index.search("rent", k=4)
    assert len(hits) == 4 and hits[0].passage.id == "p1.9"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert await index.search("rent", k=0) == []


async def test_what_holds_all_words_comes_before_what_holds_none_also_without_its_vector(index):
    await index.put(talk())
    await index.settled()
    index.pause()  # the next has no vector, and the others have theirs
    said = "They put the salt, of all things, on the roof of the bicycle shed."
    await index.put([Passage("p9", "turn", 9, "process 9", 20.0, said)])
    hits = await index.search("salt shed pressure medicine bicycle doctor", k=20)
    assert hits[0].passage.id != "p9", "it holds some of the words only"
    hits = await index.search('"salt bicycle"', k=20)
    none = [at for at, hit in enumerate(hits) if not hit.words]
    [place] = [at for at, hit in enumerate(hits) if hit.passage.id == "p9"]
    assert hits[place].similarity is None and hits[place].words == 1.0
    assert place < min(none)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    index.resume()


async def test_a_search_stays_within_its_scope(index):
    await index.put([*talk(1), *talk(2), Passage("f1", "file", 0, "pets.md", 9.0, "Puppy care")])
    await index.settled()
    assert set(await ids(index, "puppy", k=30, scope=Scope(pids=(2,)))) == {
        f"p2.{at}" for at in range(len(TALK))
    }
    assert await ids(index, "puppy", scope=Scope(sources=("file",))) == ["f1"]
    only = Scope(only=frozenset(["p1.0", "p1.1"]), exclude=frozenset(["p1.1"]))
    assert await ids(index, "puppy", scope=only) == ["p1.0"]
    assert await ids(index, "puppy", scope=Scope(pids=())) == []
    assert await ids(index, "puppy", k=30, scope=Scope(since=9.0)) == ["f1", "p2.9", "p1.9"]


async def test_without_an_embedder_words_are_enough(tmp_path):
    index = Index(tmp_path / "index", None)
    await index.start()
    await index.put(talk())
    await index.settled()
    hit = (await index.search("bicycle"))[0]
    assert (hit.passage.id, hit.similarity, hit.words) == ("p1.8", None, 1.0)
    assert (index.progress().embedded, index.progress().chroma) == (0, "off")
    assert await index.similar("bicycle", ["p1.8"]) == {}
    await index.close()


async def test_a_search_of_an_empty_index_finds_nothing(index):
    assert await index.search("anything") == []


# --- in the background ------------------------------------------------------------------------


async def test_words_are_searchable_before_there_are_vectors(tmp_path):
    gate = Gate()
    index = Index(tmp_path / "index", gate, chroma="off")
    await index.start()
    await index.put(talk())
    assert await ids(index, "bicycle", k=1) == ["p1.8"]
    assert index.progress().embedded < index.progress().total == len(TALK)
    gate.leave.release(1000)
    await index.settled()
    assert index.progress().embedded == len(TALK)
    await index.close()


async def test_vectors_stand_still_until_everybody_resumed(tmp_path):
    gate = Gate()
    gate.leave.release(1000)
    index = Index(tmp_path / "index", gate, chroma="off")
    await index.start()
    index.pause()
    index.pause()
    await index.put(talk())
    settled = asyncio.create_task(index.settled())
    index.resume()
    await ids(index, "bicycle")  # searches go on
    assert gate.calls == 0 and not settled.done()
    index.resume()
    await settled
    assert gate.calls > 0
    await index.close()


async def test_what_had_no_vectors_gets_them_after_a_restart(tmp_path, embedder):
    first = Index(tmp_path / "index", embedder, chroma="off")
    await first.start()
    first.pause()
    await first.put(talk())
    await first.move("journal", 10)
    await first.close()
    again = Index(tmp_path / "index", embedder, chroma="off")
    await again.start()
    await again.settled()
    assert again.cursor("journal") == 10
    assert again.progress().embedded == len(TALK)
    assert "p1.0" in await ids(again, "Which pet does she have?")
    await again.close()


async def test_another_embedder_makes_all_vectors_anew_while_searches_go_on(
    tmp_path, index, embedder
):
    await index.put(talk())
    await index.settled()
    await index.close()
    gate = Gate()
    other = Index(tmp_path / "index", gate, chroma="off")
    await other.start()
    assert other.progress().embedded == 0
    assert await ids(other, "bicycle", k=1) == ["p1.8"]
    gate.leave.release(1000)
    await other.settled()
    assert (await other.search("bicycle"))[0].similarity == pytest.approx(1.0)
    await other.close()


async def test_an_embedder_that_fails_leaves_words_and_is_tried_again(tmp_path, caplog):
    embedder = Refusing("")
    index = Index(tmp_path / "index", embedder, chroma="off")
    await index.start()
    await index.put(talk())
    with pytest.raises(ModelMissing):
        await index.settled()
    assert await ids(index, "bicycle", k=1) == ["p1.8"]
    assert index.failing == "The embedding model is not there."
    embedder.refused = "no such text"
    await index.put([Passage("new", "fact", 0, "", 0.0, "The bicycle is green.")])
    await index.settled()
    assert index.progress().embedded == len(TALK) + 1
    assert index.failing == ""
    await index.close()


async def test_an_embedder_that_fails_at_every_search_is_one_line_in_the_log(tmp_path, caplog):
    embedder = Refusing("no such text")
    index = Index(tmp_path / "index", embedder, chroma="off")
    await index.start()
    await index.put(talk())
    await index.settled()
    embedder.refused = "bicycle"
    for _ in range(3):
        await index.search("an unheard of bicycle")
    lines = [r for r in caplog.records if "the embedder failed" in r.message]
    assert len(lines) == 1 and lines[0].exc_info is None
    assert index.failing == "The embedding model is not there."
    await index.search("landlord")
    assert index.failing == ""
    await index.close()


async def test_one_text_that_an_embedder_refuses_does_not_hold_up_the_others(tmp_path):
    index = Index(tmp_path / "index", Refusing("beagle"), chroma="off")
    await index.start()
    await index.put(talk())
    await index.settled()
    similar = await index.similar("x", [one.id for one in talk()])
    assert sorted(similar) == [f"p1.{at}" for at in range(2, len(TALK))]  # two quote the text
    assert await ids(index, "beagle", k=1) == ["p1.0"]
    await index.close()


# --- forgetting -------------------------------------------------------------------------------


@pytest.mark.parametrize("chroma", ["off", "embedded"])
async def test_a_forgotten_text_is_found_nowhere_under_the_folder(tmp_path, embedder, chroma):
    secret = "The passphrase is Quetzalcoatl-7731 and Zephyrine knows it."
    index = Index(tmp_path / "index", embedder, chroma=chroma, exact=0)
    await index.start()
    damaged = tmp_path / "index" / "index.db.broken"
    damaged.write_bytes(secret.encode())  # as put aside at a start
    await index.put([*talk(), Passage("s", "fact", 0, "", 1.0, secret, context=secret.upper())])
    await index.put([Passage("old", "fact", 0, "", 1.0, secret + " An old version.")])
    await index.put([Passage("old", "fact", 0, "", 1.0, "A new version.")])
    await index.settled(chroma=True)
    vector = embedder.embed([secret])[0]
    assert "s" in await ids(index, "Quetzalcoatl")
    await index.forget(["s", "unknown"])
    await index.settled(chroma=True)
    assert "s" not in await ids(index, "Quetzalcoatl passphrase", k=50)
    assert await index.similar(secret, ["s"]) == {}
    files = [file for file in (tmp_path / "index").rglob("*") if file.is_file()]
    there = b"".join(file.read_bytes() for file in files)
    for word in ("Quetzalcoatl", "etzalcoatl", "7731", "passphras", "ephyrin"):
        assert word.encode() not in there and word.lower().encode() not in there.lower()
    assert vector.astype(np.float16).tobytes() not in there
    assert b"beagle" in there  # what was not forgotten
    assert index.problems() == []
    await index.close()


async def test_forgetting_without_erasing_is_enough_not_to_be_found(index):
    await index.put(talk())
    await index.forget((one.id for one in talk()[:5]), erase=False)
    await index.settled()
    assert (index.progress().total, index.progress().embedded) == (5, 5)
    assert await ids(index, "beagle puppy", k=50, scope=Scope(until=5.0)) == []


async def test_a_passage_forgotten_while_it_is_embedded_stays_forgotten(tmp_path):
    gate = Gate()
    index = Index(tmp_path / "index", gate, chroma="off")
    await index.start()
    await index.put(talk())
    forgotten = asyncio.create_task(index.forget(["p1.8"]))
    await forgotten
    gate.leave.release(1000)
    await index.settled()
    assert index.progress().embedded == len(TALK) - 1
    assert index.problems() == []
    await index.close()


# --- looking after ----------------------------------------------------------------------------


async def test_a_damaged_file_is_begun_anew_and_fed_again(tmp_path, embedder, caplog):
    for _ in range(2):
        index = Index(tmp_path / "index", embedder, chroma="off")
        with caplog.at_level(logging.WARNING):
            await index.start()
        assert index.cursor("journal") == 0
        await index.put(talk())
        await index.move("journal", 10)
        await index.settled()
        assert "p1.0" in await ids(index, "Which pet does she have?")
        await index.close()
        (tmp_path / "index" / "index.db").write_bytes(os.urandom(50_000))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "damaged" in index.problems()[0]  # also before a start


async def test_problems_are_told_and_repaired_before_and_after_the_start(tmp_path, embedder):
    index = Index(tmp_path / "index", embedder, chroma="off")
    assert index.problems() == []
    await index.start()
    await index.put(talk())
    await index.settled()

    def harm() -> None:
        with index._words.writing() as db:
            db.execute("INSERT INTO vectors VALUES (999, x'00')")

    harm()
    assert len(await asyncio.to_thread(index.problems)) > 0
    await index.rebuild()
    await index.settled()
    assert await asyncio.to_thread(index.problems) == []
    assert index.progress().embedded == len(TALK)
    assert "p1.0" in await ids(index, "Which pet does she have?")
    harm()
    await index.close()

    idle = Index(tmp_path / "index", embedder, chroma="off")  # as fsck has it
    assert len(idle.problems()) > 0
    await idle.rebuild()
    assert idle.problems() == []
    await idle.start()
    await idle.settled()
    assert "p1.0" in await ids(idle, "Which pet does she have?")
    await idle.close()


async def test_an_index_that_is_not_open_says_so(tmp_path):
    index = Index(tmp_path / "index", None)
    with pytest.raises(StoreError, match="not open"):
        await index.search("x")
    await index.start()
    await index.close()
    await index.close()
    with pytest.raises(StoreError, match="not open"):
        await index.put(talk())


async def test_searches_writes_and_forgetting_go_on_at_once(index):
    await index.put(talk(1))

    async def work(pid: int) -> None:
        await index.put(talk(pid))
        assert f"p{pid}.8" in await ids(index, "bicycle", scope=Scope(pids=(pid,)))
        await index.forget([f"p{pid}.8"], erase=pid % 2 == 0)
        assert f"p{pid}.8" not in await ids(index, "bicycle", k=50)

    await asyncio.gather(*(work(pid) for pid in range(2, 8)))
    await index.settled()
    assert index.progress().total == 7 * len(TALK) - 6
    assert index.problems() == []


def test_importing_the_index_is_cheap():
    program = (
        "import sys, llmos.memory.index;"
        "print([m for m in ('chromadb', 'onnxruntime', 'tokenizers') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == "[]"
