"""What is said between the kernel and the worker that makes one call of an expert's tool.

The worker reports progress, asks for what the kernel's services can do, and answers; each of
these is bounded in number and in bytes, and nothing it says is believed to be well-formed. What
it asks for goes to the services it was lent, in the form that ``services.py`` promises, and to
nothing else. How the worker is started, and what its answer means, is ``jailed.py``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from llmos import limits, sdk, services
from llmos.experts import lending, wire
from llmos.sandbox.jail import Jailed
from llmos.sandbox.messages import bounded
from llmos.visible import visible

__all__ = ["Talk"]

_log = logging.getLogger(__name__)
_CHUNK = 64 * 1024
_CONTRACTS = {
    "web": services.Web,
    "folders": services.Folders,
    "interpreter": services.Interpreter,
    "shell": services.Shell,
    "timers": services.Timers,
    "clipboard": services.Clipboard,
    "machine": services.Machine,
}


class Talk:
    """What is said between the kernel and one worker."""

    def __init__(
        self, name: str, jailed: Jailed, lent: Mapping[str, Any], context: sdk.Context
    ) -> None:
        self._name, self._jailed, self._lent, self._context = name, jailed, lent, context
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(limits.EXPERT_REQUESTS_AT_ONCE)
        self._asked = self._reported = 0
        self._said = b""
        self._log = asyncio.create_task(self._listen())

    async def about(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            ToolError: What the tool says, or that it ended without an answer.
        """
        await self._send(wire.line(request))
        async for raw in self._lines():
            try:
                message = wire.parse(bounded(raw))
            except ValueError as error:
                raise sdk.ToolError(f"{self._name} does not keep to its part.") from error
            match message["kind"]:
                case "progress":
                    self._progress(message)
                case "ask":
                    self._asked += 1
                    if self._asked > limits.EXPERT_REQUESTS:
                        raise sdk.ToolError(f"{self._name} asks for too much in one call.")
                    task = asyncio.create_task(self._answer(message))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                case "error":
                    raise sdk.ToolError(
                        str(message.get("sentence"))[: limits.TOOL_TEXT_CHARS],
                        str(message.get("remedy") or "")[: limits.TOOL_TEXT_CHARS],
                    )
                case "broke":
                    what = visible(str(message.get("what")))[:60]
                    raise sdk.ToolError(f"{self._name} failed with an internal error ({what}).")
                case _:
                    return message
        status = await self._jailed.wait()
        why = {
            "memory": "it took more memory than it may",
            "disk": "it wrote more to the disk than it may",
            "processes": "it started more processes than it may",
        }.get(self._jailed.ended, f"status {status}")
        raise sdk.ToolError(f"{self._name} ended without an answer ({why}).")

    async def stop(self) -> None:
        """Tell the tool that nobody waits for it, and give it a moment to end."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(limits.EXPERT_END_SECONDS):
                await self._send(wire.line({"kind": "cancel"}))
                async for _ in self._lines():
                    pass

    async def close(self) -> None:
        """End it, whatever it does."""
        try:
            await self._jailed.kill()
        finally:
            for task in [*self._tasks, self._log]:
                task.cancel()
            await asyncio.gather(*self._tasks, self._log, return_exceptions=True)
        if self._said:
            said = visible(self._said.decode("utf-8", "replace"))
            _log.warning("%s said on standard error: %s", self._name, said)

    async def _send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end is seen soon
            self._jailed.stdin.write(data)
            await self._jailed.stdin.drain()

    async def _lines(self) -> AsyncIterator[bytes]:
        """What it writes, line by line, as much as one call may write."""
        parts: list[bytes] = []
        left = limits.EXPERT_SAID_BYTES
        while chunk := await self._jailed.stdout.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise sdk.ToolError(f"{self._name} says more than a call may.")
            *whole, rest = chunk.split(b"\n")
            for piece in whole:
                yield b"".join([*parts, piece])
                parts = []
            parts.append(rest)

    async def _listen(self) -> None:
        """Keep the end of what it says on standard error; it must not wait for a reader."""
        while chunk := await self._jailed.stderr.read(_CHUNK):
            self._said = (self._said + chunk)[-limits.EXPERT_LOG_CHARS :]

    def _progress(self, message: dict[str, Any]) -> None:
        self._reported += 1
        text, done = message.get("text"), message.get("done")
        if self._reported > limits.EXPERT_PROGRESS or not isinstance(text, str):
            return
        part = float(done) if isinstance(done, int | float) and 0 <= done <= 1 else None
        self._context.progress(visible(text)[: limits.EXPERT_TEXT_CHARS], part)

    async def _answer(self, message: dict[str, Any]) -> None:
        """Do what a tool asks of a service, and tell it what came of it."""
        number = message.get("id")
        answer: dict[str, Any] = {"kind": "answer", "id": number if type(number) is int else 0}
        try:
            async with self._at_once:
                answer["value"] = wire.pack(await self._served(message))
                line = wire.line(answer)
        except sdk.ToolError as error:
            told = {"sentence": error.sentence, "remedy": error.remedy}
            line = wire.line({"kind": "answer", "id": answer["id"], **told})
        except Exception as error:  # the service's own mistake is no reason to end the call
            _log.error("%s asked for what failed", self._name, exc_info=error)
            told = {"sentence": "That did not work.", "remedy": ""}
            line = wire.line({"kind": "answer", "id": answer["id"], **told})
        await self._send(line)

    async def _served(self, message: dict[str, Any]) -> Any:
        service, method = message.get("service"), message.get("method")
        if not isinstance(service, str) or service not in self._lent:
            raise sdk.ToolError(f"There is no {str(service)[:40]} here.")
        if method not in lending.METHODS[service]:
            raise sdk.ToolError(f"{service} has no {str(method)[:40]}.")
        try:
            args, kwargs = wire.unpack(message.get("args")), wire.unpack(message.get("kwargs"))
            _check(getattr(_CONTRACTS[service], method), args, kwargs)
        except (TypeError, ValueError, RecursionError) as error:
            raise sdk.ToolError(f"{service}.{method} was asked wrongly.") from error
        return await getattr(self._lent[service], method)(*args, **kwargs)


_PLAIN = {"str": str, "int": int, "float": float, "bytes": bytes}


def _check(function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Check that a method of a contract can be called so.

    Raises:
        TypeError: It can't.
    """
    signature = inspect.signature(function)
    bound = signature.bind(None, *args, **kwargs).arguments
    for name, value in list(bound.items())[1:]:
        kind = signature.parameters[name].kind
        values = value.values() if kind is inspect.Parameter.VAR_KEYWORD else [value]
        wanted = _PLAIN[str(signature.parameters[name].annotation)]
        for each in values:
            if type(each) is not wanted and not (wanted is float and type(each) is int):
                raise TypeError(name)
