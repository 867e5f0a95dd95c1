"""Pages: whatever is cut is whole again when it is joined, and its ids never change."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos import limits
from llmos.documents.stretches import split
from llmos.events import Message, StoredMessage
from llmos.labels import Label, Origin
from llmos.memory.pages import Kind, page_id, pages_of, parse_id
from llmos.memory.records import Record


def record(text: str, *, seq: int = 7, role: str = "user", erased: bool = False) -> Record:
    stored = StoredMessage(seq, f"m{seq}", 2, 1000.0, Message(role, text))
    return Record(3, stored, Label(Origin.USER), erased)


@settings(deadline=None)
@given(st.text(alphabet="ab .!\n\t。ü\u2028", max_size=400), st.integers(8, 40))
def test_the_pages_of_a_text_joined_are_the_text(text, size):
    parts = split(text, size)
    assert "".join(parts) == text
    assert all(len(part.encode()) <= size for part in parts)
    assert all(len(part.encode()) >= (size - 3) / 4 for part in parts[:-1])


def test_a_text_is_cut_between_paragraphs_then_lines_then_sentences_then_words():
    assert split("One two.\n\nThree four.", 14) == ("One two.\n\n", "Three four.")
    assert split("One two\nThree four.", 14) == ("One two\n", "Three four.")
    assert split("One two. Three four.", 14) == ("One two. ", "Three four.")
    assert split("One two three four", 14) == ("One two three ", "four")
    assert split("x" * 30, 14) == ("x" * 14, "x" * 14, "xx")


def test_a_short_record_is_one_page_and_a_long_one_several():
    [page] = pages_of(record("Hello."))
    assert (page.id, page.part, page.parts, page.text) == ("p7", 1, 1, "Hello.")
    assert (page.kind, page.pid, page.turn, page.label) == (Kind.USER, 3, 2, Label(Origin.USER))
    pages = pages_of(record("word " * limits.PAGE_BYTES))
    assert [page.id for page in pages] == [f"p7.{n}" for n in range(1, len(pages) + 1)]
    assert "".join(page.text for page in pages) == "word " * limits.PAGE_BYTES
    assert len(pages_of(record("本" * limits.PAGE_BYTES))) >= 3


def test_an_erased_record_has_no_pages():
    assert pages_of(record("", erased=True)) == ()


def test_ids_are_read_as_a_model_writes_them():
    assert parse_id("p12") == (12, 0)
    assert parse_id(" [P12.3] ") == (12, 3)
    for wrong in ("", "12", "p", "p0", "p1.0", "p1.2.3", "p-1", "q1", "p" + "9" * 40):
        assert parse_id(wrong) is None
    assert parse_id(page_id(12, 3, 9)) == (12, 3)
