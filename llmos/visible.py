"""Text made harmless for a terminal.

What a model, a tool or a web page wrote is untrusted. A terminal acts on escape sequences,
bidirectional marks make text read otherwise than it is stored, and white space can push what
follows it out of view; all of that becomes visible here. Letters that look like others stay.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["REPLACEMENT", "encodable", "legible", "visible"]

#: Stands where a character was that must not reach a terminal and has no picture of its own.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# C0 controls and DEL have pictures one cell wide (U+2400 block); C1 controls, bidirectional
# marks, invisible operators, line separators, tags and lone surrogates have none. The zero-width
# joiners stay: Persian, Hindi and family emoji are spelt with them.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"} | {
    0x7F: 0x2421
}
_HIDDEN = re.compile(
    "[\u0080-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
#: What has no width and no meaning but behind certain characters; it can carry a message unseen.
_UNSEEN = re.compile(
    "[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0e\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0080-\U000e0fff]"
    # what makes a picture of a sign, and joiners: once, where they belong
    "|(?<![©®\u203c-\u3299\U0001f000-\U0001faff0-9#*])\ufe0f"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
    "|(?<=[\u200c\u200d])[\u200c\u200d]"
)
_SPACES = " \u00a0\u115f\u1160\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\uffa0"
#: A blank, and whatever has no width behind it.
_BLANK = f"[{_SPACES}][\u034f\u17b4\u17b5\u180b-\u180d\u200c\u200d\ufe00-\ufe0f]*"
_RUN = re.compile(f"(?:{_BLANK}){{17,}}")  # wider than code is indented
_GAP = re.compile(f"\n(?:(?:{_BLANK})*\n){{3,}}")
_ENDS = re.compile(r"\n{5,}")
_END = re.compile(f"(?:{_BLANK})+$")


def visible(text: str) -> str:
    """``text`` with everything a terminal might act on shown instead of sent.

    Newlines and tabs stay, ``\\r\\n`` becomes a newline; escape becomes ``␛``, and so on.
    """
    return _HIDDEN.sub(REPLACEMENT, text.replace("\r\n", "\n").translate(_PICTURES))


def legible(text: str, *, line: bool = False) -> str:
    """As ``visible``, and with a mark where white space could hide what comes behind it.

    For what a person says yes to. What has no width is shown where it means nothing. Long runs of
    blanks, and of empty lines, are counted, and a blank at the very end is shown; what is shown is
    no longer text to be taken over.

    Args:
        line: Keep it on one line.
    """
    shown = _UNSEEN.sub(REPLACEMENT, visible(text))
    if line:
        shown = _ENDS.sub(lambda ends: f"⟨{len(ends[0]):,} line ends⟩", shown)
        shown = shown.replace("\n", "␊").replace("\t", "␉")
    shown = _GAP.sub(
        lambda gap: f"\n⟨{gap[0].count(chr(10)) - 1:,} empty lines⟩\n", shown.expandtabs(4)
    )
    shown = _RUN.sub(lambda run: f"⟨{len(run[0]):,} spaces⟩", shown)
    return _END.sub(lambda end: "␣" * len(end[0]), shown)


def encodable(value: Any) -> Any:
    """JSON-like data without lone surrogates, which nobody could store, send or show."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value
