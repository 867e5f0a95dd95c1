"""What a page has besides its text: title, links, fields of forms; or the hits a search page shows.

Run by its path in a jail, isolated, once for one page; it knows lxml and pypdf and nothing of
llmos. In: a line of JSON (``kind``: ``page``, ``pdf`` or ``hits``; ``path``: where the libraries
lie; ``base``; bounds), then the bytes. Out: one JSON object. Whatever a page makes of this process
ends with it, and nothing it says is believed without a look.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any
from urllib.parse import urldefrag, urljoin

__all__: list[str] = []

_CHOICES = 20  # of a list in a form that are shown


def main() -> None:
    setup = json.loads(sys.stdin.buffer.readline())
    sys.path.extend(setup["path"])
    kinds = {"page": page, "pdf": pdf, "hits": hits}
    json.dump(kinds[setup["kind"]](sys.stdin.buffer.read(), setup), sys.stdout)


def tree(data: bytes) -> Any:
    from lxml import html

    try:
        data.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = None  # what the page says
    parser = html.HTMLParser(encoding=encoding, no_network=True, remove_comments=True)
    return html.document_fromstring(data, parser=parser)


def text_of(element: Any, most: int) -> str:
    return " ".join(" ".join(element.itertext()).split())[:most]


def page(data: bytes, setup: dict[str, Any]) -> dict[str, Any]:
    root = tree(data)
    title = next((text_of(found, setup["title_chars"]) for found in root.iter("title")), "")
    base = setup["base"]
    for found in root.iter("base"):
        base = urljoin(base, (found.get("href") or "").strip())
        break
    own = urldefrag(setup["base"]).url
    links: dict[str, str] = {}
    for anchor in root.iter("a", "area"):
        try:
            address = urldefrag(urljoin(base, (anchor.get("href") or "").strip())).url
        except ValueError:
            continue
        if not address.lower().startswith(("http://", "https://")) or address == own:
            continue
        if address not in links or not links[address]:
            links[address] = text_of(anchor, setup["link_chars"]) or named(anchor, setup)
    shown = list(links.items())[: setup["links"]]
    return {
        "title": title,
        "links": [[text, address] for address, text in shown],
        "count": len(links),
        "fields": html_fields(root, setup),
    }


def named(anchor: Any, setup: dict[str, Any]) -> str:
    """What a link without text is called: by its label, or by its picture's."""
    pictures = [picture.get("alt") for picture in anchor.iter("img")]
    for name in (anchor.get("aria-label"), anchor.get("title"), anchor.get("alt"), *pictures):
        if name and name.strip():
            return " ".join(name.split())[: setup["link_chars"]]
    return ""


def html_fields(root: Any, setup: dict[str, Any]) -> list[list[str]]:
    labels = {each.get("for"): text_of(each, 80) for each in root.iter("label") if each.get("for")}
    found = []
    for field in root.iter("input", "select", "textarea"):
        kind = (field.get("type") or "text").lower() if field.tag == "input" else field.tag
        if kind in ("hidden", "submit", "button", "image", "reset"):
            continue
        name = labels.get(field.get("id")) or field.get("aria-label") or field.get("placeholder")
        value = "" if kind == "password" else field.get("value") or ""
        if field.tag == "select":
            choices = [text_of(option, 80) for option in field.iter("option")]
            more = ["…"] if len(choices) > _CHOICES else []
            value = " / ".join([*choices[:_CHOICES], *more])
        found.append([str(name or field.get("name") or "?")[:80], kind[:20], value[:200]])
        if len(found) >= setup["fields"]:
            break
    return found


def pdf(data: bytes, setup: dict[str, Any]) -> dict[str, Any]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    kinds = {"/Tx": "text", "/Btn": "button", "/Ch": "choice", "/Sig": "signature"}
    fields = []
    for name, field in list((reader.get_fields() or {}).items())[: setup["fields"]]:
        value = field.get("/V")
        label = field.get("/TU") or name
        kind = kinds.get(str(field.get("/FT")), "field")
        fields.append([str(label)[:80], kind, "" if value is None else str(value)[:200]])
    title = str((reader.metadata and reader.metadata.title) or "")[: setup["title_chars"]]
    return {"title": title, "links": [], "count": 0, "fields": fields}


def hits(data: bytes, setup: dict[str, Any]) -> dict[str, Any]:
    root = tree(data)
    found: list[list[str]] = []
    heads = set(root.xpath(setup["link"]))
    for element in root.xpath(f"{setup['link']} | {setup['text']}"):  # in the page's order
        if element in heads:
            address = urljoin(setup["base"], element.get("href") or "")
            found.append([address, text_of(element, setup["title_chars"]), ""])
        elif found and not found[-1][2]:
            found[-1][2] = text_of(element, setup["hit_chars"])
    return {"hits": found[: setup["hits"]]}


if __name__ == "__main__":
    main()
