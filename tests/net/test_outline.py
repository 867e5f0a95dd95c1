from __future__ import annotations

import io

import pytest
from pypdf import PdfReader, PdfWriter

from llmos.errors import NetError, SandboxMissing
from llmos.net.outline import Field, Outliner, clean
from llmos.sandbox.jail import Finished
from tests.net import jails

BASE = "https://example.org/a/page?x"


@pytest.fixture
async def outliner():
    await jails.jail()
    return Outliner()


async def test_links_are_absolute_distinct_and_lead_to_the_web(outliner):
    page = b"""<title> Two
      words </title><body>
      <a href="b">B <b>bold</b></a> <a href="/c#part">C</a> <a href="/c">again</a>
      <a href="//other.example/d"><img alt="a picture"></a> <a href="#here">here</a>
      <a href="javascript:alert(1)">no</a> <a href="mailto:a@b.c">no</a> <a href="data:x">no</a>
      <a href="http://user@host.example/">no</a> <a href="http://[">no</a> <a>none</a>"""
    outline = await outliner.page(page, BASE)
    assert outline.title == "Two words"
    assert outline.links == (
        ("B bold", "https://example.org/a/b"),
        ("C", "https://example.org/c"),
        ("a picture", "https://other.example/d"),
    )


async def test_a_page_may_say_where_its_links_begin(outliner):
    outline = await outliner.page(b'<base href="/z/"><a href="b">B</a>', BASE)
    assert outline.links == (("B", "https://example.org/z/b"),)


async def test_of_20000_links_the_first_are_kept_and_the_rest_counted(outliner):
    page = b"".join(b'<a href="/%d">number %d</a>' % (n, n) for n in range(20_000))
    outline = await outliner.page(page, BASE)
    assert len(outline.links) == 300 and outline.more == 19_700


async def test_a_title_cannot_act_on_a_terminal_or_turn_text_around(outliner):
    page = "<title>\x1b]0;gone\x07\u202edesrever\u202c\r\nnext</title><a href=x>\x9b31mred</a>"
    outline = await outliner.page(page.encode(), BASE)
    for text in (outline.title, outline.links[0][0]):
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u202c" for c in text)
    assert "desrever" in outline.title


async def test_fields_of_a_form_are_listed_without_secrets(outliner):
    page = b"""<form><label for="n">Your name</label><input id="n" name="name" value="Ann">
      <input type="hidden" name="token" value="s3cret"><input type="password" name="p" value="hush">
      <select name="size"><option>small<option>large</select><textarea name="note"></textarea>
      <input type="submit"></form>"""
    outline = await outliner.page(page, BASE)
    assert outline.fields == (
        Field("Your name", "text", "Ann"),
        Field("p", "password", ""),
        Field("size", "select", "small / large"),
        Field("note", "textarea", ""),
    )


@pytest.mark.parametrize(
    "page",
    [
        b"<div>" * 200_000,
        b"<a href=x>" * 100_000,
        b"<!--" * 100_000,
        b"\xff\xfe\x00" * 1000,
        b"<title>" + b"x" * 1_000_000,
        b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><title>&a;</title>",
        b"&" * 1_000_000,
        b"<a" + b" x=y" * 300_000,
    ],
)
async def test_a_page_made_to_hurt_hurts_nobody(outliner, page):
    try:
        outline = await outliner.page(page, BASE)
    except NetError:
        return
    assert len(outline.title) <= 300 and "root:" not in outline.title


async def test_fields_and_title_of_a_pdf(outliner):
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    writer.add_metadata({"/Title": "A form \x1b[2J"})
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

    field = DictionaryObject(
        {
            NameObject("/FT"): NameObject("/Tx"),
            NameObject("/T"): TextStringObject("city"),
            NameObject("/V"): TextStringObject("Bern"),
        }
    )
    form = DictionaryObject({NameObject("/Fields"): ArrayObject([writer._add_object(field)])})
    writer.root_object[NameObject("/AcroForm")] = writer._add_object(form)
    out = io.BytesIO()
    writer.write(out)
    assert PdfReader(io.BytesIO(out.getvalue())).get_fields()
    outline = await outliner.page(out.getvalue(), BASE, "pdf")
    assert outline.title == "A form ␛[2J"
    assert outline.fields == (Field("city", "text", "Bern"),)


def _looped(body: bytes) -> bytes:
    """A PDF of these objects, in which the reader must find its own way: there is no table."""
    return b"%PDF-1.4\n" + body + b"\ntrailer << /Root 1 0 R /Info 9 0 R >>\n%%EOF\n"


_PAGES = b"2 0 obj << /Type /Pages /Count 1 /Kids [3 0 R] >> endobj\n"
_PAGE = b"3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >> endobj\n"
_FORM = b"1 0 obj << /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >> endobj\n"


@pytest.mark.parametrize(
    "pdf",
    [
        _looped(
            b"1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n"
            b"2 0 obj << /Type /Pages /Count 9 /Parent 2 0 R /Kids [2 0 R 2 0 R] >> endobj\n"
        ),
        _looped(
            _FORM + _PAGES + _PAGE + b"4 0 obj << /T (a) /FT /Tx /Kids [4 0 R 4 0 R] >> endobj\n"
        ),
        _looped(
            _FORM
            + _PAGES
            + _PAGE
            + b"4 0 obj << /T (a) /FT /Tx /Parent 5 0 R /Kids [5 0 R] >> endobj\n"
            + b"5 0 obj << /T (b) /FT /Tx /Parent 4 0 R /Kids [4 0 R 4 0 R] >> endobj\n"
        ),
        _looped(
            b"1 0 obj 1 0 R endobj\n" + b"9 0 obj << /Title 9 0 R >> endobj\n" + _PAGES + _PAGE
        ),
        b"%PDF-1.4\nxref\n0 1\n0000000000 65535 f \n"
        b"trailer << /Size 1 /Root 1 0 R /Prev 9 >>\nstartxref\n9\n%%EOF\n",
    ],
    ids=["pages", "a field", "two fields", "references", "tables"],
)
async def test_a_pdf_that_leads_in_circles_ends(outliner, pdf):
    try:
        outline = await outliner.page(pdf, BASE, "pdf")
    except NetError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    else:
        assert len(outline.fields) <= 200 and outline.count == 0


async def test_without_a_jail_nothing_is_parsed():
    async def none():
        raise SandboxMissing("There is no jail.", remedy="Install one.")

    with pytest.raises(SandboxMissing):
        await Outliner(none).page(b"<title>x</title>", BASE)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"title": 5, "links": [["a"], ["a", 5], 7], "count": "x", "fields": {"a": 1}}',
        b'{"links": [["a", "file:///etc/passwd"]], "fields": [["a", "b"]]}',
    ],
)
async def test_what_a_worker_says_that_was_taken_over_is_not_believed(monkeypatch, said):
    async def taken_over(*args, **options):
        return Finished(0, said, b"", "")

    async def jail():
        return None

    monkeypatch.setattr("llmos.net.outline.run", taken_over)
    try:
        outline = await Outliner(jail).page(b"<p>", BASE)
    except NetError:
        return
    assert outline.links == () and outline.fields == () and outline.more == 0


def test_what_only_says_where_a_word_may_break_leaves_no_mark():
    assert clean("some\u00adthing\u200b \n new\ufeff", 100) == "something new"
