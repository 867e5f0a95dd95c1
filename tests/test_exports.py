"""``__all__`` is the API: of the package, and of every module that has one."""

from __future__ import annotations

import ast
import importlib
import types
from pathlib import Path

import pytest

import llmos

PACKAGE = Path(llmos.__file__).parent
MODULES = sorted(
    ".".join(["llmos", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


def test_the_package_exports_what_it_defines():
    public = {
        name
        for name, value in vars(llmos).items()
        if not name.startswith("_")
        and name != "annotations"
        and not isinstance(value, types.ModuleType)
    }
    assert public <= set(llmos.__all__)
    assert all(hasattr(llmos, name) for name in llmos.__all__)


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_exports_only_what_exists(name: str):
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert [name for name in exported if not hasattr(module, name)] == []
    assert len(exported) == len(set(exported))


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_module_says_what_it_does(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
