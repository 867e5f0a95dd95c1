"""``llmos bench memory``, thin."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from llmos.bench.memory.figures import MEMORY_FIGURES

__all__ = ["GROUPS", "memory"]

#: The keys of each group that is not itself called like a figure.
GROUPS = {
    group: tuple(f.key for f in MEMORY_FIGURES.values() if f.group == group)
    for group in dict.fromkeys(figure.group for figure in MEMORY_FIGURES.values())
    if group not in MEMORY_FIGURES
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(dict.fromkeys([*MEMORY_FIGURES, *GROUPS]))),
    metavar="KEY",
    help="Measure only this figure, or this group of them; may be given several times.",
)
@click.option("--model", default="starter", show_default=True, help="What the kernel serves.")
@click.option("--pairs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seed", type=int, default=20251120, show_default=True)
@click.option("--quick", is_flag=True, help="A fifth of the samples, while developing.")
def memory(
    as_json: bool, only: tuple[str, ...], model: str, pairs: int, seed: int, quick: bool
) -> None:
    """Returning, remembering, finding and forgetting, each beside its bar.

    Ends with 1 where a figure misses its bar or cannot be measured.
    """
    from llmos.bench.memory.scope import MemoryBench
    from llmos.bench.processes import private_home
    from llmos.bench.run import run_groups, table

    with private_home() as home:
        named = {key for name in only for key in (GROUPS.get(name) or (name,))}
        wanted = frozenset(named or MEMORY_FIGURES)
        run = MemoryBench(home, wanted, model=model, pairs=pairs, seed=seed, quick=quick)
        report = asyncio.run(run_groups(run, "llmos.bench.memory"))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(table(report, MEMORY_FIGURES))
    sys.exit(1 if report["missed"] or report["broken"] else 0)
