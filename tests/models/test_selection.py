"""Choosing a model changes one line of the settings file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from llmos import config
from llmos.errors import ConfigError
from llmos.models.selection import select_model


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[engine]\nmodel = "new"\n'),
        ('[engine]\nmodel = "old"\n', '[engine]\nmodel = "new"\n'),
        (
            "# mine\n[engine]  # e\n  model = 'old'  # the old one\nwindow = 4096\n",
            '# mine\n[engine]  # e\n  model = "new"  # the old one\nwindow = 4096\n',
        ),
        (
            "[agent]\ncalls = 3\n\n[engine]\nwindow = 512\n",
            '[agent]\ncalls = 3\n\n[engine]\nmodel = "new"\nwindow = 512\n',
        ),
        ("[agent]\ncalls = 3", '[agent]\ncalls = 3\n\n[engine]\nmodel = "new"\n'),
        (
            '[models]\nhub = "https://m"\nmodel = 1\n',
            '[models]\nhub = "https://m"\nmodel = 1\n\n[engine]\nmodel = "new"\n',
        ),
    ],
)
def test_only_the_line_changes(before: str, after: str, tmp_path: Path) -> None:
    file = tmp_path / "c" / "config.toml"
    if before:
        file.parent.mkdir()
        file.write_text(before)
    assert select_model("new", file) == file
    assert file.read_text() == after


def test_a_name_with_quotes_survives(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    name = '/models/odd "name" ü\\.gguf'
    select_model(name, file)
    assert tomllib.loads(file.read_text())["engine"]["model"] == name


@pytest.mark.parametrize(
    "text",
    [
        'engine = { model = "old" }\n',
        'engine.model = "old"\n',
        '[engine]\nmodel = """\nold"""\n',
        '[engine]\n"model" = "old"\n',
    ],
)
def test_a_file_that_one_line_cannot_change_is_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="by hand"):
        select_model("new", file)
    assert file.read_text() == text


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[engine\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        select_model("new", file)


def test_the_permissions_stay(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    file.chmod(0o640)
    select_model("new", file)
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_settings_know_what_was_chosen() -> None:
    select_model("qwen3-4b")
    assert config.load(environ={}).engine.model == "qwen3-4b"
