"""What the person's settings, and a caller's own list, allow to be reached.

Pure decisions over an address and the IP addresses its name stands for; connects to nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence, Set
from dataclasses import dataclass

from llmos.config import entries
from llmos.errors import AddressRefused, ConfigError
from llmos.net.address import IP, Address, parse
from llmos.net.ranges import openable, refusal

__all__ = ["NOBODY", "Caller", "Policy", "listed"]

_PORTS = frozenset({80, 443, 8080, 8443})
#: Names that mean this machine or its network to somebody, whatever a resolver says.
_INSIDE = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa", "onion")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for the log and for what they may reach.

    Args:
        pid: The process.
        call: Such as ``browse.read``.
        hosts: Patterns of the hosts it may reach, as an expert declares them and its person was
            told: ``*.example.org`` is what stands below it, and not ``example.org``. None is all
            that the settings allow, an empty tuple is nothing.
    """

    pid: int = 0
    call: str = ""
    hosts: tuple[str, ...] | None = None


#: A caller without a name, who may reach what the settings allow.
NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings allow.

    Args:
        allow: Patterns of hosts; where there are any, nothing else is reached.
        deny: Patterns of hosts that are never reached.
        also: Exact ``host:port`` that is reached though its port is unusual or it is this machine,
            in a private network or reserved (``ranges.openable``); a redirect never leads there
            from elsewhere.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @classmethod
    def read(cls, allow: str = "", deny: str = "", also: str = "") -> Policy:
        """From lists with commas, as settings have them.

        Raises:
            ConfigError: An entry is not a host, or not ``host:port``.
        """
        return cls(
            tuple(_pattern("web.allow", entry) for entry in entries(allow)),
            tuple(_pattern("web.deny", entry) for entry in entries(deny)),
            tuple(_place(entry) for entry in entries(also)),
        )

    def opened(self, address: Address) -> bool:
        """Whether the person opened this very place."""
        return address.place in self.also

    def check(self, address: Address, caller: Caller, own: Set[IP] = frozenset()) -> None:
        """Before its name is resolved.

        Args:
            address: Where to.
            caller: Who asks.
            own: The addresses of this machine's interfaces.

        Raises:
            AddressRefused: It may not be reached.
        """
        host = address.host
        if listed(host, self.deny):
            raise AddressRefused(f"The settings forbid {host} (web.deny).")
        if caller.hosts is not None and not listed(host, caller.hosts, bare=False):
            raise AddressRefused(f"{caller.call or 'This caller'} may not reach {host}.")
        if self.opened(address):
            return
        if self.allow and not listed(host, self.allow):
            raise AddressRefused(f"The settings do not allow {host} (web.allow).")
        # Where it leads comes before the port: another port would open none of these.
        if address.literal is not None:
            self.check_ips(address, [address.literal], own)
        elif listed(host, ("localhost",), below=True):
            raise _refused(address, f"{host} is this machine itself, not the public internet.")
        elif "." not in host or listed(host, _INSIDE, below=True):
            raise _refused(address, f"{host} is not a name of the public internet.")
        if address.port not in _PORTS:
            raise _refused(address, f"Port {address.port} is not one that web servers use.")

    def check_ips(self, address: Address, ips: Sequence[IP], own: Set[IP] = frozenset()) -> None:
        """After its name was resolved. One wrong address among right ones refuses them all.

        Args:
            address: Where to.
            ips: What its name stands for.
            own: The addresses of this machine's interfaces.

        Raises:
            AddressRefused: One of them may not be reached.
        """
        wrong = [(ip, why) for ip in ips if (why := refusal(ip, own))]
        never = [each for each in wrong if not openable(each[0])]
        if not wrong or (self.opened(address) and not never):
            return
        ip, why = (never or wrong)[0]
        what = "" if address.literal else f", where {address.host} leads,"
        sentence = f"The address {ip}{what} is not public: it is {why}."
        if never:
            raise AddressRefused(sentence, remedy="No setting opens it.")
        raise _refused(address, sentence)


def listed(host: str, patterns: Sequence[str], *, below: bool = False, bare: bool = True) -> bool:
    """Whether a host is one of the patterns: ``example.org``, or ``*.example.org`` for it and all
    below it.

    Args:
        host: In lower-case ASCII.
        patterns: The same, perhaps with ``*.``; ``*`` alone is every host.
        below: Read every pattern as if it began with ``*.``.
        bare: Whether ``*.example.org`` is ``example.org`` itself, too.
    """
    for pattern in patterns:
        name = pattern.removeprefix("*.")
        if pattern == "*" or (host == name and (bare or pattern == name)):
            return True
        if (below or pattern != name) and host.endswith(f".{name}"):
            return True
    return False


def _refused(address: Address, sentence: str) -> AddressRefused:
    """The refusal of what a person, and nobody else, can open: with what they would write."""
    return AddressRefused(
        sentence,
        # What else is open is no business of who asks: it is not listed.
        remedy=f'A person can open it: also = "{address.place}" under [web] in config.toml '
        "(behind a comma, where others stand there), then llmos stop, so that it is read.",
    )


def _pattern(setting: str, entry: str) -> str:
    star, bare = ("*.", entry[2:]) if entry.startswith("*.") else ("", entry)
    if entry == "*":
        return entry
    try:
        address = parse(f"https://[{bare}]/" if _is_v6(bare) else f"https://{bare}/")
    except AddressRefused as error:
        raise ConfigError(f"{setting} has “{entry}”, which is not a host.") from error
    if address.target != "/" or address.port != 443 or "/" in bare:
        raise ConfigError(f"{setting} has “{entry}”, which is not a host: leave out port and path.")
    return star + address.host


def _place(entry: str) -> str:
    try:
        address = parse(f"http://{entry}/")
    except AddressRefused as error:
        raise ConfigError(f"web.also has “{entry}”, which is not host:port.") from error
    if "/" in entry or not entry.rpartition(":")[2].isdigit():
        raise ConfigError(f"web.also has “{entry}”, which is not host:port.")
    return address.place


def _is_v6(text: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False
