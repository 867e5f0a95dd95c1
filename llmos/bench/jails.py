"""Whether the jails of this machine hold: the attempts of ``escapes.py``, as figures."""

from __future__ import annotations

from llmos.bench.escapes import escapes
from llmos.bench.harness import Bench
from llmos.errors import SandboxMissing

__all__ = ["measure"]


async def measure(bench: Bench) -> None:
    """Try every way out of every tier that this machine offers.

    Raises:
        SandboxMissing: It offers none.
    """
    found = await escapes()
    tiers = found["tiers"]
    if not tiers:
        raise SandboxMissing("This machine has no jail. " + " ".join(found["left_out"].values()))
    bench.found("escape_probes", min(tier["tried"] for tier in tiers.values()), tiers=list(tiers))
    bench.found("escape_probes_out", found["tried"] - found["held"])
    bench.samples["escape_probes"] = tiers
    bench.samples["tiers_left_out"] = found["left_out"]
