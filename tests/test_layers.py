"""Imports point one way, without a circle. Read from the imports themselves.

Counted wherever they stand: at the top of a module, inside a function, under ``TYPE_CHECKING``,
and ``importlib.import_module`` with a literal name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Who stands on what. A unit (a module or package right below ``llmos``) may import units of
#: earlier rows, and units of its own row as long as no circle comes of it.
LAYERS = (
    (
        *("errors", "paths", "limits", "labels", "events", "config", "visible", "lean"),
        "logfile",
        *("clocks", "credentials", "failpoints", "seldom", "services", "threads"),
    ),
    ("sdk", "client", "sandbox", "documents", "net", "memory", "models"),
    ("host",),
    ("engine", "devices"),
    ("kernel",),
    ("door",),
    ("experts",),
    ("server",),
    ("boot", "doctor", "fsck"),
    (
        "ui",
        "voice",
        "ask",
        "consent",
        "dreams",
        "grants",
        "memories",
        "monitoring",
        "reminders",
        "serve",
        "bench",
        "tracing",
    ),
    ("cli",),
    ("__main__",),
)
RANK = {unit: rank for rank, row in enumerate(LAYERS) for unit in row}

#: Units that see only these, whatever their row would allow.
ONLY = {
    "sdk": set(LAYERS[0]),
    "client": set(LAYERS[0]),
    "ui": {"client", "events", "errors", "visible", "voice"},
    "voice": {"client", "clocks", "config", "devices", "errors", "events", "limits", "visible"},
    "ask": {"client", "consent", "events", "errors", "visible"},
    "consent": {"client", "events", "errors", "visible"},
    "grants": {"client", "events", "errors", "visible"},
    "dreams": {"client", "events", "errors", "visible"},
    "memories": {"client", "events", "errors", "visible"},
    "monitoring": {"client", "events", "errors", "visible"},
    "reminders": {"client", "events", "errors", "visible"},
}
#: Joined by the kernel alone.
STRANGERS = {("engine", "memory"), ("memory", "engine")}


def _imports(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything ``path`` imports."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield node.lineno, name.name
            case ast.ImportFrom(module=source, names=names, level=level):
                base = package
                for _ in range(level - 1):
                    base = base.rpartition(".")[0]
                parts = [base] if level else []
                stem = ".".join([*parts, *([source] if source else [])])
                for name in names:
                    yield node.lineno, f"{stem}.{name.name}"
            case ast.Call(
                func=ast.Attribute(attr="import_module" | "run_module")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def _module(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _unit(name: str) -> str:
    """The unit of a dotted name below ``llmos``; empty for the bare package."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and _is_unit(parts[1]) else ""


def _is_unit(name: str) -> bool:
    package = ROOT / "llmos"
    return (package / f"{name}.py").is_file() or (package / name).is_dir()


def _wrong(unit: str, other: str) -> str:
    """Why ``unit`` must not import ``other``; empty where it may."""
    if unit == other or not other:
        return ""
    if unit in ONLY:
        return "" if other in ONLY[unit] else f"{unit} sees only {', '.join(sorted(ONLY[unit]))}"
    if (unit, other) in STRANGERS:
        return f"{unit} and {other} do not know each other"
    return f"{other} stands above {unit}" if RANK[other] > RANK[unit] else ""


def _edges() -> dict[tuple[str, str], str]:
    """Unit to unit, with the place of one import that makes it."""
    found: dict[tuple[str, str], str] = {}
    for path in _sources("llmos"):
        unit = _unit(_module(path))
        for line, name in _imports(path, _module(path)):
            if name.split(".")[0] == "llmos" and _unit(name) not in ("", unit):
                found.setdefault((unit, _unit(name)), f"{path.relative_to(ROOT)}:{line}")
    return found


def test_every_module_has_a_place_in_the_layers():
    units = {_unit(_module(path)) for path in _sources("llmos")} - {""}
    assert units - RANK.keys() == set()


def test_imports_point_one_way():
    wrong = [f"{place}: {why}" for (a, b), place in _edges().items() if a and (why := _wrong(a, b))]
    assert not wrong, "\n".join(wrong)


def test_the_package_itself_imports_nothing_but_the_ground():
    """``import llmos`` is cheap: its ``__init__`` pulls in no layer above the first."""
    heavy = {b: place for (a, b), place in _edges().items() if not a and RANK[b] > 0}
    assert heavy == {}


def test_there_is_no_circle():
    graph: dict[str, set[str]] = {}
    for a, b in _edges():
        graph.setdefault(a, set()).add(b)

    def visit(unit: str, trail: tuple[str, ...]) -> None:
        assert unit not in trail, " -> ".join([*trail[trail.index(unit) :], unit])
        for other in sorted(graph.get(unit, ())):
            visit(other, (*trail, unit))

    for unit in sorted(graph):
        visit(unit, ())


@pytest.mark.parametrize("folder", ["tools", "plugins"])
def test_tools_and_plugins_see_only_the_sdk(folder: str):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _sources(folder)
        for line, name in _imports(path, _module(path))
        if name.split(".")[0] == "llmos" and name != "llmos.sdk" and _unit(name) != "sdk"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import llmos.server.app as app", "llmos.server.app"),
        ("from llmos import server", "llmos.server"),
        ("from llmos.server import app", "llmos.server.app"),
        ("from .. import server", "llmos.server"),
        ("from ..server.app import build", "llmos.server.app.build"),
        ("def f():\n    from llmos import server", "llmos.server"),
        ("if TYPE_CHECKING:\n    from llmos import server", "llmos.server"),
        ("import importlib\nimportlib.import_module('llmos.server')", "llmos.server"),
    ],
)
def test_no_way_of_importing_escapes_this_test(tmp_path: Path, source: str, found: str):
    path = tmp_path / "screen.py"
    path.write_text(source)
    names = [name for _, name in _imports(path, "llmos.ui.screen")]
    assert found in names
    if _is_unit("server"):
        assert _wrong("ui", _unit(found))


@pytest.mark.parametrize(
    ("unit", "other"),
    [
        ("engine", "memory"),
        ("memory", "engine"),
        ("errors", "engine"),
        ("kernel", "server"),
        ("ui", "kernel"),
        ("ui", "paths"),
        ("voice", "server"),
        ("sdk", "kernel"),
        ("client", "kernel"),
    ],
)
def test_the_rules_forbid_what_the_design_forbids(unit: str, other: str):
    assert _wrong(unit, other)
