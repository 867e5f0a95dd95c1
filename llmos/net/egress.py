"""The one way out: every request of every tool and expert goes through ``Egress.get``.

For each hop of it: the address is read in its one spelling, the settings and the caller's list are
asked, its name is resolved once, every IP address of it is checked, also against those this machine
has at that moment, and exactly those are connected to. A redirect is a new hop and passes all of it
again. What is a page, and what a search, is for others; who may call at all was decided by the
monitor.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmos import limits
from llmos.errors import AddressRefused, LlmosError, NetError
from llmos.net.address import IP, Address, join, parse
from llmos.net.http import ORDINARY, Bounds, Reply, exchange
from llmos.net.interfaces import Interfaces
from llmos.net.log import Entry, RequestLog
from llmos.net.policy import NOBODY, Caller, Policy

__all__ = ["Answer", "Egress", "Resolve", "system_resolver"]

#: A name's IP addresses, best first.
Resolve = Callable[[str], Awaitable[Sequence[IP]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back in the end.

    Args:
        address: Where it was, after redirects.
        status: 200 to 299.
        media: What the server calls it (``text/html``), in lower case; may be a lie, or empty.
        charset: The character set it names; may be empty.
        body: Unpacked.
    """

    address: Address
    status: int
    media: str
    charset: str
    body: bytes


async def system_resolver(host: str) -> Sequence[IP]:
    """Ask the system.

    Raises:
        NetError: There is no such name.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NetError(
            f"There is no {host}, or no network.",
            remedy="See how it is spelled, and whether you are online.",
        ) from error
    return list(dict.fromkeys(ipaddress.ip_address(each[4][0]) for each in found))


class Egress:
    """Fetches what is on the web, and nothing that is not.

    Args:
        policy: What the settings allow.
        log: Where each hop is written down.
        bounds: Of one request.
        resolve: Finds a name's IP addresses.
        context: For TLS; the ordinary one where not given.
    """

    def __init__(
        self,
        policy: Policy,
        log: RequestLog,
        *,
        bounds: Bounds = ORDINARY,
        resolve: Resolve = system_resolver,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._log = log
        self._bounds = bounds
        self._resolve = resolve
        self._context = context
        self._own = Interfaces()
        self._room = asyncio.Semaphore(limits.NET_AT_ONCE)

    def opening(self, place: str) -> Egress:
        """The same, with one more place (``host:port``) that may be reached."""
        policy = Policy(self._policy.allow, self._policy.deny, (*self._policy.also, place))
        return Egress(
            policy, self._log, bounds=self._bounds, resolve=self._resolve, context=self._context
        )

    async def get(
        self,
        address: str,
        caller: Caller = NOBODY,
        *,
        accept: str = "*/*",
        secret: tuple[str, str] | None = None,
    ) -> Answer:
        """Fetch what is at an address.

        Args:
            address: In any spelling; what can be read in two ways is refused.
            caller: Who asks.
            accept: The media types that are wanted.
            secret: A header field for this very host: it is not sent where a redirect leads.

        Raises:
            AddressRefused: Nothing was sent, or a redirect leads where nothing may be sent.
            NetError: There is no answer, or it says that it failed.
        """
        try:
            async with self._room, asyncio.timeout(self._bounds.seconds):
                return await self._get(address, caller, accept, secret)
        except TimeoutError:
            raise NetError(f"It took longer than {self._bounds.seconds:g} s.") from None

    async def _get(
        self, text: str, caller: Caller, accept: str, secret: tuple[str, str] | None
    ) -> Answer:
        try:
            address = first = parse(text)
        except AddressRefused as error:
            self._write(caller, text[:1000], _Hop(), error)
            raise
        for _ in range(limits.NET_REDIRECTS + 1):
            fields = [("Accept", accept)]
            if secret and (address.scheme, address.place) == (first.scheme, first.place):
                fields.append(secret)
            reply = await self._hop(address, first, caller, fields)
            if not reply.location:
                return _answer(address, reply)
            # A field is bytes; addresses in UTF-8 stand there in practice (RFC 9110, 5.5).
            target = reply.location.encode("latin-1").decode("utf-8", "replace")
            try:
                address = _led(address, target)
            except AddressRefused as error:
                self._write(caller, target[:1000], _Hop(), error)
                raise
        raise NetError(f"It leads on and on, more than {limits.NET_REDIRECTS} times.")

    async def _hop(
        self, address: Address, first: Address, caller: Caller, fields: list[tuple[str, str]]
    ) -> Reply:
        """One hop: checked, made and written down."""
        hop = _Hop()
        why: BaseException | None = None
        try:
            return await self._reach(address, first, caller, fields, hop)
        except BaseException as error:
            why = error
            raise
        finally:
            self._write(caller, str(address), hop, why)

    async def _reach(
        self,
        address: Address,
        first: Address,
        caller: Caller,
        fields: list[tuple[str, str]],
        hop: _Hop,
    ) -> Reply:
        self._policy.check(address, caller, self._own())
        if self._policy.opened(address) and address.place != first.place:
            raise AddressRefused(
                f"A redirect leads to {address.place}, which is open to direct calls only."
            )
        literal = address.literal
        ips = [literal] if literal else list(await self._resolve(address.host))
        if not ips:
            raise NetError(f"There is no {address.host}.")
        self._policy.check_ips(address, ips, self._own())  # after the name: it may have changed
        for ip in _tried(ips):
            hop.ip = str(ip)
            try:
                reply = await exchange(
                    address, ip, fields, bounds=self._bounds, context=self._context
                )
            except ConnectionError as error:
                failed = error
                continue
            hop.status, hop.bytes = reply.status, len(reply.body)
            return reply
        raise NetError(f"{address.host} cannot be reached.") from failed

    def _write(self, caller: Caller, address: str, hop: _Hop, why: BaseException | None) -> None:
        self._log.write(
            Entry(
                at=hop.at,
                pid=caller.pid,
                call=caller.call,
                address=address,
                ip=hop.ip,
                status=hop.status,
                bytes=hop.bytes,
                seconds=round(time.monotonic() - hop.start, 3),
                refused=_short(why),
            )
        )


class _Hop:
    """What is known of a hop so far."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC).timestamp()
        self.start = time.monotonic()
        self.ip = ""
        self.status = 0
        self.bytes = 0


def _led(before: Address, target: str) -> Address:
    """Where a redirect leads.

    Raises:
        AddressRefused: Nowhere on the web, or from what is protected to what is not.
    """
    address = join(before, target)
    if before.scheme == "https" and address.scheme == "http":
        raise AddressRefused(f"{before.host} leads on to an unprotected address.")
    return address


def _tried(ips: Sequence[IP]) -> list[IP]:
    """The addresses to connect to, in turn: of both kinds early, for one kind may lead nowhere."""
    other = [ip for ip in ips if ip.version != ips[0].version]
    turns = [ips[0], *other[:1], *ips[1:], *other[1:]]
    return list(dict.fromkeys(turns))[: limits.NET_TRIES]


def _short(why: BaseException | None) -> str:
    if why is None:
        return ""
    if isinstance(why, LlmosError):
        return why.sentence
    return "It was cancelled." if isinstance(why, asyncio.CancelledError) else type(why).__name__


def _answer(address: Address, reply: Reply) -> Answer:
    """The reply, where it is one that can be read.

    Raises:
        NetError: The server says that it failed.
    """
    if not 200 <= reply.status < 300:
        known = {401: "a login is needed", 403: "it is forbidden", 404: "there is no such page"}
        known |= {410: "the page is gone", 429: "too much was asked of it", 503: "it is too busy"}
        what = f" ({known[reply.status]})" if reply.status in known else ""
        raise NetError(f"{address.host} answers with status {reply.status}{what}.")
    media, _, parameters = reply.fields.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w.:-]{1,40})", parameters, re.IGNORECASE)
    media = media.strip().lower()
    return Answer(
        address=address,
        status=reply.status,
        media=media if re.fullmatch(r"[\w.+-]+/[\w.+-]+", media) else "",
        charset=charset[1].lower() if charset else "",
        body=reply.body,
    )
