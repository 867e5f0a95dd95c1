"""The documents keep up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from llmos.cli import cli
from llmos.sandbox import probes

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
MODULES = sorted(
    p
    for p in (ROOT / "llmos").rglob("*.py")
    if p.name != "__init__.py" and "_bundle" not in p.parts
)


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_has_its_line_in_the_architecture(module):
    inside = module.relative_to(ROOT / "llmos")
    heading = (
        f"**`{inside.parts[0]}/`**" if len(inside.parts) > 1 else "**The ground and the ends**"
    )
    section = ARCHITECTURE.partition(heading)[2].partition("\n**")[0]
    name = str(Path(*inside.parts[1:])) if len(inside.parts) > 1 else inside.name
    assert f"| `{name}` |" in section


def test_the_architecture_names_no_module_that_is_gone():
    for heading, table in re.findall(r"\*\*`(\w+)/`\*\*[^\n]*\n\n((?:\|[^\n]*\n)+)", ARCHITECTURE):
        if heading == "tools":
            continue
        for name in re.findall(r"^\| `([\w/]+\.py)` \|", table, re.M):
            assert (ROOT / "llmos" / heading / name).is_file(), f"{heading}/{name}"


def test_every_command_is_in_the_readme_and_every_one_named_there_exists():
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.hidden or f"llmos {name}" in README, name
    for name in re.findall(r"`llmos ([a-z]+)", README):
        assert cli.get_command(context, name) is not None, name


def test_what_the_readme_points_at_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readme_has_the_number_of_attempts_that_are_made():
    assert f"makes {len(probes.ALL)} attempts in each" in README
