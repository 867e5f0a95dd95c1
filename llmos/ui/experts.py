"""Experts in the chat: which there are, and ``@name`` completed while it is typed.

Knows names and summaries that the kernel tells; who a message is for is the kernel's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content
from textual.widgets import Static

from llmos.errors import LlmosError
from llmos.ui.text import MUTED, one_line

__all__ = ["Completion", "addressed", "starters"]

SHOWN = 6
_BEGUN = re.compile(r"\s*@([A-Za-z0-9-]*)")
_ADDRESS = re.compile(r"\s*@([A-Za-z][A-Za-z0-9-]*)(?=[\s,:;.!?]|$)")


def addressed(text: str, experts: Sequence[Mapping[str, Any]]) -> str:
    """The expert that a message begins with, as ``@name``; empty where it is none."""
    found = _ADDRESS.match(text)
    name = found[1].lower() if found else ""
    return name if any(expert["name"] == name for expert in experts) else ""


def starters(experts: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """A question to begin with for each of the first experts that have one."""
    offered = [expert for expert in experts if not expert["broken"] and expert["starters"]]
    return [f"@{expert['name']} {expert['starters'][0]}" for expert in offered[:most]]


class Completion(Static):
    """The experts whose names begin as what is being typed; hidden where there are none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.experts: list[Mapping[str, Any]] = []
        self._matches: list[Mapping[str, Any]] = []
        self._at = 0

    def on_mount(self) -> None:
        self.display = False

    @property
    def is_open(self) -> bool:
        return bool(self.display)

    async def learn(self, client: Any) -> None:
        """Ask the kernel which experts there are; without an answer nothing is offered."""
        try:
            self.experts = [each for each in await client.experts() if not each["broken"]]
        except LlmosError:
            self.experts = []

    def type(self, text: str) -> None:
        """Offer what fits to ``text``, all that is typed so far."""
        begun = _BEGUN.fullmatch(text)
        names = begun[1].lower() if begun else ""
        fits = [each for each in self.experts if begun and each["name"].startswith(names)]
        self._matches = fits[:SHOWN]
        self._at = 0
        self.display = bool(self._matches)
        self._draw()

    def offers(self, text: str) -> bool:
        """Whether names are shown that fit to ``text``: text may have grown since."""
        return self.is_open and _BEGUN.fullmatch(text) is not None

    def close(self) -> None:
        self.display = False

    def move(self, by: int) -> None:
        """Go to the next name, or the one before."""
        self._at = (self._at + by) % max(len(self._matches), 1)
        self._draw()

    @property
    def chosen(self) -> str:
        """What the message begins with when the chosen name is taken."""
        return f"@{self._matches[self._at]['name']} " if self._matches else ""

    def _draw(self) -> None:
        width = max(self.size.width or 60, 30)
        lines = []
        for n, each in enumerate(self._matches):
            name = f"@{each['name']}"
            about = one_line(each["summary"], max(width - len(name) - 6, 8))
            style = "bold $primary" if n == self._at else "$foreground"
            lines.append(Content.assemble((name, style), "  ", (about, MUTED)))
        lines.append(Content.styled("Tab takes it, Esc closes", MUTED))
        self.update(Content("\n").join(lines))
