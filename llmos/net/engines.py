"""Searching the web: which engines there are, how each is asked, and how it answers.

By default three engines that need no key are asked at once and their lists are fused; a SearXNG
server or a key for Brave's API replaces them. All requests go through ``Egress``. An engine whose
page is no longer understood is named, not passed over: its page was built for people and changes
without notice.
"""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from llmos import limits
from llmos.errors import AddressRefused, ConfigError, NetError
from llmos.net.address import parse
from llmos.net.egress import Answer, Egress
from llmos.net.outline import Outliner, clean
from llmos.net.policy import Caller, listed
from llmos.net.sniff import decoded
from llmos.services import Hit

__all__ = ["ENGINES", "Engine", "Search", "fused"]

_log = logging.getLogger(__name__)
_TAG = re.compile(r"<[^<>]{0,400}>")
_RANK = 60  # of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)
_BRAVE = "https://api.search.brave.com/res/v1/web/search"


@dataclass(frozen=True, slots=True)
class Engine:
    """A search engine.

    Args:
        name: For people.
        address: Where it is asked.
        query: The name of the query's parameter.
        more: Further parameters.
        link: XPath of the links of its hits; empty where it answers with JSON.
        text: XPath of what it shows of each.
        found: Where the hits are in its JSON, key by key.
        keys: Of address, title and text in each hit; an empty address is made from the title.
        nothing: What it says where it found nothing.
        own: Its own domain: what leads there is an advertisement or a setting.
    """

    name: str
    address: str
    query: str = "q"
    more: tuple[tuple[str, str], ...] = ()
    link: str = ""
    text: str = ""
    found: tuple[str, ...] = ()
    keys: tuple[str, str, str] = ("url", "title", "content")
    nothing: str = ""
    own: str = ""


#: Engines that answer anybody.
ENGINES = (
    Engine(
        "DuckDuckGo",
        "https://html.duckduckgo.com/html/",
        link="//a[contains(concat(' ', @class, ' '), ' result__a ')]",
        text="//*[contains(concat(' ', @class, ' '), ' result__snippet ')]",
        nothing="no-results",
        own="duckduckgo.com",
    ),
    Engine(
        "Mojeek",
        "https://www.mojeek.com/search",
        link="//h2/a[@href]",
        text="//p[@class='s']",
        nothing="No pages found",
        own="mojeek.com",
    ),
    Engine(
        "Wikipedia",
        "https://en.wikipedia.org/w/api.php",
        query="srsearch",
        more=(("action", "query"), ("list", "search"), ("format", "json"), ("srlimit", "10")),
        found=("query", "search"),
        keys=("", "title", "snippet"),
    ),
)


class Search:
    """One way to search, as the settings say.

    Args:
        setting: Empty for ``engines``; the address of a SearXNG server; or ``brave:KEY``.
        egress: The way out.
        outliner: Parses pages.
        engines: Asked where the setting is empty.

    Raises:
        ConfigError: The setting is none of these.
    """

    def __init__(
        self,
        setting: str,
        egress: Egress,
        outliner: Outliner,
        engines: Sequence[Engine] = ENGINES,
    ) -> None:
        self._outliner = outliner
        self._secret: tuple[str, str] | None = None
        if setting.startswith("brave:"):
            keys = ("url", "title", "description")
            engines = (Engine("Brave", _BRAVE, found=("web", "results"), keys=keys),)
            key = setting.removeprefix("brave:").strip()
            if not re.fullmatch(r"[!-~]+", key):  # it becomes a field of a header
                raise ConfigError(
                    "web.search has a key after brave: that is none.",
                    remedy="Copy the key from your account at Brave, without blanks in it.",
                )
            self._secret = ("X-Subscription-Token", key)
        elif setting:
            try:
                server = parse(setting)
            except AddressRefused as error:
                raise ConfigError(f"web.search is no address: {error}") from error
            address = str(server).partition("?")[0].rstrip("/").removesuffix("/search") + "/search"
            more = (("format", "json"),)
            engines = (Engine("SearXNG", address, more=more, found=("results",)),)
            # The person named this server, wherever it is; no page a tool reads leads there.
            egress = egress.opening(server.place)
        self._egress = egress
        self._engines = tuple(engines)

    async def find(self, query: str, most: int, caller: Caller) -> list[Hit]:
        """Search.

        Args:
            query: As a person would type it.
            most: Hits to give back.
            caller: Who asks.

        Raises:
            NetError: No engine gave an answer that could be read; each is named.
        """
        query = " ".join(query.split())
        if not query:
            raise NetError("There is nothing to search for.")
        if len(query) > limits.NET_QUERY_CHARS:
            raise NetError(
                f"A search takes at most {limits.NET_QUERY_CHARS} characters.",
                remedy="Search for fewer words.",
            )
        answers = await asyncio.gather(
            *(self._told(engine, query, caller) for engine in self._engines)
        )
        lists = [hits for hits, _ in answers]
        silent = [why for _, why in answers if why]
        if len(silent) == len(self._engines):
            raise NetError("The web could not be searched. " + " ".join(silent))
        for why in silent:
            _log.warning("search: %s", why)
        return fused(lists)[: max(1, min(most, limits.NET_HITS))]

    async def _told(self, engine: Engine, query: str, caller: Caller) -> tuple[list[Hit], str]:
        """Its hits; why there are none, where it failed."""
        try:
            return await self._asked(engine, query, caller), ""
        except NetError as error:
            return [], f"{engine.name}: {error.sentence}"

    async def _asked(self, engine: Engine, query: str, caller: Caller) -> list[Hit]:
        address = f"{engine.address}?{urlencode([*engine.more, (engine.query, query)])}"
        accept = "text/html" if engine.link else "application/json"
        answer = await self._egress.get(address, caller, accept=accept, secret=self._secret)
        read: Callable[[Engine, Answer], Awaitable[list[list[str]]]]
        read = self._html if engine.link else self._json
        rows = await read(engine, answer)
        hits = [hit for row in rows if (hit := _hit(engine, *row)) is not None]
        if rows and not hits:
            raise NetError("Its answer is not understood.")
        return hits[: limits.NET_HITS]

    async def _html(self, engine: Engine, answer: Answer) -> list[list[str]]:
        rows = await self._outliner.hits(answer.body, str(answer.address), engine.link, engine.text)
        if not rows and engine.nothing.encode() not in answer.body:
            raise NetError("Its page is not understood, or it asks for a proof of being human.")
        return rows

    async def _json(self, engine: Engine, answer: Answer) -> list[list[str]]:
        try:
            found = json.loads(decoded(answer.body, answer.charset))
            for key in engine.found:
                # Brave leaves out the key where it found nothing.
                found = found.get(key, {} if key != engine.found[-1] else [])
            if not isinstance(found, list):
                raise TypeError
            rows = [[_text(row, key) for key in engine.keys] for row in found[: limits.NET_HITS]]
            return [row for row in rows if row[0] or row[1]]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise NetError("Its answer is not understood.") from error


def fused(lists: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Lists of hits as one, by reciprocal rank; of one address, the hit that says most."""
    scores: dict[str, float] = {}
    best: dict[str, Hit] = {}
    for hits in lists:
        seen = set()
        for rank, hit in enumerate(hits, 1):
            key = re.sub(r"^https?://(www\.)?", "", hit.address).rstrip("/")
            if key in seen:
                continue
            seen.add(key)
            scores[key] = scores.get(key, 0.0) + 1 / (_RANK + rank)
            if key not in best or len(hit.text) > len(best[key].text):
                best[key] = hit
    return [best[key] for key in sorted(scores, key=lambda key: -scores[key])]


def _text(row: object, key: str) -> str:
    value = row.get(key, "") if isinstance(row, dict) else ""
    return value if isinstance(value, str) else ""


def _hit(engine: Engine, address: str, title: str, text: str) -> Hit | None:
    """A hit made harmless; None for an advertisement, or what leads nowhere."""
    try:
        if not engine.keys[0]:
            wiki = parse(engine.address)
            address = f"{wiki.scheme}://{wiki.authority}/wiki/{title.replace(' ', '_')}"
            address = address.replace("?", "%3F").replace("#", "%23")
        found = parse(_unwrapped(address))
    except (AddressRefused, ValueError):
        return None
    if engine.own and listed(found.host, (engine.own,), below=True):
        return None
    plain = html.unescape(_TAG.sub("", text))
    name = html.unescape(_TAG.sub("", title))
    return Hit(
        str(found),
        clean(name, limits.NET_TITLE_CHARS) or found.host,
        clean(plain, limits.NET_HIT_CHARS),
    )


def _unwrapped(address: str) -> str:
    """The address behind an engine's own redirect (``…/l/?uddg=ADDRESS``)."""
    parts = urlsplit(address)
    if parts.path == "/l/" and (wrapped := parse_qs(parts.query).get("uddg")):
        return wrapped[0]
    return address
