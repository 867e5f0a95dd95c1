"""Title, links and fields of a page, and the hits of a search page, found in a jail.

Starts ``outline_worker.py`` in the strongest jail of this machine, once a page, and checks what it
says. Where there is no jail, nothing is parsed.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import AddressRefused, NetError
from llmos.net.address import parse
from llmos.sandbox.jail import Bounds, Jail, Task, run
from llmos.visible import visible

__all__ = ["SILENT", "Field", "Outline", "Outliner", "clean"]

_log = logging.getLogger(__name__)
_WORKER = Path(__file__).with_name("outline_worker.py")
_SAID_BYTES = 4 * 1024 * 1024
#: Characters that only say where a word may break: shown as boxes they would spoil every page.
SILENT = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form.

    Args:
        name: Its label, or what the form calls it.
        kind: ``text``, ``select``, ``checkbox``, …
        value: What it holds, or the choices it offers.
    """

    name: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Outline:
    """What a page has besides its text.

    Args:
        title: May be empty.
        links: Text and address.
        more: Links that are not among them.
        fields: Of its forms.
    """

    title: str = ""
    links: tuple[tuple[str, str], ...] = ()
    more: int = 0
    fields: tuple[Field, ...] = ()


def clean(text: object, most: int) -> str:
    """A stranger's text on one line, with nothing a terminal acts on."""
    words = " ".join(str(text or "").translate(SILENT).split())
    return visible(words)[:most]


class Outliner:
    """Parses pages, each in a jail of its own.

    Args:
        jail: Finds the jail to use; the strongest one of this machine where not given.
    """

    def __init__(self, jail: Callable[[], Awaitable[Jail]] | None = None) -> None:
        self._jail = jail or _best

    async def page(self, data: bytes, base: str, kind: str = "page") -> Outline:
        """What is in a page of HTML, or with ``kind="pdf"`` in a PDF.

        Raises:
            NetError: It cannot be parsed.
            SandboxMissing: There is no jail on this machine.
        """
        said = await self._ask(data, {"kind": kind, "base": base})
        links = []
        for text, address in _rows(said.get("links"), 2)[: limits.NET_LINKS]:
            try:
                links.append((clean(text, limits.NET_LINK_CHARS), str(parse(address))))
            except AddressRefused:
                continue  # it leads nowhere that could be read
        count = said.get("count")
        return Outline(
            clean(said.get("title"), limits.NET_TITLE_CHARS),
            tuple(links),
            max(count - limits.NET_LINKS, 0) if isinstance(count, int) else 0,
            tuple(
                Field(clean(name, 80), clean(what, 20), clean(value, 200))
                for name, what, value in _rows(said.get("fields"), 3)[: limits.NET_FIELDS]
            ),
        )

    async def hits(self, data: bytes, base: str, link: str, text: str) -> list[list[str]]:
        """Address, title and text of each hit on a search engine's page.

        Args:
            data: The page.
            base: Its address.
            link: XPath of the links of the hits.
            text: XPath of what is shown of each below it.

        Raises:
            NetError: It cannot be parsed.
            SandboxMissing: There is no jail on this machine.
        """
        said = await self._ask(data, {"kind": "hits", "base": base, "link": link, "text": text})
        return _rows(said.get("hits"), 3)[: limits.NET_HITS]

    async def _ask(self, data: bytes, setup: dict[str, Any]) -> dict[str, Any]:
        path = _library_path()
        setup |= {
            "path": path,
            "links": limits.NET_LINKS,
            "link_chars": limits.NET_LINK_CHARS,
            "title_chars": limits.NET_TITLE_CHARS,
            "fields": limits.NET_FIELDS,
            "hits": limits.NET_HITS,
            "hit_chars": limits.NET_HIT_CHARS,
        }
        memory = limits.NET_OUTLINE_MB << 20
        task = Task(
            argv=(sys.executable, "-I", "-S", "-X", "utf8", str(_WORKER)),
            readable=(_WORKER.parent, *map(Path, path)),
            bounds=Bounds(memory_bytes=memory, cpu_seconds=int(limits.NET_OUTLINE_SECONDS)),
        )
        done = await run(
            await self._jail(),
            task,
            json.dumps(setup).encode() + b"\n" + data,
            seconds=limits.NET_OUTLINE_SECONDS,
            output_bytes=_SAID_BYTES,
        )
        try:
            if done.status or done.ended:
                raise ValueError(done.ended or f"status {done.status}")
            said = json.loads(done.stdout)
            if not isinstance(said, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            _log.warning("a page's outline: %s: %s", error, visible(done.stderr.decode()[-2000:]))
            raise NetError("The page cannot be taken apart: it is damaged or too large.") from error
        return said


async def _best() -> Jail:
    from llmos.sandbox import tiers  # it looks at the whole machine: only when needed

    return await tiers.best()


def _rows(said: object, width: int) -> list[list[str]]:
    """The lists of texts among what a worker said; what is none is passed over."""
    if not isinstance(said, list):
        return []
    return [
        row
        for row in said
        if isinstance(row, list) and len(row) == width and all(isinstance(c, str) for c in row)
    ]


def _library_path() -> list[str]:
    found = []
    for name in ("lxml", "pypdf"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise NetError(f"The Python package {name} is missing: install llmos again.")
        found.append(os.path.dirname(os.path.dirname(spec.origin)))
    return list(dict.fromkeys(found))
