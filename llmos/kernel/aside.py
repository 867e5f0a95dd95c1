"""What the model writes beside a conversation: a plan, a value, a summary. Nobody is shown it."""

from __future__ import annotations

from llmos.engine.backend import Backend, Priority, Prompt, SamplingParams
from llmos.kernel.process import Process

__all__ = ["aside"]


async def aside(
    backend: Backend, prompt: Prompt, params: SamplingParams, payer: Process | None = None
) -> str:
    """Have it written, whole; whoever stops waiting ends it.

    Args:
        backend: The processor.
        prompt: What it is to be written for.
        params: How.
        payer: Whose priority and budget are used; with nobody it waits for all others.

    Raises:
        BudgetExceeded: The payer has nothing left.
        EngineError: The model failed.
    """
    if payer is not None:
        payer.remaining()
    priority = payer.priority if payer is not None else Priority.IDLE
    [generation] = backend.generate(prompt, params, priority=priority)
    text = ""
    try:
        async for chunk in generation:
            text += chunk.text
            if payer is not None:
                payer.charge(tokens=chunk.tokens)
            if chunk.error is not None:
                raise chunk.error
    finally:
        generation.cancel()
    return text
