"""The yardstick: bare ``llama_decode`` and sampler loops, with nothing of llmos around them.

Runs as a child process that answers commands on its pipes, one JSON object a line, so that its
thread pool never spins beside the kernel's: between commands it sleeps on its standard input. It
uses llama.cpp through the same Python package as the kernel, with llama.cpp's usual thread count,
one a physical core.

Commands: ``{"do": "tokenize", "text": …}`` and ``{"do": "run", "prompts": [[…], …], "tokens": n}``,
which prefills all prompts, decodes ``n`` tokens of each in one batch and tells how long it took.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

__all__ = ["BareLoop", "main"]

_BATCH = 512


class BareLoop:
    """A model, a context, a greedy sampler.

    Args:
        model: The GGUF file.
        threads: Compute threads.
        cells: KV cells of the context.
        flash: Whether to use flash attention; the kernel's own setting makes a fair pair.
    """

    def __init__(self, model: str, threads: int, cells: int, flash: bool) -> None:
        import llama_cpp.llama_cpp as C

        from llmos.engine.llama import silence

        silence()
        self._c = C
        model_params = C.llama_model_default_params()
        self._model = C.llama_model_load_from_file(model.encode(), model_params)
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {model}.")
        self._vocab = C.llama_model_get_vocab(self._model)
        params = C.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = _BATCH
        params.n_seq_max = 8
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.flash_attn_type = 1 if flash else 0
        params.no_perf = True
        self._context = C.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit("llama.cpp cannot make a context.")
        self._sampler = C.llama_sampler_init_greedy()
        self._batch = C.llama_batch_init(_BATCH, 0, 1)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of ``text``."""
        raw = text.encode()
        tokens = (self._c.llama_token * (len(raw) + 8))()
        count = self._c.llama_tokenize(
            self._vocab, raw, len(raw), tokens, len(tokens), False, False
        )
        return list(tokens[:count])

    def run(self, prompts: list[list[int]], count: int) -> dict[str, Any]:
        """Prefill ``prompts`` and decode ``count`` tokens of each, past any end token.

        Returns:
            ``seconds`` in all, ``first_s`` to the first token of all, and the ``tokens``.
        """
        c = self._c
        c.llama_memory_clear(c.llama_get_memory(self._context), True)
        began = time.perf_counter()
        rows = self._prefill(prompts)
        replies: list[list[int]] = [[row] for row in rows]
        first = time.perf_counter() - began
        filled = [len(prompt) for prompt in prompts]
        for _ in range(count - 1):
            entries = [(reply[-1], filled[i], i, True) for i, reply in enumerate(replies)]
            self._decode(entries)
            for i, reply in enumerate(replies):
                filled[i] += 1
                reply.append(c.llama_sampler_sample(self._sampler, self._context, i))
        return {"seconds": time.perf_counter() - began, "first_s": first, "tokens": replies}

    def _prefill(self, prompts: list[list[int]]) -> list[int]:
        """The first token of each prompt's reply."""
        entries = [
            (token, at, i, at == len(prompt) - 1)
            for i, prompt in enumerate(prompts)
            for at, token in enumerate(prompt)
        ]
        firsts: dict[int, int] = {}
        for start in range(0, len(entries), _BATCH):
            part = entries[start : start + _BATCH]
            self._decode(part)
            for row, (_, _, i, last) in enumerate(part):
                if last:
                    sample = self._c.llama_sampler_sample
                    firsts[i] = sample(self._sampler, self._context, row)
        return [firsts[i] for i in range(len(prompts))]

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        for row, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = wanted
        batch.n_tokens = len(entries)
        code = self._c.llama_decode(self._context, batch)
        if code:
            raise SystemExit(f"llama.cpp could not compute a step (code {code}).")


def main(arguments: list[str]) -> None:
    """Answer commands until standard input ends: ``MODEL THREADS CELLS FLASH``."""
    model, threads, cells, flash = arguments
    loop = BareLoop(model, int(threads), int(cells), flash == "1")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "tokenize":
            answer: dict[str, Any] = {"tokens": loop.tokenize(command["text"])}
        else:
            answer = loop.run(command["prompts"], command["tokens"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
