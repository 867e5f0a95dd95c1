"""The loader of tools: from a folder with ``tool.toml`` and ``__init__.py`` to calls that run.

Bundled and user-installed tools come through this one door. A broken tool is listed with a
sentence and is never fatal. It knows manifests, schemas and time limits; it knows nothing of the
kernel, of models, or of who may make a call. It is no security boundary: a loaded tool is Python
in this process. The import rule keeps tools to ``llmos.sdk``; the monitor and the sandbox guard.

Sync functions run in a thread of their own, so that one that hangs costs no other call its place;
async functions share one event loop beside the kernel's, so that one that blocks stalls no screen.
Either may be a generator that streams its result (``streamed.py``).
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import itertools
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from llmos import limits, sdk
from llmos.clocks import within_limit
from llmos.door import schema as schemas
from llmos.door import streamed, toolfile
from llmos.door.schema import Signature
from llmos.door.threads import in_own_thread, on_shared_loop
from llmos.door.toolfile import Worked
from llmos.errors import CallFailed, CallTimeout, InvalidArguments, LlmosError
from llmos.visible import encodable

__all__ = ["Broken", "Call", "Loaded", "Tool", "check_entry", "load", "load_all"]

_log = logging.getLogger(__name__)
_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Call:
    """One function of a tool: a row of the table of calls.

    Args:
        name: ``tool.function``.
        description: One sentence, what it is for.
        schema: JSON schema of the arguments.
        examples: Questions a person asks that this call answers.
        worked: Worked examples.
        effect: ``pure``, ``read``, ``write``, ``execute`` or ``egress``.
        timeout: Longest run, in seconds.
        say: Templates that state the result for a person, the best first.
        verbatim: Arguments that are copied from the person's words, and how.
        sources: Where arguments may come from, as in ``toolfile.CallEntry``.
        origin: Who the result is by, one of ``toolfile.ORIGINS``.
        private: Whether the result is the person's own.
        trusted: Fields of the result's data that are trusted whoever wrote the rest.
        leads_to: Calls that go on with what this one found.
        asked: Whole messages that ask for it, with arguments in braces.
        literal: Phrases after which the rest of a message is an argument, by its name.
        wished / undone: How a message begins that wants it; what is said where nothing came of it.
        uses: The services it may use.
    """

    name: str
    description: str
    schema: dict[str, Any]
    examples: tuple[str, ...]
    worked: tuple[Worked, ...]
    effect: str
    timeout: float
    say: tuple[str, ...]
    verbatim: Mapping[str, sdk.Verbatim]
    sources: Mapping[str, str | tuple[Any, ...]]
    origin: str
    private: bool
    trusted: tuple[str, ...]
    leads_to: tuple[str, ...]
    wished: tuple[str, ...]
    undone: str
    asked: tuple[str, ...]
    literal: Mapping[str, tuple[str, ...]]
    uses: tuple[str, ...]
    _function: Callable[..., Any] = field(repr=False, compare=False)
    _signature: Signature = field(repr=False, compare=False)
    _preview: Callable[..., Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        name: str,
        entry: toolfile.CallEntry,
        signature: Signature,
        uses: tuple[str, ...],
        function: Callable[..., Any],
        preview: Callable[..., Any] | None,
    ) -> Call:
        """A call as its manifest declares it, whatever its functions run in."""
        return cls(
            name=name,
            description=entry.description or signature.summary,
            schema=signature.schema,
            examples=entry.examples,
            worked=entry.worked,
            effect=entry.effect,
            timeout=entry.timeout,
            say=entry.say,
            verbatim=signature.verbatim,
            sources=entry.sources,
            origin=entry.origin,
            private=entry.private,
            trusted=entry.trusted,
            leads_to=entry.leads_to,
            wished=entry.wished,
            undone=entry.undone,
            asked=entry.asked,
            literal=entry.literal,
            uses=uses,
            _function=function,
            _signature=signature,
            _preview=preview,
        )

    @property
    def defaults(self) -> dict[str, Any]:
        """By name, what an argument is where it is not given."""
        return self._signature.defaults

    @property
    def previews(self) -> bool:
        """Whether it can show what it would change."""
        return self._preview is not None

    @property
    def function_schema(self) -> dict[str, Any]:
        """The call as an OpenAI ``tools`` entry."""
        about = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": about}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check arguments without running.

        Raises:
            InvalidArguments: The sentence names the argument.
        """
        self._signature.check(arguments)

    def phrases(self, arguments: Mapping[str, Any], result: sdk.Result) -> tuple[str, ...]:
        """Ways to tell a person the result: each ``say`` whose every name has a value."""
        data = result.data if isinstance(result.data, dict) else {}
        values = {**arguments, **data, "result": result.text}
        filled = []
        for template in self.say:
            names = re.findall(r"{(\w+)}", template)
            if all(values.get(name) not in (None, "") for name in names):
                said = re.sub(r"{(\w+)}", lambda match: str(values[match[1]]), template)
                filled.append(_as_sentence(said).rstrip().removesuffix("."))
        return tuple(dict.fromkeys(filled))

    async def run(
        self,
        arguments: Mapping[str, Any],
        context: sdk.Context | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> sdk.Result:
        """Make the call.

        Args:
            arguments: As the model wrote them; checked against the schema first.
            context: The person's surroundings; the machine's own where not given.
            clock: Seconds by which its limit is measured; may stand still.

        Raises:
            InvalidArguments: The arguments do not fit the schema.
            CallFailed: The tool says why, or it broke (the traceback is in the log).
            CallTimeout: It took longer than it may. A thread cannot be stopped from outside:
                it is told through its context, and its result is dropped.
        """
        return self._result(await self._called(self._function, arguments, context, clock))

    async def preview(
        self, arguments: Mapping[str, Any], context: sdk.Context | None = None
    ) -> sdk.Preview | None:
        """What the call would change; None where it cannot show that.

        Raises:
            As ``run``: what cannot be previewed could not be done either.
        """
        if self._preview is None:
            return None
        shown = await self._called(self._preview, arguments, context)
        if not isinstance(shown, sdk.Preview):
            raise self._broke(TypeError("a preview must be a Preview"))
        text, most = shown.text, limits.PREVIEW_CHARS
        if len(text) > most:
            text = f"{text[:most]}\n… (and {len(text) - most:,} more characters)"
        return replace(shown, text=encodable(text))

    async def _called(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: sdk.Context | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Any:
        """What one of the tool's functions returns, under the call's limits."""
        values = self._signature.check(arguments)
        own = (context or sdk.Context()).child(self.uses)
        if self._signature.context:
            values[self._signature.context] = own
        most = limits.CALL_RESULT_CHARS
        if inspect.isasyncgenfunction(function):
            work = streamed.gather_async(function(**values), own, most)
            future = asyncio.wrap_future(on_shared_loop(work))
        elif inspect.iscoroutinefunction(function):
            future = asyncio.wrap_future(on_shared_loop(function(**values)))
        elif inspect.isgeneratorfunction(function):
            pieces = function(**values)
            gather = in_own_thread(lambda: streamed.gather(pieces, own, most), self.name)
            future = asyncio.wrap_future(gather)
        else:
            future = asyncio.wrap_future(in_own_thread(lambda: function(**values), self.name))
        try:
            if not await within_limit(future, self.timeout, clock):
                raise CallTimeout(f"{self.name} took longer than {self.timeout:g} s.")
            return future.result()
        except CallTimeout:
            raise
        except sdk.ToolError as error:
            raise CallFailed(error.sentence, remedy=error.remedy) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise CallFailed(f"{self.name} cancelled itself.") from None
            raise
        except Exception as error:
            raise self._broke(error) from error
        finally:
            own.cancel()
            future.cancel()

    def _broke(self, error: BaseException) -> CallFailed:
        _log.error("%s failed", self.name, exc_info=error)
        return CallFailed(f"{self.name} failed with an internal error ({type(error).__name__}).")

    def _result(self, value: Any) -> sdk.Result:
        if isinstance(value, str):
            value = sdk.Result(value)
        try:
            if not isinstance(value, sdk.Result):
                value = sdk.Result(json.dumps(value, ensure_ascii=False, allow_nan=False), value)
            elif value.data is not None:
                json.dumps(value.data, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._broke(error) from error
        if not isinstance(value.text, str):
            raise self._broke(TypeError("a result's text must be a string"))
        if len(value.text) > limits.CALL_RESULT_CHARS:
            raise CallFailed(f"The result of {self.name} is too long.")
        # A lone surrogate, as from a file name, would make the conversation unreadable.
        return replace(value, text=encodable(value.text), data=encodable(value.data))


@dataclass(frozen=True, slots=True)
class Tool:
    """A loaded tool."""

    name: str
    version: str
    summary: str
    path: Path
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder that is no working tool, and the sentence that says why."""

    name: str
    path: Path
    sentence: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found: the tools that work, and those that do not."""

    tools: tuple[Tool, ...] = ()
    broken: tuple[Broken, ...] = ()

    @property
    def calls(self) -> dict[str, Call]:
        """All calls by name."""
        return {call.name: call for tool in self.tools for call in tool.calls}


def load_all(folders: Iterable[Path]) -> Loaded:
    """Load every tool below these folders (``<folder>/<name>/tool.toml``).

    Where two tools have one name, the first found wins and the other is listed as broken.
    Folders that do not exist are skipped, and so are names that start with ``.`` or ``_``.
    """
    tools: dict[str, Tool] = {}
    broken: list[Broken] = []
    for folder in folders:
        try:
            entries = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        except FileNotFoundError:
            continue
        except OSError as error:
            why = f"The folder {folder} cannot be read: {error.strerror}."
            broken.append(Broken(folder.name, folder, why))
            continue
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            if entry.name in tools:
                first = tools[entry.name].path
                why = f"A tool named {entry.name} is already loaded from {first}."
                broken.append(Broken(entry.name, entry, why))
                continue
            try:
                tools[entry.name] = load(entry)
            except LlmosError as error:
                _log.warning("tool %s is broken: %s", entry, error, exc_info=error.__cause__)
                broken.append(Broken(entry.name, entry, str(error)))
    return Loaded(tuple(tools.values()), tuple(broken))


def load(path: Path) -> Tool:
    """Load one tool.

    Raises:
        CallFailed: It is broken; the sentence says how.
    """
    path = path.resolve()
    about = toolfile.read(path)
    _check_imports(path)
    module = _import(path)
    calls = tuple(_call(about, entry, module) for entry in about.calls)
    return Tool(about.name, about.version, about.summary, path, calls)


def _call(about: toolfile.Manifest, entry: toolfile.CallEntry, module: ModuleType) -> Call:
    name = f"{about.name}.{entry.function}"
    function = getattr(module, entry.function, None)
    if not inspect.isfunction(function):
        raise CallFailed(f"The manifest names {name}, but __init__.py has no such function.")
    try:
        signature = schemas.read(function)
    except TypeError as error:
        raise CallFailed(str(error)) from error
    check_entry(name, entry, signature)
    preview = _previewer(name, entry.preview, module, signature)
    return Call.of(name, entry, signature, about.uses, function, preview)


def _as_sentence(said: str) -> str:
    """With a capital, where it begins with a word: the name of a file is spelled as it is."""
    first = said.partition(" ")[0]
    return said[:1].upper() + said[1:] if first.strip("“”‘’\"',").isalpha() else said


def check_entry(name: str, entry: toolfile.CallEntry, signature: Signature) -> None:
    """Refuse a declaration that does not fit what the function takes.

    Raises:
        CallFailed: A worked example cannot be made, or it speaks of an argument there is not.
    """
    for worked in entry.worked:
        try:
            signature.check(worked.arguments)
        except InvalidArguments as error:
            raise CallFailed(f"The worked example of {name} does not fit: {error}") from error
    known = {parameter.name for parameter in signature.parameters}
    braced = re.findall(r"{(\w+)}", " ".join(entry.asked))
    unknown = {*entry.sources, *entry.literal, *braced} - known
    if unknown:
        raise CallFailed(f"tool.toml speaks of an argument {min(unknown)}, which {name} lacks.")


def _previewer(
    name: str, function: str, module: ModuleType, signature: Signature
) -> Callable[..., Any] | None:
    if not function:
        return None
    found = getattr(module, function, None)
    if not inspect.isfunction(found):
        raise CallFailed(f"The manifest names {function}, but __init__.py has no such function.")
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise CallFailed(f"{function} yields; a preview must return a Preview.")
    try:
        same = schemas.read(found)
    except TypeError as error:
        raise CallFailed(str(error)) from error
    taken = [(p.name, p.hint, p.required) for p in same.parameters]
    if taken != [(p.name, p.hint, p.required) for p in signature.parameters] or (
        same.context != signature.context
    ):
        raise CallFailed(f"{function} must take the same arguments as {name}, which it previews.")
    return found


# --- importing ------------------------------------------------------------------------------


def _check_imports(path: Path) -> None:
    """Refuse a tool whose code imports any module of llmos but the sdk."""
    for file in sorted(path.rglob("*.py")):
        shown = file.relative_to(path)
        try:
            if file.stat().st_size > limits.TOOL_SOURCE_BYTES:
                raise CallFailed(f"{shown} is too large for a tool.")
            tree = _parse(file.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
            raise CallFailed(f"{shown} is not valid Python{line}.") from error
        except OSError as error:
            raise CallFailed(f"{shown} cannot be read: {error.strerror}.") from error
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
                if node.module == "llmos":
                    names = [f"llmos.{alias.name}" for alias in node.names]
            for name in names:
                if name.partition(".")[0] == "llmos" and name != "llmos.sdk":
                    raise CallFailed(
                        f"{shown} imports {name}; a tool may import only llmos.sdk of llmos."
                    )


def _parse(source: bytes) -> ast.Module:
    try:
        return ast.parse(source)
    except SystemError:
        # CPython 3.11 (gh-106905): a traceback that is formatted in the midst of it, by a
        # finalizer or another thread, upsets its count of the depth. The code is not to blame.
        return ast.parse(source)


def _import(path: Path) -> ModuleType:
    """Import the folder as a package of a name that no other module has."""
    name = f"_llmos_tool_{next(_serial)}_{path.name}"
    spec = importlib.util.spec_from_file_location(
        name, path / "__init__.py", submodule_search_locations=[str(path)]
    )
    if spec is None or spec.loader is None:
        raise CallFailed(f"{path.name} has no __init__.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # In a thread, for code that never returns must not keep the system from starting.
        loader = spec.loader
        in_own_thread(lambda: loader.exec_module(module), name).result(limits.TOOL_LOAD_SECONDS)
    except BaseException as error:
        for key in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[key]
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, TimeoutError):
            raise CallFailed(f"{path.name} takes too long to import.") from error
        if isinstance(error, ModuleNotFoundError) and error.name:
            raise CallFailed(
                f"{path.name} needs the module {error.name}, which is not installed."
            ) from error
        raise CallFailed(
            f"{path.name} cannot be imported ({type(error).__name__}: {error})."
        ) from error
    return module
