"""``llmos bench``: the commands, thin."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from llmos.bench.figures import FIGURES
from llmos.bench.memory.command import memory
from llmos.bench.tool_figures import TOOL_FIGURES
from llmos.bench.voice.command import voice

__all__ = ["bench"]


@click.group()
def bench() -> None:
    """Measure every figure llmos claims, here."""


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(FIGURES)),
    metavar="KEY",
    help="Measure only this figure; may be given several times.",
)
@click.option("--model", default="starter", show_default=True, help="What the kernel serves.")
@click.option("--pairs", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seed", type=int, default=20251120, show_default=True)
def engine(as_json: bool, only: tuple[str, ...], model: str, pairs: int, seed: int) -> None:
    """Speed, latency, reuse and calls, each beside its bar.

    Ends with 1 where a figure misses its bar or cannot be measured.
    """
    from llmos.bench.processes import private_home
    from llmos.bench.run import table

    with private_home() as home:
        report = asyncio.run(_engine(home, frozenset(only or FIGURES), model, pairs, seed))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(table(report, FIGURES))
    sys.exit(1 if report["missed"] or report["broken"] else 0)


bench.add_command(memory)
bench.add_command(voice)


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(TOOL_FIGURES)),
    metavar="KEY",
    help="Measure only this figure; may be given several times.",
)
@click.option("--pairs", type=click.IntRange(1), default=5, show_default=True)
def tools(as_json: bool, only: tuple[str, ...], pairs: int) -> None:
    """What calls of the built-in tools cost, and what they hold; no model takes part.

    Ends with 1 where a figure misses its bar or cannot be measured.
    """
    from llmos.bench.harness import Bench
    from llmos.bench.processes import private_home
    from llmos.bench.run import run_groups, table

    with private_home() as home:
        wanted = frozenset(only or TOOL_FIGURES)
        run = Bench(home, wanted, model="", pairs=pairs, figures=TOOL_FIGURES)
        report = asyncio.run(run_groups(run, "llmos.bench"))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(table(report, TOOL_FIGURES))
    sys.exit(1 if report["missed"] or report["broken"] else 0)


@bench.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=5.0)
@click.option("--clients", type=click.IntRange(1), default=32, show_default=True)
@click.option("--model", default="starter", show_default=True, help="What the kernel serves.")
@click.option("--seed", type=int, default=20251120, show_default=True)
def soak(minutes: float, clients: int, model: str, seed: int) -> None:
    """Many clients that cancel and vanish; then the books must balance.

    Prints one JSON object and ends with 1 where they do not.
    """
    from llmos.bench.processes import private_home
    from llmos.bench.soak import soak as run

    with private_home() as home:
        found = asyncio.run(
            run(home, model=model, seconds=60 * minutes, clients=clients, seed=seed)
        )
    click.echo(json.dumps(found, ensure_ascii=False))
    sys.exit(0 if found["ok"] else 1)


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--tasks", type=click.IntRange(1), help="Of each suite only so many, for a try.")
def security(as_json: bool, tasks: int | None) -> None:
    """Whether strangers' text can have effects: the suites of AgentDojo, without a model.

    Played twice: with calls settled as where a model plans, and as where the guide chooses.
    Needs the package agentdojo (pip install 'llmos[bench-security]'). Ends with 1 where a figure
    misses its bar.
    """
    from llmos.bench.security_run import run, shown
    from llmos.errors import LlmosError

    try:
        report = run(tasks)
    except LlmosError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(report, ensure_ascii=False) if as_json else shown(report))
    sys.exit(1 if report["missed"] else 0)


async def _engine(
    home: Path, wanted: frozenset[str], model: str, pairs: int, seed: int
) -> dict[str, Any]:
    from llmos.bench.harness import Bench
    from llmos.bench.run import run_groups

    run = Bench(home, wanted, model=model, pairs=pairs, seed=seed)
    return await run_groups(run, "llmos.bench")
