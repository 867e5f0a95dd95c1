"""What a small model copies from an example is about the person's files, or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from llmos.kernel.examples import adapted, copied_names, leaked, wrong_copy
from llmos.kernel.syscalls import Example, Outcome, Syscall


async def nothing(_process: Any, _arguments: Any) -> Outcome:
    return Outcome("done")


def example(question: str, code: str, *files: str) -> Example:
    return Example(question, {"code": code, "files": list(files)}, "")


ROWS = example("How many rows has ~/in/x.csv?", "rows = len(open('x.csv'))", "~/in/x.csv")
PLOT = example("Plot 1.csv and 2.csv.", "plot(open('1.csv'), open('2.csv'))", "1.csv", "2.csv")
SUM = example("What is 1 + 2?", "1 + 2")
RUN = Syscall(
    "py.run",
    "Runs code.",
    {"type": "object", "properties": {"code": {"type": "string"}}},
    "read",
    nothing,
    worked=(SUM, ROWS, PLOT),
    listed={"files": lambda text: text.endswith(".csv")},
)


NOTE = Syscall(
    "note.write",
    "Writes a note.",
    {"type": "object", "properties": {"text": {"type": "string"}}},
    "write",
    nothing,
    worked=(Example("Note milk and bread.", {"text": "milk and bread\n"}, ""),),
)


@pytest.mark.parametrize(
    ("said", "written", "is_leaked"),
    [
        ("Note buy milk", "buy milk and bread\n", True),
        ("Note buy milk", "Milk. And bread", True),
        ("Note buy milk", "buy milk\n", False),
        ("Note milk and bread", "milk and bread\n", False),
        ("Note what a baker needs", "flour, bread tins", False),
    ],
)
def test_words_of_an_example_that_nobody_said_are_not_written(
    said: str, written: str, is_leaked: bool
) -> None:
    assert leaked({"text": written}, NOTE, said) is is_leaked


def test_what_code_shares_with_an_example_is_no_leak() -> None:
    assert not leaked({"code": "rows = len(open('y.csv'))"}, RUN, "count the rows of y.csv")


def test_an_example_is_shown_with_the_persons_files_under_their_bare_names() -> None:
    (shown,) = adapted(RUN, RUN.worked, {"files": ["~/b/y.csv"]}, 2)
    assert shown.question == "How many rows has ~/b/y.csv?"
    assert shown.arguments == {"code": "rows = len(open('y.csv'))", "files": ["~/b/y.csv"]}


def test_files_that_are_called_as_an_examples_others_are_not_mixed_up() -> None:
    (shown,) = adapted(RUN, RUN.worked, {"files": ["2.csv", "1.csv"]}, 2)
    assert shown.arguments["code"] == "plot(open('2.csv'), open('1.csv'))"


def test_without_files_the_examples_without_come_first_and_others_where_there_is_none() -> None:
    assert adapted(RUN, RUN.worked, {"files": []}, 2) == [SUM]
    assert adapted(RUN, RUN.worked, {"files": ["a.csv", "b.csv", "c.csv"]}, 2) == [ROWS, PLOT]


@pytest.mark.parametrize(
    ("clause", "refused"),
    [
        ("how many rows has y.csv?", False),
        ("what is the average of y.csv?", True),  # the example counts rows
    ],
)
def test_a_copy_of_an_example_about_something_else_is_refused(clause: str, refused: bool) -> None:
    way = {"files": ["y.csv"]}
    copied = {"code": "rows = len(open('y.csv'))", "files": ["y.csv"]}
    assert wrong_copy(copied, RUN, RUN.worked, way, clause) is refused
    own = {"code": "max(open('y.csv'))", "files": ["y.csv"]}
    assert not wrong_copy(own, RUN, RUN.worked, way, clause)


def test_a_file_that_only_an_example_names_is_known_in_either_quotes() -> None:
    for code in ("open('x.csv')", 'open("~/in/x.csv")'):
        assert copied_names(code, RUN, "how many rows has y.csv?")
    assert not copied_names("open('x.csv')", RUN, "how many rows has x.csv?")
    assert not copied_names("open('y.csv')", RUN, "how many rows has y.csv?")
