"""Which call, for which part of a message? Decided by meaning, without the language model.

A small language model that is shown several tools picks the wrong one. So the choice is made
here, by a probe (``probe.py``) fitted to the questions the tools' manifests give and to a bank of
ordinary turns that need no tool. A message is cut into clauses in every way (``clauses.py``), and
the most probable reading wins. A call whose arguments cannot be filled from the words is no reading
and takes no probability from the others, so that a choice is about as sure among two calls as among
fifty.

Nothing here names a tool, a subject or a kind of question.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from llmos.kernel.clauses import apart, closed, grouped, split, wants_answer
from llmos.kernel.fill import readings
from llmos.kernel.probe import Array, Embed, Features, Lesson, Probe
from llmos.kernel.spans import NUMBER, Span, candidates, maximal
from llmos.kernel.syscalls import Example, Syscall

__all__ = ["Choice", "Chooser", "Reading", "fit"]

_THRESHOLD = 0.5  # least probability of a call
_UNBOUND = 0.75  # and of one that takes no value from the words: only their meaning speaks for it
_COMPOSED = 0.9  # and of one whose argument the model would also have to make up
_CHANGES = 0.75  # and of one that does more than look
_LOOKS = ("pure", "read")  # effects that change and send nothing
_WISHED = 0.6  # how likely a message asks for a change, to be told that none was made
_UNUSED = 0.3  # a reading pays this for each value its call leaves unused
_IGNORED = 1.0  # and this for each value that stands before its clause
_PART = 0.5  # and this for each part of a composed value that is cut off behind its clause
_AGAIN = 0.5  # and this where a call whose argument is made up follows itself: one can do it all
_CUT = 0.03  # and this for each cut: of two that say the same, the simpler
_TESTS_KEPT = 16384  # results of a tool's test that are remembered
_TEXTS_KEPT = 1024  # clauses whose values are remembered
_FITTING = 0.06  # how much less near than the nearest a sentence may be, as a cosine
_TAUGHT, _CHAT_TAUGHT = 40, 600  # questions of a call, and turns of talk, in a fit on the spot
_MESSAGE_WORDS = 120  # a longer message is no question for a tool


@dataclass(frozen=True, slots=True)
class Choice:
    """A call and the clause it is to answer.

    Args:
        call: The row.
        clause: The person's words.
        probability: How sure the choice is: where it only looks and takes a value from the words,
            that they ask for a call at all; else that they ask for this one.
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
        shipped: A file that may hold it already; it is never written.
    """

    def __init__(
        self,
        calls: Sequence[Syscall],
        embed: Embed,
        chat: Sequence[str],
        cache: Path | None = None,
        shipped: Path | None = None,
    ) -> None:
        self._embed = embed
        self.calls = _able(calls)
        self._offered = np.ones(len(self.calls) + 1)
        self._tests = _tests(self.calls)
        self._probe = self._taught(chat, cache, shipped) if self.calls else None
        # One clause stands in many ways to cut a message.
        self._able = lru_cache(_TEXTS_KEPT)(self._all_able)
        self._found = lru_cache(_TEXTS_KEPT)(self._all_found)

    def _taught(self, chat: Sequence[str], cache: Path | None, shipped: Path | None) -> Probe:
        """A probe: the one that ships, the one that was kept, or one fitted on the spot."""
        features, lesson = _features(self.calls, self._embed), _lesson(self.calls, chat)
        if shipped is not None and (probe := Probe.kept(features, lesson, shipped)) is not None:
            return probe
        lesson = lesson.shortened({len(self.calls): _CHAT_TAUGHT}, _TAUGHT)
        if cache is not None and (probe := Probe.kept(features, lesson, cache)) is not None:
            return probe
        return Probe.fitted(features, lesson, cache)

    def among(self, calls: Sequence[Syscall]) -> Chooser:
        """The same fit for fewer calls: what would ask for another one asks for none.

        Args:
            calls: Rows; those with worked examples are among the ones it was fitted to.
        """
        known = {call.name: call for call in _able(calls)}
        fewer = copy(self)
        fewer.calls = [known.get(call.name, call) for call in self.calls]
        fewer._offered = np.array([*(call.name in known for call in self.calls), True], np.float64)
        return fewer

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
            clauses = grouped(pieces, cuts)
            score, reading = self._read(clauses, message)
            # Whatever is cut off would look ordinary: to cut is worth it only for a call.
            if (reading.choices or len(clauses) == 1) and score > best[0]:
                best = score, reading
        sure = tuple(c for c in best[1].choices if c.probability >= self._least(c))
        return Reading(sure, best[1].rest if sure else "")

    def wish(self, message: str) -> Choice | None:
        """What a message seems to want changed, whether or not its words can fill the call.

        It is less sure than a choice: it is there to be told of, not to be made.
        """
        if not self.calls or len(message.split()) > _MESSAGE_WORDS:
            return None
        assert self._probe is not None
        probability = self._probe(message) * self._offered
        changing = np.array([*(call.effect not in _LOOKS for call in self.calls), False])
        sure = float(probability[changing].sum() / probability.sum())
        if sure < _WISHED:
            return None
        return Choice(self.calls[int(np.argmax(probability * changing))], message, sure)

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
        none = len(self.calls)
        logs, choices, rest, context = [], list[Choice](), list[str](), list[str]()
        own = ""  # words of the last choice
        for clause in clauses:
            whole = " ".join([*context, clause])
            probability = self._possible(clause, whole)
            asks = 1 - float(probability[none])
            picked = int(np.argmax(probability[:none])) if asks >= _THRESHOLD else none
            score = float(np.log(probability[picked] + 1e-9))
            by_itself = picked != none and self._whole(self.calls[picked], clause, context)
            if len(clauses) > 1 and not by_itself and not closed(message, clause):
                score -= _IGNORED * self._bare(clause)
            if picked == none:
                context.append(clause)  # may hold the values of what comes next
                if choices and not closed(message, clause):
                    score -= _PART * self._parts(choices[-1].call, clause)
            else:
                call = self.calls[picked]
                score -= _UNUSED * self._unused(call, clause)
                score -= _IGNORED * self._unused(call, " ".join(context))
                said = clause if by_itself else whole
                looks = call.effect in _LOOKS and self._values(call, said)
                if choices and choices[-1].call is call and _composed(call):
                    score -= _AGAIN
                choices.append(Choice(call, said, asks if looks else float(probability[picked])))
                own = clause
                if self._fillable(call, clause):
                    rest += [c for c in context if not self._values(call, c)]
                context = []
            logs.append(score)
        if choices and any(copied.after for copied in choices[-1].call.copied.values()):
            choices[-1], context = _gone_on(choices[-1], own, context, message)
        rest += context
        said = " ".join(clause for clause in rest if wants_answer(clause))
        if choices and context and not apart(message, context[0]):
            said = ""  # after a mere comma it belongs to the call before it
        return sum(logs) / len(logs) - _CUT * (len(clauses) - 1), Reading(tuple(choices), said)

    def _possible(self, clause: str, whole: str) -> Array:
        """Probabilities of the calls and of none, given which of them the words can fill.

        A call without its values is out of the question, so what it would take goes to the
        others: how sure a choice is does not depend on how many calls there are besides.
        """
        assert self._probe is not None
        left = self._probe(clause) * self._able(whole)
        offered = left * self._offered
        offered[-1] += left.sum() - offered.sum()
        return np.asarray(offered / offered.sum())

    def _least(self, choice: Choice) -> float:
        """How probable a choice must be: the more, the less speaks for it and the more it does."""
        if choice.call.effect not in _LOOKS:
            return _CHANGES
        if self._values(choice.call, choice.clause):
            return _THRESHOLD
        return _COMPOSED if _composed(choice.call) else _UNBOUND

    def _all_able(self, text: str) -> Array:
        """For each call, 1 where its copied arguments could be filled; and 1 for none."""
        return np.array([*(self._fillable(call, text) for call in self.calls), True], np.float64)

    def _fillable(self, call: Syscall, text: str) -> bool:
        """Whether the copied arguments could be filled from these words, each with its own."""
        if not all(candidates(copied, text) for copied in call.copied.values()):
            return False
        return len(call.copied) < 2 or bool(readings(call, text))

    def _whole(self, call: Syscall, text: str, context: Sequence[str]) -> bool:
        """Whether these words by themselves hold a whole value for each argument.

        A value of one number is a part of what the words before it begin, where they hold
        numbers too: "the rent is 840 and goes up by 4%".
        """
        before = any(NUMBER.search(said) for said in context)
        for copied in call.copied.values():
            if not (copied.joins and copied.accepts):
                return False
            found = maximal(text, copied.accepts)
            if len(found) != 1 or (before and len(NUMBER.findall(found[0].text)) < 2):
                return False
        return bool(call.copied)

    def _bare(self, clause: str) -> int:
        """How many values a clause consists of; 0 where it says anything besides."""
        words = clause.split()
        found = self._found(clause)
        covered = {word for span in found for word in range(span.start, span.end)}
        return len(found) if len(covered) == len(words) else 0

    def _values(self, call: Syscall, text: str) -> bool:
        """Whether these words hold a value for the call, or a part of one.

        An argument that takes any words at all says nothing: there are always some.
        """
        return any(
            value not in copied.also
            for copied in call.copied.values()
            if copied.accepts is not None
            for value in candidates(copied, text, parts=1)
        )

    def _parts(self, call: Syscall, text: str) -> int:
        """How many parts of a composed value of ``call`` these words hold."""
        return sum(len(candidates(c, text, parts=1)) for c in call.copied.values() if c.joins)

    def _unused(self, call: Syscall, text: str) -> int:
        """How many values in the words the call has no argument for."""
        arguments = [c for c in call.copied.values() if c.accepts]
        mine, left = set[int](), 0
        for name in dict.fromkeys(copied.format for copied in arguments):
            found = maximal(text, self._tests[name])
            left += max(0, len(found) - sum(copied.format == name for copied in arguments))
            mine.update(word for span in found for word in range(span.start, span.end))
        for accepts in call.listed.values():  # as many as there are
            found = maximal(text, accepts)
            mine.update(word for span in found for word in range(span.start, span.end))
        return left + sum(mine.isdisjoint(range(s.start, s.end)) for s in self._found(text))

    def _all_found(self, text: str) -> tuple[Span, ...]:
        """The values of all tests; words that several tests accept are one value."""
        found = {span for test in self._tests.values() for span in maximal(text, test)}
        kept, used = list[Span](), set[int]()
        for span in sorted(found, key=lambda s: (s.start - s.end, s.start)):
            if used.isdisjoint(range(span.start, span.end)):
                used.update(range(span.start, span.end))
                kept.append(span)
        return tuple(kept)


def _composed(call: Syscall) -> bool:
    """Whether the model makes up an argument of ``call``."""
    return not set(call.schema.get("required", ())) <= set(call.copied)


def _gone_on(choice: Choice, own: str, behind: list[str], message: str) -> tuple[Choice, list[str]]:
    """A choice whose text goes on behind its clause, to the end of the sentence; and what is left.

    Args:
        choice: Of a call that takes any words.
        own: Its clause in the message.
        behind: The clauses that follow, none of which asks for a call.
        message: All of it.
    """
    more = list(itertools.takewhile(lambda clause: not closed(message, clause), behind))
    at = message.find(own)
    if not more or more[-1].endswith("?") or at < 0:  # a question wants an answer
        return choice, behind
    begin = at + len(own)
    end = message.find(more[-1], begin) + len(more[-1])
    whole = choice.clause + message[begin:end]  # with what joins them, such as "and"
    return replace(choice, clause=whole), behind[len(more) :]


def fit(calls: Sequence[Syscall], embed: Embed, chat: Sequence[str], path: Path) -> None:
    """Fit a probe to every example there is, for a file that ships with them; takes a minute.

    Args:
        calls / embed / chat: As ``Chooser`` has them.
        path: The file.
    """
    able = _able(calls)
    Probe.fitted(_features(able, embed), _lesson(able, chat), path)


def _able(calls: Sequence[Syscall]) -> list[Syscall]:
    """Those that can be chosen, with tests that remember what they said."""
    return [_quick(call) for call in calls if call.worked]


def _quick(call: Syscall) -> Syscall:
    copied = {
        name: replace(c, accepts=lru_cache(_TESTS_KEPT)(c.accepts)) if c.accepts else c
        for name, c in call.copied.items()
    }
    return replace(call, copied=copied)


def _tests(calls: Sequence[Syscall]) -> dict[str, Callable[[str], bool]]:
    """By format, whether some words are a value of it."""
    return {
        copied.format: copied.accepts
        for call in calls
        for copied in call.copied.values()
        if copied.accepts
    }


def _features(calls: Sequence[Syscall], embed: Embed) -> Features:
    """What a text is compared by; the stand-in of a format is its first value in an example."""
    stand_ins: dict[str, str] = {}
    for call in calls:
        for name, copied in call.copied.items():
            for worked in call.worked:
                value = str(worked.arguments.get(name, ""))
                said = value and value not in copied.also and value in worked.question
                if copied.accepts and said:
                    stand_ins.setdefault(copied.format, value)
    return Features(embed, _tests(calls), stand_ins)


def _lesson(calls: Sequence[Syscall], chat: Sequence[str]) -> Lesson:
    """The questions of each call; the last class is that of the turns that need none."""
    asked: list[tuple[str, int]] = []
    for number, call in enumerate(calls):
        own = [call.description, *call.examples, *(w.question for w in call.worked)]
        asked += [(text, number) for text in dict.fromkeys(own)]
    asked += [(text, len(calls)) for text in chat]
    texts, classes = zip(*asked, strict=True)
    near = dict.fromkeys(worked.question for call in calls for worked in call.worked)
    return Lesson(texts, classes, tuple(near))
