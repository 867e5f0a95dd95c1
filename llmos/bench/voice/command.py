"""``llmos bench voice``, thin."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from llmos.bench.voice.figures import VOICE_FIGURES

__all__ = ["voice"]

_GROUPS = {
    group: tuple(f.key for f in VOICE_FIGURES.values() if f.group == group)
    for group in dict.fromkeys(figure.group for figure in VOICE_FIGURES.values())
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(dict.fromkeys([*VOICE_FIGURES, *_GROUPS]))),
    metavar="KEY",
    help="Measure only this figure, or this group of them; may be given several times.",
)
@click.option("--seed", type=int, default=20251120, show_default=True)
@click.option("--quick", is_flag=True, help="A fifth of the samples, while developing.")
def voice(as_json: bool, only: tuple[str, ...], seed: int, quick: bool) -> None:
    """Hearing and speaking, each figure beside its bar, with synthesised users.

    Ends with 1 where a figure misses its bar or cannot be measured.
    """
    from llmos.bench.processes import private_home
    from llmos.bench.run import run_groups, table
    from llmos.bench.voice.scope import VoiceBench

    with private_home() as home:
        named = {key for name in only for key in (_GROUPS.get(name) or (name,))}
        run = VoiceBench(home, frozenset(named or VOICE_FIGURES), seed=seed, quick=quick)
        report = asyncio.run(run_groups(run, "llmos.bench.voice"))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(table(report, VOICE_FIGURES))
    sys.exit(1 if report["missed"] or report["broken"] else 0)
