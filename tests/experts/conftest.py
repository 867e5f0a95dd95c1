"""Experts written by the tests, and a jail without walls in which their tools run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos.experts.catalogue import Experts
from tests.sandbox.bare import Bare

PLUGIN = """
format = 1
name = "{name}"
version = "1.0.0"
licence = "Apache-2.0"
summary = "Looks after birds."
prompt = "You know birds."
starters = ["Which bird is that?"]
knowledge = ["knowledge/*.md"]
tools = ["tools/bird"]
calls = ["clock", "calculator.evaluate"]

[permissions]
{permissions}
"""

TOOL = """
name = "bird"
version = "1.0.0"
summary = "Birds."
uses = [{uses}]

[[call]]
function = "sing"
effect = "{effect}"
timeout = 20
{more}
"""

SING = """
from typing import Annotated, Literal
from llmos.sdk import Context, Length, Range, Result, ToolError, Verbatim

{body}
"""


def plain(body: str) -> str:
    return f"def sing(times: Annotated[int, Range(1, 9)] = 1) -> str:\n    '''Sing.'''\n{body}"


@pytest.fixture
def jail() -> Bare:
    return Bare()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an expert's folder.

    ``body`` is the tool's code, ``plugin`` replaces texts of ``plugin.toml``.
    """

    def make(
        body: str = plain("    return 'tweet ' * times"),
        *,
        name: str = "ornithologist",
        permissions: str = "",
        uses: str = "",
        effect: str = "pure",
        more: str = "",
        plugin: tuple[str, str] = ("", ""),
        base: Path | None = None,
    ) -> Path:
        folder = (base or tmp_path / "sources") / name
        tool = folder / "tools" / "bird"
        tool.mkdir(parents=True, exist_ok=True)
        (folder / "knowledge").mkdir(exist_ok=True)
        (folder / "knowledge" / "gulls.md").write_text(
            "# Gulls\n\nThe herring gull has pink legs.\n\n# Terns\n\nTerns dive for fish.\n"
        )
        text = PLUGIN.format(name=name, permissions=permissions)
        (folder / "plugin.toml").write_text(text.replace(*plugin) if plugin[0] else text)
        (tool / "tool.toml").write_text(TOOL.format(uses=uses, effect=effect, more=more))
        (tool / "__init__.py").write_text(SING.format(body=body))
        return folder

    return make


@pytest.fixture
def experts(tmp_path: Path, jail: Bare) -> Callable[..., Any]:
    """Experts of a folder, loaded."""

    async def find() -> Bare:
        return jail

    async def load(bundled: Path | None = None) -> Experts:
        found = Experts(find, bundled=bundled or tmp_path / "sources")
        await found.load()
        return found

    return load
