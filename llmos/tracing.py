"""``llmos trace``, ``llmos audit`` and ``llmos replay``: what was called, and whether it holds.

``trace`` and ``audit`` read the journal themselves: they tell the past also where no kernel runs.
``audit`` checks what the journal says against itself; one that was rewritten whole, chain included,
or replaced by an older copy, it can't tell from the true one. Exit codes of ``audit``: 0 all holds,
1 problems were found, 2 it could not be checked; of ``replay``: 0 all is the same, 1 it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import select
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click

from llmos import paths
from llmos.client import Client
from llmos.door import toolfile
from llmos.errors import KernelUnreachable, LlmosError, NoSuchProcess
from llmos.events import (
    CallAnswered,
    CallAsked,
    CallFinished,
    CallStarted,
    Event,
    ProcessChanged,
    to_json,
)
from llmos.experts import expertfile
from llmos.memory.check import check
from llmos.memory.proof import unproven
from llmos.memory.trail import EFFECTS, Traced, trail
from llmos.visible import visible

__all__ = ["audit", "replay", "trace"]

_FOUND, _UNCHECKED = 1, 2
_LOOK_S = 0.5  # between two looks whether the output is still read
_VALUE_CHARS = 60  # of an argument, where not all is asked for
_READER = "reader.extract"  # makes a call whose result it alone is shown
#: What is known of a call that passed without a question, where the record says no more.
_UNASKED = "without a question: by the person's own words or a grant"
_VERDICTS = {
    "made": "by the person's own words",
    "once": "allowed once",
    "conversation": "allowed for this conversation",
    "always": "allowed always",
    "no": "denied by the person",
    "nobody": "nobody was there to allow it",
}


# --- trace ----------------------------------------------------------------------------------------


@click.command()
@click.argument("pid", type=click.IntRange(min=1))
@click.option(
    "--past", "--no-follow", "past", is_flag=True, help="Only what was called so far; then end."
)
@click.option("--full", is_flag=True, help="Arguments in full length.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def trace(pid: int, past: bool, full: bool, as_json: bool) -> None:
    """Show the calls of a process: the past ones, then live until it ends, or Ctrl-C does.

    With --past only those so far.
    """
    asyncio.run(_trace(pid, _Lines(full=full, as_json=as_json), past=past))


async def _trace(pid: int, lines: _Lines, *, past: bool) -> None:
    try:
        client = await Client.connect(start=False)
    except KernelUnreachable:
        calls = _recorded(pid)
        for call in calls:
            lines.past(call)
        if not calls:
            lines.none(pid)
        return
    async with client, client.subscribe(pid) as events:
        # Subscribed first: no call falls between what is past and what is live.
        rows = await client.calls(pid)
        for row in rows:
            lines.past(_traced(row))
        over = past or (await client.process(pid)).state == "ended"
        if not rows:
            lines.none(pid)
        if over:
            return
        lines.following(pid)
        following = asyncio.create_task(_follow(lines, events))
        gone = asyncio.create_task(_reader_gone())
        try:
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            for task in (following, gone):
                task.cancel()
            await asyncio.wait({following, gone})


async def _follow(lines: _Lines, events: AsyncIterator[Event]) -> None:
    async for event in events:
        lines.live(event)
        if isinstance(event, ProcessChanged) and event.state == "ended":
            return


async def _reader_gone() -> None:
    """Return when nobody reads the output any more: a process at rest may write none for days."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # no poll here, or the output is no file
        await asyncio.Event().wait()
        return
    while not any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0)):
        await asyncio.sleep(_LOOK_S)


def _traced(row: dict[str, Any]) -> Traced:
    """A call as a kernel tells it; a newer one may tell more."""
    known = {field.name for field in dataclasses.fields(Traced)}
    return Traced(**{name: value for name, value in row.items() if name in known})


def _recorded(pid: int) -> list[Traced]:
    journal = paths.state_dir() / "journal.db"
    if not journal.exists():
        raise NoSuchProcess(f"There is no process {pid}.")
    return trail(journal, pid, effect=_declared())


class _Lines:
    """Prints calls, a line each, as strace does."""

    def __init__(self, *, full: bool, as_json: bool) -> None:
        self._full = full
        self._json = as_json
        self._seen: set[tuple[int, str]] = set()  # turn and id of what was shown as past

    def past(self, call: Traced) -> None:
        """A call of the record."""
        if call.finished:
            self._seen.add((call.turn, call.id))
        if self._json:
            click.echo(json.dumps({"type": "call", **dataclasses.asdict(call)}))
            return
        click.echo(f"{_clock(call.time)} {self._written(call)} {_outcome(call)}")

    def none(self, pid: int) -> None:
        """There is nothing past to show: a sentence for a person, no line for a program."""
        if not self._json:
            click.echo(f"No call was made in process {pid} so far.", err=True)

    def following(self, pid: int) -> None:
        """From here on it is live: a program, whose lines say nothing of it, is not told."""
        if not self._json:
            told = f"Following process {pid}; Ctrl-C ends. With --past only the past is shown."
            click.echo(told, err=True)

    def live(self, event: Event) -> None:
        """What happens now, as far as it belongs to calls."""
        match event:
            case CallStarted(call=call) | CallFinished(call=call) | CallAsked(call=call):
                id = call.id
            case CallAnswered(call_id=id):
                pass
            case _:
                return
        if (event.turn, id) in self._seen:
            return
        if self._json:
            click.echo(json.dumps(to_json(event)))
            return
        now = _clock(time.time())
        match event:
            case CallStarted(call=call):
                click.echo(f"{now} {self._call(call.name, call.arguments)} ...")
            case CallAsked(call=call, title=title):
                click.echo(f"{now} <... {visible(call.name)}> asks: {_line(title)}")
            case CallAnswered(answer=answer):
                click.echo(f"{now} <... answered> {_VERDICTS.get(answer, _VERDICTS['nobody'])}")
            case CallFinished(call=call, result=result, seconds=seconds, error=error):
                gave = error or f"{len(result.encode('utf-8', 'replace')):,} bytes"
                click.echo(f"{now} <... {visible(call.name)}> = {gave} <{seconds:.3f}>")

    def _written(self, call: Traced) -> str:
        return self._call(call.name, call.arguments) if not call.erased else f"{call.name}(erased)"

    def _call(self, name: str, arguments: dict[str, Any]) -> str:
        most = None if self._full else _VALUE_CHARS
        given = (
            f"{key}={_short(json.dumps(value, ensure_ascii=False), most)}"
            for key, value in arguments.items()
        )
        return _line(f"{name}({', '.join(given)})")


def _outcome(call: Traced) -> str:
    """What became of a call, behind its equals sign."""
    gave = call.error or f"{call.bytes:,} bytes"
    if not call.finished:
        gave = "under way"
    about = [call.effect or "undeclared", _asker(call), _allowed(call)]
    if call.read:
        about.append(f"by {call.read}{', private' if call.private else ''}")
    return f"= {gave} <{call.seconds:.3f}> [{'; '.join(filter(None, about))}]"


def _asker(call: Traced) -> str:
    """What asked for a call, where it was not the model itself."""
    if not call.inner:
        return ""
    if call.by == _READER:
        return "for the reader"
    return f"for code of {_line(call.by)}" if call.by else "for another call"


def _allowed(call: Traced) -> str:
    """Who allowed a call, or denied it; empty for one that nobody need be asked about."""
    if call.verdict:
        return _VERDICTS.get(call.verdict, visible(call.verdict))
    if not call.made:
        return "not made"
    return _UNASKED if call.effected else ""


# --- audit ----------------------------------------------------------------------------------------


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(as_json: bool) -> None:
    """Check the journal's hash chain, and list every call that may have changed something.

    Exits with 0 if all holds, with 1 if problems were found, and with 2 if it could not be checked.
    """
    journal = paths.state_dir() / "journal.db"
    try:
        problems = [*check(journal), *unproven(journal)] if journal.exists() else []
        calls = _all(journal) if journal.exists() else []
    except LlmosError as error:
        if as_json:
            told = {"code": error.code, "message": error.sentence, "remedy": error.remedy}
            click.echo(json.dumps({"error": told}))
        else:
            click.echo(f"llmos: {visible(str(error))}", err=True)
        sys.exit(_UNCHECKED)
    effected = [call for call in calls if call.effected]
    denied = [call for call in calls if not call.made and call.effect in (*EFFECTS, "")]
    if as_json:
        data = {
            "sound": not problems,
            "problems": problems,
            "effected": [
                {**dataclasses.asdict(call), "allowed": _allowed(call)} for call in effected
            ],
            "denied": [dataclasses.asdict(call) for call in denied],
            "calls": len(calls),
        }
        click.echo(json.dumps(data, indent=2))
    else:
        _say(problems, effected, len(denied), len(calls))
    sys.exit(_FOUND if problems else 0)


def _all(journal: Path) -> list[Traced]:
    effect = _declared()
    calls: list[Traced] = []
    while more := trail(journal, effect=effect, after=calls[-1].number if calls else 0):
        calls += more
    return calls


def _say(problems: list[str], effected: list[Traced], denied: int, total: int) -> None:
    for problem in problems:
        click.echo(visible(problem))
    lines = _Lines(full=False, as_json=False)
    for call in effected:
        moment = time.strftime("%Y-%m-%d", time.localtime(call.time))
        click.echo(f"{moment} process {call.pid}, turn {call.turn}:")
        lines.past(call)
    calls = "1 call" if total == 1 else f"{total:,} calls"
    click.echo(f"{calls}, {len(effected):,} that may have changed something, {denied:,} denied.")
    if problems:
        click.echo("What the journal says does not hold. llmos fsck tells what can be repaired.")
    else:
        click.echo("The hash chain holds, and every call is what the model or its code wrote.")


#: Calls of the kernel's own, which no manifest declares.
_OWN = {
    "calls.open": "pure",
    "files.bytes": "read",
    "memory.recall": "read",
    "memory.search": "read",
    _READER: "read",
}


def _declared() -> Callable[[str], str]:
    """The effect of a call with which none was kept, by its name, from the tools' manifests.

    Their code is not run. Where two declare one name differently, nobody can tell any more.
    """
    effects: dict[str, set[str]] = {}
    for about in _manifests():
        for call in about.calls:
            effects.setdefault(f"{about.name}.{call.function}", set()).add(call.effect)

    @cache
    def effect(name: str) -> str:
        own = name.partition(".")[0]
        if found := effects.get(name):
            return next(iter(found)) if len(found) == 1 else ""
        return _OWN.get(name) or (own if own in ("process", "memory") else "")

    return effect


def _manifests() -> Iterator[toolfile.Manifest]:
    """What the tools declare that are there, those of experts included; a broken one nothing."""
    for folder in (paths.bundled("tools"), paths.tools_dir()):
        for tool in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(LlmosError, OSError):
                yield toolfile.read(tool)
    for folder in (paths.bundled("plugins"), paths.plugins_dir()):
        for expert in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(LlmosError, OSError):
                for own in expertfile.read(expert).tools:
                    yield own.about


# --- replay ---------------------------------------------------------------------------------------


@click.command()
@click.argument("pid", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(pid: int, as_json: bool) -> None:
    """Run a conversation again from the journal, without effects, and show what differs.

    Exits with 0 if nothing differs, and with 1 if something does.
    """
    told = asyncio.run(_replay(pid))
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        for turn in told["turns"]:
            _say_turn(turn)
        turns = "1 turn" if len(told["turns"]) == 1 else f"{len(told['turns'])} turns"
        differ = sum(not turn["same"] for turn in told["turns"])
        click.echo(f"{turns} replayed, {differ} of them differ.")
        for note in told["notes"]:
            click.echo(visible(note))
    sys.exit(0 if told["same"] else 1)


async def _replay(pid: int) -> dict[str, Any]:
    async with await Client.connect() as client:
        return await client.replay(pid)


def _say_turn(turn: dict[str, Any]) -> None:
    if turn["same"]:
        click.echo(f"Turn {turn['turn']}: the same.")
        return
    click.echo(f"Turn {turn['turn']} differs.")
    if turn["error"]:
        click.echo(f"  {_line(turn['error'])}")
    for name, sign in (("recorded", "-"), ("replayed", "+")):
        for call in turn[f"{name}_calls"]:
            given = _short(json.dumps(call["arguments"], ensure_ascii=False), 2 * _VALUE_CHARS)
            click.echo(f"  {sign} {_line(call['name'])} {_line(given)}")
        for line in visible(turn[name]).splitlines():
            click.echo(f"  {sign} {line}")


# --- words ----------------------------------------------------------------------------------------


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _short(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def _line(text: str) -> str:
    """Text on one line, harmless for a terminal."""
    return visible(text).replace("\n", "␊").replace("\t", "␉")
