"""What leaves the kernel: small frozen dataclasses, and their JSON form.

A terminal, the server and the journal know these and nothing deeper. Every event names the
process it belongs to. ``seq`` is set for events that the journal keeps (a terminal that
reconnects asks for everything after the last ``seq`` it saw); token deltas have none: after a
reconnect the whole reply so far comes in ``TurnState``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "BY_REMINDER",
    "EVENTS",
    "REMINDER",
    "ArtifactInfo",
    "ArtifactsMade",
    "CallAnswered",
    "CallAsked",
    "CallFinished",
    "CallProgress",
    "CallStarted",
    "Cited",
    "Event",
    "Message",
    "ProcessChanged",
    "ProcessInfo",
    "Recalled",
    "ReplyDelta",
    "ReplyFinished",
    "ReplyHeard",
    "Source",
    "StoredMessage",
    "ToolCall",
    "TurnFinished",
    "TurnStarted",
    "TurnState",
    "Usage",
    "WindowChanged",
    "from_json",
    "message_from_json",
    "to_json",
]


#: How the message begins that wakes a process with a reminder, and what such a message is named.
REMINDER, BY_REMINDER = "(Reminder)", "reminder"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One system call as the model wrote it: ``name`` is ``tool.function``."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: The text, whole.
        calls: Calls an assistant message made.
        call_id: For a tool message, the call it answers.
        name: For a tool message, the call's name; for a user message, ``BY_REMINDER`` where a
            reminder wrote it, or how much of it a person did (``memory.records.piped``).
    """

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Exact counts of one generation or one turn, in tokens and seconds.

    Args:
        prompt_tokens: Length of the prompt; of the last one, where a turn had several.
        cached_tokens: Of these, tokens whose cells were there already.
        completion_tokens: Tokens sampled.
        prefill_s: Time from admission to the first token.
        decode_s: Time from the first token to the last.
        queue_s: Time from submission to admission.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process as ``ps`` shows it.

    Args:
        state: ``ready``, ``running``, ``waiting``, ``stopped`` or ``ended``.
        created / active: Seconds since the epoch; ``active`` is the last message's time.
        context_tokens / window_tokens: Exact fill of the window after the last turn.
        tokens / calls: Used so far, over all turns.
        expert: Whom it was begun with; empty for nobody.
    """

    pid: int
    title: str
    state: str
    priority: str
    parent: int = 0
    created: float = 0.0
    active: float = 0.0
    turns: int = 0
    context_tokens: int = 0
    window_tokens: int = 0
    tokens: int = 0
    calls: int = 0
    reason: str = ""
    expert: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as the journal keeps it.

    Args:
        seq: Its place in the journal, for ``events(after=…)``.
        time: Seconds since the epoch.
        message: The message itself.
        error / seconds: For a tool message: stable code (empty when it succeeded), duration.
        partial: The reply was cut short (interrupted, killed or out of budget).
    """

    seq: int
    id: str
    turn: int
    time: float
    message: Message
    error: str = ""
    seconds: float = 0.0
    partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened to process ``pid``."""

    type: ClassVar[str] = "event"
    pid: int
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessChanged(Event):
    """A process was created, changed state, was renamed or ended.

    Args:
        state: ``ready``, ``running``, ``waiting``, ``stopped`` or ``ended``.
    """

    type: ClassVar[str] = "process"
    state: str
    title: str = ""
    parent: int = 0
    priority: str = "interactive"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Event):
    """A message was journalled and its turn has begun (``message_id`` acknowledges it).

    Args:
        by: What wrote it, where no person did: ``BY_REMINDER``.
    """

    type: ClassVar[str] = "turn.started"
    turn: int
    message_id: str
    text: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDelta(Event):
    """More text of the reply being written. ``tokens`` counts what it was decoded from."""

    type: ClassVar[str] = "reply.delta"
    turn: int
    text: str
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """The model made a system call and it is running."""

    type: ClassVar[str] = "call.started"
    turn: int
    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProgress(Event):
    """How far a running call is.

    Args:
        text: A few words.
        done: The part that is done, 0 to 1; None where nobody knows.
    """

    type: ClassVar[str] = "call.progress"
    turn: int
    call_id: str
    text: str
    done: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAsked(Event):
    """A call waits until a person allows or denies it. Everything here is the kernel's wording.

    Args:
        title: What is to be done, in a sentence.
        reasons: Why it is asked, a sentence each.
        arguments: Name, literal value and where it comes from, of each argument.
        preview: What would change, as a unified diff or in sentences; empty where nobody knows.
        always: What "always" and "for this conversation" would allow; empty where it can only be
            allowed once.
    """

    type: ClassVar[str] = "call.asked"
    turn: int
    call: ToolCall
    title: str
    reasons: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str, str], ...] = ()
    preview: str = ""
    always: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered(Event):
    """A question about a call is settled: ``once``, ``conversation``, ``always`` or ``no``."""

    type: ClassVar[str] = "call.answered"
    turn: int
    call_id: str
    answer: str


@dataclass(frozen=True, slots=True)
class Source:
    """What a sentence of an answer rests on.

    Args:
        number: As the answer cites it.
        title / address: What it is called, and where it stands.
        quote: The stretch of its text that says so, to the letter.
        sentence: Of the answer.
    """

    number: int
    title: str
    address: str
    quote: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited(Event):
    """The sources of an answer, checked: only those that hold.

    Args:
        message_id: The answer's.
        sources: In its order.
        dropped: Numbers that the model wrote and that do not hold.
    """

    type: ClassVar[str] = "cited"
    turn: int
    message_id: str
    sources: tuple[Source, ...] = ()
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """A file that a call made, as it is kept.

    Args:
        id: The SHA-256 of its bytes, in hexadecimal.
        name: A bare file name.
        media: Media type, such as ``image/png``.
        size: In bytes.
    """

    id: str
    name: str
    media: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Event):
    """A system call ended. ``error`` is its stable code, empty when it succeeded."""

    type: ClassVar[str] = "call.finished"
    turn: int
    call: ToolCall
    result: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsMade(Event):
    """A call made files; each is fetched by its id."""

    type: ClassVar[str] = "artifacts"
    turn: int
    call_id: str
    artifacts: tuple[ArtifactInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFinished(Event):
    """One assistant message is whole and journalled (a turn with calls has several)."""

    type: ClassVar[str] = "reply.finished"
    turn: int
    message_id: str
    text: str
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyHeard(Event):
    """An assistant message was cut to what was heard of it: ``text``, which may be empty."""

    type: ClassVar[str] = "reply.heard"
    turn: int
    message_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished(Event):
    """The turn is over.

    Args:
        reason: ``stop``, ``length``, ``interrupted``, ``budget``, ``loop``, ``too_long`` (the
            model is not shown this turn again) or ``error``.
        error: The sentence for the person, with its remedy, where there is one.
    """

    type: ClassVar[str] = "turn.finished"
    turn: int
    reason: str
    usage: Usage
    context_tokens: int = 0
    window_tokens: int = 0
    error: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnState(Event):
    """Sent once to a terminal that connects in mid-turn: what was written so far."""

    type: ClassVar[str] = "turn.state"
    turn: int
    text: str
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowChanged(Event):
    """Pages left the window; each can be recalled by its id.

    Args:
        evicted: Their ids.
    """

    type: ClassVar[str] = "window"
    turn: int
    evicted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled(Event):
    """Stored pages were brought into a turn, because they belong to what the person said.

    Args:
        pages: Their ids.
        places: Where each stands, for a person: a page's id, or a file with its lines or page.
    """

    type: ClassVar[str] = "recalled"
    turn: int
    pages: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


EVENTS: dict[str, type[Event]] = {
    cls.type: cls
    for cls in (
        ProcessChanged,
        TurnStarted,
        ReplyDelta,
        CallStarted,
        CallProgress,
        CallAsked,
        CallAnswered,
        CallFinished,
        ArtifactsMade,
        ReplyFinished,
        ReplyHeard,
        Cited,
        TurnFinished,
        TurnState,
        WindowChanged,
        Recalled,
    )
}


def to_json(event: Event) -> dict[str, Any]:
    """The event as JSON-ready data, with its ``type``."""
    return {"type": event.type, **dataclasses.asdict(event)}


def _call(data: dict[str, Any]) -> ToolCall:
    return ToolCall(data["id"], data["name"], data["arguments"])


def message_from_json(data: dict[str, Any]) -> Message:
    """The message that ``dataclasses.asdict`` wrote."""
    calls = tuple(_call(call) for call in data.get("calls", ()))
    return Message(
        data["role"], data["content"], calls, data.get("call_id", ""), data.get("name", "")
    )


def from_json(data: dict[str, Any]) -> Event:
    """The event that ``to_json`` wrote.

    Unknown fields are ignored, so that a terminal outlives a newer kernel.

    Raises:
        KeyError: The type is unknown or a field is missing.
    """
    cls = EVENTS[data["type"]]
    names = {field.name for field in dataclasses.fields(cls)}
    values = {key: value for key, value in data.items() if key in names}
    if "call" in values:
        values["call"] = _call(values["call"])
    if "calls" in values:
        values["calls"] = tuple(_call(call) for call in values["calls"])
    for key in ("evicted", "pages", "places", "reasons", "dropped"):
        if key in values:
            values[key] = tuple(values[key])
    if "arguments" in values:
        values["arguments"] = tuple(tuple(each) for each in values["arguments"])
    if "sources" in values:
        values["sources"] = tuple(Source(**each) for each in values["sources"])
    if "artifacts" in values:
        values["artifacts"] = tuple(ArtifactInfo(**each) for each in values["artifacts"])
    if "usage" in values:
        values["usage"] = Usage(**values["usage"])
    return cls(**values)
