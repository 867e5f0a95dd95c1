"""Every format is read with its places; what is hostile or broken is one sentence, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import struct
import zipfile
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import docx
import openpyxl
import pypdf
import pytest
import pytest_asyncio

from llmos import limits
from llmos.documents.decoder import Broken
from llmos.documents.reader import Reader, Section
from llmos.errors import FileNotRead, SandboxMissing
from llmos.sandbox import tiers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    await reader.close()


async def read(reader: Reader, path: Path) -> tuple[list[Section], str]:
    """The sections of a file, and why there are no more of them, or nothing."""
    sections: list[Section] = []
    with io.FileIO(path) as file:
        try:
            async for section in reader.read(file, path.name):
                sections.append(section)
        except FileNotRead as error:
            return sections, str(error)
    return sections, ""


def pdf(*texts: str) -> bytes:
    """A PDF with a page for each text, written by hand."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(texts)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(texts):
        font = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /Contents {5 + 2 * n} 0 R {font} >>")
        drawn = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    return (
        out
        + (
            f"xref\n0 {size}\n0000000000 65535 f \n{table}"
            f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
        ).encode()
    )


def archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)


def word(path: Path, *paragraphs: str) -> None:
    document = docx.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    document.save(path)


def long_word(path: Path, paragraphs: int) -> None:
    """As ``word``, without its slowness."""
    word(path, "first")
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    many = b"<w:p><w:r><w:t>one of many</w:t></w:r></w:p>" * paragraphs
    body = members["word/document.xml"]
    members["word/document.xml"] = body.replace(b"<w:sectPr", many + b"<w:sectPr", 1)
    archive(path, members)


# --- formats ----------------------------------------------------------------------------------


async def test_code_is_text(reader: Reader, tmp_path: Path):
    path = tmp_path / "main.rs"
    path.write_text("fn main() {\n    ok();\n}\n")
    assert await read(reader, path) == ([Section("fn main() {\n    ok();\n}", "lines 1-3")], "")


async def test_an_empty_file_has_no_sections(reader: Reader, tmp_path: Path):
    for name in ("a.txt", "a.pdf", "a.docx", "a.csv"):
        (tmp_path / name).touch()
        assert await read(reader, tmp_path / name) == ([], "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("a.txt", b"text and then\0binary"),
        ("program", b"\x7fELF\x02\x01\x01\0"),
        ("a.bin", bytes(range(1, 32)) * 10),
    ],
)
async def test_binary_files_are_not_read(reader: Reader, tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    sections, why = await read(reader, tmp_path / name)
    assert sections == [] and "binary" in why


async def test_markdown_and_tables_are_read_as_such(reader: Reader, tmp_path: Path):
    (tmp_path / "a.md").write_text("# Top\ntext\n")
    (tmp_path / "a.tsv").write_text("a\tb, c\n1\t2\n")
    assert (await read(reader, tmp_path / "a.md"))[0][0].where == "heading Top, lines 1-2"
    assert (await read(reader, tmp_path / "a.tsv"))[0] == [Section("a | b, c\n1 | 2", "row 2")]


async def test_a_pdf_is_read_by_its_pages(reader: Reader, tmp_path: Path):
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf("The first page.", "", "Budget of 4711 crowns."))
    assert await read(reader, path) == (
        [Section("The first page.", "page 1"), Section("Budget of 4711 crowns.", "page 3")],
        "",
    )


async def test_a_pdf_is_known_without_its_ending(reader: Reader, tmp_path: Path):
    (tmp_path / "report").write_bytes(pdf("A page."))
    assert await read(reader, tmp_path / "report") == ([Section("A page.", "page 1")], "")


async def test_word_is_read_with_headings_and_tables(reader: Reader, tmp_path: Path):
    document = docx.Document()
    document.add_paragraph("Before.")
    document.add_heading("Install", 1)
    document.add_paragraph("Run it.")
    table = document.add_table(2, 3)
    for row, texts in enumerate((("a", "b", "c"), ("d", "e", "f"))):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    table.cell(1, 0).merge(table.cell(1, 1))
    document.add_heading("Use", 2)
    document.add_paragraph("Now.")
    document.save(tmp_path / "a.docx")
    sections, why = await read(reader, tmp_path / "a.docx")
    assert why == ""
    assert sections == [
        Section("Before.", "paragraph 1"),
        Section("Install\nRun it.\na | b | c\nd e | f", "heading Install, paragraphs 2-5"),
        Section("Use\nNow.", "heading Use, paragraphs 6-7"),
    ]


async def test_a_spreadsheet_is_read_by_sheets_with_its_head(reader: Reader, tmp_path: Path):
    book = openpyxl.Workbook()
    budget = book.active
    budget.title = "Budget"
    budget.append(["Item", "Cost", "Day"])
    for n in range(2, 101):
        budget.append([f"thing {n}", n / 2, date(2026, 11, 22)])
    book.create_sheet("Empty")
    book.create_sheet("One").append(["alone"])
    book.save(tmp_path / "a.xlsx")
    sections, why = await read(reader, tmp_path / "a.xlsx")
    assert why == ""
    assert sections[-1] == Section("alone", "sheet One, row 1")
    assert sections[0].where.startswith("sheet Budget, rows 2-")
    for section in sections[:-1]:
        head, *rows = section.text.splitlines()
        first, last = map(int, section.where.rpartition(" ")[2].split("-"))
        assert head == "Item | Cost | Day"
        assert len(rows) == last - first + 1
        assert rows[0].startswith(f"thing {first} | {first / 2:g} | 2026-11-22")


async def test_a_web_page_is_read_without_its_menus(reader: Reader, tmp_path: Path):
    text = "<p>" + "The harbour of the town was built for ships of every size. " * 12 + "</p>"
    (tmp_path / "a.html").write_text(
        "<html><head><title>T</title><script>var secret = 1;</script></head><body>"
        f"<nav><a href=/>Menu entry</a></nav><article><h1>Harbour</h1>{text}<h2>Ships</h2>{text}"
        "</article></body></html>"
    )
    sections, why = await read(reader, tmp_path / "a.html")
    read_text = "\n".join(section.text for section in sections)
    assert why == ""
    assert "harbour of the town" in read_text
    assert "secret" not in read_text and "Menu entry" not in read_text
    assert {s.where.split(",")[0] for s in sections} >= {"heading Harbour", "heading Ships"}


async def test_a_page_that_is_nothing_but_a_few_words_is_read(reader: Reader, tmp_path: Path):
    (tmp_path / "a.html").write_text("<div>Only <b>these</b> words.</div><script>x</script>")
    sections, why = await read(reader, tmp_path / "a.html")
    assert why == "" and [s.text.replace("*", "") for s in sections] == ["Only these words."]


@pytest.mark.parametrize(
    "frame", ["<article>{}</article>", "<main>{}</main>", "<div>{}</div>", "{}"]
)
async def test_links_and_emphasis_break_no_sentence_of_a_short_page(reader, tmp_path, frame):
    page = (
        "<p>The <b>moon</b> moves the sea, as <a href=/s>sailors</a> know\n and <i>Newton</i>"
        " (<a href=/n>more</a>) explained.</p><ul><li><a href=/w>Waves</a></li><li>Winds</li></ul>"
        "<p>Dover<br>Brest</p><pre>a = 1\nb = 2\n</pre>"
    )
    (tmp_path / "a.html").write_text(f"<body>{frame.format(page)}</body>")
    sections, _ = await read(reader, tmp_path / "a.html")
    lines = "".join(section.text for section in sections).replace("*", "").splitlines()
    assert "The moon moves the sea, as sailors know and Newton (more) explained." in lines
    for one, other in (("Waves", "Winds"), ("Dover", "Brest"), ("a = 1", "b = 2")):
        assert not any(one in line and other in line for line in lines), lines


async def test_code_on_a_page_keeps_its_lines(reader, tmp_path):
    text = "<p>The harbour of the town was built for ships of every size.</p>" * 6
    code = "<pre><code>if a:\n    b = 2\n</code></pre>"
    for page in (code, f"<article><h1>Harbour</h1>{text}{code}<p>Then go on.</p></article>"):
        (tmp_path / "a.html").write_text(f"<body>{page}</body>")
        sections, _ = await read(reader, tmp_path / "a.html")
        whole = "".join(section.text for section in sections)
        assert re.search(r"^if a:\n *b = 2$", whole, re.MULTILINE), whole


# --- hostile ----------------------------------------------------------------------------------


async def test_a_truncated_pdf_is_one_sentence_and_the_others_go_on(reader: Reader, tmp_path: Path):
    whole = pdf("The first page.", "The second page.")
    (tmp_path / "cut.pdf").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "whole.pdf").write_bytes(whole)
    sections, why = await read(reader, tmp_path / "cut.pdf")
    assert sections == [] and why.startswith("It") and why.endswith(".")
    process = reader._decoder._process
    assert len((await read(reader, tmp_path / "whole.pdf"))[0]) == 2
    assert reader._decoder._process is process


async def test_an_encrypted_pdf_says_so(reader: Reader, tmp_path: Path):
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Secret.")))
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(tmp_path / "a.pdf")
    assert await read(reader, tmp_path / "a.pdf") == ([], "It is encrypted with a password.")


async def test_a_pdf_of_pictures_says_so(reader: Reader, tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(pdf("", ""))
    assert await read(reader, tmp_path / "a.pdf") == ([], "It holds no text, only pictures.")


async def test_a_pdf_within_itself_ends(reader: Reader, tmp_path: Path):
    data = pdf("A page.").replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")
    (tmp_path / "a.pdf").write_bytes(data)
    sections, why = await read(reader, tmp_path / "a.pdf")
    assert sections == [] and why


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.xlsx"])
async def test_a_file_that_is_not_what_its_name_says(reader: Reader, tmp_path: Path, name: str):
    (tmp_path / name).write_text("just text\n")
    sections, why = await read(reader, tmp_path / name)
    assert sections == [] and "damaged" in why


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx"])
async def test_an_office_file_with_a_password_says_so(reader: Reader, tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504)
    sections, why = await read(reader, tmp_path / name)
    assert sections == [] and "password" in why


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx"])
async def test_a_truncated_archive_is_damaged(reader: Reader, tmp_path: Path, name: str):
    word(tmp_path / "whole", "text")
    (tmp_path / name).write_bytes((tmp_path / "whole").read_bytes()[:5000])
    sections, why = await read(reader, tmp_path / name)
    assert sections == [] and "damaged" in why


async def test_a_zip_bomb_is_not_unpacked(reader: Reader, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED) as file:
        for n in range(5):
            with file.open(f"word/document{n}.xml", "w") as member:
                for _ in range(64):
                    member.write(b"\0" * (1 << 20))
    sections, why = await read(reader, tmp_path / "a.docx")
    assert (sections, why) == ([], "It would unpack to more than 256 MB.")


async def test_a_zip_bomb_with_a_lying_header_is_not_unpacked(reader: Reader, tmp_path: Path):
    word(tmp_path / "a.docx", "text")
    with zipfile.ZipFile(tmp_path / "a.docx") as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    body = members["word/document.xml"]
    members["word/document.xml"] = body.replace(b"text", b"A" * (8 << 20))
    archive(tmp_path / "a.docx", members)
    data = (tmp_path / "a.docx").read_bytes()
    size = len(members["word/document.xml"])
    (tmp_path / "a.docx").write_bytes(data.replace(struct.pack("<I", size), struct.pack("<I", 99)))
    sections, why = await read(reader, tmp_path / "a.docx")
    assert sections == [] and why.startswith("It is damaged")


async def test_entities_that_grow_are_not_expanded(reader: Reader, tmp_path: Path):
    word(tmp_path / "a.docx", "text")
    with zipfile.ZipFile(tmp_path / "a.docx") as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    kinds = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(10)
    )  # fmt: skip
    body = members["word/document.xml"].replace(b"text", b"&e9;")
    head, _, rest = body.partition(b"?>")
    members["word/document.xml"] = head + f"?><!DOCTYPE x [{kinds}]>".encode() + rest
    archive(tmp_path / "a.docx", members)
    sections, _ = await read(reader, tmp_path / "a.docx")
    assert sum(len(section.text) for section in sections) < 1000


async def test_a_file_that_needs_too_much_memory_is_one_sentence(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(limits, "FILE_MEMORY_MB", 256)
    reader = Reader()
    word(tmp_path / "ok.docx", "fine")
    long_word(tmp_path / "a.docx", 2_000_000)
    try:
        sections, why = await read(reader, tmp_path / "a.docx")
        assert (sections, why) == ([], "It needs more than 256 MB to be read.")
        assert (await read(reader, tmp_path / "ok.docx")) == ([Section("fine", "paragraph 1")], "")
    finally:
        await reader.close()


async def test_a_file_that_takes_too_long_is_one_sentence(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(limits, "FILE_CPU_SECONDS", 1)
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Long")
    sheet.append(["head"])
    book.save(tmp_path / "a.xlsx")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    rows = b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (n, n) for n in range(2, 9999))
    name = "xl/worksheets/sheet1.xml"
    members[name] = members[name].replace(b"</sheetData>", rows + far + b"</sheetData>")
    archive(tmp_path / "a.xlsx", members)
    reader = Reader()
    try:
        _, why = await read(reader, tmp_path / "a.xlsx")
        assert why == "It takes too long to decode."
    finally:
        await reader.close()


async def test_where_no_jail_holds_no_decoder_is_started_and_the_remedy_is_told(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def none() -> None:
        raise SandboxMissing("Nothing here holds.", remedy="Install bubblewrap.")

    await reader.close()  # the next file would start the decoders
    monkeypatch.setattr(tiers, "best", none)
    word(tmp_path / "a.docx", "fine")
    sections, why = await read(reader, tmp_path / "a.docx")
    assert sections == []
    assert why == "It needs a sandbox. Nothing here holds. Install bubblewrap."
    (tmp_path / "a.txt").write_text("fine")  # a text needs no decoder
    assert (await read(reader, tmp_path / "a.txt"))[0]


async def test_a_pdf_whose_pages_contain_each_other_is_one_sentence(reader: Reader, tmp_path: Path):
    objects = (
        b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n",
        b"2 0 obj<</Type/Pages/Kids[3 0 R 2 0 R]/Count 9>>endobj\n",
        b"3 0 obj<</Type/Pages/Parent 2 0 R/Kids[2 0 R 3 0 R]/Count 9>>endobj\n",
    )
    data, places = b"%PDF-1.4\n", []
    for one in objects:
        places.append(len(data))
        data += one
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Root 1 0 R/Size 4>>\nstartxref\n%d\n%%%%EOF\n" % len(data)
    (tmp_path / "a.pdf").write_bytes(data + b"xref\n0 4\n0000000000 65535 f \n" + table + end)
    sections, why = await read(reader, tmp_path / "a.pdf")
    assert sections == [] and why.startswith("It") and why.endswith(".")


async def test_an_archive_within_an_archive_is_not_opened(reader: Reader, tmp_path: Path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as deep:
        deep.writestr("bomb", b"\0" * (4 << 20))
    archive(tmp_path / "a.docx", {"word/document.xml": inner.getvalue()})
    sections, why = await read(reader, tmp_path / "a.docx")
    assert sections == [] and why.startswith("It is damaged")


async def test_a_decoder_that_is_killed_fails_one_file(reader: Reader, tmp_path: Path):
    word(tmp_path / "a.docx", "fine")
    await read(reader, tmp_path / "a.docx")
    process = reader._decoder._process
    assert process is not None
    await process.kill()
    assert (await read(reader, tmp_path / "a.docx"))[1] == ""


async def test_a_decoder_killed_while_it_reads_is_not_the_files_fault(reader, tmp_path: Path):
    long_word(tmp_path / "long.docx", 20_000)

    async def killing() -> None:
        with io.FileIO(tmp_path / "long.docx") as file:
            async for _ in reader.read(file, "long.docx"):
                if process := reader._decoder._process:
                    await process.kill()

    with pytest.raises(Broken, match="failed"):
        await killing()
    word(tmp_path / "a.docx", "fine")
    assert await read(reader, tmp_path / "a.docx") == ([Section("fine", "paragraph 1")], "")


async def test_a_file_whose_decoder_was_ended_for_its_memory_is_told_so(reader, tmp_path: Path):
    long_word(tmp_path / "long.docx", 20_000)

    async def greedy() -> None:
        with io.FileIO(tmp_path / "long.docx") as file:
            async for _ in reader.read(file, "long.docx"):
                if (process := reader._decoder._process) and not process.ended:
                    process.ended = "memory"  # as the watch over the jail says it
                    await process.kill()

    with pytest.raises(FileNotRead, match="It needs more than 1024 MB to be read.") as told:
        await greedy()
    assert not isinstance(told.value, Broken)  # another time would go no better


async def test_a_decoder_has_nothing_of_the_environment(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", "secret")
    word(tmp_path / "a.docx", "fine")
    await read(reader, tmp_path / "a.docx")
    process = reader._decoder._process
    assert process is not None
    environ = Path(f"/proc/{process.pid}/environ")
    if environ.exists():  # Linux
        assert b"secret" not in environ.read_bytes()


async def test_a_reading_that_is_left_disturbs_no_other(reader: Reader, tmp_path: Path):
    long_word(tmp_path / "long.docx", 20_000)
    word(tmp_path / "a.docx", "fine")
    with io.FileIO(tmp_path / "long.docx") as file:
        async with contextlib.aclosing(reader.read(file, "long.docx")) as sections:
            async for _ in sections:
                break
    assert await read(reader, tmp_path / "a.docx") == ([Section("fine", "paragraph 1")], "")


async def test_a_reading_can_be_cancelled(reader: Reader, tmp_path: Path):
    word(tmp_path / "a.docx", "fine")
    task = asyncio.ensure_future(read(reader, tmp_path / "a.docx"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await read(reader, tmp_path / "a.docx"))[0] == [Section("fine", "paragraph 1")]


# --- long files -------------------------------------------------------------------------------


async def test_a_text_of_200_mb_is_read_to_its_limit(reader: Reader, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(limits, "FILE_TEXT_BYTES", 2 * 1024 * 1024)
    path = tmp_path / "log.txt"
    with path.open("wb") as file:
        file.write(b"a line of a very long log file\n" * 80_000)  # 2.4 MB
        file.truncate(200 * 1024 * 1024)  # the rest is a hole
    sections, why = await read(reader, path)
    assert why == "Only the first 2 MB of its 200 MB were read."
    assert sum(len(s.text) for s in sections) == pytest.approx(2 * 1024 * 1024, rel=0.01)


async def test_a_hole_in_a_text_ends_it(reader: Reader, tmp_path: Path):
    path = tmp_path / "log.txt"
    with path.open("wb") as file:
        file.write(b"a line\n" * 20_000)
        file.truncate(200 * 1024 * 1024)
    sections, why = await read(reader, path)
    assert why == "It is no text from line 20001 on; what is before was read."
    assert sections[-1].where.endswith("-20000")


async def test_a_long_file_that_needs_a_decoder_is_not_read(reader: Reader, tmp_path: Path):
    with (tmp_path / "a.pdf").open("wb") as file:
        file.write(b"%PDF-1.4\n")
        file.truncate(limits.FILE_DECODED_BYTES + 1)
    sections, why = await read(reader, tmp_path / "a.pdf")
    assert sections == [] and "64 MB" in why


async def test_a_file_has_only_so_many_sections(reader: Reader, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(limits, "FILE_SECTIONS", 10)
    (tmp_path / "a.md").write_text("# h\ntext\n" * 1000)
    sections, why = await read(reader, tmp_path / "a.md")
    assert len(sections) < 40 and why.startswith("Only its first")


async def test_a_growing_file_is_read_as_long_as_it_was(reader: Reader, tmp_path: Path):
    path = tmp_path / "a.log"
    path.write_text("first line\n" * 50_000)
    seen = 0
    with io.FileIO(path) as file, path.open("a") as more:
        async for section in reader.read(file, "a.log"):
            more.write("second line\n")
            more.flush()
            seen += len(section.text) + 1
            assert "second" not in section.text
    assert seen == pytest.approx(50_000 * 11, rel=0.01)


async def test_a_disk_that_fails_is_one_sentence(reader: Reader, tmp_path: Path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("text")

    def failing(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    assert await read(reader, path) == ([], "It can't be read: Input/output error.")
