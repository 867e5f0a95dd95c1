"""Somebody else's server as a backend: anything that speaks the OpenAI protocol.

For people who outgrow one machine (vLLM or SGLang on a cluster) or have Ollama or llama-server
next door. Processes, system calls and memory work on it as on the engine; what it cannot do is
said: cells, forks and swap are that server's affair, and prompts are counted by it, afterwards.

A server that takes tools is given them, and parses the calls; one that refuses them (which is
asked once, at the start) is told of tools in words, like any model without them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urldefrag

import httpx

from llmos import limits
from llmos.engine.backend import (
    Chunk,
    Generation,
    ModelInfo,
    Priority,
    Prompt,
    SamplingParams,
    TokenLogprob,
)
from llmos.errors import EngineError, PromptTooLong, RemoteError
from llmos.events import Message, Usage
from llmos.visible import visible

__all__ = ["RemoteBackend", "wire_messages"]

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 300.0  # between two pieces of a reply; a cold model may take minutes
_PROBE_SECONDS = 20.0  # a model that is still loading then is taken for one that takes tools
_NAME_CHARS = 64  # of a function, as OpenAI has it
_USERINFO = re.compile(r"(?<=//)[^/?#]*@")
_WINDOW_KEYS = ("context_window", "max_model_len", "context_length", "n_ctx")


def wire_messages(
    messages: Sequence[Message], names: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Messages in the OpenAI form.

    Args:
        names: What calls are called on the wire; as they are where not given.
    """
    called = names or {}
    rows = []
    for message in messages:
        row: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            row["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": called.get(call.name, call.name),
                        "arguments": json.dumps(call.arguments),
                    },
                }
                for call in message.calls
            ]
        if message.role == "tool":
            row["tool_call_id"] = message.call_id
        rows.append(row)
    return rows


def _wire_names(tools: Sequence[dict[str, Any]], messages: Sequence[Message]) -> dict[str, str]:
    """By a call's name, what it is called on the wire: OpenAI takes letters, digits, _ and -."""
    names = [tool["function"]["name"] for tool in tools]
    names += [call.name for message in messages for call in message.calls]
    wired: dict[str, str] = {}
    for name in names:
        if name in wired:
            continue
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_NAME_CHARS] or "_"
        while plain in wired.values():
            plain = f"{plain[: _NAME_CHARS - 1]}_" if len(plain) < _NAME_CHARS else f"_{plain[:-1]}"
        wired[name] = plain
    return wired


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RemoteBackend:
    """A model behind an address.

    Args:
        address: ``http://host:port/v1``, with ``#name`` where the server has several models.
        api_key: Bearer token, where it wants one.
        transport: For tests.
    """

    def __init__(
        self, address: str, *, api_key: str = "", transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        base, self._model = urldefrag(address)
        shown = _USERINFO.sub("", base)  # a password is for the server alone
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        try:
            url = httpx.URL(base.rstrip("/") + "/")
        except httpx.InvalidURL as error:
            raise RemoteError(f"{shown!r} is not an address ({error}).") from error
        if not url.host:
            raise RemoteError(f"{shown!r} is not an address: it names no host.")
        self._address = shown
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=timeout,
            transport=transport,
            trust_env=not _is_loopback(url.host),  # no proxy stands before this machine
        )
        self.info = ModelInfo(
            name=self._model or shown, window=limits.WINDOW_DEFAULT, computes_here=False
        )
        self._open = True
        self._running: set[_RemoteGeneration] = set()
        self._prompt_tokens = self._cached_tokens = self._sampled_tokens = self._finished = 0

    async def start(self) -> None:
        """Reach the server, find the model and see whether it takes tools.

        Raises:
            RemoteError: It cannot be reached, refuses, or has no such model.
        """
        try:
            listed = [row for row in (await self._get("models"))["data"] if isinstance(row, dict)]
        except (KeyError, TypeError) as error:
            raise RemoteError(
                f"{self._address} lists no models; is it an OpenAI server?"
            ) from error
        names = [str(row.get("id", "")) for row in listed]
        if self._model and names and self._model not in names:
            known = ", ".join(names[:8])
            raise RemoteError(f"{self._address} has no model {self._model!r}; it has {known}.")
        if not self._model:
            if not names:
                raise RemoteError(f"{self._address} serves no model.")
            self._model = names[0]
        row: dict[str, Any] = next((r for r in listed if r.get("id") == self._model), {})
        meta = row.get("meta")
        about = {**meta, **row} if isinstance(meta, dict) else row
        windows = [about[key] for key in _WINDOW_KEYS if isinstance(about.get(key), int)]
        self.info = ModelInfo(
            name=self._model,
            window=next((w for w in windows if w > 0), limits.WINDOW_DEFAULT),
            device=self._address,
            native_calls=await self._takes_tools(),
            computes_here=False,
        )

    async def _takes_tools(self) -> bool:
        """Whether a request with tools is taken. Many servers refuse, by model or by set-up."""
        schema = {"type": "object", "properties": {}}
        function = {"name": "nothing", "description": "Does nothing.", "parameters": schema}
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "function", "function": function}],
            "max_tokens": 1,
        }
        try:
            answer = await self._http.post("chat/completions", json=body, timeout=_PROBE_SECONDS)
        except httpx.TimeoutException:
            return True
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return answer.is_success

    async def prompt(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] = (),
        generate: bool = True,
    ) -> Prompt:
        return Prompt(messages=tuple(messages), tools=tuple(tools))

    async def text_prompt(self, text: str) -> Prompt:
        return Prompt(text=text)

    async def token_prompt(self, tokens: Sequence[int]) -> Prompt:
        return Prompt(tokens=tuple(tokens))

    def expect(self, prompt: Prompt) -> None:
        """Nothing: what the server keeps is its own business."""

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        priority: Priority = Priority.INTERACTIVE,
        n: int = 1,
    ) -> list[Generation]:
        names = _wire_names(prompt.tools, prompt.messages) if prompt.tools else {}
        path, body = self._request(prompt, params, names)
        called = {wired: name for name, wired in names.items()}
        made = [_RemoteGeneration(self, path, body, called, params.max_tokens) for _ in range(n)]
        self._running.update(made)
        return list(made)

    def count(self, text: str) -> int:
        """An estimate: only the server knows its tokenizer. Exact counts come with each reply."""
        return len(text.encode()) // 4 + 1

    def size(self, prompt: Prompt) -> int:
        """An estimate, as ``count``."""
        return sum(self.count(message.content) for message in prompt.messages)

    def sizes(self, prompt: Prompt, texts: Sequence[str]) -> list[int]:
        """Estimates, as ``count``."""
        return [self.count(text) for text in texts]

    async def forget(self) -> None:
        """Nothing is kept here; what the server keeps is its own business."""

    def stats(self) -> dict[str, Any]:
        return {
            "running": len(self._running),
            "prompt_tokens": self._prompt_tokens,
            "cached_tokens": self._cached_tokens,
            "sampled_tokens": self._sampled_tokens,
            "finished": self._finished,
        }

    @property
    def alive(self) -> bool:
        return self._open

    async def close(self) -> None:
        """Cut what runs. Safe to call twice."""
        self._open = False
        for generation in list(self._running):
            generation.cancel()
        await self._http.aclose()

    # --- the wire ---------------------------------------------------------------------------

    def _request(
        self, prompt: Prompt, params: SamplingParams, names: Mapping[str, str]
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": params.temperature,
        }
        neutral = SamplingParams()
        for name in ("top_p", "frequency_penalty", "presence_penalty", "seed"):
            if getattr(params, name) != getattr(neutral, name):
                body[name] = getattr(params, name)
        # Beyond the standard, understood by vLLM, SGLang, llama-server and llmos alike.
        for name in ("top_k", "min_p"):
            if getattr(params, name) != getattr(neutral, name):
                body[name] = getattr(params, name)
        if params.max_tokens is not None:
            body["max_tokens"] = params.max_tokens
        if params.stop:
            body["stop"] = list(params.stop)
        if params.logit_bias:
            body["logit_bias"] = {str(t): b for t, b in params.logit_bias.items()}
        if params.grammar and not params.trigger and not prompt.tools:
            body["grammar"] = params.grammar
        if prompt.messages:
            body["messages"] = wire_messages(prompt.messages, names)
            if prompt.tools:
                body["tools"] = [
                    {**t, "function": {**t["function"], "name": names[t["function"]["name"]]}}
                    for t in prompt.tools
                ]
                if params.grammar and not params.trigger:  # which the server's own stands in for
                    body["tool_choice"] = "required"
            if params.logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": params.logprobs}
            return "chat/completions", body
        body["prompt"] = prompt.text or list(prompt.tokens)
        return "completions", body

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            answer = await self._http.get(path)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise await _refused(answer)
        try:
            data = answer.json()
        except ValueError as error:
            raise RemoteError(f"{self._address} did not answer in JSON.") from error
        return data if isinstance(data, dict) else {}

    def _unreachable(self, error: Exception) -> RemoteError:
        return RemoteError(
            f"The model server {self._address} cannot be reached ({type(error).__name__}).",
            remedy="Check that it runs and that engine.model has its address.",
        )

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one reply, parsed.

        Raises:
            RemoteError: The server refused, failed or went away.
        """
        try:
            async with self._http.stream("POST", path, json=body) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise await _refused(answer)
                async for line in answer.aiter_lines():
                    data = line.removeprefix("data:").strip()
                    if not line.startswith("data:") or not data:
                        continue
                    if data == "[DONE]":
                        return
                    yield json.loads(data)
        except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise RemoteError(f"{self._address} sent something that is not JSON.") from error

    def ended(self, generation: _RemoteGeneration, usage: Usage) -> None:
        """Keep the accounts of a reply that is over."""
        self._running.discard(generation)
        self._finished += 1
        self._prompt_tokens += usage.prompt_tokens
        self._cached_tokens += usage.cached_tokens
        self._sampled_tokens += usage.completion_tokens


async def _refused(answer: httpx.Response) -> EngineError:
    """The server's own words about why it refused."""
    try:
        told = answer.json().get("error", {})
        said = told.get("message", "") if isinstance(told, dict) else str(told)
        code = told.get("code") if isinstance(told, dict) else ""
    except (ValueError, AttributeError):
        said, code = answer.text[:200], ""
    said = _harmless(said)
    if code == PromptTooLong.code:
        error = EngineError(said)
        error.code = PromptTooLong.code
        return error
    return RemoteError(f"The model server refused ({answer.status_code}): {said}")


def _harmless(said: object) -> str:
    """What a server said, on one line and with nothing a terminal acts on."""
    return visible(" ".join(str(said).split()))[: limits.REMOTE_WORDS]


class _RemoteGeneration:
    """One reply from the server.

    Args:
        called: By their names on the wire, the calls' own names.
        most: Tokens it may have; a server that sends more is cut off. None for any number.
    """

    def __init__(
        self,
        backend: RemoteBackend,
        path: str,
        body: dict[str, Any],
        called: Mapping[str, str],
        most: int | None,
    ) -> None:
        self._backend = backend
        self._called = called
        self._most = most
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()
        self._usage = Usage()
        self._began = time.monotonic()
        self._first = 0.0
        self._sampled = 0
        self._written = 0
        self._calls: dict[int, dict[str, str]] = {}
        self._go_on = asyncio.Event()
        self._go_on.set()
        self._finish = ""
        self._task = asyncio.create_task(self._read(path, body))
        self._task.add_done_callback(self._ended)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while True:
            chunk = await self._chunks.get()
            yield chunk
            if chunk.finish:
                return

    def cancel(self) -> None:
        self._task.cancel()

    def suspend(self) -> None:
        """Stop reading; the server blocks once the connection's buffers are full."""
        self._go_on.clear()

    def resume(self) -> None:
        self._go_on.set()

    async def _read(self, path: str, body: dict[str, Any]) -> None:
        async with aclosing(self._backend.stream(path, body)) as events:
            async for event in events:
                await self._go_on.wait()
                try:
                    self._finish = self._take(event) or self._finish
                except (TypeError, ValueError, KeyError, AttributeError) as error:
                    raise RemoteError("The model server sent what is not a reply.") from error
                if self._written > limits.REMOTE_REPLY_CHARS:
                    raise RemoteError("The model server's reply does not end.")
                if self._most is not None and self._sampled > self._most:
                    self._finish = "length"
                    return
        if not self._finish:
            raise RemoteError("The model server broke off in the middle of a reply.")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Deliver the last chunk, whatever became of the reading, even if it never began."""
        finish, error = self._finish or "stop", None
        if task.cancelled():
            finish = "cancelled"
        elif (failed := task.exception()) is not None and not self._finish:
            finish = "error"
            error = failed if isinstance(failed, EngineError) else _unexpected(failed)
        text = self._written_calls() if finish not in ("cancelled", "error") else ""
        now = time.monotonic()
        first = self._first or now
        usage = Usage(
            prompt_tokens=self._usage.prompt_tokens,
            cached_tokens=self._usage.cached_tokens,
            completion_tokens=self._usage.completion_tokens or self._sampled,
            prefill_s=first - self._began,
            decode_s=now - first,
        )
        self._backend.ended(self, usage)
        self._chunks.put_nowait(Chunk(text, 0, (), finish, usage, error))

    def _take(self, event: dict[str, Any]) -> str:
        """Take one event; returns the finish reason it carries, or nothing."""
        if isinstance(told := event.get("error"), dict):
            raise RemoteError(_harmless(told.get("message") or "The model server failed."))
        if isinstance(usage := event.get("usage"), dict):
            details = usage.get("prompt_tokens_details") or {}
            self._usage = Usage(
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                cached_tokens=int(details.get("cached_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
            )
        choices = event.get("choices") or []
        if not choices:
            return ""
        choice = choices[0]
        delta = choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        for call in delta.get("tool_calls") or []:
            self._take_call(call)
        if text:
            self._first = self._first or time.monotonic()
            self._sampled += 1
            self._written += len(text)
            self._chunks.put_nowait(Chunk(text, 1, _logprobs(choice)))
        reason = choice.get("finish_reason") or ""
        return {"tool_calls": "stop", "length": "length"}.get(reason, "stop" if reason else "")

    def _take_call(self, call: dict[str, Any]) -> None:
        held = self._calls.setdefault(int(call.get("index") or 0), {"name": "", "arguments": ""})
        function = call.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        held["name"] += name
        held["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)
        self._written += len(name) + len(arguments)

    def _written_calls(self) -> str:
        """Calls the server parsed, in Hermes' written form, which the kernel reads."""
        written = []
        for _, call in sorted(self._calls.items()):
            try:
                arguments = json.loads(call["arguments"] or "{}")
            except ValueError:
                arguments = call["arguments"]  # refused by the kernel's own check
            name = self._called.get(call["name"], call["name"])
            body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
            written.append(f"<tool_call>\n{body}\n</tool_call>")
        return "\n".join(written)


def _unexpected(failed: BaseException) -> RemoteError:
    log.error("a remote reply failed", exc_info=failed)
    return RemoteError(f"The model server's reply failed ({type(failed).__name__}).")


def _logprobs(choice: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    content = (choice.get("logprobs") or {}).get("content") or []
    return tuple(
        TokenLogprob(
            -1,
            bytes(row.get("bytes") or row.get("token", "").encode()),
            float(row.get("logprob", 0.0)),
            tuple(
                (-1, bytes(t.get("bytes") or t.get("token", "").encode()), float(t["logprob"]))
                for t in row.get("top_logprobs") or []
            ),
        )
        for row in content
    )
