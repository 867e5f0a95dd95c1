"""Pages of the web, as text that can be read and cited.

Fetches one page a call, through the kernel. It follows no links by itself, fills in no forms and
runs no scripts: a page that is made of scripts alone is empty here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from llmos.sdk import Context, Evidence, Result, ToolError, Verbatim

__all__ = ["links", "read"]

_ADDRESS = re.compile(
    r"(?P<scheme>https?://)?(?P<host>[^\s/?#:@\\]+\.[^\s/?#:@\\]+|localhost|\[[0-9a-f:.]+\])"
    r"(?P<rest>(:\d{1,5})?([/?#]\S*)?)",
    re.IGNORECASE,
)
#: Endings of names that people write without a scheme. Others are more often a file's than a
#: host's ("notes.md"), and want https:// before them.
_ENDINGS = re.compile(
    "ai|app|at|au|be|biz|blog|br|ca|ch|cloud|cn|co|com|cz|de|dev|dk|edu|es|eu|fi|fr|gov|gr|hu|ie|il"
    "|in|info|int|io|ir|it|jp|kr|mil|mx|net|news|nl|no|nz|online|org|pt|ro|ru|se|site|tech|tr|tv"
    "|ua|uk|us|wiki|xyz|za"
)


_TOLD = 240  # characters of a page that are said in a sentence
_BETWEEN = re.compile(r"^[\W_]+")


def is_address(text: str) -> bool:
    """Whether ``text`` is the address of a page, with ``https://`` or as people write it."""
    found = _ADDRESS.fullmatch(text)
    if found is None or len(text) > 4096:
        return False
    if found["scheme"]:
        return True
    name, _, ending = found["host"].lower().rpartition(".")
    return _ENDINGS.fullmatch(ending) is not None and not name.isdigit()


async def read(address: Annotated[str, Verbatim(accepts=is_address)], context: Context) -> Result:
    """Read a page of the web.

    Args:
        address: The page's address.
    """
    context.progress(f"Reading {_short(address)}")
    page = await context.web.read(address)
    head = "\n".join(filter(None, (page.title, page.address)))
    title = page.title or page.address
    return Result(
        f"{head}\n\n{page.text}",
        data={
            "address": page.address,
            "title": page.title,
            "media": page.media,
            "told": _told(title, page.text, [words for words, _ in page.links]),
        },
        evidence=(Evidence(page.address, title, page.text),),
    )


async def links(address: Annotated[str, Verbatim(accepts=is_address)], context: Context) -> Result:
    """List where a page of the web leads.

    Args:
        address: The page's address.
    """
    context.progress(f"Reading {_short(address)}")
    page = await context.web.read(address)
    if not page.links:
        raise ToolError(
            f"The page {page.address} has no links that can be read.",
            "Its text can be read nevertheless.",
        )
    lines = [f"- {text}: {to}" if text else f"- {to}" for text, to in page.links]
    if page.more:
        lines.append(f"{page.more} more are not listed.")
    text = "\n".join([f"Links of {page.title or page.address}:", *lines])
    data = {
        "address": page.address,
        "title": page.title,
        "links": [{"text": text, "address": to} for text, to in page.links],
        "more": page.more,
    }
    return Result(text, data=data)


def _told(title: str, text: str, links: Sequence[str]) -> str:
    """A page in a sentence: how it begins, without the links around what it says."""
    lines, rest, length = [], text.splitlines(), 0
    while rest and length <= _TOLD:
        lines.append(" ".join(rest.pop(0).split()))
        length += len(lines[-1])
    names = sorted({" ".join(each.split()) for each in links} - {""}, key=len, reverse=True)
    said = [at for at, line in enumerate(lines) if not _only_links(line, names)]
    if said:  # else it is a list of links, and they are what it says
        lines = lines[said[0] : said[-1] + 1]
    words = " ".join(filter(None, lines))
    cut = "…" if len(words) > _TOLD or any(map(str.strip, rest)) else ""
    return f"{title} says: “{words[:_TOLD]}{cut}”" if words else f"{title} has no text"


def _only_links(line: str, names: Sequence[str]) -> bool:
    """Whether a line is texts of links and what separates them, or blank; a heading is not.

    Args:
        line: Its white space is single.
        names: The texts, the longest first.
    """
    if line.startswith("#"):
        return False
    while line := _BETWEEN.sub("", line):
        name = next(filter(line.startswith, names), "")
        if not name:
            return False
        line = line[len(name) :]
        if line[:1].isalnum():
            return False  # the beginning of another word
    return True


def _short(address: str) -> str:
    return address if len(address) <= 60 else f"{address[:59]}…"
