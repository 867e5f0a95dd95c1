"""Timers and reminders: the conversation wakes when one is due, also after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from llmos.sdk import Context, Length, Preview, Result, ToolError, Verbatim

from . import moments

__all__ = ["cancel", "list", "set"]

_NAMED = 12  # ids in a sentence that names those there are
_ANY = datetime(2024, 1, 3, 12, tzinfo=UTC)  # whether words are a moment does not depend on it


_FROM = (" before", " beforehand", " earlier", " after", " afterwards")


def is_moment(text: str) -> bool:
    """Whether ``text`` says when, such as ``in 20 minutes``.

    ``one hour before`` does, too, though nobody knows before what: it must not be read as one hour.
    """
    told = len(text) <= 100 and not text.strip().isdigit()
    ending = next((each for each in _FROM if text.lower().endswith(each)), "")
    return told and moments.moment(text[: len(text) - len(ending)], _ANY) is not None


When = Annotated[str, Length(1, 100), Verbatim(accepts=is_moment)]
_BEFORE = ("to", "that", "about", "of", "for", "called", "named", "say", ":")  # what is to be told
What = Annotated[str, Length(0, 1000), Verbatim(also=("",), after=_BEFORE)]


async def set(when: When, context: Context, text: What = "") -> Result:
    """Set a timer or a reminder.

    Args:
        when: As the person says it: in 20 minutes, at 17:30, tomorrow at 9.
        text: What to be reminded of.
    """
    due = _due(when, context)
    timer = await context.timers.set(due.timestamp(), text)
    # The text is not in the result, which counts as the system's word: a stranger may have written
    # it, and the person have said yes to a reminder only. The person is told it (tool.toml).
    at = _near(due, context)
    sentence = f"Reminder {timer.id} is set for {at}."
    data = {"id": timer.id, "due": _said(due, context), "at": at}
    return Result(sentence, data if text else {**data, "alone": sentence})


def preview_set(when: When, context: Context, text: What = "") -> Preview:
    """What ``set`` would do."""
    about = f": {text}" if text else ""
    return Preview(f"This conversation wakes at {_near(_due(when, context), context)}{about}")


async def list(context: Context) -> Result:
    """List the timers and reminders that are still to come, those of other conversations last."""
    timers = await context.timers.list()
    if not timers:
        return Result("There are no reminders.", {"count": 0, "reminders": []})
    rows = [
        {
            "id": each.id,
            "due": _said(_local(each.due, context), context),
            "text": each.text,
            "chat": _chat(each.pid, each.title),
        }
        for each in timers
    ]
    lines = []
    for row in rows:
        chat = f"  [{row['chat']}]" if row["chat"] else ""
        lines.append(f"{row['id']}  {row['due']}  {row['text']}".rstrip() + chat)
    return Result("\n".join(lines), {"count": len(rows), "reminders": rows})


async def cancel(which: Annotated[str, Length(1, 200), Verbatim()], context: Context) -> Result:
    """Cancel a timer or a reminder.

    Args:
        which: Its id (t3), words of its text, or all.
    """
    timers = await context.timers.list()
    wanted = which.strip().casefold()
    found = [each for each in timers if each.id == wanted]
    if wanted in ("all", "everything", "all of them"):
        found = [*timers]
    elif not found:
        found = [each for each in timers if wanted in each.text.casefold()]
        if len(found) > 1:
            ids = ", ".join(each.id for each in found)
            example = f"Say which one by its name, such as: cancel {found[0].id}"
            raise ToolError(f"That may be any of {ids}.", f"{example}.")
    if not found:
        raise _none_such([each.id for each in timers])
    for each in found:
        await context.timers.cancel(each.id)
    ids = ", ".join(each.id for each in found)
    verb = "is" if len(found) == 1 else "are"
    return Result(f"Reminder {ids} {verb} cancelled.", {"ids": [each.id for each in found]})


def _due(when: str, context: Context) -> datetime:
    now = context.now()
    due = moments.moment(when, now)
    if due is None:
        raise ToolError(
            f"“{when}” is no moment that is understood.",
            "Say it like: in 20 minutes, at 17:30, tomorrow at 9, on 24 December at 18:00.",
        )
    if due <= now:
        raise ToolError(f"{_said(due, context)} has passed.", "Say one that is still to come.")
    return due


def _none_such(ids: Sequence[str]) -> ToolError:
    if not ids:
        return ToolError("There are no reminders.")
    named = ", ".join(ids[:_NAMED]) + (", …" if len(ids) > _NAMED else "")
    return ToolError("There is no such reminder.", f"There are: {named}.")


def _chat(pid: int, title: str) -> str:
    """Which other conversation a reminder belongs to; empty for the one that asks."""
    if not pid:
        return ""
    return f"process {pid}" + (f": {title}" if title else "")


def _local(due: float, context: Context) -> datetime:
    return datetime.fromtimestamp(due, context.tzinfo)


def _near(due: datetime, context: Context) -> str:
    """A moment as it is said of today and tomorrow, which a list that is read later cannot."""
    days = (due.date() - context.now().date()).days
    if days not in (0, 1):
        return f"{due:%H:%M} on {due:%A}, {due.day} {due:%B %Y}"
    return f"{_clock(due, context)} {('today', 'tomorrow')[days]}"


def _clock(due: datetime, context: Context) -> str:
    """With the seconds of a timer that is soon over."""
    seconds = f":{due:%S}" if due.second and (due - context.now()).total_seconds() < 3600 else ""
    return f"{due:%H:%M}{seconds}"


def _said(due: datetime, context: Context) -> str:
    return f"{due:%A}, {due.day} {due:%B %Y}, {_clock(due, context)}"
