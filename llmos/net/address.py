"""An address on the web, in one spelling only.

Whatever can be read in two ways (``http://0x7f.1``, ``http://a@b``, ``http://h%2eost``) is refused
here, so that what was checked is what is connected to. It resolves no names: whether the machine
behind a name may be reached is for ``ranges.py`` and ``policy.py``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import idna

from llmos import limits
from llmos.errors import AddressRefused
from llmos.visible import visible

__all__ = ["IP", "Address", "join", "parse"]

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")  # the last label of what some parsers take for an IP
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d)")
_PATH = "/%:@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is on the web.

    Args:
        scheme: ``http`` or ``https``.
        host: A name in lower-case ASCII (IDNA), or an IP address without brackets.
        port: Never left open.
        target: Path and query, as they go over the wire.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def literal(self) -> IP | None:
        """The host as an IP address, where it is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` field and an address have them."""
        place = self.place
        return place.rpartition(":")[0] if self.port == _PORTS[self.scheme] else place

    @property
    def place(self) -> str:
        """Host and port, always both: how settings name a place exactly."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse(text: str) -> Address:
    """Read an address; one without a scheme is taken as ``https``.

    Raises:
        AddressRefused: It is none, or can be read in more than one way.
    """
    text = text.strip(" \t\r\n")
    if not text:
        raise AddressRefused("The address is empty.")
    if len(text) > limits.NET_ADDRESS_CHARS:
        raise AddressRefused("The address is too long.")
    if visible(text) != text or re.search(r"[\s\\]", text):
        raise AddressRefused("The address has a space, a backslash or a hidden character in it.")
    if "://" not in text:
        if scheme := _SCHEME.match(text):
            raise AddressRefused(f"An address that begins with {scheme[1]}: is no page of the web.")
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise AddressRefused("The address is not valid.") from None
    scheme_name = parts.scheme.lower()
    if scheme_name not in _PORTS:
        raise AddressRefused("Only addresses that begin with http:// or https:// are fetched.")
    if "@" in parts.netloc:
        raise AddressRefused("The address has a name or password before its host.")
    if port == 0:
        raise AddressRefused("The address has no valid port.")
    host = _host(parts.netloc)
    target = quote(parts.path or "/", safe=_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH + "?[]")
    return Address(scheme_name, host, port or _PORTS[scheme_name], target)


def join(base: Address, reference: str) -> Address:
    """Where a link or redirect leads.

    Raises:
        AddressRefused: Nowhere on the web.
    """
    try:
        whole = urljoin(str(base), reference.strip(" \t\r\n"))
    except ValueError:
        raise AddressRefused("The address is not valid.") from None
    if not whole.lower().startswith(("http://", "https://")):  # nothing is added to a link
        raise AddressRefused("It leads to no page of the web.")
    return parse(whole)


def _host(netloc: str) -> str:
    """The host of ``host:port`` in its one spelling."""
    if netloc.startswith("["):
        inside, closed, rest = netloc[1:].partition("]")
        if not closed or not re.fullmatch(r"(:\d*)?", rest):
            raise AddressRefused("The address has no valid host.")
        try:
            if "%" in inside:  # a zone: only ever an address of this machine's own links
                raise ValueError
            return str(ipaddress.IPv6Address(inside))
        except ValueError:
            raise AddressRefused("The address has no valid IPv6 host.") from None
    name = re.sub(r":\d*$", "", netloc)
    if not name or "%" in name or ":" in name:
        raise AddressRefused("The address has no valid host.")
    try:
        # UTS 46 folds wide digits, dots and case, so that what is checked below is what is left.
        name = idna.encode(name, uts46=True, transitional=False).decode() if _odd(name) else name
    except (idna.IDNAError, UnicodeError):
        raise AddressRefused("The address has no valid host name.") from None
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefused("The address has no valid host name.")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))  # refuses octal, hex, short and single numbers
        except ValueError:
            raise AddressRefused(
                "The address spells an IP address in an unusual way.",
                remedy="Write it as four decimal numbers, if it is meant.",
            ) from None
    return name


def _odd(name: str) -> bool:
    """Whether the name needs IDNA: other letters, or what claims to be encoded already."""
    return not name.isascii() or "xn--" in name.lower()
