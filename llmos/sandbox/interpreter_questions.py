"""What code in a session asks of the kernel: calls, made for it one after the other.

Whoever lends ``Ask`` judges each call; here they are counted and bounded, and what goes wrong
becomes a sentence for the code. Knows nothing of what the calls are.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from llmos import limits
from llmos.errors import LlmosError
from llmos.sdk import ToolError

__all__ = ["Ask", "Questions", "line"]

log = logging.getLogger(__name__)

#: Makes a call for code in a session: its name, its arguments, what it returns (JSON-able, or
#: bytes). What it raises reaches the code as a sentence.
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Questions:
    """The questions of one piece of code.

    Args:
        ask: Makes the calls; without it they are refused.
    """

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask
        self._count = 0
        self._stopped = False
        self._open: asyncio.Future[Any] | None = None

    async def answer(self, number: int, name: str, arguments: Mapping[str, Any]) -> bytes:
        """Have a call made.

        Args:
            number: Of the question, as the code's process counts them.

        Returns:
            The line that answers it.
        """

        def sorry(sentence: str) -> bytes:
            return line(do="answer", id=number, error=sentence)

        self._count += 1
        if self._ask is None:
            return sorry("No calls can be made from here.")
        if self._stopped:
            return sorry(f"{name} was not made: the code was interrupted.")
        if self._count > limits.PYTHON_ASKED:
            return sorry(f"One piece of code may make {limits.PYTHON_ASKED} calls.")
        self._open = asyncio.ensure_future(self._ask(name, arguments))
        try:
            answer = await asyncio.to_thread(_packed, number, await self._open)
            if len(answer) > limits.PYTHON_ANSWER_BYTES:
                return sorry(f"The result of {name} is too large.")
            return answer
        except (LlmosError, ToolError) as error:
            return sorry(str(error))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # the call was, not whoever waits for it
                return sorry(f"{name} was interrupted.")
            raise
        except Exception:
            log.exception("%s failed, asked for by code in a session", name)
            return sorry(f"{name} failed.")
        finally:
            self._open = None

    @property
    def endless(self) -> bool:
        """Whether there were so many that the code does not heed its answers."""
        return self._count >= limits.PYTHON_ASKED + limits.PYTHON_REFUSED

    def stop(self) -> None:
        """Make no more calls; the one that is being made is given up."""
        self._stopped = True
        if self._open is not None:
            self._open.cancel()


def line(**message: Any) -> bytes:
    """A message to the code's process."""
    return json.dumps(message).encode() + b"\n"


def _packed(number: int, result: Any) -> bytes:
    """The line with a result; TypeError where that is neither JSON-able nor bytes."""
    if isinstance(result, bytes):
        return line(do="answer", id=number, bytes=base64.b64encode(result).decode())
    return line(do="answer", id=number, result=result)
