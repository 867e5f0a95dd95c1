"""The chat template of a model file, rendered in a jail with limited time and memory.

A template is a program that came with the weights, so it never runs in the kernel. Its process
(``template_process.py``) has no environment, no files to write and a bounded address space; a
template that loops is killed after ``limits.TEMPLATE_SECONDS`` and the worker starts again with
the next conversation.

The date that ``strftime_now`` gives is the day on which the ``TemplateWorker`` was made, at
midnight: a date that changes would change the front of every window, and with it throw away all
that was prefilled. This module does not count tokens and does not know what a model is.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmos import limits
from llmos.engine.template_process import Process, start
from llmos.errors import TemplateError
from llmos.events import Message

__all__ = ["CHATML", "TemplateWorker", "message_dict"]

CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""What a model file without a template gets: ChatML, the commonest form."""

#: JSON takes at most 6 bytes a character; a longer answer is none.
_ANSWER_BYTES = 6 * limits.TEMPLATE_OUTPUT_CHARS + 65536
_REMEDY = "Choose another model, or one with a repaired template."


def message_dict(message: Message) -> dict[str, Any]:
    """A message in the form that templates read: OpenAI's, with arguments as an object."""
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.call_id:
        out["tool_call_id"] = message.call_id
    if message.name:
        out["name"] = message.name
    return out


class TemplateWorker:
    """Renders conversations with one template, one at a time.

    Args:
        template: Its source; empty takes ``CHATML``.
        bos / eos: Text of the tokens that begin and end a sequence.

    Raises:
        TemplateError: The template is too long.
    """

    def __init__(self, template: str, *, bos: str, eos: str) -> None:
        if len(template) > limits.TEMPLATE_CHARS:
            raise TemplateError("The model's chat template is too long.", remedy=_REMEDY)
        self.template = template or CHATML
        self.bos = bos
        self.eos = eos
        now = time.localtime()
        self._today = (*now[:3], 0, 0, 0, *now[6:9])
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], generate: bool
    ) -> str:
        """The prompt's text.

        Args:
            messages: The conversation, oldest first.
            tools: OpenAI function schemas; none for templates that know no tools.
            generate: Open an assistant reply at the end.

        Raises:
            TemplateError: The template fails, takes too long or grows too large.
        """
        variables = {
            "messages": [message_dict(message) for message in self._suited(messages)],
            "tools": list(tools) or None,
            "documents": None,
            "add_generation_prompt": generate,
            "bos_token": self.bos,
            "eos_token": self.eos,
        }
        line = json.dumps(variables).encode() + b"\n"
        async with self._lock:
            for attempt in (1, 2):  # a worker that died in between gets a second one
                if self._closed:
                    raise TemplateError("The template's worker is closed.")
                try:
                    process = await self._started()
                    answer = await self._ask(process, line, limits.TEMPLATE_SECONDS)
                except _Died as died:
                    await self._stop()
                    if died.out_of_time:
                        raise _too_slow() from None
                    if attempt == 2:
                        raise TemplateError(
                            "The model's chat template ends its worker.", remedy=_REMEDY
                        ) from None
                    continue
                except BaseException:  # a cancelled caller leaves an answer nobody reads
                    await self._stop()
                    raise
                return _text(answer)
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """End the worker. Safe to call twice."""
        self._closed = True
        await self._stop()

    def _suited(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Some templates refuse a system message: their user's first message carries it."""
        refuses = "System role not supported" in self.template
        if not refuses or len(messages) < 2 or messages[0].role != "system":
            return messages
        system, first, *rest = messages
        if first.role != "user":
            return messages
        return [replace(first, content=f"{system.content}\n\n{first.content}"), *rest]

    # --- the worker -------------------------------------------------------------------------

    async def _started(self) -> Process:
        if self._process is not None and not self._process.stdout.at_eof():
            return self._process
        await self._stop()
        libraries = _library_path()
        try:
            self._process = process = await start(libraries)
        except OSError:
            raise _Died(out_of_time=False) from None
        setup = {
            "path": libraries,
            "today": self._today,
            "template": self.template,
            "output_chars": limits.TEMPLATE_OUTPUT_CHARS,
            "memory_bytes": limits.TEMPLATE_MEMORY_MB * 1024 * 1024,
            "seconds": limits.TEMPLATE_SECONDS,
        }
        line = json.dumps(setup).encode() + b"\n"
        await self._ask(process, line, limits.TEMPLATE_START_SECONDS)
        answer = await self._ask(process, b"", limits.TEMPLATE_SECONDS)  # compiled
        if "error" in answer:
            await self._stop()
            _text(answer)
        return process

    async def _ask(self, process: Process, line: bytes, seconds: float) -> dict[str, Any]:
        """One line there (or none), one answer back.

        Raises:
            _Died: It ended, or was out of time and is to be ended.
        """
        try:
            async with asyncio.timeout(seconds):
                process.stdin.write(line)
                await process.stdin.drain()
                length = int(await process.stdout.readuntil(b"\n"))
                if not 0 <= length <= _ANSWER_BYTES:
                    raise ValueError(length)
                answer = json.loads(await process.stdout.readexactly(length))
        except TimeoutError:
            raise _Died(out_of_time=True) from None
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # What it was ended by tells more than that nothing came: give it time to be told.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.JAIL_KILL_SECONDS):
                    if process.stdout.at_eof():
                        code = await process.wait()
                        raise _Died(out_of_time=code == 128 + signal.SIGXCPU) from None
            raise _Died(out_of_time=False) from None
        if not isinstance(answer, dict):
            raise _Died(out_of_time=False)
        return answer

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.stdin.close()
        await asyncio.shield(process.kill())


class _Died(Exception):
    def __init__(self, *, out_of_time: bool) -> None:
        super().__init__()
        self.out_of_time = out_of_time


def _too_slow() -> TemplateError:
    return TemplateError(
        f"The model's chat template did not finish within {limits.TEMPLATE_SECONDS:g} s.",
        remedy=_REMEDY,
    )


def _text(answer: Mapping[str, Any]) -> str:
    """The rendered text of an answer, or its error raised."""
    error = answer.get("error")
    if error == "memory":
        raise TemplateError(
            f"The model's chat template needs more than {limits.TEMPLATE_MEMORY_MB} MB.",
            remedy=_REMEDY,
        )
    text = answer.get("text")
    if error is not None or not isinstance(text, str):
        raise TemplateError(f"The model's chat template fails: {error}.")
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a message
        return text.encode("utf-8", "replace").decode()
    return text


def _library_path() -> list[str]:
    """Where jinja2 and what it needs lie; the worker looks nowhere else but in Python itself."""
    found: list[str] = []
    for name in ("jinja2", "markupsafe"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise TemplateError(
                f"The Python package {name} is missing.", remedy="Install llmos again."
            )
        found.append(os.path.dirname(os.path.dirname(spec.origin)))
    return list(dict.fromkeys(found))
