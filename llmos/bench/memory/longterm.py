"""Whether the evidence is found: synthetic conversations of many sessions, and questions.

For each question the share of its evidence among the first five hits of ``memory.search`` in that
conversation; the figure is their mean. Questions about what nobody said have no evidence and do
not count; for them it is told how well the first hit's similarity sets them apart from the others
(1 is perfect, 0.5 is chance).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from llmos.bench.harness import say, summary
from llmos.bench.memory.conversations import Question, generate
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.memory.words import Words

__all__ = ["apart", "found_share", "measure"]

CONVERSATIONS, HITS = 8, 5
_MISSED_SHOWN = 20


async def measure(bench: MemoryBench) -> None:
    """The group's figures."""
    if not bench.wants("recall_at_5", "recall_at_5_words"):
        return
    said = [generate(bench.seed + at) for at in range(bench.samples_of(CONVERSATIONS))]
    ours: list[tuple[Question, float]] = []
    by_words: list[tuple[Question, float]] = []
    known, unknown = list[float](), list[float]()
    missed: list[dict[str, Any]] = []
    async with bench.memory() as (_, memory):
        for conversation in said:
            messages = conversation.messages
            texts = [text for _, text, _ in messages]
            pid = await memory.import_past(messages, "Half a year")
            await memory.settled(pid, texts[-2])
            with Words(texts) as words:
                for question in conversation.questions:
                    hits = await memory.search(question.text, k=HITS, pid=pid)
                    best = max((hit.similarity or 0.0 for hit in hits), default=0.0)
                    (known if question.evidence else unknown).append(best)
                    if not question.evidence:
                        continue
                    shown = [hit.text for hit in hits]
                    ours.append((question, found_share(question, shown)))
                    control = [texts[at] for at in words.search(question.text, HITS)]
                    by_words.append((question, found_share(question, control)))
                    if ours[-1][1] < 1 and len(missed) < _MISSED_SHOWN:
                        missed.append({"asked": question.text, "evidence": question.evidence})
            say(f"  process {pid}: {mean(share for _, share in ours):.3f}")
    bench.samples["recall_at_5"] = {
        "by_kind": _by_kind(ours),
        "by_kind_words_only": _by_kind(by_words),
        "similarity_known": summary(known),
        "similarity_unknown": summary(unknown),
        "set_apart": round(apart(known, unknown), 3),
        "missed": missed,
    }
    told = {"conversations": len(said), "questions": len(ours), "hits": HITS}
    bench.found("recall_at_5", mean(share for _, share in ours), **told)
    bench.found("recall_at_5_words", mean(share for _, share in by_words), **told)


def found_share(question: Question, texts: Sequence[str]) -> float:
    """The share of a question's evidence that stands in ``texts``."""
    found = sum(any(one in text for text in texts) for one in question.evidence)
    return found / len(question.evidence)


def apart(high: Sequence[float], low: Sequence[float]) -> float:
    """How often one of ``high`` is above one of ``low``; ties count half (the area under ROC)."""
    pairs = [(a > b) + (a == b) / 2 for a in high for b in low]
    return sum(pairs) / len(pairs)


def _by_kind(results: Sequence[tuple[Question, float]]) -> dict[str, float]:
    kinds = dict.fromkeys(question.kind for question, _ in results)
    return {
        kind: round(mean(share for question, share in results if question.kind == kind), 4)
        for kind in kinds
    }
