"""What is measured: each figure's key, its unit, and the bar it is held against.

The table only names and judges; how a figure is taken is in the module of its group. Nothing here
is a result.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FIGURES", "Figure", "failed"]

_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "is": operator.is_,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Args:
        key: Its name in the JSON object.
        group: The module of ``llmos.bench`` that measures it.
        test: ``>=``, ``<=`` or ``is``; empty where the figure only informs.
        bar: What it is held against; for a figure with a spread, by percentile (``p50``, ``p95``).
        about: What it is, for a person.
    """

    key: str
    group: str
    test: str
    bar: float | bool | Mapping[str, float] | None
    about: str

    def meets(self, value: Any) -> bool:
        """Whether ``value`` reaches the bar. A figure without one always does."""
        if not self.test:
            return True
        if isinstance(self.bar, Mapping):
            told = value if isinstance(value, Mapping) else {}
            held = _TESTS[self.test]
            return all(at in told and held(told[at], bar) for at, bar in self.bar.items())
        if value is None or (self.test != "is" and isinstance(value, bool)):
            return False
        return _TESTS[self.test](value, self.bar)

    @property
    def bar_text(self) -> str:
        """The bar as a person reads it."""
        if not self.test:
            return ""
        if isinstance(self.bar, Mapping):
            return ", ".join(f"{at} {self.test} {bar:g}" for at, bar in self.bar.items())
        return "yes" if self.test == "is" else f"{self.test} {self.bar:g}"


#: All figures, in the order in which they are measured.
FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        Figure("kernel_ready_s", "terminals", "<=", 3.0, "process start to ready, s"),
        Figure("idle_cpu_percent", "desktop", "<=", 1.0, "processor use while idle, %"),
        Figure(
            "single_stream_ratio",
            "speed",
            ">=",
            0.97,
            "one streamed reply ÷ bare llama.cpp loop, tokens/s",
        ),
        Figure("ttft_overhead_ms", "speed", "<=", 20.0, "first token beyond bare prefill, ms"),
        Figure("batch8_ratio", "speed", ">=", 0.93, "8 streams ÷ bare batched loop of 8, tokens/s"),
        Figure(
            "batch8_vs_llama_server",
            "speed",
            ">=",
            1.0,
            "8 streams ÷ llama.cpp's own server, tokens/s",
        ),
        Figure("fork8_prefill_tokens", "prefix", "", None, "prefilled for 8 replies to one prompt"),
        Figure("prompt_tokens", "prefix", "", None, "length of that prompt"),
        Figure("fork8_ratio", "prefix", "<=", 1.01, "prefilled ÷ prompt tokens, 8 replies"),
        Figure(
            "interactive_under_load",
            "latency",
            "<=",
            2.0,
            "first token beside 8 idle-priority streams ÷ alone",
        ),
        Figure(
            "busy_desktop_gain",
            "desktop",
            ">=",
            2.0,
            "beside a busy process ÷ bare loop beside it, tokens/s",
        ),
        Figure("ask_overhead_ms", "terminals", "<=", 400.0, "llmos ask beyond its generation, ms"),
        Figure("first_paint_ms", "terminals", "<=", 1000.0, "chat screen's first paint, ms"),
        Figure("call_valid_rate", "calls", ">=", 1.0, "calls that parse and fit their schema"),
        Figure("call_right_rate", "calls", ">=", 0.85, "questions answered by the right calls"),
        Figure("needless_call_rate", "calls", "<=", 0.04, "chat turns with a call nobody needed"),
        Figure("reuse_ratio", "prefix", ">=", 0.97, "tokens reused ÷ tokens seen before, 20 turns"),
        Figure("resume_identical", "resume", "is", True, "same tokens after suspend and swap"),
        Figure("cancel_ms", "latency", "<=", 10.0, "cancel to freed, beyond the running step, ms"),
    )
}


def failed(results: Mapping[str, Any], figures: Mapping[str, Figure] = FIGURES) -> list[str]:
    """The keys in ``results`` that miss their bars, in the order of ``figures``."""
    return [key for key in figures if key in results and not figures[key].meets(results[key])]
