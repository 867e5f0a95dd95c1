"""What ``llmos bench memory`` measures: keys, units, bars, and the controls beside them.

A control has no bar: it is the same measurement with the whole text in the window, or with search
by words alone, and says what the figure beside it is worth.
"""

from __future__ import annotations

from llmos.bench.figures import Figure

__all__ = ["MEMORY_FIGURES"]


def _needle(key: str, about: str, bar: float | None = None) -> Figure:
    return Figure(key, "needle", ">=" if bar is not None else "", bar, about)


_ROWS = (
    Figure(
        "ttft_ram_ratio",
        "ttft",
        "<=",
        0.008,
        "first token on returning to 4,096 tokens swapped to RAM ÷ cold",
    ),
    Figure("ttft_disk_ratio", "ttft", "<=", 0.02, "the same, swapped to disk ÷ cold"),
    Figure("ttft_restart_ratio", "ttft", "<=", 0.03, "the same, after a kernel restart ÷ cold"),
    Figure("resume_identical", "ttft", "is", True, "the uninterrupted reply after each of them"),
    Figure(
        "switch_vs_llama_server",
        "switch",
        "<=",
        1.0,
        "first token in turn in 12 conversations ÷ llama.cpp's own server",
    ),
    Figure("typed_ahead_ratio", "typed", "<=", 0.10, "first token after Enter ÷ without drafts"),
    Figure("reuse_ratio", "reuse", ">=", 0.97, "tokens reused ÷ in view before, 60 turns"),
    Figure("reuse_ratio_evicting", "reuse", ">=", 0.85, "the same with 5 evictions or more"),
    _needle("needle_1x", "exact answers, haystack of 1 window, read turn by turn", 0.95),
    _needle("needle_1x_noise", "the same in repeated noise"),
    _needle("needle_1x_whole", "control: the whole text in the window"),
    _needle("needle_4x", "exact answers, 4 windows, read turn by turn", 0.95),
    _needle("needle_4x_noise", "the same in repeated noise"),
    _needle("needle_4x_whole", "control: the whole text in the window"),
    _needle("needle_16x", "exact answers, 16 windows of past conversation", 0.95),
    _needle("needle_16x_noise", "the same in repeated noise"),
    _needle("needle_16x_words", "control: shown what a search by words alone finds first"),
    _needle("needle_64x", "exact answers, 64 windows of past conversation", 0.95),
    _needle("needle_64x_noise", "the same in repeated noise"),
    _needle("needle_64x_words", "control: shown what a search by words alone finds first"),
    _needle("needle_multikey_16x", "exact answers, 16 windows, 8 other needles", 0.85),
    _needle("needle_multikey_16x_words", "control: by words alone"),
    Figure("nested_kv", "nested_kv", ">=", 1.0, "nested keys followed through the calls"),
    Figure("nested_kv_starter", "nested_kv", "", None, "nested keys followed by the model itself"),
    Figure("recall_at_5", "longterm", ">=", 0.90, "evidence among the first five hits"),
    Figure("recall_at_5_words", "longterm", "", None, "control: by words alone"),
    Figure(
        "search_p95_ms",
        "search",
        "<=",
        40.0,
        "search in 1 of 100 processes, 95 %, ms, without embedding the query",
    ),
    Figure("recall_format", "forms", "", None, "answers from a fact brought back as it is"),
    Figure("recall_format_best", "forms", "", None, "control: in the best other form"),
    Figure("recall_format_worst", "forms", "", None, "control: in the worst other form"),
    Figure("recall_format_alone", "forms", "", None, "control: without the fact"),
    Figure("kv_type_size", "kv_type", "", None, "bytes of 4,096 tokens, q8_0 ÷ f16"),
    Figure("kv_type_speed", "kv_type", "", None, "decode behind them, q8_0 ÷ f16, both with flash"),
    Figure("kv_type_speed_flash", "kv_type", "", None, "control: f16 with flash ÷ f16 without"),
    Figure("kv_type_same", "kv_type", "", None, "answers the same, q8_0 and f16 with flash"),
    Figure("kv_type_same_flash", "kv_type", "", None, "control: f16 with flash and without"),
    Figure("kv_type_right", "kv_type", "", None, "needles and sums answered rightly, q8_0"),
    Figure("kv_type_right_flash", "kv_type", "", None, "control: f16 with flash attention"),
    Figure("kv_type_right_f16", "kv_type", "", None, "control: f16 without"),
    Figure("kv_type_loss", "kv_type", "", None, "nats a token, q8_0 - f16 with flash"),
    Figure("kv_type_loss_flash", "kv_type", "", None, "control: f16 with flash - without"),
    Figure("forget_leaves", "forget", "<=", 0, "traces of a forgotten text in the state directory"),
)

#: All figures, in the order in which they are measured.
MEMORY_FIGURES: dict[str, Figure] = {figure.key: figure for figure in _ROWS}
