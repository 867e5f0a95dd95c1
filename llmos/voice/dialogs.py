"""Over a conversation by voice: the choice of devices, and what can be pressed and said."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmos.devices.sound import Device
from llmos.errors import LlmosError
from llmos.visible import visible
from llmos.voice.terminal import Terminal

__all__ = ["DeviceChoice", "Help"]

_HELP: Final = """\
[b]Keys[/b]
space    talk, and press again when you are done (push to talk)
o        listen all the time again
m        mute the microphone
escape   be quiet
r        repeat the answer
s  f     slower, faster
+  -     louder, quieter
d        choose the microphone and the loudspeaker
y  n     answer a question that waits
q        leave

[b]You can also say[/b]
stop · wait · repeat that · slower · faster · louder · quieter

Speak at any time: it stops, and answers what you said. Headphones help it to understand you."""


class Help(ModalScreen[None]):
    """What can be pressed and said."""

    CSS = """
    Help { align: center middle; }
    Help Static { width: 70; max-width: 100%; height: auto; max-height: 100%; padding: 1 2;
        background: $panel; border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss(None)", "Close")
    ]

    def compose(self) -> ComposeResult:
        yield Static(Content.from_markup(_HELP))


class DeviceChoice(ModalScreen[None]):
    """Chooses a device, which is used at once.

    Args:
        terminal: That uses it.
    """

    CSS = """
    DeviceChoice { align: center middle; }
    DeviceChoice Vertical { width: 70; max-width: 100%; height: auto; max-height: 100%;
        padding: 1 2; background: $panel; border: round $primary; }
    DeviceChoice OptionList { height: auto; max-height: 16; background: $panel; border: none; }
    DeviceChoice Static { height: auto; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,d", "dismiss(None)", "Close"),
    ]

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self._options: list[tuple[str, str]] = []  # what it is, and its name

    def compose(self) -> ComposeResult:
        with Vertical():
            yield OptionList()
            yield Static("Looking for devices …", id="told")

    def on_mount(self) -> None:
        self.run_worker(self._look())

    async def _look(self) -> None:
        told = self.query_one("#told", Static)
        try:
            found = await self._terminal.devices()
        except LlmosError as error:
            told.update(Content(visible(str(error))))
            return
        options = self.query_one(OptionList)
        options.clear_options()
        self._options = []
        using = self._terminal.using
        for kind, devices, used in (
            ("microphone", found.microphones, using[0]),
            ("loudspeaker", found.loudspeakers, using[1]),
        ):
            for device in devices:
                self._options.append((kind, device.name))
                options.add_option(Option(Content(_row(kind, device, device.name == used))))
        keep = "To keep a choice, name it in the settings: [voice] microphone, loudspeaker."
        told.update(Content(visible("\n".join((*found.missing, keep)))))
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Use it."""
        self.run_worker(self._use(*self._options[event.option_index]), exclusive=True)

    async def _use(self, kind: str, name: str) -> None:
        told = self.query_one("#told", Static)
        told.update(Content(visible(f"Opening {name} …")))
        try:
            if kind == "microphone":
                await self._terminal.use_microphone(name)
            else:
                await self._terminal.use_loudspeaker(name)
        except LlmosError as error:
            told.update(Content(visible(str(error))))
        else:
            await self._look()


def _row(kind: str, device: Device, used: bool) -> str:
    mark = "●" if used else " "
    note = "  (the system's choice)" if device.default else ""
    return visible(f"{mark} {kind:11}  {device.name}{note}")
