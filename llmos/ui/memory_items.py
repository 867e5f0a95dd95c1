"""What the memory screen lists: facts, pages of chats and stretches of files, as one kind of item.

Reads the kernel's answers and says each thing as a person would. Knows strings, no widgets; cuts
nothing but for the line it stands on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llmos.ui.text import count, one_line, plural, visible

__all__ = [
    "BLOCKS",
    "SAID",
    "Group",
    "Item",
    "day",
    "doomed_lines",
    "excerpt",
    "fact",
    "groups",
    "hit",
    "moment",
    "near",
    "page",
    "who",
    "words_of",
]

#: What can be remembered: the kernel's name for it, and ours.
BLOCKS = {"fact": "A fact", "user": "About me", "assistant": "What the assistant is for"}
_ORIGINS = {
    "system": "llmos",
    "user": "you",
    "model": "the model",
    "assistant": "the model",
    "plugin": "a tool",
    "tool": "a tool",
    "untrusted": "somebody else",
    "recalled": "memory",
}
LISTED = 4  # messages that are named before they go
QUOTE = 48  # characters of each
NEAR = 0.15  # cosine, below which what shares no word with the query is not shown
#: Kinds of pages that people and the model wrote, or a call answered.
SAID = ("user", "assistant", "tool")

Group: TypeAlias = tuple[str, list["Item"]]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is remembered or was found.

    Args:
        id: ``m12``, a page's ``p12.3``, or the name of a stretch of a file.
        kind: What it is.
        text: The text, whole.
        time: When it was said or written, seconds since the epoch.
        origin: Who it came from, in the kernel's word.
        place: The file, with where in it; empty for what was said.
        block: Of a fact, where it stands.
        pinned: Of a fact, that every chat begins with it; of a page, that it stays in the window.
        history: Older texts of a fact with their times, oldest first.
        related: Of a page, others in other chats that are about the same.
        said: Process and turn of where it was said, oldest first; none where nobody said it.
    """

    id: str
    kind: Literal["fact", "page", "file"]
    text: str
    time: float
    origin: str = ""
    place: str = ""
    block: str = "fact"
    pinned: bool = False
    history: tuple[tuple[float, str], ...] = ()
    related: tuple[str, ...] = ()
    said: tuple[tuple[int, int], ...] = ()

    @property
    def part(self) -> bool:
        """Whether it is only a part of what was said at once."""
        return self.kind == "page" and "." in self.id


def fact(row: Mapping[str, Any]) -> Item:
    """A fact as ``Client.facts`` has it."""
    return Item(
        id=row["id"],
        kind="fact",
        text=row["text"],
        time=row["time"],
        origin=row["origin"],
        block=row["block"],
        pinned=row["pinned"],
        history=tuple((old["time"], old["text"]) for old in row["history"]),
        said=tuple((said["pid"], said["turn"]) for said in row.get("said", ())),
    )


def hit(row: Mapping[str, Any]) -> Item:
    """Something found, as ``Client.search`` has it."""
    kinds: dict[str, Literal["fact", "page", "file"]] = {"fact": "fact", "file": "file"}
    return Item(
        id=row["id"],
        kind=kinds.get(row["source"], "page"),
        text=row["text"],
        time=row["time"],
        origin=row["speaker"],
        place=row["place"] if row["source"] == "file" else "",
        said=((row["pid"], 0),) if row["pid"] else (),
    )


def near(row: Mapping[str, Any]) -> bool:
    """Whether something found has to do with the query at all: a small store has always a best."""
    similar = row["similarity"]
    return bool(row["words"]) or similar is None or similar >= NEAR


def page(rows: Sequence[Mapping[str, Any]], id: str) -> Item:
    """The pages of one record, or one of them, as ``Client.pages`` has them."""
    first = rows[0]
    return Item(
        id=id,
        kind="page",
        text="".join(row["text"] for row in rows),
        time=first["time"],
        origin=first["origin"] if first["kind"] == "user" else first["kind"],
        related=tuple(other for row in rows for other in row.get("related", ())),
        said=((first["pid"], first["turn"]),) if first["turn"] else (),
    )


def who(item: Item) -> str:
    """Who something came from, for a person."""
    return _ORIGINS.get(item.origin, item.origin)


def day(moment: float, now: float | None = None) -> str:
    """A date on a line: the time of day where that is today."""
    now = time.time() if now is None else now
    then = time.localtime(moment)
    today = then[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d", then) if moment else ""


def moment(moment: float) -> str:
    """A date with its time of day."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else ""


def words_of(query: str) -> list[str]:
    """The words to look for, lower case."""
    return re.findall(r"\w+", query.casefold())


def excerpt(text: str, words: Iterable[str], width: int) -> str:
    """``text`` on one line, from shortly before the first of ``words`` where that is far in."""
    line = " ".join(visible(text).split())
    found = [at for word in words if (at := line.casefold().find(word)) >= 0]
    if found and min(found) > width // 2:
        start = line.rfind(" ", 0, max(min(found) - width // 3, 0)) + 1
        line = f"…{line[start:]}"
    return one_line(line, width)


def groups(facts: Sequence[Item], hits: Sequence[Item], query: str) -> list[Group]:
    """What is shown of a query, under headings; all facts for an empty one.

    Args:
        facts: Everything remembered, newest first.
        hits: What the kernel found for the query, best first.
        query: What the person typed.
    """
    known = {item.id: item for item in facts}
    if not query.strip():
        kept = {block: [f for f in facts if f.block == block] for block in BLOCKS}
        ordered = sorted(kept["fact"], key=lambda item: not item.pinned)
        shown = [
            ("About you", kept["user"]),
            ("What the assistant is for", kept["assistant"]),
            ("Facts", ordered),
        ]
    else:
        words = words_of(query)
        same = [item for item in facts if _has(item, words)]
        # As one types, a word's beginning or middle is enough; who has all of it comes first.
        same.sort(key=lambda item: not set(words) <= set(words_of(item.text)))
        alike = [known[h.id] for h in hits if h.kind == "fact" and h.id in known]
        shown = [
            ("Remembered", list(dict.fromkeys([*same, *alike]))),
            ("Said in chats", [h for h in hits if h.kind == "page"]),
            ("In your files", [h for h in hits if h.kind == "file"]),
        ]
    return [(heading, items) for heading, items in shown if items]


def _has(item: Item, words: Sequence[str]) -> bool:
    texts = [item.id, item.text, *(text for _, text in item.history)]
    whole = "\n".join(texts).casefold()
    return bool(words) and all(word in whole for word in words)  # "?" is in none, not in all


def doomed_lines(doomed: Mapping[str, Any], chat: Callable[[int], str]) -> str:
    """What goes when something is forgotten, in words.

    Args:
        doomed: As ``Client.would_forget`` tells it.
        chat: The name of the chat of a process.
    """
    listed = doomed["listed"]
    kept = [row for row in listed if row["kind"] == "memory"]
    said = [row for row in listed if row["kind"] in SAID]
    lines = ["From the disk, the search and every snapshot go, and nothing brings them back:"]
    if kept:
        text = next((row["beginning"] for row in reversed(kept) if row["beginning"]), "")
        lines.append(f"· what is remembered: “{one_line(text, QUOTE)}”")
        if len(kept) > 1:
            lines.append(f"  and its {plural(len(kept) - 1, 'earlier change')}")
    for row in said[:LISTED]:
        text = one_line(row["beginning"], QUOTE)
        what = f"the whole message “{text}”" if text else "what the model asked of a tool"
        lines.append(f"· {what} in {chat(row['pid'])}")
    if len(said) > LISTED:
        lines.append(f"· {plural(len(said) - LISTED, 'more message')} that say the same")
    made = len(listed) - len(kept) - len(said)
    if made:
        lines.append(f"· {count(made)} made of these: what was recalled, notes, fronts of windows")
    if doomed["records"] > len(listed):
        lines.append(f"· and {plural(doomed['records'] - len(listed), 'more record')} of this kind")
    for path in doomed.get("left", ()):
        lines.append(f"It stays, perhaps, in {visible(path)}, a damaged journal put aside.")
    return "\n".join(lines)
