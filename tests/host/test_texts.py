from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.errors import HostError
from llmos.host.texts import decoded


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_come_back_as_they_were(raw):
    try:
        text = decoded(raw)
    except HostError:
        return
    assert text.encoded() == raw


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_an_edited_text_keeps_its_encoding_and_line_ends(encoding):
    read = decoded("grün\r\nrot\r\n".encode(encoding))
    assert read.text == "grün\nrot\n"
    changed = read.with_text("grün\nblau\n").encoded()
    assert changed == "grün\r\nblau\r\n".encode(encoding)


def test_a_character_that_the_encoding_lacks_is_named():
    with pytest.raises(HostError, match="☃"):
        decoded("grün".encode("latin-1")).with_text("☃").encoded()
