"""The search index: passages found by their words and by their meaning, fused.

Four ranked lists are fused by reciprocal rank (Cormack, Clarke and Büttcher, SIGIR 2009): words
and vectors, each of the text alone and of the text with its neighbours. Words are searchable as
soon as they are put; vectors follow in the background, and until they are there a search goes by
words. Of the best by words, those that hold all of a short query come before what holds none:
ranks alone would put a near one without them first. Vectors are compared exactly where the scope
leaves few passages; where it leaves many, Chroma names candidates, which are compared exactly.
Without Chroma everything is.

The index holds nothing that the journal and the files don't: it may be deleted. Doesn't know
where passages come from, nor how they are cut. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.errors import ConfigError, StoreError
from llmos.memory import lists
from llmos.memory.mirror import Mirror
from llmos.memory.passages import Hit, Passage, Progress, Scope
from llmos.memory.terms import query_terms
from llmos.memory.vectors import Vectorizer
from llmos.memory.words import FILE, Words, open_words
from llmos.seldom import Seldom

if TYPE_CHECKING:
    from llmos.memory.embed import Embedder

__all__ = ["Index"]

log = logging.getLogger(__name__)
log.addFilter(Seldom())

T = TypeVar("T")
_Vector: TypeAlias = npt.NDArray[np.float32]


class Index:
    """A folder of passages that can be searched.

    Args:
        folder: Everything is kept here; created, for this user alone.
        embedder: Makes vectors of texts; None: by words only.
        chroma: ``embedded``, ``off``, or the address of a Chroma server (``http://host:port``).
        exact: A scope that leaves at most so many passages is compared one by one.

    Raises:
        ConfigError: ``chroma`` is none of these.
    """

    def __init__(
        self,
        folder: Path,
        embedder: Embedder | None,
        *,
        chroma: str = "embedded",
        exact: int = limits.INDEX_EXACT,
    ) -> None:
        if chroma not in ("embedded", "off") and not chroma.startswith(("http://", "https://")):
            raise ConfigError(
                f"{chroma!r} is no place for Chroma.",
                remedy='It is "embedded", "off", or a server\'s address such as '
                "http://localhost:8000.",
            )
        self._folder = folder
        self._embedder = embedder
        self._chroma = chroma
        self._exact = exact
        self._file: Words | None = None
        self._mirror: Mirror | None = None
        self._rarity = lists.Rarity()
        self._paused = 0
        self._free = asyncio.Event()  # nobody waits for the language model
        self._free.set()
        self._vectors: Vectorizer | None = None
        self._failed = ""  # why the last text that was to be embedded for somebody was not
        self._writer = ThreadPoolExecutor(1, "index-write")

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the file, then go on with vectors and with Chroma in the background.

        A file that cannot be used is put aside and a new one begun, with every cursor at 0.

        Raises:
            StoreError: There can be no file in this folder.
        """
        file = self._file = await self._write(
            lambda: open_words(self._folder, _space(self._embedder))
        )
        if self._embedder is not None:
            self._begin(file, self._embedder)

    def lacks(self, sentence: str) -> None:
        """There is an embedder that cannot be had yet, and why; ``use`` comes later."""
        self._failed = sentence

    async def use(self, embedder: Embedder) -> None:
        """Make vectors with ``embedder`` from now on, in an index that had none: it was late.

        Raises:
            StoreError: Vectors of another embedder cannot be dropped.
        """
        if self._embedder is not None:
            raise ValueError("this index has an embedder")
        self._failed = ""
        file = self._words
        await self._write(lambda: file.enter(_space(embedder)))
        self._embedder = embedder
        self._begin(file, embedder)

    def _begin(self, file: Words, embedder: Embedder) -> None:
        """Begin with vectors and their copy, in the background."""
        free = self._free.wait
        mirror = Mirror(file, self._chroma, embedder.dimension, self._exact, free)
        mirror.start()
        self._mirror = mirror

        def made() -> None:
            self._failed = ""
            mirror.changed()

        self._vectors = Vectorizer(file, embedder, self._write, free, made)
        self._vectors.start()

    async def close(self) -> None:
        """Stop; what has no vector yet gets it next time. Safe to call twice."""
        vectors, self._vectors = self._vectors, None
        if vectors is not None:
            await vectors.close()
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            await mirror.close()
        file, self._file = self._file, None
        if file is not None:
            await self._write(file.close)
        self._writer.shutdown(wait=False)

    def pause(self) -> None:
        """Stand still in the background, until ``resume`` was called as often."""
        self._paused += 1
        self._free.clear()

    def resume(self) -> None:
        """Undo one ``pause``."""
        self._paused = max(self._paused - 1, 0)
        if not self._paused:
            self._free.set()

    # --- writing ----------------------------------------------------------------------------

    async def put(self, passages: Sequence[Passage]) -> None:
        """Add passages, or replace those of the same ids.

        Their words are searchable when this returns; their vectors follow.

        Raises:
            StoreError: They cannot be kept.
        """
        file = self._words
        given = list(passages)
        await self._write(lambda: file.put(given))
        if self._mirror is not None:
            self._mirror.changed()
        if self._vectors is not None:
            self._vectors.changed()

    async def forget(self, ids: Iterable[str], *, erase: bool = True) -> None:
        """Take passages out; unknown ids are no matter.

        Args:
            ids: Of the passages.
            erase: Leave no byte of their text in the folder, which takes time with the size of
                the index. Otherwise only nobody finds them any more, and the next erasure takes
                their traces along: for what was not meant to be secret, such as an old version.

        Raises:
            StoreError: The passages are gone, but traces of them may be left.
        """
        file, gone = self._words, list(ids)
        await self._write(lambda: file.drop(gone))
        mirror = self._mirror
        if erase:
            await self._write(file.erase)
            if mirror is not None and self._chroma == "embedded" and file.embedded <= self._exact:
                await mirror.renew(lambda: None)  # Chroma keeps vectors that it deletes for a time
                return
        if mirror is not None:
            await mirror.drop_gone()

    def cursor(self, name: str) -> int:
        """How far a source was read into the index; 0 at the beginning."""
        return self._words.cursor(name)

    async def move(self, name: str, to: int) -> None:
        """Keep how far a source was read; put what was read before."""
        file = self._words
        await self._write(lambda: file.move(name, to))

    # --- searching --------------------------------------------------------------------------

    async def search(self, query: str, *, k: int = 5, scope: Scope = Scope()) -> list[Hit]:  # noqa: B008
        """The best passages for a query, best first.

        Args:
            query: Ordinary text; nothing in it is syntax.
            k: The most to give back.
            scope: Where to look.

        Raises:
            StoreError: The index cannot be read.
        """
        file, k = self._words, min(k, limits.INDEX_HITS)
        if k <= 0 or lists.nothing(scope):
            return []
        terms = query_terms(query)
        (vector, near), words = await asyncio.gather(
            self._near(query, scope), asyncio.to_thread(self._by_words, file, terms, scope)
        )
        scores: dict[int, float] = defaultdict(float)
        for ranked in (*words, *near):
            for rank, n in enumerate(ranked, 1):
                scores[n] += 1 / (limits.INDEX_RANK + rank)
        if 1 < len(terms) <= limits.INDEX_SOUGHT:
            whole = await asyncio.to_thread(
                self._with_all, file, terms, words[0][: limits.INDEX_LIFTED]
            )
            _lift(scores, whole, set(words[0]))
        best = sorted(scores, key=lambda n: (-scores[n], -n))[:k]
        return await asyncio.to_thread(self._hits, file, terms, vector, best, scores)

    async def get(self, id: str) -> Passage | None:
        """The passage of that id; None where there is none."""
        file = self._words

        def read() -> Passage | None:
            with file.reading() as db:
                return next(iter(lists.passages(db, lists.numbers(db, [id])).values()), None)

        return await asyncio.to_thread(read)

    async def held(self, ids: Iterable[str]) -> set[str]:
        """Of these ids, those that are in the index."""
        file, wanted = self._words, list(ids)

        def read() -> set[str]:
            with file.reading() as db:
                return set(lists.numbers(db, wanted).values())

        return await asyncio.to_thread(read)

    async def similar(self, query: str, ids: Sequence[str]) -> dict[str, float]:
        """Cosine of the query and each text that has a vector, exact, by id."""
        file, vector = self._words, await self._vector(query)
        if vector is None or not ids:
            return {}

        def read() -> dict[str, float]:
            with file.reading() as db:
                numbers = lists.numbers(db, ids)
                found = lists.similarities(db, vector, numbers)
            return {numbers[n]: cosine for n, cosine in found.items()}

        return await asyncio.to_thread(read)

    async def neighbours(self, id: str, *, k: int = 5, scope: Scope = Scope()) -> list[Hit]:  # noqa: B008
        """The passages nearest to one in meaning, itself left out; none where it has no vector.

        Args:
            id: Of the passage.
            k: The most to give back.
            scope: Where to look.

        Raises:
            StoreError: The index cannot be read.
        """
        file = self._words

        def stored() -> _Vector | None:
            with file.reading() as db:
                return lists.vector_of(db, id)

        vector = await asyncio.to_thread(stored)
        if vector is None:
            return []
        scope = replace(scope, exclude=scope.exclude | {id})
        near, _ = await self._nearest(file, vector, scope)
        best = near[: min(k, limits.INDEX_HITS)]
        scores = {n: 1 / (limits.INDEX_RANK + rank) for rank, n in enumerate(best, 1)}
        return await asyncio.to_thread(self._hits, file, (), vector, best, scores)

    async def vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Unit vectors of texts, shape (n, dimension); None without an embedder that works."""
        if self._embedder is None:
            return None
        try:
            rows = await asyncio.to_thread(self._embedder.embed, list(texts))
        except Exception as error:  # a search by words is better than none
            self._failed = _sentence(error)
            log.warning("the embedder failed, and what asked it goes by words alone: %s", error)
            return None
        self._failed = ""
        return np.asarray(rows, np.float32)

    def _by_words(self, file: Words, terms: Sequence[str], scope: Scope) -> lists.Ranked:
        with file.reading() as db:
            return lists.by_words(db, terms, scope, file.total, self._rarity)

    def _with_all(self, file: Words, terms: Sequence[str], among: Sequence[int]) -> set[int]:
        with file.reading() as db:
            return lists.holding_all(db, terms, among)

    async def _near(self, query: str, scope: Scope) -> tuple[_Vector | None, lists.Ranked]:
        """The query's vector, and the passages near to it."""
        file = self._words
        vector = await self._vector(query) if file.embedded else None
        if vector is None:
            return None, ([], [])
        return vector, await self._nearest(file, vector, scope)

    async def _nearest(self, file: Words, vector: _Vector, scope: Scope) -> lists.Ranked:
        """The passages nearest to a vector: by their texts, and with their neighbours."""
        mirror, found = self._mirror, None
        if mirror is not None and await asyncio.to_thread(self._many, file, scope):
            bounded = scope.only is not None or scope.since is not None or scope.until is not None
            # Two entries a passage; what is excluded takes places, too.
            depth = 2 * limits.INDEX_DEPTH + 2 * min(len(scope.exclude), limits.INDEX_HITS)
            found = None if bounded else await mirror.nearest(vector, scope, depth)
        return await asyncio.to_thread(_compared, file, vector, scope, found)

    def _many(self, file: Words, scope: Scope) -> bool:
        if file.embedded <= self._exact:
            return False
        with file.reading() as db:
            return lists.count(db, scope, self._exact + 1) > self._exact

    def _hits(
        self,
        file: Words,
        terms: Sequence[str],
        vector: _Vector | None,
        best: Sequence[int],
        scores: dict[int, float],
    ) -> list[Hit]:
        with file.reading() as db:
            found = lists.passages(db, best)
            near = {} if vector is None else lists.similarities(db, vector, best)
            shares = lists.shares(db, terms, best, file.total, self._rarity)
        return [Hit(found[n], scores[n], near.get(n), shares.get(n)) for n in best if n in found]

    async def _vector(self, query: str) -> _Vector | None:
        """The query's vector; None without an embedder that works."""
        rows = await self.vectors([query[: limits.INDEX_QUERY_CHARS]])
        return rows[0] if rows is not None and np.isfinite(rows[0]).all() else None

    # --- vectors, in the background ---------------------------------------------------------

    async def settled(self, *, chroma: bool = False) -> None:
        """Returns once everything put so far has its vectors.

        Args:
            chroma: Wait also until Chroma has them, or has been given up.

        Raises:
            LlmosError: The embedder does not work.
        """
        if self._vectors is not None:
            await self._vectors.settled()
        if chroma and self._mirror is not None:
            await self._mirror.settled()

    # --- looking after ----------------------------------------------------------------------

    def progress(self) -> Progress:
        """How far vectors and Chroma are."""
        file, mirror = self._file, self._mirror
        embedded, total = (file.embedded, file.total) if file else (0, 0)
        return Progress(embedded, total, mirror.state if mirror else "off")

    @property
    def failing(self) -> str:
        """Why the embedder does not work now, in a sentence; empty where it does, or there is none.

        Of the last that was to be embedded: nothing is tried for the asking.
        """
        return self._failed or (self._vectors.failing if self._vectors is not None else "")

    def problems(self) -> list[str]:
        """Check the file from end to end; call it in a thread. Also before ``start``.

        Returns:
            A sentence a problem, at most ``limits.STORE_PROBLEMS``; none for a sound index.
        """
        if self._file is not None:
            return self._file.check()
        path = self._folder / FILE
        if not path.exists():
            return []  # it is made when it is needed
        try:
            file = Words(path, "")
        except StoreError as error:
            return [str(error)]
        try:
            return file.check()
        finally:
            file.close()

    async def rebuild(self) -> None:
        """Make words anew from the passages, vectors and Chroma's copy in the background.

        Before ``start``, they follow when it is called. A file that cannot be used is put aside.

        Raises:
            StoreError: It cannot be written.
        """
        if self._file is None:
            file = await self._write(lambda: open_words(self._folder, _space(self._embedder)))
            try:
                await self._write(file.rebuild)
            finally:
                await self._write(file.close)
            return
        file = self._file
        if self._vectors is None or self._mirror is None:
            await self._write(file.rebuild)
            return
        async with self._vectors.still:  # no vector of before may come in after
            await self._mirror.renew(file.rebuild)
        self._vectors.changed()

    @property
    def _words(self) -> Words:
        if self._file is None:
            raise StoreError("The search index is not open.")
        return self._file

    async def _write(self, act: Callable[[], T]) -> T:
        """Run a write; in the order they are asked for, to its end even if nobody waits."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, act)


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


def _space(embedder: Embedder | None) -> str:
    """The vector space's name; empty without an embedder, which leaves old vectors alone."""
    return f"{embedder.name}/{embedder.dimension}" if embedder is not None else ""


def _compared(
    file: Words, vector: _Vector, scope: Scope, found: tuple[list[int], int] | None
) -> lists.Ranked:
    """The nearest passages: of Chroma's candidates and what it lacks, or of all."""
    with file.reading() as db:
        if found is None:
            return lists.by_vector(db, vector, scope)
        candidates, upto = found
        candidates += lists.by_vector(db, vector, scope, after=upto)[0]
        return lists.by_vector(db, vector, scope, among=candidates)


def _lift(scores: dict[int, float], whole: set[int], some: set[int]) -> None:
    """Put passages that hold all words of a query above those that hold none, in their own order.

    Args:
        scores: By passage; changed.
        whole: That hold all words.
        some: That are known to hold any: the best by words.
    """
    floor = max((score for n, score in scores.items() if n not in some), default=0.0)
    for n in whole:
        # What it has of its own goes on counting, by less than one rank: the order stays.
        scores[n] = max(scores[n], floor + scores[n] / limits.INDEX_DEPTH)
