from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.clauses import LONGEST, Clauser
from llmos.devices.contracts import Border, Clause, Notice
from llmos.devices.open_mark import OPEN
from tests.devices.strategies import texts


def clauses(answer: str) -> list[Clause]:
    clauser = Clauser()
    return clauser.feed(answer) + clauser.flush()


def said(answer: str) -> list[str]:
    """What each clause says; announcements in angle brackets."""
    out = []
    for clause in clauses(answer):
        text = f"<{clause.notice}>" if clause.notice else " ".join(clause.text.split())
        if text:
            out.append(text)
    return out


@given(texts, st.data())
def test_how_the_answer_was_cut_on_its_way_changes_nothing(answer, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=8)))
    clauser = Clauser()
    pieces = []
    for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True):
        pieces += clauser.feed(answer[start:end])
    assert pieces + clauser.flush() == clauses(answer)


@given(texts)
def test_character_by_character_gives_the_same_as_in_one_go(answer):
    clauser = Clauser()
    single = [clause for char in answer for clause in clauser.feed(char)]
    assert single + clauser.flush() == clauses(answer)


@given(texts)
def test_clauses_follow_each_other_without_a_gap_and_cover_the_answer(answer):
    found = clauses(answer)
    place = 0
    for clause in found:
        assert clause.start == place
        assert clause.shown == answer[clause.start : clause.end]
        assert len(clause.ends) == len(clause.text)
        assert list(clause.ends) == sorted(clause.ends)
        assert all(clause.start <= end <= clause.end for end in clause.ends)
        place = clause.end
    assert place == len(answer)


@given(texts)
def test_no_clause_says_more_than_a_voice_takes(answer):
    # a table's row is said whole, and an address is kept whole
    for clause in clauses(answer):
        if "|" not in answer and "http" not in answer:
            assert len(clause.text.strip()) <= LONGEST + OPEN


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("It is 3.5 km. That is far.", ["It is 3.5 km.", "That is far."]),
        ("Ask Dr. Smith, e.g. today. He knows.", ["Ask Dr. Smith,", "e.g. today.", "He knows."]),
        ("I met J. R. Smith. He left.", ["I met J. R. Smith.", "He left."]),
        ("Is it? Yes! No. Good.", ["Is it?", "Yes!", "No.", "Good."]),
        ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
        ("It holds.[1] So does this [2]. End.", ["It holds.", "So does this .", "End."]),
        ("Am 3. Mai kam er. Dann ging er.", ["Am 3. Mai kam er.", "Dann ging er."]),
        ("Es waren 5. Dann kamen mehr.", ["Es waren 5.", "Dann kamen mehr."]),
        ("Das geht doch, z. B. so. Gut.", ["Das geht doch,", "z. B. so.", "Gut."]),
        ("See https://a.com/x.y?z. Then go.", ["See https://a.com/x.y?z.", "Then go."]),
        ("Costs 1,000 euros here. Fine.", ["Costs 1,000 euros here.", "Fine."]),
        ("Is it? No. Take platform No. 1 there.", ["Is it?", "No.", "Take platform No. 1 there."]),
        ("Am **24. Dezember** kam er.", ["Am 24. Dezember kam er."]),
        ("In der Hauptstr. 5 wohnt er. Ja.", ["In der Hauptstr. 5 wohnt er.", "Ja."]),
        ("# 1. Start\nGo.", ["1. Start", "Go."]),
        ("Das ist **wichtig!** Ja.", ["Das ist wichtig!", "Ja."]),
    ],
)
def test_sentences_end_where_they_end(answer, expected):
    assert said(answer) == expected


def test_a_sentence_is_given_out_with_the_blank_behind_it():
    clauser = Clauser()
    assert clauser.feed("Yes.") == []
    (clause,) = clauser.feed(" ")
    assert (clause.text, clause.border) == ("Yes.", Border.SENTENCE)


def test_the_first_clause_is_shorter_than_later_ones():
    phrase = "and another few words, "
    lengths = [len(clause.text) for clause in clauses(phrase * 20) if clause.text]
    assert lengths[0] < lengths[1] < lengths[2]
    assert all(length >= 60 for length in lengths[2:-1])


def test_a_comma_too_early_ends_nothing():
    assert said("Well, I think so.") == ["Well, I think so."]


def test_marks_are_not_heard():
    answer = "**Bold** and _thin_, ~~gone~~ `code_x` [link](http://x.y) ![cat](c.png) <b>b</b>"
    assert said(answer) == ["Bold and thin,", "gone code_x link cat b"]


def test_products_and_names_keep_their_signs():
    assert said("2 * 3 = 6, 2*3, a snake_case name") == ["2 * 3 = 6,", "2*3, a snake_case name"]


def test_lists_and_headings_are_clauses_of_their_own():
    answer = "# Top\ntext\n- one\n- [x] two\n1. three\n   more\n\n> quoted\n"
    assert said(answer) == ["Top", "text", "one", "two", "1, three more", "quoted"]
    assert {clause.border for clause in clauses(answer) if clause.text} == {Border.BLOCK}


def test_code_is_announced_where_it_begins_and_never_read():
    clauser = Clauser()
    assert clauser.feed("Look:\n\n```python")[0].text == "Look:"
    (notice,) = clauser.feed("\n")
    assert notice.notice is Notice.CODE
    rest = clauser.feed("x = 1. Or so. # no\n``\n```\nDone. ") + clauser.flush()
    assert [clause.text.strip() for clause in rest if clause.text] == ["Done."]
    assert rest[0].shown.startswith("x = 1")


def test_three_backticks_within_a_line_are_no_block():
    assert said("```x``` is short.\nAnd on.") == ["x is short.", "And on."]


def test_code_that_never_ends_is_silent():
    assert said("```\nx. y. z.\n") == ["<code>"]


def test_a_small_table_is_read_by_its_heads():
    answer = "| Name | Size |\n|---|--:|\n| a | 5 |\n| **b** | |\nAfter.\n"
    assert said(answer) == ["Name: a, Size: 5", "Name: b", "After."]


def test_a_large_table_is_counted():
    found = clauses("| A |\n|---|\n" + "| x |\n" * 12)
    assert [(clause.notice, clause.rows) for clause in found] == [(Notice.TABLE, 12)]


def test_formulas_are_read_when_short_and_announced_when_long():
    assert said("$$\nx = \\frac{a}{b}\n$$\nSo.") == ["x = a∕b", "So."]
    assert said("$$" + "x + " * 30 + "$$\nSo.") == ["<formula>", "So."]


def test_a_stray_formula_mark_swallows_no_more_than_a_paragraph():
    assert said("$$ is money.\n\nThe rest is here.")[-1] == "The rest is here."


def test_no_border_lies_within_a_link_or_code():
    answer = "Go to [the place. Yes, there](http://a.b/c.d) or `a. b, c` now. End."
    assert said(answer) == ["Go to the place. Yes, there or a. b, c now.", "End."]


def test_an_open_bracket_holds_back_only_so_much():
    found = clauses("[" + "some words here. " * 100)
    assert max(len(clause.text) for clause in found) <= LONGEST + OPEN


def test_footnotes_are_silent():
    assert said("So it is[^1].\n\n[^1]: From a book.\n[2]: http://x.y\n") == ["So it is."]


def test_text_without_punctuation_is_cut_at_blanks():
    found = clauses("word " * 2_000)
    assert all(len(clause.text.strip()) <= LONGEST for clause in found)
    assert all(clause.text.strip(" ").startswith("word") for clause in found if clause.text)
    assert all(clause.text.endswith("word") for clause in found if clause.text)


def test_a_word_without_end_is_cut():
    assert max(len(clause.text) for clause in clauses("a" * 10_000)) <= LONGEST


def test_an_address_is_kept_whole():
    address = "https://example.com/" + "a" * 500
    assert address in said(f"See {address} for more.")[0]


def test_scripts_without_blanks_end_at_their_own_marks():
    assert said("你好。今天天气很好！我们走吧") == ["你好。", "今天天气很好！", "我们走吧"]
    assert said("「はい。」と言った。") == ["「はい。」", "と言った。"]


@pytest.mark.parametrize("char", ["好", "あ", "ท"])
def test_scripts_without_blanks_are_cut_at_a_length(char):
    assert max(len(clause.text) for clause in clauses(char * 1_000)) <= 60


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize(
    "seen",
    [
        "เที่",  # a vowel that is written first, consonant, vowel, tone
        "e\u0301",
        "👩\u200d👧",
        "👍\U0001f3fd",
        "\u1112\u1161\u11ab",  # one Korean syllable of three letters
    ],
)
def test_what_a_reader_sees_as_one_is_not_cut(seen, shift):
    found = clauses("x" * shift + seen * 300)
    assert len(found) > 1
    for clause in found[1:]:
        assert clause.text.startswith(seen)


def test_windows_line_ends_make_paragraphs_too():
    assert said("# One\r\n\r\ntwo\r\n- three\r\n") == ["One", "two", "three"]


@pytest.mark.parametrize(
    "piece", ["a", "word ", "[", "`", "*", "<a ", "| a ", "$x ", "1.", "好", "-", "\\", "a, ", "\n"]
)
@pytest.mark.timeout(30)  # what grew with its square would take minutes
def test_a_long_answer_of_one_kind_is_cut_without_losing_anything(piece):
    text = (piece * 100_000)[:100_000]
    found = clauses(text)
    assert "".join(clause.shown for clause in found) == text
