"""The network as a tool is lent it, with real servers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos.sdk import Context

__all__ = ["lent"]


def lent(web: Any, told: list[str] | None = None) -> Context:
    """Surroundings in which only the network is lent."""
    services: Mapping[str, Any] = {"web": web}

    def tell(text: str, done: float | None) -> None:
        if told is not None:
            told.append(text)

    return Context(zone="UTC", locale="en_GB", lent=services, told=tell)
