"""A system call in the conversation: what was called, with what, and what came back.

Shows what it is given and decides nothing. Long arguments and results are folded; Enter or a
click unfolds them.
"""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import Static

from llmos.events import ToolCall
from llmos.ui.text import MUTED, arguments, bar, duration, plural, value, visible

__all__ = ["SPINNER", "SPINNER_S", "CallCard"]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SPINNER_S = 0.125
FOLDED_LINES = 4
FOLDED_CHARS = 400
UNFOLDED_LINES = 400  # more of a result is not drawn; copying gives it whole
_ERRORS = {
    "unknown_call": "no such call",
    "invalid_arguments": "wrong arguments",
    "denied": "denied",
    "call_failed": "failed",
    "code_raised": "the code failed",
    "call_timeout": "took too long",
    "interrupted": "interrupted",
}


class CallCard(Vertical, can_focus=True):
    """One call, running or ended.

    Args:
        call: What the model asked for.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter,space", "fold", "Show more or less"),
        ("c,y", "copy_result", "Copy the result"),
    ]
    folded: reactive[bool] = reactive(True, init=False)

    def __init__(self, call: ToolCall) -> None:
        super().__init__()
        self.call = call
        self.result = ""
        self.error = ""
        self.seconds = 0.0
        self.running = True
        self._since = time.monotonic()
        self._timer: Timer | None = None
        self._progress = ""
        self._head = Static("", classes="call-head")
        self._state = Static("", classes="call-state")
        self._body = Static("", classes="call-body")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._head
            yield self._state
        yield self._body

    def on_mount(self) -> None:
        if self.running:
            self._timer = self.set_interval(SPINNER_S, self._draw_head)
        self._draw()

    def finish(self, result: str, *, seconds: float = 0.0, error: str = "") -> None:
        """The call ended. ``error`` is its stable code, empty when it succeeded."""
        self.result, self.seconds, self.error = result, seconds, error
        self.running = False
        if self._timer is not None:
            self._timer.stop()
        if self.is_attached:
            self._draw()

    def tell(self, text: str, done: float | None) -> None:
        """How far it is: a few words, and the part that is done, 0 to 1, or None."""
        share = "" if done is None else f"{bar(done)} {done:.0%} "
        self._progress = f"{share}{visible(text)}"
        if self.is_attached and self.running:
            self._draw_head()

    def action_fold(self) -> None:
        self.folded = not self.folded

    def action_copy_result(self) -> None:
        self.app.copy_to_clipboard(visible(self.result))
        self.notify("Copied the result of the call.", timeout=2)

    def on_click(self, event: events.Click) -> None:
        if self.screen.get_selected_text() is None:
            self.action_fold()

    def watch_folded(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.set_class(self.running, "-running")
        self.set_class(bool(self.error), "-error")
        self._draw_head()
        lines = [] if self.folded else self._argument_lines()
        lines += self._result_lines()
        self._body.update(Content("\n").join(lines))
        self._body.display = bool(lines)

    def _draw_head(self) -> None:
        elapsed = time.monotonic() - self._since
        if self.running:
            mark = (SPINNER[int(elapsed / SPINNER_S) % len(SPINNER)], "$accent")
            state = duration(elapsed) if elapsed >= 1 else ""
            state = f"{self._progress}  {state}".strip()
        elif self.error:
            mark = ("✗", "$error")
            state = _ERRORS.get(self.error, visible(self.error))
        else:
            mark = ("✓", "$success")
            state = duration(self.seconds) if self.seconds else ""
        told = arguments(self.call.arguments) if self.folded else ""
        name = visible(self.call.name)
        self._head.update(Content.assemble(mark, " ", (name, "bold"), "  ", (told, MUTED)))
        self._state.update(Content(state))

    def _argument_lines(self) -> list[Content]:
        """Each argument on a line of its own; texts as they are, not as JSON."""
        lines = []
        for key, argument in self.call.arguments.items():
            told = visible(argument) if isinstance(argument, str) else value(argument)
            lines.append(Content.assemble((f"{visible(str(key))}: ", MUTED), told))
        return lines

    def _result_lines(self) -> list[Content]:
        if not self.result.strip():
            return []
        style = "$error" if self.error else "$foreground 80%"
        text = visible(self.result).expandtabs(4).strip("\n").split("\n")
        shown = text[: FOLDED_LINES if self.folded else UNFOLDED_LINES]
        hidden = len(text) - len(shown)
        told = plural(hidden, "more line") if hidden else ""
        joined = "\n".join(shown)
        if self.folded and len(joined) > FOLDED_CHARS:
            told = plural(len(self.result) - FOLDED_CHARS, "more character")
            joined = joined[:FOLDED_CHARS] + "…"
        lines = [Content.styled(joined, style)]
        if told:
            lines.append(Content.styled(told + (" · Enter" if self.folded else ""), MUTED))
        return lines
