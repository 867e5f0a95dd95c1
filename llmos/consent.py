"""A question about a call, on a plain terminal: what would be done, and yes or no.

Shows the kernel's own wording and the literal arguments, made harmless for a terminal: every row of
a value begins with a rule, however long the value is, so that none looks like a sentence of llmos,
and what white space would hide is counted. A line that was typed before the question stood there
answers nothing.

Where a pipe takes the place of standard input or error, the question goes to the terminal that the
command was started at. A command in the background, or one with no stream of its own on a terminal
(a program reads it), asks nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import termios
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from llmos.client import Client
from llmos.errors import LlmosError, NoSuchQuestion
from llmos.events import CallAnswered, CallAsked
from llmos.visible import legible

__all__ = ["Consent", "Terminal", "shown", "terminal", "unanswered"]

_ANSWERS = {
    "y": "once",
    "yes": "once",
    "c": "conversation",
    "a": "always",
    "n": "no",
    "no": "no",
    "": "no",
}
_ROWS = 40  # of a preview; the chat screen shows all of it
_TOLD_AGAIN = 15  # rows after which what is asked is said once more, beside the answers
_NARROW = 24  # columns that a row is given at least
_RULE = "    │ "


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a person is asked.

    Args:
        reads: Where their answer is typed.
        writes: Where the question is shown.
        opened: Both were opened for it, and are closed with it.
    """

    reads: TextIO
    writes: TextIO
    opened: bool = False

    @property
    def columns(self) -> int:
        """Its width in cells."""
        with contextlib.suppress(OSError):
            if columns := os.get_terminal_size(self.writes.fileno()).columns:
                return columns
        return shutil.get_terminal_size().columns

    def close(self) -> None:
        """Close what was opened."""
        if self.opened:
            self.reads.close()
            self.writes.close()


def terminal() -> Terminal | None:
    """Where the person who runs this command can be asked; None where nobody is there."""
    if _on_terminal(sys.stdin) and _on_terminal(sys.stderr):
        return Terminal(sys.stdin, sys.stderr)
    for stream in (sys.stderr, sys.stdout, sys.stdin):
        with contextlib.suppress(OSError):
            # Of a terminal that is not the command's own, the first of these two fails.
            if _on_terminal(stream) and os.tcgetpgrp(stream.fileno()) == os.getpgrp():
                return _opened(stream.fileno())
    return None


def _on_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _opened(beside: int) -> Terminal:
    try:
        name = os.ttyname(beside)  # by its own name: kqueue cannot wait for /dev/tty
    except OSError:  # it has none in this container
        name = "/dev/tty"
    number = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    reads = open(number, encoding="utf-8", errors="replace")  # noqa: SIM115 - until it is closed
    writes = open(os.dup(number), "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    return Terminal(reads, writes, opened=True)


def shown(asked: CallAsked, columns: int = 0) -> Iterator[str]:
    """The question, row by row, none wider than the terminal.

    Args:
        columns: The terminal's width in cells; that of standard output where 0.
    """
    columns = columns or shutil.get_terminal_size().columns
    width = max(columns - len(_RULE) - 1, _NARROW)
    title = legible(asked.title, line=True)
    before = 0
    yield title
    for reason in asked.reasons:
        before += 1
        yield f"  {legible(reason, line=True)}"
    for name, value, source in asked.arguments:
        yield f"  {legible(name, line=True)} ({legible(source, line=True)}):"
        rows = _rows(value, width) if value else ["(empty)"]
        before += 1 + len(rows)
        yield from (_RULE + row for row in rows)
    if asked.preview:
        yield "  What would change:"
        rows = _rows(asked.preview, width)
        before += 1 + len(rows[:_ROWS])
        yield from (_RULE + row for row in rows[:_ROWS])
        if len(rows) > _ROWS:
            yield f"  … and {len(rows) - _ROWS:,} more rows of it"
    if asked.always:
        yield "  Always would mean:"
        yield from (_RULE + row for row in _rows(asked.always, width))
    if before > _TOLD_AGAIN:
        yield f"{title} All of it stands above."


def _rows(text: str, width: int) -> list[str]:
    """Text as rows that no terminal breaks anew."""
    rows = []
    for line in legible(text).splitlines():
        row, taken = "", 0
        for character in line:
            cells = 2 if unicodedata.east_asian_width(character) in "WFA" else 1
            if taken + cells > width:
                rows.append(row)
                row, taken = "", 0
            row, taken = row + character, taken + cells
        rows.append(row)
    return rows


async def unanswered(client: Client) -> str:
    """What to say of questions that nobody will be able to answer any more; empty for none.

    Args:
        client: Of a kernel that is about to stop, and may be broken.
    """
    try:
        asked = await client.questions()
    except LlmosError:
        return ""
    if not asked:
        return ""
    named = ", ".join(f"{each['call']['name']} in process {each['pid']}" for each in asked)
    if len(asked) == 1:
        return f"A question was not answered, so that call was not made: {named}."
    return f"{len(asked)} questions were not answered, so those calls were not made: {named}."


class Consent:
    """Asks the person at this terminal, one question after the other.

    Args:
        client: Takes the answers.
        at: Where the person is asked; it is closed with this.
    """

    def __init__(self, client: Client, at: Terminal) -> None:
        self._client = client
        self._at = at
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()  # one question at a time

    def take(self, event: CallAsked | CallAnswered) -> None:
        """A question came, or was answered: here or in another terminal."""
        if isinstance(event, CallAsked):
            self._asking[event.call.id] = asyncio.create_task(self._ask(event))
        elif asking := self._asking.pop(event.call_id, None):
            asking.cancel()

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._at.close()

    async def _ask(self, asked: CallAsked) -> None:
        async with self._turn:
            rows = shown(asked, self._at.columns)
            print("\n" + "\n".join(rows), file=self._at.writes)
            choices = "[y]es, once  [N]o"
            if asked.always:
                choices = "[y]es, once  [c] in this conversation  [a]lways  [N]o"
            with contextlib.suppress(OSError, termios.error):
                termios.tcflush(self._at.reads, termios.TCIFLUSH)
            answer = None
            while answer is None:
                print(f"{choices}: ", end="", file=self._at.writes, flush=True)
                said = (await _line(self._at.reads)).strip().lower()
                answer = _ANSWERS.get(said)
                if answer in ("conversation", "always") and not asked.always:
                    answer = None
                if answer is None:
                    print("That is none of the answers.", file=self._at.writes)
        try:
            await self._client.answer(asked.pid, asked.call.id, answer)
        except NoSuchQuestion:
            pass  # somebody else was faster
        except LlmosError as error:
            print(f"Your answer did not arrive: {error}", file=self._at.writes)


async def _line(reads: TextIO) -> str:
    """A line from the terminal; empty at its end. Cancelling it leaves the terminal alone."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(reads.fileno(), arrived)
    try:
        await ready
    finally:
        loop.remove_reader(reads.fileno())
    return reads.readline()
