"""Small windows over the chat: a question, a line of text, a choice, the help.

Each returns its answer through ``push_screen_wait``; none acts by itself.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static

from llmos.ui.text import MUTED, one_line, plural, visible

__all__ = ["KEYS", "Choose", "Confirm", "Help", "Prompt"]

#: Every key and what it does, by subject: the help screen, and nothing to keep in step with it.
KEYS: dict[str, list[tuple[str, str]]] = {
    "Write": [
        ("Enter", "send"),
        ("Ctrl+J, Shift+Enter, Alt+Enter", "new line"),
        ("Up, Down", "what you wrote before"),
        ("@name first", "ask an expert; Tab completes the name"),
        ("Esc, Ctrl+C", "stop the reply"),
    ],
    "Chats": [
        ("Ctrl+N", "new chat"),
        ("Ctrl+O, F2", "list of chats"),
        ("Ctrl+T", "fork: the same chat twice"),
        ("F4", "rename this chat"),
    ],
    "Memory": [
        ("Ctrl+R, F3", "what is remembered, this chat's window, folders"),
        ("type there", "find by words or by meaning, in memories, chats and files"),
        ("Ctrl+N there", "write something down"),
        ("Down, then e, p, f, o, x", "edit, pin, forget, go to its chat, export"),
    ],
    "Read": [
        ("PgUp, PgDn, mouse wheel", "scroll"),
        ("Ctrl+Home, Ctrl+End", "first and last message"),
        ("Tab, Shift+Tab", "to a call or what was brought back; Enter opens it"),
    ],
    "Files that calls made": [
        ("Enter", "a picture or a table large; else save it"),
        ("s, o", "save it; open a picture in another program"),
    ],
    "Permissions": [
        ("y, c, a, n", "a question: once, in this chat, always, deny"),
        ("arrows, PgUp, PgDn", "read all of the question"),
        ("F5", "what is allowed: x takes back, n allows a folder"),
        ("F6", "talk: this chat by voice"),
    ],
    "Copy": [
        ("Ctrl+Y", "the last answer"),
        ("Ctrl+G", "a code block"),
        ("drag, then Ctrl+C", "any text"),
    ],
    "Else": [
        ("Ctrl+P", "all commands, themes"),
        ("F1", "this help"),
        ("Ctrl+Q", "leave; chats and running work stay"),
    ],
}


class Confirm(ModalScreen[bool]):
    """A question whose careful answer is preset."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,n", "answer(False)", "No"),
        ("y", "answer(True)", "Yes"),
        ("left,right", "app.focus_next", "Other"),
    ]

    def __init__(self, question: str, *, yes: str, detail: str = "", danger: bool = True) -> None:
        super().__init__()
        self._question, self._yes, self._detail, self._danger = question, yes, detail, danger

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), classes="dialog-title")
            if self._detail:
                yield Static(Content(visible(self._detail)), classes="dialog-detail")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="no", compact=True)
                yield Button(
                    self._yes,
                    id="yes",
                    variant="error" if self._danger else "primary",
                    compact=True,
                )

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Prompt(ModalScreen[str | None]):
    """One line of text; None when cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            yield Input(self._text, compact=True, select_on_focus=True)
            yield Static("Enter keeps it, Esc cancels", classes="dialog-detail")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)


class Choose(ModalScreen[int | None]):
    """One of several texts, such as the code blocks of an answer.

    Args:
        items: A heading and the text of each.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, items: list[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._items = title, items

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            yield OptionList(*(self._row(*item) for item in self._items))
            yield Static("Enter copies, Esc cancels", classes="dialog-detail")

    @staticmethod
    def _row(heading: str, text: str) -> Content:
        lines = text.strip().split("\n")
        told = f"{heading or 'text'} · {plural(len(lines), 'line')}"
        return Content.assemble(one_line(lines[0], 48), "\n", (told, MUTED))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)


class Help(ModalScreen[None]):
    """Every key."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,f1,q,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Keys", classes="dialog-title")
            with VerticalScroll():
                for subject, keys in KEYS.items():
                    yield Static(subject, classes="help-subject")
                    for key, does in keys:
                        with Horizontal(classes="help-row"):
                            yield Static(key, classes="help-key")
                            yield Static(does, classes="help-does")
            yield Static("Esc closes", classes="dialog-detail")
