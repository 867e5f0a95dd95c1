"""``llmos ps`` and ``llmos top``: what processes and engine are doing."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

import click

from llmos.client import Client
from llmos.errors import KernelUnreachable
from llmos.events import ProcessInfo
from llmos.visible import visible

__all__ = ["print_processes", "watch"]

_REFRESH_SECONDS = 1.0


async def print_processes(*, ended: bool, as_json: bool) -> None:
    """Print the processes of the running kernel, newest first."""
    try:
        client = await Client.connect(start=False)
    except KernelUnreachable:
        click.echo("[]" if as_json else "No kernel is running.")
        return
    async with client:
        rows = await client.processes(ended=ended)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    click.echo("\n".join(_table(rows)))


async def watch(*, once: bool) -> None:
    """Show processes and engine, again every second until interrupted."""
    async with await Client.connect(start=False) as client:
        before: dict[str, Any] | None = None
        while True:
            stats, rows = await client.stats(), await client.processes()
            status = await client.status()
            if not once:
                click.clear()
            click.echo("\n".join([*_summary(status, stats, before), "", *_table(rows)]))
            if once:
                return
            before = stats
            await asyncio.sleep(_REFRESH_SECONDS)


def _summary(status: dict[str, Any], stats: dict[str, Any], before: Any) -> list[str]:
    engine, model = stats["engine"], status["model"]
    lines = [
        f"{model['name']} on {model['device']}, up {_age(stats['uptime_s'])},"
        f" {stats['listeners']} listening"
    ]
    if "cells" in engine:
        sampled = engine["sampled_tokens"] - (before or stats)["engine"]["sampled_tokens"]
        threads = "thread" if engine["threads"] == 1 else "threads"
        reused = engine["cached_tokens"] / max(engine["prompt_tokens"], 1)
        lines.append(
            f"{sampled / _REFRESH_SECONDS:.0f} tokens/s, {engine['running']} running,"
            f" {engine['waiting']} waiting, {engine['threads']} {threads};"
            f" cells {engine['cells_used']}/{engine['cells']},"
            f" {engine['snapshots']} swapped out ({engine['snapshot_bytes'] / 1e6:.0f} MB);"
            f" {reused:.0%} of prompts reused"
        )
    return lines


def _table(rows: list[ProcessInfo]) -> list[str]:
    lines = [f"{'PID':>5}  {'STATE':<8} {'PRIORITY':<11} {'AGE':>5} {'CONTEXT':>13}  TITLE"]
    for row in rows:
        context = f"{row.context_tokens}/{row.window_tokens}"
        age = _age(time.time() - row.active) if row.active > 0 else "?"  # nobody told the time
        title = visible(" ".join(row.title.split())) or "(untitled)"
        lines.append(
            f"{row.pid:>5}  {row.state:<8} {row.priority:<11} {age:>5} {context:>13}  {title}"
        )
    return lines


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
