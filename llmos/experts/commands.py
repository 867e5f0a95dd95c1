"""``llmos plugin``: experts, for a person to install, see and remove.

Works on the disk alone: a kernel that runs sees the change before the next message to an expert.
"""

from __future__ import annotations

import asyncio
import json
import textwrap
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from llmos import paths
from llmos.door.tools import Broken
from llmos.errors import LlmosError
from llmos.experts import install as installing
from llmos.experts import locked
from llmos.experts.catalogue import Expert, Experts
from llmos.experts.expertfile import Manifest
from llmos.logfile import logged
from llmos.sandbox.jail import Jail
from llmos.visible import legible, visible

__all__ = ["plugin"]

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
@click.pass_context
def plugin(ctx: click.Context) -> None:
    """Install, list, look at and remove experts."""
    ctx.with_resource(logged())


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
    summary = about.summary.replace("”", '"')  # its own words end where llmos says so
    told = f"{about.name} {about.version} ({about.licence}), in its own words: “{summary}”"
    return textwrap.fill(legible(told, line=True), 100, subsequent_indent="  ")


def _say_may(told: tuple[str, ...]) -> None:
    """What it may do, and what that does not mean."""
    click.echo("What it may do, and it can do nothing else:")
    for line in told:
        click.echo(_listed(line))
    click.echo("What changes or sends something still takes your own words, or your yes.")
    click.echo("While it speaks it sees the chat, and its prompt and files steer the answers.")


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
        _say_may(staged.told)
        if staged.before is not None:
            click.echo(f"It replaces version {staged.before}. What changes:")
            for line in staged.changes:
                click.echo(_listed(line))
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
    name, experts = name.removeprefix("@").lower(), _experts()
    broken = next((each for each in experts.broken if each.name == name), None)
    if broken is not None and all(expert.name != name for expert in experts.all()):
        _say_broken(broken, as_json=as_json)
        raise click.exceptions.Exit(1)
    expert = experts.get(name)
    if as_json:
        click.echo(json.dumps(_row(expert), indent=2))
        return
    click.echo(_heading(expert))
    _say_may(_told(expert))
    if expert.starters:
        click.echo("Ask it, for example:")
    for starter in expert.starters:
        click.echo(visible(f"  @{expert.name} {starter}"))
    click.echo(visible(f"Its files: {expert.folder}"))


@plugin.command()
@click.argument("name", shell_complete=_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Remove an installed expert, with what was indexed of its knowledge.

    What it said in your chats stays there.
    """
    name = name.removeprefix("@")
    installing.removable(name)
    if not yes and not _agreed(f"Remove @{name}, its files and what was indexed of its knowledge?"):
        click.echo("Nothing was changed.")
        raise click.exceptions.Exit(1)
    installing.remove(name)
    click.echo("Removed. What it said in your chats stays there.")


def _say_broken(broken: Broken, *, as_json: bool) -> None:
    """Why an expert can't be used, and where it is."""
    if as_json:
        told = {"name": broken.name, "broken": broken.sentence, "folder": str(broken.path)}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(visible(f"@{broken.name} is broken: {broken.sentence}"))
    click.echo(visible(f"Its files: {broken.path}"))


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
