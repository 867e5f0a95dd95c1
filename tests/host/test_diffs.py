from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.host import diffs
from llmos.host.diffs import unified

TEXTS = st.lists(st.sampled_from(["a", "b", "c\x0c", "d\r", "", "e\u2028"]), max_size=30).map(
    "\n".join
)
NO_END = "\\ No newline at end of file"


def applied(before: str, diff: str) -> str:
    """What a patch program makes of it."""
    old, out, at = re.findall(r"[^\n]*\n|[^\n]+", before), [], 0
    lines = diff.split("\n")[2:-1]
    for number, line in enumerate(lines):
        if hunk := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@", line):
            start = int(hunk[1]) - (hunk[2] != "0")
            out += old[at:start]
            at = start
            continue
        ends = "" if lines[number + 1 : number + 2] == [NO_END] else "\n"
        if line == NO_END:
            continue
        if line[:1] in " -":
            assert old[at] == line[1:] + ends
            at += 1
        if line[:1] in " +":
            out.append(line[1:] + ends)
    return "".join(out + old[at:])


@pytest.mark.parametrize("fine", [2000, 2])
def test_a_diff_makes_the_one_text_of_the_other(fine):
    @settings(deadline=None)
    @given(TEXTS, TEXTS)
    def check(before, after):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diffs, "_FINE", fine)
            diff = unified(before, after, "x")
        assert applied(before, diff) == after if diff else before == after

    check()


def test_a_new_file_and_one_that_goes_are_shown_as_such():
    assert unified(None, "a\n", "x") == "--- /dev/null\n+++ x\n@@ -0,0 +1 @@\n+a\n"
    assert unified("a\n", None, "x") == "--- x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"


def test_a_small_edit_of_a_very_long_text_is_a_small_diff():
    text = "".join(f"line {number}\n" for number in range(200_000))
    diff = unified(text, text.replace("line 100000\n", "new\n"), "x")
    assert diff.splitlines()[2] == "@@ -99998,7 +99998,7 @@"
    assert len(diff.splitlines()) == 11


def test_a_repetitive_text_is_shown_whole_rather_than_compared_for_minutes():
    before, after = "a\n" * 1999 + "z\n", "a\nb\n" * 999 + "y\n"
    diff = unified(before, after, "x")
    assert applied(before, diff) == after
