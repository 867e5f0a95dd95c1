"""What a text asks for, as probabilities: a probe over sentence embeddings.

Two looks at the words are compared with those of known questions: one with each value (a date, a
place, a calculation) replaced by a stand-in, so that only the meaning is left, and one with only
the numbers evened out. That a value of some format is present stands beside them. The probe is a
multinomial logistic regression, fitted in its dual form: the examples are fewer than the
dimensions.

It knows texts, tests and classes; not what a class stands for.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import paths
from llmos.kernel.spans import NUMBER, Span, maximal

__all__ = ["Array", "Embed", "Features", "Lesson", "Probe"]

log = logging.getLogger(__name__)

Array: TypeAlias = npt.NDArray[np.float64]
_Fit: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
Embed: TypeAlias = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_PRESENCE = 0.3  # weight of "a value of this format is present"
_LOOK = 0.5**0.5  # weight of each look, so that both together have length 1
_L2 = 2e-5
_STEPS, _RATE = 400, 3.0
_VERSION = 4  # of features and fit; raise it when they change
_SAMPLED = 96  # texts that are looked at to see whether a kept fit still holds
_KEPT = 4096  # texts whose features are remembered


class Features:
    """Texts to vectors.

    Args:
        embed: Sentence embeddings, L2-normalised, shape (n, d).
        tests: By format, whether a stretch of words is a value of it.
        stand_ins: By format, the value that replaces all others.
    """

    def __init__(
        self,
        embed: Embed,
        tests: Mapping[str, Callable[[str], bool]],
        stand_ins: Mapping[str, str],
    ) -> None:
        self._embed = embed
        self._tests = tests
        self._stand_ins = stand_ins
        self._seen: dict[str, Array] = {}

    def __call__(self, text: str) -> Array:
        """The vector of one text, shape (d,)."""
        known = self._seen.get(text)
        if known is None:
            known = self.all([text])[0]
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            self._seen[text] = known
        return known

    def all(self, texts: Sequence[str]) -> Array:
        """The vectors of many texts, shape (n, d); none is remembered."""
        looks, present = list[str](), list[list[float]]()
        for text in texts:
            found = {name: maximal(text, test) for name, test in self._tests.items()}
            looks += [self._masked(text, found), plain(text)]
            present.append([_PRESENCE * bool(spans) for spans in found.values()])
        embedded = np.asarray(self._embed(looks), np.float64).reshape(len(texts), -1) * _LOOK
        return np.hstack([embedded, np.array(present).reshape(len(texts), -1)])

    def key(self, texts: Sequence[str]) -> list[object]:
        """Names what the vectors depend on; a sample of ``texts`` shows whether tests changed."""
        sample = self._embed(["The quick brown fox."])[0]
        kept = [round(float(x), 2) for x in sample[:16]]  # alike on any processor
        seen = []
        for text in texts[:: max(1, len(texts) // _SAMPLED)]:
            found = {name: maximal(text, test) for name, test in self._tests.items()}
            seen.append([self._masked(text, found), [len(spans) for spans in found.values()]])
        stand_ins = sorted(self._stand_ins.items())
        return [kept, seen, list(self._tests), stand_ins, _PRESENCE, _VERSION]

    def _masked(self, text: str, found: Mapping[str, Sequence[Span]]) -> str:
        """The text with each value replaced by its format's stand-in; the longest go first."""
        words = text.split()
        hits = [
            (span, self._stand_ins[name])
            for name, spans in found.items()
            if name in self._stand_ins
            for span in spans
            if any(c.isdigit() for c in span.text) or span.end - span.start > 1
        ]
        put: dict[int, tuple[int, str]] = {}
        used: set[int] = set()
        for span, stand_in in sorted(hits, key=lambda hit: hit[0].start - hit[0].end):
            if used.isdisjoint(range(span.start, span.end)):
                used.update(range(span.start, span.end))
                put[span.start] = (span.end, stand_in + _trailing(words[span.end - 1]))
        out, at = [], 0
        while at < len(words):
            end, shown = put.get(at, (at + 1, plain(words[at])))
            out.append(shown)
            at = end
        return " ".join(out)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a probe is fitted to.

    Args:
        texts: Known texts.
        classes: The class of each, counted from 0.
        near: Those of the texts that ``nearness`` is asked about.
    """

    texts: tuple[str, ...]
    classes: tuple[int, ...]
    near: tuple[str, ...] = ()

    def shortened(self, most: Mapping[int, int], usual: int) -> Lesson:
        """The same with fewer texts, evenly taken; of those in ``near`` all.

        Args:
            most: By class, how many of its texts are left.
            usual: For classes that are not among them.
        """
        places: dict[int, list[int]] = {}
        for at, number in enumerate(self.classes):
            places.setdefault(number, []).append(at)
        near, kept = set(self.near), set[int]()
        for number, own in places.items():
            step = -(-len(own) // most.get(number, usual))
            kept.update(at for k, at in enumerate(own) if k % step == 0 or self.texts[at] in near)
        order = sorted(kept)
        texts = tuple(self.texts[at] for at in order)
        return Lesson(texts, tuple(self.classes[at] for at in order), self.near)

    def key(self, features: Features) -> str:
        """Names what comes of it."""
        about = [features.key(self.texts), self.texts, self.classes, self.near]
        return hashlib.sha256(json.dumps([*about, _STEPS, _RATE, _L2]).encode()).hexdigest()


class Probe:
    """Class probabilities of a text; made by ``fitted`` or ``kept``."""

    def __init__(self, features: Features, near: Sequence[str], fit: _Fit) -> None:
        self._features = features
        self._near, self._weights = fit
        self._at = {text: at for at, text in enumerate(near)}

    @classmethod
    def kept(cls, features: Features, lesson: Lesson, path: Path) -> Probe | None:
        """The fit to a lesson that a file holds; None where it holds none, or another."""
        fit = _load(path, lesson.key(features))
        return cls(features, lesson.near, fit) if fit is not None else None

    @classmethod
    def fitted(cls, features: Features, lesson: Lesson, cache: Path | None = None) -> Probe:
        """A fit to a lesson: takes seconds.

        Args:
            features: Makes the vectors.
            lesson: What it is fitted to.
            cache: A file that keeps the fit from one start to the next.
        """
        known = features.all(lesson.texts)
        at = {text: row for row, text in enumerate(lesson.texts)}
        weights = _fit(known, np.array(lesson.classes)).astype(np.float32)
        near = known[[at[text] for text in lesson.near]].astype(np.float32)
        if cache is not None:
            _save(cache, lesson.key(features), near, weights)
        return cls(features, lesson.near, (near, weights))

    def __call__(self, text: str) -> Array:
        return _softmax(np.append(self._features(text), 1.0) @ self._weights)

    def nearness(self, text: str, known: Sequence[str]) -> Array:
        """How near ``text`` is in meaning to each of some of the known texts."""
        rows = self._near[[self._at[k] for k in known]]
        return np.asarray(rows @ self._features(text))


def plain(text: str) -> str:
    """Every number the same number, every year the same year."""
    return NUMBER.sub(
        lambda m: "2024" if re.fullmatch(r"1\d{3}|20\d\d", m[0]) else "7",
        text,
    )


def _trailing(word: str) -> str:
    found = re.search(r"[?.,!;:]*$", word)
    return found[0] if found else ""


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _fit(known: Array, classes: npt.NDArray[np.int64]) -> Array:
    """Weights of shape (d + 1, classes), by accelerated gradient descent (Nesterov 1983).

    Rare classes weigh more. The weights are ``x.T @ dual`` all along, so only the dual, of one row
    an example, is moved. It is followed nearly to the end: stopped early, the more examples and
    classes there are, the less sure a fit is, and what counts as sure would depend on what else
    is installed.
    """
    x = np.hstack([known, np.ones((len(known), 1))])
    gram = x @ x.T
    count = int(classes.max()) + 1
    target = np.eye(count)[classes]
    share = (1 / np.bincount(classes, minlength=count).clip(1))[classes] ** 0.5
    share = (share / share.sum())[:, None]
    dual = np.zeros_like(target)
    ahead = dual
    for step in range(_STEPS):
        moved = ahead - _RATE * ((_softmax(gram @ ahead) - target) * share + _L2 * ahead)
        ahead = moved + step / (step + 3) * (moved - dual)
        dual = moved
    return np.asarray(x.T @ dual)


def _load(path: Path, key: str) -> _Fit | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return (kept["near"], kept["weights"]) if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # missing or damaged: it is fitted anew


def _save(
    path: Path, key: str, near: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, key=np.array(key), near=near, weights=weights)
    try:
        paths.private_dir(path.parent)
        paths.atomic_write(path, buffer.getvalue())
    except OSError as error:
        log.warning("the fitted chooser could not be kept: %s", error)
