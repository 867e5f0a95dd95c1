"""``llmos memory``: what is remembered, for a person to see, change, forget and take along."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from llmos.client import Client
from llmos.errors import LlmosError, ProcessEnded
from llmos.visible import visible

__all__ = ["memory", "mount", "umount"]

_LOOK_SECONDS = 0.2
_SKIPPED = 10  # files not read that are named

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
    """Show one memory (m12) or page (p12) whole, with where it came from."""

    async def read() -> Any:
        async with await Client.connect() as client:
            if name.lower().startswith("p"):
                return await _with_place(client, await client.pages(name))
            known = (await client.facts())["facts"]
            return [fact for fact in known if fact["id"] == name.lower()]

    found = _run(read())
    if not found:
        click.echo(f"llmos: There is no memory {visible(name)!r}.", err=True)
        sys.exit(1)
    if as_json:
        _print_json(found)
        return
    first = found[0]
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

    async def change() -> bool:
        async with await Client.connect() as client:
            new = " ".join(text)
            if not new:
                known = {f["id"]: f["text"] for f in (await client.facts())["facts"]}
                new = (click.edit(known.get(name.lower(), "")) or "").strip()
            if not new:
                return False
            await client.change_fact(name.lower(), text=new)
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

    async def change() -> None:
        async with await Client.connect() as client:
            if name.lower().startswith("p"):
                where = pid or (await client.pages(name))[0]["pid"]
                await client.pin_page(where, name.lower(), not off)
            else:
                await client.change_fact(name.lower(), pinned=not off)

    _run(change())
    click.echo("Unpinned." if off else "Pinned.")


@memory.command("forget")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(names: tuple[str, ...], yes: bool) -> None:
    """Forget memories (m12) or pages (p12) for good, and everything made of them."""
    if not yes:
        click.confirm(f"Forget {', '.join(names)} for good?", abort=True)

    async def remove() -> int:
        async with await Client.connect() as client:
            return sum([await client.forget(name.lower()) for name in names])

    count = _run(remove())
    click.echo(
        f"Forgotten: {count} record{'' if count == 1 else 's'} of the journal are empty now."
    )


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
    """Take a mounted FOLDER (or its number) out of memory, with all that was read of it."""

    async def leave() -> int:
        async with await Client.connect() as client:
            wanted = str(Path(folder).expanduser().absolute())
            for row in await client.mounts():
                if folder == str(row["number"]) or wanted == row["folder"]:
                    return await client.umount(row["number"])
        raise LlmosError(f"{visible(folder)} is not mounted.", remedy="See: llmos mount")

    click.echo(f"Umounted; {_run(leave())} passages are gone from the index.")


@memory.command("export")
def export() -> None:
    """Print everything remembered as JSON."""
    _print_json(_run(_facts()))
