"""``llmos plugin``: experts, for a person to install, see and remove.

Works on the disk alone: a kernel that runs sees the change before the next message to an expert.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from llmos import paths
from llmos.errors import LlmosError
from llmos.experts import install as installing
from llmos.experts import locked
from llmos.experts.catalogue import Expert, Experts
from llmos.experts.expertfile import Manifest
from llmos.sandbox.jail import Jail
from llmos.visible import visible

__all__ = ["plugin"]

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
@click.pass_context
def plugin(ctx: click.Context) -> None:
    """Install, list, look at and remove experts."""
    ctx.with_resource(_logged())


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """What is for the log goes there, and not between the lines that a person reads."""
    file = paths.log_file()
    with contextlib.ExitStack() as end:
        handler: logging.Handler = logging.NullHandler()
        with contextlib.suppress(OSError):  # then it goes nowhere
            paths.private_dir(file.parent)
            raw = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            stream = end.enter_context(open(raw, "a", encoding="utf-8", errors="backslashreplace"))
            handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log = logging.getLogger("llmos")
        log.addHandler(handler)
        end.callback(log.removeHandler, handler)
        yield


async def _jail() -> Jail:
    from llmos.sandbox import tiers

    return await tiers.best()


async def _prepare(name: str) -> None:
    """Have a kernel that runs compute what the expert's conversations begin with."""
    from llmos.client import Client

    try:
        async with await Client.connect(start=False) as client:
            click.echo("Computing how its conversations begin …")
            await client.prepare(name)
    except LlmosError:  # then it is computed with its first question
        pass


def _experts() -> Experts:
    experts = Experts(_jail)
    asyncio.run(experts.load())
    return experts


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed experts to complete a NAME from."""
    found = (path.name.removesuffix(locked.ENDING) for path in locked.locks(paths.plugins_dir()))
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _heading(about: Manifest | Expert) -> str:
    """What it is; in marks, what is its own advertising."""
    return visible(
        f"{about.name} {about.version} ({about.licence}), in its own words: “{about.summary}”"
    )


def _listed(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent="  - ", subsequent_indent="    ")


@plugin.command()
@click.argument("source", metavar="FOLDER|ARCHIVE", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
def install(source: Path, yes: bool) -> None:
    """Install an expert from a FOLDER, a .zip or a .tar.gz, or update it.

    Shows what it may do, as it declares it, and asks. It can do nothing else.
    """
    staged = installing.stage(source.expanduser())
    try:
        click.echo(_heading(staged.manifest))
        click.echo("What it declares, and it can do nothing else:")
        for line in staged.told:
            click.echo(_listed(line))
        if staged.before is not None:
            click.echo(f"It replaces version {staged.before}. What changes:")
            for line in staged.changes:
                click.echo(_listed(line))
        click.echo("Its prompt and its knowledge steer the answers while it speaks.")
        if not yes and not _agreed("Install it?"):
            click.echo("Nothing was changed.")
            raise click.exceptions.Exit(1)
        staged.commit()
    finally:
        staged.discard()
    name = staged.manifest.name
    experts = _experts()  # its tools are looked at now, in the jail, and not at the first question
    for broken in experts.broken:
        if broken.name == name:
            click.echo(f"Installed, but it does not work: {visible(broken.sentence)}", err=True)
            raise click.exceptions.Exit(1)
    asyncio.run(_prepare(name))
    click.echo(f"Installed. Ask it: @{name} …")


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort:  # Ctrl-C, or nobody is there to answer
        click.echo()
        return False


@plugin.command("list")
@_json_option
def list_(as_json: bool) -> None:
    """List the experts that are there."""
    experts = _experts()
    if as_json:
        rows = [_row(expert) for expert in experts.all()]
        bad = [{"name": b.name, "broken": b.sentence} for b in experts.broken]
        click.echo(json.dumps([*rows, *bad], indent=2))
        return
    for expert in experts.all():
        whose = "comes with llmos" if expert.bundled else f"installed, {expert.version}"
        click.echo(visible(f"@{expert.name}  {expert.summary} ({whose})"))
    for broken in experts.broken:
        click.echo(visible(f"@{broken.name}  broken: {broken.sentence}"))


@plugin.command()
@click.argument("name")
@_json_option
def info(name: str, as_json: bool) -> None:
    """Show what an expert is and what it may do."""
    expert = _experts().get(name.removeprefix("@"))
    if as_json:
        click.echo(json.dumps(_row(expert), indent=2))
        return
    click.echo(_heading(expert))
    for line in _told(expert):
        click.echo(_listed(line))
    if expert.starters:
        click.echo("Ask it, for example:")
    for starter in expert.starters:
        click.echo(visible(f"  @{expert.name} {starter}"))
    click.echo(visible(f"Its files: {expert.folder}"))


@plugin.command()
@click.argument("name", shell_complete=_names)
def remove(name: str) -> None:
    """Remove an installed expert, with what was indexed of its knowledge.

    What it said in your chats stays there.
    """
    installing.remove(name.removeprefix("@"))
    click.echo("Removed. What it said in your chats stays there.")


def _told(expert: Expert) -> tuple[str, ...]:
    from llmos.experts import expertfile

    return installing.told(expertfile.read(expert.folder), expert.folder)


def _row(expert: Expert) -> dict[str, Any]:
    return {
        "name": expert.name,
        "version": expert.version,
        "licence": expert.licence,
        "summary": expert.summary,
        "bundled": expert.bundled,
        "starters": list(expert.starters),
        "allows": list(expert.allows),
        "calls": list(expert.own),
        "knowledge": list(expert.knowledge),
        "may": list(_told(expert)),
        "folder": str(expert.folder),
        "digest": expert.digest,
    }
