"""Texts are cut into sections that say exactly where they stand."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos import limits
from llmos.documents.sections import Block, Cutter, Section, lines, markdown, opened, table
from llmos.documents.stretches import split
from llmos.errors import FileNotRead


def cut(blocks) -> list[Section]:
    cutter = Cutter()
    return [section for block in blocks for section in cutter.feed(block)] + cutter.end()


def text_of(data: bytes | str) -> io.TextIOWrapper:
    raw = data if isinstance(data, bytes) else data.encode()
    return opened(io.BytesIO(raw), raw[:64])


def test_a_section_says_which_lines_it_holds():
    written = [f"line {n} of a file\n" for n in range(1, 401)]
    for section in cut(lines(text_of("".join(written)))):
        first, last = map(int, section.where.removeprefix("lines ").split("-"))
        assert section.text == "".join(written[first - 1 : last]).rstrip()


def test_blank_lines_around_a_section_are_not_counted():
    assert cut(lines(text_of("\n\n  indented\nmore\n\n\n"))) == [
        Section("  indented\nmore", "lines 3-4")
    ]


def test_a_file_of_one_line_stands_on_one_line():
    assert cut(lines(text_of("only this"))) == [Section("only this", "line 1")]


def test_nothing_but_white_space_has_no_section():
    assert cut(lines(text_of(" \n\t\n\n"))) == []


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=300), max_size=60))
def test_a_text_in_pieces_is_cut_as_a_text_as_a_whole(pieces: list[str]):
    whole = "".join(pieces)
    blocks = (Block(piece, unit="line", number=n) for n, piece in enumerate(pieces, 1))
    expected = [stretch.strip() for stretch in split(whole) if stretch.strip()]
    assert [section.text.strip() for section in cut(blocks)] == expected


def test_a_long_text_is_cut_as_if_it_had_been_there_whole():
    whole = "".join(f"{n}: {'word ' * (n % 40)}\n" for n in range(3000))
    assert [s.text for s in cut(lines(text_of(whole)))] == [p.rstrip() for p in split(whole)]


@pytest.mark.parametrize("script", ["日本語の文章。" * 2000, "слово " * 5000, "x" * 50_000])
def test_no_section_is_larger_than_a_page_in_any_script(script: str):
    sections = cut(lines(text_of(script)))
    assert "".join(s.text for s in sections).replace(" ", "") == script.replace(" ", "")
    assert max(len(s.text.encode()) for s in sections) <= limits.PAGE_BYTES
    assert {s.where for s in sections} == {"line 1"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve café".encode(), "naïve café"),
        ("naïve café".encode("latin-1"), "naïve café"),
        ("“5 €”".encode("cp1252"), "“5 €”"),
        ("naïve café".encode("utf-8-sig"), "naïve café"),
        ("naïve café".encode("utf-16"), "naïve café"),
        ("naïve café".encode("utf-32"), "naïve café"),
        (b"\xfe\xff" + "naïve café".encode("utf-16-be"), "naïve café"),
        (b"fine \x81 too", "fine \x81 too"),
        ("broken".encode("utf-16") + b"\x00\xd8", "broken\ufffd"),
        (b"one\r\ntwo\rthree", "one\ntwo\nthree"),
    ],
)
def test_text_is_read_in_its_encoding(data: bytes, text: str):
    assert cut(lines(text_of(data)))[0].text == text


def test_a_file_that_turns_binary_is_read_up_to_there():
    blocks = lines(text_of("one\ntwo\n\0\0\0"))
    assert [next(blocks).text, next(blocks).text] == ["one\n", "two\n"]
    with pytest.raises(FileNotRead, match="no text from line 3 on"):
        next(blocks)


# --- Markdown ---------------------------------------------------------------------------------


def test_markdown_is_cut_at_its_headings():
    sections = cut(markdown(text_of("Intro.\n\n# Install\n\nRun it.\n\n## Use ##\nNow.\n")))
    assert sections == [
        Section("Intro.", "line 1"),
        Section("# Install\n\nRun it.", "heading Install, lines 3-5"),
        Section("## Use ##\nNow.", "heading Use, lines 7-8"),
    ]


def test_underlined_headings_are_headings():
    sections = cut(markdown(text_of("Install\n=======\ntext\n\nUse\n---\nmore\n")))
    assert [s.where for s in sections] == ["heading Install, lines 1-3", "heading Use, lines 5-7"]


def test_a_heading_with_nothing_of_its_own_goes_with_the_next():
    sections = cut(markdown(text_of("# Book\n\n## Chapter\ntext\n")))
    assert sections == [Section("# Book\n\n## Chapter\ntext", "heading Chapter, lines 1-4")]


def test_two_headings_of_one_name_are_two_sections():
    sections = cut(markdown(text_of("# Example\na\n# Example\nb\n")))
    assert [s.where for s in sections] == [
        "heading Example, lines 1-2",
        "heading Example, lines 3-4",
    ]


@pytest.mark.parametrize(
    "written",
    [
        "# A\n```\n# no heading\n```\n",
        "# A\n~~~~\n# no heading\n```\n# nor this\n~~~~\n",
        "# A\n#hashtag\n",
        "# A\n| a |\n|---|\n| b |\n",
        "# A\n- item\n---\nafter a line\n",
        "# A\n\n---\n\nafter a line\n",
    ],
)
def test_what_only_looks_like_a_heading_is_none(written: str):
    sections = cut(markdown(text_of(written)))
    assert [s.where.split(",")[0] for s in sections] == ["heading A"]


def test_settings_at_the_top_are_no_heading():
    sections = cut(markdown(text_of("---\ntitle: x\n---\n# A\ntext\n")))
    assert [s.where for s in sections] == ["lines 1-3", "heading A, lines 4-5"]


def test_headings_without_end_need_no_memory():
    blocks = markdown(text_of("# h\n" * 10_000))
    assert next(blocks).text == "# h\n"
    assert cut(blocks)


def test_a_long_heading_is_told_short():
    where = cut(markdown(text_of(f"# {'word ' * 100}\ntext\n")))[0].where
    assert len(where) < limits.FILE_TITLE_CHARS + 40 and "…" in where


# --- tables -----------------------------------------------------------------------------------


def test_the_first_row_of_a_table_is_repeated_with_every_section():
    written = "name,age\n" + "".join(f"person {n},{n}\n" for n in range(2, 200))
    sections = cut(table(text_of(written)))
    assert len(sections) > 2
    for section in sections:
        head, *rows = section.text.splitlines()
        first, last = map(int, section.where.removeprefix("rows ").split("-"))
        assert head == "name | age"
        assert rows == [f"person {n} | {n}" for n in range(first, last + 1)]
        assert len(section.text.encode()) <= limits.PAGE_BYTES


def test_a_cell_may_hold_lines_and_separators():
    sections = cut(table(text_of('a,b\n"one\ntwo, three",4\n')))
    assert sections == [Section("a | b\none two, three | 4", "row 2")]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_out(separator: str):
    written = f"a{separator}b\n1{separator}2\n"
    assert cut(table(text_of(written)))[0].text == "a | b\n1 | 2"


def test_a_table_of_one_row_is_that_row():
    assert cut(table(text_of("a,b\n\n"))) == [Section("a | b", "row 1")]


def test_a_head_longer_than_a_page_is_cut():
    head = ",".join(f"column {n}" for n in range(500))
    sections = cut(table(text_of(f"{head}\n1,2\n")))
    assert all(len(s.text.encode()) <= limits.PAGE_BYTES for s in sections)
    assert sections[-1].text.endswith("1 | 2")


def test_a_malformed_table_is_read_up_to_there():
    written = "a,b\n1,2\n" + '"' + "x" * 200_000
    blocks = table(text_of(written))
    assert next(blocks).text == "1 | 2\n"
    with pytest.raises(FileNotRead, match="malformed"):
        next(blocks)
