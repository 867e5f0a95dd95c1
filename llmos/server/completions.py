"""``POST /v1/completions``: bare text in, text out, in OpenAI's legacy form."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from llmos import limits
from llmos.engine.backend import Backend, Generation, Prompt, TokenLogprob
from llmos.events import Usage
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import ApiError, responses
from llmos.server.logprobs import LegacyLogprobs
from llmos.server.openai_answers import Completion
from llmos.server.openai_schema import CompletionRequest
from llmos.server.replies import (
    PriorityHeader,
    Stamp,
    checked,
    collect,
    priority_of,
    sampling_params,
    usage_json,
)
from llmos.server.stream import DESCRIPTION, DONE, EventStream, cancel_when_gone, merged

__all__ = ["router"]

_DEFAULT_MAX_TOKENS = 16  # OpenAI's, for this route only


def _check(body: CompletionRequest) -> None:
    """Refuse what the schema allows and this server cannot do."""
    n = body.n or 1
    if body.suffix:
        raise ApiError("suffix is not supported.", param="suffix", code="unsupported_parameter")
    if body.best_of not in (None, n):
        sentence = "best_of is not supported beyond n: every reply that is made is returned."
        raise ApiError(sentence, param="best_of", code="unsupported_parameter")
    if body.echo and body.logprobs is not None:
        sentence = "echo cannot be combined with logprobs: a prompt's own are not computed."
        raise ApiError(sentence, param="echo", code="unsupported_parameter")


async def _token_prompt(ids: list[int], backend: Backend) -> Prompt:
    vocab = backend.info.vocab
    if not vocab:
        sentence = "This model takes prompts as text, not as tokens."
        raise ApiError(sentence, param="prompt", code="unsupported_parameter")
    if max(ids) >= vocab:
        sentence = f"The prompt names token {max(ids)}, but this model has {vocab} tokens."
        raise ApiError(sentence, param="prompt", code="invalid_value")
    return await backend.token_prompt(ids)


async def _prompts(body: CompletionRequest, backend: Backend) -> list[Prompt]:
    given: Any = body.prompt
    if isinstance(given, str) or isinstance(given[0], int):
        given = [given]
    prompts = []
    for item in given:
        if isinstance(item, str):
            prompt = await backend.text_prompt(item)
            if not prompt.tokens and not prompt.text:
                sentence = "The prompt is empty."
                raise ApiError(sentence, param="prompt", code="invalid_value")
        else:
            prompt = await _token_prompt(item, backend)
        prompts.append(prompt)
    if len(prompts) * (body.n or 1) > limits.N_MAX:
        sentence = f"One request makes at most {limits.N_MAX} replies."
        raise ApiError(sentence, param="n", code="invalid_value")
    return prompts


def _start(
    body: CompletionRequest, backend: Backend, prompts: Sequence[Prompt], priority: str
) -> list[Generation]:
    """Start all replies, or none of them."""
    params = sampling_params(
        body,
        backend.info,
        max_tokens=_DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        logprobs=body.logprobs,
    )
    generations: list[Generation] = []
    try:
        for prompt in prompts:
            generations += backend.generate(
                prompt, params, priority=priority_of(priority), n=body.n or 1
            )
    except BaseException:
        for generation in generations:
            generation.cancel()
        raise
    return generations


def router(kernel: ServedKernel) -> APIRouter:
    """The route over ``kernel.backend``."""
    routes = APIRouter(prefix="/v1", tags=["openai"], route_class=JsonRoute)

    @routes.post(
        "/completions",
        response_model=Completion,
        responses={
            200: {"content": DESCRIPTION, "description": "The reply, or events of it."},
            **responses(400, 404, 413, 502, 503),
        },
    )
    async def create_completion(
        body: CompletionRequest, request: Request, priority: PriorityHeader = "interactive"
    ) -> Any:
        """Continue a text."""
        backend = kernel.backend
        stamp = Stamp.new("cmpl", backend.info, body.model)
        _check(body)
        prompts = await _prompts(body, backend)
        generations = _start(body, backend, prompts, priority)
        each = body.n or 1
        echoes = [prompts[i // each].text if body.echo else "" for i in range(len(generations))]
        if body.stream:
            events = _events(body, stamp, generations, echoes, len(prompts))
            return EventStream(events, generations)
        async with cancel_when_gone(request.receive, generations) as gone:
            try:
                replies = await collect(merged(generations), generations)
            except Exception:
                if gone.is_set():
                    return Response(status_code=204)  # nobody reads it
                raise
        choices = [
            {
                "index": index,
                "text": echo + reply.text,
                "logprobs": None
                if body.logprobs is None
                else LegacyLogprobs(len(echo)).take(reply.logprobs),
                "finish_reason": reply.finish,
            }
            for index, (reply, echo) in enumerate(zip(replies, echoes, strict=True))
        ]
        usage = usage_json((reply.usage for reply in replies), len(prompts))
        return {**stamp.fields("text_completion"), "choices": choices, "usage": usage}

    return routes


async def _events(
    body: CompletionRequest,
    stamp: Stamp,
    generations: Sequence[Generation],
    echoes: Sequence[str],
    prompts: int,
) -> AsyncGenerator[bytes, None]:
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    head = b"data: " + json.dumps(stamp.fields("text_completion"))[:-1].encode()
    tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"
    offsets = [LegacyLogprobs(len(echo)) for echo in echoes]
    usages = [Usage()] * len(generations)

    def event(index: int, text: str, finish: str, entries: Sequence[TokenLogprob]) -> bytes:
        logprobs = None if body.logprobs is None else offsets[index].take(entries)
        choice = {
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish or None,
        }
        return head + b',"choices":[' + json.dumps(choice).encode() + b"]" + tail

    for index, echo in enumerate(echoes):
        if echo:
            yield event(index, echo, "", ())
    async for index, chunk in merged(generations):
        checked(chunk)
        usages[index] = chunk.usage or usages[index]
        yield event(index, chunk.text, chunk.finish, chunk.logprobs)
    if with_usage:
        usage = json.dumps(usage_json(usages, prompts)).encode()
        yield head + b',"choices":[],"usage":' + usage + b"}\n\n"
    yield DONE
