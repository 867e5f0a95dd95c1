"""How many ways a grammar leaves open at once, bounded before a model runs under it.

llama.cpp's grammars are tried on every token of the vocabulary in every way the text so far could
go on, so what costs is not a grammar's length but its widest place: a row of parts that may all be
empty, a choice of thousands. A place too wide would hold up everybody's steps for seconds. The
count here is an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmos import limits
from llmos.engine.expressions import Alt, Chars, Expr, Lit, Ref, Rep, Seq, may_be_empty
from llmos.errors import GrammarError

__all__ = ["check_openings"]

_MANY = 64  # a class of more characters fits much of the vocabulary
_MANY_COST = 16  # and costs as much as so many texts


def check_openings(rules: Mapping[str, Expr], empty: set[str], root: str) -> None:
    """Refuse a grammar with too wide a place.

    Args:
        rules: All rules, none of which begins with itself.
        empty: Those that may be empty.
        root: Where it begins.

    Raises:
        GrammarError: There are more than ``limits.GRAMMAR_OPENINGS`` ways to go on somewhere.
    """
    if _Openings(rules, empty).widest(Ref(root)) > limits.GRAMMAR_OPENINGS:
        raise GrammarError("The schema or pattern leaves too many ways open at once.")


class _Openings:
    def __init__(self, rules: Mapping[str, Expr], empty: set[str]) -> None:
        self._rules = rules
        self._empty = empty
        self._begin: dict[str, int] = {}
        self._widest: dict[str, int] = {}

    def may_be_empty(self, expr: Expr) -> bool:
        return may_be_empty(expr, self._empty.__contains__)

    def begin(self, expr: Expr) -> int:
        """The ways ``expr`` can begin."""
        match expr:
            case Lit(text):
                return 1 if text else 0
            case Chars(ranges):
                return _MANY_COST if sum(b - a + 1 for a, b in ranges) > _MANY else 1
            case Ref(name):
                if name not in self._begin:
                    self._begin[name] = self.begin(self._rules[name])
                return self._begin[name]
            case Seq(items):
                total = 0
                for item in items:
                    total += self.begin(item)
                    if not self.may_be_empty(item):
                        break
                return total
            case Alt(items):
                return sum(map(self.begin, items))
            case Rep(item, least, most):
                times = (most or least or 1) if self.may_be_empty(item) else 1
                return times * self.begin(item)

    def widest(self, expr: Expr) -> int:
        """The ways to go on at the widest place of ``expr``, its end included."""
        match expr:
            case Ref(name):
                if name not in self._widest:
                    self._widest[name] = 0  # a rule within itself is no wider than by itself
                    self._widest[name] = self.widest(self._rules[name])
                return self._widest[name]
            case Seq(items):
                most, rest = 0, 0
                for item in reversed(items):
                    most = max(most, self.widest(item) + rest)
                    rest = self.begin(item) + (rest if self.may_be_empty(item) else 0)
                return max(most, rest)
            case Alt(items):
                return max([self.begin(expr), *map(self.widest, items)])
            case Rep(item, _, _):
                return self.widest(item) + self.begin(expr)
        return self.begin(expr)
