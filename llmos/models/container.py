"""The GGUF container, read with suspicion.

Parses versions 2 and 3 of the format from the specification in the ggml project
(docs/gguf.md): counts, key/value metadata and tensor descriptions, not the tensors' data. A file
may claim anything, so every count and length is checked against what is left of the file before
it is used, and time and memory are bounded by ``limits``. Knows nothing of what the keys mean.
It runs in a jail (``header_worker.py``) on a pipe, so it reads forward only; ``read_container``
is the same on a file, for whoever trusts it.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing

__all__ = [
    "Container",
    "Damaged",
    "Scalar",
    "Tensor",
    "Value",
    "opened",
    "parse",
    "read_container",
]

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = "Scalar | tuple[Scalar, ...]"

_STRING: Final = 8
_ARRAY: Final = 9
_BOOL: Final = 7
#: Value type to its struct code; strings and arrays have none.
_SCALARS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRUCTS: Final = {kind: struct.Struct("<" + code) for kind, code in _SCALARS.items()}
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

#: Tensor type to (name, elements a block, bytes a block), as ggml defines them.
TENSOR_TYPES: Final[dict[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip

_TENSOR_INFO_MIN: Final = 8 + 4 + 4 + 8  # empty name, no dimensions, type, offset
_PAIR_MIN: Final = 8 + 4 + 1  # empty key, type, one byte
_DIMENSIONS_MAX: Final = 4
_TENSOR_NAME_MAX: Final = 127
_ALIGNMENT_MAX: Final = 1 << 20
_SKIP: Final = 1 << 20  # bytes read and dropped at once


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the file says of one tensor.

    Args:
        shape: Elements a dimension, fastest first.
        kind: Name of the storage type, such as ``Q4_K``.
        elements: Number of weights.
        offset: Place in the file, in bytes from its start.
        size: Stored size, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    elements: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Container:
    """The header of a GGUF file.

    Args:
        metadata: Kept values. Long arrays (the vocabulary) are checked but not kept.
        lengths: Elements of every array, kept or not.
        file_size: In bytes.
    """

    version: int
    metadata: dict[str, Value]
    lengths: dict[str, int]
    tensors: tuple[Tensor, ...]
    file_size: int


class Damaged(ModelCorrupt):
    """A model file that cannot be what it says it is.

    Args:
        path: The file.
        what: What is wrong with it, as the end of a sentence.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"The model file {path} is damaged: {what}.", remedy="Delete it and pull it again."
        )
        self.what = what


class _Reader:
    """Reads forward and never past the end of the file or the largest header."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self._file = file
        self._path = path
        self._at = 0
        self._left = min(size, limits.GGUF_HEADER_BYTES)
        self._whole = size <= limits.GGUF_HEADER_BYTES
        self._strings = limits.GGUF_STRINGS
        self._room = limits.GGUF_KEPT_BYTES

    def keep(self, size: int) -> bool:
        """Whether ``size`` more bytes of values may be kept in memory."""
        if size > self._room:
            return False
        self._room -= size
        return True

    def corrupt(self, what: str) -> Damaged:
        return Damaged(self._path, what)

    def need(self, size: int, what: str) -> None:
        """Refuse unless ``size`` more bytes are there."""
        if size > self._left:
            if self._whole:
                raise self.corrupt(f"it ends within {what}")
            raise self.corrupt(f"{what} is larger than any real header")

    def take(self, size: int, what: str) -> bytes:
        self.need(size, what)
        self._left -= size
        self._at += size
        data = self._file.read(size)
        if len(data) != size:
            raise self.corrupt(f"it ends within {what}")
        return data

    def skip(self, size: int, what: str) -> None:
        self.need(size, what)
        while size:  # a pipe cannot seek
            size -= len(self.take(min(size, _SKIP), what))

    def u32(self, what: str) -> int:
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack(self.take(8, what))[0])

    def text(self, most: int, what: str) -> str:
        length = self.u64(what)
        if length > most:
            raise self.corrupt(f"{what} claims {length} bytes")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError:
            raise self.corrupt(f"{what} is not UTF-8 text") from None

    def string_value(self, what: str, keep: bool) -> str | None:
        """The string, or None where it is too long or not wanted."""
        length = self.u64(what)
        self.need(length, what)
        if not keep or length > limits.GGUF_KEPT_STRING_BYTES or not self.keep(length):
            self.skip(length, what)
            return None
        return self.take(length, what).decode("utf-8", "replace")

    def scalar(self, kind: int, what: str) -> Scalar:
        code = _STRUCTS.get(kind)
        if code is None:
            raise self.corrupt(f"{what} has the unknown type {kind}")
        value: int | float = code.unpack(self.take(code.size, what))[0]
        return bool(value) if kind == _BOOL else value

    def array(self, what: str, depth: int = 1) -> tuple[int, tuple[Scalar, ...] | None]:
        """Length and, where it is flat and short, the elements of an array."""
        if depth > limits.GGUF_DEPTH:
            raise self.corrupt(f"{what} nests arrays more than {limits.GGUF_DEPTH} deep")
        kind = self.u32(what)
        count = self.u64(what)
        code = _STRUCTS.get(kind)
        if code is not None:
            self.need(count * code.size, what)
            if count > limits.GGUF_KEPT_ARRAY or not self.keep(count * 8):
                self.skip(count * code.size, what)
                return count, None
            return count, tuple(self.scalar(kind, what) for _ in range(count))
        if kind not in (_STRING, _ARRAY):
            raise self.corrupt(f"{what} has the unknown element type {kind}")
        self.need(count * (8 if kind == _STRING else 12), what)
        self._strings -= count  # inner arrays cost time like strings, so they share the budget
        if self._strings < 0:
            raise self.corrupt(f"its arrays claim more than {limits.GGUF_STRINGS} elements")
        if kind == _ARRAY:
            for _ in range(count):
                self.array(what, depth + 1)
            return count, None
        keep = count <= limits.GGUF_KEPT_ARRAY
        strings: list[Scalar] = []
        for _ in range(count):
            text = self.string_value(what, keep)
            if text is None:
                keep = False
            else:
                strings.append(text)
        return count, tuple(strings) if keep else None

    def position(self) -> int:
        return self._at


def _counts(reader: _Reader) -> tuple[int, int, int]:
    """Version, tensor count and key count, none of them absurd."""
    magic = reader.take(4, "its first four bytes")
    if magic != b"GGUF":
        raise reader.corrupt("it does not start like a GGUF file")
    raw = reader.take(4, "its version")
    version = int.from_bytes(raw, "little")
    if version & 0xFFFF == 0 and version:
        raise reader.corrupt("it is big-endian, which is not supported")
    if version not in (2, 3):
        raise reader.corrupt(f"it is GGUF version {version}; 2 and 3 are supported")
    tensors = reader.u64("its tensor count")
    keys = reader.u64("its key count")
    for count, least, most, what in (
        (tensors, _TENSOR_INFO_MIN, limits.GGUF_TENSORS, "tensors"),
        (keys, _PAIR_MIN, limits.GGUF_KEYS, "keys"),
    ):
        if count > most:
            raise reader.corrupt(f"it claims {count} {what}")
        reader.need(count * least, f"the {count} {what} it claims")
    return version, tensors, keys


def _metadata(
    reader: _Reader, count: int, wanted: Callable[[str], bool]
) -> tuple[dict[str, Value], dict[str, int]]:
    metadata: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    seen: set[str] = set()
    for index in range(count):
        key = reader.text(limits.GGUF_KEY_BYTES, f"the name of key {index}")
        what = f"the value of {key[:80]!r}"
        if key in seen:
            raise reader.corrupt(f"the key {key[:80]!r} is there twice")
        seen.add(key)
        kind = reader.u32(what)
        value: Value | None
        if kind == _STRING:
            value = reader.string_value(what, wanted(key))
        elif kind == _ARRAY:
            lengths[key], value = reader.array(what)
        else:
            value = reader.scalar(kind, what)
        if value is not None and wanted(key):
            metadata[key] = value
    return metadata, lengths


def _tensor(reader: _Reader, index: int) -> Tensor:
    """One description; its offset is still relative to the data section."""
    name = reader.text(_TENSOR_NAME_MAX, f"the name of tensor {index}")
    what = f"the description of tensor {name!r}"
    dimensions = reader.u32(what)
    if dimensions > _DIMENSIONS_MAX:
        raise reader.corrupt(f"tensor {name!r} claims {dimensions} dimensions")
    shape = tuple(reader.u64(what) for _ in range(dimensions))
    number = reader.u32(what)
    offset = reader.u64(what)
    if number not in TENSOR_TYPES:
        raise reader.corrupt(f"tensor {name!r} has the unknown type {number}")
    kind, block, stored = TENSOR_TYPES[number]
    elements = math.prod(shape)
    if elements == 0 or elements >= 1 << 62:
        raise reader.corrupt(f"tensor {name!r} claims {elements} elements")
    if (shape[0] if shape else 1) % block:
        raise reader.corrupt(f"the rows of tensor {name!r} are no multiple of {block}")
    return Tensor(name, shape, kind, elements, offset, elements // block * stored)


def _placed(
    reader: _Reader, tensors: list[Tensor], alignment: int, file_size: int
) -> tuple[Tensor, ...]:
    """The tensors with offsets from the file's start, inside the file and apart."""
    start = -(-reader.position() // alignment) * alignment
    end = start
    placed = []
    for tensor in sorted(tensors, key=lambda t: t.offset):
        offset = start + tensor.offset
        if tensor.offset % alignment:
            raise reader.corrupt(f"tensor {tensor.name!r} is not aligned to {alignment} bytes")
        if offset < end:
            raise reader.corrupt(f"tensor {tensor.name!r} overlaps another one")
        end = offset + tensor.size
        placed.append(
            Tensor(tensor.name, tensor.shape, tensor.kind, tensor.elements, offset, tensor.size)
        )
    if end > file_size and placed:
        raise reader.corrupt(f"it is cut short: {file_size:,} bytes of {end:,} are there")
    return tuple(placed)


def parse(
    file: BinaryIO, size: int, path: Path, wanted: Callable[[str], bool] = lambda key: True
) -> Container:
    """Read and check the header of a GGUF file, from its first byte on.

    Args:
        file: Stands at its beginning; read forward, and no further than the header.
        size: Of the whole file, in bytes.
        path: Its name, for sentences.
        wanted: Which metadata keys to keep; all are checked.

    Raises:
        Damaged: It is no GGUF file, lies about a count, or is cut short.
    """
    reader = _Reader(file, size, path)
    version, tensor_count, key_count = _counts(reader)
    metadata, lengths = _metadata(
        reader, key_count, lambda key: key == "general.alignment" or wanted(key)
    )
    alignment = metadata.get("general.alignment", 32)
    if (
        type(alignment) is not int
        or not 0 < alignment <= _ALIGNMENT_MAX
        or alignment & (alignment - 1)
    ):
        raise reader.corrupt(f"its alignment is {str(alignment)[:40]}")
    tensors = [_tensor(reader, index) for index in range(tensor_count)]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise reader.corrupt("two of its tensors have the same name")
    placed = _placed(reader, tensors, alignment, size)
    return Container(version, metadata, lengths, placed, size)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A model file, open for reading, and what the system says of that very file.

    Raises:
        ModelMissing: There is no such file, it is no ordinary one, or it cannot be read.
    """
    try:
        # Not blocking, for a pipe may stand there.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path, flags), "rb", buffering=1 << 20) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise ModelMissing(f"{path} is a folder, not a model file.")
            if not stat.S_ISREG(status.st_mode):
                raise ModelMissing(f"{path} is not an ordinary file.")
            yield file, status
    except FileNotFoundError:
        raise ModelMissing(f"There is no model file {path}.") from None
    except IsADirectoryError:
        raise ModelMissing(f"{path} is a folder, not a model file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelMissing(f"The model file {path} cannot be read: {reason}.") from error


def read_container(path: Path, wanted: Callable[[str], bool] = lambda key: True) -> Container:
    """Read and check the header of a GGUF file in this process.

    Args:
        path: The file.
        wanted: Which metadata keys to keep; all are checked.

    Raises:
        ModelMissing: There is no such file, or it may not be read.
        Damaged: The file is no GGUF file, lies about a count, or is cut short.
    """
    with opened(path) as (file, status):
        return parse(file, status.st_size, path, wanted)
