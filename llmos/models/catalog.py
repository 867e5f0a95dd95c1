"""The models llmos knows by name, and where on this machine they are.

The entries are data, in ``catalog.toml``. ``find`` turns what a person wrote (a catalog name, the
name of a file they put into the models directory, a path) into files; ``locate`` finds an entry's
files among the pulled ones and in installed packages, whose code is never imported. It downloads
nothing; that is ``pull``'s.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import os
import re
import tomllib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from typing import IO, Any

from llmos import limits, paths
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.models import checksum

__all__ = [
    "CatalogFile",
    "Entry",
    "HubSource",
    "Model",
    "PackagePart",
    "PackageSource",
    "Shape",
    "copy_parts",
    "entries",
    "entry",
    "find",
    "installed",
    "locate",
    "read_record",
]

RECORD = "pulled.json"
_SPLIT_TAIL = re.compile(r"-(?!00001)\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the model hub, at a revision."""

    repo: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}"


@dataclass(frozen=True, slots=True)
class PackagePart:
    """A file in a package, or ``member`` of it where that file is a zip archive."""

    package: str
    version: str
    path: str
    member: str = ""


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Files of packages that make one file when joined in order."""

    parts: tuple[PackagePart, ...]

    def __str__(self) -> str:
        return " + ".join(f"{part.package} {part.version}" for part in self.parts)


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file of a model.

    Args:
        size: In bytes; approximate where ``sha256`` is empty.
        sha256: In hexadecimal; empty where it is pinned on the first pull.
        sources: Where to get it, in order of preference.
    """

    name: str
    size: int
    sha256: str
    sources: tuple[HubSource | PackageSource, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the KV cache of a model costs: layers, KV heads, elements of one head."""

    layers: int
    kv_heads: int
    head: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the catalog; see ``catalog.toml`` for the fields."""

    name: str
    title: str
    purpose: str
    about: str
    parameters: int
    licence: str
    quantisation: str
    files: tuple[CatalogFile, ...]
    context: int = 0
    rank: int = 0
    shape: Shape | None = None

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is on this machine.

    Args:
        path: The file to load; the first where there are several.
        files: All of them, by the name the catalog gives them.
        origin: ``pulled``, ``package`` or ``file``.
        entry: Its place in the catalog, if it has one.
    """

    name: str
    path: Path
    origin: str
    files: Mapping[str, Path] = field(default_factory=dict)
    entry: Entry | None = None


def _source(data: dict[str, Any]) -> HubSource | PackageSource:
    if "hub" in data:
        return HubSource(data["hub"], data["file"], data.get("revision", "main"))
    return PackageSource(tuple(PackagePart(**part) for part in data.get("parts", [data])))


def _entry(data: dict[str, Any]) -> Entry:
    files = tuple(
        CatalogFile(
            file["name"],
            file["size"],
            file.get("sha256", ""),
            tuple(_source(source) for source in file["source"]),
        )
        for file in data.pop("file")
    )
    shape = data.pop("shape", None)
    return Entry(**data, files=files, shape=Shape(**shape) if shape else None)


@functools.cache
def entries() -> tuple[Entry, ...]:
    """The whole catalog, in its own order."""
    text = resources.files("llmos.models").joinpath("catalog.toml").read_text("utf-8")
    return tuple(_entry(data) for data in tomllib.loads(text)["model"])


def entry(name: str) -> Entry | None:
    """The entry called ``name``, in any case."""
    return next((e for e in entries() if e.name == name.lower()), None)


# --- where things are -------------------------------------------------------------------------


def read_record(folder: Path) -> dict[str, Any]:
    """What ``pull`` noted in a model's folder; empty where it noted nothing."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("files"), dict) else {}


def _pinned(file: CatalogFile, record: dict[str, Any]) -> str:
    """The checksum a pulled file must have; empty where nobody stated one."""
    noted = record.get("files", {}).get(file.name, {})
    return file.sha256 or str(noted.get("sha256", "") if isinstance(noted, dict) else "")


def _pulled(wanted: Entry, check: bool) -> Model | None:
    folder = paths.models_dir() / wanted.name
    files = {file.name: folder / file.name for file in wanted.files}
    if not all(path.is_file() for path in files.values()):
        return None
    if check:
        record = read_record(folder)
        for file in wanted.files:
            if sha256 := _pinned(file, record):
                checksum.check(files[file.name], sha256)
    return Model(wanted.name, files[wanted.files[0].name], "pulled", files, wanted)


def installed_part(part: PackagePart) -> Path | None:
    """The part's file in this environment, where that very version is installed."""
    try:
        distribution = metadata.distribution(part.package)
    except (metadata.PackageNotFoundError, ValueError):
        return None
    path = Path(str(distribution.locate_file(part.path)))
    return path if distribution.version == part.version and path.is_file() else None


def copy_parts(files: Sequence[tuple[Path, PackagePart]], target: IO[bytes], most: int) -> None:
    """Join files (or members of zips) into ``target``, at most ``most`` bytes.

    Raises:
        ModelCorrupt: There is more than that, or a zip is damaged or lacks the member.
    """
    left = most
    for path, part in files:
        try:
            with contextlib.ExitStack() as stack:
                source: IO[bytes]
                if part.member:
                    archive = stack.enter_context(zipfile.ZipFile(path))
                    source = stack.enter_context(archive.open(part.member))
                else:
                    source = stack.enter_context(path.open("rb"))
                while block := source.read(limits.PULL_CHUNK_BYTES):
                    left -= len(block)
                    if left < 0:
                        raise ModelCorrupt(f"{path} holds more than the {most} bytes expected.")
                    target.write(block)
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
            raise ModelCorrupt(f"The archive {path} is damaged or lacks {part.member}.") from error


def _in_packages(file: CatalogFile, check: bool) -> Path | None:
    """The file in installed packages; joined or unpacked into the cache where need be."""
    for source in file.sources:
        if not isinstance(source, PackageSource):
            continue
        found = [(path, part) for part in source.parts if (path := installed_part(part))]
        if len(found) != len(source.parts):
            continue
        if len(found) == 1 and not found[0][1].member:
            if check:
                checksum.check(found[0][0], file.sha256)
            return found[0][0]
        whole = paths.cache_dir() / "unpacked" / file.sha256 / file.name
        if not check:
            return whole if whole.is_file() else found[0][0]
        if not whole.is_file() or whole.stat().st_size != file.size:
            _unpack(found, whole, file.size)
        checksum.check(whole, file.sha256)
        return whole
    return None


def _unpack(found: Sequence[tuple[Path, PackagePart]], whole: Path, size: int) -> None:
    part_file = whole.with_name(f".{whole.name}.{os.getpid()}.part")
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        with part_file.open("wb") as target:
            copy_parts(found, target, size)
        part_file.replace(whole)
    except OSError as error:
        raise ModelMissing(
            f"The model file {whole.name} cannot be unpacked to {whole.parent}: {error.strerror}."
        ) from error
    finally:
        part_file.unlink(missing_ok=True)


def locate(wanted: Entry, *, check: bool = True) -> Model | None:
    """Find an entry's files: pulled ones first, then those of installed packages.

    Args:
        check: Compare checksums (each file is read once, then remembered). Without it nothing is
            read or unpacked, and the path of a file in parts is that of its first part.

    Returns:
        None where a file is missing.

    Raises:
        ModelCorrupt: A file is there but is not the one the catalog means.
    """
    if pulled := _pulled(wanted, check):
        return pulled
    files = {}
    for file in wanted.files:
        path = _in_packages(file, check)
        if path is None:
            return None
        files[file.name] = path
    return Model(wanted.name, files[wanted.files[0].name], "package", files, wanted)


def _own_files() -> list[Model]:
    """GGUF files in the models directory that are no catalog entry's."""
    folder = paths.models_dir()
    known = {e.name for e in entries()}
    found = []
    for path in sorted([*folder.glob("*.gguf"), *folder.glob("*/*.gguf")]):
        if (path.parent != folder and path.parent.name in known) or path.name.startswith("."):
            continue
        if _SPLIT_TAIL.search(path.stem) or not path.is_file():
            continue  # the other parts of a split model
        named = path.parent != folder and read_record(path.parent)
        name = path.parent.name if named else path.stem.lower()
        found.append(Model(name, path, "pulled" if named else "file", {path.name: path}))
    return found


def installed() -> list[Model]:
    """Every model on this machine, unchecked: the catalog's first, then the person's own."""
    located = (locate(e, check=False) for e in entries())
    return [model for model in located if model] + _own_files()


def _path_of(text: str) -> Path | None:
    """The path that ``text`` plainly is, if it is one."""
    if "/" in text or text.startswith(("~", ".")) or text.lower().endswith(".gguf"):
        return Path(text).expanduser()
    return None


def find(name_or_path: str | Path) -> Model:
    """Resolve what a person wrote: a catalog name, an own model's name, or a path.

    Raises:
        ModelMissing: There is no such model, or it is not on this machine yet.
        ModelCorrupt: It is there, but its checksum is wrong.
    """
    text = str(name_or_path).strip()
    if wanted := entry(text):
        model = locate(wanted)
        if model is None:
            raise ModelMissing(
                f"The model {wanted.name} is not on this machine.",
                remedy=f"Get it with: llmos models pull {wanted.name}",
            )
        return model
    own = _own_files()
    for model in own:
        if text.lower() in (model.name, model.path.name.lower()):
            _check_own(model)
            return model
    path = Path(name_or_path) if isinstance(name_or_path, Path) else _path_of(text)
    if path is not None:
        if not path.is_file():
            raise ModelMissing(f"There is no model file {path}.")
        return Model(path.stem, path, "file", {path.name: path})
    names = [e.name for e in entries()] + [model.name for model in own]
    near = difflib.get_close_matches(text.lower(), names, n=1)
    raise ModelMissing(
        f"There is no model called {text[:100]!r}.",
        remedy=f"Did you mean {near[0]}?" if near else "See: llmos models list",
    )


def _check_own(model: Model) -> None:
    """Check a pulled file outside the catalog against what its pull noted."""
    noted = read_record(model.path.parent).get("files", {}) if model.origin == "pulled" else {}
    for name, path in model.files.items():
        sha256 = noted.get(name, {}).get("sha256") if isinstance(noted.get(name), dict) else None
        if isinstance(sha256, str):
            checksum.check(path, sha256)
