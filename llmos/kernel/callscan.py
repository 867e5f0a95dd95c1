"""Reads calls out of a reply while it is being written.

``CallScanner`` parts what a person may see from what is a call, character by character, and never
shows a piece of text that could still turn out to be the beginning of one. It tolerates nothing:
a call that is not exactly well formed raises ``InvalidArguments`` with a sentence the model can
act on. Whether the named call exists and its arguments fit is not known here.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

from llmos import limits
from llmos.errors import InvalidArguments
from llmos.events import ToolCall

__all__ = ["CallScanner", "HasSyntax", "Syntax", "load_json"]

_MARKS = re.compile(r'["\\{}\[\]]')


@dataclass(frozen=True, slots=True)
class Syntax:
    """The wire form of calls.

    Args:
        opening: Text before a call's JSON.
        closing: Text after it; empty where the JSON's own end is the end.
        arguments: The key that holds the arguments.
        is_json: Whether ``opening`` is itself the beginning of the JSON.
        listed: Whether the JSON is a list of calls.
        dropped: Texts that carry no meaning (markers that stand before a call).
        ignored: Further keys that a call may have.
    """

    opening: str
    closing: str = ""
    arguments: str = "arguments"
    is_json: bool = False
    listed: bool = False
    dropped: tuple[str, ...] = ()
    ignored: frozenset[str] = frozenset()


class HasSyntax(Protocol):
    """Whatever knows the wire form of its calls."""

    @property
    def syntax(self) -> Syntax: ...


class _JsonEnd:
    """Finds where a JSON object or list ends, without reading any of it twice."""

    def __init__(self) -> None:
        self.depth = 0
        self.quoted = False
        self.escaped = False

    def feed(self, text: str, start: int) -> int:
        """The place in ``text`` just behind the value's end, or -1 while it goes on."""
        at = start
        while at < len(text):
            if self.escaped:
                self.escaped = False
                at += 1
                continue
            found = _MARKS.search(text, at)
            if found is None:
                return -1
            mark, at = found.group(), found.end()
            if self.quoted:
                self.escaped = mark == "\\"
                self.quoted = mark != '"'
            elif mark == '"':
                self.quoted = True
            elif mark in "{[":
                self.depth += 1
                if self.depth > limits.CALL_DEPTH:
                    raise InvalidArguments("The call's arguments are nested too deeply.")
            elif mark in "}]":
                self.depth -= 1
                if self.depth <= 0:
                    return at
        return -1


class CallScanner:
    """Parts a reply into text and calls, as it arrives.

    Args:
        form: The form of the model's calls, a ``CallFormat``.
    """

    def __init__(self, form: HasSyntax) -> None:
        self.syntax = form.syntax
        self.calls: list[ToolCall] = []
        self._held = ""  # text that may be, or is, part of a call
        self._json: _JsonEnd | None = None  # set inside a call
        self._seen = 0  # of the held text, what the JSON scan has read
        self._closed_at = -1  # where the JSON ended
        self._drop_space = False  # white space between calls says nothing

    def feed(self, text: str) -> str:
        """Take more of the reply.

        Returns:
            Text to show now; it is never part of a call nor of what may become one.

        Raises:
            InvalidArguments: A call is malformed. The scanner is of no use afterwards.
        """
        self._held += text
        out: list[str] = []
        while True:
            if self._json is None:
                shown = self._outside()
                out.append(shown)
                if self._json is None:
                    return "".join(out)
            elif not self._inside():
                return "".join(out)

    def finish(self) -> str:
        """The reply is over.

        Returns:
            Text that was held back and turned out to be text.

        Raises:
            InvalidArguments: It ended within a call.
        """
        if self._json is not None:
            raise InvalidArguments("The call was not finished.")
        text, self._held = self._held, ""
        return "" if self._drop_space and not text.strip() else text

    # --- outside and inside of calls ----------------------------------------------------------

    def _outside(self) -> str:
        syntax = self.syntax
        marks = (syntax.opening, *syntax.dropped)
        shown = ""
        while True:
            found = [(place, mark) for mark in marks if (place := self._held.find(mark)) >= 0]
            if not found:
                break
            place, mark = min(found)
            shown += self._show(self._held[:place].rstrip())
            self._drop_space = True
            if mark == syntax.opening:
                self._held = self._held[place if syntax.is_json else place + len(mark) :]
                self._json, self._seen, self._closed_at = _JsonEnd(), 0, -1
                return shown
            self._held = self._held[place + len(mark) :]
        keep = max((_overlap(self._held, mark) for mark in marks), default=0)
        end = len(self._held[: len(self._held) - keep].rstrip())
        shown += self._show(self._held[:end])
        self._held = self._held[end:]
        return shown

    def _show(self, text: str) -> str:
        if text:
            self._drop_space = False
        return text

    def _inside(self) -> bool:
        """Go on within a call; whether it is complete."""
        syntax, held, scan = self.syntax, self._held, self._json
        assert scan is not None
        if len(held) > limits.CALL_CHARS:
            raise InvalidArguments("The call is too long.")
        if self._closed_at < 0:
            if not scan.depth:
                body = held.lstrip()
                opens = "[" if syntax.listed else "{"
                if body and body[0] != opens:
                    raise InvalidArguments(
                        f"A call must begin with {opens!r}, not with {body[0]!r}."
                    )
            self._closed_at = scan.feed(held, self._seen)
            self._seen = len(held)
            if self._closed_at < 0:
                return False
        rest = held[self._closed_at :]
        if syntax.closing:
            behind = rest.lstrip()
            if not behind.startswith(syntax.closing):
                if syntax.closing.startswith(behind):
                    return False
                raise InvalidArguments(f"After its JSON a call must end with {syntax.closing}.")
            rest = behind[len(syntax.closing) :]
        self._take(held[: self._closed_at])
        self._held, self._json = rest, None
        return True

    def _take(self, text: str) -> None:
        value = load_json(text)
        for item in value if self.syntax.listed else [value]:
            if len(self.calls) >= limits.CALLS_PARALLEL_MAX:
                raise InvalidArguments(f"More than {limits.CALLS_PARALLEL_MAX} calls at once.")
            self.calls.append(self._call(item))

    def _call(self, item: Any) -> ToolCall:
        key = self.syntax.arguments
        if not isinstance(item, dict):
            raise InvalidArguments("A call must be a JSON object.")
        name, arguments = item.get("name"), item.get(key)
        if not isinstance(name, str) or not 0 < len(name) <= limits.CALL_NAME_CHARS:
            raise InvalidArguments('A call needs a "name", a short string.')
        if not isinstance(arguments, dict):
            raise InvalidArguments(f'The call of {name} needs "{key}", a JSON object.')
        extra = sorted(item.keys() - {"name", key} - self.syntax.ignored)
        if extra:
            raise InvalidArguments(f'The call of {name} has an unknown key "{extra[0][:64]}".')
        return ToolCall(f"call_{secrets.token_hex(12)}", name, arguments)


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of ``text`` begin ``mark``."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0


def load_json(text: str) -> Any:
    """Strict JSON of bounded size and depth.

    Raises:
        InvalidArguments: It is not JSON, is too large, or has text that is not Unicode.
    """
    if len(text) > limits.CALL_CHARS:
        raise InvalidArguments("The call is too long.")
    if _too_deep(text):
        raise InvalidArguments("The call's arguments are nested too deeply.")

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        value = json.loads(text, parse_constant=constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise InvalidArguments(
            f"The call is not valid JSON: {error.msg} at character {error.pos}."
        ) from None
    except UnicodeEncodeError:
        raise InvalidArguments("The call has text that is not Unicode.") from None
    except (ValueError, RecursionError):  # a number too long or too large
        raise InvalidArguments("The call has a number that is out of range.") from None
    return value


def _too_deep(text: str) -> bool:
    try:
        scan, at = _JsonEnd(), 0
        while at >= 0:
            at = scan.feed(text, at)
            scan.depth = max(scan.depth, 0)
    except InvalidArguments:
        return True
    return False
