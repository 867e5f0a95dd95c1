"""A conversation as Markdown, for people, and read again.

``**You**`` and ``**llmos**`` stand above what each said; calls are folded. Where a text has a line
that looks like one of these marks, a backslash keeps it apart, so that no text can pretend to be
somebody else's. Read again are the words of the two, with their times; calls, labels and hashes
are in the JSON lines only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

from llmos import limits
from llmos.errors import BadFile
from llmos.events import Message
from llmos.labels import Label
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation, spoken
from llmos.memory.fields import UNTOLD
from llmos.memory.records import Record, unheard, unsaid

__all__ = ["Paper", "conversations"]

_NAMES = {"user": "You", "assistant": "llmos"}
_ROLES = {name: role for role, name in _NAMES.items()}
_MARK = re.compile(r"\\*(?:\*\*(?:You|llmos)\*\*|</?details>|<!-- llmos)")
_HEADING = re.compile(r"\*\*(You|llmos)\*\*(?: · ([-0-9: ]+))?(?: · cut short)?")
_BEGIN = "<!-- llmos: process"
_ENDED = re.compile(r"<!-- llmos: process \d+, ended ([-0-9: ]+) -->")
_CLOCK = "%Y-%m-%d %H:%M:%S"


def _day(time: float) -> str:
    """A time for people, in their own zone; nothing for one that no calendar holds."""
    try:
        return datetime.fromtimestamp(time).strftime(_CLOCK)
    except (OverflowError, OSError, ValueError):
        return ""


def _apart(text: str) -> str:
    return "\n".join("\\" + line if _MARK.match(line) else line for line in text.split("\n"))


class Paper:
    """Writes one conversation, piece by piece.

    Args:
        pid / title / created / ended: Of its process.
    """

    def __init__(self, pid: int, title: str, created: float, ended: float | None = None) -> None:
        self._pid = pid
        self._title = " ".join(title.split()) or f"Process {pid}"
        self._created = created
        self._ended = ended

    def head(self) -> str:
        """What stands above everything."""
        over = "" if self._ended is None else f", ended {_day(self._ended) or _day(self._created)}"
        about = f"*Process {self._pid}, {_day(self._created)}{over}*"
        return f"{_BEGIN} {self._pid}{over} -->\n# {self._title}\n\n{about}\n\n"

    def turn(self, record: Record, erased: bool) -> str:
        """One record; nothing for those that only the kernel needs."""
        stored, message = record.stored, record.stored.message
        text = "*(This text was forgotten.)*" if erased else _apart(message.content)
        if message.role == "tool":
            how = f"failed: {stored.error}" if stored.error else f"{stored.seconds:.1f} s"
            return _folded(f"Result of {message.name or 'a call'} ({how})", message.content)
        if message.role not in _NAMES or unheard(record):
            return ""
        beside = ""
        if other := unsaid(record):  # under You it would be read as the person's word
            text = _apart(message.content.removesuffix(other).rstrip("\n"))
            beside = _folded("Not written by you", other)
        cut = " · cut short" if stored.partial else ""
        when = f" · {day}" if (day := _day(stored.time)) else ""
        calls = "".join(
            _folded(f"Call of {call.name}", _readable(call.arguments)) for call in message.calls
        )
        said = f"{text}\n\n{beside}" if text else beside
        return f"**{_NAMES[message.role]}**{when}{cut}\n\n{said}{calls}"

    def end(self) -> str:
        """What stands below everything."""
        return "\n"


def _readable(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _folded(summary: str, text: str) -> str:
    runs = [len(run) for run in re.findall("`{3,}", text)]
    fence = "`" * (max(runs, default=2) + 1)
    line = re.sub(r"[<>&\s]+", " ", summary)
    opened = f"<details>\n<summary>{line}</summary>\n\n"
    return f"{opened}{fence}\n{_apart(text)}\n{fence}\n\n</details>\n\n"


# --- reading ----------------------------------------------------------------------------------


def conversations(path: Path, *, mine: bool, time: float) -> Iterator[Conversation]:
    """The conversations of a Markdown file of the form that is written here.

    Args:
        mine: What stands under ``**You**`` is the word of the person who imports it, and what
            stands under ``**llmos**`` a model's.
        time: Seconds since the epoch, where nothing tells when something was said.

    Raises:
        BadFile: Nothing in it is headed so.
    """
    reader = _Reader(path, mine, time)
    found = False
    for conversation in reader.conversations():
        found = True
        yield conversation
    if not found:
        raise BadFile(
            f"{path} holds no conversation: no line is **You** or **llmos**.",
            remedy="It can also be JSON: an export of llmos or ChatGPT, or a list of messages.",
        )


class _Reader:
    """Goes through the file once, line by line."""

    def __init__(self, path: Path, mine: bool, time: float) -> None:
        self._path = path
        self._mine = mine
        self._title = ""
        self._heading: tuple[str, float] | None = None  # that was read and not yet used
        self._over = False  # its last line was read
        self._begin = ""  # the line that the next conversation begins with, where it was read
        self._number = 0  # of the line
        self._last = time  # of the last heading that told one
        self._left_out: list[str] = []  # of the conversation that is read

    def conversations(self) -> Iterator[Conversation]:
        with self._path.open(encoding="utf-8-sig", newline="\n") as file:
            lines = self._lines(file)
            while self._to_heading(lines):
                ended = self._time(_ENDED.fullmatch(self._begin))
                self._begin = ""
                drafts = self._drafts(lines)
                yield Conversation(
                    title=self._title,
                    created=self._last,
                    ended=ended,
                    reason="" if ended is None else "imported",
                    items=drafts,
                    left_out=self._left_out,
                )
                for _ in drafts:  # what nobody wanted
                    pass

    def _lines(self, file: TextIO) -> Iterator[str]:
        try:
            while line := file.readline(limits.IMPORT_VALUE_CHARS):
                self._number += 1
                if len(line) == limits.IMPORT_VALUE_CHARS:
                    raise BadFile(f"{self._path}, line {self._number}: it is too long.")
                yield line.rstrip("\r\n")
        except UnicodeDecodeError:
            raise BadFile(f"{self._path} is not text in UTF-8.") from None

    def _to_heading(self, lines: Iterator[str]) -> bool:
        """Go on to the first heading of the next conversation; False at the end."""
        self._title, self._over, self._left_out = "", False, []
        for line in lines:
            if line.startswith(_BEGIN):
                self._begin, self._title = line, ""
            elif line.startswith("# ") and not self._title:
                self._title = line[2:].strip()[: limits.TITLE_CHARS]
            elif heading := _HEADING.fullmatch(line):
                self._heading = self._parsed(heading)
                return True
        return False

    def _parsed(self, heading: re.Match[str]) -> tuple[str, float]:
        try:
            self._last = datetime.strptime((heading[2] or "").strip(), _CLOCK).timestamp()
        except (ValueError, OverflowError, OSError):
            if UNTOLD not in self._left_out:  # it was said, as far as is known, when the last was
                self._left_out.append(UNTOLD)
        return _ROLES[heading[1]], self._last

    def _time(self, ended: re.Match[str] | None) -> float | None:
        """When a conversation ended that says so; one that tells no good time, when it was read."""
        if ended is None:
            return None
        try:
            return datetime.strptime(ended[1].strip(), _CLOCK).timestamp()
        except (ValueError, OverflowError, OSError):
            return self._last

    def _drafts(self, lines: Iterator[str]) -> Iterator[Draft]:
        turn = 0
        while self._heading is not None and not self._over:
            role, time = self._heading
            text = self._text(lines)
            turn += 1 if role == "user" or turn == 0 else 0
            if text:
                label = Label(spoken(role, mine=self._mine))
                yield Draft(Message(role, text), turn, time, label)

    def _text(self, lines: Iterator[str]) -> str:
        """What stands under a heading; then ``_heading`` is the next one, or None."""
        self._heading = None
        kept: list[str] = []
        size, folded = 0, False
        for line in lines:
            if line.startswith(_BEGIN):
                self._over, self._begin = True, line
                break
            if heading := _HEADING.fullmatch(line):
                self._heading = self._parsed(heading)
                break
            if line in ("<details>", "</details>"):
                folded = line == "<details>"
                continue
            if folded:
                continue
            size += len(line) + 1
            if size > limits.MESSAGE_CHARS:
                raise BadFile(
                    f"{self._path}, line {self._number}: a message is longer than"
                    f" {limits.MESSAGE_CHARS:,} characters."
                )
            kept.append(line[1:] if line.startswith("\\") and _MARK.match(line) else line)
        return "\n".join(kept).strip("\n")
