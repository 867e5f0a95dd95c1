"""``make chat`` asks exactly what was written, in a terminal and without one.

The Makefile runs in a folder of its own with a set-up that is already done and an ``llmos`` that
prints its arguments.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = "What can you do?"

if not shutil.which("make"):
    pytest.skip("make is not installed", allow_module_level=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "weights.txt"):
        shutil.copy(ROOT / name, folder)
    scripts = {
        "python": f'#!/bin/sh\nexec "{sys.executable}" "$@"\n',
        "llmos": f"#!{sys.executable}\nimport json, sys\n"
        "sys.stdin.isatty() or sys.stdin.read()  # as llmos ask does\n"
        "print(json.dumps(sys.argv[1:]))\n",
    }
    for name, script in scripts.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    for stamp in (".made", ".runtime"):
        (folder / ".venv" / stamp).touch()
    return folder


def _environ(**more: str) -> dict[str, str]:
    ours = {"ASK", "CMAKE_ARGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    return {name: value for name, value in os.environ.items() if name not in ours} | more


def _chat(checkout: Path, *arguments: str, said: str = "", **environ: str) -> list[str]:
    """What ``llmos`` was given by ``make chat``, without a terminal."""
    done = subprocess.run(
        ["make", "--silent", "chat", *arguments],
        cwd=checkout,
        env=_environ(**environ),
        input=said,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "question",
    [
        "What is DNS?",
        'it\'s "quoted" and `id` and $HOME and $(shell touch pwned) and $$',
        "--help",
        "back\\slash; rm -rf x | cat > y & %s #no comment",
        "two\nlines",
        "ümläut 漢字 🦊",
    ],
)
def test_a_question_arrives_byte_for_byte(checkout: Path, question: str):
    assert _chat(checkout, f"ASK={question}") == ["ask", "--", question]
    assert _chat(checkout, ASK=question) == ["ask", "--", question]
    assert not (checkout / "pwned").exists()


def test_without_a_question_standard_input_is_asked(checkout: Path):
    assert _chat(checkout, said="What is\nRAM?\n") == ["ask", "--", "What is\nRAM?"]


def test_without_a_question_or_input_a_default_is_asked(checkout: Path):
    assert _chat(checkout) == ["ask", "--", DEFAULT]
    assert _chat(checkout, "ASK=") == ["ask", "--", DEFAULT]


@pytest.mark.parametrize(("given", "asked"), [([], DEFAULT), (["ASK=Hello?"], "Hello?")])
def test_a_pipe_nobody_writes_to_does_not_hang_it(checkout: Path, given: list[str], asked: str):
    silent, writer = os.pipe()
    try:
        output = subprocess.check_output(
            ["make", "--silent", "chat", *given],
            cwd=checkout,
            env=_environ(),
            stdin=silent,
            text=True,
        )
    finally:
        os.close(silent)
        os.close(writer)
    assert json.loads(output) == ["ask", "--", asked]


def test_in_a_terminal_the_chat_opens(checkout: Path):
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            ["make", "--silent", "chat"],
            cwd=checkout,
            env=_environ(),
            stdin=theirs,
            stdout=theirs,
            check=True,
        )
        assert json.loads(os.read(ours, 4096)) == []
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_missing_interpreter_is_named_in_one_sentence(checkout: Path):
    (checkout / ".venv" / ".made").unlink()
    done = subprocess.run(
        ["make", "--silent", "setup", "PYTHON=python-of-tomorrow"],
        cwd=checkout,
        env=_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "There is no python-of-tomorrow. Install Python 3.11" in done.stderr
    assert "Traceback" not in done.stderr
