from __future__ import annotations

from llmos.devices.tables import COLUMNS, ROWS, read_table

HEAD = "| Name | Size |\n| :-- | --: |\n"


def test_each_cell_is_said_with_its_head():
    table = read_table(HEAD + "| a | 5 kB |\n| b | |\n", 0)
    assert table.count == 2
    assert [row.text for row in table.rows] == ["Name: a, Size: 5 kB", "Name: b"]


def test_a_row_ends_with_its_line_and_a_head_before_its_cell():
    lines = HEAD + "| a | 5 |\n"
    (row,) = read_table(lines, 100).rows
    assert row.end == len(lines)
    assert row.ends[len("Name:")] == 100 + lines.index("a |")
    assert row.ends[len("Name: ")] == 100 + lines.index("a |") + 1


def test_without_a_head_the_cells_are_said():
    (row,) = read_table("| a | b |", 0).rows
    assert row.text == "a, b"


def test_a_pipe_in_a_cell_is_no_border():
    (row,) = read_table(r"| a \| b |", 0).rows
    assert row.text == "a | b"


def test_what_cannot_be_followed_by_ear_is_only_counted():
    assert read_table(HEAD + "| a | b |\n" * (ROWS + 1), 0).rows == ()
    assert read_table("| x " * (COLUMNS + 1) + "|\n", 0).rows == ()
    assert len(read_table(HEAD + "| a | b |\n" * ROWS, 0).rows) == ROWS
