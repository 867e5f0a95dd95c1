"""The application of ``llmos voice``: the voice screen alone."""

from __future__ import annotations

from textual.app import App

from llmos.errors import LlmosError
from llmos.voice.screen import Open, VoiceScreen

__all__ = ["VoiceApp"]


class VoiceApp(App[None]):
    """See ``VoiceScreen``.

    Args:
        opened: See ``Open``.
    """

    TITLE = "llmos"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, opened: Open) -> None:
        super().__init__()
        self._opened = opened
        self.failed: LlmosError | None = None  #: why it could not go on

    def on_mount(self) -> None:
        self.push_screen(VoiceScreen(self._opened), self._left)

    def _left(self, failed: LlmosError | None) -> None:
        self.failed = failed
        self.exit()
