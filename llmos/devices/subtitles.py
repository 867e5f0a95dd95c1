"""What was said, as subtitles: SubRip (``.srt``) and WebVTT (``.vtt``).

Cues are cut from words with their times, by the rules that makers of subtitles keep: at most two
lines of 42 characters, no longer than 7 seconds, not shorter than a reader needs, and a new cue
where a sentence ends or somebody rests. WebVTT: https://www.w3.org/TR/webvtt1/.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from llmos.devices.partials import HeardWord

__all__ = ["Cue", "cues", "srt", "vtt"]

#: Characters of a line, and lines of a cue.
LINE: Final = 42
LINES: Final = 2
#: Seconds that a cue stands: at most, and at least where the next one leaves room.
LONGEST_S: Final = 7.0
SHORTEST_S: Final = 1.0
#: Seconds of rest after which a new cue begins.
REST_S: Final = 0.8
#: A sentence that ends in the first half of a cue is followed by more.
_ENDS: Final = (".", "!", "?", "…", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once.

    Args:
        start_s / end_s: When, in seconds.
        lines: At most ``LINES``.
    """

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def cues(words: Iterable[HeardWord]) -> Iterator[Cue]:
    """The cues of a stream of words, each as soon as it is whole."""
    held: Cue | None = None
    for group in _groups(words):
        start = group[0].start_s
        if held is not None:
            yield _longer(held, start)
        text = " ".join("".join(word.text for word in group).split())
        held = Cue(start, max(group[-1].end_s, start), tuple(_lines(text)))
    if held is not None:
        yield _longer(held, math.inf)


def srt(cues: Iterable[Cue]) -> Iterator[str]:
    """SubRip, cue by cue."""
    for number, cue in enumerate(cues, 1):
        lines = "\n".join(cue.lines)
        yield f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{lines}\n\n"


def vtt(cues: Iterable[Cue]) -> Iterator[str]:
    """WebVTT, its head first, then cue by cue."""
    yield "WEBVTT\n\n"
    for cue in cues:
        # what is markup there must not come from what was said
        lines = "\n".join(
            line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            for line in cue.lines
        )
        yield f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{lines}\n\n"


def _groups(words: Iterable[HeardWord]) -> Iterator[list[HeardWord]]:
    group: list[HeardWord] = []
    for word in words:
        if not word.text.strip():
            continue
        if group and _full(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _full(group: Sequence[HeardWord], word: HeardWord) -> bool:
    """Whether ``word`` begins a new cue."""
    text = "".join(one.text for one in group).strip()
    if word.start_s - group[-1].end_s > REST_S or word.end_s - group[0].start_s > LONGEST_S:
        return True
    if text.endswith(_ENDS) and len(text) > LINE // 2:
        return True
    return len(_lines(" ".join((text + word.text).split()))) > LINES


def _lines(text: str) -> list[str]:
    lines = textwrap.wrap(text, LINE, break_long_words=True, break_on_hyphens=False)
    if len(lines) == LINES:  # two lines of about the same length are read more easily
        balanced = textwrap.wrap(text, max(len(text) // 2 + 4, LINE // 2), break_on_hyphens=False)
        if len(balanced) == LINES:
            return balanced
    return lines


def _longer(cue: Cue, until_s: float) -> Cue:
    """The cue, standing at least ``SHORTEST_S`` where the next one, at ``until_s``, leaves room."""
    wanted = max(cue.end_s, cue.start_s + SHORTEST_S)
    return Cue(cue.start_s, max(min(wanted, until_s), cue.start_s), cue.lines)


def _clock(seconds: float, point: str) -> str:
    millis = round(max(seconds, 0.0) * 1_000)
    hours, rest = divmod(millis, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1_000:02}{point}{rest % 1_000:03}"
