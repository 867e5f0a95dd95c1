"""One call of an expert's tool, inside the jail: reads lines from standard input, writes lines.

Imports the tool by its path, makes the one call it is told, passes on what the tool asks of the
kernel's services, and ends. It imports ``llmos.sdk`` and what that stands on, and nothing of the
kernel; the jail shows it little more. It guards nothing: everything in here may be the tool's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

if __name__ == "__main__":  # started by its path, isolated

    class _Own:
        """Finds what it imports of its own package: a jail may not let it list the folders."""

        def __init__(self, root: Path) -> None:
            self._root = root

        def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
            """As ``sys.meta_path`` has it."""
            if name.partition(".")[0] != "llmos":
                return None
            place = self._root.joinpath(*name.split("."))
            for path in (place / "__init__.py", place.with_suffix(".py")):
                if path.is_file():
                    return importlib.util.spec_from_file_location(name, path)
            return None

    sys.meta_path.insert(0, _Own(Path(__file__).resolve().parents[2]))

from llmos import sdk, services
from llmos.door import schema, streamed
from llmos.errors import InvalidArguments
from llmos.experts import wire

__all__ = ["main"]


class _Kernel:
    """The other end of the lines."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def tell(self, kind: str, **fields: Any) -> None:
        """Send a message; from any thread."""
        data = memoryview(wire.line({"kind": kind, **fields}))
        with self._lock:
            while data:
                data = data[os.write(self._out, data) :]

    async def ask(self, service: str, method: str, args: Any, kwargs: Any) -> Any:
        """Have a service do something."""
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self.tell(
                "ask",
                id=number,
                service=service,
                method=method,
                args=wire.pack(list(args)),
                kwargs=wire.pack(kwargs),
            )
            return await future
        finally:
            del self._waiting[number]

    def answered(self, message: dict[str, Any]) -> None:
        """Take what the kernel answers."""
        future = self._waiting.get(message["id"])
        if future is None or future.done():
            return
        if "sentence" in message:
            future.set_exception(sdk.ToolError(message["sentence"], message.get("remedy", "")))
        else:
            future.set_result(wire.unpack(message["value"]))


class _Service:
    """A service of the kernel, as a tool sees it."""

    def __init__(self, kernel: _Kernel, name: str) -> None:
        self._kernel, self._name = kernel, name

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_"):
            raise AttributeError(method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._kernel.ask(self._name, method, args, kwargs)

        return call


def _load(folder: Path) -> ModuleType:
    name = f"llmos_expert_tool_{folder.name}"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise sdk.ToolError(f"{folder.name} has no __init__.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _function(module: ModuleType, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not inspect.isfunction(function):
        raise sdk.ToolError(f"The manifest names {name}, but __init__.py has no such function.")
    return function


def _describe(module: ModuleType, wanted: dict[str, str]) -> dict[str, Any]:
    """What each function takes; by name, with the function that previews it."""
    described = {}
    for name, preview in wanted.items():
        try:
            signature = schema.read(_function(module, name))
            if preview:
                shown = _function(module, preview)
                schema.read(shown)
                if inspect.isgeneratorfunction(shown) or inspect.isasyncgenfunction(shown):
                    raise sdk.ToolError(f"{preview} yields; a preview must return a Preview.")
        except TypeError as error:
            raise sdk.ToolError(str(error)) from error
        verbatim = {
            argument: {"also": list(how.also), "joins": list(how.joins), "after": list(how.after)}
            for argument, how in signature.verbatim.items()
        }
        described[name] = {
            "schema": signature.schema,
            "summary": signature.summary,
            "verbatim": verbatim,
            "defaults": {
                argument: value
                for argument, value in signature.defaults.items()
                if isinstance(value, str | int | float | bool | list)
            },
        }
    return described


async def _call(kernel: _Kernel, module: ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    """What a function returns, as the fields of a message."""
    function = _function(module, request["function"])
    signature = schema.read(function)
    values = signature.check(request["arguments"])
    lent = {name: _Service(kernel, name) for name in request["uses"] if name in services.SERVICES}
    reports = itertools.count()

    def told(text: str, done: float | None) -> None:
        if next(reports) < request["reports"]:  # more are not passed on
            kernel.tell("progress", text=str(text), done=done)

    context = sdk.Context(
        zone=request["zone"],
        locale=request["locale"],
        lent=lent,
        told=told,
    ).child(seen=request["seen"])
    request["context"] = context  # whoever reads the lines cancels it
    if signature.context:
        values[signature.context] = context
    value: Any
    if inspect.isasyncgenfunction(function):
        work = asyncio.ensure_future(
            streamed.gather_async(function(**values), context, request["most"])
        )
        # One that waits between two pieces is told by being cancelled; its ``finally`` runs.
        request["stop"] = work.cancel
        try:
            value = await work
        except asyncio.CancelledError:
            raise sdk.ToolError("It was stopped.") from None
    elif inspect.iscoroutinefunction(function):
        value = await function(**values)
    elif inspect.isgeneratorfunction(function):
        pieces = function(**values)
        value = await asyncio.to_thread(streamed.gather, pieces, context, request["most"])
    else:
        value = await asyncio.to_thread(lambda: function(**values))
    if isinstance(value, sdk.Preview):
        return {"kind": "preview", "text": value.text, "seen": value.seen}
    if not isinstance(value, sdk.Result | str):
        value = sdk.Result(wire.line({"": value}).decode()[5:-2], value)
    if isinstance(value, str):
        value = sdk.Result(value)
    return {
        "kind": "result",
        "text": value.text,
        "data": wire.pack(value.data),
        "artifacts": wire.pack(value.artifacts),
        "evidence": wire.pack(value.evidence),
        "failed": bool(value.failed),
    }


async def _serve(kernel: _Kernel, request: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()

    def cancelled() -> None:
        if context := request.get("context"):
            context.cancel()
        if stop := request.get("stop"):
            stop()

    def listen() -> None:
        for raw in sys.stdin.buffer:
            message = wire.parse(raw)
            if message["kind"] == "answer":
                loop.call_soon_threadsafe(kernel.answered, message)
            else:
                loop.call_soon_threadsafe(cancelled)
        os._exit(0)  # nobody is there any more

    threading.Thread(target=listen, daemon=True).start()
    try:
        module = _load(Path(request["tool"]))
        if request["kind"] == "describe":
            answer: dict[str, Any] = {
                "kind": "described",
                "calls": _describe(module, request["functions"]),
            }
        else:
            answer = await _call(kernel, module, request)
        kernel.tell(**answer)
    except sdk.ToolError as error:
        kernel.tell("error", sentence=str(error.sentence), remedy=str(error.remedy))
    except InvalidArguments as error:
        kernel.tell("error", sentence=error.sentence, remedy=error.remedy)
    except ModuleNotFoundError as error:
        kernel.tell("error", sentence=f"It needs the module {error.name}.", remedy="")
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        kernel.tell("broke", what=type(error).__name__)


def main() -> None:
    """Make the call that the first line asks for."""
    request = wire.parse(sys.stdin.buffer.readline())
    out = os.dup(1)
    os.dup2(2, 1)  # what the tool prints is no message
    sys.stdout = sys.stderr
    asyncio.run(_serve(_Kernel(out), request))
    sys.stderr.flush()
    os._exit(0)  # threads that a tool left behind hold nobody up


if __name__ == "__main__":
    main()
