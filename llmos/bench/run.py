"""One run of a bench, group by group, and its report for a person."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmos.bench.figures import Figure
from llmos.bench.harness import Bench, say
from llmos.errors import LlmosError

__all__ = ["run_groups", "table"]


async def run_groups(bench: Bench, package: str) -> dict[str, Any]:
    """Measure what ``bench`` wants; a group that breaks costs only its own figures.

    Args:
        package: Where the modules of the groups are.

    Returns:
        The report.
    """
    import httpx

    wanted = (figure for figure in bench.figures.values() if figure.key in bench.wanted)
    with _logged(bench.home / "bench.log"):
        async with bench.shared:
            for group in dict.fromkeys(figure.group for figure in wanted):
                say(f"Measuring {group} …")
                began = time.perf_counter()
                try:
                    await importlib.import_module(f"{package}.{group}").measure(bench)
                except (LlmosError, httpx.HTTPError, OSError, TimeoutError) as error:
                    bench.break_off(group, str(error) or type(error).__name__)
                bench.seconds[group] = round(time.perf_counter() - began, 1)
    return bench.report()


def table(report: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    """The report for a person: figure, value, bar, what it is."""
    lines = []
    width = max(24, *map(len, figures))
    for key, figure in figures.items():
        if key in report:
            value = report[key]
            shown = _shown(value)
            mark = "missed" if key in report["missed"] else ""
            lines.append(f"{key:{width}} {shown:>9}  {figure.bar_text:9} {mark:7} {figure.about}")
        elif key in report["left_out"]:
            lines.append(f"{key:{width}} {'—':>9}  {report['left_out'][key]}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):  # a figure with a spread
        return f"{value['p50']:g}/{value['p95']:g}"
    return f"{value:g}"


@contextlib.contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Kernels of this very process log to ``file`` meanwhile, and to no terminal."""
    handler = logging.FileHandler(file)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
