"""Sampling in C: one llama.cpp sampler chain a sequence, and its grammar.

A grammar over the whole vocabulary costs more than the rest of the step, so a token is sampled
without it first and only checked; when it does not fit, the grammar is applied to all and the
token drawn again. A grammar with a trigger sleeps until the output contains the trigger.
"""

from __future__ import annotations

import ctypes
import re
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as C
import numpy as np

from llmos.engine.backend import SamplingParams
from llmos.errors import GrammarError

if TYPE_CHECKING:
    from llmos.engine.llama import LlamaRuntime

__all__ = ["LlamaSampler"]

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_SEED_MASK = 0xFFFFFFFF
_TAIL_TOKENS = 16  # tokens a trigger may be spread over


class LlamaSampler:
    """The sampler of one sequence.

    Args:
        runtime: Whose logits it samples.
        params: How.
        prompt: The prompt, which penalties look back on.

    Raises:
        GrammarError: llama.cpp refuses the grammar.
    """

    def __init__(
        self, runtime: LlamaRuntime, params: SamplingParams, prompt: Sequence[int]
    ) -> None:
        self._runtime = runtime
        self._params = params
        self._chain = _chain(runtime, params)
        self._tail: list[int] = []
        self._grammar: Any = None
        if params.grammar and not params.trigger:
            self._grammar = self._make_grammar()
        if _looks_back(params):
            for token in prompt[-params.penalty_last_n :]:
                C.llama_sampler_accept(self._chain, token)

    def sample(self, runtime: Any, row: int) -> int:
        if self._grammar is None:
            token = int(C.llama_sampler_sample(self._chain, runtime.context, row))
            if self._params.trigger:
                self._watch(token)
            return token
        logits = runtime.logits(row)
        token = self._draw(logits, constrained=False)
        if not self._fits(token):
            token = self._draw(logits, constrained=True)
        C.llama_sampler_accept(self._chain, token)
        C.llama_sampler_accept(self._grammar, token)
        return token

    def clone(self, seed: int | None = None) -> LlamaSampler:
        copy = object.__new__(LlamaSampler)
        copy._runtime, copy._params, copy._tail = self._runtime, self._params, list(self._tail)
        copy._chain = C.llama_sampler_clone(self._chain)
        copy._grammar = C.llama_sampler_clone(self._grammar) if self._grammar else None
        if seed is not None and self._params.temperature > 0:
            last = C.llama_sampler_chain_n(copy._chain) - 1
            C.llama_sampler_free(C.llama_sampler_chain_remove(copy._chain, last))
            C.llama_sampler_chain_add(copy._chain, C.llama_sampler_init_dist(seed & _SEED_MASK))
        return copy

    def close(self) -> None:
        if self._chain is not None:
            C.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar is not None:
            C.llama_sampler_free(self._grammar)
            self._grammar = None

    def _draw(self, logits: Any, *, constrained: bool) -> int:
        """Run the chain over the whole vocabulary, behind the grammar where asked."""
        data = np.empty(len(logits), dtype=_TOKEN_DATA)
        data["id"] = np.arange(len(logits), dtype=np.int32)
        data["logit"] = logits
        data["p"] = 0.0
        array = _array(data)
        if constrained:
            C.llama_sampler_apply(self._grammar, ctypes.byref(array))
        C.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _fits(self, token: int) -> bool:
        data = np.array([(token, 1.0, 0.0)], dtype=_TOKEN_DATA)
        array = _array(data)
        C.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(np.isfinite(data["logit"][0]))

    def _watch(self, token: int) -> None:
        """Wake the grammar once the output contains the trigger."""
        self._tail = [*self._tail[-_TAIL_TOKENS:], token]
        text = b"".join(self._runtime.piece(t, special=True) for t in self._tail)
        if self._params.trigger.encode() not in text:
            return
        self._grammar = self._make_grammar(lazy=True)
        for seen in self._tail:
            C.llama_sampler_accept(self._grammar, seen)

    def _make_grammar(self, *, lazy: bool = False) -> Any:
        text = self._params.grammar.encode()
        if not lazy:
            made = C.llama_sampler_init_grammar(self._runtime.vocab, text, b"root")
        else:
            # The pattern must match the whole output so far; the grammar starts at its group.
            pattern = rf"[\s\S]*?({re.escape(self._params.trigger)}[\s\S]*)".encode()
            patterns = (ctypes.c_char_p * 1)(pattern)
            none = (C.llama_token * 1)()
            made = C.llama_sampler_init_grammar_lazy_patterns(
                self._runtime.vocab, text, b"root", patterns, 1, none, 0
            )
        if not made:
            raise GrammarError("The grammar cannot be parsed.")
        return made


def _array(data: Any) -> Any:
    pointer = data.ctypes.data_as(ctypes.POINTER(C.llama_token_data))
    return C.llama_token_data_array(pointer, len(data), -1, False)


def _looks_back(params: SamplingParams) -> bool:
    return (
        params.repeat_penalty != 1
        or params.frequency_penalty != 0
        or params.presence_penalty != 0
        or params.dry_multiplier > 0
    )


def _chain(runtime: LlamaRuntime, params: SamplingParams) -> Any:
    """The chain in llama.cpp's own usual order: biases, penalties, truncations, draw."""
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    add = C.llama_sampler_chain_add
    if params.logit_bias:
        known = {t: b for t, b in params.logit_bias.items() if 0 <= t < runtime.vocab_size}
        biases = (C.llama_logit_bias * max(len(known), 1))()
        for slot, (token, bias) in zip(biases, known.items(), strict=False):
            slot.token, slot.bias = token, bias
        add(chain, C.llama_sampler_init_logit_bias(runtime.vocab_size, len(known), biases))
    if _looks_back(params):
        add(
            chain,
            C.llama_sampler_init_penalties(
                runtime.vocab_size,
                params.penalty_last_n,
                params.repeat_penalty,
                params.frequency_penalty,
                params.presence_penalty,
            ),
        )
    if params.dry_multiplier > 0:
        breakers = (ctypes.c_char_p * 4)(b"\n", b":", b'"', b"*")
        add(
            chain,
            C.llama_sampler_init_dry(
                runtime.vocab,
                params.dry_multiplier,
                params.dry_base,
                params.dry_allowed_length,
                params.penalty_last_n,
                breakers,
                4,
            ),
        )
    if params.temperature <= 0:
        add(chain, C.llama_sampler_init_greedy())
        return chain
    if params.top_k > 0:
        add(chain, C.llama_sampler_init_top_k(params.top_k))
    if params.typical_p < 1:
        add(chain, C.llama_sampler_init_typical(params.typical_p, 1))
    if params.top_p < 1:
        add(chain, C.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        add(chain, C.llama_sampler_init_min_p(params.min_p, 1))
    add(chain, C.llama_sampler_init_temp(params.temperature))
    seed = params.seed if params.seed is not None else secrets.randbits(32)
    add(chain, C.llama_sampler_init_dist(seed & _SEED_MASK))
    return chain
