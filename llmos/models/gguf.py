"""What a GGUF file says of the model in it.

``read_header`` reads and checks the header; ``verify`` adds what must hold before llama.cpp may
see the file, whose own parser trusts more than it should. Neither looks at the weights
themselves: a flipped bit in them is found by the checksum (``catalog.checksum``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.models.container import Container, Scalar, read_container
from llmos.visible import visible

__all__ = ["GgufHeader", "read_header", "verify"]

#: ``general.file_type`` to its usual name, as llama.cpp defines them.
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
_FILE_TYPE_UNSTATED: Final = 1 << 16
_RECURRENT_KEYS: Final = (".ssm.", ".wkv.", ".shortconv.", ".kda.")
_RECURRENT_ARCHITECTURES: Final = ("mamba", "rwkv", "arwkv")
#: The vocabulary's own keys are large and not looked at.
_TOKENIZER_KEYS: Final = ("tokenizer.chat_template", "tokenizer.ggml.model")
_SPLIT: Final = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
#: Largest value of any size in a header; bigger ones are lies and would only upset estimates.
_SIZE_MAX: Final = 1 << 40
_SPLITS_MAX: Final = 1024
_LAYERS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A model, as its file describes it. Counts that the file does not give are 0.

    Args:
        kind: ``model``, ``adapter``, ``mmproj``, … (``general.type``).
        size_label: Such as ``135M``; made from ``parameters`` where the file has none.
        parameters: Number of weights, from the tensors' shapes.
        quantisation: Name of the file type, or the tensors' commonest type.
        context: Longest sequence it was made for, in tokens.
        layers: Number of blocks.
        kv_heads: KV heads of each layer; 0 in layers without attention.
        key_length / value_length: Elements of one head's key and value.
        sliding_window: Tokens that windowed layers look back on; 0 for none.
        recurrent: It has layers whose state cannot be cut back to a prefix.
        ssm_state: Elements of recurrent state a sequence, over all layers, where it can be told.
        experts / experts_used: Of a mixture of experts; 0 for a dense model.
        template: The chat template, Jinja source; untrusted code.
        tokenizer: Name of the tokenizer's model, such as ``gpt2``; empty for none.
        tensors: Number of tensors in this file.
        tensor_bytes: Size of their data.
        expert_bytes: Of that, the experts' part.
        splits: Files the model consists of.
    """

    path: Path
    version: int
    architecture: str
    kind: str
    name: str
    size_label: str
    licence: str
    parameters: int
    quantisation: str
    context: int
    layers: int
    embedding: int
    heads: int
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    sliding_window: int
    recurrent: bool
    ssm_state: int
    experts: int
    experts_used: int
    vocab: int
    template: str
    tokenizer: str
    adapter_type: str
    file_size: int
    tensors: int
    tensor_bytes: int
    expert_bytes: int
    splits: int


class _Keys:
    """Typed access to a container's metadata."""

    def __init__(self, container: Container, path: Path) -> None:
        self._metadata = container.metadata
        self._path = path

    def wrong(self, key: str) -> ModelCorrupt:
        return ModelCorrupt(
            f"The model file {self._path} is damaged: its key {key!r} has a senseless value.",
            remedy="Delete it and pull it again.",
        )

    def text(self, key: str, default: str = "") -> str:
        value = self._metadata.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key)
        return value

    def label(self, key: str) -> str:
        """A text that people are shown: harmless for a terminal, and in one line."""
        return " ".join(visible(self.text(key)).split())

    def size(self, key: str, default: int = 0) -> int:
        return self._size(key, self._metadata.get(key, default))

    def sizes(self, key: str, count: int, default: int) -> tuple[int, ...]:
        """A number for all layers or one for each."""
        value = self._metadata.get(key, default)
        if isinstance(value, tuple):
            if len(value) != count:
                raise self.wrong(key)
            return tuple(self._size(key, item) for item in value)
        return (self._size(key, value),) * count

    def _size(self, key: str, value: Scalar | tuple[Scalar, ...]) -> int:
        if isinstance(value, tuple):  # one a layer: the largest
            return max((self._size(key, item) for item in value), default=0)
        if type(value) is not int or not 0 <= value <= _SIZE_MAX:
            raise self.wrong(key)
        return value


def _label(parameters: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if parameters >= size:
            return f"{parameters / size:.3g}{unit}"
    return str(parameters)


def _quantisation(keys: _Keys, container: Container) -> str:
    number = keys.size("general.file_type", _FILE_TYPE_UNSTATED)
    if number in _FILE_TYPES:
        return _FILE_TYPES[number]
    sizes: dict[str, int] = {}
    for tensor in container.tensors:
        sizes[tensor.kind] = sizes.get(tensor.kind, 0) + tensor.size
    return max(sizes, key=lambda kind: sizes[kind]) if sizes else ""


def _ssm_state(keys: _Keys, arch: str, layers: int) -> int:
    """Elements of one sequence's state in a Mamba-like model: convolution and scan."""
    inner = keys.size(f"{arch}.ssm.inner_size")
    state = keys.size(f"{arch}.ssm.state_size")
    groups = keys.size(f"{arch}.ssm.group_count")
    kernel = keys.size(f"{arch}.ssm.conv_kernel")
    return layers * (max(kernel - 1, 0) * (inner + 2 * groups * state) + inner * state)


def read_header(path: Path | str) -> GgufHeader:
    """Read a GGUF file's header, checked against the file's size.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It is no GGUF file, lies about a count, or is cut short.
    """
    path = Path(path)
    container = read_container(
        path, lambda key: not key.startswith("tokenizer.") or key in _TOKENIZER_KEYS
    )
    keys = _Keys(container, path)
    arch = keys.text("general.architecture")
    layers = keys.size(f"{arch}.block_count")
    if layers > _LAYERS_MAX:
        raise keys.wrong(f"{arch}.block_count")
    embedding = keys.size(f"{arch}.embedding_length")
    heads = keys.sizes(f"{arch}.attention.head_count", layers, 0)
    most_heads = max(heads, default=0)
    kv_heads = keys.sizes(f"{arch}.attention.head_count_kv", layers, most_heads)
    head = embedding // most_heads if most_heads else 0
    parameters = sum(tensor.elements for tensor in container.tensors)
    ssm_state = _ssm_state(keys, arch, layers)
    vocab = container.lengths.get("tokenizer.ggml.tokens", 0)
    splits = keys.size("split.count", 1) or 1
    return GgufHeader(
        path=path,
        version=container.version,
        architecture=visible(arch),
        kind=keys.text("general.type", "model"),
        name=keys.label("general.name") or path.stem,
        size_label=keys.label("general.size_label") or _label(parameters),
        licence=keys.label("general.license"),
        parameters=parameters,
        quantisation=_quantisation(keys, container),
        context=keys.size(f"{arch}.context_length"),
        layers=layers,
        embedding=embedding,
        heads=most_heads,
        kv_heads=kv_heads,
        key_length=keys.size(f"{arch}.attention.key_length", head),
        value_length=keys.size(f"{arch}.attention.value_length", head),
        sliding_window=keys.size(f"{arch}.attention.sliding_window"),
        recurrent=arch.startswith(_RECURRENT_ARCHITECTURES)
        or any(
            key.startswith(arch + part) for key in container.metadata for part in _RECURRENT_KEYS
        ),
        ssm_state=ssm_state,
        experts=keys.size(f"{arch}.expert_count"),
        experts_used=keys.size(f"{arch}.expert_used_count"),
        vocab=vocab or keys.size(f"{arch}.vocab_size"),
        template=keys.text("tokenizer.chat_template"),
        tokenizer=keys.text("tokenizer.ggml.model"),
        adapter_type=keys.text("adapter.type"),
        file_size=container.file_size,
        tensors=len(container.tensors),
        tensor_bytes=sum(tensor.size for tensor in container.tensors),
        expert_bytes=sum(t.size for t in container.tensors if "_exps" in t.name),
        splits=splits,
    )


def _siblings(path: Path, splits: int) -> list[Path]:
    """The other files of a split model.

    Raises:
        ModelCorrupt: The name does not say which part this is.
        ModelMissing: One of them is not there.
    """
    found = _SPLIT.search(path.name)
    if found is None or int(found[2]) != splits or splits > _SPLITS_MAX:
        raise ModelCorrupt(
            f"The model file {path} is one of {splits} parts, but is not named like one.",
            remedy=f"Name it NAME-00001-of-{splits:05}.gguf, as it was published.",
        )
    stem = path.name[: found.start()]
    names = [f"{stem}-{n:05}-of-{splits:05}.gguf" for n in range(1, splits + 1)]
    for name in names:
        if not path.with_name(name).is_file():
            raise ModelMissing(f"The model file {path} needs {name} beside it.")
    return [path.with_name(name) for name in names if name != path.name]


def verify(path: Path | str) -> GgufHeader:
    """Check that a file is a whole, loadable language model; call before llama.cpp sees it.

    Returns:
        The header; for a model in several files, with the sums over all of them.

    Raises:
        ModelMissing: The file, or another part of the model, is not there.
        ModelCorrupt: It is damaged, or is no language model (an adapter, a projector).
    """
    header = read_header(path)

    def refuse(what: str) -> ModelCorrupt:
        return ModelCorrupt(f"The model file {header.path} {what}.")

    if header.kind == "adapter" or header.adapter_type:
        raise refuse("is an adapter for another model, not a model")
    if header.kind not in ("model", ""):
        raise refuse(f"is of the kind {header.kind[:40]!r}, not a language model")
    if not header.architecture:
        raise refuse("does not say which architecture it has")
    if not header.tensors:
        raise refuse("has no weights, only a vocabulary")
    if not header.layers or not header.embedding:
        raise refuse("does not say how many layers it has or how wide they are")
    if header.context < limits.WINDOW_MIN:
        raise refuse(f"was made for {header.context} tokens, too few for a conversation")
    if not header.tokenizer or not header.vocab:
        raise refuse("has no tokenizer")
    if header.splits == 1:
        return header
    others = [read_header(other) for other in _siblings(header.path, header.splits)]
    values = {name: getattr(header, name) for name in GgufHeader.__slots__}
    for name in ("parameters", "file_size", "tensors", "tensor_bytes", "expert_bytes"):
        values[name] += sum(getattr(other, name) for other in others)
    return GgufHeader(**values)
