"""Whether code gets out of the jails of this machine: every attempt, in every tier it offers.

What the attempts are stands in ``llmos/sandbox/attempts``. A tier that cannot be started here (no
bubblewrap, no Landlock) is not offered and is told as such; it counts neither for nor against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos.errors import LlmosError
from llmos.sandbox import probes, tiers
from llmos.sandbox.jail import Jail

__all__ = ["escapes"]


async def escapes(jails: Sequence[Jail] | None = None) -> dict[str, Any]:
    """Try every way out.

    Args:
        jails: The tiers to be tried; those of this system where not given.

    Returns:
        ``tried`` and ``held``, each the sum over the tiers offered; ``tiers``, which has for each
        of them ``tried``, ``held`` and ``out`` (what was got, by the attempt's name); and
        ``left_out``, why a tier is not offered, by its name.
    """
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for jail in tiers.available() if jails is None else jails:
        try:
            probed = await probes.probe(jail)
        except LlmosError as error:
            left_out[jail.name] = str(error)
            continue
        found[jail.name] = {
            "tried": len(probed),
            "held": sum(one.held for one in probed),
            "out": {one.name: one.told for one in probed if not one.held},
        }
    return {
        "tried": sum(tier["tried"] for tier in found.values()),
        "held": sum(tier["held"] for tier in found.values()),
        "tiers": found,
        "left_out": left_out,
    }
