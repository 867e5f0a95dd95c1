"""The table of system calls: one row a call.

Schemas for the model, the grammar that binds it and the dispatch all come from these rows.
Tools' rows arrive through the loader, the kernel's own (processes) are here; both go through the
same door.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmos import limits
from llmos.errors import CallFailed, KernelError, UnknownCall
from llmos.kernel.monitor import Declared, From
from llmos.kernel.spans import Copied
from llmos.labels import Label
from llmos.services import Artifact, Evidence

if TYPE_CHECKING:
    from llmos.kernel.kernel import Kernel
    from llmos.kernel.process import Process

__all__ = [
    "CODE_RAISED",
    "Example",
    "Invocation",
    "Outcome",
    "Previewed",
    "Syscall",
    "SyscallTable",
    "process_calls",
]


#: The stable code of a call that was made and whose code failed (``Outcome.failed``).
CODE_RAISED = "code_raised"

_RUNNERS = frozenset({"interpreter", "shell"})  # services that run what they are given


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: a question, the arguments that answer it and the result."""

    question: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave.

    Args:
        text: For the model.
        said: Ways to say the same to a person, each a sentence without its full stop.
        label: Where it came from; without one, from the call itself.
        vouched: Values in it that are trusted whoever wrote the rest.
        artifacts: Files it made.
        evidence: Texts that an answer may cite.
        payload: What code that made the call gets in the place of the text.
        failed: What it ran failed, such as code that raised: the text is for the model all the
            same, whole and as it is.
    """

    text: str
    said: tuple[str, ...] = ()
    label: Label | None = None
    vouched: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    payload: bytes | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a call would change.

    Args:
        text: For the person; empty where there is nothing to show.
        seen: Identifies the state that was shown.
    """

    text: str
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call as it is made: by whom, and how it reports.

    Args:
        process: Whose turn it is.
        tell: Takes how far it is: a few words, and the part that is done or None.
        seen: Of the preview that the person agreed to.
        clock: Seconds by which its limit is measured: it stands still while a person is asked.
    """

    process: Process
    tell: Callable[[str, float | None], None] = lambda _text, _done: None
    seen: str = ""
    clock: Callable[[], float] = time.monotonic


Run = Callable[[Invocation, Mapping[str, Any]], Awaitable[Outcome]]
Preview = Callable[[Invocation, Mapping[str, Any]], Awaitable[Previewed]]


@dataclass(frozen=True, slots=True)
class Syscall:
    """One row.

    Args:
        name: ``tool.function``.
        description: What it is for, in a sentence.
        schema: JSON schema of the arguments.
        effect: ``pure``, ``read``, ``memory``, ``write``, ``execute``, ``egress`` or ``process``.
        run: Makes the call; raises ``SyscallError``.
        examples: Questions it answers, by which it is chosen.
        worked: Worked examples.
        timeout: Seconds; 0 leaves it to the call.
        copied: Arguments that are taken from the person's words.
        listed: Arguments that are all the values of a kind in the person's words, by its test.
        asked: Regular expressions of whole messages that ask for it in so many words; their
            named groups are its arguments, which their tests must accept; those that are missing
            are empty.
        literal: The same, but what they take is an argument as it stands, to its last mark.
        wished: Regular expressions of how messages begin that seem to ask for it.
        undone: What a person is told, in a sentence, where one of those was followed by no call.
        sources: Where its arguments may come from, for the monitor.
        among: The only values that arguments may have wherever they come from.
        defaults: What arguments are where they are not given.
        preview: Shows what it would change; None where it cannot.
        check: Checks arguments without making the call; raises ``InvalidArguments``.
        label: Of what it gives; where it fails, too, for an error may quote what it read.
        uses: The services it declares that it uses.
        leads_to: Calls that go on with what this one found: who asks for this one asks for them.
        beside: The call that has to be there for code to make this one, which no model is shown.
        reads_by_call: Whether what it reads is what another call gives.
        owner: Whose code it is, to the byte: of an installed expert's own calls; else empty.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    effect: str
    run: Run
    examples: tuple[str, ...] = ()
    worked: tuple[Example, ...] = ()
    timeout: float = 0.0
    copied: Mapping[str, Copied] = field(default_factory=dict)
    listed: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    literal: tuple[str, ...] = ()
    wished: tuple[str, ...] = ()
    undone: str = ""
    sources: Mapping[str, From] = field(default_factory=dict)
    among: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    preview: Preview | None = None
    check: Callable[[Mapping[str, Any]], None] = lambda _arguments: None
    label: Label | None = None
    uses: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()
    beside: str = ""
    reads_by_call: bool = False
    owner: str = ""

    @property
    def runs_code(self) -> bool:
        """Whether, by its declaration, it runs code, a command or a process of its own."""
        return self.effect in ("execute", "process") or not _RUNNERS.isdisjoint(self.uses)

    @property
    def declared(self) -> Declared:
        """What it says of itself to the monitor."""
        return Declared(self.effect, self.sources, self.among, self.defaults)

    def literally(self, message: str) -> dict[str, str] | None:
        """The arguments of a message that asks for this call in so many words, or None."""
        whole = message.strip()
        if len(whole) > limits.ASKED_CHARS:
            return None
        bare = whole.rstrip(".! ")
        patterns = [(each, bare) for each in self.asked] + [(each, whole) for each in self.literal]
        for pattern, said in patterns:
            if found := re.fullmatch(pattern, said, re.IGNORECASE | re.DOTALL):
                groups = {name: value.strip() for name, value in found.groupdict().items()}
                if not all(self._is_value(name, value) for name, value in groups.items()):
                    continue
                texts = (n for n, s in self.schema["properties"].items() if _is_text(s))
                return {**dict.fromkeys(texts, ""), **groups}
        return None

    def _is_value(self, name: str, value: str) -> bool:
        copied = self.copied.get(name)
        return copied is None or copied.accepts is None or copied.accepts(value)

    def left_undone(self, message: str) -> str:
        """What is to be said where no call followed a message; empty if it asked for none."""
        said = message.strip()[: limits.ASKED_CHARS]
        asks = self.literally(message) is not None or any(
            re.match(pattern, said, re.IGNORECASE | re.DOTALL) for pattern in self.wished
        )
        return self.undone if asks else ""

    @property
    def function_schema(self) -> dict[str, Any]:
        """The row as an OpenAI ``tools`` entry."""
        about = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.schema),
        }
        return {"type": "function", "function": about}


def _is_text(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"


class SyscallTable:
    """All rows, by name.

    Args:
        rows: The calls there are.

    Raises:
        KernelError: Two rows have one name.
    """

    def __init__(self, rows: Iterable[Syscall] = ()) -> None:
        self._rows: dict[str, Syscall] = {}
        for row in rows:
            if row.name in self._rows:
                raise KernelError(f"There are two calls named {row.name}.")
            self._rows[row.name] = row

    def __iter__(self) -> Iterator[Syscall]:
        return iter(self._rows.values())

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, name: str) -> Syscall:
        """The row called ``name``.

        Raises:
            UnknownCall: There is none; the sentence lists what there is.
        """
        try:
            return self._rows[name]
        except KeyError:
            known = ", ".join(sorted(self._rows)) or "none"
            raise UnknownCall(f"There is no call {name!r}. There are: {known}.") from None

    def rows(self, names: Iterable[str] | None = None) -> list[Syscall]:
        """All rows, or those called ``names``."""
        return list(self._rows.values()) if names is None else [self.get(n) for n in names]


def process_calls(kernel: Callable[[], Kernel]) -> list[Syscall]:
    """The kernel's own calls: a child process for a part of the work."""

    async def spawn(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        pid = await kernel().children.spawn(by.process, str(arguments["task"]))
        return Outcome(f"Process {pid} is working on it. Use process.wait to read its answer.")

    async def wait(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        pid = int(arguments["pid"])
        answer, label = await kernel().children.answer(by.process, pid)
        if not answer:
            raise CallFailed(f"Process {pid} ended without an answer.")
        return Outcome(answer, label=label)

    return [
        Syscall(
            name="process.spawn",
            description="Give a part of the work to another assistant that runs beside you.",
            schema={
                "type": "object",
                "properties": {
                    "task": {"type": "string", "description": "The task, complete in itself."}
                },
                "required": ["task"],
                "additionalProperties": False,
            },
            effect="process",
            run=spawn,
        ),
        Syscall(
            name="process.wait",
            description="Wait for an assistant you started and read its answer.",
            schema={
                "type": "object",
                "properties": {"pid": {"type": "integer", "description": "Its number."}},
                "required": ["pid"],
                "additionalProperties": False,
            },
            effect="process",
            run=wait,
        ),
    ]
