"""``llmos grants``: what is allowed for longer than once, and taking it back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from llmos.client import Client
from llmos.errors import LlmosError
from llmos.visible import visible

__all__ = ["allow_call", "allow_folder", "print_grants", "revoke"]


async def print_grants(*, as_json: bool) -> None:
    """Print what is allowed, newest first."""
    async with await Client.connect() as client:
        grants = await client.grants()
    if as_json:
        click.echo(json.dumps(grants))
        return
    if not grants:
        click.echo("Nothing is allowed beyond what you ask for each time.")
        return
    for grant in grants:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(grant["time"]))
        where = f" in process {grant['pid']}" if grant["pid"] else ""
        ends = ""
        if grant["until"]:
            ends = time.strftime(", until %Y-%m-%d %H:%M", time.localtime(grant["until"]))
        click.echo(f"{grant['id']:<6} {since}  {_told(grant)}{where}{ends}")


async def allow_folder(folder: str, *, write: bool, pid: int, days: float = 0) -> None:
    """Let tools read a folder, or also change what is in it."""
    path = str(Path(folder).expanduser().absolute())
    async with await Client.connect() as client:
        grant = await client.grant(folder=path, write=write, pid=pid, days=days)
    click.echo(f"{grant['id']}: {_told(grant)}")


async def allow_call(call: str, values: tuple[str, ...], *, pid: int, days: float = 0) -> None:
    """Let a call be made without a question, with the arguments that are given.

    Args:
        call: Its name, or a pattern of names.
        values: Each ``name=value``: a pattern of text such as ``*@example.org``, or a JSON value.

    Raises:
        LlmosError: One is not of that form, or the kernel refuses it.
    """
    arguments: dict[str, Any] = {}
    patterns: dict[str, str] = {}
    for written in values:
        name, equals, value = written.partition("=")
        if not equals or not name:
            raise LlmosError(f"{written!r} is not of the form name=value.")
        if "*" in value:
            patterns[name] = value
            continue
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    async with await Client.connect() as client:
        grant = await client.grant(
            call=call, arguments=arguments, patterns=patterns, pid=pid, days=days
        )
    click.echo(f"{grant['id']}: {_told(grant)}")


async def revoke(ids: tuple[str, ...]) -> None:
    """Take grants back."""
    async with await Client.connect() as client:
        if "all" in ids:
            ids = tuple(grant["id"] for grant in await client.grants())
        for id in ids:
            click.echo(f"Taken back: {_told(await client.revoke(id))}")


def _told(grant: dict[str, Any]) -> str:
    if grant["folder"]:
        what = "read and change" if grant["write"] else "read"
        return f"{what} {visible(grant['folder'])}"
    named = {**grant["arguments"], **grant["patterns"]}
    values = ", ".join(f"{name} = {json.dumps(value)}" for name, value in named.items())
    return visible(f"make {grant['call']}" + (f" with {values}" if values else ""))
