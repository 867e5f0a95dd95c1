"""Whether a reply that was suspended, preempted or swapped out goes on as if nothing had been."""

from __future__ import annotations

from typing import Any

from llmos.bench.harness import Bench
from llmos.boot import processor
from llmos.config import Config, EngineConfig
from llmos.engine.backend import Generation, Priority, Prompt, SamplingParams
from llmos.engine.local import LocalBackend

__all__ = ["measure"]

WINDOW = 1024
PROMPT, TOKENS = 300, 96
RIVAL_PROMPT, RIVAL_TOKENS = 800, 16  # together they need more cells than there are
_PAUSE_AFTER = 16  # tokens before the reply is interrupted


async def measure(bench: Bench) -> None:
    """The group's figure."""
    if not bench.wants("resume_identical"):
        return
    config = Config(engine=EngineConfig(model=bench.model, window=WINDOW, cells=WINDOW))
    backend, _ = processor(config)
    if not isinstance(backend, LocalBackend):
        bench.left_out["resume_identical"] = "The model runs on another server."
        return
    await backend.start()
    try:
        await _compare(bench, backend)
    finally:
        await backend.close()


async def _compare(bench: Bench, backend: LocalBackend) -> None:
    mine = await backend.token_prompt(await bench.prompt(PROMPT))
    rival = await backend.token_prompt(await bench.prompt(RIVAL_PROMPT))
    whole = await _finished(_start(backend, mine, TOKENS))
    suspended = await _suspended(backend, mine, rival)
    before = backend.stats()
    swapped = await _preempted(backend, mine, rival)
    after = backend.stats()
    moved = {key: after[key] - before[key] for key in ("preemptions", "swapped_in")}
    same = {"suspended": suspended == whole, "swapped": swapped == whole}
    bench.samples["resume"] = {**same, **moved, "tokens_compared": len(whole)}
    # A comparison in which nothing was preempted and nothing came back would prove nothing.
    identical = all(same.values()) and all(moved.values())
    bench.found("resume_identical", identical, prompt_tokens=PROMPT, reply_tokens=TOKENS)


def _start(
    backend: LocalBackend, prompt: Prompt, tokens: int, priority: Priority = Priority.IDLE
) -> Generation:
    params = SamplingParams(max_tokens=tokens, ignore_end=True)
    [generation] = backend.generate(prompt, params, priority=priority)
    return generation


async def _finished(generation: Generation) -> list[int]:
    """All tokens of a generation, once it is done."""
    async for _ in generation:
        pass
    sequence: Any = generation.sequence  # type: ignore[attr-defined]
    return list(sequence.tokens)


async def _under_way(generation: Generation) -> None:
    """Return when some of the reply is written."""
    count = 0
    async for chunk in generation:
        count += chunk.tokens
        if count >= _PAUSE_AFTER or chunk.finish:
            return


async def _suspended(backend: LocalBackend, mine: Prompt, rival: Prompt) -> list[int]:
    generation = _start(backend, mine, TOKENS)
    await _under_way(generation)
    generation.suspend()
    await _finished(_start(backend, rival, RIVAL_TOKENS))
    generation.resume()
    return await _finished(generation)


async def _preempted(backend: LocalBackend, mine: Prompt, rival: Prompt) -> list[int]:
    """A weak reply that loses its cells to a strong one and gets them back."""
    generation = _start(backend, mine, TOKENS)
    await _under_way(generation)
    await _finished(_start(backend, rival, RIVAL_TOKENS, Priority.INTERACTIVE))
    return await _finished(generation)
