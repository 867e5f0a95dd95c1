"""One request over HTTP/1.1 to one IP address that was checked before.

h11 reads the protocol; here are the connection, which goes to that IP address and to no other
while TLS keeps to the name, and the limits. Nothing is kept from one request to the next: no
connection, no cookies, no credentials, and no proxy of the environment is heard. It follows no
redirects (``egress.py`` does) and knows nothing of who asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import certifi
import h11

from llmos import __version__, limits
from llmos.errors import NetError
from llmos.net.address import IP, Address
from llmos.net.body import Body

__all__ = ["ORDINARY", "Bounds", "Reply", "exchange", "trusted"]

_READ = 1 << 14  # bytes at once, so that what is made of them never takes long
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one answer may use up. Seconds and bytes as in ``limits.NET_*``."""

    seconds: float = limits.NET_SECONDS
    idle_seconds: float = limits.NET_IDLE_SECONDS
    connect_seconds: float = limits.NET_CONNECT_SECONDS
    header_bytes: int = limits.NET_HEADER_BYTES
    body_bytes: int = limits.NET_BODY_BYTES


ORDINARY = Bounds()


@dataclass(slots=True)
class Reply:
    """What a server answered.

    Args:
        status: Such as 200.
        fields: The header's fields, the names in lower case.
        body: Unpacked; empty where the reply is a redirect.
    """

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def location(self) -> str:
        """Where a redirect leads; empty where it is none."""
        return self.fields.get("location", "") if self.status in _REDIRECTS else ""


@functools.cache
def trusted() -> ssl.SSLContext:
    """Whom to believe who a server is: the system's authorities, and Mozilla's."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # Python on macOS comes without any
    context.set_alpn_protocols(["http/1.1"])
    return context


async def exchange(
    address: Address,
    ip: IP,
    fields: Sequence[tuple[str, str]] = (),
    *,
    bounds: Bounds = ORDINARY,
    context: ssl.SSLContext | None = None,
) -> Reply:
    """Ask for what is at an address.

    Args:
        address: Whose host the server is told, and must prove to be.
        ip: Where it is connected to.
        fields: More of the header.
        bounds: All but ``seconds``, which the caller keeps.
        context: For TLS; the ordinary one where not given.

    Raises:
        NetError: It did not work; the sentence says why.
        ConnectionError: There is no connection to this IP address; another one may do.
    """
    tls = None
    if address.scheme == "https":
        tls = context or await asyncio.to_thread(trusted)
    async with _connected(address, ip, tls, bounds) as (reader, writer):
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=bounds.header_bytes)
        header = [
            ("Host", address.authority),
            ("User-Agent", f"Mozilla/5.0 (compatible; llmos/{__version__})"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Connection", "close"),
            *fields,
        ]
        try:
            request = h11.Request(method="GET", target=address.target, headers=header)
            writer.write((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
            async with asyncio.timeout(bounds.idle_seconds):
                await writer.drain()
            return await _reply(wire, reader, bounds)
        except h11.RemoteProtocolError as error:
            raise NetError(_wrong(address.host, error)) from error
        except TimeoutError:
            raise NetError(
                f"{address.host} stopped answering.", remedy="Try again later."
            ) from None
        except OSError as error:
            raise NetError(f"{address.host} broke the connection off.") from error


@contextlib.asynccontextmanager
async def _connected(
    address: Address, ip: IP, tls: ssl.SSLContext | None, bounds: Bounds
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    sock = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6)
    writer = None
    try:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(bounds.connect_seconds):
                # The socket is connected here, by its number: no name is looked up again.
                await asyncio.get_running_loop().sock_connect(sock, (str(ip), address.port))
                reader, writer = await asyncio.open_connection(
                    sock=sock,
                    ssl=tls,
                    server_hostname=address.host if tls else None,
                    limit=_READ,
                )
        except ssl.SSLCertVerificationError as error:
            raise NetError(
                f"{address.host} does not prove who it is ({error.verify_message})."
            ) from error
        except ssl.SSLError as error:
            raise NetError(f"There is no secure connection to {address.host}.") from error
        except (TimeoutError, OSError) as error:
            raise ConnectionError(f"{address.host} cannot be reached.") from error
        yield reader, writer
    finally:
        if writer is not None:
            writer.transport.abort()  # nothing is owed to the other side
        sock.close()


async def _reply(wire: h11.Connection, reader: asyncio.StreamReader, bounds: Bounds) -> Reply:
    """Read events until the message ends, within the bounds."""
    received, interim = 0, 0
    reply: Reply | None = None
    body: Body | None = None
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(bounds.idle_seconds):
                data = await reader.read(_READ)
            received += len(data)
            if received > 2 * bounds.body_bytes + bounds.header_bytes:
                raise NetError("Far more was sent than it holds; nothing of it was kept.")
            wire.receive_data(data)
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > limits.NET_INTERIM:
                raise NetError("The server never comes to its answer.")
        elif isinstance(event, h11.Response):
            reply = Reply(event.status_code, _fields(event))
            if reply.location:
                return reply
            body = Body(reply.fields.get("content-encoding", ""), bounds.body_bytes)
        elif isinstance(event, h11.Data):
            assert body is not None
            body.feed(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert reply is not None
            assert body is not None
            reply.body = body.whole()
            return reply
        else:
            raise NetError("The server ended the connection before it answered.")


def _fields(event: h11.Response) -> dict[str, str]:
    """The header's fields; of one that comes several times, the first."""
    fields: dict[str, str] = {}
    for name, value in event.headers:
        fields.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return fields


def _wrong(host: str, error: h11.RemoteProtocolError) -> str:
    if error.error_status_hint == 431:
        return f"{host} sends a header that is too long."
    if "closed connection" in str(error):
        return f"{host} ended the connection before all was sent."
    return f"{host} does not speak HTTP as it must."
