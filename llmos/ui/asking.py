"""A screen that asks the kernel: an answer, or a sentence that says why there is none.

The base of every screen that speaks to the kernel; what is asked is theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from textual.screen import Screen, ScreenResultType

from llmos.errors import LlmosError
from llmos.ui.link import KernelLink
from llmos.ui.text import visible

if TYPE_CHECKING:
    from llmos.client import Client

__all__ = ["AskingScreen"]

T = TypeVar("T")


class AskingScreen(Screen[ScreenResultType]):
    """A screen with a link to the kernel. Ask in workers only: an answer may take long."""

    link: KernelLink

    async def _ask(self, request: Callable[[Client], Awaitable[T]]) -> T | None:
        """What the kernel answers; None and a notification when it refuses or is away."""
        try:
            return await request(self.link.client)
        except LlmosError as error:
            self.notify(visible(str(error)), severity="error", markup=False)
            return None
