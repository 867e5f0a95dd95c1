"""Files that calls made: kept beside the journal, named by the hash of their bytes.

Which call made which file stands in the journal; a file that no record names any more, because it
was forgotten, is taken away. Private to the user.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Set
from pathlib import Path

from llmos import limits, paths
from llmos.errors import CallFailed, NotStored, StoreCorrupt
from llmos.events import ArtifactInfo
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import Record
from llmos.services import Artifact
from llmos.visible import visible

__all__ = ["Artifacts", "infos"]

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{64}")
_MEDIA = re.compile(r"[a-z]+/[a-z0-9.+-]{1,80}")


class Artifacts:
    """All files that calls made. Its methods block: call them in a thread.

    Args:
        folder: Where they are kept; made when the first one comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, made: Iterable[Artifact]) -> tuple[ArtifactInfo, ...]:
        """Keep what a call made.

        Raises:
            CallFailed: It is too much.
        """
        files = list(made)
        if len(files) > limits.ARTIFACTS_MAX:
            raise CallFailed(f"The call made more than {limits.ARTIFACTS_MAX} files.")
        kept = []
        for file in files:
            if len(file.data) > limits.ARTIFACT_BYTES:
                most = limits.ARTIFACT_BYTES >> 20
                raise CallFailed(f"The file {named(file.name)} is larger than {most} MB.")
            id = hashlib.sha256(file.data).hexdigest()
            paths.private_dir(self._folder)
            if not (self._folder / id).exists():
                paths.atomic_write(self._folder / id, file.data)
            media = file.media if _MEDIA.fullmatch(file.media) else "application/octet-stream"
            kept.append(ArtifactInfo(id, named(file.name), media, len(file.data)))
        if kept:
            self._make_room({info.id for info in kept})
        return tuple(kept)

    def _make_room(self, fresh: Set[str]) -> None:
        """Take away the files made longest ago, where all are too much: that is logged."""
        files = sorted(
            ((path, path.stat()) for path in self._folder.iterdir()),
            key=lambda file: file[1].st_mtime,
        )
        over = sum(status.st_size for _, status in files) - limits.ARTIFACTS_BYTES
        for path, status in files:
            if over <= 0:
                return
            if path.name not in fresh:
                log.warning("%s is no longer kept: files of calls take too much room", path.name)
                path.unlink(missing_ok=True)
                over -= status.st_size

    def read(self, id: str) -> bytes:
        """The bytes of a file.

        Raises:
            NotStored: There is none of that id.
            StoreCorrupt: It is not what it was.
        """
        if not _ID.fullmatch(id):
            raise NotStored(f"There is no file {id[:20]!r}.")
        try:
            data = (self._folder / id).read_bytes()
        except OSError:
            raise NotStored(
                "This file is no longer kept.", remedy="Ask for it to be made again."
            ) from None
        if hashlib.sha256(data).hexdigest() != id:
            raise StoreCorrupt(
                "This file was changed on the disk.", remedy="Ask for it to be made again."
            )
        return data

    def sweep(self, journal: Journal) -> int:
        """Take away what no record names; returns how many files that were."""
        if not self._folder.is_dir():
            return 0
        wanted = {info.id for record in journal.records_of(Kind.ARTIFACT) for info in infos(record)}
        gone = 0
        for path in self._folder.iterdir():
            if path.name not in wanted:
                try:
                    path.unlink()
                    gone += 1
                except OSError as error:
                    log.warning("%s cannot be removed: %s", path, error)
        return gone


def infos(record: Record) -> tuple[ArtifactInfo, ...]:
    """The files that a record of them names; none where it was erased."""
    try:
        return tuple(ArtifactInfo(**each) for each in json.loads(record.stored.message.content))
    except (ValueError, TypeError):
        return ()


def named(name: str) -> str:
    """A bare file name that can be shown and written anywhere."""
    bare = visible(name).replace("\\", "/").rpartition("/")[2]
    bare = re.sub(r"[\x00-\x1f:*?\"<>|]", "_", bare).strip(". ")
    return bare[:120] or "file"
