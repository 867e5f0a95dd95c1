"""A question about a call, on a plain terminal: what would be done, and yes or no.

Shows the kernel's own wording and the literal arguments, made harmless for a terminal. A line that
was typed before the question stood there answers nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import termios
from collections.abc import Iterator

from llmos.client import Client
from llmos.errors import LlmosError
from llmos.events import CallAnswered, CallAsked
from llmos.visible import visible

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
_LINES = 40  # of a preview; the chat screen shows all of it


def present() -> bool:
    """Whether a person is there who can be asked: both ends of the talk are a terminal."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())


def shown(asked: CallAsked) -> Iterator[str]:
    """The question, line by line."""
    yield visible(asked.title)
    for reason in asked.reasons:
        yield f"  {visible(reason)}"
    for name, value, source in asked.arguments:
        first, *rest = visible(value).splitlines() or [""]
        yield (
            f"    {visible(name)} = {first}   ({visible(source)})"
            if not rest
            else (f"    {visible(name)} ({visible(source)}):")
        )
        for line in (first, *rest) if rest else ():
            yield f"      {line}"
    lines = visible(asked.preview).splitlines()
    for line in lines[:_LINES]:
        yield f"    {line}"
    if len(lines) > _LINES:
        yield f"    … and {len(lines) - _LINES} more lines"


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
                print(f"  always would mean: {visible(asked.always)}", file=sys.stderr)
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
