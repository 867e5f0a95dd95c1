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

from llmos.client import Client
from llmos.errors import LlmosError, NotStored, ProcessEnded
from llmos.visible import visible

__all__ = ["memory", "mount", "umount"]

_LOOK_SECONDS = 0.2
_SKIPPED = 10  # files not read that are named
_GOING = 10  # texts that are named before they go
_NAME = re.compile(r"m\d{1,18}|p\d{1,18}(\.\d{1,9})?|f\d{1,9}-\d{1,18}\.\d{1,9}")
_KINDS = {"m": "memories (m12)", "p": "pages (p12)", "f": "passages of files (f1-2.3)"}
_SAID = {"memory": "remembered", "user": "you", "assistant": "the model", "tool": "a call's result"}

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
    """Search everything that was said and remembered, by meaning and by words."""

    async def find() -> list[dict[str, Any]]:
        async with await Client.connect() as client:
            return await client.search(" ".join(query), k=k, pid=pid)

    hits = _run(find())
    if as_json:
        _print_json(hits)
        return
    for hit in hits:
        near = "" if hit["similarity"] is None else f"{hit['similarity']:.2f}"
        place = visible(hit["place"])
        click.echo(f"{hit['id']:>8}  {near:>5}  {_day(hit['time'])}  {place}")
        click.echo(f"          {_one_line(hit['text'])}")
    if not hits:
        click.echo("Nothing like that is stored.")


@memory.command("show")
@click.argument("name")
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
@click.argument("name")
@click.argument("text", nargs=-1)
def edit(name: str, text: tuple[str, ...]) -> None:
    """Give memory NAME another TEXT; without one, your editor opens."""
    wanted = _named(name, "m", "edited")

    async def change() -> bool:
        async with await Client.connect() as client:
            new = " ".join(text)
            if not new:
                known = {f["id"]: f["text"] for f in (await client.facts())["facts"]}
                if wanted not in known:
                    raise NotStored(f"There is no memory {wanted!r}.")
                new = (click.edit(known[wanted]) or "").strip()
            if not new:
                return False
            await client.change_fact(wanted, text=new)
            return True

    click.echo("Changed; the old text stays as its history." if _run(change()) else "Unchanged.")


@memory.command("pin")
@click.argument("name")
@click.option("--off", is_flag=True, help="Unpin it.")
@click.option("--pid", type=int, default=0, help="Of a page: in this process, such as a fork.")
def pin(name: str, off: bool, pid: int) -> None:
    """Have NAME stay before the model's eyes.

    A memory (m12) then stands at the beginning of every conversation. A page (p12) stays in view of
    its conversation, with its turn; one that has left comes back.
    """
    wanted = _named(name, "mp", "pinned")

    async def change() -> None:
        async with await Client.connect() as client:
            if wanted.startswith("p"):
                where = pid or (await client.pages(wanted))[0]["pid"]
                await client.pin_page(where, wanted, not off)
            else:
                await client.change_fact(wanted, pinned=not off)

    _run(change())
    click.echo("Unpinned." if off else "Pinned.")


@memory.command("forget")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(names: tuple[str, ...], yes: bool) -> None:
    """Forget memories (m12) or pages (p12) for good, and everything made of them."""
    wanted = list(dict.fromkeys(_named(name, "mp", "forgotten") for name in names))
    doomed = _run(_doomed(wanted))
    if not yes:
        for line in _doomed_lines(doomed):
            click.echo(line)
        click.confirm(f"Forget {', '.join(wanted)} for good?", abort=True)
    count = _run(_forget(wanted))
    told = f"{_counted(count, 'text')} {'is' if count == 1 else 'are'} gone from the disk"
    click.echo(f"Forgotten: {', '.join(wanted)}; {told}.")


async def _doomed(names: list[str]) -> list[dict[str, Any]]:
    """What would go with each of ``names``; nothing goes where one of them is unknown."""
    found, unknown = [], []
    async with await Client.connect() as client:
        for name in names:
            try:
                found.append(await client.would_forget(name))
            except NotStored:
                unknown.append(name)
    if unknown:
        kept = "Nothing was forgotten." if found else ""
        raise NotStored(f"There is no {' and no '.join(unknown)}.", remedy=kept)
    return found


async def _forget(names: list[str]) -> int:
    """Forget what was looked up before; what went along with an earlier name is gone already."""
    count = 0
    gone: list[str] = []
    async with await Client.connect() as client:
        for name in names:
            try:
                count += await client.forget(name)
            except NotStored:
                pass
            except LlmosError as error:
                if gone:
                    error.remedy = f"{error.remedy} Forgotten is {', '.join(gone)}.".strip()
                raise
            gone.append(name)
    return count


def _doomed_lines(doomed: list[dict[str, Any]]) -> list[str]:
    """What goes, each text once, as ``Client.would_forget`` tells it of each name."""
    rows = {row["id"]: row for each in doomed for row in each["listed"]}
    said = [row for row in rows.values() if row["beginning"] and row["kind"] in _SAID]
    lines = ["This goes from the disk, the search and every snapshot:"]
    for row in said[:_GOING]:
        where = f"process {row['pid']}, turn {row['turn']}: " if row["kind"] != "memory" else ""
        lines.append(f"  {_SAID[row['kind']]}: {where}“{_one_line(row['beginning'], 80)}”")
    unlisted = sum(each["records"] - len(each["listed"]) for each in doomed)
    if rest := len(rows) - len(said[:_GOING]) + unlisted:
        lines.append(f"  and {_counted(rest, 'more text')} that say the same or were made of it")
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
                share = f"{row['done']} of {row['of']} files" if row["of"] else "looking"
                told = f"{share}  {_one_line(row['reading'], 50)}"
                click.echo(f"\r\x1b[K{told}", nl=False, err=True)
            await asyncio.sleep(_LOOK_SECONDS)
    if bar:
        click.echo("\r\x1b[K", nl=False, err=True)
    return row


def _mount_line(row: dict[str, Any]) -> str:
    state = row["state"] if row["state"] != "ready" else f"followed: {row['following']}"
    left = f", {row['skips']} not read" if row["skips"] else ""
    read = f"{row['files']} files, {row['passages']} passages{left}"
    return f"{row['number']:>3}  {visible(row['folder'])}  {read}; {state}"


@click.command()
@click.argument("folder")
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
