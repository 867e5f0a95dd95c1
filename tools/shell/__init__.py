"""A command line for the model, off until the person grants it."""

from __future__ import annotations

import shutil
from typing import Annotated

from llmos.sdk import Context, Length, Result, Verbatim

__all__ = ["is_command", "run"]

#: Programs whose names begin ordinary sentences, too: alone they are none.
_WORDS = frozenset(
    {"find", "make", "open", "test", "time", "who", "which", "look", "write", "sort"}
)

_NOTHING = "It ran and printed nothing."
_LINES = 40  # of an output that an answer shows; the call's result has all of it

#: What people say behind a command that is not marked off: "ls -l in the shell, please".
_BEHIND = frozenset(
    {"in", "on", "at", "the", "a", "my", "shell", "terminal", "console", "please", "for", "me"}
)


def is_command(text: str) -> bool:
    """Whether ``text`` begins with a program of this machine, and ends with its command."""
    bare = _bare(text)
    first, _, rest = bare.partition(" ")
    if bare == text and rest.rpartition(" ")[2].strip(",.").lower() in _BEHIND:
        return False
    if text != text.strip() or (first in _WORDS and not rest.startswith(("-", "/", "~", "."))):
        return False
    return len(first) > 1 and shutil.which(first) is not None


def _bare(command: str) -> str:
    """A command without the marks that people set around one."""
    marked = command.startswith("`") and command.endswith("`") and command.count("`") == 2
    return command[1:-1].strip() if marked else command


async def run(
    command: Annotated[str, Length(1), Verbatim(accepts=is_command)], context: Context
) -> Result:
    """Run one shell command.

    Args:
        command: The command as the user wrote it.
    """
    ran = await context.shell.run(_bare(command))
    text = "\n".join(part for part in (ran.output, ran.error) if part)
    data = {"output": ran.output, "error": ran.error}
    data |= {"printed": _quoted(text)} if ran.output else {"told": text or _NOTHING}
    return Result(text or _NOTHING, data, ran.artifacts)


def _quoted(text: str) -> str:
    """What was printed, to be shown as it is; of much its beginning, and how much more there is."""
    lines = text.rstrip().replace("```", "` ` `").splitlines()
    more = len(lines) - _LINES
    return "\n".join([*lines[:_LINES], f"[{more:,} more lines]"] if more > 0 else lines)
