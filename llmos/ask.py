"""``llmos ask``: one question, one answer, for pipes and scripts."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
import time
from typing import Any

from llmos.client import Client
from llmos.errors import LlmosError, ProcessEnded
from llmos.events import (
    CallFinished,
    CallStarted,
    Event,
    ProcessChanged,
    ReplyDelta,
    ReplyFinished,
    TurnFinished,
)
from llmos.visible import visible

__all__ = ["ask"]

#: What is said of an answer that is not whole, where nothing failed.
_CUT = {
    "length": "The answer was cut at its length limit; [agent] reply_tokens sets it.",
    "interrupted": "The answer was cut short by somebody else.",
    "budget": "The answer was cut short: the process has used up its budget.",
}


async def ask(
    text: str, *, as_json: bool = False, pid: int = 0, system: str = "", keep: bool = False
) -> int:
    """Ask ``text`` and print the answer as it comes.

    Args:
        as_json: Print one JSON object with answer, calls and usage at the end instead.
        pid: The process to ask in; a new one, ended afterwards unless ``keep``, where 0.
        system: What a new process is told it is.

    Returns:
        The exit code: 0, or 1 where there is no whole answer.

    Raises:
        KernelUnreachable: There is no kernel, or it went away.
        ProcessEnded: Somebody ended the process before it answered.
    """
    printer = _Printer(as_json)
    printer.wait()
    _end_cleanly_on_signals()
    async with await Client.connect() as client:
        asked = pid or (await client.create(system=system)).pid
        answer, calls = "", []
        try:
            async with client.subscribe(asked) as events:
                message = await client.send(asked, text)
                turn = -1
                async for event in events:
                    if isinstance(event, ProcessChanged) and event.state == "ended":
                        raise ProcessEnded(f"Process {asked} was ended before it answered.")
                    if getattr(event, "message_id", "") == message and turn < 0:
                        turn = event.turn  # type: ignore[attr-defined]
                    if getattr(event, "turn", -2) != turn:
                        continue
                    if isinstance(event, ReplyDelta):
                        answer += event.text
                    if isinstance(event, CallFinished):
                        calls.append(event)
                    printer.show(event)
                    if isinstance(event, TurnFinished):
                        break
        finally:
            if not pid and not keep:
                with contextlib.suppress(LlmosError):  # a kernel that is gone keeps nothing running
                    await client.kill(asked)
    assert isinstance(event, TurnFinished)
    printer.end(answer, calls, event)
    return 0 if event.reason == "stop" else 1


def _end_cleanly_on_signals() -> None:
    """Let a closed terminal or ``kill`` end the asking as Ctrl-C does: nothing stays behind."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)


class _Printer:
    """Writes to standard output what a person or a program reads.

    A program gets the text as it is; on a terminal nothing in it can act.
    """

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._terminal = sys.stdout.isatty()
        self._chatty = sys.stderr.isatty() and not as_json

    def wait(self) -> None:
        """Say on a terminal that it has begun; the answer takes its place."""
        if self._chatty and self._terminal:
            print("…", end="\r", file=sys.stderr, flush=True)

    def show(self, event: Event) -> None:
        """Show an event as it comes."""
        if self._json:
            return
        if isinstance(event, ReplyDelta):
            print(self._safe(event.text), end="", flush=True)
        elif isinstance(event, ReplyFinished) and event.calls and event.text:
            print(flush=True)
        elif isinstance(event, CallStarted) and self._chatty:
            arguments = json.dumps(event.call.arguments, ensure_ascii=False)
            line = f"[{event.call.name} {arguments}]"
            print(visible(line), file=sys.stderr, flush=True)

    def end(self, answer: str, calls: list[CallFinished], last: TurnFinished) -> None:
        """Show what there is to show at the end."""
        if self._json:
            summary = _summary(answer, calls, last)
            print(json.dumps(summary, ensure_ascii=self._terminal), flush=True)
            return
        print(flush=True)
        if told := last.error or _CUT.get(last.reason, ""):
            print(f"llmos: {visible(told)}", file=sys.stderr)

    def _safe(self, text: str) -> str:
        return visible(text) if self._terminal else text


def _summary(answer: str, calls: list[CallFinished], last: TurnFinished) -> dict[str, Any]:
    return {
        "answer": answer,
        "calls": [
            {
                "name": c.call.name,
                "arguments": c.call.arguments,
                "result": c.result,
                "error": c.error,
                "seconds": round(c.seconds, 4),
            }
            for c in calls
        ],
        "reason": last.reason,
        "error": last.error or _CUT.get(last.reason, ""),
        "usage": dataclasses.asdict(last.usage),
        "time": time.time(),
    }
