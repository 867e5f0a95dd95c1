"""Which call, for which part of a message? Decided by meaning, without the language model.

A small language model that is shown several tools picks the wrong one. So the choice is made
here: a multinomial logistic probe over sentence embeddings, fitted to the example questions the
tools' manifests give and to a bank of ordinary turns that need no tool. Values in a message
(dates, places, numbers) are replaced by a stand-in first, so that only its meaning is compared;
that a value of some format is present is a feature beside the embedding. A message is cut into
clauses in every way, and the most probable reading wins.

Nothing here names a tool, a subject or a kind of question.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos import paths
from llmos.kernel.spans import NUMBER, Span, candidates, maximal
from llmos.kernel.syscalls import Syscall

__all__ = ["Choice", "Chooser"]

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_THRESHOLD = 0.5  # least probability of a call
_PRESENCE = 0.3  # weight of "a value of this format is present"
_UNUSED = 0.3  # a reading pays this for each value its call leaves unused
_L2 = 1e-4
_STEPS, _RATE = 600, 6.0
_VERSION = 1  # of the features; raise it when they change
_TESTS_KEPT = 8192  # results of a tool's test that are remembered
_PIECES = 6  # most pieces a message is cut into
_MESSAGE_WORDS = 120  # a longer message is no question for a tool
# Where a message may fall into clauses; with the number words in spans.py the part that is English.
_BREAK = re.compile(r"(?<=[.?!;])\s+|,\s+|\s+(?=(?:and|then|also|but)\s)", re.I)
_LEAD = re.compile(r"^(?:(?:and|then|also|but|first)\b[, ]*)+", re.I)


@dataclass(frozen=True, slots=True)
class Choice:
    """A call and the clause it is to answer."""

    call: Syscall
    clause: str
    probability: float


class Chooser:
    """A fitted probe.

    Args:
        calls: Rows with examples; others are never chosen.
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
        self.calls = [c for c in calls if c.worked]
        self._embed = embed
        self._tests = {
            copied.format: lru_cache(_TESTS_KEPT)(copied.accepts)
            for call in self.calls
            for copied in call.copied.values()
            if copied.accepts
        }
        self._stand_ins = self._pick_stand_ins()
        self._seen: dict[str, Array] = {}
        texts, classes = list[str](), list[int]()
        for index, call in enumerate(self.calls):
            asked = [call.description, *call.examples, *(w.question for w in call.worked)]
            asked = list(dict.fromkeys(asked))
            texts += asked
            classes += [index] * len(asked)
        texts += chat
        classes += [len(self.calls)] * len(chat)
        key = self._key(texts, classes)
        if cache is None or not self._load(cache, key):
            features = np.stack([self._features(text) for text in texts])
            self._weights = _fit(features, np.array(classes), len(self.calls) + 1)
            self._worked = [
                np.stack([self._features(w.question) for w in call.worked]) for call in self.calls
            ]
            if cache is not None:
                self._save(cache, key)

    def choose(self, message: str) -> list[Choice]:
        """The calls a message asks for, in order; none for an ordinary turn."""
        if not self.calls or len(message.split()) > _MESSAGE_WORDS:
            return []
        best: tuple[float, list[Choice]] = (-np.inf, [])
        pieces = self._pieces(message)
        for cuts in itertools.product((False, True), repeat=len(pieces) - 1):
            reading = self._read(_group(pieces, cuts))
            best = max(best, reading, key=lambda r: r[0])
        return [c for c in best[1] if c.probability >= _THRESHOLD]

    def nearest(self, call: Syscall, clause: str) -> int:
        """Index of the worked example of ``call`` that is nearest in meaning to ``clause``."""
        return int(np.argmax(self._worked[self.calls.index(call)] @ self._features(clause)))

    # --- from one start to the next ---------------------------------------------------------

    def _key(self, texts: Sequence[str], classes: Sequence[int]) -> str:
        """Names everything the fit depends on, but for the embedder's weights' bytes."""
        probe = self._embed(["The quick brown fox."])[0]
        about = [
            texts,
            classes,
            [w.question for call in self.calls for w in call.worked],
            sorted(self._stand_ins.items()),
            [round(float(x), 4) for x in probe[:16]],
            [_STEPS, _RATE, _L2, _PRESENCE, _VERSION],
        ]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def _load(self, cache: Path, key: str) -> bool:
        try:
            with np.load(cache, allow_pickle=False) as kept:
                if str(kept["key"]) != key:
                    return False
                self._weights = kept["weights"]
                self._worked = [kept[f"worked{i}"] for i in range(len(self.calls))]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False  # missing or damaged: it is fitted anew
        return True

    def _save(self, cache: Path, key: str) -> None:
        buffer = io.BytesIO()
        kept: dict[str, Any] = {f"worked{i}": array for i, array in enumerate(self._worked)}
        np.savez(buffer, key=np.array(key), weights=self._weights, **kept)
        try:
            paths.private_dir(cache.parent)
            paths.atomic_write(cache, buffer.getvalue())
        except OSError as error:
            log.warning("the fitted chooser could not be kept: %s", error)

    # --- one reading ------------------------------------------------------------------------

    def _read(self, clauses: Sequence[str]) -> tuple[float, list[Choice]]:
        """Mean log probability of a way to cut the message, and its calls."""
        none = len(self.calls)
        logs, choices, context = [], list[Choice](), ""
        for clause in clauses:
            probability = self._probabilities(clause)
            whole = f"{context} {clause}".strip()
            picked = none
            for index in np.argsort(-probability):
                if index == none or self._fillable(self.calls[index], whole):
                    picked = int(index)
                    break
            log = float(np.log(probability[picked] + 1e-9))
            if picked == none:
                context = whole  # what came before may hold the values of what comes next
            else:
                log -= _UNUSED * self._unused(self.calls[picked], clause)
                choices.append(Choice(self.calls[picked], whole, float(probability[picked])))
                context = ""
            logs.append(log)
        return sum(logs) / len(logs), choices

    def _fillable(self, call: Syscall, text: str) -> bool:
        """Whether every copied argument could be filled from these words."""
        return all(
            candidates(replace(copied, accepts=self._tests.get(copied.format)), text)
            for copied in call.copied.values()
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

    def _probabilities(self, text: str) -> Array:
        return _softmax(np.append(self._features(text), 1.0) @ self._weights)

    # --- features ---------------------------------------------------------------------------

    def _features(self, text: str) -> Array:
        known = self._seen.get(text)
        if known is None:
            present = [_PRESENCE * bool(maximal(text, test)) for test in self._tests.values()]
            vector = np.asarray(self._embed([self._masked(text)])[0], dtype=np.float64)
            known = np.concatenate([vector, present])
            if len(self._seen) > 4096:
                self._seen.clear()
            self._seen[text] = known
        return known

    def _pick_stand_ins(self) -> dict[str, str]:
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

    def _masked(self, text: str) -> str:
        """The text with each value replaced by its format's stand-in."""
        words = text.split()
        hits = [
            (span, name)
            for name, test in self._tests.items()
            if name in self._stand_ins
            for span in maximal(text, test)
            if any(c.isdigit() for c in span.text) or span.end - span.start > 1
        ]
        put: dict[int, tuple[int, str]] = {}
        used: set[int] = set()
        for span, name in sorted(hits, key=lambda h: h[0].start - h[0].end):
            if used.isdisjoint(range(span.start, span.end)):
                used.update(range(span.start, span.end))
                put[span.start] = (span.end, self._stand_ins[name] + _trailing(words, span))
        out, at = [], 0
        while at < len(words):
            if at in put:
                at, shown = put[at]
                out.append(shown)
            else:
                out.append(NUMBER.sub(lambda m: "7" if len(m[0]) < 4 else "2024", words[at]))
                at += 1
        return " ".join(out)

    def _pieces(self, message: str) -> list[str]:
        """Cut at clause marks, but never inside a value that some format accepts."""
        words = list(re.finditer(r"\S+", message))
        inside = [
            (words[s.start].start(), words[s.end - 1].end())
            for test in self._tests.values()
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


def _trailing(words: Sequence[str], span: Span) -> str:
    found = re.search(r"[?.,!;:]*$", words[span.end - 1])
    return found[0] if found else ""


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _fit(features: Array, classes: npt.NDArray[np.int64], count: int) -> Array:
    """Multinomial logistic regression by gradient descent; rare classes weigh more."""
    x = np.hstack([features, np.ones((len(features), 1))])
    weights = np.zeros((x.shape[1], count))
    target = np.eye(count)[classes]
    share = (1 / np.bincount(classes, minlength=count).clip(1))[classes] ** 0.5
    share /= share.sum()
    for _ in range(_STEPS):
        error = (_softmax(x @ weights) - target) * share[:, None]
        weights -= _RATE * (x.T @ error + _L2 * weights)
    return weights
