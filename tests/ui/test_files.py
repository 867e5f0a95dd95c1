"""Files that calls made, on the screen: pictures, tables, saving and opening."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from llmos.errors import CallFailed
from llmos.events import ArtifactInfo, ArtifactsMade
from llmos.ui.dialogs import Prompt
from llmos.ui.files import FileCard
from llmos.ui.halfcells import strips
from llmos.ui.pictures import PictureCard, PictureView
from llmos.ui.tables import COLUMNS, TABLE_BYTES, TABLE_CELLS, TableCard, TableView, parse

RED, BLUE = b"\xff\x00\x00", b"\x00\x00\xff"
PICTURE = ArtifactInfo("a" * 64, "plot.png", "image/png", 12345)
TABLE = ArtifactInfo("b" * 64, "sales.csv", "text/csv", 400)
OTHER = ArtifactInfo("c" * 64, "report.pdf", "application/pdf", 2_345_678)
SALES = "month,sold,note\n" + "".join(f"2026-{n:02},{n * 100},n{n}\n" for n in range(1, 13))


def made(pid: int, *infos: ArtifactInfo) -> ArtifactsMade:
    return ArtifactsMade(pid=pid, seq=900, turn=1, call_id="c1", artifacts=infos)


async def card(t, info: ArtifactInfo) -> FileCard:
    """The card of a file that a call has just made."""
    pid = await t.say("Draw it")
    t.kernel.emit(made(pid, info))
    await t.until(lambda: t.chat.query(FileCard))
    return t.chat.query_one(FileCard)


def half_blocks(t) -> int:
    return max(line.count("▀") for line in t.screen_text.splitlines())


def test_two_pixels_stand_in_one_cell():
    [line] = strips(3, 2, RED + RED + BLUE + RED + RED + BLUE)
    [first, second] = line
    assert (first.text, second.text) == ("▀▀", "▀")
    assert first.style.color.triplet == (255, 0, 0) and first.style.bgcolor.triplet == (255, 0, 0)
    assert second.style.color.triplet == second.style.bgcolor.triplet == (0, 0, 255)


def test_below_an_odd_last_row_nothing_is_drawn():
    [_, last] = strips(1, 3, RED + BLUE + RED)
    assert last._segments[0].style.bgcolor is None


def test_pixels_that_do_not_fit_their_size_are_not_drawn():
    assert strips(2, 2, RED) == strips(0, 0, b"") == []


async def test_a_picture_is_shown_in_the_conversation_and_asked_for_anew_when_it_fits_no_more(
    terminal,
):
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = RED
        await card(t, PICTURE)
        await t.sees("▣ plot.png  12.3 kB")
        await t.until(lambda: half_blocks(t) == 60)
        assert t.kernel.previews == [(PICTURE.id, 60, 40)]
        await t.pilot.resize_terminal(50, 24)
        await t.until(lambda: t.kernel.previews[-1][1] < 50)
        await t.until(lambda: half_blocks(t) == t.kernel.previews[-1][1])
        await t.pilot.resize_terminal(120, 40)
        await t.until(lambda: half_blocks(t) == 60)


async def test_enter_shows_a_picture_as_large_as_the_terminal_and_escape_closes_it(terminal):
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = BLUE
        (await card(t, PICTURE)).focus()
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, PictureView))
        await t.until(lambda: half_blocks(t) == 80)
        assert (PICTURE.id, 80, 46) in t.kernel.previews
        assert "Esc closes" in t.screen_text
        await t.pilot.resize_terminal(100, 30)
        await t.until(lambda: half_blocks(t) == 100)
        await t.pilot.press("escape")
        await t.until(lambda: t.app.screen is t.chat)


async def test_a_picture_that_cannot_be_decoded_is_one_sentence_in_its_place(terminal):
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = CallFailed("The picture is \x1b[2Jdamaged.")
        (await card(t, PICTURE)).focus()
        await t.sees("damaged.")
        assert "\x1b" not in t.screen_text
        assert "▀" not in t.screen_text
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, PictureView))
        await t.sees("damaged.")
        await t.pilot.press("escape")
        await t.until(lambda: t.app.screen is t.chat)


async def test_a_picture_that_was_needed_while_the_kernel_was_away_comes_with_it(terminal):
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = RED
        pid = await t.say("Draw it")
        t.kernel.up = False
        t.kernel.emit(made(pid, PICTURE))
        await t.sees("The kernel does not answer.")
        t.kernel.die()
        t.kernel.up = True
        t.chat.link.retry_now()
        await t.until(lambda: half_blocks(t) == 60)
        assert "does not answer" not in t.screen_text


@pytest.mark.parametrize("key", ["s", "enter"])
async def test_a_file_is_saved_where_the_person_says_and_nothing_is_written_over(
    terminal, tmp_path: Path, key: str
):
    info = PICTURE if key == "s" else OTHER
    target = tmp_path / "mine"
    async with terminal() as t:
        t.kernel.pictures[info.id] = RED
        t.kernel.files[info.id] = b"the bytes"
        shown = await card(t, info)
        for told in ("Saved", "There is a file"):
            shown.focus()
            await t.pilot.press(key)
            await t.until(lambda: isinstance(t.app.screen, Prompt))
            t.app.screen.query_one("Input").value = str(target)
            await t.pilot.press("enter")
            await t.told(told)
            await t.until(lambda: t.app.screen is t.chat)
            assert target.read_bytes() == b"the bytes"


async def test_a_picture_is_saved_from_its_own_screen_too(terminal, tmp_path: Path):
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = RED
        t.kernel.files[PICTURE.id] = b"the bytes"
        (await card(t, PICTURE)).focus()
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, PictureView))
        await t.pilot.press("s")
        await t.until(lambda: isinstance(t.app.screen, Prompt))
        t.app.screen.query_one("Input").value = str(tmp_path / "mine")
        await t.pilot.press("enter")
        await t.told("Saved")


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desktop whose viewer writes down what it was given."""
    seen = tmp_path / "seen"
    for name in ("xdg-open", "open"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}.part\nmv {seen}.part {seen}\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DISPLAY", ":0")
    return seen


async def test_another_program_gets_a_private_copy_that_the_kernel_made_anew(
    terminal, viewer: Path
):
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = RED
        t.kernel.files[PICTURE.id] = b"PNG"
        (await card(t, PICTURE)).focus()
        await t.pilot.press("o")
        await t.until(viewer.exists)
        copy = Path(viewer.read_text())
        assert copy.read_bytes() == b"made anew: PNG"
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
        assert copy.suffix == ".png"
    assert not copy.parent.exists()


async def test_without_a_screen_for_another_program_that_is_said(terminal, monkeypatch):
    monkeypatch.setattr("llmos.ui.file_actions._viewer", lambda: "")
    async with terminal() as t:
        t.kernel.pictures[PICTURE.id] = RED
        (await card(t, PICTURE)).focus()
        await t.pilot.press("o")
        await t.told("There is no screen here for another program.")


# --- tables -------------------------------------------------------------------------------------


async def test_the_first_rows_of_a_table_stand_in_the_conversation(terminal):
    async with terminal() as t:
        t.kernel.files[TABLE.id] = SALES.encode()
        (await card(t, TABLE)).focus()
        await t.sees("month    sold  note")
        await t.sees("2026-06   600  n6")
        await t.sees("… 6 more rows")
        assert "2026-07" not in t.screen_text
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, TableView))
        await t.sees("2026-01   100  n1")
        await t.sees("2026-12")
        await t.sees("12 rows, 3 columns")
        await t.pilot.press("escape")
        await t.until(lambda: t.app.screen is t.chat)


async def test_columns_that_do_not_fit_are_counted(terminal):
    async with terminal((40, 24)) as t:
        head = ",".join(f"column{n}" for n in range(20))
        t.kernel.files[TABLE.id] = f"{head}\n{head}\n".encode()
        await card(t, TABLE)
        await t.sees("more columns")


async def test_what_is_no_table_is_one_sentence_and_can_be_saved(terminal):
    async with terminal() as t:
        t.kernel.files[TABLE.id] = b"\x00\x01\x02"
        (await card(t, TABLE)).focus()
        await t.sees("This is no table")
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, Prompt))


async def test_a_table_too_large_to_be_shown_is_a_file(terminal):
    async with terminal() as t:
        large = ArtifactInfo(TABLE.id, "large.csv", "text/csv", TABLE_BYTES + 1)
        assert type(await card(t, large)) is FileCard
        await t.sees("large.csv  4.0 MB · Enter saves it")


def test_only_so_much_of_a_table_is_kept():
    data = "\n".join(",".join("x" * 300 for _ in range(100)) for _ in range(1000)).encode()
    table = parse(data)
    assert (table.all_rows, table.all_columns) == (999, 100)
    assert len(table.head) == COLUMNS
    assert len(table.rows) * len(table.head) <= TABLE_CELLS
    assert max(map(len, table.rows[0])) <= 200


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_are_separated_by_what_the_first_line_has(delimiter: str):
    table = parse(f"\ufeffa{delimiter}b\r\n1{delimiter}\x1b[2J\r\nshort\r\n".encode())
    assert table.head == ("a", "b")
    assert table.rows[0][0] == "1" and "\x1b" not in table.rows[0][1]
    assert table.rows[1] == ("short", "")


@pytest.mark.parametrize("data", [b"", b"\n\n", b'a,"' + b"x" * 200_000])
def test_a_table_that_cannot_be_read_says_why(data: bytes):
    with pytest.raises(ValueError, match="table"):
        parse(data)


def test_a_picture_card_and_a_table_card_are_files():
    assert issubclass(PictureCard, FileCard) and issubclass(TableCard, FileCard)
