"""One run of ``llmos bench voice``: its users, its devices, and how much of each is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llmos.bench.figures import Figure
from llmos.bench.harness import Bench
from llmos.bench.voice.figures import VOICE_FIGURES
from llmos.bench.voice.users import Users
from llmos.config import VoiceConfig
from llmos.devices.speech import Speech

__all__ = ["VoiceBench", "spread"]

_QUICK = 5


@dataclass
class VoiceBench(Bench):
    """A run.

    Args:
        quick: Take a fifth of the samples.
    """

    figures: Mapping[str, Figure] = field(default_factory=lambda: VOICE_FIGURES)
    quick: bool = False
    _speech: Speech | None = None
    _users: Users | None = None

    def samples_of(self, number: int) -> int:
        """How many samples are taken where a whole run takes ``number``."""
        return max(1, number // _QUICK) if self.quick else number

    async def speech(self) -> Speech:
        """The devices, with the starter weights."""
        if self._speech is None:
            self._speech = Speech(VoiceConfig(recogniser="whisper-tiny"))
            await self.shared.enter_async_context(contextlib.aclosing(self._speech))
        return self._speech

    async def users(self) -> Users:
        """Who speaks to it."""
        if self._users is None:
            self._users = Users((await self.speech()).speaker(), self.seed)
        return self._users


def spread(values: Sequence[float], digits: int = 1) -> dict[str, Any]:
    """A figure with a spread: its median, its 95th percentile, and how many there were."""
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), digits), "p95": round(float(p95), digits), "n": len(values)}
