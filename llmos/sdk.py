"""The only module that ``tools/`` and ``plugins/`` may import from llmos.

A tool is a folder with ``tool.toml`` and ``__init__.py``. Its functions are ordinary typed Python,
sync or async; type hints and the Google-style docstring become the JSON schema the model sees. A
function that wants to know the time, the person's zone or whether it was cancelled takes a
``Context`` parameter, which is no part of the schema. It returns text, JSON-able data or a
``Result``, and raises ``ToolError`` for what the model should read. A generator, sync or async,
streams: it yields pieces of its text, and may yield a ``Result`` last.

It knows nothing of models, processes or permissions.

Example::

    from typing import Annotated, Literal
    from llmos.sdk import Context, Range, Result, ToolError, Verbatim

    def roll(sides: Annotated[int, Range(2, 1000)], context: Context) -> Result:
        \"\"\"Roll a die.

        Args:
            sides: Number of sides.
        \"\"\"
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from llmos import services
from llmos.services import Artifact, Evidence

__all__ = [
    "Artifact",
    "Context",
    "Evidence",
    "Length",
    "Pattern",
    "Preview",
    "Range",
    "Result",
    "ToolError",
    "Verbatim",
]


class ToolError(Exception):
    """The call cannot be answered, and the model is to be told why.

    Args:
        sentence: What is wrong, in one sentence.
        remedy: What to do instead, or empty.
    """

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".strip()


@dataclass(frozen=True, slots=True)
class Result:
    """What a call gives back.

    Args:
        text: What the model reads: short, and true when read alone.
        data: The same for programs, JSON-able; the fields of a dict fill the manifest's ``say``.
        artifacts: Files it made, for the person.
        evidence: Texts that an answer may cite; the model finds their numbers in the result.
        failed: What it ran for the person failed, such as their code; ``text`` says how. The model
            reads it as any result, and the person sees that the call failed.
    """

    text: str
    data: Any = None
    artifacts: tuple[Artifact, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a call would change, shown to the person before they agree to it.

    A manifest's ``preview`` names a function of the same arguments that returns this and changes
    nothing.

    Args:
        text: A unified diff, or sentences.
        seen: Identifies the state it was made from; the call finds it in ``Context.seen`` and
            changes nothing where that state is gone.
    """

    text: str
    seen: str = ""


# --- what may be said of an argument ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included: ``Annotated[int, Range(1, 10)]``."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Length:
    """Least and most characters of a string, or items of a list."""

    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression the whole string matches."""

    regex: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """The argument is copied from the user's words, not composed by the model.

    Say ``Annotated[str, Verbatim()]``. Who fills in arguments may then offer the model only
    stretches of what the user wrote, and who guards effects may insist on it.

    On a list it says that the list is all such values there; then ``accepts`` is needed, and the
    rest has no meaning.

    Args:
        also: Values that are right without standing there, such as ``today``.
        accepts: The tool's own test of a value: quick, and never raising. It finds the values in
            what the user wrote.
        joins: Marks such as ``" + "`` that may join several accepted stretches, or numbers, into
            one value; empty where a value is copied whole.
        after: For a value that may be any words: those that it stands behind, such as ``to`` and
            ``about``; without one of them nothing is said of it, where ``also`` allows that.
    """

    also: tuple[str, ...] = ()
    accepts: Callable[[str], bool] | None = None
    joins: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


# --- what a call is told ------------------------------------------------------------------------


def _local_zone_name() -> str:
    """The machine's IANA zone, or empty where it does not say."""
    named = os.environ.get("TZ", "").lstrip(":")
    if named:
        return named
    try:
        link = os.path.realpath("/etc/localtime")
    except OSError:
        return ""
    name = link.rpartition("/zoneinfo/")[2] if "/zoneinfo/" in link else ""
    if not name:
        try:
            name = Path("/etc/timezone").read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            name = ""
    return name


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


class Context:
    """What a call may know of the world around it. Safe to use from any thread.

    Args:
        zone: IANA name of the person's time zone; the machine's own where empty or unknown.
        locale: The person's locale (``en_GB``); from the environment where empty.
        clock: Gives the present moment, aware; the system's clock where not given.
        lent: Services of the kernel by name, as ``services.SERVICES`` has them.
        told: Takes what ``progress`` is given.
    """

    def __init__(
        self,
        *,
        zone: str = "",
        locale: str = "",
        clock: Callable[[], datetime] | None = None,
        lent: Mapping[str, Any] | None = None,
        told: Callable[[str, float | None], None] | None = None,
    ) -> None:
        name = zone or _local_zone_name()
        found = _zone(name) if name else None
        #: The person's time zone.
        self.tzinfo: tzinfo = found or UTC
        #: Its IANA name.
        self.zone: str = name if found else "UTC"
        if not found:
            # A machine without a zone database still knows its offset.
            offset = datetime.now().astimezone().tzinfo
            if not zone and offset is not None and offset.utcoffset(None):
                self.tzinfo, self.zone = offset, str(offset)
        environ = os.environ
        said = locale or next(
            (environ[key] for key in ("LC_ALL", "LC_TIME", "LANG") if environ.get(key)), ""
        )
        #: Language and region as in ``en_US``; ``C`` where nothing is known.
        self.locale: str = said.partition(".")[0].partition("@")[0].replace("-", "_") or "C"
        self._clock = clock
        self._lent = dict(lent or {})
        self._told = told
        self._cancelled = threading.Event()
        #: Of the preview that the person agreed to, where there was one.
        self.seen: str = ""

    def now(self) -> datetime:
        """The present moment, in the person's zone."""
        moment = self._clock() if self._clock else datetime.now(UTC)
        return moment.astimezone(self.tzinfo)

    def cancelled(self) -> bool:
        """Whether nobody waits for this call any more. A long function asks now and then."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Tell the call that nobody waits for it (the loader does this)."""
        self._cancelled.set()

    def child(
        self,
        uses: Iterable[str] | None = None,
        *,
        lent: Mapping[str, Any] | None = None,
        told: Callable[[str, float | None], None] | None = None,
        seen: str = "",
    ) -> Context:
        """The same surroundings for one call, to be cancelled by itself.

        Args:
            uses: The services it gets, of those that are lent; None leaves them all.
            lent: More services.
            told: Takes what its ``progress`` is given.
            seen: Of the preview that the person agreed to.
        """
        child = copy.copy(self)
        child._cancelled = threading.Event()
        child._lent = {**self._lent, **(lent or {})}
        if uses is not None:
            child._lent = {name: child._lent[name] for name in uses if name in child._lent}
        child._told = told or self._told
        child.seen = seen or self.seen
        return child

    def progress(self, text: str, done: float | None = None) -> None:
        """Tell the person how far a long call is.

        Args:
            text: A few words.
            done: The part that is done, 0 to 1; None where nobody knows.
        """
        if self._told is not None and not self.cancelled():
            self._told(text, done)

    @property
    def web(self) -> services.Web:
        """The one way to the network."""
        return cast("services.Web", self._service("web"))

    @property
    def folders(self) -> services.Folders:
        """The folders the person granted."""
        return cast("services.Folders", self._service("folders"))

    @property
    def interpreter(self) -> services.Interpreter:
        """Python in a jail, a session of this conversation's own."""
        return cast("services.Interpreter", self._service("interpreter"))

    @property
    def shell(self) -> services.Shell:
        """A command line in a jail."""
        return cast("services.Shell", self._service("shell"))

    @property
    def timers(self) -> services.Timers:
        """Reminders of this conversation."""
        return cast("services.Timers", self._service("timers"))

    @property
    def clipboard(self) -> services.Clipboard:
        """The desktop's clipboard."""
        return cast("services.Clipboard", self._service("clipboard"))

    @property
    def machine(self) -> services.Machine:
        """What the machine is doing."""
        return cast("services.Machine", self._service("machine"))

    def _service(self, name: str) -> Any:
        if name not in self._lent:
            raise ToolError(
                f"There is no {name} here.", f'The manifest must say: uses = ["{name}"].'
            )
        return self._lent[name]
