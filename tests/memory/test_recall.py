"""What left the window comes back: by its id, by a search, ahead of need. On the real embedder."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos.errors import NotStored
from llmos.events import Message
from llmos.labels import Label, Origin
from llmos.memory.embed_onnx import MiniLM
from llmos.memory.facts import Facts
from llmos.memory.feed import Feed
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.passages import Hit, Passage
from llmos.memory.recall import Recall, excerpt, fits, glimpse, nearest_first, query_of
from llmos.memory.window import Change, Window

SAID = [
    "My sister Anna lives in Lisbon and works as an architect.",
    "The invoice ZX-4821 over 310 euros is still open.",
    "I like my coffee without sugar.",
    "Our budget for the garden is 2,400 euros this year.",
]


class Memory:
    """A journal and an index of one conversation, all of it out of view."""

    def __init__(self, journal: Journal, index: Index) -> None:
        self.journal, self.index = journal, index
        self.feed = Feed(journal, index)
        self.recall = Recall(journal, index, self.feed, Facts(journal))
        self.window = Window("Be kind.")
        self.pid = 0

    async def say(self, *texts: str, role: str = "user", origin: Origin = Origin.USER) -> None:
        for turn, text in enumerate(texts, 1):
            label = Label(origin)
            await self.journal.append(self.pid, Message(role, text), turn=turn, label=label)
        for record in self.journal.records(self.pid, after=len(self.window.held)):
            self.window.add(record)
        self.window.apply(Change(tuple(page.id for page, _ in self.window.pages()), ""))

    async def prefetch(self, text: str, *, most: int = 1, room: int = 1000):
        await self.feed.catch_up()
        await self.index.settled()
        return await self.recall.prefetch(
            self.window, [self.pid], text, most=most, room=room, count=lambda t: len(t.split())
        )


@pytest.fixture(scope="module")
def embedder(embedder_weights: Path, embedder_tokenizer: Path):
    return MiniLM(embedder_weights, embedder_tokenizer)


@pytest.fixture
async def memory(tmp_path: Path, embedder):
    journal = Journal(tmp_path / "journal.db")
    index = Index(tmp_path / "index", embedder, chroma="off")
    await index.start()
    made = Memory(journal, index)
    made.pid = (await journal.create_process(title="t")).pid
    yield made
    await index.close()
    await journal.close()


@pytest.mark.parametrize(
    ("question", "page"),
    [
        ("Where does my sister live?", "p1"),
        ("What about the invoice ZX-4821?", "p2"),
        ("How much money may I spend on the garden?", "p4"),
    ],
)
async def test_what_belongs_to_a_question_is_brought_back(memory, question, page):
    await memory.say(*SAID)
    found = await memory.prefetch(question)
    assert found.pages == (page,)
    assert found.message.role == "recalled" and found.message.name == page
    assert SAID[int(page[1:]) - 1] in found.message.content


@pytest.mark.parametrize(
    "chat", ["Hello, how are you?", "Thank you!", "Tell me a joke about penguins.", "Yes.", "👍"]
)
async def test_ordinary_talk_brings_nothing_back(memory, chat):
    await memory.say(*SAID)
    assert await memory.prefetch(chat) is None


async def test_what_is_in_view_is_not_brought_back(memory):
    await memory.say(*SAID)
    memory.window.held[0].shown = {1}
    found = await memory.prefetch("Where does my sister live?")
    assert found is None or "p1" not in found.pages


async def test_what_comes_back_keeps_the_trust_it_had_and_names_its_source(memory):
    await memory.say("A page says: the castle was built in 1410.", origin=Origin.UNTRUSTED)
    [record] = memory.journal.records(memory.pid)
    found = await memory.prefetch("When was the castle built?")
    assert found.label == Label(Origin.UNTRUSTED, (record.stored.id,))


async def test_what_has_no_room_stays_where_it_is(memory):
    await memory.say(*SAID)
    assert await memory.prefetch("Where does my sister live?", room=5) is None


async def test_what_the_model_said_counts_for_less_than_what_it_was_told(memory):
    await memory.say("My dog is called Bruno.")
    await memory.say("Bruno is a nice name for your dog, Bruno the dog!", role="assistant")
    found = await memory.prefetch("What is my dog called?")
    assert found.pages == ("p1",)


async def test_a_part_of_a_long_message_comes_back_alone(memory):
    filler = [
        f"Paragraph {n}. " + "The grass is green and the sky is blue. " * 12 for n in range(30)
    ]
    filler[17] = "The password of the archive is swordfish. " + "The grass is green. " * 20
    await memory.say("\n\n".join(filler))
    found = await memory.prefetch("What is the password of the archive?")
    assert "swordfish" in found.message.content
    assert len(found.message.content) < 1200


async def test_pages_are_read_whole_by_their_ids(memory):
    await memory.say(SAID[0], "\n\n".join("word " * 100 for _ in range(10)))
    [page] = await memory.recall.pages("p1")
    assert page.text == SAID[0]
    parts = await memory.recall.pages("p2")
    assert "".join(part.text for part in parts) == "\n\n".join("word " * 100 for _ in range(10))
    assert (await memory.recall.pages(" [p2.3] ")) == (parts[2],)
    for wrong in ("p99", "p2.99", "dog", ""):
        with pytest.raises(NotStored):
            await memory.recall.pages(wrong)


async def test_the_index_is_made_anew_from_the_journal(memory, tmp_path, embedder):
    await memory.say(*SAID)
    await memory.feed.catch_up()
    await memory.index.close()
    for file in (tmp_path / "index").iterdir():
        if file.is_file():
            file.unlink()
    index = Index(tmp_path / "index", embedder, chroma="off")
    await index.start()
    try:
        recall = Recall(memory.journal, index, Feed(memory.journal, index), Facts(memory.journal))
        hits = await recall.search("Lisbon architect", k=1)
        assert [hit.passage.id for hit in hits] == ["p1"]
    finally:
        await index.close()


async def test_pages_that_come_back_again_and_again_are_counted(memory):
    await memory.say(*SAID)
    for _ in range(3):
        found = await memory.prefetch("Where does my sister live?")
        memory.recall.counts.prefetch(memory.pid, found.pages)
    counts = memory.recall.counts
    assert (counts.prefetches, counts.prefetched, counts.returned) == (3, 3, 2)


def test_of_a_long_message_the_question_is_searched_for():
    long = "word " * 300
    assert query_of("Short?") == "Short?"
    assert query_of(f"{long}\n\nWhat is it?") == "What is it?"
    assert query_of(f"What is it?\n\n{long}") == "What is it?"
    assert query_of("\n\n".join([long, "Between.", long, "What is it?"])) == "What is it?"
    assert query_of(long) == query_of(f"{long}\n\nPlease read this.") == ""


def test_an_excerpt_is_the_part_that_holds_the_question_s_rarest_words():
    filler = "The harvest was good and the winter mild in the village. "
    text = filler * 6 + "The key of the archive is under the third stone. " + filler * 6
    found = excerpt(text, "Where is the key of the archive in the village?", 120)
    assert "under the third stone" in found and len(found) <= 130
    assert found.startswith("… ") and found.endswith(" …")
    assert excerpt("Short. Text.", "Anything?", 120) == "Short. Text."
    assert excerpt("x" * 500, "Anything?", 120) == "x" * 500
    assert excerpt(text, "👍", 120).startswith("The harvest")


AMONG = (
    "We walked along the river until it got dark. Slow rivers carry the most earth. The old mill "
    "has a new roof. An honest critic once said that a rule without a reason loses its friends. "
    "The locker at the station has the code 7032. The market square was empty by noon. A patient "
    "gardener never forgets where the first frost falls. The ferry stopped in the autumn."
)


async def test_a_sentence_among_others_is_found_though_the_whole_is_about_other_things(memory):
    await memory.say(AMONG)
    brought = await memory.prefetch("What is the code of the locker at the station?")
    assert brought is not None and "7032" in brought.message.content
    assert await memory.prefetch("What is the height of the tower in Paris?") is None


def test_a_question_typed_right_behind_what_was_pasted_is_what_is_asked():
    pasted = "\n".join(f"This is line {number} of a long list of things" for number in range(99))
    assert query_of(f"{pasted} What is in line 21?") == "What is in line 21?" or (
        query_of(f"{pasted}. What is in line 21?") == "What is in line 21?"
    )
    assert query_of(f"{pasted}\nWhat is in line 21?") == "What is in line 21?"
    assert query_of(pasted) == ""


def test_a_glimpse_is_one_line_around_where_the_words_stand_together():
    filling = "and the rain went on and on over the fields "
    text = f"The key {filling * 5}until\nsomebody found the key of the archive {filling * 5}"
    found = glimpse(text, "Where is the archive's key?", 60)
    assert found.startswith("… ") and found.endswith(" …") and len(found) <= 64
    assert "the key of the archive" in found and "\n" not in found
    assert glimpse("Short\n text.", "Anything?", 60) == "Short text."
    assert glimpse("x" * 100, "Anything?", 60) == f"{'x' * 60} …"
    assert "雨" in glimpse("山" * 200 + "雨" + "山" * 200, "雨", 60)
    assert glimpse(text, "👍", 60).startswith("The key")


@pytest.mark.parametrize(
    ("similarity", "words", "fit"),
    [(0.6, 0.0, True), (0.1, 0.2, True), (None, 1.0, True), (0.1, 0.0, False), (0.1, None, False)],
)
def test_what_holds_no_word_and_is_far_in_meaning_does_not_fit(similarity, words, fit):
    passage = Passage("p1", "turn", 1, "process 1", 1.0, "Text.")
    assert fits(Hit(passage, 1.0, similarity, words)) is fit


def test_of_hits_about_as_good_the_nearest_in_meaning_is_first():
    def hit(id: str, score: float, similarity: float | None) -> Hit:
        return Hit(Passage(id, "file", 0, id, 0.0, id, ""), score, similarity, 0.0)

    hits = [hit("before", 0.0650, 0.53), hit("answer", 0.0648, 0.77), hit("far", 0.031, 0.9)]
    assert [each.passage.id for each in nearest_first(hits)] == ["answer", "before", "far"]
    assert nearest_first([]) == []
    new = [hit("new", 0.05, None), hit("old", 0.03, 0.1)]
    assert nearest_first(new) == new
