"""``llmos ask``: one question, one answer, for pipes and scripts."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

from llmos.client import Client
from llmos.events import (
    CallFinished,
    CallStarted,
    Event,
    ReplyDelta,
    ReplyFinished,
    TurnFinished,
)

__all__ = ["ask"]


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
    """
    terminal = sys.stderr.isatty()
    if terminal and not as_json:
        print("…", end="\r", file=sys.stderr, flush=True)
    async with await Client.connect() as client:
        asked = pid or (await client.create(system=system)).pid
        answer, calls, last = "", [], None
        try:
            async with client.subscribe(asked) as events:
                message = await client.send(asked, text)
                turn = -1
                async for event in events:
                    if getattr(event, "message_id", "") == message and turn < 0:
                        turn = event.turn  # type: ignore[attr-defined]
                    if getattr(event, "turn", -2) != turn:
                        continue
                    if isinstance(event, ReplyDelta):
                        answer += event.text
                    if isinstance(event, CallFinished):
                        calls.append(event)
                    if not as_json:
                        _show(event, terminal)
                    if isinstance(event, TurnFinished):
                        last = event
                        break
        finally:
            if not pid and not keep:
                await client.kill(asked)
    assert last is not None
    if as_json:
        print(json.dumps(_summary(answer, calls, last), ensure_ascii=False))
    else:
        print(flush=True)
        if last.error:
            print(f"llmos: {last.error}", file=sys.stderr)
    return 0 if last.reason == "stop" else 1


def _show(event: Event, terminal: bool) -> None:
    if isinstance(event, ReplyDelta):
        print(event.text, end="", flush=True)
    elif isinstance(event, ReplyFinished) and event.calls and event.text:
        print(flush=True)
    elif isinstance(event, CallStarted) and terminal:
        arguments = json.dumps(event.call.arguments, ensure_ascii=False)
        print(f"[{event.call.name} {arguments}]", file=sys.stderr, flush=True)


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
        "error": last.error,
        "usage": dataclasses.asdict(last.usage),
        "time": time.time(),
    }
