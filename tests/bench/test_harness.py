"""The bench's own machinery: pairs, statistics, the private home, the children, the report."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from llmos import paths
from llmos.bench import commands, terminals
from llmos.bench.figures import FIGURES, failed
from llmos.bench.harness import Bench, interleaved, median_ratio, summary
from llmos.bench.processes import Child, PrivateKernel, private_home, spinner
from llmos.bench.run import table
from llmos.errors import KernelError

GOOD = {
    key: figure.bar if figure.test else 1000 for key, figure in FIGURES.items()
}  # a figure right at its bar meets it


# --- statistics -------------------------------------------------------------------------------


async def test_the_warm_up_round_does_not_count_and_the_order_alternates():
    calls = []

    def side(name):
        async def measure(number):
            calls.append((number, name))
            return float(number)

        return measure

    rounds = await interleaved(3, side("a"), side("b"))
    assert rounds == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    assert calls[:4] == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]


async def test_a_round_keeps_the_order_of_its_sides_whichever_went_first():
    async def one(_):
        return 1.0

    async def two(_):
        return 2.0

    assert await interleaved(2, one, two) == [(1.0, 2.0), (1.0, 2.0)]


def test_the_ratio_is_the_median_of_the_pairs_and_not_of_the_sides():
    assert median_ratio([(1.0, 2.0), (30.0, 10.0), (4.0, 4.0)]) == 1.0
    assert median_ratio([(1.0, 0.0, 4.0)], 0, 2) == 0.25


def test_a_summary_names_median_extremes_and_number():
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}


# --- bars -------------------------------------------------------------------------------------


def test_figures_at_their_bars_miss_nothing():
    assert failed(GOOD) == []


@pytest.mark.parametrize("key", [key for key, figure in FIGURES.items() if figure.test])
def test_every_barred_figure_can_miss(key):
    worse = {">=": -1, "<=": 1e9, "is": False}[FIGURES[key].test]
    assert failed(GOOD | {key: worse}) == [key]
    assert failed(GOOD | {key: None}) == [key]


def test_every_group_has_its_module():
    for figure in FIGURES.values():
        assert (Path(commands.__file__).parent / f"{figure.group}.py").is_file()


# --- the report -------------------------------------------------------------------------------


def test_the_report_is_one_flat_json_object(tmp_path):
    run = Bench(tmp_path, frozenset({"cancel_ms", "reuse_ratio"}), seed=7)
    run.found("cancel_ms", 12.345678, reply_tokens=256)
    run.found("kernel_ready_s", 1.0)
    run.left_out["reuse_ratio"] = "No model."
    report = json.loads(json.dumps(run.report()))
    assert report["cancel_ms"] == 12.3457
    assert "kernel_ready_s" not in report, "a figure nobody asked for"
    assert report["missed"] == ["cancel_ms"]
    assert report["bars"] == {"cancel_ms": "<= 10"}
    assert report["left_out"] == {"reuse_ratio": "No model."}
    assert report["parameters"]["cancel_ms"] == {"reply_tokens": 256}
    assert report["seed"] == 7


async def test_a_group_that_breaks_costs_only_its_own_figures(tmp_path, monkeypatch):
    async def breaks(run):
        run.found("idle_cpu_percent", 0.5)
        raise KernelError("The kernel fell over.")

    async def works(run):
        run.found("resume_identical", True)

    monkeypatch.setattr("llmos.bench.desktop.measure", breaks)
    monkeypatch.setattr("llmos.bench.resume.measure", works)
    wanted = frozenset({"idle_cpu_percent", "busy_desktop_gain", "resume_identical"})
    report = await commands._engine(tmp_path, wanted, "starter", 1, 1)
    assert report["idle_cpu_percent"] == 0.5
    assert report["resume_identical"] is True
    assert report["broken"] == ["busy_desktop_gain"]
    assert "fell over" in report["left_out"]["busy_desktop_gain"]


def test_the_table_shows_the_bar_beside_the_figure_and_why_one_is_left_out(tmp_path):
    run = Bench(tmp_path, frozenset(FIGURES))
    run.found("single_stream_ratio", 0.5)
    run.found("resume_identical", True)
    run.left_out["batch8_vs_llama_server"] = "It is not installed."
    first, second, third = sorted(table(run.report(), FIGURES).splitlines())
    assert "It is not installed." in first
    assert second.split()[:2] == ["resume_identical", "yes"]
    assert third.split()[:5] == ["single_stream_ratio", "0.5", ">=", "0.97", "missed"]


def test_an_unknown_figure_is_refused_in_one_sentence():
    result = CliRunner().invoke(commands.bench, ["engine", "--only", "speed_of_light"])
    assert result.exit_code == 2
    assert "speed_of_light" in result.output


# --- processes --------------------------------------------------------------------------------


def test_a_private_home_has_the_models_but_no_settings_and_goes_away(monkeypatch, home):
    (home / "models").mkdir()
    (home / "models" / "own.gguf").touch()
    monkeypatch.setenv("LLMOS_ENGINE_THREADS", "1")
    with private_home() as private:
        assert os.environ["LLMOS_HOME"] == str(private)
        assert "LLMOS_ENGINE_THREADS" not in os.environ
        assert paths.state_dir().parent == private.resolve()
        assert (paths.models_dir() / "own.gguf").exists()
    assert not private.exists()
    assert (home / "models" / "own.gguf").exists()
    assert os.environ["LLMOS_ENGINE_THREADS"] == "1"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.json"
    file.write_text(json.dumps({"default": "Yes."}))
    return file


async def test_a_private_kernel_answers_and_is_gone_afterwards(tmp_path, script):
    async with PrivateKernel(tmp_path, f"scripted:{script}") as kernel:
        assert kernel.ready_s > 0
        assert kernel.model == "scripted"
        assert (await kernel.until_idle())["running"] == 0
        process = psutil.Process(kernel.pid)
    assert not process.is_running()


async def test_a_kernel_that_cannot_start_says_why(tmp_path):
    with pytest.raises(KernelError, match="no script"):
        async with PrivateKernel(tmp_path, "scripted:/nowhere.json"):
            pass


async def test_a_child_that_ends_early_is_told(tmp_path):
    with pytest.raises(KernelError, match="ended early"):
        async with Child("llmos.bench.bare", str(tmp_path / "none.gguf"), "1", "256", "0"):
            pass


async def test_the_spinner_ends_with_its_block():
    mine = psutil.Process()
    before = {child.pid for child in mine.children()}
    async with spinner():
        [busy] = [child for child in mine.children() if child.pid not in before]
        assert busy.cmdline()[0] == sys.executable
    assert not busy.is_running()


# --- the chat screen --------------------------------------------------------------------------


def test_the_composer_is_recognised_between_escape_sequences():
    shown = b"\x1b[?1049h\x1b[2;3H\x1b[38;2;1;2;3mAsk\x1b[0m\x1b[1m anything\x1b[m"
    assert terminals.painted(shown)
    assert not terminals.painted(b"\x1b[?1049h\x1b]0;llmos\x07 Ask")
