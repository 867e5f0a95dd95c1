"""Where an ONNX embedder's files are, and how they say that its vectors are made.

Takes a folder as sentence-transformers lays it out, or a ``.onnx`` file with its
``tokenizer.json``. Reads the small JSON files beside a model, never the model. What it can't do
(a pooling or a layer it doesn't know) it refuses, since vectors made otherwise than the model was
trained find the wrong things without a word.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.memory.embed_onnx import OnnxEmbedder, Pooling

__all__ = ["Layout", "fingerprint", "layout", "open_onnx"]

_MODELS = ("onnx/model.onnx", "model.onnx")
#: In sentence-transformers' ``1_Pooling/config.json``: its old form has a flag for each.
_POOLING: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}
_NEW_POOLING: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_PREFIX = "pooling_mode_"
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
#: Models whose positions begin behind the padding's.
_SHIFTED = ("roberta", "mpnet", "camembert", "longformer")
_SHIFT = 2
_UNSET = 1_000_000  # transformers writes 10^30 for "no limit"
_READ = 1 << 20  # of a model's beginning and end, for its fingerprint
_REMEDY = "Choose another embedder: [memory] embedder."


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of an embedder, and what they say.

    Args:
        onnx / tokenizer: The files.
        title: What the model is called, after its folder or file.
        pooling: How the tokens' vectors become one.
        window: Tokens of a text that count.
    """

    onnx: Path
    tokenizer: Path
    title: str
    pooling: Pooling
    window: int


def open_onnx(path: Path) -> OnnxEmbedder:
    """The embedder of a folder or a ``.onnx`` file, not loaded.

    Its name holds a fingerprint, so that another model in the same place is another space.

    Raises:
        ModelMissing: There is no model or no tokenizer there.
        ModelCorrupt: What stands beside it is damaged, or asks for what llmos cannot do.
    """
    found = layout(path)
    settings = f"{found.pooling} {found.window}".encode()
    with found.tokenizer.open("rb") as file:
        tokenizer = file.read(limits.TOKENIZER_BYTES)
    digest = fingerprint(found.onnx, tokenizer, settings)
    return OnnxEmbedder(
        found.onnx,
        found.tokenizer,
        name=f"{found.title}@{digest}",
        model=found.title,
        window=found.window,
        pooling=found.pooling,
    )


def layout(path: Path) -> Layout:
    """What there is at ``path``; see ``open_onnx``."""
    onnx = path if path.is_file() else _model_in(path)
    home = onnx.parent.parent if onnx.parent.name == "onnx" else onnx.parent
    beside = [onnx.with_name("tokenizer.json"), home / "tokenizer.json"]
    tokenizer = next((file for file in beside if file.is_file()), None)
    if tokenizer is None:
        raise ModelMissing(
            f"The embedding model {onnx} needs its tokenizer.json beside it.",
            remedy="Copy it from where the model comes from.",
        )
    _known_modules(home)
    title = onnx.stem if onnx.stem != "model" else home.resolve().name
    return Layout(onnx, tokenizer, title, _pooling(home), _window(home))


def fingerprint(path: Path, *more: bytes) -> str:
    """Names a model file, by its size, beginning and end, and what else matters."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_READ))
        file.seek(max(path.stat().st_size - _READ, 0))
        digest.update(file.read(_READ))
    for part in more:
        digest.update(part)
    return digest.hexdigest()[:16]


def _model_in(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelMissing(f"There is no embedding model {folder}.", remedy=_REMEDY)
    for name in _MODELS:
        if (folder / name).is_file():
            return folder / name
    found = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(file.relative_to(folder)) for file in found[:8])
        raise ModelMissing(
            f"The folder {folder} holds several models ({names}).",
            remedy="Name one of them: [memory] embedder.",
        )
    raise ModelMissing(f"There is no ONNX model in {folder}.", remedy=_REMEDY)


def _known_modules(home: Path) -> None:
    """Refuse a model with layers behind the pooling, which would be left out."""
    modules = _read(home / "modules.json")
    for module in modules if isinstance(modules, list) else ():
        kind = str(module.get("type", "")) if isinstance(module, dict) else ""
        if kind.rpartition(".")[2] not in _KNOWN_MODULES:
            raise ModelCorrupt(
                f"The embedding model in {home} has a layer that llmos does not know"
                f" ({kind[:80]}).",
                remedy=_REMEDY,
            )


def _pooling(home: Path) -> Pooling:
    said = _object(home / "1_Pooling" / "config.json")
    named = said.get("pooling_mode")
    on = [
        key.removeprefix(_PREFIX)
        for key, value in said.items()
        if key.startswith(_PREFIX) and value is True
    ]
    if isinstance(named, str):
        found = _NEW_POOLING.get(named)
    elif not on:
        return "mean"  # as sentence-transformers does for a model that says nothing
    else:
        found = _POOLING.get(on[0]) if len(on) == 1 else None
    if found is None:
        raise ModelCorrupt(
            f"The embedding model in {home} pools in a way that llmos does not know"
            f" ({named or ', '.join(on)}).",
            remedy=_REMEDY,
        )
    return found


def _window(home: Path) -> int:
    """Tokens of a text that the model was made for."""
    config = _object(home / "config.json")
    positions = _size(config, "max_position_embeddings")
    if positions and any(name in str(config.get("model_type", "")) for name in _SHIFTED):
        positions -= _SHIFT
    said = [
        _size(_object(home / "sentence_bert_config.json"), "max_seq_length"),
        _size(_object(home / "tokenizer_config.json"), "model_max_length"),
        positions,
    ]
    known = [size for size in said if size]
    return min([*known, limits.EMBED_WINDOW]) if known else limits.EMBED_TOKENS


def _size(said: dict[str, Any], key: str) -> int:
    value = said.get(key)
    return value if type(value) is int and _SHIFT < value < _UNSET else 0


def _object(path: Path) -> dict[str, Any]:
    said = _read(path)
    return said if isinstance(said, dict) else {}


def _read(path: Path) -> Any:
    """The JSON in a small file; None where there is no such file.

    Raises:
        ModelCorrupt: It is none, or too large.
    """
    if not path.is_file():
        return None
    wrong = ModelCorrupt(
        f"The file {path} beside the embedding model cannot be read.",
        remedy="Copy it again from where the model comes from.",
    )
    try:
        with path.open("rb") as file:
            raw = file.read(limits.EMBED_CONFIG_BYTES + 1)
        if len(raw) > limits.EMBED_CONFIG_BYTES:
            raise wrong
        return json.loads(raw)
    except (OSError, ValueError, RecursionError) as error:
        raise wrong from error
