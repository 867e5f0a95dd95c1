"""A call that waits for a person's yes: what it would do, with what, and where that comes from.

Everything shown is the kernel's wording or a literal value; values are made harmless for a
terminal and marked by a rule at their left, so that no value looks like a sentence of llmos. They
are shown whole, but white space that would hide what follows is counted instead. It opens by
itself, so it takes no key until none came for a moment: what was being typed is no answer.
"""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from llmos.events import CallAsked
from llmos.ui.text import MUTED, plural
from llmos.visible import legible

__all__ = ["Permit"]

GUARD_S = 1.0  # without a key until one is an answer
BODY_ROWS = 3  # of what is asked that are always in view
_CHANGED = {"+": "-added", "-": "-removed", "@": "-place"}


class _Body(VerticalScroll, can_focus=False):
    """What is asked, which may be long; the keys that scroll it are the dialog's."""

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._tell()

    def on_resize(self) -> None:
        self.call_after_refresh(self._tell)

    def _tell(self) -> None:
        if isinstance(self.screen, Permit):
            self.screen.tell_below()


class Permit(ModalScreen[str]):
    """The question; returns ``once``, ``conversation``, ``always`` or ``no``.

    Dismissed with an empty text when it was answered elsewhere.

    Args:
        asked: As the kernel asked it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('once')", "Allow once"),
        Binding("c", "answer('conversation')", "Allow in this chat"),
        Binding("a", "answer('always')", "Always allow"),
        Binding("n,escape", "answer('no')", "Deny"),
        Binding("left", "app.focus_previous", "Before"),
        Binding("right", "app.focus_next", "Next"),
        Binding("up", "scroll(-1)", "Up"),
        Binding("down", "scroll(1)", "Down"),
        Binding("pageup", "scroll(-10)", "Far up"),
        Binding("pagedown", "scroll(10)", "Far down"),
    ]

    def __init__(self, asked: CallAsked) -> None:
        super().__init__()
        self.asked = asked
        self._since = monotonic()  # when it opened, or the last key that was no answer

    def compose(self) -> ComposeResult:
        asked = self.asked
        with Vertical(classes="dialog permit"):
            yield Static(Content(legible(asked.title, line=True)), classes="dialog-title")
            with _Body():
                for reason in asked.reasons:
                    yield Static(Content(legible(reason, line=True)), classes="permit-reason")
                for name, value, source in asked.arguments:
                    about = Content.assemble(
                        (legible(name, line=True), "bold"),
                        "  ",
                        (legible(source, line=True), MUTED),
                    )
                    yield Static(about, classes="permit-name")
                    yield Static(_literal(value), classes="permit-value")
                if asked.preview:
                    yield Static("What would change", classes="permit-name -heading")
                    with Vertical(classes="permit-preview"):
                        yield from _preview(asked.preview)
            yield Static("", classes="permit-below")
            if asked.always:
                always = legible(asked.always, line=True)
                told = Content.assemble(("Always", "bold"), f" would mean: {always}")
                with VerticalScroll(classes="permit-always", can_focus=False):
                    yield Static(told)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Deny (n)", id="no", compact=True)
                yield Button("Allow once (y)", id="once", compact=True)
                if asked.always:
                    yield Button("In this chat (c)", id="conversation", compact=True)
                    yield Button("Always (a)", id="always", compact=True)

    def on_mount(self) -> None:
        self._since = monotonic()
        self.query_one("#no", Button).focus()
        self._arm()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        """As high as what is asked, and no higher than the screen: the answers stay in view."""
        dialog, body = self.query_one(".permit"), self.query_one(_Body)
        fixed = dialog.gutter.height
        for part in dialog.children:
            if part is not body and part.display:
                fixed += part.outer_size.height + part.styles.margin.height
        room = max(min(body.virtual_size.height, self.size.height - fixed), BODY_ROWS)
        body.styles.height = room
        dialog.styles.height = fixed + room
        self.call_after_refresh(self.tell_below)

    def tell_below(self) -> None:
        """Say how much of what is asked is out of view."""
        body, line = self.query_one(_Body), self.query_one(".permit-below", Static)
        left = round(body.max_scroll_y - body.scroll_y)
        told = f"↓ {plural(left, 'more line')} below · arrows scroll" if left > 0 else ""
        line.update(Content(told))

    @property
    def _guarded(self) -> bool:
        return monotonic() - self._since < GUARD_S

    def _arm(self) -> None:
        """Show from when on a key is an answer."""
        self.set_class(not self._guarded, "-armed")
        if self._guarded:
            self.set_timer(GUARD_S / 4, self._arm)

    def on_key(self, event: events.Key) -> None:
        """A key comes here before it means anything."""
        if self._guarded:
            self._since = monotonic()
            event.stop()
            event.prevent_default()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_answer(event.button.id or "no")

    def action_answer(self, answer: str) -> None:
        if self._guarded:
            return
        if answer in ("conversation", "always") and not self.asked.always:
            return
        self.dismiss(answer)

    def action_scroll(self, lines: int) -> None:
        self.query_one(_Body).scroll_relative(y=lines, animate=False)


def _literal(value: str) -> Content:
    """A value as it is; one of nothing is said to be that."""
    return Content(legible(value)) if value else Content.styled("(empty)", MUTED)


def _preview(preview: str) -> list[Static]:
    """What would change: lines of one kind together, a diff in its colours."""
    lines = legible(preview).splitlines()
    is_diff = any(line.startswith("@@") for line in lines)
    parts: list[tuple[str, list[str]]] = []
    for line in lines:
        named = line.startswith(("--- ", "+++ ")) and not any(kind for kind, _ in parts)
        kind = _CHANGED.get(line[:1], "") if is_diff and not named else ""
        if not parts or parts[-1][0] != kind:
            parts.append((kind, []))
        parts[-1][1].append(line)
    return [
        Static(Content("\n".join(some)), classes=f"permit-lines {kind}") for kind, some in parts
    ]
