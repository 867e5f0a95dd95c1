"""``llmos memory`` against a kernel of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llmos import memories
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
    assert run("memory", "pin", "p1", "--off").stdout == "p1 was not pinned.\n"
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
    assert asked.returncode == 1
    assert asked.stdout.splitlines()[:3] == [
        "From the disk, the search and every snapshot goes 1 memory:",
        "  remembered: “The boat is moored in Setubal.”",
        "Every chat's next turn is computed anew: its snapshot might hold the words.",
    ]
    assert asked.stdout.endswith("Nothing was forgotten.\n")
    asked = run("memory", "forget", "m1")
    assert asked.returncode == 1 and asked.stdout.endswith("Nothing was forgotten.\n")
    assert "Setubal" in run("memory", "ls").stdout


def test_what_goes_along_with_an_earlier_name_is_no_error(served):
    asyncio.run(_talk("The boat is moored in Setubal."))
    run("memory", "add", "The boat is moored in Setubal.")
    fact = run("memory", "ls").stdout.split()[0]
    run("memory", "edit", fact, "The boat is moored in Setubal. It is blue.")
    gone = run("memory", "forget", "p1", fact, fact.upper(), "--yes")
    assert gone.returncode == 0, gone.stderr
    assert gone.stdout == f"Forgotten: p1, {fact}; 1 memory and 1 message are gone.\n"
    assert "Setubal" not in run("memory", "ls").stdout
    assert "(untitled)" in run("ps").stdout


def test_what_changes_nothing_says_so(served):
    run("memory", "add", "The boat is moored in Setubal.")
    unchanged = run("memory", "edit", "m1", "The boat is moored in Setubal.")
    assert unchanged.stdout == "Nothing changed.\n"
    assert run("memory", "pin", "m1", "--off").stdout == "m1 was not pinned.\n"
    assert run("memory", "pin", "m1").stdout == "Pinned.\n"
    assert run("memory", "pin", "m1").stdout == "m1 is pinned already.\n"
    missing = run("memory", "pin", "m99")
    assert missing.returncode == 1 and "There is no memory 'm99'" in missing.stderr


def test_a_search_shows_the_words_sought_and_what_says_the_same_once(served):
    long = "We talked about the weather for a while. " * 8
    asyncio.run(_talk(f"{long}The heron stands by the weir. {long}", *["Mend the weir."] * 3))
    run("memory", "add", "Mend the weir.")
    found = run("memory", "search", "-k", "2", "weir").stdout
    assert "and 3 more that say the same" in found and found.count("Mend the weir.") == 1
    lines = run("memory", "search", "stands", "weather").stdout.splitlines()
    assert lines[0].split()[0] == "p1" and lines[0].endswith("process 1, you")
    assert lines[1].strip().startswith("…") and "The heron stands by the weir." in lines[1]


class Searched:
    """A client of a kernel that finds these."""

    def __init__(self, *hits: dict[str, Any]) -> None:
        self._hits = hits

    async def __aenter__(self) -> Searched:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def search(self, query: str, *, k: int, pid: int) -> list[dict[str, Any]]:
        return list(self._hits)


def _hit(id: str, text: str, speaker: str = "user", *, fits: bool = True) -> dict[str, Any]:
    about = {"id": id, "text": text, "glimpse": text, "speaker": speaker, "fits": fits}
    return {**about, "source": "turn", "place": "process 1", "time": 1e9, "similarity": 0.9}


def _found(patch: pytest.MonkeyPatch, *hits: dict[str, Any]) -> list[str]:
    """What a search prints that finds ``hits``."""

    async def connect(**how: Any) -> Searched:
        return Searched(*hits)

    patch.setattr(memories.Client, "connect", connect)
    return CliRunner().invoke(memories.memory, ["search", "boat"]).output.splitlines()


def test_where_nothing_fits_that_is_said_before_what_is_nearest(monkeypatch):
    said = _found(monkeypatch, _hit("p1", "The heron.", fits=False))
    assert said[0] == "Nothing fits; the nearest are:" and said[1].startswith("      p1  2001-09-")
    assert "0.9" not in said[1], "a score that is not the order's is not shown"
    said = _found(monkeypatch, _hit("p1", "The boat."), _hit("p2", "The heron.", fits=False))
    assert len(said) == 4 and said[0].startswith("      p1")


def test_results_of_calls_that_only_repeat_or_acknowledge_are_not_shown(monkeypatch):
    said = _found(
        monkeypatch,
        _hit("p3", "Remembered as m2.", "tool"),
        _hit("p5", "[m2] The boat is blue.\n[p9] …", "tool"),
        _hit("m2", "The boat is blue.", ""),
        _hit("p1", "the boat  is blue."),
        _hit("p7", "12:00", "tool"),
        _hit("p8", "The boat is blue. " + "So said the harbour's report. " * 5, "tool"),
    )
    assert [line.split()[0] for line in said] == ["m2", "The", "and", "p7", "12:00", "p8", "The"]
    assert said[2].strip() == "and 2 more that say the same"
    assert _found(monkeypatch, _hit("p3", "m2 is changed.", "tool")) == [
        "Nothing like that is stored."
    ]


def test_names_and_folders_are_completed(served, tmp_path, monkeypatch):
    run("memory", "add", "The boat is moored in Setubal.")
    (tmp_path / "notes").mkdir()
    run("mount", str(tmp_path / "notes"))

    def completed(words: str, at: int) -> str:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(at))
        return run().stdout

    monkeypatch.setenv("_LLMOS_COMPLETE", "bash_complete")
    assert "plain,m1" in completed("llmos memory forget m", 3)
    assert str(tmp_path / "notes") in completed("llmos umount ", 2)


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
    mounted = run("mount", str(notes))
    assert mounted.returncode == 0 and "1 file, 1 passage; " in mounted.stdout
    assert not mounted.stdout.rstrip().endswith(":")
    name = run("memory", "search", "boat").stdout.split()[0]
    assert name.startswith("f1-")
    shown = run("memory", "show", name).stdout
    assert shown.startswith(f"{name} · ") and "sea.md" in shown and "Setubal" in shown
    gone = run("umount", str(notes))
    assert gone.stdout.startswith("Umounted; 1 passage left the index.")
    assert "stays in that chat" in gone.stdout
    refused = run("memory", "show", name)
    assert refused.returncode == 1 and f"There is no passage '{name}'" in refused.stderr
