"""Which turns leave a window, and what of a long record or of a whole turn stays in view.

Every turn is worth something (how recent it is and, where the caller can tell, how near to what is
being talked about), and everything behind the first that goes must be computed again. Both are
weighed. What no eviction can make room for, a turn that is longer than the window by itself, is
left out of view in part.

Knows sizes and worth; not what stands for what left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from llmos import limits
from llmos.memory.pages import Kind, Turn
from llmos.memory.view import Held

__all__ = ["Unit", "cheapest", "filled", "squeezed", "trimmed"]


@dataclass(slots=True)
class Unit:
    """A turn, as something that can leave."""

    turn: Turn
    held: list[Held] = field(default_factory=list)
    worth: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(held.tokens for held in self.held)

    @property
    def pinned(self) -> bool:
        return any(held.pins for held in self.held)


def cheapest(units: Sequence[Unit], excess: int, size: int) -> list[Unit]:
    """The units whose loss, and what must be computed again behind the first, cost least.

    For every unit that could be the first to go: the least worth a token among it and those
    behind it, until enough is free.

    Args:
        units: In the order of the conversation.
        excess: Tokens that are to come free.
        size: The whole window, in tokens.
    """
    if len(units) > limits.WEIGHED_TURNS:  # an import: the oldest go without much ado
        return _oldest(units, excess)
    best, least = list(units), float("inf")
    total = sum(unit.tokens for unit in units)
    before = 0
    for first, unit in enumerate(units):
        behind = sorted(units[first + 1 :], key=lambda u: u.worth / max(u.tokens, 1))
        victims, freed = [unit], unit.tokens
        for other in behind:
            if freed >= excess:
                break
            victims.append(other)
            freed += other.tokens
        again = total - before - freed
        loss = sum(u.worth for u in victims) + limits.REFILL_COST * again / size
        if (freed >= excess or first == 0) and loss < least:
            best, least = victims, loss
        before += unit.tokens
    return best


def _oldest(units: Sequence[Unit], excess: int) -> list[Unit]:
    freed, victims = 0, []
    for unit in units:
        if freed >= excess:
            break
        victims.append(unit)
        freed += unit.tokens
    return victims


def trimmed(
    held: Held, count: Callable[[str], int], room: int, *, least: int = 1
) -> tuple[str, ...]:
    """Which pages of a long record to leave out of view so that about ``room`` tokens stay.

    Its beginning stays, and its end: a question stands at one of the two.

    Args:
        held: The record.
        count: Tokens of a text.
        room: Tokens.
        least: Pages that stay in any case.

    Returns:
        Ids of pages; none where the record fits.
    """
    pages = held.pages
    if len(pages) <= least or sum(len(p.text.encode()) for p in pages) <= room:
        return ()
    keep, left, front, back = set[int](), room, 0, len(pages) - 1
    while front <= back:
        # Two pages from the beginning for one from the end, the end first.
        at = back if len(keep) % 3 == 0 else front
        size = count(pages[at].text)
        if size > left and len(keep) >= least:
            break
        keep.add(at)
        left -= size
        front, back = (front, back - 1) if at == back else (front + 1, back)
    return tuple(page.id for at, page in enumerate(pages) if at not in keep)


def squeezed(turn: Sequence[Held], excess: int, count: Callable[[str], int]) -> tuple[str, ...]:
    """Which pages of a turn to leave out of view so that about ``excess`` tokens come free.

    The person's words come first, then what was said last: each may have two thirds of the room
    that is left. Of these two something stays in any case; of an older result perhaps nothing but
    the note that names its pages.

    Args:
        turn: What was said in it, measured.
        excess: Tokens.
        count: Tokens of a text.
    """
    order = sorted(turn, key=lambda h: (h.kind != Kind.USER, -h.record.stored.seq))
    left = sum(held.tokens for held in order) - excess
    out: list[str] = []
    for place, held in enumerate(order):
        last = place == len(order) - 1
        room = max(left if last else left * 2 // 3, 0)
        if held.tokens <= room:
            left -= held.tokens
            continue
        least = 1 if held.kind == Kind.USER or place <= 1 else 0
        gone = set(trimmed(held, count, room, least=least))
        out += [id for id in held.ids() if id in gone]
        left -= count(held.text({p.part for p in held.pages if p.id not in gone} & held.shown))
    return tuple(out)


def filled(
    here: Sequence[Held],
    least: Mapping[int, Set[int]],
    most: Mapping[int, Set[int]],
    count: Callable[[str], int],
    room: int,
) -> dict[int, set[int]] | None:
    """The parts of a long turn to show: the least, and of the most what there is room for.

    Args:
        here: The turn's records.
        least / most: The parts of each, by ``id`` of the record.
        count: Tokens of a text.
        room: Tokens that all of it may have.

    Returns:
        By ``id`` of the record; None where there is too little room for the least.
    """

    def size() -> int:
        return sum(count(held.text(parts[id(held)])) for held in here)

    parts = {id(held): set(most[id(held)]) for held in here}
    if size() <= room:
        return parts
    parts = {id(held): set(least[id(held)]) for held in here}
    if (used := size()) > room:
        return None
    for held in here:
        mine = parts[id(held)]
        before = count(held.text(mine))
        for part in sorted(most[id(held)] - mine):
            after = count(held.text(mine | {part}))
            if used + after - before <= room:
                mine.add(part)
                used, before = used + after - before, after
    return parts
