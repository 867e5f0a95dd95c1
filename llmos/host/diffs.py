"""What a change does to a text, as a unified diff that a person reads before they agree to it.

What both texts begin and end with is set aside first; what is left of very long texts, and of very
repetitive ones, is shown as taken out and put in, since the finest diff of it could take minutes.
"""

from __future__ import annotations

import difflib
from collections import Counter

__all__ = ["unified"]

_CONTEXT = 3  # lines around a change
_FINE = 2000  # lines of either side that are compared line by line
_PAIRS = 20_000  # of equal lines among them, each of which the comparison visits again and again


def unified(before: str | None, after: str | None, name: str) -> str:
    """The unified diff.

    Args:
        before: The text as it is; None where there is no file.
        after: As it is to be; None where it is taken away.
        name: What the file is called, fit to be shown.

    Returns:
        The diff; empty where both are the same.
    """
    old, new = _lines(before or ""), _lines(after or "")
    if old == new and before is not None and after is not None:
        return ""
    head = _same(old, new)
    tail = _same(old[head:][::-1], new[head:][::-1])
    start = max(0, head - _CONTEXT)
    keep = max(0, tail - _CONTEXT)
    old, new = old[start : len(old) - keep], new[start : len(new) - keep]
    lines = [
        f"--- {name if before is not None else '/dev/null'}\n",
        f"+++ {name if after is not None else '/dev/null'}\n",
    ]
    if max(len(old), len(new)) > _FINE or _pairs(old, new) > _PAIRS:
        first, last = head - start, min(tail, _CONTEXT)
        hunk = [(" ", line) for line in old[:first]]
        hunk += [("-", line) for line in old[first : len(old) - last]]
        hunk += [("+", line) for line in new[first : len(new) - last]]
        hunk += [(" ", line) for line in old[len(old) - last :] if last]
        lines.append(f"@@ -{start + 1},{len(old)} +{start + 1},{len(new)} @@\n")
        lines += [mark + _ended(line) for mark, line in hunk]
    else:
        for group in difflib.SequenceMatcher(None, old, new, False).get_grouped_opcodes(_CONTEXT):
            (_, i, _, j, _), (_, _, i_end, _, j_end) = group[0], group[-1]
            at = (_range(start + i, i_end - i), _range(start + j, j_end - j))
            lines.append(f"@@ -{at[0]} +{at[1]} @@\n")
            for tag, a, a_end, b, b_end in group:
                if tag == "equal":
                    lines += [" " + _ended(line) for line in old[a:a_end]]
                    continue
                lines += ["-" + _ended(line) for line in old[a:a_end]]
                lines += ["+" + _ended(line) for line in new[b:b_end]]
    return "".join(lines)


def _lines(text: str) -> list[str]:
    """As files have them: only a line feed ends one."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def _same(one: list[str], other: list[str]) -> int:
    """How many lines both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _pairs(old: list[str], new: list[str]) -> int:
    """How many pairs of equal lines there are."""
    one, other = Counter(old), Counter(new)
    return sum(count * other[line] for line, count in one.items())


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _range(start: int, length: int) -> str:
    """As diff writes it: from line 1 on, and before it where nothing is there."""
    first = start + 1 if length else start
    return str(first) if length == 1 else f"{first},{length}"
