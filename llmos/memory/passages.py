"""What the search index holds and gives back: passages, scopes, hits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Hit", "Passage", "Progress", "Scope"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of text that can be found.

    Args:
        id: Its name, unique in the index.
        source: What it is part of: ``turn``, ``file`` or ``fact``.
        pid: The process it was said in; 0 for none.
        place: Where it stands, for a person: ``process 12``, or a file's path.
        time: Seconds since the epoch.
        text: The text itself.
        context: Neighbouring text, indexed along with it and never shown.
        speaker: Who said it; indexed along with it.
    """

    id: str
    source: str
    pid: int
    place: str
    time: float
    text: str
    context: str = ""
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which passages a search looks at. What is None sets no bound.

    Args:
        pids: Only of these processes.
        sources: Only of these sources.
        exclude: None of these ids.
        only: Only these ids.
        since / until: Only from this time on, and before that time; seconds since the epoch.
    """

    pids: tuple[int, ...] | None = None
    sources: tuple[str, ...] | None = None
    exclude: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Args:
        passage: The passage.
        score: The fused score; higher is better, comparable within one search only.
        similarity: Cosine of the query and the text itself, exact; None without its vector.
        words: Of the query's distinct words, stop words aside, the share that the text
            contains, each weighted by its rarity: 0 to 1. None for a query without words.
    """

    passage: Passage
    score: float
    similarity: float | None
    words: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the index is.

    Args:
        embedded: Passages that have their vectors.
        total: Passages.
        chroma: ``ready``, ``building``, ``off``, or ``broken: `` and a sentence.
    """

    embedded: int
    total: int
    chroma: str
