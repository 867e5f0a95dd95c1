"""llama.cpp as a runtime, through llama-cpp-python's low-level functions.

Everything here runs on the engine's thread (llama.cpp keeps one thread pool a calling thread; a
second caller halves the speed of both), but for ``tokenize`` and ``piece``, which only read the
vocabulary. Knows tokens and slots; never decides anything.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import llama_cpp.llama_cpp as C
import numpy as np

from llmos import limits
from llmos.config import EngineConfig
from llmos.engine.backend import Logits, ModelInfo, Run, SamplingParams, State
from llmos.engine.llama_sampler import LlamaSampler
from llmos.errors import EngineError, ModelCorrupt, ModelMissing, ModelTooLarge
from llmos.models import hardware

__all__ = ["LlamaRuntime", "devices", "silence"]

log = logging.getLogger("llama.cpp")

_GGML_TYPE = {"f16": 1, "q8_0": 8}

# How llama.cpp and its GPU back ends complain of memory.
_NO_MEMORY = re.compile(
    r"(failed|unable) to (re)?alloc|alloc\w* .*failed|out of (\w+ )?memory|OutOf\w*Memory", re.I
)
_complaints: deque[str] = deque(maxlen=50)  # its last warnings and errors

_LOG_LEVELS = {2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}


@C.llama_log_callback
def _forward_log(level: int, text: bytes, _data: Any) -> None:
    if level in _LOG_LEVELS:
        line = text.decode("utf-8", "replace").rstrip()
        log.log(_LOG_LEVELS[level], "%s", line)
        if _LOG_LEVELS[level] >= logging.WARNING:
            _complaints.append(line)


@functools.cache
def silence() -> None:
    """Send llama.cpp's own output to the log instead of the terminal, and initialise it."""
    C.llama_log_set(_forward_log, ctypes.c_void_p(0))
    C.llama_backend_init()


def devices() -> list[str]:
    """Names of the devices llama.cpp would offload to, empty for CPU only."""
    silence()
    return ["gpu"] if C.llama_supports_gpu_offload() else []


class LlamaRuntime:
    """A GGUF model, loaded.

    Args:
        path: The model file, already checked (``models.gguf``).
        config: Window, cells, threads, layers on a GPU, cell type.
        progress: Called with 0.0 … 1.0 while loading.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: llama.cpp refuses it.
        ModelTooLarge: Weights or context do not fit in memory.
    """

    def __init__(
        self,
        path: Path,
        config: EngineConfig,
        *,
        name: str = "",
        threads: int = 2,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        silence()
        if not path.is_file():
            raise ModelMissing(f"There is no model file {path}.")
        self._model = self._context = None
        self._model = self._load_model(path, config, progress)
        self._vocab = C.llama_model_get_vocab(self._model)
        on_gpu = bool(devices()) and config.gpu_layers != 0
        recurrent = C.llama_model_is_recurrent(self._model) or C.llama_model_is_hybrid(self._model)
        rewinds = not recurrent and C.llama_model_n_swa(self._model) <= 0
        trained = C.llama_model_n_ctx_train(self._model)
        window, self.cells = hardware.sizes(config, max(trained, 0))
        self.slots = limits.SLOTS_RECURRENT if recurrent else limits.SLOTS
        self.batch = limits.BATCH_TOKENS
        self.threads = threads
        flash = config.flash_attention
        self._context = self._make_context(config, flash == "on" or (flash == "auto" and on_gpu))
        self.cells = C.llama_n_ctx(self._context)
        self._memory = C.llama_get_memory(self._context)
        self._vocab_size = C.llama_vocab_n_tokens(self._vocab)
        self._batch = _Batch(self.batch)
        self._pieces: dict[tuple[int, bool], bytes] = {}
        self.info = ModelInfo(
            name=name or path.stem,
            window=window,
            parameters=C.llama_model_n_params(self._model),
            template=(C.llama_model_chat_template(self._model, None) or b"").decode(
                "utf-8", "replace"
            ),
            bos=self._special(C.llama_vocab_bos(self._vocab)),
            eos=self._special(C.llama_vocab_eos(self._vocab)),
            adds_bos=bool(C.llama_vocab_get_add_bos(self._vocab)),
            vocab=self._vocab_size,
            can_rewind=rewinds,
            device="gpu" if on_gpu else "cpu",
            fingerprint=_fingerprint(path, config, flash),
            path=str(path),
        )

    # --- loading ----------------------------------------------------------------------------

    def _load_model(
        self, path: Path, config: EngineConfig, progress: Callable[[float], None] | None
    ) -> Any:
        params = C.llama_model_default_params()
        params.n_gpu_layers = config.gpu_layers

        @C.llama_progress_callback
        def on_progress(fraction: float, _data: Any) -> bool:
            if progress is not None:
                progress(fraction)
            return True

        params.progress_callback = on_progress
        _complaints.clear()
        model = C.llama_model_load_from_file(str(path).encode(), params)
        if not model and any(map(_NO_MEMORY.search, _complaints)):
            where = " on the GPU" if devices() and config.gpu_layers else ""
            raise ModelTooLarge(
                f"There is not enough memory{where} for {path.name}.",
                remedy="Close other programs, set engine.gpu_layers, or choose a smaller model.",
            )
        if not model:
            raise ModelCorrupt(
                f"llama.cpp cannot load {path.name}.",
                remedy="The log has the reason; the file may be damaged or of an unknown kind.",
            )
        return model

    def _make_context(self, config: EngineConfig, flash: bool) -> Any:
        params = C.llama_context_default_params()
        params.n_ctx = self.cells
        params.n_batch = self.batch
        params.n_ubatch = self.batch
        params.n_seq_max = self.slots
        params.n_outputs_max = self.slots
        params.n_threads = self.threads
        params.n_threads_batch = self.threads
        params.kv_unified = True
        params.swa_full = False
        # A quantised V cache needs flash attention.
        use_flash = flash or config.kv_type != "f16"
        params.flash_attn_type = 1 if use_flash else 0
        params.type_k = params.type_v = _GGML_TYPE[config.kv_type]
        params.no_perf = True
        context = C.llama_init_from_model(self._model, params)
        if not context:
            C.llama_model_free(self._model)
            self._model = None
            raise ModelTooLarge(
                f"There is not enough memory for a window of {self.cells} tokens.",
                remedy="Set engine.window or engine.cells lower, or close other programs.",
            )
        return context

    # --- vocabulary -------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        raw = text.encode("utf-8", "surrogatepass")
        size = len(raw) + 8
        tokens = (C.llama_token * size)()
        count = C.llama_tokenize(self._vocab, raw, len(raw), tokens, size, False, special)
        if count < 0:
            raise EngineError("The text cannot be tokenized.")
        return list(tokens[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        known = self._pieces.get((token, special))
        if known is not None:
            return known
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = C.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if length >= 0:
                break
            size = -length
        piece = self._pieces[token, special] = buffer.raw[:length]
        return piece

    def controls(self) -> list[str]:
        found = (t for t in range(self._vocab_size) if C.llama_vocab_is_control(self._vocab, t))
        return [self.piece(t, special=True).decode("utf-8", "replace") for t in found]

    def is_end(self, token: int) -> bool:
        return bool(C.llama_vocab_is_eog(self._vocab, token))

    def _special(self, token: int) -> str:
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    # --- steps ------------------------------------------------------------------------------

    def decode(self, runs: Sequence[Run]) -> list[int]:
        batch = self._batch
        rows, filled = [], 0
        for run in runs:
            end = filled + len(run.tokens)
            batch.tokens[filled:end] = run.tokens
            batch.positions[filled:end] = np.arange(run.start, run.start + len(run.tokens))
            batch.slots[filled:end] = run.slot
            batch.outputs[filled:end] = 0
            if run.want_logits:
                batch.outputs[end - 1] = 1
            rows.append(end - 1 if run.want_logits else -1)
            filled = end
        batch.struct.n_tokens = filled
        code = C.llama_decode(self._context, batch.struct)
        if code:
            raise EngineError(f"llama.cpp could not compute a step (code {code}).")
        return rows

    def logits(self, row: int) -> Logits:
        pointer = C.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, (self._vocab_size,))

    def sampler(self, params: SamplingParams, prompt: Sequence[int]) -> LlamaSampler:
        return LlamaSampler(self, params, prompt)

    def set_threads(self, threads: int) -> None:
        C.llama_set_n_threads(self._context, threads, threads)
        self.threads = threads

    # --- memory -----------------------------------------------------------------------------

    def share(self, source: int, target: int, length: int) -> None:
        C.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def truncate(self, slot: int, length: int) -> bool:
        return bool(C.llama_memory_seq_rm(self._memory, slot, length, -1))

    def free(self, slot: int) -> None:
        C.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def length(self, slot: int) -> int:
        return int(C.llama_memory_seq_pos_max(self._memory, slot)) + 1

    def save(self, slot: int) -> bytearray:
        size = C.llama_state_seq_get_size(self._context, slot)
        state = bytearray(size)
        buffer = (ctypes.c_uint8 * size).from_buffer(state)
        written = C.llama_state_seq_get_data(self._context, buffer, size, slot)
        del buffer
        if written != size:
            raise EngineError("A sequence's state could not be saved.")
        return state

    def restore(self, slot: int, state: State) -> bool:
        held = bytearray(state) if isinstance(state, bytes) else state
        buffer = (ctypes.c_uint8 * len(held)).from_buffer(held)
        return bool(C.llama_state_seq_set_data(self._context, buffer, len(held), slot))

    def close(self) -> None:
        if self._context is not None:
            C.llama_free(self._context)
            self._context = None
        if self._model is not None:
            C.llama_model_free(self._model)
            self._model = None

    @property
    def vocab(self) -> Any:
        """llama.cpp's vocabulary handle, for samplers."""
        return self._vocab

    @property
    def vocab_size(self) -> int:
        return self._vocab_size


class _Batch:
    """A llama_batch whose arrays are numpy's, so that filling it is a few slices.

    Every token belongs to one slot: the array of pointers llama.cpp wants points into one flat
    array of slot ids.

    Args:
        size: Most tokens it holds.
    """

    def __init__(self, size: int) -> None:
        self.tokens = np.zeros(size, dtype=np.int32)
        self.positions = np.zeros(size, dtype=np.int32)
        self.slots = np.zeros(size, dtype=np.int32)
        self.outputs = np.zeros(size, dtype=np.int8)
        self._one = np.ones(size, dtype=np.int32)
        first = self.slots.ctypes.data
        self._pointers = (ctypes.c_void_p * size)(*(first + 4 * i for i in range(size)))
        self.struct = C.llama_batch()
        for name, array, kind in (
            ("token", self.tokens, ctypes.c_int32),
            ("pos", self.positions, ctypes.c_int32),
            ("n_seq_id", self._one, ctypes.c_int32),
            ("logits", self.outputs, ctypes.c_int8),
        ):
            setattr(self.struct, name, array.ctypes.data_as(ctypes.POINTER(kind)))
        nested = ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
        self.struct.seq_id = ctypes.cast(self._pointers, nested)


def _fingerprint(path: Path, config: EngineConfig, flash: str) -> str:
    """Names weights, context parameters and library: what a snapshot depends on."""
    digest = hashlib.sha256()
    about = f"{path.stat().st_size} {config.kv_type} {flash} {llama_cpp.__version__}"
    digest.update(about.encode())
    with path.open("rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(-min(1 << 16, path.stat().st_size), 2)
        digest.update(file.read())
    return digest.hexdigest()
