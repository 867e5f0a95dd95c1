"""Which calls a person's own words ask for, and with what: settled before a stranger is heard.

The model is shown the person's message alone, never what was read, and a list of the calls there
are; a grammar leaves it nothing but their names and those arguments that choose where an effect
goes. So whatever a page says, it has no part in this. Of what the model writes down only what
stands in the person's words is taken, and it is no permission by itself: the monitor still looks
at every argument.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from llmos import limits
from llmos.engine.backend import Backend, SamplingParams
from llmos.engine.gbnf import Grammar, Lit, alt, seq
from llmos.engine.grammar import SchemaWriter
from llmos.errors import LlmosError
from llmos.events import Message
from llmos.kernel.aside import aside
from llmos.kernel.capabilities import Capabilities
from llmos.kernel.monitor import HARMLESS, From, settle
from llmos.kernel.process import Process
from llmos.kernel.provenance import Words
from llmos.kernel.syscalls import Syscall, SyscallTable

__all__ = ["Settler"]

log = logging.getLogger(__name__)

_ASKED = (
    "You plan. Below are functions and a task. Write down the calls that the task needs, one a "
    "line: the function's name, then what the task says of its arguments as JSON; leave out what "
    "it does not say. Write none where it needs none."
)


class Settler:
    """Asks the model what a task needs.

    Args:
        backend: The processor.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def settle(
        self, process: Process, calls: SyscallTable, words: str
    ) -> Capabilities | None:
        """The calls with an effect that ``words`` ask for; None where the model could not tell.

        Args:
            process: For whom; its priority is used.
            calls: What can be called.
            words: What the person said, nothing else.
        """
        rows = {row.name: row for row in calls if row.effect not in HARMLESS}
        if not rows:
            return Capabilities()
        task = words[: limits.SETTLE_CHARS]
        listed = "\n".join(map(_listed, rows.values()))
        messages = [Message("system", _ASKED), Message("user", f"{listed}\n\nTask: {task}")]
        try:
            written = await self._written(process, messages, list(rows.values()))
        except LlmosError as error:
            log.warning("nobody can tell what process %d may call: %s", process.pid, error)
            return None
        said = Words([words])
        settled = Capabilities()
        for line in written.splitlines()[: limits.SETTLE_LINES]:
            name, _, told = line.strip().partition(" ")
            if name in rows:
                settled.give(settle(name, _arguments(told), said))
        return settled

    async def _written(
        self, process: Process, messages: Sequence[Message], rows: Sequence[Syscall]
    ) -> str:
        prompt = await self._backend.prompt(messages)
        native = self._backend.info.native_calls
        params = SamplingParams(
            max_tokens=limits.SETTLE_TOKENS, grammar="" if native else _grammar(rows)
        )
        return await aside(self._backend, prompt, params, process)


def _controls(row: Syscall) -> dict[str, Any]:
    """The schemas of those arguments that choose where an effect goes."""
    return {
        name: schema
        for name, schema in row.schema.get("properties", {}).items()
        if row.sources.get(name, From.NAMED) is not From.ANY
    }


def _listed(row: Syscall) -> str:
    """A call in the list of what there is."""
    return f"{row.name} {{{', '.join(_controls(row))}}}: {row.description}"


def _arguments(written: str) -> dict[str, Any]:
    """What was written of a call's arguments; nothing where it cannot be read."""
    try:
        told = json.loads(written or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _grammar(rows: Sequence[Syscall]) -> str:
    """Lines of a call's name and some of its arguments; or the word none."""
    grammar = Grammar()
    lines = []
    for row in rows:
        schema = {
            "type": "object",
            "properties": _controls(row),
            "required": [],
            "additionalProperties": False,
        }
        told = SchemaWriter(grammar, schema, canonical=True).expression(row.name)
        lines.append(seq(f"{row.name} ", told, Lit("\n")))
    line = grammar.rule("line", alt(*lines))
    return grammar.render(alt("none", grammar.repeat(line, 1, limits.SETTLE_LINES)))
