"""``POST /v1/chat/completions``: a conversation in, one or more replies out.

The kernel's processes are not involved: the client keeps the conversation and runs the calls. How
calls are asked for and read is in ``tools.py``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from llmos.engine import grammar
from llmos.engine.backend import Backend, Chunk, Generation, SamplingParams, TokenLogprob
from llmos.errors import GrammarError
from llmos.events import ToolCall, Usage
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import ApiError, responses
from llmos.server.logprobs import chat_logprobs
from llmos.server.messages import to_messages
from llmos.server.openai_answers import ChatCompletion
from llmos.server.openai_schema import ChatRequest, JsonSchemaFormat, TextFormat
from llmos.server.replies import (
    PriorityHeader,
    Stamp,
    checked,
    priority_of,
    sampling_params,
    usage_json,
)
from llmos.server.stream import DESCRIPTION, DONE, EventStream, cancel_when_gone, merged
from llmos.server.tools import CallReader, ToolPlan
from llmos.visible import encodable

__all__ = ["router"]


def _max_tokens(body: ChatRequest) -> int | None:
    new, old = body.max_completion_tokens, body.max_tokens
    if new is not None and old not in (None, new):
        sentence = "max_tokens and max_completion_tokens say different things; send one."
        raise ApiError(sentence, param="max_tokens", code="invalid_value")
    return old if new is None else new


def _logprobs(body: ChatRequest) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs is not None:
        sentence = "top_logprobs needs logprobs to be true."
        raise ApiError(sentence, param="top_logprobs", code="invalid_value")
    return None


def _format_grammar(body: ChatRequest) -> str:
    """The grammar of ``response_format``; empty for plain text."""
    wanted = body.response_format
    if wanted is None or isinstance(wanted, TextFormat):
        return ""
    schema = wanted.json_schema.schema_ if isinstance(wanted, JsonSchemaFormat) else None
    if not schema:
        return grammar.json_object()
    try:
        return grammar.from_schema(schema)
    except (GrammarError, RecursionError) as error:
        reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        sentence = f"The schema of response_format cannot be used: {reason}"
        param = "response_format.json_schema.schema"
        raise ApiError(sentence, param=param, code="invalid_schema") from error


def _params(body: ChatRequest, backend: Backend, plan: ToolPlan) -> SamplingParams:
    """How to sample, with the one grammar that tools or format ask for."""
    rules = _format_grammar(body)
    if rules and plan.optional:
        sentence = (
            "response_format cannot be combined with tools that the model may or may not call: "
            "set tool_choice to 'none' or 'required', or leave response_format out."
        )
        raise ApiError(sentence, param="response_format", code="unsupported_parameter")
    return sampling_params(
        body,
        backend.info,
        max_tokens=_max_tokens(body),
        logprobs=_logprobs(body),
        grammar=plan.grammar or rules,
        trigger=plan.trigger,
    )


@dataclass(slots=True)
class _Reply:
    """One choice while it is written: what is text, what is a call, what is still unclear."""

    reader: CallReader | None
    text: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str = "stop"
    usage: Usage = field(default_factory=Usage)

    def take(self, chunk: Chunk) -> tuple[str, list[ToolCall]]:
        """What is certain after ``chunk``: more text, and calls that are whole."""
        checked(chunk)
        text = chunk.text
        calls: list[ToolCall] = []
        if self.reader is not None:
            text, calls = self.reader.feed(chunk.text)
            if chunk.finish:
                rest, last = self.reader.close()
                text, calls = text + rest, [*calls, *last]
        self.text.append(text)
        self.calls += calls
        self.logprobs += chunk.logprobs
        if chunk.finish:
            self.finish = chunk.finish
            if self.calls and chunk.finish == "stop":
                self.finish = "tool_calls"
            self.usage = chunk.usage or Usage()
        return text, calls

    def choice(self, index: int, with_logprobs: bool) -> dict[str, Any]:
        """The whole reply as a choice of a ``chat.completion``."""
        text = "".join(self.text)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self.calls:
            message["content"] = text.strip() or None
            message["tool_calls"] = [_call_json(call) for call in self.calls]
        logprobs = chat_logprobs(self.logprobs) if with_logprobs else None
        return {
            "index": index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self.finish,
        }


def _call_json(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(encodable(call.arguments), ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def router(kernel: ServedKernel) -> APIRouter:
    """The route over ``kernel.backend``."""
    routes = APIRouter(prefix="/v1", tags=["openai"], route_class=JsonRoute)

    @routes.post(
        "/chat/completions",
        response_model=ChatCompletion,
        response_model_exclude_unset=True,
        responses={
            200: {"content": DESCRIPTION, "description": "The reply, or events of it."},
            **responses(400, 404, 413, 502, 503),
        },
    )
    async def create_chat_completion(
        body: ChatRequest, request: Request, priority: PriorityHeader = "interactive"
    ) -> Any:
        """Reply to a conversation."""
        backend = kernel.backend
        stamp = Stamp.new("chatcmpl", backend.info, body.model)
        plan = ToolPlan.of(body, backend.info)
        params = _params(body, backend, plan)
        messages, tools = plan.adapt(to_messages(body.messages))
        prompt = await backend.prompt(messages, tools=tools)
        generations = backend.generate(
            prompt, params, priority=priority_of(priority), n=body.n or 1
        )
        replies = [_Reply(plan.reader()) for _ in generations]
        if body.stream:
            return EventStream(_Events(body, stamp).of(generations, replies), generations)
        async with cancel_when_gone(request.receive, generations) as gone:
            try:
                async for index, chunk in merged(generations):
                    replies[index].take(chunk)
            except Exception:
                if gone.is_set():
                    return Response(status_code=204)  # nobody reads it
                raise
        return {
            **stamp.fields("chat.completion"),
            "choices": [
                reply.choice(index, bool(body.logprobs)) for index, reply in enumerate(replies)
            ],
            "usage": usage_json(reply.usage for reply in replies),
        }

    return routes


class _Events:
    """The events of one streamed answer, put together from prepared bytes."""

    def __init__(self, body: ChatRequest, stamp: Stamp) -> None:
        self._with_logprobs = bool(body.logprobs)
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._head = b"data: " + json.dumps(stamp.fields("chat.completion.chunk"))[:-1].encode()
        self._tail = b',"usage":null}\n\n' if self._with_usage else b"}\n\n"

    def _event(
        self, index: int, delta: str, logprobs: Sequence[TokenLogprob] = (), finish: str = "null"
    ) -> bytes:
        """One event; ``delta`` and ``finish`` are JSON already."""
        probs = "null"
        if self._with_logprobs and logprobs:
            probs = json.dumps(chat_logprobs(logprobs))
        choice = (
            f',"choices":[{{"index":{index},"delta":{delta},'
            f'"logprobs":{probs},"finish_reason":{finish}}}]'
        )
        return self._head + choice.encode() + self._tail

    async def of(
        self, generations: Sequence[Generation], replies: Sequence[_Reply]
    ) -> AsyncGenerator[bytes, None]:
        """Roles first, then text and calls as they become certain, then how each choice ended."""
        role = '{"role":"assistant","content":"","refusal":null}'
        for index in range(len(replies)):
            yield self._event(index, role)
        sent = [0] * len(replies)  # calls sent, by choice
        async for index, chunk in merged(generations):
            reply = replies[index]
            text, calls = reply.take(chunk)
            if text:
                yield self._event(index, f'{{"content":{json.dumps(text)}}}', reply.logprobs)
                reply.logprobs.clear()
            for call in calls:
                for delta in _call_deltas(sent[index], call):
                    yield self._event(index, delta, reply.logprobs)
                    reply.logprobs.clear()
                sent[index] += 1
            if chunk.finish:
                yield self._event(index, "{}", reply.logprobs, f'"{reply.finish}"')
        if self._with_usage:
            usage = json.dumps(usage_json(reply.usage for reply in replies))
            yield self._head + b',"choices":[],"usage":' + usage.encode() + b"}\n\n"
        yield DONE


def _call_deltas(at: int, call: ToolCall) -> tuple[str, str]:
    """A call as OpenAI streams it: id and name first, the arguments after."""
    whole = _call_json(call)
    arguments = whole["function"]["arguments"]
    whole["function"]["arguments"] = ""
    opened = {"tool_calls": [{"index": at, **whole}]}
    filled = {"tool_calls": [{"index": at, "function": {"arguments": arguments}}]}
    return json.dumps(opened), json.dumps(filled)
