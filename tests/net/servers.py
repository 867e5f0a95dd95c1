"""Real servers on this machine that say exactly what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from llmos.errors import NetError
from llmos.net.address import IP

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """What it was asked, connection by connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def site(self) -> str:
        """The place that ``resolver`` leads here."""
        return f"site.test:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.site}{path}"


@contextlib.asynccontextmanager
async def serving(
    answer: bytes | Handler,
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Server]:
    """A server on loopback.

    Args:
        answer: What it says to everything, or who says it.
        tls: To speak HTTPS.
        host: One of this machine's addresses.
        port: A free one where not given.
    """
    server = Server(0)
    tasks: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        server.connections += 1
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            server.requests.append(request)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(request, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side had enough
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, host, port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


def reply(
    body: bytes = b"", media: str = "text/plain", status: str = "200 OK", **fields: str
) -> bytes:
    """A whole answer. Names of fields have ``_`` for ``-``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Resolver:
    """Names and where they lead; what is not there does not exist.

    Args:
        names: Addresses by name; a list of lists gives another one at each question.
    """

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {"site.test": ["127.0.0.1"]} | {
            name.replace("__", "-").replace("_", "."): list(ips) for name, ips in names.items()
        }
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[IP]:
        self.asked.append(host)
        if host not in self.names:
            raise NetError(f"There is no {host}, or no network.")
        return [ipaddress.ip_address(ip) for ip in self.names[host]]
