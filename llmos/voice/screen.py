"""The screen of a conversation by voice: captions, who has the word, how loud it is, and the keys.

Everything that is said stands here, too; whoever cannot hear loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from llmos.errors import LlmosError
from llmos.visible import visible
from llmos.voice.dialogs import DeviceChoice, Help
from llmos.voice.duplex import Line, State
from llmos.voice.terminal import Terminal

__all__ = ["Open", "VoiceScreen"]

_STATES: Final = {
    State.ASLEEP: "○ Asleep",
    State.LISTENING: "● Listening",
    State.HEARING: "● I hear you",
    State.THINKING: "… Thinking",
    State.SPEAKING: "▶ Speaking",
    State.RESTING: "‖ Yes?",
}
_NAMES: Final = {"person": "You", "llmos": "llmos", "note": "·"}
_METER: Final = 24  # cells
_QUIETEST_DB: Final = -60.0
_REDRAWN_S: Final = 0.1

#: Opens the devices and the kernel; called once the screen is there.
Open = Callable[[Callable[[Line], None]], Awaitable[Terminal]]


class VoiceScreen(Screen[LlmosError | None]):
    """A conversation by voice. Ends with why it could not go on, or None.

    Args:
        opened: See ``Open``.
    """

    CSS = """
    VoiceScreen #captions { height: 1fr; padding: 1 2; }
    VoiceScreen .caption { margin-bottom: 1; }
    VoiceScreen .person { color: $text-accent; }
    VoiceScreen .note { color: $text-muted; }
    VoiceScreen #question { height: auto; padding: 0 2; color: $text-warning; }
    VoiceScreen #state { height: 1; padding: 0 2; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "talk", "Talk"),
        Binding("o", "open_microphone", "Listen"),
        Binding("m", "mute", "Mute"),
        Binding("escape", "do('stop')", "Stop"),
        Binding("r", "do('repeat')", "Repeat"),
        Binding("s", "do('slower')", "Slower"),
        Binding("f", "do('faster')", "Faster", show=False),
        Binding("plus,equals_sign", "do('louder')", "Louder", show=False),
        Binding("minus", "do('quieter')", "Quieter", show=False),
        Binding("d", "devices", "Devices"),
        Binding("y", "answer('once')", "Yes", show=False),
        Binding("n", "answer('no')", "No", show=False),
        Binding("question_mark,f1", "help", "Help"),
        Binding("q,f6", "leave", "Leave"),
    ]

    def __init__(self, opened: Open) -> None:
        super().__init__()
        self._opened = opened
        self._terminal: Terminal | None = None
        self._lines: dict[str, Static] = {}

    @property
    def pid(self) -> int:
        """The process that was talked with; 0 where nothing was said."""
        return self._terminal.pid if self._terminal is not None else 0

    def compose(self) -> ComposeResult:
        yield VerticalScroll(id="captions")
        yield Static("", id="question")
        yield Static("Opening the microphone …", id="state")
        yield Footer()

    def on_mount(self) -> None:
        self.run_worker(self._talk(), name="talk")
        self.set_interval(_REDRAWN_S, self._redraw)

    async def _talk(self) -> None:
        try:
            self._terminal = await self._opened(self.show)
            await self._terminal.run()
        except LlmosError as error:
            self.dismiss(error)
        except ExceptionGroup as group:
            known = next((e for e in group.exceptions if isinstance(e, LlmosError)), None)
            if known is None:
                raise
            self.dismiss(known)

    def show(self, line: Line) -> None:
        """Show a caption; one of the same id takes its place."""
        settled = visible(line.text[: line.settled])
        guess = visible(line.text[line.settled :])
        content = Content.assemble(
            (f"{_NAMES[line.who]}  ", "bold"), settled, (guess, "dim italic")
        )
        captions = self.query_one("#captions", VerticalScroll)
        widget = self._lines.get(line.id) if line.id else None
        if widget is not None:
            widget.update(content)
        else:
            widget = Static(content, classes=f"caption {line.who}")
            if line.id:
                self._lines[line.id] = widget
            captions.mount(widget)
        captions.scroll_end(animate=False)

    def _redraw(self) -> None:
        terminal = self._terminal
        if terminal is None:
            return
        duplex = terminal.duplex
        state = "○ Muted" if duplex.muted else _STATES[duplex.state]
        if duplex.state is State.ASLEEP:
            state += f': say "{duplex.wake_word}"'
        if not terminal.ready.is_set():
            state = "… Waiting for the kernel"
        share = (duplex.level - _QUIETEST_DB) / -_QUIETEST_DB
        cells = round(_METER * min(max(share, 0.0), 1.0))
        mode = "space talks" if duplex.push_to_talk else "open microphone"
        meter = "▮" * cells + "▯" * (_METER - cells)
        speed = f"  speed {duplex.speed:g}" if duplex.speed != 1.0 else ""
        volume = f"  volume {duplex.gain:.0%}" if duplex.gain != 1.0 else ""
        self.query_one("#state", Static).update(Content(f"{state}  {meter}  {mode}{speed}{volume}"))
        self.query_one("#question", Static).update(Content(self._question()))

    def _question(self) -> str:
        """The question that waits, with its literal arguments."""
        question = self._terminal.duplex.question if self._terminal is not None else None
        if question is None:
            return ""
        lines = [visible(str(question.get("title", "")))]
        lines += [
            visible(f"  {one.get('name')}: {one.get('value')}  ({one.get('source')})")
            for one in question.get("arguments", ())
        ]
        return "\n".join([*lines, "Say yes or no, or press y or n."])

    # --- keys -------------------------------------------------------------------------------

    def action_talk(self) -> None:
        """Begin to speak, or say that one is done."""
        if self._terminal is not None:
            duplex = self._terminal.duplex
            duplex.push_to_talk = True
            duplex.press(not duplex.held)

    def action_open_microphone(self) -> None:
        """Listen all the time again."""
        if self._terminal is not None:
            self._terminal.duplex.press(False)
            self._terminal.duplex.push_to_talk = False

    def action_mute(self) -> None:
        """Hear nothing, or hear again."""
        if self._terminal is not None:
            self._terminal.duplex.muted = not self._terminal.duplex.muted

    def action_do(self, what: str) -> None:
        """``stop``, ``repeat``, or speak otherwise: as the conversation has it."""
        if self._terminal is not None:
            getattr(self._terminal.duplex, what)()

    def action_answer(self, answer: str) -> None:
        """Answer the question that waits."""
        if self._terminal is not None:
            self._terminal.duplex.answer(answer)

    def action_devices(self) -> None:
        """Choose another microphone or loudspeaker."""
        if self._terminal is not None:
            self.app.push_screen(DeviceChoice(self._terminal))

    def action_help(self) -> None:
        """What can be pressed and said."""
        self.app.push_screen(Help())

    def action_leave(self) -> None:
        """End it."""
        self.dismiss(None)
