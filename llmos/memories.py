"""``llmos memory``: what is remembered, for a person to see, change, forget and take along."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from llmos.client import Client
from llmos.errors import LlmosError, NotStored, ProcessEnded
from llmos.visible import visible

__all__ = ["memory", "mount", "umount"]

_LOOK_SECONDS = 0.2
_SKIPPED = 10  # files not read that are named
_GOING = 10  # texts that are named before they go
_FOLDED = 4  # times as many hits are asked for as shown: some say the same
_MOST = 100  # hits of one search; names that are forgotten at once
_NAME = re.compile(r"m\d{1,18}|p\d{1,18}(\.\d{1,9})?|f\d{1,9}-\d{1,18}\.\d{1,9}")
_KINDS = {"m": "memories (m12)", "p": "pages (p12)", "f": "passages of files (f1-2.3)"}
_SAID = {"memory": "remembered", "user": "you", "assistant": "the model", "tool": "a call's result"}

#: What forgetting takes along, as ``Client.would_forget`` counts it.
_COUNTED = {
    "memories": ("memory", "memories"),
    "messages": ("message", "messages"),
    "results": ("call's result", "calls' results"),
    "recalled": ("time it was brought back", "times it was brought back"),
    "summaries": ("summary", "summaries"),
}
#: What the calls that change memory answer: it says nothing that the memory itself does not.
_ACKNOWLEDGED = re.compile(
    r"Remembered as m\d+\.(?: It is near m\d+.*)?|m\d+ is changed\."
    r"|m\d+.* is forgotten as soon as this turn is over\.",
    re.DOTALL,
)

T = TypeVar("T")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def memory() -> None:
    """See, search, change and forget what is remembered."""


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2))


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment)) if moment else ""


def _one_line(text: str, most: int = 120) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Memories to complete a NAME from; none where no kernel answers."""

    async def read() -> list[CompletionItem]:
        async with await Client.connect(start=False) as client:
            known = (await client.facts())["facts"]
        texts = {fact["id"]: _one_line(fact["text"], 60) for fact in known}
        found = (name for name in texts if name.startswith(incomplete.lower()))
        return [CompletionItem(name, help=texts[name]) for name in found]

    return _answered(read())


def _folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Mounted folders to complete a FOLDER from; none where no kernel answers."""

    async def read() -> list[CompletionItem]:
        async with await Client.connect(start=False) as client:
            rows = await client.mounts()
        return [
            CompletionItem(row["folder"], help=f"number {row['number']}")
            for row in rows
            if row["folder"].startswith(incomplete) and row["folder"].isprintable()
        ]

    return _answered(read())


def _answered(work: Coroutine[Any, Any, list[CompletionItem]]) -> list[CompletionItem]:
    try:
        return _run(work)
    except (LlmosError, OSError):
        return []


async def _facts() -> dict[str, Any]:
    async with await Client.connect() as client:
        return await client.facts()


@memory.command("ls")
@_json_option
def ls(as_json: bool) -> None:
    """List what is remembered."""
    known = _run(_facts())
    if as_json:
        _print_json(known)
        return
    if not known["facts"]:
        click.echo('Nothing yet. Tell it in a chat ("remember that …"), or: llmos memory add TEXT')
    for fact in known["facts"]:
        where = "" if fact["block"] == "fact" else f"[{fact['block']}] "
        pin = "📌 " if fact["pinned"] else ""
        shown = _one_line(fact["text"])
        click.echo(f"{fact['id']:>6}  {_day(fact['time'])}  {pin}{where}{shown}")


@memory.command("add")
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--block",
    type=click.Choice(["fact", "user", "assistant"]),
    default="fact",
    show_default=True,
    help="user and assistant stand at the beginning of every conversation.",
)
def add(text: tuple[str, ...], block: Literal["fact", "user", "assistant"]) -> None:
    """Remember TEXT."""

    async def keep() -> dict[str, Any]:
        async with await Client.connect() as client:
            return await client.remember(" ".join(text), block=block)

    click.echo(f"Remembered as {_run(keep())['id']}.")


@memory.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("-k", type=click.IntRange(1, 100), default=5, show_default=True, help="How many.")
@click.option("--pid", type=int, default=0, help="Only in this conversation.")
@_json_option
def search(query: tuple[str, ...], k: int, pid: int, as_json: bool) -> None:
    """Search everything that was said and remembered, by meaning and by words.

    The best come first; what says the same is shown once. --json prints all, with their scores.
    """

    async def find() -> list[dict[str, Any]]:
        more = k if as_json else min(_FOLDED * k, _MOST)
        async with await Client.connect() as client:
            return await client.search(" ".join(query), k=more, pid=pid)

    hits = _run(find())
    if as_json:
        _print_json(hits)
        return
    shown = _folded(hits)[:k]
    if not shown:
        click.echo("Nothing like that is stored.")
    elif not any(hit["fits"] for hit, _ in shown):
        click.echo("Nothing fits; the nearest are:")
    for hit, more in shown:
        click.echo(f"{hit['id']:>8}  {_day(hit['time'])}  {_where(hit)}")
        click.echo(f"          {visible(hit['glimpse'])}")
        if more:
            says = "says" if more == 1 else "say"
            click.echo(f"          and {more} more that {says} the same")


def _where(hit: dict[str, Any]) -> str:
    """Where something that was found stands, and who said it."""
    said = _SAID.get(hit["speaker"], "") if hit["source"] == "turn" else ""
    return visible(hit["place"]) + (f", {said}" if said else "")


def _folded(hits: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Hits, the best first, each with how many others say the same; these are left out.

    A call's result says the same where most of it is what other hits say, and nothing at all where
    it acknowledges a change of memory.
    """
    place = {hit["id"]: at for at, hit in enumerate(hits)}
    told: dict[str, list[dict[str, Any]]] = {}
    for hit in sorted(hits, key=lambda hit: hit["speaker"] == "tool"):  # what others say first
        worn = _worn(hit["text"])
        if hit["speaker"] == "tool":
            if _ACKNOWLEDGED.fullmatch(hit["text"].strip()):
                continue
            quoted = [text for text in told if text in worn]
            if quoted and 2 * sum(map(len, quoted)) >= len(worn):
                worn = quoted[0]
        told.setdefault(worn, []).append(hit)
    firsts = [(same[0], len(same) - 1) for same in told.values()]
    return sorted(firsts, key=lambda first: place[first[0]["id"]])


def _worn(text: str) -> str:
    """A text without what does not tell two of them apart: case, and how it is spaced."""
    return " ".join(text.split()).casefold()


@memory.command("show")
@click.argument("name", shell_complete=_names)
@_json_option
def show(name: str, as_json: bool) -> None:
    """Show one memory (m12), page (p12) or passage of a file (f1-2.3) whole, with its origin."""
    wanted = _named(name, "mpf", "shown")

    async def read() -> Any:
        async with await Client.connect() as client:
            if wanted.startswith("f"):
                return [await client.passage(wanted)]
            if wanted.startswith("p"):
                return await _with_place(client, await client.pages(wanted))
            known = (await client.facts())["facts"]
            return [fact for fact in known if fact["id"] == wanted]

    found = _run(read())
    if not found:
        raise NotStored(f"There is no memory {wanted!r}.", remedy="See: llmos memory ls")
    if as_json:
        _print_json(found)
        return
    first = found[0]
    if wanted.startswith("f"):
        click.echo(f"{first['id']} · {visible(first['place'])}")
        click.echo(visible(first["text"]))
        return
    about = [first["id"], _day(first["time"]), f"from {first['origin']}"]
    if "pid" in first:
        about.insert(1, f"process {first['pid']}, turn {first['turn']}, {first['kind']}")
        about += _places(found)
    click.echo(" · ".join(about))
    click.echo(visible("".join(part["text"] for part in found)))
    if related := [id for part in found for id in part.get("related", [])]:
        click.echo(f"about the same, in other conversations: {', '.join(related)}")
    for text in first.get("merged", []):
        click.echo(f"also said as: {visible(text)}")
    for old in reversed(first.get("history", [])):
        click.echo(f"until then ({_day(old['time'])}): {visible(old['text'])}")


async def _with_place(client: Client, pages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pages with whether they are in view of their process, and pinned there, while it lives."""
    try:
        table = {row["id"]: row for row in await client.page_table(pages[0]["pid"])}
    except ProcessEnded:
        return pages
    told = ("resident", "pinned")
    return [
        {**page, **{key: table[page["id"]][key] for key in told}} if page["id"] in table else page
        for page in pages
    ]


def _places(pages: list[dict[str, Any]]) -> list[str]:
    """Where the pages of a record are, in a few words."""
    out = []
    for key, word in (("resident", "in view"), ("pinned", "pinned")):
        count = sum(page.get(key, False) for page in pages)
        if count:
            out.append(word if count == len(pages) else f"{count} of {len(pages)} pages {word}")
    return out


@memory.command("edit")
@click.argument("name", shell_complete=_names)
@click.argument("text", nargs=-1)
def edit(name: str, text: tuple[str, ...]) -> None:
    """Give memory NAME another TEXT; without one, your editor opens."""
    wanted = _named(name, "m", "edited")

    async def change() -> bool:
        async with await Client.connect() as client:
            old = (await _fact(client, wanted))["text"]
            new = (" ".join(text) or click.edit(old) or "").strip()
            if new in ("", old):
                return False
            await client.change_fact(wanted, text=new)
            return True

    click.echo(
        "Changed; the old text stays as its history." if _run(change()) else "Nothing changed."
    )


async def _fact(client: Client, name: str) -> dict[str, Any]:
    """One memory.

    Raises:
        NotStored: There is none.
    """
    try:
        return await client.change_fact(name)  # nothing: so one that was merged is found, too
    except NotStored as error:
        error.remedy = "See: llmos memory ls"
        raise


@memory.command("pin")
@click.argument("name", shell_complete=_names)
@click.option("--off", is_flag=True, help="Unpin it.")
@click.option("--pid", type=int, default=0, help="Of a page: in this process, such as a fork.")
def pin(name: str, off: bool, pid: int) -> None:
    """Have NAME stay before the model's eyes.

    A memory (m12) then stands at the beginning of every conversation. A page (p12) stays in view of
    its conversation, with its turn; one that has left comes back.
    """
    wanted = _named(name, "mp", "pinned")

    async def change() -> bool:
        async with await Client.connect() as client:
            if wanted.startswith("p"):
                pages = await client.pages(wanted)
                where = pid or pages[0]["pid"]
                table = await client.page_table(where)
                held = {row["id"] for row in table if row["pinned"]}
                named = {page["id"] for page in pages}
                if named.isdisjoint(held) if off else named <= held:
                    return False
                await client.pin_page(where, wanted, not off)
                return True
            if (await _fact(client, wanted))["pinned"] is not off:
                return False
            await client.change_fact(wanted, pinned=not off)
            return True

    if _run(change()):
        click.echo("Unpinned." if off else "Pinned.")
    else:
        click.echo(f"{wanted} was not pinned." if off else f"{wanted} is pinned already.")


@memory.command("forget")
@click.argument("names", nargs=-1, required=True, shell_complete=_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(names: tuple[str, ...], yes: bool) -> None:
    """Forget memories (m12) or pages (p12) for good, and everything made of them."""
    wanted = list(dict.fromkeys(_named(name, "mp", "forgotten") for name in names))
    if len(wanted) > _MOST:
        raise LlmosError(f"No more than {_MOST} can be forgotten at once.")
    doomed = _run(_doomed(wanted))
    if not yes:
        for line in _doomed_lines(doomed):
            click.echo(line)
        if not _agreed(f"Forget {', '.join(wanted)} for good?"):
            click.echo("Nothing was forgotten.")
            sys.exit(1)
    _run(_forget(wanted))
    told, several = _goes(doomed["counts"])
    click.echo(f"Forgotten: {', '.join(wanted)}; {told} {'are' if several else 'is'} gone.")
    for path in doomed["left"]:
        click.echo(f"Not searched: {visible(path)}, a damaged journal that a repair put aside.")
        click.echo("It may hold the same words. Delete it when you need it no more.")


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort:  # Ctrl-C, or nobody is there to answer
        click.echo()
        return False


async def _doomed(names: list[str]) -> dict[str, Any]:
    """What would go with ``names``; nothing goes where one of them is unknown."""
    unknown = []
    async with await Client.connect() as client:
        for name in names:
            try:
                found = await client.would_forget(name)
            except NotStored:
                unknown.append(name)
        if unknown:
            kept = "Nothing was forgotten." if len(unknown) < len(names) else ""
            raise NotStored(f"There is no {' and no '.join(unknown)}.", remedy=kept)
        return found if len(names) == 1 else await client.would_forget(*names)


async def _forget(names: list[str]) -> None:
    """Forget what was looked up before; what went along with an earlier name is gone already."""
    gone: list[str] = []
    async with await Client.connect() as client:
        for name in names:
            try:
                await client.forget(name)
            except NotStored:
                pass
            except LlmosError as error:
                if gone:
                    error.remedy = f"{error.remedy} Forgotten is {', '.join(gone)}.".strip()
                raise
            gone.append(name)


def _doomed_lines(doomed: dict[str, Any]) -> list[str]:
    """What goes, and how it begins, as ``Client.would_forget`` tells it."""
    told, several = _goes(doomed["counts"])
    lines = [f"From the disk, the search and every snapshot {'go' if several else 'goes'} {told}:"]
    said = [row for row in doomed["listed"] if row["beginning"] and row["kind"] in _SAID]
    shown = list({_beginning(row): None for row in said})
    lines += [f"  {line}" for line in shown[:_GOING]]
    if len(shown) > _GOING or doomed["records"] > len(doomed["listed"]):
        lines.append("  and more like these")
    lines.append("Every chat's next turn is computed anew: its snapshot might hold the words.")
    return lines


def _beginning(row: dict[str, Any]) -> str:
    where = f"process {row['pid']}, turn {row['turn']}: " if row["kind"] != "memory" else ""
    return f"{_SAID[row['kind']]}: {where}“{_one_line(row['beginning'], 80)}”"


def _goes(counts: dict[str, int]) -> tuple[str, bool]:
    """What goes in numbers, and whether that is several things."""
    parts = [_counted(counts[key], *names) for key, names in _COUNTED.items() if counts.get(key, 0)]
    number = sum(counts.get(key, 0) for key in _COUNTED)
    if counts["noted"]:
        parts.append(f"what was noted about {'it' if number == 1 else 'them'}")
    if not number:
        return "what the kernel noted", False
    told = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return told, number > 1 or len(parts) > 1


def _counted(number: int, noun: str, nouns: str = "") -> str:
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def _named(name: str, kinds: str, done: str) -> str:
    """``name`` as the kernel knows it.

    Raises:
        LlmosError: It is no name of these kinds (``m``, ``p``); ``done`` says what cannot be.
    """
    name = name.strip().lower()
    if name[:1] in kinds and _NAME.fullmatch(name):
        return name
    *rest, last = (_KINDS[kind] for kind in kinds)
    known = f"{', '.join(rest)} and {last}" if rest else last
    raise LlmosError(f"Only {known} can be {done}; {_one_line(name, 40)!r} is none.")


@click.command()
@click.argument("folder", required=False)
@_json_option
def mount(folder: str | None, as_json: bool) -> None:
    """Read FOLDER into memory and follow its changes; without one, list what is mounted.

    Text, Markdown, code, HTML, PDF, Word and spreadsheets; ignore files are respected. Answers say
    which file, page and lines they come from. Ctrl-C stops watching, not the reading.
    """
    if folder is None:
        rows = _run(_mounted())
        if as_json:
            _print_json(rows)
            return
        for row in rows:
            click.echo(_mount_line(row))
        if not rows:
            click.echo("No folder is mounted. Mount one with: llmos mount FOLDER")
        return
    row = _run(_read_in(Path(folder).expanduser().absolute(), quiet=as_json))
    if as_json:
        _print_json(row)
        return
    click.echo(_mount_line(row))
    for each in row["skipped"][:_SKIPPED]:
        click.echo(f"    not read: {visible(each['place'])}: {visible(each['reason'])}")
    if row["skips"] > _SKIPPED:
        click.echo(f"    and {row['skips'] - _SKIPPED} more; llmos mount --json lists them")


async def _mounted() -> list[dict[str, Any]]:
    async with await Client.connect() as client:
        return await client.mounts()


async def _read_in(folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Mount ``folder`` and show how far its reading is, until it is read."""
    bar = sys.stderr.isatty() and not quiet
    async with await Client.connect() as client:
        number = (await client.mount(folder))["number"]
        while True:
            row = next((r for r in await client.mounts() if r["number"] == number), None)
            if row is None:
                raise LlmosError("It was umounted meanwhile.")
            if row["state"] not in ("reading", "unread"):
                break
            if bar:
                share = (
                    f"{row['done']} of {_counted(row['of'], 'file')}" if row["of"] else "looking"
                )
                told = f"{share}  {_one_line(row['reading'], 50)}"
                click.echo(f"\r\x1b[K{told}", nl=False, err=True)
            await asyncio.sleep(_LOOK_SECONDS)
    if bar:
        click.echo("\r\x1b[K", nl=False, err=True)
    return row


def _mount_line(row: dict[str, Any]) -> str:
    state = row["state"]
    if state == "ready":  # how it is followed is known a moment after it is read
        state = f"followed: {row['following']}" if row["following"] else "read"
    left = f", {row['skips']} not read" if row["skips"] else ""
    read = f"{_counted(row['files'], 'file')}, {_counted(row['passages'], 'passage')}{left}"
    return f"{row['number']:>3}  {visible(row['folder'])}  {read}; {state}"


@click.command()
@click.argument("folder", metavar="FOLDER|NUMBER", shell_complete=_folders)
def umount(folder: str) -> None:
    """Take a mounted FOLDER (or its number) out of memory, with all that was read of it.

    What was brought back from it into a chat stays in that chat.
    """

    async def leave() -> int:
        async with await Client.connect() as client:
            wanted = str(Path(folder).expanduser().absolute())
            for row in await client.mounts():
                if folder == str(row["number"]) or wanted == row["folder"]:
                    return await client.umount(row["number"])
        raise LlmosError(f"{visible(folder)} is not mounted.", remedy="See: llmos mount")

    click.echo(f"Umounted; {_counted(_run(leave()), 'passage')} left the index.")
    click.echo("What was brought back from it into a chat stays in that chat.")


@memory.command("export")
def export() -> None:
    """Print everything remembered as JSON."""
    _print_json(_run(_facts()))
