"""``llmos reminders``: what conversations will be reminded of, and taking it back.

Reminders are set in a conversation ("remind me at 17:30 to call mum"), not here. They ring in the
conversation they were set in, when the kernel runs; what was due while it did not run rings when it
starts. A reminder ends with its conversation: ``llmos kill`` and ``llmos stop`` say what becomes of
the reminders with sentences of this module.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from llmos.client import Client
from llmos.errors import LlmosError
from llmos.visible import visible

__all__ = ["known", "lost", "reminders", "waiting"]

_TEXT_CHARS = 200  # of a reminder's text on its line
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_json_option
@click.pass_context
def reminders(ctx: click.Context, as_json: bool) -> None:
    """List the reminders of all chats, or cancel them.

    They are set in a chat: "remind me at 17:30 to call mum".
    """
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(as_json=as_json))


@reminders.command("list")
@_json_option
def list_(as_json: bool) -> None:
    """List the reminders that are still to come, the next one first."""
    asyncio.run(_list(as_json=as_json))


@reminders.command()
@click.argument("ids", nargs=-1, required=True)
def cancel(ids: tuple[str, ...]) -> None:
    """Cancel reminders by their IDS (t3), or all."""
    asyncio.run(_cancel(ids))


async def _list(*, as_json: bool) -> None:
    async with await Client.connect() as client:
        rows = await client.reminders()
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("There are no reminders. Say in a chat: remind me at 17:30 to call mum")
        return
    now = datetime.now()
    for row in rows:
        chat = f"process {row['pid']}" + (f" ({_line(row['title'])})" if row["title"] else "")
        text = f": {_line(row['text'])}" if row["text"] else ""
        click.echo(f"{row['id']:<5} {_moment(row['due'], now)}{text}  [{chat}]")


async def _cancel(ids: Sequence[str]) -> None:
    async with await Client.connect() as client:
        if "all" in ids:
            ids = [row["id"] for row in await client.reminders()]
            if not ids:
                click.echo("There are no reminders.")
        for id in ids:
            row = await client.cancel_reminder(id)
            text = f": {_line(row['text'])}" if row["text"] else "."
            click.echo(f"Cancelled {row['id']}, {_moment(row['due'], datetime.now())}{text}")


# --- what becomes of them ---------------------------------------------------------------------


async def known(client: Client) -> list[dict[str, Any]]:
    """The reminders still to come; none where the kernel cannot tell: others go on.

    Args:
        client: Of a kernel that may be broken.
    """
    try:
        return await client.reminders()
    except LlmosError:
        return []


def lost(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> str:
    """What to say of reminders that ended with their process; empty where there were none.

    Args:
        before: Those there were, as ``Client.reminders`` gives them.
        after: Those there are.
    """
    left, now = {row["id"] for row in after}, datetime.now().timestamp()
    count = sum(row["id"] not in left and row["due"] > now for row in before)
    if not count:
        return ""
    return "Its reminder is cancelled." if count == 1 else f"Its {count} reminders are cancelled."


def waiting(rows: Sequence[dict[str, Any]]) -> str:
    """What to say of reminders that wait while no kernel runs; empty where there are none.

    Args:
        rows: As ``Client.reminders`` gives them, the next one first.
    """
    if not rows:
        return ""
    first = rows[0]
    told = f"next: {_moment(first['due'], datetime.now())}"
    told += f", {_line(first['text'])}" if first["text"] else ""
    if len(rows) == 1:
        return f"1 reminder is waiting ({told}); it rings when llmos runs again."
    return f"{len(rows)} reminders are waiting ({told}); they ring when llmos runs again."


def _moment(due: float, now: datetime) -> str:
    when = datetime.fromtimestamp(due)
    if when.date() == now.date():
        return f"{when:%H:%M} today"
    if when.date() == now.date() + timedelta(days=1):
        return f"{when:%H:%M} tomorrow"
    return f"{when:%H:%M} on {when:%A}, {when.day} {when:%B %Y}"


def _line(text: str) -> str:
    """A text on one line; what follows is left out of a long one."""
    line = " ".join(text.split())
    return visible(line if len(line) <= _TEXT_CHARS else f"{line[: _TEXT_CHARS - 1]}…")
