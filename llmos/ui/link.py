"""The terminal's connection to the kernel: opened, followed, opened again.

Owns the client and the backoff. A kernel that went away is started again; one that was stopped is
not, until the person does something that needs it. Knows nothing of widgets: the screen passes in
what to do when the connection is there, when an event comes and when the state changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from llmos.errors import KernelStopped, KernelUnreachable
from llmos.events import Event

if TYPE_CHECKING:
    from llmos.client import Client

__all__ = ["ClientFactory", "KernelLink", "LinkState"]

LinkState = Literal["starting", "ready", "lost", "stopped"]
ClientFactory = Callable[[], Awaitable["Client"]]

RETRY_S = 0.5
RETRY_MAX_S = 15.0


class KernelLink:
    """One terminal's way to the kernel.

    Args:
        factory: Finds or starts a kernel and connects to it.
        changed: Called with every new state; with ``lost``, the sentence that says why no kernel
            could be found or started, empty where it only went away.
        retry_s: Seconds before the first new attempt; doubled up to ``RETRY_MAX_S``.
    """

    def __init__(
        self,
        factory: ClientFactory,
        changed: Callable[[LinkState, str], None],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._factory = factory
        self._changed = changed
        self._retry_s = retry_s
        self._client: Client | None = None
        self._again = asyncio.Event()
        self._moved = asyncio.Event()  # set, and replaced, whenever the state changes
        self._subscribed: int | None = None
        self.state: LinkState = "starting"

    @property
    def client(self) -> Client:
        """The client of the kernel that was last there.

        Raises:
            KernelUnreachable: There is none now.
        """
        if self.state == "stopped":
            raise _stopped()
        if self._client is None:
            raise KernelUnreachable("The kernel is not there yet.")
        return self._client

    async def follow(
        self,
        pid: int,
        attached: Callable[[Client], Awaitable[None]],
        handle: Callable[[Event], Awaitable[None]],
    ) -> None:
        """Subscribe to ``pid`` (0: all processes) and hand on its events, for ever.

        ``attached`` runs after each subscription and before its first event, so that what it
        reads from the journal and the events together leave no gap. When the kernel goes away
        it is looked for, and started, again; when somebody stopped it, only after ``retry_now``.
        """
        wait = self._retry_s
        self._subscribed = None
        self._wanted()
        while True:
            try:
                if self._client is None:
                    self._client = await self._factory()
                async with self._client.subscribe(pid, answers=bool(pid)) as events:
                    await attached(self._client)
                    self._subscribed = pid
                    self._set("ready")
                    wait = self._retry_s
                    async for event in events:
                        await handle(event)
                raise KernelUnreachable("The kernel went away.")
            except KernelStopped:
                self._again.clear()
                self._set("stopped")
                await self._drop()
                await self._again.wait()
                continue
            except KernelUnreachable as error:
                self._set("lost", str(error) if self._client is None else "")
                await self._drop()
            self._again.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._again.wait()
            except TimeoutError:
                pass
            wait = min(wait * 2, RETRY_MAX_S)

    async def wait_for(self, pid: int) -> Client:
        """Wait until ``pid`` is subscribed to.

        Raises:
            KernelUnreachable: The kernel went away, or did not start.
        """
        while self._subscribed != pid or self.state != "ready":
            if self.state == "lost":
                raise KernelUnreachable("The kernel is away.")
            if self.state == "stopped":
                raise _stopped()
            await self._moved.wait()
        return self.client

    def leave(self) -> None:
        """Have ``wait_for`` wait for the next subscription, not for the one there is."""
        self._subscribed = None

    def retry_now(self) -> None:
        """Do not wait for the next attempt any longer; start a kernel that was stopped."""
        self._wanted()
        self._again.set()

    def _wanted(self) -> None:
        if self.state == "stopped":
            self._set("starting")

    async def close(self) -> None:
        await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _set(self, state: LinkState, sentence: str = "") -> None:
        self.state = state
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        self._changed(state, sentence)


def _stopped() -> KernelStopped:
    return KernelStopped("The kernel was stopped.", remedy="Enter in the chat starts it again.")
