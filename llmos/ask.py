"""``llmos ask``: one question, one answer, for pipes and scripts."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from llmos.client import Client
from llmos.consent import Consent, terminal
from llmos.errors import LlmosError, ProcessEnded
from llmos.events import (
    ArtifactInfo,
    ArtifactsMade,
    CallAnswered,
    CallAsked,
    CallFinished,
    CallStarted,
    Cited,
    Event,
    ProcessChanged,
    Recalled,
    ReplyDelta,
    ReplyFinished,
    Source,
    TurnFinished,
    TurnStarted,
    WindowChanged,
)
from llmos.visible import visible

__all__ = ["Aloud", "ask"]

#: What is said of an answer that is not whole, where nothing failed.
_CUT = {
    "length": "The answer was cut at its length limit; [agent] reply_tokens sets it.",
    "interrupted": "The answer was cut short by somebody else.",
    "budget": "The answer was cut short: the process has used up its budget.",
}
_EMPTY = "There is no answer: the model said nothing. Ask in other words, or a larger model."
_TOO_LONG = (
    "The message is too long for the model's window: the answer was given with only its beginning"
    " and its end in view. The rest is stored."
)
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Aloud(Protocol):
    """What reads an answer out while it comes. Made on the loop; begins at once."""

    def feed(self, piece: str) -> None:
        """More of the answer."""

    async def end(self) -> None:
        """There is no more of it; return when all of it was heard.

        Raises:
            LlmosError: It could not be spoken.
        """


async def ask(
    text: str,
    *,
    given: str = "",
    as_json: bool = False,
    pid: int = 0,
    system: str = "",
    keep: bool = False,
    save: Path | None = None,
    expert: str = "",
    aloud: Callable[[], Aloud] | None = None,
) -> int:
    """Ask ``text`` and print the answer as it comes.

    Args:
        given: What was piped in beside it: read with it, and nobody's words.
        as_json: Print one JSON object with answer, calls, what was brought back from memory, and
            usage at the end instead.
        pid: The process to ask in; a new one, ended afterwards unless ``keep``, where 0.
        system: What a new process is told it is.
        expert: Who answers, in a new process.
        save: A folder for the files that calls make; without one they stay with the kernel.
        aloud: Makes what reads the answer out, too.

    Returns:
        The exit code: 0, or 1 where there is no whole answer.

    Raises:
        KernelUnreachable: There is no kernel, or it went away.
        ProcessEnded: Somebody ended the process before it answered.
    """
    printer = _Printer(as_json)
    printer.wait()
    _end_cleanly_on_signals()
    voice = aloud() if aloud is not None else None
    async with await Client.connect() as client:
        asked = pid or (await client.create(system=system, expert=expert)).pid
        heard = _Heard()
        at = None if as_json else terminal()
        consent = Consent(client, at) if at is not None else None
        try:
            async with client.subscribe(asked, answers=consent is not None) as events:
                message = await client.send(asked, text, given=given)
                turn = -1
                async for event in events:
                    if isinstance(event, ProcessChanged) and event.state == "ended":
                        raise ProcessEnded(f"Process {asked} was ended before it answered.")
                    if getattr(event, "message_id", "") == message and turn < 0:
                        turn = event.turn  # type: ignore[attr-defined]
                    if getattr(event, "turn", -2) != turn:
                        continue
                    heard.take(event)
                    printer.show(event)
                    if voice is not None and isinstance(event, ReplyDelta):
                        voice.feed(event.text)
                    if consent is not None and isinstance(event, CallAsked | CallAnswered):
                        consent.take(event)
                    if isinstance(event, TurnFinished):
                        break
            if save is not None:
                await _save(client, heard, save)
        finally:
            if consent is not None:
                await consent.close()
            stays = heard.reminds and not pid and not keep
            if not (stays or pid or keep):
                with contextlib.suppress(LlmosError):  # a kernel that is gone keeps nothing running
                    await client.kill(asked)
    assert isinstance(event, TurnFinished)
    printer.end(heard, event)
    if voice is not None:
        await voice.end()
    if stays:
        print(f"llmos: The chat stays, as process {asked}, for its reminder.", file=sys.stderr)
    return 0 if event.reason == "stop" and heard.answered else 1


async def _save(client: Client, heard: _Heard, folder: Path) -> None:
    """Write the files that calls made; none takes another one's place."""
    if heard.files:
        folder.mkdir(parents=True, exist_ok=True)
    for file in heard.files:
        data = await client.artifact(file.id)
        stem, dot, ending = file.name.rpartition(".")
        for number in itertools.count(1):
            name = file.name if number == 1 else f"{stem or ending}-{number}{dot and '.' + ending}"
            try:
                with (folder / name).open("xb") as out:
                    out.write(data)
            except FileExistsError:
                continue
            except OSError as error:
                reason = error.strerror or error
                raise LlmosError(f"{name} cannot be written to {folder}: {reason}.") from error
            heard.saved.append(folder / name)
            break


def _end_cleanly_on_signals() -> None:
    """Let a closed terminal or ``kill`` end the asking as Ctrl-C does: nothing stays behind."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)


class _Heard:
    """What is told of a turn as a whole."""

    def __init__(self) -> None:
        self.answer = ""
        self._before = ""  # of the answer, what was said before the reply under way
        self.sources: list[Source] = []  # those that hold
        self.dropped: list[int] = []  # numbers that the model wrote and that do not hold
        self.answered = False  # its last reply says something
        self.calls: list[CallFinished] = []
        self.recalled: list[tuple[str, str]] = []  # page and place
        self.files: list[ArtifactInfo] = []
        self.saved: list[Path] = []
        self.reminds = False  # it set a reminder, which would end with its process
        self.cut = False  # of the message, only its beginning and its end are in view
        self._pages = ""  # how the ids of the message's own pages begin

    def take(self, event: Event) -> None:
        """Another event of the turn."""
        match event:
            case TurnStarted():
                self._pages = f"p{event.seq}."
            case WindowChanged() if event.evicted and self._pages:
                own = (page.startswith(self._pages) for page in event.evicted)
                self.cut = self.cut or any(own)
            case Recalled():
                self.recalled += zip(event.pages, event.places, strict=False)
            case ReplyDelta():
                self.answer += event.text
            case ReplyFinished():
                self.answered = not event.calls and bool(event.text.strip())
                self.answer = self._before = self._before + event.text  # with markers that hold
            case Cited():
                self.sources += event.sources
                self.dropped += event.dropped
            case CallFinished():
                self.calls.append(event)
                self.reminds |= event.call.name == "timer.set" and not event.error
            case ArtifactsMade():
                self.files += event.artifacts


class _Printer:
    """Writes the answer to standard output, and to standard error what else there is to know.

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
        elif isinstance(event, CallFinished) and event.error and self._chatty:
            line = f"[✗ {event.call.name}: {event.error}]"
            print(visible(line), file=sys.stderr, flush=True)

    def end(self, heard: _Heard, last: TurnFinished) -> None:
        """Show what there is to show at the end."""
        if self._json:
            summary = _summary(heard, last)
            print(json.dumps(summary, ensure_ascii=self._terminal), flush=True)
        else:
            print(flush=True)
        if heard.cut:
            print(f"llmos: {_TOO_LONG}", file=sys.stderr)
        if self._json:
            return
        for file in heard.files[len(heard.saved) :]:
            line = f"▣ {visible(file.name)}, {file.size:,} bytes; --save DIR writes it to a folder"
            print(f"{_DIM}{line}{_PLAIN}" if self._chatty else line, file=sys.stderr)
        for path in heard.saved:
            print(f"▣ {visible(str(path))}", file=sys.stderr)
        for note in _rests_on(heard):
            print(f"{_DIM}{note}{_PLAIN}" if self._chatty else note, file=sys.stderr)
        for place in dict.fromkeys(place for _, place in heard.recalled):
            line = f"↩ from {visible(place)}"
            print(f"{_DIM}{line}{_PLAIN}" if self._chatty else line, file=sys.stderr)
        if told := _failure(heard, last):
            print(f"llmos: {visible(told)}", file=sys.stderr)

    def _safe(self, text: str) -> str:
        return visible(text) if self._terminal else text


def _rests_on(heard: _Heard) -> Iterator[str]:
    """What the answer cites, with the words that say so; and what it cites in vain."""
    for number in dict.fromkeys(source.number for source in heard.sources):
        cited = [source for source in heard.sources if source.number == number]
        title, address = visible(cited[0].title), visible(cited[0].address)
        yield f"[{number}] {title}" + (f", {address}" if address not in title else "")
        for quote in dict.fromkeys(source.quote for source in cited):
            yield f"    “{visible(' '.join(quote.split()))}”"
    if vain := sorted(set(heard.dropped)):
        yield f"Not so in its source: {', '.join(f'[{number}]' for number in vain)}"


def _failure(heard: _Heard, last: TurnFinished) -> str:
    """Why there is no whole answer; empty where there is one."""
    empty = _EMPTY if last.reason == "stop" and not heard.answered else ""
    return last.error or _CUT.get(last.reason, "") or empty


def _summary(heard: _Heard, last: TurnFinished) -> dict[str, Any]:
    return {
        "answer": heard.answer,
        "calls": [
            {
                "name": c.call.name,
                "arguments": c.call.arguments,
                "result": c.result,
                "error": c.error,
                "seconds": round(c.seconds, 4),
            }
            for c in heard.calls
        ],
        "sources": [dataclasses.asdict(source) for source in heard.sources],
        "files": [dataclasses.asdict(file) for file in heard.files],
        "recalled": [{"page": page, "place": place} for page, place in heard.recalled],
        "reason": last.reason,
        "error": _failure(heard, last),
        "usage": dataclasses.asdict(last.usage),
        "time": time.time(),
    }
