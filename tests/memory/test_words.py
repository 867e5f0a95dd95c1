"""The index's file: what is put is found by its words, what is dropped leaves nothing."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos import limits
from llmos.errors import StoreCorrupt, StoreError
from llmos.memory import lists
from llmos.memory.passages import Passage, Scope
from llmos.memory.terms import query_terms
from llmos.memory.words import FILE, Words, open_words

UUID = "3f2b8c1e-77aa-4d0e-9c55-0b1e6a4f9d21"


def turn(id: str, text: str, *, pid: int = 1, context: str = "", **other: object) -> Passage:
    values = {"source": "turn", "time": 1.0, "place": f"process {pid}", **other}
    return Passage(id=id, pid=pid, text=text, context=context, **values)


@pytest.fixture
def words(tmp_path):
    file = open_words(tmp_path / "index", "test/4")
    yield file
    file.close()


EVERYWHERE = Scope()


def find(words: Words, query: str, scope: Scope = EVERYWHERE, *, whole: bool = False) -> list[str]:
    with words.reading() as db:
        ranked = lists.by_words(db, query_terms(query), scope, words.total, lists.Rarity())
        found = lists.passages(db, ranked[whole])
    return [found[n].id for n in ranked[whole]]


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


# --- finding ----------------------------------------------------------------------------------


def test_a_word_is_found_in_another_form_case_and_accent(words):
    words.put([turn("a", "She was RUNNING past the café."), turn("b", "Nothing of the kind.")])
    assert find(words, "run") == find(words, "Cafe") == find(words, "runs past cafés") == ["a"]


@pytest.mark.parametrize("query", ["ZX-4821", "zx-4821", "4821", "ZX", "what is ZX-4821's state?"])
def test_an_identifier_is_found_whole_and_by_its_parts(words, query):
    words.put(
        [
            turn("a", "The order ZX-4821 was sent."),
            turn("b", "The order QK-9917 was sent."),
            turn("c", "48210 and 14821 are other numbers; Z and X are letters."),
        ]
    )
    assert find(words, query) == ["a"]


@pytest.mark.parametrize("name", [UUID, "3.14159", "10.0.0.17", "2024-05-03", "v1.2.3-rc1"])
def test_numbers_dates_and_versions_are_found_only_as_they_stand(words, name):
    words.put(
        [turn("a", f"Here: {name}."), turn("b", " ".join(name.replace("-", ".").split(".")[::-1]))]
    )
    assert find(words, f"Where is {name}?") == ["a"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("明日は東京で会議があります。", "東京の会議"),
        ("我的猫叫小白，今年三岁。", "小白"),
        ("我的猫叫小白，今年三岁。", "猫"),
        ("내일 부산에서 만나요", "부산"),
        ("ฉันอาศัยอยู่ที่เชียงใหม่", "เชียงใหม่"),
        ("मेरा घर दिल्ली में है", "दिल्ली"),
        ("Ｏｒｄｅｒ　ＺＸ－４８２１", "zx-4821"),
        ("Наша кошка спит", "КОШКА"),
    ],
)
def test_scripts_without_spaces_and_other_alphabets_are_found(words, text, query):
    words.put([turn("a", text), turn("b", "完全に別の話 полностью другое 전혀 다른 कुछ और")])
    assert find(words, query)[0] == "a"


def test_stop_words_count_only_where_there_is_nothing_else(words):
    words.put([turn("a", "the who are on tour"), turn("b", "a guitar")])
    assert find(words, "who has a guitar") == ["b"]
    assert find(words, "the who") == ["a"]
    assert query_terms("don't you") == ('"don"', '"t"', '"you"')


def test_the_context_is_searched_only_by_the_list_that_includes_it(words):
    words.put([turn("a", "Yes, gladly.", context="Shall we go to Lisbon?", speaker="Caroline")])
    assert find(words, "Lisbon") == find(words, "Caroline") == []
    assert find(words, "Lisbon", whole=True) == find(words, "Caroline", whole=True) == ["a"]


@pytest.mark.parametrize(
    "query",
    ['"', '" OR *', "text:foo", "a AND (b", "NEAR(", "^x -y", "'; DROP TABLE passages; --", "\0",
     "*", "{text} : x", "😀", "\ud800", "", " ", "\\", "pid1", "scope : pid1", "sourceturn"],
)  # fmt: skip
def test_a_hostile_query_is_only_text(words, query):
    words.put([turn("a", "plain words"), turn("b", "x marks foo")])
    assert "a" not in find(words, query)
    assert words.check() == []


@given(st.text(max_size=200), st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_put_found_by_any_query_and_dropped(tmp_path_factory, text, query):
    file = open_words(tmp_path_factory.mktemp("index"), "")
    try:
        file.put([turn("a", text, context=query, speaker=query)])
        find(file, query)
        find(file, text, whole=True)
        file.drop(["a"])
        assert file.check() == [] and file.total == 0
    finally:
        file.close()


def test_a_scope_bounds_processes_sources_ids_and_times(words):
    words.put(
        [
            turn("a", "apple", pid=1, time=10.0),
            turn("b", "apple", pid=2, time=20.0),
            turn("c", "apple", pid=0, source="file", time=30.0),
            turn("d", "apple", pid=12, time=40.0),
        ]
    )

    def ids(**bounds: object) -> set[str]:
        scope = Scope(**bounds)
        found = set(find(words, "apple", scope)) if not lists.nothing(scope) else set()
        with words.reading() as db:
            if not scope.exclude:
                assert lists.count(db, scope, 9) == len(found)
        return found

    assert ids(pids=(1, 2)) == {"a", "b"}
    assert ids(pids=(1,)) == {"a"}  # and not process 12
    assert ids(sources=("file",)) == {"c"}
    assert ids(pids=(1, 12), sources=("turn",), exclude=frozenset("a")) == {"d"}
    assert ids(only=frozenset("bc")) == {"b", "c"}
    assert ids(since=20.0, until=40.0) == {"b", "c"}
    assert ids(pids=()) == ids(only=frozenset()) == ids(sources=()) == set()
    assert ids(pids=tuple(range(2, 200))) == {"b", "d"}  # more than are named one by one
    assert ids(pids=(1 << 70,)) == set()


def test_the_share_of_words_weighs_rare_ones_more(words):
    words.put([turn(f"n{i}", "the common meeting") for i in range(50)])
    words.put([turn("a", "meeting with Zephyrine"), turn("b", "meeting"), turn("c", "Zephyrine")])
    terms = query_terms("Who is Zephyrine's meeting?")
    with words.reading() as db:
        numbers = {p.id: n for n, p in lists.passages(db, range(60)).items()}
        shares = lists.shares(db, terms, list(numbers.values()), words.total, lists.Rarity())
    share = {id: shares[n] for id, n in numbers.items()}
    assert share["a"] == 1.0
    assert share["c"] > 0.8 > 0.2 > share["b"] == share["n0"] > 0


def test_the_commonest_words_of_a_costly_query_are_left_out(words, monkeypatch):
    words.put([turn(f"n{i}", "meeting apples") for i in range(30)])
    words.put([turn("a", "Zephyrine"), turn("b", "apples")])
    monkeypatch.setattr(limits, "INDEX_TERM_ROWS", 5)
    assert find(words, "apples Zephyrine meeting") == ["a"]
    assert len(find(words, "apples meeting")) == 31  # one is always looked for


# --- replacing, dropping, erasing -------------------------------------------------------------


def test_the_same_id_replaces_and_the_same_passage_stays(words):
    words.put([turn("a", "first version")])
    words.put([turn("a", "second version")])
    assert (find(words, "first"), find(words, "second"), words.total) == ([], ["a"], 1)
    words.add_vectors([(words.pending(1)[0][0], b"12345678" * 2)])
    words.put([turn("a", "second version")])
    assert words.embedded == 1
    words.put([turn("a", "third version")])
    assert words.embedded == 0 and words.check() == []


def test_an_erased_text_is_found_nowhere_in_the_folder(words, tmp_path):
    """Not even words by themselves, after rows of all sizes came and went at random."""
    generator = random.Random(7)

    def sentence(words: int) -> str:
        made = ("".join(generator.choices("bcdfghjklmnpqrstvwxz", k=13)) for _ in range(words))
        return " ".join(made)

    live: dict[str, Passage] = {}
    dropped: list[str] = []
    for round in range(30):
        new = [
            turn(f"{round}.{i}", sentence(generator.choice([2, 8, 30, 120])), context=sentence(9))
            for i in range(30)
        ]
        words.put(new)
        live.update({one.id: one for one in new})
        going = generator.sample(sorted(live), 18)
        words.drop(going)
        dropped += [word for id in going for word in _said(live.pop(id)).split()]
    kept = [word for one in live.values() for word in one.text.split()]
    words.erase()
    there = contents(tmp_path)
    # FTS5 keeps of a word only what differs from the one before, so look for its end.
    assert sum(word[3:].encode() in there for word in generator.sample(kept, 50)) == 50
    windows = {word[3:].encode() for word in dropped}
    assert not windows & {there[at : at + 10] for at in range(len(there) - 9)}
    assert words.check() == []


def _said(one: Passage) -> str:
    return f"{one.text} {one.context}"


def test_erasing_goes_on_beside_readers(words, tmp_path):
    words.put([turn("a", "a secret called Zephyrine"), turn("b", "apples")])
    words.drop(["a"])
    seen: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: seen.append(find(words, "apples"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    words.erase()
    for thread in threads:
        thread.join()
    assert seen == [["b"]] * 4
    assert b"zephyrine" not in contents(tmp_path).lower()


def test_a_reader_does_not_hold_up_a_writer(words):
    words.put([turn(f"n{i}", "apples") for i in range(10)])
    with words.reading() as db:
        rows = db.execute("SELECT n FROM passages")
        rows.fetchone()  # a snapshot is open
        words.put([turn("new", "apples")])
        assert len(rows.fetchall()) == 9
    assert "new" in find(words, "apples")


def test_a_write_that_fails_is_undone_whole(words):
    words.put([turn("a", "apples")])
    with pytest.raises(StoreError):
        words.put([turn("b", "pears"), turn("c", "plums", pid=1 << 70)])
    assert (find(words, "pears"), words.total) == ([], 1)
    words.put([turn("b", "pears")])
    assert find(words, "pears") == ["b"]


def test_cursors_are_kept_and_begin_at_0(words, tmp_path):
    assert words.cursor("journal") == 0
    words.move("journal", 41)
    words.move("journal", 42)
    words.close()
    again = open_words(tmp_path / "index", "test/4")
    assert again.cursor("journal") == 42
    again.close()


# --- vectors ----------------------------------------------------------------------------------


def _pair(*values: float) -> bytes:
    vector = np.array(values, np.float16)
    return np.stack([vector, vector]).tobytes()


def test_vectors_are_compared_exactly_in_slices_and_within_the_scope(words, monkeypatch):
    monkeypatch.setattr(limits, "INDEX_SLICE", 7)
    words.put([turn(f"n{i}", "x", pid=i % 3, time=float(i)) for i in range(40)])
    angles = [i * 0.1 for i in range(40)]
    words.add_vectors(
        [
            (n, _pair(np.cos(a), np.sin(a), 0, 0))
            for (n, _), a in zip(words.pending(99), angles, strict=True)
        ]
    )
    query = np.array([1, 0, 0, 0], np.float32)
    with words.reading() as db:
        best = lists.by_vector(db, query, Scope())[0]
        assert best[:3] == [1, 2, 3] and len(best) == 40
        assert lists.by_vector(db, query, Scope(pids=(1,)))[0][:2] == [2, 5]
        assert lists.by_vector(db, query, Scope(exclude=frozenset(["n0"]), until=3.0))[0] == [2, 3]
        assert lists.by_vector(db, query, Scope(), among=[9, 4], after=4)[0] == [9]
        near = lists.similarities(db, query, [1, 11, 99])
    assert near == pytest.approx({1: 1.0, 11: np.cos(1.0)}, abs=1e-3)


def test_a_passage_without_a_vector_is_left_out(words):
    words.put([turn("a", "x"), turn("b", "y")])
    (first, _), (second, _) = words.pending(9)
    words.add_vectors([(first, b""), (second, _pair(1, 0, 0, 0))])
    with words.reading() as db:
        assert lists.by_vector(db, np.array([1, 0, 0, 0], np.float32), Scope())[0] == [second]
    assert words.pending(9) == []


def test_another_embedder_makes_all_vectors_void(words, tmp_path):
    words.put([turn("a", "x")])
    words.add_vectors([(words.pending(1)[0][0], _pair(1, 0, 0, 0))])
    words.close()
    same = open_words(tmp_path / "index", "")  # without an embedder they are left alone
    assert same.embedded == 1
    same.close()
    other = open_words(tmp_path / "index", "other/4")
    assert (other.embedded, len(other.pending(9)), find(other, "x")) == (0, 1, ["a"])
    other.close()


# --- damage -----------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def _flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for at in range(8192, len(raw), 997):
        raw[at] ^= 0xFF
    path.write_bytes(raw)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other (x)")
    db.close()


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [_garbage, _flipped, _cut, _newer, _foreign, _a_folder])
def test_a_file_that_cannot_be_used_is_put_aside_with_one_warning(tmp_path, caplog, harm):
    folder = tmp_path / "index"
    for _ in range(2):  # what was put aside before makes room
        file = open_words(folder, "test/4")
        file.put([turn(f"n{i}", "apples " * 50) for i in range(200)])
        file.move("journal", 7)
        file.close()
        harm(folder / FILE)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            file = open_words(folder, "test/4")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert (file.total, file.cursor("journal"), file.check()) == (0, 0, [])
        assert (folder / f"{FILE}.broken").exists()
        file.close()


def test_a_file_in_the_place_of_the_folder_is_put_aside(tmp_path):
    (tmp_path / "index").write_text("mine")
    file = open_words(tmp_path / "index", "test/4")
    file.put([turn("n1", "apples")])
    file.close()
    assert (tmp_path / "index.broken").read_text() == "mine"


def test_where_there_can_be_no_folder_that_is_a_sentence(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="search index cannot be kept in .*index") as refused:
        open_words(tmp_path / "state" / "index", "test/4")
    assert refused.value.remedy


def test_a_folder_that_was_put_aside_does_not_stop_an_erasure(tmp_path):
    folder = tmp_path / "index"
    (folder / FILE / "inside").mkdir(parents=True)
    file = open_words(folder, "test/4")
    file.put([turn("n1", "apples")])
    file.drop(["n1"])
    file.erase()
    assert (folder / f"{FILE}.broken" / "inside").is_dir()
    file.close()


def test_damage_found_while_reading_is_a_sentence_and_heals_at_the_next_start(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "INDEX_CHECK_BYTES", 0)  # as with a large file
    folder = tmp_path / "index"
    file = open_words(folder, "test/4")
    file.put([turn(f"n{i}", f"apples {i} " * 50) for i in range(200)])
    file.close()
    raw = bytearray((folder / FILE).read_bytes())
    raw[16384:] = os.urandom(len(raw) - 16384)
    (folder / FILE).write_bytes(raw)

    def use() -> None:
        damaged = Words(folder / FILE, "test/4")
        try:
            damaged.put([turn("new", "pears")])
            find(damaged, "apples")
        finally:
            damaged.close()

    with pytest.raises(StoreCorrupt, match="made anew"):
        use()
    file = open_words(folder, "test/4")
    assert file.check() == []
    file.close()


def test_the_file_is_for_its_owner_alone(words, tmp_path):
    words.put([turn("a", "x")])
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "index").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "index").stat().st_mode & 0o777 == 0o700


def test_the_check_finds_orphans_and_missing_words_and_rebuilding_repairs_them(words):
    words.put([turn(f"n{i}", f"apples {i}") for i in range(5)])
    with words.writing() as db:
        db.execute("INSERT INTO vectors VALUES (99, x'00')")
        db.execute("INSERT INTO words (rowid, text, context, scope) VALUES (77, 'x', '', '')")
        db.execute("INSERT INTO passages SELECT 50, 'm', source, pid, place, time, text, context,"
                   " speaker FROM passages WHERE n = 1")  # fmt: skip
    assert len(words.check()) == 3
    words.rebuild()
    assert words.check() == []
    assert len(find(words, "apples")) == 6
