from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import NetError
from llmos.net import sniff

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


@pytest.mark.parametrize(
    ("body", "claimed", "media"),
    [
        (b"<!doctype html><p>x", "text/html", sniff.HTML),
        (b"<!DOCTYPE HTML><p>x", "image/png", sniff.HTML),
        (b"  \n<html><body>x", "text/plain", sniff.HTML),
        (b"<p>a fragment", "text/html", sniff.HTML),
        (b"no tags at all", "text/html", sniff.TEXT),
        (b"no tags at all", "", sniff.TEXT),
        (b"1 < 2 and <html> is a word", "text/plain", sniff.TEXT),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\x00", "text/html", sniff.PDF),
        (b'{"a": [1, 2]}\n', "text/html; x", sniff.JSON),
        (b"[link] (text)", "text/markdown", sniff.TEXT),
        (b"<?xml version='1.0'?><rss></rss>", "application/xml", sniff.TEXT),
        (b"<?xml version='1.0'?><html xmlns='x'>", "application/xhtml+xml", sniff.HTML),
        ("ünïcödé".encode("utf-16"), "text/plain", sniff.TEXT),
        (b"PK\x03\x04...word/document.xml...", "", sniff.WORD),
        (b"PK\x03\x04...xl/workbook.xml...", "application/zip", sniff.WORKBOOK),
        (b"BMW and MZ begin texts, too", "text/plain", sniff.TEXT),
    ],
)
def test_the_bytes_say_what_it_is(body, claimed, media):
    assert sniff.media(body, claimed) == media


@pytest.mark.parametrize(
    ("body", "claimed", "told"),
    [
        (PNG, "text/html", r"picture \(PNG\), not what its server says \(text/html\)"),
        (PNG, "image/png", r"picture \(PNG\), which"),
        (b"PK\x03\x04\x14\x00", "text/html", "archive"),
        (b"\x7fELF\x02\x01\x01\x00", "text/plain", "program"),
        (b"MZ\x90\x00\x03\x00", "application/pdf", "program"),
        (b"\x00\x01\x02\x03" * 100, "text/plain", "no text"),
        (bytes(range(1, 32)) * 20, "text/html", "no text"),
        (b"  \n ", "text/html", "empty"),
        (b"", "text/html", "empty"),
    ],
)
def test_what_cannot_be_read_is_named(body, claimed, told):
    with pytest.raises(NetError, match=told):
        sniff.media(body, claimed)


def test_text_is_decoded_by_its_mark_then_by_its_server_then_as_utf_8():
    assert sniff.decoded("ä".encode("utf-16"), "latin-1") == "ä"
    assert sniff.decoded(b"\xe4", "iso-8859-1") == "ä"
    assert sniff.decoded("ä".encode(), "") == "ä"
    assert sniff.decoded(b"\xe4", "") == "ä"
    for name in (
        "zip",
        "hex",
        "rot13",
        "idna",
        "punycode",
        "no-such",
        "undefined",
        "unicode-escape",
    ):
        assert sniff.decoded(b"plain", name) == "plain"


@given(st.binary(max_size=300), st.text(max_size=20))
def test_any_bytes_are_something_or_a_sentence(body, charset):
    try:
        sniff.media(body, "text/html")
    except NetError as error:
        assert error.sentence.endswith(".")
    assert isinstance(sniff.decoded(body, charset), str)
