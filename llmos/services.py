"""What the kernel lends a tool of the world outside: contracts only.

A tool names in its manifest what it uses (``uses = ["web"]``) and finds it in its ``Context``.
Whoever fulfils a contract bounds and logs what is done through it; whether a call may be made at
all was decided before, by the monitor. A jailed tool sees the same contracts from inside its jail.

Every method raises ``sdk.ToolError`` with a sentence for the model where it cannot do its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "SERVICES",
    "Artifact",
    "Clipboard",
    "Entry",
    "Evidence",
    "Folders",
    "Found",
    "Hit",
    "Interpreter",
    "Machine",
    "Page",
    "Ran",
    "Shell",
    "Timer",
    "Timers",
    "Web",
]

#: What a manifest may name in ``uses``; each is an attribute of ``Context``.
SERVICES = ("web", "folders", "interpreter", "shell", "timers", "clipboard", "machine")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a call made, for the person: it is kept beside the conversation.

    Args:
        name: A bare file name.
        media: Media type, such as ``image/png`` or ``text/csv``.
        data: Its bytes.
    """

    name: str
    media: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """A text that an answer may cite.

    Args:
        address: Where it stands: a URL, or a place in a file.
        title: What it is called.
        text: The text itself, whole.
    """

    address: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the web, or a file found there, as text.

    Args:
        address: Where it was in the end, after redirects.
        title: Its title; empty where it has none.
        text: What is meant to be read, as Markdown.
        links: Text and absolute address of each link.
        media: What it turned out to be: ``text/html``, ``application/pdf``, …
        more: How many links it has that are not in ``links``.
    """

    address: str
    title: str
    text: str
    links: tuple[tuple[str, str], ...] = ()
    media: str = "text/html"
    more: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """What a search of the web found."""

    address: str
    title: str
    text: str


class Web(Protocol):
    """The one way to the network."""

    async def read(self, address: str) -> Page:
        """Fetch a page and make it readable."""
        ...

    async def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        """Search the web."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a listing.

    Args:
        path: Absolute, as the tool may give it back.
        folder: Whether it is a folder.
        size: In bytes.
        modified: Seconds since the epoch.
    """

    path: str
    folder: bool
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Found:
    """A line of a file in which something was found."""

    path: str
    line: int
    text: str


class Folders(Protocol):
    """The folders a person granted, and nothing outside them. Paths may start with ``~``.

    What changes something returns a unified diff, or a sentence, of what was changed; it can be
    undone (``llmos undo``). ``seen`` is what ``preview`` returned with the diff a person agreed to:
    where the file is not as it was then, nothing is changed and a ``ToolError`` says so.
    """

    async def roots(self) -> Sequence[str]:
        """The granted folders."""
        ...

    async def list(self, path: str = "", pattern: str = "") -> Sequence[Entry]:
        """What is in a folder; with a pattern, below it."""
        ...

    async def read(self, path: str) -> str:
        """The text of a file; PDF, Word, spreadsheets and HTML as text."""
        ...

    async def content(self, path: str) -> bytes:
        """The bytes of a file, all of them."""
        ...

    async def search(self, text: str, path: str = "") -> Sequence[Found]:
        """Lines that contain a text."""
        ...

    async def preview(self, change: str, **arguments: str) -> tuple[str, str]:
        """What a change of the name of a method below would change, and its ``seen``.

        Args:
            change: ``write``, ``overwrite``, ``append``, ``edit``, ``copy``, ``move``, ``delete``
                or ``undo``.
            arguments: Those of that method.
        """
        ...

    async def write(self, path: str, text: str, seen: str = "") -> str:
        """Write a new file; one that holds anything is left as it is, and an error says so."""
        ...

    async def overwrite(self, path: str, text: str, seen: str = "") -> str:
        """Write a file anew, all of it."""
        ...

    async def append(self, path: str, text: str, seen: str = "") -> str:
        """Write lines at the end of a file; without one, into a new one."""
        ...

    async def edit(self, path: str, old: str, new: str, seen: str = "") -> str:
        """Replace a text that stands once in a file."""
        ...

    async def copy(self, path: str, to: str, seen: str = "") -> str:
        """Copy a file to where nothing is, or into a granted folder."""
        ...

    async def move(self, path: str, to: str, seen: str = "", group: str = "") -> str:
        """Rename a file or folder, or move it to another granted folder.

        Args:
            group: Names what is moved in one go, and taken back in one go.
        """
        ...

    async def delete(self, path: str, seen: str = "") -> str:
        """Take a file away; undo brings it back."""
        ...

    async def undo(self, seen: str = "") -> str:
        """Take back the last change of a file in these folders, or those made in one go."""
        ...


@dataclass(frozen=True, slots=True)
class Ran:
    """How a piece of Python went.

    Args:
        output: What it printed, and the value of its last expression.
        error: A traceback of its own lines; empty where there was none.
        artifacts: Charts it drew and files it left.
    """

    output: str
    error: str = ""
    artifacts: tuple[Artifact, ...] = ()


class Interpreter(Protocol):
    """Python in a jail, one session a process: what one call defines, the next one finds."""

    async def run(self, code: str) -> Ran:
        """Run code; a session that was lost begins anew and says so."""
        ...

    async def put(self, name: str, data: bytes) -> None:
        """Put a file into the session's folder."""
        ...

    async def evaluate(self, code: str) -> Ran:
        """Run a short piece in a subset of Python: at once, without jail, libraries or session."""
        ...


class Shell(Protocol):
    """A command line, jailed to the granted folders."""

    async def run(self, command: str) -> Ran:
        """Run one command with ``sh``."""
        ...


@dataclass(frozen=True, slots=True)
class Timer:
    """Something a process is to be reminded of.

    Args:
        id: Such as ``t3``.
        due: Seconds since the epoch.
        text: What is said then.
        pid: The other conversation that is woken then; 0 where it is the one that asks.
        title: Of that conversation; empty where it has none.
    """

    id: str
    due: float
    text: str
    pid: int = 0
    title: str = ""


class Timers(Protocol):
    """Reminders of the process that calls; they survive a restart.

    The tools of llmos see and cancel the person's other reminders, too; an expert does not.
    """

    async def set(self, due: float, text: str) -> Timer:
        """Be woken at ``due`` (seconds since the epoch)."""
        ...

    async def list(self) -> Sequence[Timer]:
        """Those that are still to come: of this conversation first, and the next one first."""
        ...

    async def cancel(self, id: str) -> Timer:
        """Take one back that ``list`` gives."""
        ...


class Clipboard(Protocol):
    """The desktop's clipboard."""

    async def read(self) -> str:
        """The text on it."""
        ...

    async def write(self, text: str) -> None:
        """Put a text there."""
        ...


class Machine(Protocol):
    """What the machine is doing; figures only."""

    async def status(self) -> dict[str, object]:
        """Processor, memory, disks, battery, uptime, and the busiest programs."""
        ...
