"""Sampling in C: one llama.cpp sampler chain a sequence, and its grammar.

Handing llama.cpp the whole vocabulary costs half a millisecond a token (49,152 of them). Where the
chain begins with a cut to the k best, only these are handed over, and the best one of a greedy
chain is looked up: the same token (but for ties at the k-th place), many times faster.

A grammar over the whole vocabulary costs more than the rest of the step, so a token is sampled
without it first and only checked; when it does not fit, the grammar is applied to all and the
token drawn again. A grammar with a trigger sleeps until the output contains the trigger.
"""

from __future__ import annotations

import ctypes
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as C
import numpy as np

from llmos import limits
from llmos.engine.backend import Logits, SamplingParams
from llmos.errors import GrammarError

if TYPE_CHECKING:
    from llmos.engine.llama import LlamaRuntime

__all__ = ["LlamaSampler"]

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_SEED_MASK = 0xFFFFFFFF
_TAIL_TOKENS = 16  # tokens a trigger may be spread over
_GREEDY = 1e-6  # a temperature below divides logits into infinities
_TRIES = 32  # tokens refused in a row before a trigger is given up


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
        self._shortlist = _shortlist(params)
        self._tail: list[int] = []
        self._grammar: Any = None
        if params.grammar and not params.trigger:
            self._grammar = self._make_grammar()
        if _looks_back(params) and params.penalize_prompt:
            for token in prompt[-max(params.penalty_last_n, params.dry_last_n) :]:
                C.llama_sampler_accept(self._chain, token)

    def sample(self, runtime: Any, row: int) -> int:
        logits = runtime.logits(row)
        began = time.thread_time()
        token = self._next(logits, row)
        if self._params.grammar and time.thread_time() - began > limits.GRAMMAR_SECONDS:
            raise GrammarError("The grammar takes too long: it leaves too many ways open.")
        return token

    def _next(self, logits: Logits, row: int) -> int:
        token = self._draw(logits, constrained=False)
        if self._grammar is None:
            if self._params.grammar and self._params.trigger:
                token = self._watch(token, row)
            C.llama_sampler_accept(self._chain, token)
            return token
        if not self._fits(token):
            token = self._draw(logits, constrained=True)
            if not self._fits(token):  # llama.cpp would end the whole program on accepting it
                raise GrammarError("The grammar leaves the model no token to go on with.")
        C.llama_sampler_accept(self._chain, token)
        C.llama_sampler_accept(self._grammar, token)
        return token

    def clone(self, seed: int | None = None) -> LlamaSampler:
        copy = object.__new__(LlamaSampler)
        copy._runtime, copy._params, copy._tail = self._runtime, self._params, list(self._tail)
        copy._chain, copy._shortlist = C.llama_sampler_clone(self._chain), self._shortlist
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
        """Run the chain over all tokens it may choose, behind the grammar where asked."""
        short = self._shortlist if not constrained else 0
        if short == 1:
            return int(logits.argmax())
        ids = np.arange(len(logits), dtype=np.int32)
        if 0 < short < len(logits):
            ids = np.sort(np.argpartition(logits, -short)[-short:]).astype(np.int32)
        data = np.empty(len(ids), dtype=_TOKEN_DATA)
        data["id"], data["logit"], data["p"] = ids, logits[ids], 0.0
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

    def _watch(self, token: int, row: int) -> int:
        """Wake the grammar once the output contains the trigger.

        The token that ends the trigger may bring more text, which must fit, too: llama.cpp ends
        the whole program on accepting what does not. Another token is drawn instead.

        Returns:
            ``token``, or the one drawn instead.
        """
        logits = self._runtime.logits(row)
        refused: list[tuple[int, float]] = []
        try:
            while not self._wakes_well([*self._tail, token]):
                if len(refused) == _TRIES:
                    raise GrammarError("The grammar leaves the model no token to go on with.")
                refused.append((token, float(logits[token])))
                logits[token] = -np.inf
                token = self._draw(logits, constrained=False)
        finally:  # others may be sampled from the same row
            for again, logit in reversed(refused):
                logits[again] = logit
        self._tail = [*self._tail[-_TAIL_TOKENS:], token]
        return token

    def _wakes_well(self, tail: list[int]) -> bool:
        """False where the trigger is complete, but followed by what the grammar does not allow."""
        text = b"".join(self._runtime.piece(t, special=True) for t in tail)
        at = text.find(self._params.trigger.encode())
        if at < 0:
            return True
        self._grammar = self._make_grammar()
        for token in self._spell(text[at:]) or [-1]:
            if token < 0 or not self._fits(token):
                C.llama_sampler_free(self._grammar)
                self._grammar = None
                return False
            C.llama_sampler_accept(self._grammar, token)
        return True

    def _spell(self, text: bytes) -> list[int]:
        """Tokens whose pieces are exactly ``text``, none where there are no such.

        They are looked for behind a line break, too: some vocabularies put a space before a text.
        """
        piece = self._runtime.piece
        for before in ("", "\n"):
            tokens = self._runtime.tokenize(before + text.decode("utf-8", "replace"), special=True)
            for start in range(len(tokens)):
                if b"".join(piece(t, special=True) for t in tokens[start:]) == text:
                    return tokens[start:]
        return []

    def _make_grammar(self) -> Any:
        text = self._params.grammar.encode()
        made = C.llama_sampler_init_grammar(self._runtime.vocab, text, b"root")
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


def _shortlist(params: SamplingParams) -> int:
    """How many of the largest logits decide; 0 where every token's may."""
    if params.logit_bias or _looks_back(params):
        return 0
    return 1 if params.temperature < _GREEDY else params.top_k


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
        given = [text.encode() for text in params.dry_breakers]
        breakers = (ctypes.c_char_p * len(given))(*given)
        add(
            chain,
            C.llama_sampler_init_dry(
                runtime.vocab,
                params.dry_multiplier,
                params.dry_base,
                params.dry_allowed_length,
                params.dry_last_n,
                breakers,
                len(given),
            ),
        )
    if params.temperature < _GREEDY:
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
