"""Somebody else's server as a backend: anything that speaks the OpenAI protocol.

For people who outgrow one machine (vLLM or SGLang on a cluster) or have Ollama or llama-server
next door. Processes, system calls and memory work on it as on the engine; what it cannot do is
said: cells, forks and swap are that server's affair, and prompts are counted by it, afterwards.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
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
from llmos.errors import EngineError, LlmosError, PromptTooLong, RemoteError
from llmos.events import Message, Usage

__all__ = ["RemoteBackend", "wire_messages"]

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 300.0  # between two pieces of a reply; a cold model may take minutes
_WINDOW_KEYS = ("context_window", "max_model_len", "context_length", "n_ctx")


def wire_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the OpenAI form."""
    rows = []
    for message in messages:
        row: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            row["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                }
                for call in message.calls
            ]
        if message.role == "tool":
            row["tool_call_id"] = message.call_id
        rows.append(row)
    return rows


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
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        self._address = base
        self._http = httpx.AsyncClient(
            base_url=base.rstrip("/") + "/", headers=headers, timeout=timeout, transport=transport
        )
        self.info = ModelInfo(name=self._model or base, window=limits.WINDOW_DEFAULT)
        self._running: set[_RemoteGeneration] = set()
        self._prompt_tokens = self._cached_tokens = self._sampled_tokens = self._finished = 0

    async def start(self) -> None:
        listed = (await self._get("models")).get("data") or []
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
        window = next((int(about[k]) for k in _WINDOW_KEYS if about.get(k)), 0)
        self.info = ModelInfo(
            name=self._model, window=window or limits.WINDOW_DEFAULT, device=self._address
        )

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

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        priority: Priority = Priority.INTERACTIVE,
        n: int = 1,
    ) -> list[Generation]:
        path, body = self._request(prompt, params)
        made = [_RemoteGeneration(self, path, body) for _ in range(n)]
        self._running.update(made)
        return list(made)

    def count(self, text: str) -> int:
        """An estimate: only the server knows its tokenizer. Exact counts come with each reply."""
        return len(text.encode()) // 4 + 1

    def stats(self) -> dict[str, Any]:
        return {
            "running": len(self._running),
            "prompt_tokens": self._prompt_tokens,
            "cached_tokens": self._cached_tokens,
            "sampled_tokens": self._sampled_tokens,
            "finished": self._finished,
        }

    async def close(self) -> None:
        for generation in list(self._running):
            generation.cancel()
        await self._http.aclose()

    # --- the wire ---------------------------------------------------------------------------

    def _request(self, prompt: Prompt, params: SamplingParams) -> tuple[str, dict[str, Any]]:
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
        if params.grammar and not params.trigger:
            body["grammar"] = params.grammar
        if prompt.messages:
            body["messages"] = wire_messages(prompt.messages)
            if prompt.tools:
                body["tools"] = list(prompt.tools)
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

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
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
        except httpx.HTTPError as error:
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


async def _refused(answer: httpx.Response) -> LlmosError:
    """The server's own words about why it refused."""
    try:
        told = answer.json().get("error", {})
        said = told.get("message", "") if isinstance(told, dict) else str(told)
        code = told.get("code") if isinstance(told, dict) else ""
    except (ValueError, AttributeError):
        said, code = answer.text[:200], ""
    if code == PromptTooLong.code:
        error = EngineError(said)
        error.code = PromptTooLong.code
        return error
    return RemoteError(f"The model server refused ({answer.status_code}): {said}")


class _RemoteGeneration:
    """One reply from the server."""

    def __init__(self, backend: RemoteBackend, path: str, body: dict[str, Any]) -> None:
        self._backend = backend
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()
        self._usage = Usage()
        self._began = time.monotonic()
        self._first = 0.0
        self._sampled = 0
        self._calls: dict[int, dict[str, str]] = {}
        self._go_on = asyncio.Event()
        self._go_on.set()
        self._task = asyncio.create_task(self._read(path, body))

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
        finish, error = "stop", None
        try:
            async for event in self._backend.stream(path, body):
                await self._go_on.wait()
                finish = self._take(event) or finish
        except asyncio.CancelledError:
            finish = "cancelled"
        except EngineError as failed:
            finish, error = "error", failed
        except LlmosError as failed:
            finish, error = "error", RemoteError(failed.sentence)
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
        """Take one event; returns the finish reason it carries, if any."""
        if isinstance(told := event.get("error"), dict):
            raise RemoteError(str(told.get("message", "The model server failed.")))
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
            self._chunks.put_nowait(Chunk(text, 1, _logprobs(choice)))
        reason = choice.get("finish_reason") or ""
        return {"tool_calls": "stop", "length": "length"}.get(reason, "stop" if reason else "")

    def _take_call(self, call: dict[str, Any]) -> None:
        held = self._calls.setdefault(int(call.get("index") or 0), {"name": "", "arguments": ""})
        function = call.get("function") or {}
        held["name"] += function.get("name") or ""
        held["arguments"] += function.get("arguments") or ""

    def _written_calls(self) -> str:
        """Calls the server parsed, in the generic written form that the kernel reads."""
        written = []
        for _, call in sorted(self._calls.items()):
            try:
                arguments = json.loads(call["arguments"] or "{}")
            except ValueError:
                arguments = call["arguments"]  # refused by the kernel's own check
            body = json.dumps({"name": call["name"], "arguments": arguments}, ensure_ascii=False)
            written.append(f"<tool_call>\n{body}\n</tool_call>")
        return "\n".join(written)


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
