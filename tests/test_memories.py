"""``llmos memory`` against a kernel of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.client import Client
from tests.served import prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield


async def _talk(*texts: str) -> int:
    """A process in which these were said and answered."""
    async with await Client.connect() as client:
        pid = (await client.create()).pid
        for text in texts:
            await client.send(pid, text)
            await client.wait(pid)
        return pid


async def _ended(pid: int) -> None:
    async with await Client.connect() as client:
        await client.kill(pid)


def test_a_page_is_pinned_shown_as_such_and_let_go(served):
    pid = asyncio.run(_talk("The boat is moored in Setubal."))
    assert run("memory", "pin", "p1").stdout == "Pinned.\n"
    shown = run("memory", "show", "p1").stdout
    assert " · in view · pinned" in shown and "Setubal" in shown
    assert run("memory", "pin", "P1", "--off", "--pid", str(pid)).stdout == "Unpinned.\n"
    assert " · in view\n" in run("memory", "show", "p1").stdout
    refused = run("memory", "pin", "p99")
    assert refused.returncode == 1 and "There is no page 'p99'" in refused.stderr
    asyncio.run(_ended(pid))
    shown = run("memory", "show", "p1").stdout
    assert "Setubal" in shown and "in view" not in shown
    refused = run("memory", "pin", "p1")
    assert refused.returncode == 1 and "has ended" in refused.stderr


def test_forgetting_says_what_goes_and_takes_nothing_where_a_name_is_unknown(served):
    run("memory", "add", "The boat is moored in Setubal.")
    refused = run("memory", "forget", "m1", "m9999", "--yes")
    assert refused.returncode == 1
    assert "There is no m9999. Nothing was forgotten." in refused.stderr
    assert "Setubal" in run("memory", "ls").stdout
    asked = run("memory", "forget", "m1", stdin="n\n")
    assert asked.returncode == 130
    assert "remembered: “The boat is moored in Setubal.”" in asked.stdout
    assert "Setubal" in run("memory", "ls").stdout


def test_what_goes_along_with_an_earlier_name_is_no_error(served):
    asyncio.run(_talk("The boat is moored in Setubal."))
    run("memory", "add", "The boat is moored in Setubal.")
    fact = run("memory", "ls").stdout.split()[0]
    gone = run("memory", "forget", "p1", fact, fact.upper(), "--yes")
    assert gone.returncode == 0, gone.stderr
    assert gone.stdout.startswith(f"Forgotten: p1, {fact}; ")
    assert "Setubal" not in run("memory", "ls").stdout


def test_a_name_of_the_wrong_kind_is_refused_in_words(served):
    refused = run("memory", "edit", "p3", "Another text.")
    assert refused.returncode == 1
    assert "Only memories (m12) can be edited; 'p3' is none." in refused.stderr
    for command in ("pin", "show", "forget"):
        refused = run("memory", command, "x3")
        assert refused.returncode == 1 and "Only memories (m12)" in refused.stderr


def test_a_passage_of_a_file_is_shown_and_what_an_umount_leaves_is_said(served, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "sea.md").write_text("The boat is moored in Setubal.\n")
    assert run("mount", str(notes)).returncode == 0
    name = run("memory", "search", "boat").stdout.split()[0]
    assert name.startswith("f1-")
    shown = run("memory", "show", name).stdout
    assert shown.startswith(f"{name} · ") and "sea.md" in shown and "Setubal" in shown
    gone = run("umount", str(notes))
    assert gone.stdout.startswith("Umounted; 1 passage left the index.")
    assert "stays in that chat" in gone.stdout
    refused = run("memory", "show", name)
    assert refused.returncode == 1 and f"There is no passage '{name}'" in refused.stderr
