"""``llmos ask`` says what its answer rests on: what was brought back, and what was not in view."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llmos.client import Client
from tests.served import prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch):
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


async def mounted(folder: Path) -> None:
    """Mount ``folder`` and wait until it is read."""
    async with await Client.connect() as client, asyncio.timeout(30):
        await client.mount(folder)
        while (await client.mounts())[0]["state"] != "ready":
            await asyncio.sleep(0)


def test_what_was_brought_back_is_named_with_its_place(served: Path, tmp_path: Path):
    folder = tmp_path / "boats"
    folder.mkdir()
    (folder / "boat.md").write_text("The boat Esmeralda lies in the harbour of Setubal.\n")
    asyncio.run(mounted(folder))
    done = run("ask", "In which harbour does the boat Esmeralda lie?")
    assert (done.returncode, done.stdout) == (0, "Yes.\n")
    assert done.stderr.startswith("↩ from ")
    assert "boat.md" in done.stderr
    assert done.stderr.endswith(", line 1\n")
    done = run("ask", "--json", "In which harbour does the boat Esmeralda lie?")
    [back] = json.loads(done.stdout)["recalled"]
    assert back["page"].startswith("f1-")
    assert back["place"].endswith("boat.md, line 1")
    assert done.stderr == ""


def test_a_message_of_which_only_the_ends_are_in_view_is_answered_with_a_warning(served: Path):
    done = run("ask", "--json", "Sum this up.", stdin="All is well on board. " * 10_000)
    assert json.loads(done.stdout)["answer"] == "Yes."
    assert "only its beginning and its end in view" in done.stderr
