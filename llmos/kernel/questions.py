"""Questions to a person about calls, and their answers.

A question is told to every terminal that shows the conversation; the first answer holds. Where no
terminal is there that can answer, nobody is waited for. Knows nothing of rules: what is asked, and
what an answer means, is the gate's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from enum import StrEnum

from llmos import limits
from llmos.errors import KernelError, NoSuchQuestion
from llmos.events import CallAnswered, CallAsked, Event

__all__ = ["Answered", "Questions"]


class Answered(StrEnum):
    """What a person said."""

    ONCE = "once"
    CONVERSATION = "conversation"
    ALWAYS = "always"
    NO = "no"
    NOBODY = ""  # nobody was there, or nobody answered


class Questions:
    """All questions that wait.

    Args:
        publish: Takes events.
        heard: Whether a terminal that can answer shows a process.
    """

    def __init__(self, publish: Callable[[Event], None], heard: Callable[[int], bool]) -> None:
        self._publish = publish
        self._heard = heard
        self._waiting: dict[tuple[int, str], tuple[CallAsked, asyncio.Future[Answered]]] = {}

    def waiting(self, pid: int = 0) -> Iterator[CallAsked]:
        """Questions that wait, of one process or (0) of all."""
        return iter([asked for asked, _ in self._waiting.values() if pid in (0, asked.pid)])

    async def ask(self, asked: CallAsked) -> Answered:
        """Ask, and wait for the answer.

        Args:
            asked: The question; its process and its call's id name it.

        Returns:
            The answer; ``NOBODY`` where no terminal can give one, or none came in time.
        """
        if not self._heard(asked.pid):
            return Answered.NOBODY
        key = (asked.pid, asked.call.id)
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting[key] = (asked, answer)
        self._publish(asked)
        said = Answered.NOBODY
        try:
            async with asyncio.timeout(limits.QUESTION_SECONDS):
                said = await answer
        except TimeoutError:
            pass
        finally:
            del self._waiting[key]
            settled = CallAnswered(
                pid=asked.pid, turn=asked.turn, call_id=asked.call.id, answer=said.value
            )
            self._publish(settled)
        return said

    def answer(self, pid: int, call_id: str, said: str) -> None:
        """Give an answer.

        Raises:
            NoSuchQuestion: Nothing of that name waits (any more).
            KernelError: That is no answer to it.
        """
        found = self._waiting.get((pid, call_id))
        if found is None or found[1].done():
            raise NoSuchQuestion("This question was answered already, or its turn is over.")
        asked, answer = found
        known = [Answered.ONCE, Answered.NO]
        if asked.always:
            known += [Answered.CONVERSATION, Answered.ALWAYS]
        if said not in known:
            raise KernelError(f"The answer must be one of {', '.join(sorted(known))}.")
        answer.set_result(Answered(said))
