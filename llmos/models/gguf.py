"""The door to a model file: what its header says, and whether llama.cpp may see it.

``read_header`` has a header read in a jail, once: what it said is kept until the file changes
(``header_cache.py``). ``verify`` adds what must hold before llama.cpp may see the file, whose own
parser trusts more than it should, and runs in the kernel. Neither looks at the weights themselves:
a flipped bit in them is found by the checksum (``catalog.checksum``). Neither can tell what happens
to the file between the look at it and its loading.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.models import header_cache
from llmos.models.container import opened
from llmos.models.header import GgufHeader

__all__ = ["GgufHeader", "read_header", "verify"]

_SPLIT: Final = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_SPLITS_MAX: Final = 1024


def read_header(path: Path | str) -> GgufHeader:
    """What a GGUF file's header says, checked against the file's size.

    The first time takes a fraction of a second, for a jail; the caller is held up so long.

    Raises:
        ModelMissing: There is no such file, or it may not be read.
        ModelCorrupt: It is no GGUF file, lies about a count, or is cut short.
        ModelError: It could not be read, which says nothing about the file.
    """
    path = Path(path)
    with opened(path) as (file, status):
        header = header_cache.get(status, path)
        if header is None:
            from llmos.models import header_process  # the jails, which most starts do not need
            from llmos.sandbox.blocking import completed

            header = completed(lambda: header_process.read(file, status.st_size, path))
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
                raise ModelCorrupt(
                    f"The model file {path} changed while it was read.",
                    remedy="Try again when nothing writes to it any more.",
                )
            header_cache.put(status, header)
    return header if header.name else replace(header, name=path.stem)


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
