"""The terminal application: themes, commands, clipboard, one chat screen.

Paints before it looks for a kernel, and imports the client (and with it an HTTP library) only
then. Everything about the conversation is in ``chat.ChatScreen``.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.screen import Screen
from textual.theme import Theme

from llmos.ui import clipboard
from llmos.ui.chat import ChatScreen
from llmos.ui.link import ClientFactory
from llmos.ui.memory_actions import MemoryActions
from llmos.ui.memory_dialogs import Writing

if TYPE_CHECKING:
    from llmos.client import Client

__all__ = ["LlmosApp"]

QUIT_TWICE_S = 2.0


def _scrollbars(bar: str, moved: str, ground: str) -> dict[str, str]:
    """Theme variables for scrollbars that are hardly there."""
    grounds = ("scrollbar-background", "scrollbar-background-hover", "scrollbar-background-active")
    return {
        "scrollbar": bar,
        "scrollbar-hover": moved,
        "scrollbar-active": moved,
        "scrollbar-corner-color": ground,
        **dict.fromkeys(grounds, ground),
    }


DARK = Theme(
    name="llmos",
    dark=True,
    primary="#7fa6c9",
    secondary="#93a1b3",
    accent="#d3a86a",
    success="#8db88a",
    warning="#d8b25f",
    error="#d9807a",
    foreground="#d9dde3",
    background="#15171b",
    surface="#1c1f25",
    panel="#272b33",
    variables=_scrollbars("#272b33", "#93a1b3", "#15171b"),
)
LIGHT = Theme(
    name="llmos-light",
    dark=False,
    primary="#2f6690",
    secondary="#5d6b7a",
    accent="#96560f",
    success="#3d7a4a",
    warning="#8f6500",
    error="#b0413d",
    foreground="#2a2d32",
    background="#fbfaf7",
    surface="#f2f0ea",
    panel="#e6e2d9",
    variables=_scrollbars("#d6d1c5", "#5d6b7a", "#fbfaf7"),
)


async def _connect() -> Client:
    from llmos.client import Client

    return await Client.connect()


_TERMINAL_S = 2.0  # between two looks at whether the terminal is still there


class LlmosApp(App[None]):
    """The chat in the terminal.

    Args:
        client_factory: Finds or starts a kernel; by default the one of the person's own state
            directory.
        pid: The process to open; None starts afresh.
        resume: Open the process that was used last.
    """

    CSS_PATH = "styles.tcss"
    TITLE = "llmos"
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # type: ignore[misc]
        (0, "-narrow"),
        (64, "-wide"),
    ]

    def __init__(
        self,
        client_factory: ClientFactory | None = None,
        pid: int | None = None,
        *,
        resume: bool = False,
    ) -> None:
        super().__init__()
        self._factory = client_factory or _connect
        self._pid = pid or 0
        self._resume = resume and not pid
        self._quit_asked = float("-inf")

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        if "TEXTUAL_THEME" not in os.environ:
            self.theme = "llmos-light" if _light_terminal() else "llmos"
        if not self.is_headless and sys.__stdin__ is not None and sys.__stdin__.isatty():
            # In a thread: what paints may be waiting, for ever, for a terminal that took no more.
            threading.Thread(target=_end_with_terminal, name="terminal", daemon=True).start()

    def get_default_screen(self) -> Screen[None]:
        return ChatScreen(self._factory, self._pid, resume=self._resume)

    @property
    def chat(self) -> ChatScreen:
        """The chat screen, also while something lies over it."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from (screen if isinstance(screen, MemoryActions) else self.chat).commands()
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Quit", "Screenshot"):
                yield command

    def copy_to_clipboard(self, text: str) -> None:
        super().copy_to_clipboard(text)
        if not self.is_headless:
            self.run_worker(lambda: clipboard.copy(text), thread=True, exit_on_error=False)

    async def action_quit(self) -> None:
        screen = self.screen
        if isinstance(screen, Writing) and screen.unsaved:
            screen.action_close()  # it asks first
        else:
            await super().action_quit()

    def action_help_quit(self) -> None:
        now = time.monotonic()
        if now - self._quit_asked < QUIT_TWICE_S:
            self.exit()
            return
        self._quit_asked = now
        self.notify("Ctrl+C again leaves. Your chats stay.", timeout=QUIT_TWICE_S)


def _end_with_terminal() -> None:
    """End with the terminal: it goes without a signal where another program leads it."""
    while True:
        time.sleep(_TERMINAL_S)
        try:
            termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr]
        except (termios.error, OSError, ValueError):
            signal.raise_signal(signal.SIGHUP)  # nothing can be painted any more, nor restored
            os._exit(128 + signal.SIGHUP)  # where that one is ignored


def _light_terminal() -> bool:
    """Whether the terminal says its background is light (``COLORFGBG``, where it sets it)."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return background in {"7", "15"}
