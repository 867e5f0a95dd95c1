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
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import paths
from llmos.kernel.spans import NUMBER, Span, maximal

__all__ = ["Array", "Embed", "Features", "Probe"]

log = logging.getLogger(__name__)

Array: TypeAlias = npt.NDArray[np.float64]
Embed: TypeAlias = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_PRESENCE = 0.3  # weight of "a value of this format is present"
_LOOK = 0.5**0.5  # weight of each look, so that both together have length 1
_L2 = 2e-5
_STEPS, _RATE = 400, 3.0
_VERSION = 3  # of features and fit; raise it when they change
_SAMPLED = 6  # of so many texts one is looked at to see whether a kept fit still holds
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
        known = self._seen.get(text)
        if known is None:
            found = {name: maximal(text, test) for name, test in self._tests.items()}
            present = [_PRESENCE * bool(spans) for spans in found.values()]
            looks = self._embed([self._masked(text, found), plain(text)])
            known = np.concatenate([np.asarray(looks, np.float64).ravel() * _LOOK, present])
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            self._seen[text] = known
        return known

    def key(self, texts: Sequence[str]) -> list[object]:
        """Names what the vectors depend on; a sample of ``texts`` shows whether tests changed."""
        sample = self._embed(["The quick brown fox."])[0]
        kept = [round(float(x), 4) for x in sample[:16]]
        seen = []
        for text in texts[::_SAMPLED]:
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


class Probe:
    """Class probabilities of a text.

    Args:
        features: Makes the vectors.
        texts: Known texts.
        classes: The class of each, counted from 0.
        cache: A file that keeps the fit from one start to the next.
    """

    def __init__(
        self,
        features: Features,
        texts: Sequence[str],
        classes: Sequence[int],
        cache: Path | None = None,
    ) -> None:
        self._features = features
        about = [features.key(texts), list(texts), list(classes), _STEPS, _RATE, _L2]
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        kept = _load(cache, key) if cache is not None else None
        if kept is None:
            known = np.stack([features(text) for text in texts])
            kept = known, _fit(known, np.array(classes))
            if cache is not None:
                _save(cache, key, *kept)
        self._known, self._weights = kept
        self._at = {text: at for at, text in enumerate(texts)}

    def __call__(self, text: str) -> Array:
        return _softmax(np.append(self._features(text), 1.0) @ self._weights)

    def nearness(self, text: str, known: Sequence[str]) -> Array:
        """How near ``text`` is in meaning to each of some of the known texts."""
        rows = self._known[[self._at[k] for k in known]]
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


def _load(cache: Path, key: str) -> tuple[Array, Array] | None:
    try:
        with np.load(cache, allow_pickle=False) as kept:
            return (kept["known"], kept["weights"]) if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # missing or damaged: it is fitted anew


def _save(cache: Path, key: str, known: Array, weights: Array) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, key=np.array(key), known=known, weights=weights)
    try:
        paths.private_dir(cache.parent)
        paths.atomic_write(cache, buffer.getvalue())
    except OSError as error:
        log.warning("the fitted chooser could not be kept: %s", error)
