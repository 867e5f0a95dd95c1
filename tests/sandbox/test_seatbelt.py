"""The profile of macOS, as text: it is not run on Linux."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmos.errors import SandboxMissing
from llmos.sandbox.jail import Task
from llmos.sandbox.seatbelt import Seatbelt, profile


def balanced(text: str) -> bool:
    """Whether every parenthesis outside a string is closed."""
    depth, quoted, escaped = 0, False, False
    for mark in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = mark == "\\", mark != '"'
        elif mark == '"':
            quoted = True
        else:
            depth += (mark == "(") - (mark == ")")
        if depth < 0:
            return False
    return depth == 0 and not quoted


def test_what_is_not_named_is_denied_and_there_is_no_network():
    lines = profile(Task(("/bin/true",))).splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert lines[-1] == "(deny network*)"
    assert not [line for line in lines if "mach-lookup" in line or "file-write*" in line]


def test_only_the_writable_folders_can_be_written(tmp_path: Path):
    given, space = tmp_path / "given", tmp_path / "space"
    text = profile(Task(("/bin/true",), readable=(given,), workspace=space))
    (writes,) = [line for line in text.splitlines() if line.startswith("(allow file-write*")]
    assert f'(subpath "{space.resolve()}")' in writes
    assert str(given) not in writes
    assert f'(subpath "{given.resolve()}")' in text


def test_rules_name_where_a_link_leads(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = profile(Task(("/bin/true",), workspace=tmp_path / "link"))
    assert f'(subpath "{tmp_path.resolve() / "real"}")' in text
    assert f'(subpath "{tmp_path / "link"}")' not in text


@pytest.mark.parametrize("name", ['a"b', "a\\b", 'x") (allow default) ("', "a\nb", "a(b"])
def test_no_name_of_a_folder_adds_a_rule(tmp_path: Path, name: str):
    text = profile(Task(("/bin/true",), workspace=tmp_path / name))
    assert balanced(text)
    outside = [part for place, part in enumerate(text.split('"')) if place % 2 == 0]
    if "\\" not in name and '"' not in name:
        assert "allow default" not in "".join(outside)
    escaped = str((tmp_path / name).resolve()).replace("\\", "\\\\").replace('"', '\\"')
    assert f'(subpath "{escaped}")' in text


@pytest.mark.skipif(sys.platform == "darwin", reason="Here it may be there.")
async def test_on_another_system_it_says_what_is_missing():
    with pytest.raises(SandboxMissing, match="sandbox-exec"):
        await Seatbelt().start(Task(("/bin/true",)))
