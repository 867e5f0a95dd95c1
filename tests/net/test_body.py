from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import NetError
from llmos.net.body import Body

TEXT = b"The moon moves the sea twice a day. " * 20


def unpacked(packing: str, *pieces: bytes) -> bytes:
    body = Body(packing, 1 << 20)
    for piece in pieces:
        body.feed(piece)
    return body.whole()


@given(
    st.sampled_from(
        [
            ("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
            ("gzip", gzip.compress(TEXT) + bytes(9)),
            ("x-gzip", gzip.compress(TEXT) + b"\x1f"),
            ("deflate", zlib.compress(TEXT)),
            ("deflate", zlib.compress(TEXT)[2:-4] + b"more"),
            ("", TEXT),
        ]
    ),
    st.sets(st.integers(0, 400)),
)
def test_it_is_the_same_wherever_the_network_cuts_it(packed, cuts):
    packing, raw = packed
    ends = [*sorted(cuts), len(raw)]
    pieces = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert unpacked(packing, *pieces) == TEXT
    assert unpacked(packing, *(raw[at : at + 1] for at in range(len(raw)))) == TEXT


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_less_than_a_stream_is_told(packing):
    for raw in (b"\x1f", gzip.compress(TEXT)[:-1] if packing == "gzip" else b"\x78"):
        with pytest.raises(NetError, match="damaged|early"):
            unpacked(packing, raw)
    assert unpacked(packing) == b""
