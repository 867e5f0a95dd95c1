"""Searching the web: what there is, with where it stands.

It knows what the engines in the settings show of each page, a few lines; to read one is for
another call.
"""

from __future__ import annotations

import re
from typing import Annotated

from llmos.sdk import Context, Evidence, Length, Result, ToolError, Verbatim

__all__ = ["web"]

_MOST = 10
_POLITE = r"(?:(?:please|(?:can|could|would|will) you(?: please)?|i (?:want|would like) you to) )"
_WEB = r"(?:the (?:web|internet|net)|online)"
#: The ways a sentence asks for a search, around what is searched for.
_REQUEST = re.compile(
    rf"{_POLITE}?(?:(?:do|run) (?:a|an) (?:web|internet|online) search (?:for|about|on)"
    rf"|(?:web|internet|online) search(?: for| about| on|:)"
    rf"|(?:search|look|check)(?: on| in)? {_WEB}(?: for| about|:)|search for|look up"
    r"|(?P<google>(?-i:google))|find(?: me)?(?=.* (?:on the (?:web|internet|net)|online))"
    r"|what (?:do|does) (?:the (?:web|internet)|websites) say about)"
    r" (?P<sought>.+?)(?: (?:on|in|from) the (?:web|internet|net)| online|,? please|,? for me)*"
    r"(?:,? and (?:tell|show|give|let) .*)?[.?!]*",
    re.IGNORECASE,
)


def is_request(text: str) -> bool:
    """Whether ``text`` asks for a search. All of it is copied, as the person said it: where what
    is searched for begins, no test of a stretch by itself could tell."""
    return len(text) <= 400 and _REQUEST.fullmatch(text) is not None


def sought(query: str) -> str:
    """What is searched for, without the words that ask for a search.

    ``google …`` is left whole: it begins many a query that is one already.
    """
    bare = " ".join(query.split())
    request = _REQUEST.fullmatch(bare)
    return request["sought"] if request and not request["google"] else bare


async def web(
    query: Annotated[str, Verbatim(accepts=is_request), Length(1, 400)], context: Context
) -> Result:
    """Search the web.

    Args:
        query: What to search for.
    """
    query = sought(query)
    context.progress("Searching the web")
    hits = await context.web.search(query, _MOST)
    if not hits:
        raise ToolError(f"Nothing was found for “{query}”.", "Other words may find more.")
    lines = [f"Found for “{query}”:"]
    for number, hit in enumerate(hits, 1):
        lines += [f"{number}. {hit.title}", f"   {hit.address}"]
        if hit.text:
            lines.append(f"   {hit.text}")
    return Result(
        "\n".join(lines),
        data={
            "query": query,
            "count": len(hits),
            "addresses": [hit.address for hit in hits],
            "told": "Found: " + "; ".join(f"{hit.title} ({hit.address})" for hit in hits[:3]),
        },
        evidence=tuple(Evidence(hit.address, hit.title, hit.text) for hit in hits if hit.text),
    )
