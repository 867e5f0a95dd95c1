from __future__ import annotations

import pytest

from llmos import paths
from llmos.door.tools import load
from llmos.errors import CallFailed
from llmos.kernel.spans import values
from llmos.sandbox.shell import Shell
from llmos.sdk import Context

(RUN,) = load(paths.bundled("tools") / "shell").calls


async def test_a_command_runs_in_the_granted_folder(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("one\ntwo\n")
    context = Context(lent={"shell": Shell(lambda: {folder: True})})
    result = await RUN.run({"command": "wc -l < notes.txt"}, context)
    assert result.text.strip() == "2"
    failed = await RUN.run({"command": "false"}, context)
    assert failed.text == "It ended with status 1."
    assert (await RUN.run({"command": "true"}, context)).text == "It ran and printed nothing."


async def test_what_it_printed_is_told_letter_for_letter(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    context = Context(lent={"shell": Shell(lambda: {folder: True})})

    async def told(command: str) -> tuple[str, ...]:
        return RUN.phrases({"command": command}, await RUN.run({"command": command}, context))

    assert await told("echo north.csv; echo south.csv") == (
        "It printed:\n```\nnorth.csv\nsouth.csv\n```",
    )
    assert await told("echo x; false") == ("It printed:\n```\nx\nIt ended with status 1.\n```",)
    assert await told("false") == ("It ended with status 1",)
    assert await told("true") == ("It ran and printed nothing",)
    [long] = await told("seq 100; echo '```'")
    assert long.endswith("\n40\n[61 more lines]\n```")


async def test_where_it_is_off_the_model_is_told():
    with pytest.raises(CallFailed, match="There is no shell here"):
        await RUN.run({"command": "ls"})


def test_it_runs_only_what_the_person_named():
    assert (RUN.effect, RUN.sources, RUN.origin) == ("execute", {"command": "named"}, "untrusted")


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("run ls -la ~/data in the shell", "ls -la ~/data"),
        ("run ls -l, please", "ls -l"),
        ("in the terminal run ls -a for me", "ls -a"),
        ("run `ls in the shell` now", "`ls in the shell`"),
    ],
)
def test_what_people_say_behind_a_command_is_no_part_of_it(said: str, command: str):
    accepts = RUN.verbatim["command"].accepts
    assert accepts is not None
    assert values(said, accepts) == [command]
