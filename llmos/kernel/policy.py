"""What a person's settings say of calls, besides the monitor's rules. Data; it only tightens."""

from __future__ import annotations

from llmos.config import PolicyConfig, entries
from llmos.kernel.capabilities import called

__all__ = ["Policy"]


class Policy:
    """Which calls are never made, and which are asked each time.

    Args:
        config: As it was set.
    """

    def __init__(self, config: PolicyConfig | None = None) -> None:
        config = config or PolicyConfig()
        self._never, self._ask = entries(config.never), entries(config.ask)

    def forbids(self, call: str) -> bool:
        """Whether it is not made, whatever else speaks for it."""
        return any(called(call, pattern) for pattern in self._never)

    def asks(self, call: str) -> bool:
        """Whether the person is asked each time."""
        return any(called(call, pattern) for pattern in self._ask)
