"""What people install works: the wheel carries what the checkout has, and is used from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import llmos

ROOT = Path(__file__).resolve().parent.parent


def _run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, without the checkout on its path."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _build(out: Path, *arguments: str) -> Path:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out]
    _run(*build, *arguments, ROOT, cwd=out.parent)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def from_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is published: built from the source distribution."""
    return _build(tmp_path_factory.mktemp("published") / "dist")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, from_sdist: Path) -> Path:
    """A fresh environment's interpreter, with the wheel in it.

    The dependencies are those of the running environment, seen through a ``.pth`` file.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    place = Path(
        _run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
        ).strip()
    )
    (place / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    _run(*pip, "--no-deps", "--no-index", from_sdist, cwd=folder)
    return python


def _bundle(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _files(folder: Path) -> set[Path]:
    """The files of a folder of the checkout, without caches."""
    return {
        path.relative_to(ROOT)
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts
        )
    }


def test_the_wheel_carries_tools_plugins_and_assets(from_sdist: Path):
    names = _bundle(from_sdist)
    for folder in ("tools", "plugins", "assets"):
        wanted = {f"llmos/_bundle/{path}" for path in _files(ROOT / folder)}
        assert wanted
        assert wanted <= names
    assert "llmos/_bundle/tools/calculator/tool.toml" in names


def test_the_wheel_carries_every_file_of_the_package_and_no_other(from_sdist: Path):
    names = _bundle(from_sdist)
    wanted = {str(path) for path in _files(ROOT / "llmos")}
    assert wanted <= names
    others = {name for name in names - wanted if not name.startswith("llmos/_bundle/")}
    assert {name.split("/")[0] for name in others} == {f"llmos-{llmos.__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name]


def test_a_wheel_built_from_the_checkout_is_the_same(
    from_sdist: Path, tmp_path_factory: pytest.TempPathFactory
):
    direct = _build(tmp_path_factory.mktemp("direct") / "dist", "--wheel")
    assert _bundle(direct) == _bundle(from_sdist)


def test_the_source_distribution_can_be_tested(from_sdist: Path):
    source = next(from_sdist.parent.glob("*.tar.gz"))
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "LICENSE", "weights.txt", "tests/conftest.py", "constraints.txt"} <= names


def test_the_installed_command_tells_its_version(site: Path):
    assert llmos.__version__ in _run(site.parent / "llmos", "--version", cwd=site.parent)


def test_the_installed_package_loads_its_bundled_tools(site: Path):
    script = """
import json, llmos
from llmos import paths
from llmos.door import tools
loaded = tools.load_all([paths.bundled("tools")])
print(json.dumps({
    "package": llmos.__file__,
    "folders": {name: str(paths.bundled(name)) for name in ("tools", "plugins", "assets")},
    "calls": sorted(loaded.calls),
    "broken": [broken.sentence for broken in loaded.broken],
}))
"""
    told = json.loads(_run(site, "-c", script, cwd=site.parent))
    installed = Path(told["package"]).parent
    assert installed.is_relative_to(site.parent.parent)
    assert told["folders"] == {
        name: str(installed / "_bundle" / name) for name in ("tools", "plugins", "assets")
    }
    assert told["broken"] == []
    assert [name for name in told["calls"] if name.startswith("calculator.")]
