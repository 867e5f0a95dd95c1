"""Which call, for which part of a message? Decided by meaning, without the language model.

A small language model that is shown several tools picks the wrong one. So the choice is made
here, by a probe (``probe.py``) fitted to the questions the tools' manifests give and to a bank of
ordinary turns that need no tool. A message is cut into clauses in every way, and the most probable
reading wins; a call whose arguments cannot be filled from the words is no reading.

Nothing here names a tool, a subject or a kind of question.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from llmos.kernel.probe import Embed, Features, Probe
from llmos.kernel.spans import candidates, maximal
from llmos.kernel.syscalls import Example, Syscall

__all__ = ["Choice", "Chooser", "Reading", "split"]

_THRESHOLD = 0.5  # least probability of a call
_UNUSED = 0.3  # a reading pays this for each value its call leaves unused
_IGNORED = 1.0  # and this for each value that stands before its clause
_TESTS_KEPT = 16384  # results of a tool's test that are remembered
_FITTING = 0.06  # how much less near than the nearest a sentence may be, as a cosine
_PIECES = 6  # most pieces a message is cut into
_MESSAGE_WORDS = 120  # a longer message is no question for a tool
_REQUEST_WORDS = 3  # from so many words on, a clause without a call may want an answer
# Where a message may fall into clauses; with the number words in spans.py the part that is English.
_BREAK = re.compile(r"(?<=[.?!;])\s+|,\s+|\s+(?=(?:and|then|also|but)\s)", re.I)
_JOINED = re.compile(r"\b(?:and|then|also|but)$", re.I)
_LEAD = re.compile(r"^(?:(?:and|then|also|but|first)\b[, ]*)+", re.I)
# What a clause that only tells something begins with.
_TELLS = re.compile(
    r"(?:i|i'm|i've|we|my|our|you|he|she|it|it's|they|his|her|their|the|a|an|this|that|there|these"
    r"|thanks|thank|please|hi|hello|hey|good|ok|okay|yes|no|sorry|if|when|after|before|now)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A call and the clause it is to answer.

    Args:
        call: The row.
        clause: The person's words.
        probability: How sure the choice is.
        ways: The only arguments there are to pick from; empty leaves them to the words.
    """

    call: Syscall
    clause: str
    probability: float = 1.0
    ways: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a message was understood.

    Args:
        choices: Its calls, in order; none for an ordinary turn.
        rest: What else it says that may want an answer; empty for nothing.
    """

    choices: tuple[Choice, ...] = ()
    rest: str = ""


class Chooser:
    """A fitted probe and the calls it tells apart.

    Args:
        calls: Rows with worked examples; others are never chosen.
        embed: Sentence embeddings, L2-normalised, shape (n, d).
        chat: Ordinary turns that need no call.
        cache: A file that keeps the fitted probe from one start to the next.
    """

    def __init__(
        self,
        calls: Sequence[Syscall],
        embed: Embed,
        chat: Sequence[str],
        cache: Path | None = None,
    ) -> None:
        self._embed = embed
        self.calls = [self._quick(call) for call in calls if call.worked]
        self._tests = {
            copied.format: copied.accepts
            for call in self.calls
            for copied in call.copied.values()
            if copied.accepts
        }
        texts, classes = list[str](), list[int]()
        for index, call in enumerate(self.calls):
            asked = [call.description, *call.examples, *(w.question for w in call.worked)]
            asked = list(dict.fromkeys(asked))
            texts += asked
            classes += [index] * len(asked)
        texts += chat
        classes += [len(self.calls)] * len(chat)
        features = Features(embed, self._tests, self._stand_ins())
        self._probe = Probe(features, texts, classes, cache) if self.calls else None

    def choose(self, message: str) -> list[Choice]:
        """The calls a message asks for, in order; none for an ordinary turn."""
        return list(self.read(message).choices)

    def read(self, message: str) -> Reading:
        """The most probable reading of a message."""
        if not self.calls or len(message.split()) > _MESSAGE_WORDS:
            return Reading()
        best: tuple[float, Reading] = (-np.inf, Reading())
        pieces = split(message, self._tests.values())
        for cuts in itertools.product((False, True), repeat=len(pieces) - 1):
            clauses = _group(pieces, cuts)
            score, reading = self._read(clauses, message)
            # Whatever is cut off would look ordinary: to cut is worth it only for a call.
            if (reading.choices or len(clauses) == 1) and score > best[0]:
                best = score, reading
        sure = tuple(c for c in best[1].choices if c.probability >= _THRESHOLD)
        return Reading(sure, best[1].rest if sure else "")

    def nearest(self, call: Syscall, clause: str, count: int) -> list[Example]:
        """The worked examples of ``call`` nearest in meaning to ``clause``, the nearest last."""
        if self._probe is None:
            return []
        own = next(c for c in self.calls if c.name == call.name)
        near = self._probe.nearness(clause, [w.question for w in own.worked])
        return [own.worked[i] for i in np.argsort(near)[-count:]]

    def fitting(self, clause: str, sentences: Sequence[str]) -> tuple[str, ...]:
        """Those of some sentences that answer ``clause``: about as near in meaning as the nearest.

        A call may know more than was asked, and say it in sentences of their own.
        """
        if len(sentences) < 2:
            return tuple(sentences)
        vectors = self._embed([clause, *sentences])
        near = vectors[1:] @ vectors[0]
        return tuple(s for s, n in zip(sentences, near, strict=True) if n >= near.max() - _FITTING)

    # --- one reading ------------------------------------------------------------------------

    def _read(self, clauses: Sequence[str], message: str) -> tuple[float, Reading]:
        """Mean log probability of a way to cut the message, and its calls."""
        assert self._probe is not None
        none = len(self.calls)
        logs, choices, rest, context = [], list[Choice](), list[str](), list[str]()
        for clause in clauses:
            probability = self._probe(clause)
            whole = " ".join([*context, clause])
            picked = next(
                int(index)
                for index in np.argsort(-probability)
                if index == none or self._fillable(self.calls[index], whole)
            )
            score = float(np.log(probability[picked] + 1e-9))
            if picked == none:
                context.append(clause)  # may hold the values of what comes next
            else:
                call = self.calls[picked]
                score -= _UNUSED * self._unused(call, clause)
                score -= _IGNORED * self._unused(call, " ".join(context))
                said = clause if self._whole(call, clause) else whole
                choices.append(Choice(call, said, float(probability[picked])))
                if self._fillable(call, clause):
                    rest += [c for c in context if not self._values(call, c)]
                context = []
            logs.append(score)
        rest += context
        said = " ".join(clause for clause in rest if _wants_answer(clause))
        if choices and context and not _apart(message, context[0]):
            said = ""  # after a mere comma it belongs to the call before it
        return sum(logs) / len(logs), Reading(tuple(choices), said)

    def _fillable(self, call: Syscall, text: str) -> bool:
        """Whether every copied argument could be filled from these words."""
        return all(candidates(copied, text) for copied in call.copied.values())

    def _whole(self, call: Syscall, text: str) -> bool:
        """Whether these words by themselves hold a whole value for each argument."""
        return bool(call.copied) and all(
            copied.joins and copied.accepts and len(maximal(text, copied.accepts)) == 1
            for copied in call.copied.values()
        )

    def _values(self, call: Syscall, text: str) -> bool:
        """Whether these words hold a value for the call, or a part of one."""
        return any(
            value not in copied.also
            for copied in call.copied.values()
            for value in candidates(copied, text, parts=1)
        )

    def _unused(self, call: Syscall, text: str) -> int:
        """How many values in the words the call has no argument for."""
        arguments = [c for c in call.copied.values() if c.accepts]
        mine = {
            word
            for copied in arguments
            for span in maximal(text, self._tests[copied.format])
            for word in range(span.start, span.end)
        }
        left = 0
        for name, test in self._tests.items():
            found = maximal(text, test)
            room = sum(copied.format == name for copied in arguments)
            if room:
                left += max(0, len(found) - room)
            else:
                left += sum(mine.isdisjoint(range(s.start, s.end)) for s in found)
        return left

    # --- values -----------------------------------------------------------------------------

    def _quick(self, call: Syscall) -> Syscall:
        """The call with tests that remember what they said."""
        copied = {
            name: replace(c, accepts=lru_cache(_TESTS_KEPT)(c.accepts)) if c.accepts else c
            for name, c in call.copied.items()
        }
        return replace(call, copied=copied)

    def _stand_ins(self) -> dict[str, str]:
        """For each format the first value that stands in a worked example's question."""
        picked: dict[str, str] = {}
        for call in self.calls:
            for name, copied in call.copied.items():
                for worked in call.worked:
                    value = str(worked.arguments.get(name, ""))
                    said = value and value not in copied.also and value in worked.question
                    if copied.accepts and said:
                        picked.setdefault(copied.format, value)
        return picked


def _apart(message: str, clause: str) -> bool:
    """Whether a clause begins a sentence of its own or follows a conjunction."""
    before = message[: message.find(clause)].rstrip()
    return before[-1:] in (".", "?", "!", ";") or _JOINED.search(before) is not None


def _wants_answer(clause: str) -> bool:
    """Whether a clause without a call is a question or a request, not just a remark."""
    asks = clause.rstrip().endswith("?") or not _TELLS.match(clause)
    return asks and len(clause.split()) >= _REQUEST_WORDS


def split(message: str, tests: Iterable[Callable[[str], bool]]) -> list[str]:
    """Cut at clause marks, but never inside a value that some test accepts."""
    words = list(re.finditer(r"\S+", message))
    inside = [
        (words[s.start].start(), words[s.end - 1].end())
        for test in tests
        for s in maximal(message, test)
    ]
    cuts = [
        m.end() for m in _BREAK.finditer(message) if not any(a < m.end() < b for a, b in inside)
    ][: _PIECES - 1]
    pieces = [message[a:b] for a, b in itertools.pairwise([0, *cuts, len(message)])]
    return [p for p in pieces if p.strip()] or [message]


def _group(pieces: Sequence[str], cuts: Sequence[bool]) -> list[str]:
    """Pieces joined to clauses; a cut after the n-th piece ends a clause there."""
    groups, start = [], 0
    for at, cut in enumerate([*cuts, True], 1):
        if cut:
            groups.append(_LEAD.sub("", "".join(pieces[start:at]).strip()))
            start = at
    return groups
