"""A command line, jailed: it sees the granted folders, the system's programs and nothing else.

Each command is a jail of its own; nothing is kept but what it wrote into a folder. What it changes
there cannot be undone by llmos, which sees no single changes: that is why it is off until granted.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from llmos import limits, paths
from llmos.errors import LlmosError
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Jail, Task, run
from llmos.sandbox.printed import Printed
from llmos.sdk import ToolError
from llmos.services import Ran

__all__ = ["Shell"]

_ENDED = {
    "time": f"It took longer than {limits.SHELL_SECONDS:g} s and was ended.",
    "output": "It printed too much and was ended.",
    "memory": "It needed too much memory and was ended.",
    "disk": "It wrote too much and was ended.",
    "processes": "It started too many processes and was ended.",
}
#: The folder and the command are arguments, so that no quoting can go wrong.
_SCRIPT = 'exec 2>&1 </dev/null; cd -- "$1" || exit; eval "$2"'


class Shell:
    """``services.Shell`` over granted folders.

    Args:
        granted: Folders and files, and whether each may be changed; commands run in the first
            folder. Single files can only be read.
        jail: Gives the jail to run in.
        never: What no command may see, whatever was granted; llmos's own where not given.
    """

    def __init__(
        self,
        granted: Callable[[], Mapping[Path, bool]],
        *,
        jail: Callable[[], Awaitable[Jail]] = tiers.best,
        never: Sequence[Path] | None = None,
    ) -> None:
        self._granted = granted
        self._jail = jail
        self._never = paths.own_places() if never is None else tuple(never)

    async def run(self, command: str) -> Ran:
        """Run one command with ``sh``.

        Raises:
            ToolError: There is no folder, no jail that holds, or the command is none.
        """
        if not command.strip() or "\0" in command or len(command) > limits.SHELL_COMMAND_CHARS:
            raise ToolError("That is no command: it is empty, too long or has a null character.")
        granted = self._granted()
        folders = [path for path in granted if path.is_dir()]
        if not folders:
            raise ToolError(
                "No folder is granted to the shell.",
                "Grant one with: llmos grants folder ~/work (or F5 in the chat).",
            )
        writable = tuple(path for path in folders if granted[path])
        # No jail lets a single file be replaced; one that may be changed can at least be read.
        readable = tuple(path for path in granted if path not in writable and path.exists())
        for inner in readable:
            if any(inner.is_relative_to(outer) for outer in writable):
                raise ToolError(
                    f"{inner} is granted by itself, but lies in a folder that may be changed.",
                    "The shell cannot keep them apart: grant one or the other.",
                )
        self._check_own(granted)
        for path in granted:
            # what was granted was no link then: whoever put one there since wants to be elsewhere
            if os.path.realpath(path) != str(path):
                raise ToolError(
                    f"{path} is not what was granted any more: a link stands in its way.",
                    "Look at what was put there, then take the grant back with llmos grants "
                    "revoke ID, and grant the folder anew.",
                )
        try:
            task = Task(
                argv=("/bin/sh", "-c", _SCRIPT, "sh", str(folders[0]), command),
                readable=readable,
                writable=writable,
                env={
                    "HOME": str(Path.home())
                },  # so that ~ means what it says; only what is granted is there
                bounds=Bounds(memory_bytes=limits.SHELL_MEMORY_BYTES),
            )
            finished = await run(
                await self._jail(),
                task,
                seconds=limits.SHELL_SECONDS,
                output_bytes=limits.PYTHON_PRINTED_BYTES,
            )
        except LlmosError as error:
            raise ToolError(error.sentence, error.remedy) from error
        printed = Printed()
        printed.feed(finished.stdout + finished.stderr)
        status = f"It ended with status {finished.status}." if finished.status else ""
        return Ran(printed.text().rstrip(), _ENDED.get(finished.ended, status))

    def _check_own(self, granted: Iterable[Path]) -> None:
        """Check that nothing of llmos itself lies in what a command would see.

        A jail shows a folder whole: whoever writes what llmos runs, or what it may do, is out.
        """
        own = [place.resolve() for place in self._never]
        for path in granted:
            for place in own:
                if place.is_relative_to(path) or path.is_relative_to(place):
                    raise ToolError(
                        f"{path} holds what belongs to llmos itself, which no command may see.",
                        "Take that grant back with llmos grants revoke ID, and grant the folders "
                        "within it that are needed.",
                    )
