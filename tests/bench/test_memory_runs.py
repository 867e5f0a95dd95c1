"""Whole groups at a small scale: on the scripted double, with a real index behind it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from llmos.bench.memory import (
    forget,
    forms,
    kv_type,
    longterm,
    needle,
    nested_kv,
    reuse,
    search,
    typed,
)
from llmos.bench.memory.asking import ask, heard
from llmos.bench.memory.command import GROUPS, memory
from llmos.bench.memory.figures import MEMORY_FIGURES
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.run import run_groups
from llmos.errors import KernelError, LlmosError
from llmos.memory import recall


class Scripted(MemoryBench):
    """A run whose tokens are bytes, as the scripted model's are."""

    async def count(self, text):
        return len(text.encode())

    async def words(self, tokens):
        return " ".join(self.random.choice(["river", "stone"]) for _ in range(tokens // 6))


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "script.json"
    rules = [["boat", "I know."], ["special magic number", "It is 1234567."]]
    file.write_text(json.dumps({"rules": rules, "default": "OK."}))
    return f"scripted:{file}"


@pytest.fixture
def run_of(tmp_path, script):
    def make(*keys, **options):
        options = {"model": script, "pairs": 1, "quick": True, **options}
        return Scripted(tmp_path, frozenset(keys), **options)

    return make


# --- the table and the command ----------------------------------------------------------------


def test_every_group_has_its_module():
    folder = Path(needle.__file__).parent
    for figure in MEMORY_FIGURES.values():
        assert (folder / f"{figure.group}.py").is_file()


def test_every_needle_figure_has_its_task():
    keys = {key for key, figure in MEMORY_FIGURES.items() if figure.group == "needle"}
    bench = MemoryBench(Path(), frozenset())
    assert {key for task in needle.TASKS for key, _ in needle._figures(bench, task)} == keys


def test_a_group_is_named_where_no_figure_is_called_so():
    assert set(GROUPS["kv_type"]) >= {"kv_type_size", "kv_type_same", "kv_type_right"}
    assert not GROUPS.keys() & MEMORY_FIGURES.keys()


def test_an_unknown_figure_is_refused_in_one_sentence():
    from click.testing import CliRunner

    result = CliRunner().invoke(memory, ["--only", "telepathy"])
    assert result.exit_code == 2
    assert "telepathy" in result.output


async def test_a_group_that_breaks_costs_only_its_own_figures(run_of, monkeypatch):
    async def breaks(run):
        raise KernelError("The kernel fell over.")

    async def works(run):
        run.found("typed_ahead_ratio", 0.05)

    monkeypatch.setattr("llmos.bench.memory.forget.measure", breaks)
    monkeypatch.setattr("llmos.bench.memory.typed.measure", works)
    report = await run_groups(run_of("forget_leaves", "typed_ahead_ratio"), "llmos.bench.memory")
    assert report["typed_ahead_ratio"] == 0.05
    assert report["bars"] == {"typed_ahead_ratio": "<= 0.1"}
    assert report["broken"] == ["forget_leaves"]
    assert "fell over" in report["left_out"]["forget_leaves"]
    assert set(report["seconds"]) == {"forget", "typed"}


def test_a_quick_run_takes_a_fifth_of_the_samples_and_at_least_one(run_of):
    assert [run_of(quick=True).samples_of(number) for number in (50, 20, 2)] == [10, 4, 1]
    assert run_of(quick=False).samples_of(50) == 50


# --- turns ------------------------------------------------------------------------------------


async def test_a_turn_is_timed_and_told(run_of):
    async with run_of().memory() as (kernel, _):
        pid = (await kernel.client.create()).pid
        reply = await ask(kernel.client, pid, "What about my boat?")
        assert (reply.text, reply.reason, reply.calls) == ("I know.", "stop", 0)
        assert reply.first_s > 0
        assert reply.context_tokens > 0


async def test_a_turn_that_comes_to_nothing_is_an_error(run_of, tmp_path):
    silent = tmp_path / "silent.json"
    silent.write_text(json.dumps({"default": ""}))
    async with run_of(model=f"scripted:{silent}").memory() as (kernel, _):
        pid = (await kernel.client.create()).pid
        with pytest.raises(KernelError, match="came to nothing"):
            await heard(kernel.client, pid, "Hello")


# --- groups -----------------------------------------------------------------------------------


async def test_drafts_are_typed_and_both_sides_are_timed(run_of, monkeypatch):
    monkeypatch.setattr(typed, "SECONDS", 0.0)
    monkeypatch.setattr(typed, "WINDOW", 8192)
    run = run_of("typed_ahead_ratio")
    await typed.measure(run)
    assert run.results["typed_ahead_ratio"] > 0
    assert run.samples["typed_ahead_ms"]["n"] == run.samples["typed_without_ms"]["n"] == 1


async def test_nested_keys_are_followed_through_the_calls_of_a_kernel(run_of, monkeypatch):
    monkeypatch.setattr(nested_kv, "PAIRS", 28)
    run = run_of("nested_kv", "nested_kv_starter")
    await nested_kv.measure(run)
    assert run.results["nested_kv"] == 1.0
    assert run.results["nested_kv_starter"] == 0.0, "the script knows no keys"
    assert set(run.samples["nested_kv"]["by_level"]) == {"0", "1", "2", "3", "4"}


async def test_evidence_is_looked_for_in_a_kernel(run_of, embedder_weights, embedder_tokenizer):
    run = run_of("recall_at_5", "recall_at_5_words")
    await longterm.measure(run)
    assert run.results["recall_at_5"] > 0.5
    assert 0 < run.results["recall_at_5_words"] < 1
    assert run.parameters["recall_at_5"]["questions"] == 28


async def test_a_search_is_timed_in_an_index_of_its_own(run_of, monkeypatch):
    monkeypatch.setattr(search, "PASSAGES", 2000)
    monkeypatch.setattr(search, "QUERIES", 10)
    run = run_of("search_p95_ms")
    await search.measure(run)
    assert run.parameters["search_p95_ms"]["passages"] == 400
    assert run.samples["search_p95_ms"]["filtered_ms"]["n"] == 10


async def test_a_forgotten_fact_was_there_before(run_of, monkeypatch):
    async def tokens(bench, mark):
        return list(mark.encode())[1:]

    monkeypatch.setattr(forget, "_tokens", tokens)
    monkeypatch.setattr(forget, "WINDOW", 8192)
    monkeypatch.setattr(forget, "FILLER_TOKENS", 2000)
    run = run_of("forget_leaves")
    await forget.measure(run)
    told = run.samples["forget_leaves"]
    assert told["before"]
    assert told["pages_forgotten"] >= 1
    assert told["snapshot_files"] >= 1


async def test_a_needle_in_an_imported_haystack_is_asked_for_and_judged(run_of, monkeypatch):
    monkeypatch.setattr(needle, "WINDOW", 8192)
    monkeypatch.setattr(needle, "MESSAGE_TOKENS", 600)
    run = run_of("needle_16x")
    task = needle.Task("needle_16x", 2, 5, imported=True)
    await needle._remembered(run, task)
    assert run.results["needle_16x"] == 0.0, "the script knows another number"
    [wrong] = run.samples["needle_16x"]["wrong"]
    assert wrong["said"] == "It is 1234567."
    assert isinstance(wrong["in_view"], bool)


async def test_two_needles_are_read_and_asked_for_on_the_starter_model(
    tmp_path, starter_weights, embedder_weights, embedder_tokenizer, monkeypatch
):
    monkeypatch.setattr(needle, "WINDOW", 512)
    monkeypatch.setattr(needle, "REPLY_TOKENS", 24)
    run = MemoryBench(tmp_path, frozenset({"needle_1x"}), model=str(starter_weights))
    async with run.shared:
        await needle._remembered(run, needle.Task("needle_1x", 1, 2, imported=False))
    assert run.parameters["needle_1x"]["samples"] == 2
    wrong = run.samples["needle_1x"]["wrong"]
    assert run.results["needle_1x"] == 1 - len(wrong) / 2
    assert all(answer["said"] for answer in wrong)


async def test_forms_of_a_recalled_fact_are_held_against_each_other(run_of, tmp_path):
    file = tmp_path / "facts.json"
    rules = [["I told you", "In Lisbon."], ["Context", "No."], ["Note", "Lisbon, green, horse."]]
    file.write_text(json.dumps({"rules": rules, "default": "OK."}))
    keys = [key for key, figure in MEMORY_FIGURES.items() if figure.group == "forms"]
    run = run_of(*keys, model=f"scripted:{file}")
    await forms.measure(run)
    right = run.samples["recall_format"]["right"]
    assert right["told, before"] == 1 and right["note, behind"] == 2
    assert [run.results[key] for key in keys] == [0.0, round(2 / 3, 4), 0.0, 0.0]
    assert run.parameters["recall_format"] == {"questions": 3, "forms": len(forms.FORMS) - 2}


def test_the_form_that_is_tried_first_is_the_one_that_is_used():
    fact, question = "The boat is moored in Setubal.", "Where is it?"
    used = recall._context("m1, 2026-11-22", fact)
    assert forms.FORMS[forms.OURS].format(fact=fact, question=question) == f"{used}\n\n{question}"
    assert len(forms.QUESTIONS) >= 12


async def test_three_kinds_of_cells_are_held_against_each_other_on_the_starter_model(
    tmp_path, starter_weights, monkeypatch
):
    for name, value in (("TOKENS", 256), ("REPLY_TOKENS", 3), ("TEXT_TOKENS", 16)):
        monkeypatch.setattr(kv_type, name, value)
    for name, value in (("RATE_TOKENS", 2), ("NEEDLE_TOKENS", 40)):
        monkeypatch.setattr(kv_type, name, value)
    keys = GROUPS["kv_type"]
    run = MemoryBench(tmp_path, frozenset(keys), model=str(starter_weights), pairs=1, quick=True)
    await kv_type.measure(run)
    assert set(run.results) == set(keys)
    assert 0.5 < run.results["kv_type_size"] < 0.6
    assert all(run.results[f"kv_type_speed{side}"] > 0 for side in ("", "_flash"))
    assert all(0 <= run.results[key] <= 1 for key in keys if key.startswith("kv_type_same"))
    assert run.results["kv_type_loss"] != 0 and abs(run.results["kv_type_loss_flash"]) < 0.2
    assert run.parameters["kv_type_same"]["answers"] == 3
    assert run.parameters["kv_type_right"]["questions"] == 2


async def test_cells_of_a_model_that_does_not_run_here_have_no_type(run_of):
    with pytest.raises(LlmosError):
        await kv_type.measure(run_of("kv_type_size"))


def test_sums_are_asked_with_their_results():
    for question, result in kv_type.sums(random.Random(1), 5):
        a, b = re.findall(r"\d+", question)[-2:]
        assert int(a) + int(b) == int(result)
    assert kv_type._holds("It is 1,234.", "1234") and not kv_type._holds("It is 51.", "5")


async def test_a_chat_without_calls_shows_nothing(run_of, monkeypatch):
    monkeypatch.setattr(reuse, "chat", lambda: ["Hello!", "And now?"])
    with pytest.raises(KernelError, match="no calls"):
        await reuse.measure(run_of("reuse_ratio"))
