"""The words of a question about a call: its literal arguments, where each comes from, and why.

Made by the kernel from the call and the monitor's judgement; nothing a model or a stranger wrote
is part of a sentence here, it is only shown as what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmos import limits
from llmos.events import CallAsked, ToolCall
from llmos.kernel.capabilities import Capability
from llmos.kernel.monitor import From, Judgement, Value
from llmos.kernel.syscalls import Syscall

__all__ = ["always", "question"]

_DOES = {
    "write": "wants to change something on this machine.",
    "execute": "wants to run a program on this machine.",
    "egress": "wants to send something out of this machine.",
}
#: What parts one value from the next where they are told.
_PARTING = re.compile(r"[\s\"=,]")
_FROM = {
    "person": "you said so",
    "trusted": "from a result that is trusted",
    "declared": "one of the call's own values",
    "granted": "you allowed it before",
    "unknown": "the model wrote it",
}


def question(
    pid: int,
    turn: int,
    row: Syscall,
    call: ToolCall,
    judgement: Judgement,
    *,
    preview: str,
    lasting: Capability | None,
) -> CallAsked:
    """What a person is asked about a call.

    Args:
        pid / turn: Where the person is asked.
        row: What is called.
        call: As the model wrote it.
        judgement: Why it is asked.
        preview: What it would change.
        lasting: What would be allowed for longer; None where it can only be allowed once.
    """
    arguments = tuple(
        (value.name, _shown(value.value), _comes(value)) for value in judgement.arguments
    )
    return CallAsked(
        pid=pid,
        turn=turn,
        call=call,
        title=f"{row.name} {_DOES.get(row.declared.effect, 'wants to have an effect.')}",
        reasons=judgement.reasons,
        arguments=arguments,
        preview=preview,
        always=_told(lasting) if lasting is not None else "",
    )


def _comes(value: Value) -> str:
    if value.source == "read":
        return f"read from {', '.join(value.pages[:3])}"
    if value.pages:
        return f"it stands in {', '.join(value.pages[:3])}"
    return _FROM.get(value.source, value.source)


def always(row: Syscall, arguments: Mapping[str, Any]) -> Capability | None:
    """What "always" would allow: the same call with the same values where values matter.

    None where every argument is free, since then it would allow anything; where a value is too
    long to be shown whole, since what nobody read is allowed no more than once; and where a file
    is named by less than its whole path, which elsewhere is another file.
    """
    declared = row.declared
    fixed = {
        name: value
        for name, value in arguments.items()
        if declared.arguments.get(name, From.NAMED) is not From.ANY
    }
    if not fixed or any(
        len(_text(value)) > limits.QUESTION_VALUE_CHARS for value in fixed.values()
    ):
        return None
    partly = (isinstance(v, str) and not v.startswith(("/", "~")) for v in fixed.values())
    if "folders" in row.uses and any(partly):
        return None
    return Capability(row.name, arguments=fixed)


def _told(capability: Capability) -> str:
    values = ", ".join(f"{name} = {_line(value)}" for name, value in capability.arguments.items())
    return f"{capability.call} with {values}"


def _shown(value: Any) -> str:
    """A value as it is, all of it where that can be read."""
    text = _text(value)
    most = limits.QUESTION_VALUE_CHARS
    if len(text) <= most:
        return text
    return f"{text[:most]}… (and {len(text) - most} more characters)"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(value: Any) -> str:
    """A value within a sentence: what could be taken for more of it is written as JSON has it."""
    text = _text(value)
    plain = text.isprintable() and not _PARTING.search(text)
    return text if plain and text else json.dumps(text, ensure_ascii=False)
