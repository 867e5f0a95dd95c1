"""A stretch of Markdown without its marks, every character keeping its place.

What a reader does not see is overwritten with ``GONE``, so that the result is as long as the text
and offsets stay what they are. Local by design: a clause may begin or end within bold type, so
asterisks are told from products by their neighbours and never by their partner. Knows inline
markup only (``lines.py`` has the rest), and of LaTeX what people write into sentences.
"""

from __future__ import annotations

import html
import re
import unicodedata

__all__ = ["GONE", "masked", "visible"]

#: Stands where nothing is seen; no width.
GONE = "\0"

_LINK_TEXT = 200  # characters; longer brackets are brackets
_ADDRESS = 2_000  # characters; browsers take no longer ones for granted
_SPAN = 200  # characters of code, of a formula in a line
_TAG = 300  # characters

_MARKUP = re.compile(
    rf"""
      (?P<code>(?P<ticks>`{{1,3}})(?P<coded>[^`]{{1,{_SPAN}}})(?P=ticks)(?!`))
    | (?P<task>\[[ xX]\](?=\s))
    | (?P<cited>\[\^?\d{{1,3}}(?:[,;–-]\s?\^?\d{{1,3}}){{0,9}}\](?!\()|【[^【】]{{0,99}}】)
    | (?P<link>!?\[(?P<linked>[^\[\]]{{0,{_LINK_TEXT}}})\]
        (?:\((?:[^()\s]|\([^()\s]{{0,99}}\)){{0,{_ADDRESS}}}+(?:\s+"[^"]{{0,200}}")?\)
          |\[[^\[\]]{{0,99}}\]))
    | (?P<auto><(?P<address>(?:https?://|mailto:)[^\s<>]{{1,{_ADDRESS}}})>)
    | (?P<tag><(?P<closing>/?)(?P<name>[A-Za-z][\w-]{{0,20}})(?:[\s/][^<>]{{0,{_TAG}}})?>
        |<!--[^>]{{0,{_TAG}}}>)
    | (?P<math>\$\$(?=[^\s$])(?P<double>[^$\n]{{1,{_SPAN}}})(?<!\s)\$\$
        |\$(?=[^\s\d$])(?P<dollar>[^$\n]{{1,{_SPAN}}})(?<!\s)\$(?!\d)
        |\$(?=\S)(?P<digits>\d[^$\n]{{0,{_SPAN}}}[=^\\_][^$\n]{{1,{_SPAN}}})(?<!\s)\$(?!\d)
        |\\\((?P<paren>[^\n]{{1,{_SPAN}}}?)\\\))
    | (?P<escape>\\[!-/:-@\[-`{{-~])
    | (?P<entity>&(?:\#\d{{1,7}}|\#x[\da-fA-F]{{1,6}}|[A-Za-z]{{2,12}});)
    | (?P<stars>\*++)
    | (?P<unders>_++)
    | (?P<strike>~~)
    """,
    re.VERBOSE,
)
#: Tags that stand between words rather than within them.
_APART = {"br", "p", "div", "li", "td", "th", "tr", "ul", "ol", "hr", "details", "summary"}

_LATEX = re.compile(
    r"\\frac\s*\{(?P<over>[^{}]*)\}\s*\{(?P<under>[^{}]*)\}"
    r"|\\sqrt\s*\{(?P<root>[^{}]*)\}"
    r"|\\(?:text|mathrm|mathbf|mathit|operatorname)\s*\{(?P<plain>[^{}]*)\}"
    r"|\^(?:\{(?P<power>[^{}]*)\}|(?P<digit>[23])(?!\d))"
    r"|\\(?P<command>[A-Za-z]+)"
    r"|\\(?P<space>[,;:! ])"
    r"|(?P<brace>[{}_])"
)
_COMMANDS = {
    **{"times": "×", "cdot": "×", "div": "÷", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥"},
    **{"geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "to": "→", "rightarrow": "→"},
    **{"infty": "∞", "sum": "∑", "int": "∫", "in": "∈", "implies": "⇒", "percent": "%"},
    **{"degree": "°", "circ": "°", "partial": "∂", "Rightarrow": "⇒"},
}
_POWERS = {"2": "²", "3": "³"}


def masked(text: str) -> str:
    """``text`` with its markup overwritten; as long as it was."""
    return _MARKUP.sub(_mask, text)


def visible(mask: str, start: int) -> tuple[str, tuple[int, ...]]:
    """What is left to see, and how far each of its characters reaches.

    Args:
        mask: See ``masked``.
        start: Its place in the answer.

    Returns:
        The text, and for each character the offset in the answer behind it and behind the marks
        that close upon it.
    """
    text: list[str] = []
    ends: list[int] = []
    for place, char in enumerate(mask, start + 1):
        if char != GONE:
            text.append(char)
            ends.append(place)
        elif ends:
            ends[-1] = place
    return "".join(text), tuple(ends)


def _mask(found: re.Match[str]) -> str:
    whole = found[0]
    match found.lastgroup:
        case "code":
            return _kept(found, "coded", found["coded"])
        case "link":
            return _kept(found, "linked", masked(found["linked"]))
        case "auto":
            return _kept(found, "address", found["address"])
        case "tag":
            name = (found["name"] or "").lower()
            return " " * (name in _APART) + GONE * (len(whole) - (name in _APART))
        case "math":
            group = next(
                name for name in ("double", "dollar", "digits", "paren") if found[name] is not None
            )
            return _kept(found, group, formula(found[group]))
        case "escape":
            return GONE + whole[1]
        case "entity":
            char = html.unescape(whole)
            return char + GONE * (len(whole) - 1) if len(char) == 1 else whole
        case "stars":
            return whole if _product(found) else GONE * len(whole)
        case "unders":
            before, after = _neighbours(found)
            return whole if before.isalnum() and after.isalnum() else GONE * len(whole)
    return GONE * len(whole)


def _kept(found: re.Match[str], group: str, text: str) -> str:
    """What was found, with only ``group`` left to see, as ``text`` of the same length."""
    return (
        GONE * (found.start(group) - found.start()) + text + GONE * (found.end() - found.end(group))
    )


def _product(found: re.Match[str]) -> bool:
    """Whether a lone asterisk multiplies: ``2 * 3``, ``2*3``."""
    before, after = _neighbours(found)
    if len(found[0]) > 1:
        return before.isdigit() and after.isdigit()
    return (before.isspace() and after.isspace()) or (before.isdigit() and after.isdigit())


def _neighbours(found: re.Match[str]) -> tuple[str, str]:
    return (
        found.string[found.start() - 1 : found.start()],
        found.string[found.end() : found.end() + 1],
    )


def formula(text: str) -> str:
    """LaTeX as the characters a voice has words for; as long as it was."""
    return _LATEX.sub(_symbol, text)


def _symbol(found: re.Match[str]) -> str:
    whole = found[0]
    if found["over"] is not None:
        out = formula(found["over"]) + "∕" + formula(found["under"])
    elif found["root"] is not None:
        out = "√" + formula(found["root"])
    elif found["plain"] is not None:
        out = found["plain"]
    elif found["power"] is not None:
        out = _POWERS.get(found["power"]) or "^" + formula(found["power"])
    elif found["digit"] is not None:
        out = _POWERS[found["digit"]]
    elif name := found["command"]:
        out = _COMMANDS.get(name) or _greek(name) or ""
    else:
        out = " " if found["space"] else ""
    return out + GONE * (len(whole) - len(out))


def _greek(name: str) -> str:
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {name.upper()}")
    except KeyError:
        return ""
