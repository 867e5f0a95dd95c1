"""A question about a call, on a plain terminal: what would be done, and yes or no.

Shows the kernel's own wording and the literal arguments, made harmless for a terminal: every row of
a value begins with a rule, however long the value is, so that none looks like a sentence of llmos,
and what white space would hide is counted. A line that was typed before the question stood there
answers nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import termios
import unicodedata
from collections.abc import Iterator

from llmos.client import Client
from llmos.errors import LlmosError
from llmos.events import CallAnswered, CallAsked
from llmos.visible import legible

__all__ = ["Consent", "present", "shown"]

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


def present() -> bool:
    """Whether a person is there who can be asked: both ends of the talk are a terminal."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())


def shown(asked: CallAsked) -> Iterator[str]:
    """The question, row by row, none wider than the terminal."""
    width = max(shutil.get_terminal_size().columns - len(_RULE) - 1, _NARROW)
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


class Consent:
    """Asks the person at this terminal, one question after the other.

    Args:
        client: Takes the answers.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
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

    async def _ask(self, asked: CallAsked) -> None:
        async with self._turn:
            print("\n" + "\n".join(shown(asked)), file=sys.stderr)
            choices = "[y]es, once  [N]o"
            if asked.always:
                choices = "[y]es, once  [c] in this conversation  [a]lways  [N]o"
            with contextlib.suppress(OSError, termios.error):
                termios.tcflush(sys.stdin, termios.TCIFLUSH)
            answer = None
            while answer is None:
                print(f"{choices}: ", end="", file=sys.stderr, flush=True)
                said = (await _line()).strip().lower()
                answer = _ANSWERS.get(said)
                if answer is None:
                    print("That is none of the answers.", file=sys.stderr)
                if answer in ("conversation", "always") and not asked.always:
                    answer = None
        with contextlib.suppress(LlmosError):  # somebody else was faster
            await self._client.answer(asked.pid, asked.call.id, answer)


async def _line() -> str:
    """A line from the terminal; empty at its end. Cancelling it leaves the terminal alone."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sys.stdin.fileno(), arrived)
    try:
        await ready
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
