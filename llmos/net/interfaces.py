"""Which IP addresses are this machine's own, whatever registry they belong to.

A service of this machine that listens everywhere is reached at each of them, also at a public one,
past what keeps the world out. The address of a router that stands before this machine is not known
here, nor are those of its neighbours.
"""

from __future__ import annotations

import ipaddress
import time

import psutil

from llmos import limits
from llmos.errors import NetError
from llmos.net.address import IP

__all__ = ["Interfaces"]


class Interfaces:
    """The addresses of this machine's network interfaces, as they are now or were a moment ago."""

    def __init__(self) -> None:
        self._own: frozenset[IP] = frozenset()
        self._until = 0.0

    def __call__(self) -> frozenset[IP]:
        """All of them, without the zone of those of a local link.

        Raises:
            NetError: The system does not tell them.
        """
        if (now := time.monotonic()) >= self._until:
            self._own = _read()
            self._until = now + limits.NET_INTERFACES_SECONDS
        return self._own


def _read() -> frozenset[IP]:
    try:
        interfaces = psutil.net_if_addrs()
    except (OSError, psutil.Error) as error:
        raise NetError(
            "The system does not tell this machine's own addresses, so nothing is fetched.",
            remedy="The kernel's log says why.",
        ) from error
    found = (each.address.partition("%")[0] for on in interfaces.values() for each in on)
    return frozenset(ip for text in found if (ip := _ip(text)) is not None)


def _ip(text: str) -> IP | None:
    """An IP address; None for what is one of the hardware."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
