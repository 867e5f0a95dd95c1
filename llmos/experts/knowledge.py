"""What an expert knows: its knowledge files as passages, in an index of the expert's own.

Nobody else's search looks into that index, and it is thrown away with the expert. It holds
nothing that the files don't: it is made anew where they changed, or where it was deleted. A file
that cannot be read, or only in part, is named in ``Library.skipped`` and is never fatal. Belongs
to one event loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmos import limits, paths
from llmos.documents.reader import Reader
from llmos.errors import FileNotRead
from llmos.memory.index import Index
from llmos.memory.passages import Hit, Passage

if TYPE_CHECKING:
    from llmos.experts.catalogue import Expert
    from llmos.memory.embed import Embedder

__all__ = ["Library", "forget", "passages"]

_log = logging.getLogger(__name__)
_BATCH = 64  # passages written at once
_DONE = "knowledge"  # the cursor that says that all of it was put


def _base() -> Path:
    return paths.state_dir() / "experts"


def forget(name: str) -> None:
    """Throw away what was indexed of an expert; unknown names are no matter."""
    for folder in _base().glob(f"{name}.*"):
        shutil.rmtree(folder, ignore_errors=True)


async def passages(expert: Expert) -> AsyncIterator[Passage | str]:
    """An expert's knowledge, cut into passages; a string says why a file, or its rest, is not.

    A passage's id is ``k:<expert>:<file>.<number>``, files numbered from 1 in the manifest's
    order, and its place is for a person: ``analyst: knowledge/charts.md, lines 10-42``.
    """
    reader = Reader()
    count = 0
    try:
        for number, name in enumerate(expert.knowledge, 1):
            where = f"{expert.name}: {name}"
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with open(os.open(expert.folder / name, flags), "rb", buffering=0) as file:
                    sections = reader.read(file, name)
                    part = 0
                    async with contextlib.aclosing(sections):
                        async for section in sections:
                            part += 1
                            count += 1
                            if count > limits.EXPERT_PASSAGES:
                                yield f"{where}: Only its first passages were read."
                                return
                            yield Passage(
                                id=f"k:{expert.name}:{number}.{part}",
                                source="file",
                                pid=0,
                                place=f"{where}, {section.where}",
                                time=0.0,
                                text=section.text,
                            )
            except FileNotRead as error:
                yield f"{where}: {error}"
            except OSError as error:
                yield f"{where}: It can't be read: {error.strerror}."
    finally:
        await reader.close()


class Library:
    """The indexes of all experts, each opened when it is first asked.

    Args:
        embedder: Makes vectors; None: by words only.
    """

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._open: dict[str, tuple[str, Index]] = {}
        #: By expert: sentences on files that were not read, or not to their end.
        self.skipped: dict[str, list[str]] = {}

    async def search(self, expert: Expert, query: str, *, k: int = 5) -> Sequence[Hit]:
        """The passages of an expert's knowledge that answer a query best; cite their ``place``.

        Raises:
            StoreError: The index cannot be kept or read.
        """
        if not expert.knowledge:
            return []
        return await (await self.open(expert)).search(query, k=k)

    async def open(self, expert: Expert) -> Index:
        """The expert's index, with all its knowledge put; vectors may still follow.

        Raises:
            StoreError: It cannot be kept.
        """
        digest, index = self._open.get(expert.name, ("", None))
        if index is not None and digest == expert.digest:
            return index
        await self.drop(expert.name)
        folder = _base() / f"{expert.name}.{expert.digest[:16]}"
        for old in _base().glob(f"{expert.name}.*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
        # Compared one by one: an expert's few thousand passages need no Chroma.
        index = Index(folder, self._embedder, chroma="off", exact=limits.EXPERT_PASSAGES)
        await index.start()
        try:
            if not index.cursor(_DONE):
                await self._fill(index, expert)
        except BaseException:
            await index.close()
            raise
        self._open[expert.name] = (expert.digest, index)
        return index

    async def _fill(self, index: Index, expert: Expert) -> None:
        batch: list[Passage] = []
        skipped: list[str] = []
        async with contextlib.aclosing(passages(expert)) as found:  # type: ignore[type-var]
            async for each in found:
                if isinstance(each, str):
                    _log.warning("knowledge of an expert is not read: %s", each)
                    skipped.append(each)
                    continue
                batch.append(each)
                if len(batch) >= _BATCH:
                    await index.put(batch)
                    batch = []
        await index.put(batch)
        await index.move(_DONE, 1)
        self.skipped[expert.name] = skipped

    async def drop(self, name: str) -> None:
        """Close an expert's index; its files stay."""
        _, index = self._open.pop(name, ("", None))
        if index is not None:
            await index.close()

    async def close(self) -> None:
        """Close all of them."""
        for name in list(self._open):
            await self.drop(name)
