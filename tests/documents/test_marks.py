from __future__ import annotations

import ast
import codecs
import io
from pathlib import Path

import pytest

import llmos
from llmos.documents import sections
from llmos.documents.marks import marked
from llmos.host import texts
from llmos.net import sniff

ENCODINGS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize(("encoding", "mark"), ENCODINGS.items())
def test_files_folders_and_pages_read_a_marked_text_alike(encoding, mark):
    raw = mark + "Küste ☃".encode(encoding)
    assert marked(raw) == (mark, encoding)
    assert texts.decoded(raw).text == sniff.decoded(raw) == "Küste ☃"
    assert sections.opened(io.BytesIO(raw), raw[:4]).read() == "Küste ☃"


def test_without_a_mark_it_is_utf_8():
    assert marked("Küste".encode()) == marked(b"") == (b"", "utf-8")


def test_the_marks_stand_in_one_place():
    package = Path(llmos.__file__).parent
    naming = [
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith("BOM_UTF")
    ]
    assert set(naming) == {"marks.py"}
