"""``llmos undo``: what tools changed in a person's files, listed and taken back.

Reads and writes the log in the state directory itself, under its lock: it needs no kernel, and
minds none that runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

import click

from llmos import paths
from llmos.host.maker import Maker
from llmos.host.places import told
from llmos.host.undo import Entry, Log
from llmos.visible import visible

__all__ = ["undo"]

_SHOWN = 20  # of the latest changes, where not all are asked for
_DONE = {
    "write": "wrote",
    "overwrite": "overwrote",
    "append": "added to",
    "edit": "edited",
    "copy": "copied something to",
    "move": "moved",
    "delete": "deleted",
    "undo": "undid",
}


@click.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(min=1), metavar="[NUMBER]...")
@click.option("--list", "-l", "as_list", is_flag=True, help="List what can be undone.")
@click.option("--all", "every", is_flag=True, help="With --list: all of it, not only the latest.")
@click.option("--force", is_flag=True, help="Also where the file was changed since.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def undo(numbers: Sequence[int], as_list: bool, every: bool, force: bool, as_json: bool) -> None:
    """Take back what was changed in your files: the last change, or those with these NUMBERs.

    What was changed in one go, as by a renaming of many files, is taken back in one go.

    A file that was changed since is left alone. Undoing is a change itself, and can be undone.
    """
    maker = Maker(Log(paths.state_dir() / "undo"))
    if as_list:
        _list(*maker.changes(), every=every, as_json=as_json)
        return
    for number in numbers or (0,):
        for entry, diff in maker.undo(number, force=force):
            if as_json:
                click.echo(json.dumps({"undone": asdict(entry), "diff": diff}))
                continue
            click.echo(visible(diff).rstrip("\n"))
            click.echo(f"Change {entry.number} is undone.")


def _list(entries: Sequence[Entry], lost: int, *, every: bool, as_json: bool) -> None:
    if as_json:
        shown = [asdict(entry) for entry in entries]
        click.echo(json.dumps({"changes": shown, "lost": lost}, indent=2))
        return
    if not entries:
        click.echo("Nothing was changed yet.")
    left_out = 0 if every else max(0, len(entries) - _SHOWN)
    if left_out:
        click.echo(f"{left_out} earlier ones: llmos undo --list --all")
    for entry in entries[left_out:]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.at))
        what = told(entry.path) + (f" to {told(entry.to)}" if entry.to else "")
        state = f" (undone by {entry.undone})" if entry.undone else ""
        of = f" {entry.undoes}:" if entry.undoes else ""
        click.echo(f"{entry.number:>6}  {when}  {_DONE.get(entry.kind, '?')}{of} {what}{state}")
    if lost:
        click.echo(f"Changes up to {lost} can't be undone any more: their room was needed.")
