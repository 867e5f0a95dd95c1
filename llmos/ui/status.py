"""The status line: model, window gauge, speed, connection.

Numbers are the kernel's own: the gauge shows the exact count after the last turn, the live speed
counts decoded tokens. On a narrow terminal the parts that matter least are left out first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llmos.events import Usage
from llmos.ui.link import LinkState
from llmos.ui.text import MUTED, count, duration, one_line

__all__ = ["RateMeter", "StatusLine", "usage_line"]

GAUGE_CELLS = 10
RATE_WINDOW_S = 3.0
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class RateMeter:
    """Tokens per second over the last few seconds.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0  # of all entries but the first

    def add(self, tokens: int) -> None:
        now = self._clock()
        if self._seen:
            self._total += tokens
        self._seen.append((now, tokens))
        while now - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
            self._total -= self._seen[0][1]

    @property
    def rate(self) -> float:
        """Tokens per second; 0 while it is too early to say.

        The first entry only marks the start: when its tokens were decoded is unknown.
        """
        if len(self._seen) < 2:
            return 0.0
        span = self._seen[-1][0] - self._seen[0][0]
        return self._total / span if span > 0 else 0.0

    def clear(self) -> None:
        self._seen.clear()
        self._total = 0


def usage_line(usage: Usage) -> str:
    """What a turn took, in one line."""
    parts = [f"{count(usage.completion_tokens)} tokens"]
    if usage.decode_s > 0 and usage.completion_tokens > 1:
        parts.append(f"{(usage.completion_tokens - 1) / usage.decode_s:.0f} tokens/s")
    if usage.prefill_s > 0:
        parts.append(f"first after {duration(usage.queue_s + usage.prefill_s)}")
    if usage.prompt_tokens:
        parts.append(f"{count(usage.cached_tokens)} of {count(usage.prompt_tokens)} cached")
    return " · ".join(parts)


def gauge(part: float, cells: int = GAUGE_CELLS) -> str:
    """A bar of ``cells`` cells filled to ``part`` (0 to 1), in eighths of a cell."""
    eighths = round(min(max(part, 0.0), 1.0) * cells * 8)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (_EIGHTHS[rest] if rest else "")
    return bar.ljust(cells)


class StatusLine(Widget):
    """One line at the bottom of the screen."""

    model: reactive[str] = reactive("")
    context_tokens: reactive[int] = reactive(0)
    window_tokens: reactive[int] = reactive(0)
    rate: reactive[float] = reactive(0.0)
    running: reactive[bool] = reactive(False)
    link: reactive[LinkState] = reactive("starting")
    hint: reactive[str] = reactive("")

    def render(self) -> Content:
        width = self.content_size.width or self.size.width
        connection = {
            "starting": ("○ starting", "$text-warning"),
            "ready": ("●", "$text-success"),
            "lost": ("○ no kernel", "$text-error"),
            "stopped": ("○ stopped", "$text-warning"),
        }[self.link]
        right = Content.styled(*connection)
        parts: list[tuple[int, Content]] = []  # how much each matters, in the order of the line
        if self.model:
            parts.append((3, Content.styled(one_line(self.model, 28), "$text")))
        if self.window_tokens:
            parts.extend(self._window())
        if self.rate > 0:
            parts.append((2, Content.styled(f"{self.rate:.0f} tokens/s", "$text-accent")))
        if self.running:
            parts.append((4, Content.styled("Esc stops", MUTED)))
        elif self.link == "ready":
            parts.append((0, Content.styled("F1 help", MUTED)))
        gap = Content.styled("  ", "")
        while parts:
            left = gap.join([part for _, part in parts])
            room = width - left.cell_length - right.cell_length
            if room >= 1:
                return Content.assemble(left, " " * room, right)
            parts.remove(min(parts, key=lambda part: part[0]))
        return right

    def _window(self) -> list[tuple[int, Content]]:
        part = self.context_tokens / self.window_tokens
        colour = "$text-error" if part > 0.9 else "$text-warning" if part > 0.75 else "$primary"
        numbers = f"{count(self.context_tokens)} / {count(self.window_tokens)}"
        return [
            (1, Content.styled(gauge(part), f"{colour} on $panel")),
            (2, Content.styled(numbers, MUTED)),
        ]
