"""What tools are lent of the network: ``services.Web``, fulfilled.

One ``Internet`` a kernel; each call is lent its own view, which carries who calls and which hosts
that caller may reach. All errors become ``ToolError``, sentences for the model. It grants nothing:
whether a call may be made was decided before.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from llmos.config import WebConfig
from llmos.documents.decoder import Decoder
from llmos.errors import LlmosError
from llmos.net import readable
from llmos.net.egress import Egress, Resolve, system_resolver
from llmos.net.engines import ENGINES, Engine, Search
from llmos.net.http import ORDINARY, Bounds
from llmos.net.log import RequestLog
from llmos.net.outline import Outliner
from llmos.net.policy import Caller, Policy
from llmos.net.thread import Thread
from llmos.sandbox.jail import Jail
from llmos.sdk import ToolError
from llmos.services import Hit, Page, Web

__all__ = ["LOG_NAME", "Internet"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
#: The log of requests, in the state directory.
LOG_NAME = "requests.jsonl"
_ACCEPT = "text/html, application/pdf, application/json, text/plain, */*;q=0.5"


class Internet:
    """The kernel's side of ``services.Web``. Close it in the end.

    Args:
        config: The settings.
        state: The state directory, where requests are logged.
        bounds: Of one request.
        resolve: Finds a name's IP addresses.
        jail: Finds the jail that pages are parsed in; the strongest one where not given.
        engines: Search engines that are asked where the settings name none.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self,
        config: WebConfig,
        state: Path,
        *,
        bounds: Bounds = ORDINARY,
        resolve: Resolve = system_resolver,
        jail: Callable[[], Awaitable[Jail]] | None = None,
        engines: Sequence[Engine] = ENGINES,
    ) -> None:
        policy = Policy.read(config.allow, config.deny, config.also)
        log = RequestLog(state / LOG_NAME)
        self.log = log
        self._thread = Thread()
        self._egress = Egress(policy, log, bounds=bounds, resolve=resolve)
        self._outliner = Outliner(jail)
        self._decoder = Decoder()
        self._search = Search(config.search, self._egress, self._outliner, engines)

    def lend(self, pid: int, call: str, hosts: Sequence[str] | None = None) -> Web:
        """What one call gets.

        Args:
            pid: The process that calls.
            call: Such as ``browse.read``.
            hosts: Patterns (``example.org``, ``*.example.org``) of the hosts it may read, at every
                hop; None leaves it to the settings.
        """
        return _Lent(self, Caller(pid, call, None if hosts is None else tuple(hosts)))

    async def close(self) -> None:
        """End what is under way, and the decoder."""
        await self._thread.run(self._decoder.close())
        await self._thread.close()

    async def read(self, address: str, caller: Caller) -> Page:
        """Fetch a page and make it readable."""

        async def work() -> Page:
            answer = await self._egress.get(address, caller, accept=_ACCEPT)
            return await readable.page(answer, self._decoder, self._outliner)

        return await self._thread.run(_told(work()))

    async def search(self, query: str, most: int, caller: Caller) -> Sequence[Hit]:
        """Search the web."""
        return await self._thread.run(_told(self._search.find(query, most, caller)))


class _Lent:
    """One call's view."""

    def __init__(self, internet: Internet, caller: Caller) -> None:
        self._internet = internet
        self._caller = caller

    async def read(self, address: str) -> Page:
        return await self._internet.read(address, self._caller)

    async def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        # Whether it may search was decided by whoever lent it; the engines are the settings'.
        return await self._internet.search(query, most, replace(self._caller, hosts=None))


async def _told(work: Coroutine[Any, Any, T]) -> T:
    """``work``, with what goes wrong told as a tool tells it."""
    try:
        return await work
    except LlmosError as error:
        _log.info("%s", error, exc_info=error.__cause__)
        raise ToolError(error.sentence, error.remedy) from error
