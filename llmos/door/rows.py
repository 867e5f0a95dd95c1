"""From a tool's call to a row of the syscall table.

What the manifest declares becomes what the monitor reads; what a call is lent comes from whoever
builds the table, process by process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmos.door.tools import Call
from llmos.kernel.monitor import From
from llmos.kernel.process import Process
from llmos.kernel.spans import Copied
from llmos.kernel.syscalls import Example, Invocation, Outcome, Previewed, Syscall
from llmos.kernel.trust import vouched
from llmos.kernel.wishes import begins, followed, spelled
from llmos.labels import Label, named
from llmos.sdk import Context, Result, Verbatim

__all__ = ["Lend", "nothing", "row"]


class Lend(Protocol):
    """Gives what a call of a process is lent, by name (``services.SERVICES``)."""

    def __call__(
        self, process: Process, call: str, hosts: Sequence[str] | None = None, role: str = ""
    ) -> Mapping[str, Any]:
        """What the call may use.

        Args:
            process: Whose call it is.
            call: Its name.
            hosts: Patterns of the hosts it may read pages of; None leaves it to the settings.
            role: The expert that makes it; empty for the assistant.
        """
        ...


def nothing(
    process: Process, call: str, hosts: Sequence[str] | None = None, role: str = ""
) -> Mapping[str, Any]:
    """Lends nothing."""
    return {}


def row(call: Call, surroundings: Context, lend: Lend = nothing) -> Syscall:
    """The row of one call.

    Args:
        call: As it was loaded.
        surroundings: What calls are told of the world.
        lend: What they may use of it.
    """

    def context(made: Invocation) -> Context:
        lent = lend(made.process, call.name) if call.uses else {}
        return surroundings.child(lent=lent, told=made.tell, seen=made.seen)

    async def run(made: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        result = await call.run(arguments, context(made), made.clock)
        return _outcome(call, arguments, result, label)

    async def preview(made: Invocation, arguments: Mapping[str, Any]) -> Previewed:
        shown = await call.preview(arguments, context(made))
        return Previewed(shown.text, shown.seen) if shown is not None else Previewed("")

    label = Label(named(call.origin))
    label = label.kept_private() if call.private else label
    among = {name: value for name, value in call.sources.items() if isinstance(value, tuple)}
    return Syscall(
        name=call.name,
        description=call.description,
        schema=call.schema,
        effect=call.effect,
        run=run,
        examples=call.examples,
        worked=tuple(Example(w.question, w.arguments, w.result) for w in call.worked),
        timeout=call.timeout + 1,  # the tool's own limit comes first, and says more
        copied={n: _copied(call, n, v) for n, v in call.verbatim.items() if not _several(call, n)},
        listed={
            name: verbatim.accepts
            for name, verbatim in call.verbatim.items()
            if verbatim.accepts is not None and _several(call, name)
        },
        sources={name: From(said) for name, said in call.sources.items() if isinstance(said, str)},
        among=among,
        defaults=call.defaults,
        preview=preview if call.previews else None,
        check=call.check,
        label=label,
        uses=call.uses,
        leads_to=call.leads_to,
        asked=tuple(map(spelled, call.asked)),
        literal=tuple(
            followed(phrase, name) for name, said in call.literal.items() for phrase in said
        ),
        wished=tuple(map(begins, call.wished)),
        undone=call.undone,
    )


def _outcome(call: Call, arguments: Mapping[str, Any], result: Result, label: Label) -> Outcome:
    return Outcome(
        result.text,
        () if result.failed else call.phrases(arguments, result),  # they tell of what was done
        label=label,
        vouched=tuple(vouched(call.trusted, result.data)) if call.trusted else (),
        artifacts=result.artifacts,
        evidence=result.evidence,
        failed=result.failed,
    )


def _copied(call: Call, name: str, verbatim: Verbatim) -> Copied:
    """How an argument is copied from the person's words.

    Without a test of the tool's own (an expert's stays in its jail) its schema's pattern is one.
    """
    accepts, known = verbatim.accepts, _test(call, verbatim.accepts)
    pattern = call.schema["properties"][name].get("pattern")
    if accepts is None and pattern:
        matches = re.compile(pattern).fullmatch

        def accepts(text: str) -> bool:
            return matches(text) is not None

        known = f"{call.name}.{name}"
    return Copied(accepts, known, verbatim.also, verbatim.joins, verbatim.after)


def _several(call: Call, name: str) -> bool:
    """Whether an argument is a list."""
    schema = call.schema["properties"][name]
    types = [schema.get("type"), *(each.get("type") for each in schema.get("anyOf", ()))]
    return any(kind == "array" or (isinstance(kind, list) and "array" in kind) for kind in types)


def _test(call: Call, test: Any) -> str:
    """A name for a tool's test of values, the same for every argument that uses it."""
    return f"{call.name.partition('.')[0]}.{test.__qualname__}" if test is not None else ""
