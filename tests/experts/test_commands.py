"""``llmos plugin``, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llmos.errors import ExpertError
from llmos.experts import commands


@pytest.fixture(autouse=True)
def _open_jail(jail: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find() -> Any:
        return jail

    monkeypatch.setattr(commands, "_jail", find)


def say(*words: str, answer: str = "") -> Any:
    result = CliRunner().invoke(commands.plugin, words, input=answer)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def listed() -> list[str]:
    return [row["name"] for row in json.loads(say("list", "--json").output)]


def test_what_it_may_do_is_shown_before_the_yes(write):
    folder = str(write(permissions='web = ["birds.example"]'))
    refused = say("install", folder, answer="n\n")
    assert "It may read pages of birds.example, and of no other site;" in refused.output
    assert "still takes your own words, or your yes." in refused.output
    assert "Nothing was changed." in refused.output
    assert refused.exit_code == 1
    assert "ornithologist" not in listed()
    agreed = say("install", folder, answer="y\n")
    assert "Installed. Ask it: @ornithologist" in agreed.output
    assert "ornithologist" in listed()


def test_who_cannot_answer_has_not_agreed(write):
    assert say("install", str(write())).exit_code == 1
    assert "ornithologist" not in listed()


def test_an_update_shows_what_changes(write):
    say("install", "--yes", str(write()))
    output = say("install", "--yes", str(write(permissions='folders = "write"'))).output
    assert "It replaces version 1.0.0. What changes:" in output
    assert "New: It may read files in the folders that you granted to llmos" in output


def test_an_expert_is_shown_and_removed(write):
    say("install", "--yes", str(write()))
    output = say("info", "@ornithologist").output
    assert "ornithologist 1.0.0 (Apache-2.0), in its own words: “Looks after birds.”" in output
    assert "@ornithologist Which bird is that?" in output
    assert "@ornithologist  Looks after birds. (installed, 1.0.0)" in say("list").output
    row = json.loads(say("info", "ornithologist", "--json").output)
    assert row["calls"] == ["bird.sing"]
    kept = say("remove", "ornithologist", answer="n\n")
    assert kept.exit_code == 1
    assert "Nothing was changed." in kept.output
    assert say("remove", "ornithologist").exit_code == 1  # nobody is there to say yes
    assert "ornithologist" in listed()
    assert "Removed." in say("remove", "@ornithologist", answer="y\n").output
    assert "ornithologist" not in listed()
    with pytest.raises(ExpertError, match="No expert named"):
        say("remove", "--yes", "ornithologist")


def test_what_a_stranger_wrote_cannot_act_on_the_terminal(write):
    folder = write(plugin=("Looks after birds.", "\\u001b[2JIt may do nothing.\\u202e"))
    output = say("install", str(folder), answer="n\n").output
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_its_own_words_make_no_line_and_end_where_llmos_says_so(write):
    blanks = "\\u2800\\u3000" * 60
    folder = write(
        plugin=("Looks after birds.", f"Birds.” {blanks}It may do nothing. " + "x " * 60)
    )
    output = say("install", str(folder), answer="n\n").output
    heading, rest = output.split("What it may do, and it can do nothing else:")
    assert heading.count("”") == 1 and "spaces⟩" in heading
    assert all(line.startswith("  ") and len(line) <= 100 for line in heading.splitlines()[1:])
    assert "It brings tools of its own: bird.sing" in rest


def test_a_tool_that_does_not_work_is_said_at_once(write):
    result = say("install", "--yes", str(write(body="import nothing_of_that_name")))
    assert result.exit_code == 1
    assert "needs the module nothing_of_that_name" in result.output
    assert "@ornithologist  broken: " in say("list").output


def test_a_broken_one_is_shown_with_the_reason_and_its_place(write):
    say("install", "--yes", str(write(body="import nothing_of_that_name")))
    result = say("info", "@ornithologist")
    assert result.exit_code == 1
    assert "@ornithologist is broken: " in result.output
    assert "needs the module nothing_of_that_name" in result.output
    assert "Its files: " in result.output
    row = json.loads(say("info", "ornithologist", "--json").output)
    assert row["name"] == "ornithologist" and "nothing_of_that_name" in row["broken"]
    with pytest.raises(ExpertError, match="no expert @analist. Did you mean @analyst"):
        say("info", "analist")


def test_what_is_for_the_log_does_not_stand_among_the_answers(write, home):
    folder = write()
    assert "Installed" in say("install", str(folder), "--yes").output
    [installed] = [path for path in (home / "plugins").iterdir() if path.is_dir()]
    (installed / "prompt.md").write_text("Something else.")
    command = [sys.executable, "-m", "llmos", "plugin", "list"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stderr == "" and "broken" in told.stdout
    assert "is broken" in (home / "state" / "kernel.log").read_text()


def test_a_folder_of_experts_that_is_none_holds_none(home):
    (home / "plugins").write_text("")
    assert listed() == ["analyst", "coder", "researcher"]


def test_what_is_no_expert_is_one_sentence(tmp_path: Path):
    with pytest.raises(ExpertError, match="There is no plugin.toml here"):
        say("install", str(tmp_path))


def test_the_experts_that_come_with_llmos_are_listed():
    assert {"analyst", "coder", "researcher"} <= set(listed())
    assert "@coder  Writes, runs and explains code" in say("list").output
