"""Which IP addresses belong to the public internet.

Tables of our own, after IANA's registries of special-purpose addresses (RFC 6890 and what followed
it), since those of the standard library differ by its version. What wraps an IPv4 address
in an IPv6 address is refused whatever it wraps (mapped, compatible, 6to4, Teredo), but for the
well-known prefix of NAT64, through which a network without IPv4 reaches all others: there the
wrapped address decides. A network's own NAT64 prefix cannot be told from any other address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Set

from llmos.net.address import IP

__all__ = ["openable", "refusal"]

_V4 = {
    "0.0.0.0/8": "no machine's",
    "10.0.0.0/8": "in a private network",
    "100.64.0.0/10": "in a provider's own network",
    "127.0.0.0/8": "this machine",
    "169.254.0.0/16": "on the local link, where cloud machines keep their secrets",
    "172.16.0.0/12": "in a private network",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved",
    "192.31.196.0/24": "reserved",
    "192.52.193.0/24": "reserved",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "in a private network",
    "192.175.48.0/24": "reserved",
    "198.18.0.0/15": "in a private network",
    "198.51.100.0/24": "reserved",
    "203.0.113.0/24": "reserved",
    "224.0.0.0/4": "not one machine's",
    "240.0.0.0/4": "reserved",
    "168.63.129.16/32": "a cloud's own service",  # Azure's, at a public-looking address
}
_V6 = {  # within 2000::/3, outside of which nothing is public
    "2001::/23": "reserved",  # Teredo, ORCHID and others
    "2001:db8::/32": "reserved",
    "2002::/16": "an IPv4 address in disguise",
    "2620:4f:8000::/48": "reserved",
    "3fff::/20": "reserved",
}
_REFUSED_V4 = [(ipaddress.IPv4Network(net), why) for net, why in _V4.items()]
_REFUSED_V6 = [(ipaddress.IPv6Network(net), why) for net, why in _V6.items()]
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: What no setting opens: what is no machine's, and where clouds give away a machine's secrets.
_NEVER = [
    ipaddress.ip_network(net)
    for net in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),
        *("::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::/32", "fd20:ce::/32"),
        # An IPv4 address in disguise: who means it can write it plainly.
        *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"),
        *("2001::/32", "2002::/16"),
    )
]
_LOOPBACK_V6 = ipaddress.IPv6Address(1)  # within ::/96, and in no disguise


def refusal(ip: IP, own: Set[IP] = frozenset()) -> str:
    """Why an IP address is not one of others on the public internet, in a few words.

    Args:
        ip: The address.
        own: Those of this machine's interfaces.

    Returns:
        Empty where it is one.
    """
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return "on a local link"
        if ip in _NAT64:
            return refusal(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF), own)
    if ip in own:
        return "this machine"
    if isinstance(ip, ipaddress.IPv4Address):
        return next((why for net, why in _REFUSED_V4 if ip in net), "")
    if ip not in _PUBLIC_V6:
        return "this machine" if ip == _LOOPBACK_V6 else "reserved or private"
    return next((why for net, why in _REFUSED_V6 if ip in net), "")


def openable(ip: IP) -> bool:
    """Whether a person may open an address that is refused, place by place, in their settings.

    Never a link-local address or any other at which a cloud keeps a machine's secrets, nor what is
    not one machine's address, nor one in disguise.
    """
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        return False
    return ip == _LOOPBACK_V6 or not any(ip.version == net.version and ip in net for net in _NEVER)
