"""Each figure's arithmetic, on doubles."""

from __future__ import annotations

import json
import random
from array import array

import pytest

from llmos.bench.local import Recorded
from llmos.bench.memory import nested_kv, ttft, typed
from llmos.bench.memory.api import Hit
from llmos.bench.memory.conversations import Question
from llmos.bench.memory.figures import MEMORY_FIGURES
from llmos.bench.memory.forget import traces, written
from llmos.bench.memory.generators import Needle, nested
from llmos.bench.memory.longterm import apart, found_share
from llmos.bench.memory.needle import exact
from llmos.bench.memory.reuse import in_view, reuse
from llmos.bench.memory.search import percentile
from llmos.bench.memory.switch import CONVERSATIONS, visits
from llmos.bench.memory.words import Words
from llmos.events import Usage

# --- returning --------------------------------------------------------------------------------


def test_a_return_is_held_against_the_cold_prefill_of_its_own_round():
    returns = [ttft.Returned(1, 10), ttft.Returned(2, 10), ttft.Returned(90, 100)]
    assert ttft.ratio(returns) == 0.2


def test_no_two_returns_say_the_same():
    assert len(set(ttft.REMARKS)) == len(ttft.REMARKS)
    assert ttft.QUESTION not in ttft.REMARKS


def test_everybody_is_visited_once_before_what_is_counted():
    order = visits(2)
    assert order[:CONVERSATIONS] == list(range(CONVERSATIONS))
    assert len(order) == 3 * CONVERSATIONS
    gaps = {b - a for a, b in zip(order, order[CONVERSATIONS:], strict=False)}
    assert gaps == {0}, "all others come between two visits"


def test_a_draft_grows_until_it_is_the_message():
    drafts = typed.pieces("abcdefghijk", 4)
    assert drafts == ["ab", "abcde", "abcdefgh", "abcdefghijk"]


# --- reuse ------------------------------------------------------------------------------------

FRONT, OLD, NEW = list(range(100)), list(range(200, 300)), list(range(400, 450))


def record(prompt, cached, reply=()):
    return Recorded(tuple(prompt), (*prompt, *reply), Usage(cached_tokens=cached))


def test_what_follows_an_evicted_stretch_was_in_view_though_no_prefix_holds_it():
    before = [*FRONT, *OLD, *NEW]
    assert in_view([*FRONT, *NEW], [before]) == 150
    assert in_view([*FRONT, 1, 2, 3, *NEW], [before]) == 150


def test_short_common_stretches_are_the_templates_own():
    assert in_view([*FRONT, *range(900, 905)], [[*range(900, 905), 7, *FRONT]]) == 100
    assert in_view([*range(900, 905), *FRONT], [[*FRONT, 7, *range(900, 905)]]) == 100


def test_what_an_eviction_has_computed_again_counts_against_reuse():
    records = [record([*FRONT, *OLD, *NEW], 0), record([*FRONT, *NEW], 100)]
    assert reuse(records) == (100, 150)


def test_a_chat_that_only_grows_reuses_all():
    records = [record(FRONT, 0, OLD), record([*FRONT, *OLD, *NEW], 200)]
    assert reuse(records) == (200, 200)


# --- needles ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The number is 1234567.", True),
        ("1,234,567", True),
        ("It is 12345678.", False),
        ("It is 91234567.", False),
        ("123 4567", False),
        ("", False),
    ],
)
def test_an_answer_is_right_where_the_whole_number_stands_in_it(answer, right):
    assert exact(Needle("amber-anchor", "1234567"), answer) is right


# --- nested keys ------------------------------------------------------------------------------


class Store:
    """A memory that finds pages by the words in them; those in ``lost`` it never finds."""

    def __init__(self, texts, lost=()):
        self.texts, self.lost = texts, lost

    async def search(self, query, *, k, pid):
        found = [at for at, text in enumerate(self.texts) if query in text and at not in self.lost]
        return [Hit(f"p{at}", self.texts[at][:20], "process 1", 1.0, None) for at in found[:k]]

    async def page(self, id):
        return self.texts[int(id[1:])]


@pytest.mark.parametrize("level", range(5))
async def test_a_perfect_reader_of_a_perfect_memory_follows_every_chain(level):
    task = nested(random.Random(5), 140, level)
    texts = [text for role, text, _ in nested_kv.past(task) if role == "user"]
    assert await nested_kv.follow(Store(texts), 1, task.key) == task.value


async def test_a_perfect_reader_fails_where_the_memory_does():
    task = nested(random.Random(5), 140, 2)
    texts = [text for role, text, _ in nested_kv.past(task) if role == "user"]
    needed = next(at for at, text in enumerate(texts) if f'"{task.pairs[task.key]}": ' in text)
    assert await nested_kv.follow(Store(texts, {needed}), 1, task.key) != task.value


async def test_a_circle_of_keys_ends():
    assert await nested_kv.follow(Store(['"a": "b"\n"b": "a"']), 1, "a") in ("a", "b")


# --- finding ----------------------------------------------------------------------------------


def test_evidence_counts_by_its_share():
    question = Question("time", "Which came first?", ("One.", "Two."))
    assert found_share(question, ["One. And more.", "Three."]) == 0.5
    assert found_share(question, ["Two.", "One."]) == 1
    assert found_share(question, []) == 0


def test_similarities_that_overlap_are_not_apart():
    assert apart([0.9, 0.8], [0.1, 0.2]) == 1
    assert apart([0.5], [0.5]) == 0.5
    assert apart([0.1, 0.9], [0.5]) == 0.5


def test_a_percentile_is_one_of_the_values():
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3
    assert percentile([1.0], 0.95) == 1


def test_the_control_finds_by_words_and_takes_a_hostile_query_for_text():
    with Words(["The cats slept.", "A dog barked.", 'NEAR( "quoted" OR *']) as words:
        assert words.search("Where does the cat sleep?", 1) == [0]
        assert words.search('"NEAR( quoted', 1) == [2]


# --- forgetting -------------------------------------------------------------------------------


def test_a_mark_is_found_as_text_in_any_case_and_as_tokens(tmp_path):
    forms = written("brontelquix", [70_000, 513, 7])
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("It is BRONTELQUIX, BrontelQuix.")
    (tmp_path / "index").write_bytes(b"\x00\x04ontelquix\x01")
    (tmp_path / "deep" / "tokens").write_bytes(array("i", [5, 70_000, 513, 7]).tobytes())
    (tmp_path / "texts.json").write_text(json.dumps([1, 70_000, 513, 7, 2]))
    (tmp_path / "other").write_text("nothing of the kind")
    assert traces(tmp_path, forms) == {
        "a.txt: brontelquix, text": 2,
        "deep/tokens: brontelquix, tokens": 1,
        "index: brontelquix, text": 1,
        "texts.json: brontelquix, list of tokens": 1,
    }


def test_a_mark_across_two_pieces_of_a_file_is_found_once(tmp_path, monkeypatch):
    monkeypatch.setattr("llmos.bench.memory.forget._READ_BYTES", 16)
    forms = {"one": b"telquix", "two": b"quagga"}
    for before in range(40):
        (tmp_path / "file").write_bytes(b"." * before + b"telquix..quagga" + b"." * 20)
        assert traces(tmp_path, forms) == {"file: one": 1, "file: two": 1}, before


# --- the table --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [key for key, figure in MEMORY_FIGURES.items() if figure.test])
def test_every_barred_figure_meets_its_bar_and_can_miss(key):
    figure = MEMORY_FIGURES[key]
    worse = {">=": -1, "<=": 1e9, "is": False}[figure.test]
    assert figure.meets(figure.bar)
    assert not figure.meets(worse)
    assert not figure.meets(None)
