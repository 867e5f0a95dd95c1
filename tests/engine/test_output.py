"""However the bytes arrive, the same text leaves, and none of it is ever taken back."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from llmos.engine.output import Output

STOPS = st.lists(st.text("ab🐦", min_size=1, max_size=4), max_size=4).map(tuple)
BYTES = st.one_of(
    st.text("ab🐦").map(str.encode),
    st.lists(st.sampled_from([b"a", b"b", "🐦".encode(), b"\xff", b"\xf0\x9f"])).map(b"".join),
)


def spoken(pieces: list[bytes], stops: tuple[str, ...]) -> str:
    output = Output(stops)
    text = ""
    for piece in pieces:
        text += output.feed(piece)
        if output.stopped:
            break
    return text + output.finish()


def expected(data: bytes, stops: tuple[str, ...]) -> str:
    """The text up to the stop that is complete first, of several the longest."""
    text = data.decode("utf-8", "replace")
    for end in range(len(text) + 1):
        hits = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if hits:
            return text[: min(hits)]
    return text


@given(data=BYTES, cuts=st.lists(st.integers(0, 60)), stops=STOPS)
def test_any_split_gives_the_text_of_the_whole(data, cuts, stops):
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert spoken(pieces, stops) == expected(data, stops)
    assert spoken([bytes([b]) for b in data], stops) == expected(data, stops)


@given(data=BYTES, stops=STOPS)
def test_what_is_emitted_is_always_a_beginning_of_the_final_text(data, stops):
    output, text = Output(stops), ""
    for byte in data:
        text += output.feed(bytes([byte]))
        assert expected(data, stops).startswith(text)


def test_text_that_cannot_begin_a_stop_string_is_not_held_back():
    output = Output(("END",))
    assert output.feed(b"hello") == "hello"
    assert output.feed(b" EN") == " "
    assert output.feed(b"D more") == ""
    assert output.stopped
    assert output.finish() == ""


def test_half_a_character_waits_for_its_other_half():
    output = Output()
    bird = "🐦".encode()
    assert output.feed(bird[:3]) == ""
    assert output.feed(bird[3:]) == "🐦"


def test_a_character_that_is_never_finished_shows_as_such():
    output = Output()
    output.feed("🐦".encode()[:3])
    assert output.finish() == "\ufffd"
