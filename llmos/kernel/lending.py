"""What the kernel lends to calls: the web, granted folders, an interpreter, a shell, timers.

Each call is lent its own process's view. What is granted is asked anew at every use, so that what
was taken back is gone at once. Whether a call may be made at all was decided before, by the gate.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.config import Config
from llmos.errors import CallFailed, HostError
from llmos.host import guarded
from llmos.host.clipboard import Clipboard
from llmos.host.folders import Folders
from llmos.host.machine import Machine
from llmos.host.places import Grant
from llmos.host.undo import Log
from llmos.kernel.calling import within
from llmos.kernel.process import Process
from llmos.kernel.syscalls import Invocation, Outcome, Syscall
from llmos.kernel.timers import Timers
from llmos.labels import Label, Origin
from llmos.memory.grants import Grants
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import own_words
from llmos.net.internet import Internet
from llmos.sandbox.sessions import Sessions
from llmos.sandbox.shell import Shell
from llmos.sdk import ToolError
from llmos.services import Timer

__all__ = ["Lender"]

#: A path as a person writes it: from the root or from home, in quotes where it has spaces.
_PATH = re.compile(
    r"[\"'“`](?P<quoted>(?:~/|/)[^\"'”`\n]+)[\"'”`]|(?<![\w:/.~])(?P<bare>(?:~/|/)\S+)"
)

#: The call by which code reads a file's bytes; ``sandbox/interpreter_worker.py`` makes it.
_CONTENT = "files.bytes"

#: Makes a system call for code that runs in a process's session, by name and arguments, within
#: the call of an id.
Nested = Callable[[Process, str, Mapping[str, Any], str], Awaitable[Any]]


class Lender:
    """Lends services to calls.

    Args:
        config: Settings of the web; and where things are kept.
        journal: Knows what was said, and so which files a person named.
        grants: What was granted.
        due: Wakes a process with its reminder.
        title: Of a process, for a list of reminders.
    """

    def __init__(
        self,
        config: Config,
        journal: Journal,
        grants: Grants,
        due: Callable[[int, Timer], Awaitable[None]],
        title: Callable[[int], str] = lambda pid: "",
    ) -> None:
        self._journal = journal
        self._grants = grants
        self._internet = Internet(config.web, config.state)
        self._sessions = Sessions(config.state / "sessions")
        self._log = Log(config.state / "undo")
        #: The reminders of all processes.
        self.timers = Timers(config.state / "timers.json", due, title=title)
        self._folders: dict[int, Folders] = {}
        #: Makes calls that code asks for; set by whoever makes calls.
        self.nested: Nested | None = None

    async def open(self) -> None:
        """Begin, on the kernel's loop; nobody is reminded yet."""
        await self._sessions.open()

    async def remind(self) -> None:
        """From now on wake processes with their reminders: the kernel knows them now."""
        await self.timers.start()

    async def close(self) -> None:
        """End everything that was lent."""
        await self.timers.close()
        await self._sessions.aclose()
        for folders in self._folders.values():
            await folders.close()
        await self._internet.close()

    async def forget(self, texts: Sequence[str]) -> None:
        """Texts are forgotten: so is what was asked of the web with them, and reminders of them."""
        await asyncio.to_thread(self._internet.log.forget, texts)
        await asyncio.to_thread(self.timers.without, texts)

    async def ended(self, pid: int) -> None:
        """A process has ended: what it was lent is taken back."""
        try:
            await self._sessions.close(pid)
            if (folders := self._folders.pop(pid, None)) is not None:
                await folders.close()
        finally:  # last, for it writes to the disk, which may be full
            await asyncio.to_thread(self.timers.forget, pid)

    def lend_own(
        self, process: Process, call: str, hosts: Sequence[str] | None = None, role: str = ""
    ) -> Mapping[str, Any]:
        """As ``lend``, for a call of llmos's own tools in a conversation with the person.

        It can see and cancel all of the person's reminders; a model's helper only its own.
        """
        lent = self.lend(process, call, hosts, role)
        return {**lent, "timers": self.timers.of(process.pid, every=process.employer is None)}

    def lend(
        self, process: Process, call: str, hosts: Sequence[str] | None = None, role: str = ""
    ) -> Mapping[str, Any]:
        """What a call of a process may use.

        Args:
            process: Whose call it is.
            call: Its name, for the log of requests.
            hosts: Patterns of the hosts it may reach, at every hop; None leaves it to the settings.
            role: The expert that makes it; it shares no Python session with another.
        """
        pid, outer = process.pid, within()  # a session answers its code in another call's task
        if pid not in self._folders:
            self._folders[pid] = Folders(lambda: self._granted(process), self._log)

        async def ask(name: str, arguments: Mapping[str, Any]) -> Any:
            assert self.nested is not None
            return await self.nested(process, name, arguments, outer)

        return {
            "web": self._internet.lend(pid, call, hosts),
            "folders": self._folders[pid],
            "interpreter": self._sessions.lend(pid, ask if self.nested is not None else None, role),
            "shell": Shell(lambda: {grant.path: grant.write for grant in self._lasting(process)}),
            "timers": self.timers.of(pid),
            "clipboard": Clipboard(),
            "machine": Machine(),
        }

    def content(self) -> Syscall:
        """The row by which code in a session reads the bytes of a granted file."""

        label = Label(Origin.UNTRUSTED).kept_private()

        async def run(made: Invocation, arguments: Mapping[str, Any]) -> Outcome:
            folders = self.lend(made.process, _CONTENT)["folders"]
            try:
                data = await folders.content(str(arguments.get("path", "")))
            except ToolError as error:
                raise CallFailed(error.sentence, remedy=error.remedy) from error
            return Outcome(f"{len(data)} bytes", label=label, payload=data)

        schema = {"type": "object", "properties": {"path": {"type": "string"}}}
        return Syscall(
            name=_CONTENT,
            description="Read the bytes of a file.",
            schema=schema,
            effect="read",
            run=run,
            label=label,
            beside="files.read",
        )

    # --- what is granted --------------------------------------------------------------------

    def _granted(self, process: Process) -> list[Grant]:
        """Folders that were granted, and files and folders that the person named here, to read."""
        named = [Grant(path) for path in self._named(process)]
        return [*self._lasting(process), *named]

    def _lasting(self, process: Process) -> list[Grant]:
        grants = self._grants.of(self._journal.lineage(process.spokesman.pid))
        return [Grant(Path(grant.folder), grant.write) for grant in grants if grant.folder]

    def _named(self, process: Process) -> list[Path]:
        """What a person names in a conversation, its tools may read; nothing that is secret.

        Nor what a link leads to that a tool may have put there since.
        """
        found: list[Path] = []
        changed = [Path(grant.folder) for grant in self._grants.all() if grant.write]
        for record in self._journal.records(process.spokesman.pid):
            if record.stored.message.role != Kind.USER:
                continue
            for written in _paths(own_words(record)):
                try:
                    path = Grant.of(written).path
                except HostError:
                    continue
                if path not in found and not _too_much(path) and not _led(written, changed):
                    found.append(path)
        return found[-limits.NAMED_PATHS :]


def _too_much(path: Path) -> bool:
    """Whether more would be read than somebody who only mentions a path can mean.

    Secrets, and a folder in which all of a person's own lies; such a folder can be granted. What
    the system tells of its processes is no file, and never named (``places.Grant.of``).
    """
    home = Path.home().resolve()
    within = path.relative_to(home).parts if path.is_relative_to(home) else ()
    secret = guarded.why_not(path.parts[1:]) or guarded.why_not(within)
    return bool(secret) or home.is_relative_to(path)


def _led(written: str, changed: Sequence[Path]) -> bool:
    """Whether a link on the way of a path lies in a folder that tools may change."""
    at = Path(os.path.normpath(Path(written).expanduser()))
    for place in (at, *at.parents):
        if place.is_symlink():
            real = Path(os.path.realpath(place.parent))
            if any(real.is_relative_to(folder) for folder in changed):
                return True
    return False


def _paths(text: str) -> Iterable[str]:
    """The paths that stand in a text, without what ends the sentence they stand in."""
    for match in _PATH.finditer(text[: limits.QUERY_CHARS * 8]):
        written = match["quoted"] or match["bare"]
        yield written
        if match["bare"]:
            yield written.rstrip(".,;:!?)]}»”’")
