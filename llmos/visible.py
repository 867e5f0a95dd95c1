"""Text made harmless for a terminal.

What a model, a tool or a web page wrote is untrusted. A terminal acts on escape sequences, and
bidirectional marks make text read otherwise than it is stored; both become visible here.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["REPLACEMENT", "encodable", "visible"]

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


def visible(text: str) -> str:
    """``text`` with everything a terminal might act on shown instead of sent.

    Newlines and tabs stay, ``\\r\\n`` becomes a newline; escape becomes ``␛``, and so on.
    """
    return _HIDDEN.sub(REPLACEMENT, text.replace("\r\n", "\n").translate(_PICTURES))


def encodable(value: Any) -> Any:
    """JSON-like data without lone surrogates, which nobody could store, send or show."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value
