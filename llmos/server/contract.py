"""What the server needs of a kernel, method by method the same as ``llmos.client.Client``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from llmos.engine.backend import Backend
from llmos.events import (
    ArtifactsMade,
    Cited,
    Event,
    ProcessInfo,
    Recalled,
    StoredMessage,
    WindowChanged,
)
from llmos.kernel.artifacts import Artifacts
from llmos.kernel.dreaming import DreamState
from llmos.kernel.permissions import Permissions
from llmos.kernel.tracer import Tracer
from llmos.memory.derived import Made
from llmos.memory.embed import ModelEmbedder
from llmos.memory.facts import Block, Fact
from llmos.memory.files.mounts import Mount, Progress
from llmos.memory.pages import Page
from llmos.memory.passages import Hit, Passage
from llmos.memory.records import Record
from llmos.services import Timer

__all__ = ["ServedKeeper", "ServedKernel"]


class ServedKeeper(Protocol):
    """What a person does with a kernel's memory, used from its own asyncio loop only.

    A kernel without a memory raises ``KernelError``.
    """

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[Hit]:
        """Passages by meaning and by words, best first; of one conversation, or (0) of all."""
        ...

    async def pages(self, written: str) -> Sequence[Page]:
        """The page of that id, or all pages of the record.

        Raises:
            NotStored: There is none.
        """
        ...

    async def passage(self, id: str) -> Passage:
        """A passage as it is indexed.

        Raises:
            NotStored: There is none of that name.
        """
        ...

    async def page_table(self, pid: int) -> list[tuple[Page, bool]]:
        """Every page of a conversation, and whether it is in view."""
        ...

    async def pinned(self, pid: int) -> set[str]:
        """Ids of the pages that stay in view of a process when room is made."""
        ...

    async def pin_page(self, pid: int, page: str, pinned: bool = True) -> None:
        """Have a page stay in view, or no longer.

        Raises:
            NotStored: Nothing that was said in the process is called so.
            KernelError: It is answering; or pinned pages would fill too much of the window.
        """
        ...

    async def front(self, pid: int) -> str:
        """What the model is told before all that was said."""
        ...

    async def facts(self) -> list[Fact]:
        """What is remembered, newest first."""
        ...

    async def remember(self, text: str, *, block: Block = "fact") -> Fact: ...

    async def change_fact(
        self, id: str, *, text: str | None = None, pinned: bool | None = None
    ) -> Fact:
        """Give a fact another text, or pin or unpin it.

        Raises:
            NotStored: There is none.
        """
        ...

    async def would_forget(self, written: str) -> Sequence[Record]:
        """The records that ``forget`` would empty, in the journal's order.

        Raises:
            NotStored: There is nothing of that name.
        """
        ...

    def set_aside(self) -> list[Path]:
        """Journals that a repair put aside: what is forgotten may still stand in them."""
        ...

    async def forget(self, written: str) -> int:
        """Remove a fact or a page for good; returns how many records were erased.

        Raises:
            NotStored: There is nothing of that name.
            KernelError: A turn is under way.
        """
        ...

    def mounts(self) -> list[tuple[Mount, Progress | None]]:
        """Mounted folders, and how far those are that are being read."""
        ...

    async def mount(self, folder: str) -> Mount: ...

    async def umount(self, which: int | str) -> int: ...

    async def dream(self) -> None:
        """Consolidate memory now; returns at once."""
        ...

    async def wake(self) -> None:
        """Stop dreaming, and return when it has stopped."""
        ...

    def dreaming(self) -> tuple[DreamState, bool, str]:
        """How far the dream is, whether it goes on, and why it ended early."""
        ...

    async def derived(self) -> list[Made]:
        """What dreams have made, newest first."""
        ...

    async def links(self) -> dict[str, list[str]]:
        """For each page those of other conversations that are about the same."""
        ...

    async def undo(self, written: str) -> int:
        """Undo something that a dream made.

        Raises:
            NotStored: There is nothing of that name.
            KernelError: A turn is under way.
        """
        ...


class ServedKernel(Protocol):
    """A kernel, used from its own asyncio loop only.

    Every method with a ``pid`` raises ``NoSuchProcess`` where there is none, and ``KernelError``
    where the process's state does not allow what is asked.
    """

    @property
    def backend(self) -> Backend: ...

    @property
    def embedder(self) -> ModelEmbedder | None:
        """What embeds texts for clients; None where the settings want none."""
        ...

    @property
    def keeper(self) -> ServedKeeper: ...

    async def experts(self) -> Sequence[dict[str, Any]]:
        """The experts there are: name, summary, version, starters, and why one is broken."""
        ...

    async def prepare(self, expert: str) -> None:
        """Have the front of an expert's conversations computed.

        Raises:
            ExpertError: There is no such expert, or it is broken.
        """
        ...

    @property
    def permissions(self) -> Permissions: ...

    @property
    def artifacts(self) -> Artifacts: ...

    @property
    def tracer(self) -> Tracer:
        """What was called, and conversations run again."""
        ...

    def status(self) -> dict[str, Any]: ...

    def stats(self) -> dict[str, Any]: ...

    def processes(self, ended: bool = False) -> list[ProcessInfo]: ...

    def process(self, pid: int) -> ProcessInfo: ...

    async def create(
        self,
        *,
        title: str = "",
        system: str = "",
        priority: str = "interactive",
        parent: int = 0,
        budget: Mapping[str, float] | None = None,
        expert: str = "",
    ) -> ProcessInfo: ...

    async def rename(self, pid: int, title: str) -> ProcessInfo: ...

    async def fork(self, pid: int) -> ProcessInfo: ...

    async def signal(self, pid: int, signal: str) -> ProcessInfo: ...

    async def heard(self, pid: int, turn: int, text: str) -> ProcessInfo:
        """Of the last turn's reply only the beginning ``text`` was heard.

        Raises:
            KernelError: It is no beginning of the reply; or the turn is not the last one.
        """
        ...

    async def kill(self, pid: int) -> ProcessInfo: ...

    async def wait(self, pid: int, seconds: float | None = None) -> ProcessInfo:
        """Return when the process is ready or ended, or after ``seconds``."""
        ...

    async def send(self, pid: int, text: str, *, given: str = "") -> str:
        """Journal a message, and a text that was piped in with it; return its id."""
        ...

    async def messages(self, pid: int, after: int = 0) -> list[StoredMessage]: ...

    async def history(
        self, pid: int, after: int = 0
    ) -> list[StoredMessage | Recalled | WindowChanged | ArtifactsMade | Cited]:
        """As ``messages``, with what was brought back and what left the window between them."""
        ...

    def subscribe(
        self, pid: int = 0, *, answers: bool = False
    ) -> AbstractContextManager[AsyncIterator[Event]]:
        """Events of one process or (0) of all, from the moment this is entered.

        The iterator raises a ``KernelError`` when its reader was too slow and lost events.

        Args:
            answers: Whether a person is there who can answer questions about calls.
        """
        ...

    def reminders(self) -> Sequence[Timer]:
        """Reminders of all processes that are still to come, the next one first."""
        ...

    async def cancel_reminder(self, id: str) -> Timer:
        """Take a reminder back.

        Raises:
            NoSuchReminder: There is none of that id.
        """
        ...

    async def import_messages(
        self, said: Sequence[tuple[str, str, float]], *, title: str = "", mine: bool = False
    ) -> ProcessInfo:
        """A conversation that happened elsewhere, as a new process."""
        ...

    def touch(self) -> None:
        """Somebody does something."""
        ...

    async def draft(self, pid: int, text: str) -> None:
        """Have what is being typed computed ahead."""
        ...

    async def shutdown(self) -> None: ...
