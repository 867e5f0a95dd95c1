"""What the header of a GGUF file says of the model in it.

``described`` reads it; that is done in a jail, for a stranger wrote it. ``told`` and ``read_back``
carry the result over a pipe and to the cache and back: whoever reads it back believes nothing of
it, neither a type nor a size. Knows nothing of whether such a model can be used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Final

from llmos import limits
from llmos.models.container import Container, Damaged, Scalar, parse
from llmos.visible import visible

__all__ = ["GgufHeader", "described", "read_back", "told"]

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
_TEMPLATE: Final = "tokenizer.chat_template"
_TOKENIZER_KEYS: Final = (_TEMPLATE, "tokenizer.ggml.model")
#: Largest value of any size in a header; bigger ones are lies and would only upset estimates.
_SIZE_MAX: Final = 1 << 40
_LAYERS_MAX: Final = 4096
_SUM_MAX: Final = 1 << 128  # of what is computed from sizes


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


def _line(text: str) -> str:
    """As people are shown it: harmless for a terminal, one line, and not too long."""
    return " ".join(visible(text).split())[: limits.GGUF_LABEL_CHARS].rstrip()


class _Keys:
    """Typed access to a container's metadata."""

    def __init__(self, container: Container, path: Path) -> None:
        self._metadata = container.metadata
        self._path = path

    def wrong(self, key: str) -> Damaged:
        return Damaged(self._path, f"its key {key[:80]!r} has a senseless value")

    def text(self, key: str, default: str = "") -> str:
        value = self._metadata.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key)
        return value

    def label(self, key: str, default: str = "") -> str:
        return _line(self.text(key, default))

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


def described(file: BinaryIO, size: int, path: Path) -> GgufHeader:
    """Read a GGUF file's header, checked against the file's size. To be run in a jail.

    Args:
        file: Stands at its beginning; read forward, and no further than the header.
        size: Of the whole file, in bytes.
        path: Its name.

    Raises:
        Damaged: It is no GGUF file, lies about a count, or is cut short.
    """
    container = parse(
        file, size, path, lambda key: not key.startswith("tokenizer.") or key in _TOKENIZER_KEYS
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
        architecture=_line(arch),
        kind=keys.label("general.type", "model"),
        name=keys.label("general.name"),
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
        template=keys.text(_TEMPLATE),
        tokenizer=keys.label("tokenizer.ggml.model"),
        adapter_type=keys.label("adapter.type"),
        file_size=container.file_size,
        tensors=len(container.tensors),
        tensor_bytes=sum(tensor.size for tensor in container.tensors),
        expert_bytes=sum(t.size for t in container.tensors if "_exps" in t.name),
        splits=splits,
    )


def told(header: GgufHeader) -> dict[str, Any]:
    """A header as plain values; ``read_back`` takes them. All but its path."""
    values = asdict(header)
    del values["path"]
    return values


def read_back(said: object, path: Path, file_size: int) -> GgufHeader:
    """A header out of plain values, none of which is believed.

    Args:
        said: What came out of a jail, or of a file.
        path: Of the model file.
        file_size: Its true size.

    Raises:
        ValueError: It is nothing that ``told`` would have made of such a file.
    """
    kinds = {field.name: field.type for field in fields(GgufHeader) if field.name != "path"}
    if not isinstance(said, dict) or said.keys() != kinds.keys():
        raise ValueError("it has other fields")
    values = {name: _believed(name, str(kind), said[name]) for name, kind in kinds.items()}
    header = GgufHeader(path=path, **values)
    if header.layers > _LAYERS_MAX or len(header.kv_heads) != header.layers:
        raise ValueError("its layers are wrong")
    if header.file_size != file_size or header.tensor_bytes > file_size:
        raise ValueError("its size is wrong")
    return header


def _believed(name: str, kind: str, value: object) -> Any:
    """One value, where it is of its kind and not too large."""
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and type(value) is int and 0 <= value < _SUM_MAX:
        return value
    if kind == "str" and isinstance(value, str):
        code = name == "template"
        if len(value) <= limits.GGUF_KEPT_STRING_BYTES if code else _line(value) == value:
            value.encode()  # ValueError for half of a surrogate pair
            return value
    if kind.startswith("tuple") and isinstance(value, list | tuple):
        sizes = all(type(item) is int and 0 <= item <= _SIZE_MAX for item in value)
        if sizes and len(value) <= _LAYERS_MAX:
            return tuple(value)
    raise ValueError(f"its {name} is wrong")
