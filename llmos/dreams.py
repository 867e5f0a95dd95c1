"""``llmos dream``: memory consolidated now, what that made, and how to undo it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from llmos.client import Client
from llmos.errors import LlmosError
from llmos.visible import visible

__all__ = ["dream"]

_LOOK_SECONDS = 0.2
_STEPS = {
    "memories": "looking for memories that say the same",
    "turns": "summarising turns that left their window",
    "pages": "linking pages that are about the same",
}
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_json_option
@click.pass_context
def dream(ctx: click.Context, as_json: bool) -> None:
    """Tidy memory now, as is done by itself while nobody is there.

    Memories that say no more than another are merged, turns that left their window are summarised
    by the model, pages of different conversations that are about the same are linked. What was
    said stays as it is, and all of it can be undone. Ctrl-C stops it; so does anything else that
    somebody asks of the kernel.
    """
    if ctx.invoked_subcommand is not None:
        return
    state = asyncio.run(_dream(quiet=as_json))
    if as_json:
        click.echo(json.dumps(state, indent=2))
    else:
        _print(state["made"])
        if state["error"]:
            raise LlmosError(state["error"])
        _print_rest(state)


def _print_rest(state: dict[str, Any]) -> None:
    if not state["made"]:
        click.echo("There was nothing to do.")
    if state["refused"]:
        count = state["refused"]
        told = "1 summary was" if count == 1 else f"{count} summaries were"
        click.echo(f"{told} not kept: what the model wrote does not stand in what it summarised.")
    if state["made"]:
        click.echo("Undo one of these with: llmos dream undo ID")


async def _dream(*, quiet: bool) -> dict[str, Any]:
    """Begin a dream and show how far it is, until it is over."""
    bar = sys.stderr.isatty() and not quiet
    async with await Client.connect() as client:
        await client.dream()
        try:
            while (state := await client.dreaming())["dreaming"]:
                if bar:
                    share = f" ({state['done']} of {state['of']})" if state["of"] else ""
                    made = f", {len(state['made'])} made" if state["made"] else ""
                    told = f"{_STEPS.get(state['step'], 'beginning')}{share}{made}"
                    click.echo(f"\r\x1b[K{told}", nl=False, err=True)
                await asyncio.sleep(_LOOK_SECONDS)
        except BaseException:
            await client.wake()
            raise
        finally:
            if bar:
                click.echo("\r\x1b[K", nl=False, err=True)
    return state


@dream.command("ls")
@_json_option
def ls(as_json: bool) -> None:
    """List what dreams have made."""

    async def read() -> list[dict[str, Any]]:
        async with await Client.connect() as client:
            return await client.derived()

    made = asyncio.run(read())
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    _print(made)
    if not made:
        click.echo("Nothing yet. Begin with: llmos dream")


@dream.command("undo")
@click.argument("names", nargs=-1, required=True)
def undo(names: Sequence[str]) -> None:
    """Undo what a dream made (d12). What it was made of stays; it is not made again."""

    async def remove() -> None:
        async with await Client.connect() as client:
            for name in names:
                await client.undo(name.lower())
                click.echo(f"{visible(name)} is undone.")

    asyncio.run(remove())


def _print(made: Sequence[dict[str, Any]]) -> None:
    for each in made:
        where = f" (process {each['pid']})" if each["pid"] else ""
        click.echo(f"{each['id']:>6}  {each['kind']:<8}{where} {visible(each['text'])}")
