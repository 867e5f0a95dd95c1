"""What a machine can run, told before anything is loaded.

Arithmetic on plain data (``machine.probe`` collects it), so that it can be tested for machines
nobody has at hand. The figures are estimates on the safe side: what really happened, llama.cpp
says when it loads.

Memory of a model, in bytes::

    weights   the tensors' data, as the file says
    KV cell   for each layer: KV heads x (key length + value length) x bytes an element,
              which is 2 for f16 and 34/32 for q8_0; a cell holds one token
    state     recurrent layers: elements x 4 (f32) for each sequence resident at once
    compute   logits and activations of one batch: batch x (vocabulary + 8 x embedding) x 4

Layers with a sliding window are counted like full ones, which is what they cost when nothing may
be pruned. Speed on a CPU: a token reads all active weights once, at about 6 GB/s a core and at
most 30 GB/s (130 tokens/s of a 97 MB model on 2 cores were measured), and a GPU's share of them
at some 200 GB/s; prefill does about 23 billion weights times tokens a second and core
(340 tokens/s of 135 million weights on 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from llmos import limits
from llmos.config import EngineConfig
from llmos.errors import ModelTooLarge
from llmos.models.catalog import Entry, entries, entry
from llmos.models.gguf import GgufHeader
from llmos.models.machine import Device, Hardware, probe

__all__ = [
    "Device",
    "Hardware",
    "Needs",
    "Plan",
    "Suggestion",
    "Verdict",
    "amount",
    "fit",
    "needs_of",
    "pick_devices",
    "plan",
    "probe",
    "require_fit",
    "sizes",
    "suggest",
]

KvType = Literal["f16", "q8_0"]
_KV_BYTES: Final[dict[str, float]] = {"f16": 2.0, "q8_0": 34 / 32}

#: Left to everything else on the machine, in memory and on a GPU, in bytes.
_SPARE_MEMORY: Final = 512 << 20
_SPARE_GPU: Final = 256 << 20
_CORE_BYTES_S: Final = 6e9
_MEMORY_BYTES_S: Final = 30e9
_GPU_BYTES_S: Final = 200e9
_CORE_PREFILL: Final = 23e9  # weights times tokens
#: Below these a model is called slow, in tokens a second: reading speed, and 40 s for a page.
_SLOW_DECODE: Final = 6.0
_SLOW_PREFILL: Final = 25.0
#: What a model must reach to be suggested.
_GOOD_DECODE: Final = 8.0
_GOOD_PREFILL: Final = 50.0
_SUGGEST_WINDOW: Final = 8192
_EMBEDDING_GUESS: Final = 4096
_VOCAB_GUESS: Final = 152_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is loaded here.

    Args:
        engine: The settings with window, cells, layers on a GPU and swap filled in.
        verdict: Whether that fits.
        note: What is otherwise than asked, in one sentence for a person, or empty.
    """

    engine: EngineConfig
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model costs.

    Args:
        weights: Bytes of weights; ``active`` of them are read for each token.
        kv_elements: Elements of one KV cell, over all layers.
        state: Bytes of recurrent state of one sequence.
        compute: Bytes of work space.
    """

    weights: int
    active: int
    parameters: int
    layers: int
    kv_elements: int
    state: int
    compute: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether and how a model runs here.

    Args:
        fits: ``yes``, ``slow`` or ``no``.
        reason: One sentence for a person.
        weights / kv / total: Bytes of weights, of the KV cache with recurrent state, of all.
        device: Name of the device it runs on: ``CPU`` or the GPUs', joined by ``+``.
        gpu_layers: Layers to put on the GPU; all is the number of blocks plus one.
        decode / prefill: Estimated tokens a second; 0 where a GPU does all of it.
        memory: Bytes of main memory it takes; 0 where all of it is on a card.
    """

    fits: Literal["yes", "slow", "no"]
    reason: str
    weights: int
    kv: int
    total: int
    device: str
    gpu_layers: int = 0
    decode: float = 0.0
    prefill: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A better model of the catalog that would run well here, and why."""

    entry: Entry
    verdict: Verdict
    reason: str


def amount(size: float) -> str:
    """Bytes for people, in decimal units."""
    for unit, scale, digits in (("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if size >= scale:
            return f"{size / scale:.{digits}f} {unit}"
    return f"{size:.0f} bytes"


# --- needs ------------------------------------------------------------------------------------


def _compute(vocab: int, embedding: int) -> int:
    return limits.BATCH_TOKENS * (vocab + 8 * embedding) * 4


def needs_of(model: GgufHeader | Entry) -> Needs:
    """What a model costs, from its file's header or, before it is here, from the catalog."""
    if isinstance(model, Entry):
        shape = model.shape
        cell = shape.layers * shape.kv_heads * 2 * shape.head if shape else 0
        layers = shape.layers if shape else 1
        compute = _compute(_VOCAB_GUESS, _EMBEDDING_GUESS) if shape else 0
        return Needs(model.size, model.size, model.parameters, layers, cell, 0, compute)
    share = model.experts_used / model.experts if 0 < model.experts_used < model.experts else 1
    idle_experts = model.expert_bytes * (1 - share)
    active = int(model.tensor_bytes - idle_experts)
    return Needs(
        weights=model.tensor_bytes,
        active=active,
        parameters=int(model.parameters * active / max(model.tensor_bytes, 1)),
        layers=max(model.layers, 1),
        kv_elements=sum(model.kv_heads) * (model.key_length + model.value_length),
        state=model.ssm_state * 4,
        compute=_compute(model.vocab, model.embedding),
    )


# --- verdict ----------------------------------------------------------------------------------


def pick_devices(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """The devices llama.cpp would spread layers over: all GPUs, else the first integrated one."""
    cards = tuple(device for device in devices if device.kind == "gpu")
    integrated = tuple(device for device in devices if device.kind == "igpu")
    return cards or integrated[:1]


def fit(
    model: GgufHeader | Entry,
    hardware: Hardware,
    window: int,
    kv_type: KvType = "f16",
    *,
    gpu_layers: int = -1,
) -> Verdict:
    """Judge whether a model runs on a machine.

    Args:
        window: KV cells, in tokens: what all sequences together may hold.
        kv_type: How a cell is stored.
        gpu_layers: At most so many layers on a GPU; -1 for no bound.
    """
    needs = needs_of(model)
    recurrent = needs.state * limits.SLOTS_RECURRENT
    kv = int(needs.kv_elements * _KV_BYTES[kv_type] * window) + recurrent
    total = needs.weights + kv + needs.compute
    gpus = pick_devices(hardware.devices)
    layers = _gpu_layers(needs, kv, gpus, hardware)
    if gpu_layers >= 0:
        layers = min(layers, gpu_layers)
    whole = needs.layers + 1
    device = "+".join(gpu.name for gpu in gpus) if layers else "CPU"
    on_gpu = layers / whole
    shared = bool(gpus) and gpus[0].shares_memory
    # Partly on a card, the work space is needed on both sides.
    in_memory = total if shared or layers < whole else 0
    if not shared and 0 < layers < whole:
        in_memory = int((needs.weights + kv) * (1 - on_gpu)) + needs.compute
    room = max(hardware.memory_available - _SPARE_MEMORY, 0)
    decode, prefill = _speed(needs, hardware.cores, 1 - on_gpu)

    def verdict(fits: Literal["yes", "slow", "no"], reason: str) -> Verdict:
        return Verdict(
            fits,
            reason,
            needs.weights,
            kv,
            total,
            device,
            layers,
            round(decode, 1),
            round(prefill, 1),
            in_memory,
        )

    if in_memory > room:
        where = "of memory are free for it"
        return verdict("no", f"It needs {amount(in_memory)} and {amount(room)} {where}.")
    if not needs.kv_elements and not needs.state:  # no language model: it has no window
        return verdict("yes", f"It fits ({amount(total)}).")
    if layers == whole:
        return verdict("yes", f"All of it fits on {device} ({amount(total)}).")
    place = f"{layers} of {whole} layers on {device}" if layers else "on the CPU"
    speed = f"about {decode:.0f} tokens/s" if decode >= 1 else "less than 1 token/s"
    if decode < _SLOW_DECODE or prefill < _SLOW_PREFILL:
        return verdict("slow", f"It fits ({amount(total)}), but would be slow: {speed}, {place}.")
    return verdict("yes", f"It fits ({amount(total)}) and does {speed}, {place}.")


def _gpu_layers(needs: Needs, kv: int, gpus: tuple[Device, ...], hardware: Hardware) -> int:
    """How many layers fit on the GPUs; the output counts as one more."""
    if not gpus:
        return 0
    room = sum(max(gpu.free - _SPARE_GPU - needs.compute, 0) for gpu in gpus)
    if gpus[0].shares_memory:
        room = min(room, max(hardware.memory_available - _SPARE_MEMORY - needs.compute, 0))
    whole = needs.layers + 1
    layer = (needs.weights + kv) / whole
    return min(int(room // layer) if layer else whole, whole)


def _speed(needs: Needs, cores: int, share: float) -> tuple[float, float]:
    """Tokens a second of decode and prefill with ``share`` of the model on the CPU, or 0."""
    if share <= 0 or not needs.active or not needs.parameters:
        return 0.0, 0.0
    bandwidth = min(max(cores, 1) * _CORE_BYTES_S, _MEMORY_BYTES_S)
    token_s = needs.active * (share / bandwidth + (1 - share) / _GPU_BYTES_S)
    prefill = max(cores, 1) * _CORE_PREFILL / needs.parameters
    return 1 / token_s, prefill / share


def sizes(engine: EngineConfig, trained: int) -> tuple[int, int]:
    """Window and cells by the settings, in tokens, for a model made for ``trained`` tokens.

    A window beyond what the model was made for would give nonsense, and one beyond its cells
    could never be filled.
    """
    window = min(engine.window or limits.WINDOW_DEFAULT, trained or limits.WINDOW_DEFAULT)
    cells = engine.cells or 2 * window
    return min(window, cells), cells


def plan(model: GgufHeader | Entry, hardware: Hardware, engine: EngineConfig) -> Plan:
    """How a model would be loaded: as asked, else with the largest window that fits.

    Where nothing fits, the plan is the smallest one and its verdict says no.
    """
    window, cells = sizes(engine, model.context)
    tries = [(window, cells)]
    if not engine.cells:
        tries.append((window, window))
    if not engine.window and not engine.cells:
        tries += [(w, w) for w in (4096, 2048) if w < window]
    for size in tries:
        verdict = fit(model, hardware, size[1], engine.kv_type, gpu_layers=engine.gpu_layers)
        if verdict.fits != "no":
            break
    tried, most = size
    note = ""
    if engine.window > window:
        note = f"The window is {window} tokens, for which the model was made, not {engine.window}."
    elif tried < window and verdict.fits != "no":
        note = f"The window is {tried} tokens; {window} do not fit in memory."
    layers = engine.gpu_layers
    if (
        layers < 0
        and pick_devices(hardware.devices)
        and verdict.gpu_layers <= needs_of(model).layers
    ):
        layers = verdict.gpu_layers
    left = max(hardware.memory_available - _SPARE_MEMORY - verdict.memory, 0)
    swap = min(engine.swap_bytes, int(left * limits.SWAP_SHARE))
    chosen = replace(engine, window=tried, cells=most, gpu_layers=layers, swap_bytes=swap)
    return Plan(chosen, verdict, note)


def require_fit(
    header: GgufHeader,
    hardware: Hardware,
    window: int,
    kv_type: KvType = "f16",
    *,
    gpu_layers: int = -1,
) -> Verdict:
    """The verdict, where the model fits; call before it is loaded.

    Raises:
        ModelTooLarge: It does not; says what it needs and what there is.
    """
    verdict = fit(header, hardware, window, kv_type, gpu_layers=gpu_layers)
    if verdict.fits != "no":
        return verdict
    without = verdict.total - verdict.kv
    if without + _SPARE_MEMORY < hardware.memory_available:
        remedy = "Make engine.window or engine.cells smaller, or set engine.kv_type to q8_0."
    elif verdict.total + _SPARE_MEMORY < hardware.memory_total:
        remedy = "Close other programs, or choose a smaller model: llmos models list"
    else:
        remedy = "Choose a smaller model: llmos models list"
    raise ModelTooLarge(
        f"The model {header.name} is too large for this machine: its weights take "
        f"{amount(verdict.weights)} and its window of {window} tokens {amount(verdict.kv)}, "
        f"but {amount(hardware.memory_available)} of {amount(hardware.memory_total)} memory "
        "are free.",
        remedy=remedy,
    )


def suggest(hardware: Hardware, current: str = "starter") -> Suggestion | None:
    """The best chat model of the catalog that would run well here and beats the current one.

    Args:
        current: Name of the model in use. Anything outside the catalog is left alone: whoever
            chose it knew why.
    """
    now = entry(current)
    if now is None or now.purpose != "chat":
        return None
    for better in sorted(entries(), key=lambda e: -e.rank):
        if better.purpose != "chat" or better.rank <= now.rank:
            continue
        verdict = fit(better, hardware, min(better.context, _SUGGEST_WINDOW))
        on_gpu = verdict.gpu_layers == needs_of(better).layers + 1
        # Spread over card and CPU, the estimate is too loose to recommend anything by.
        on_cpu = not verdict.gpu_layers
        quick = verdict.decode >= _GOOD_DECODE and verdict.prefill >= _GOOD_PREFILL
        if verdict.fits == "yes" and (on_gpu or (on_cpu and quick)):
            speed = f"on {verdict.device}" if on_gpu else f"at about {verdict.decode:.0f} tokens/s"
            return Suggestion(
                better,
                verdict,
                f"This machine can run {better.title} {speed}, which answers better than "
                f"{now.title}. Get it with: llmos models pull {better.name}",
            )
    return None
