"""ONNX models and their tokenizers, opened with suspicion.

Knows files, and what must hold of them before anything is computed; not what they are used for.
A file that is no model or no tokenizer becomes one sentence that names it.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmos import limits
from llmos.errors import LlmosError, ModelCorrupt, ModelMissing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["REMEDY", "open_session", "open_tokenizer"]

REMEDY = "Get the embedding model's files anew, or choose another one: [memory] embedder."


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelMissing(f"The embedding model's file {path} is not there.", remedy=REMEDY)


def open_session(path: Path) -> Any:
    """An ONNX Runtime session with one thread that doesn't spin.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It is no model that can be run.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is loaded; it reports by default
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    _require_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised; nothing on the person's terminal
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base of their own
        raise ModelCorrupt(f"{path} is no ONNX model that can be run.", remedy=REMEDY) from error


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``, or of the zip archive that holds one.

    It neither cuts nor pads.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: There is no tokenizer in it.
    """
    from tokenizers import Tokenizer

    raw = _tokenizer_json(path)
    try:
        tokenizer = Tokenizer.from_str(raw.decode("utf-8"))
    except Exception as error:  # the bindings raise bare Exception
        raise ModelCorrupt(f"{path} holds no tokenizer that can be read.", remedy=REMEDY) from error
    tokenizer.no_truncation()  # lengths are counted whole; rows are cut and padded here
    tokenizer.no_padding()
    return tokenizer


def _tokenizer_json(path: Path) -> bytes:
    """The bytes of ``tokenizer.json``, from the file itself or out of the zip archive it is."""
    _require_file(path)
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return _bounded(path, file.read(limits.TOKENIZER_BYTES + 1))
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "tokenizer.json"]
            if len(names) != 1:
                raise ModelCorrupt(f"{path} holds no single tokenizer.json.", remedy=REMEDY)
            # Read, never extracted, and no further than the limit, whatever the header says.
            with archive.open(names[0]) as member:
                return _bounded(path, member.read(limits.TOKENIZER_BYTES + 1))
    except LlmosError:
        raise
    except Exception as error:  # zipfile raises half a dozen kinds on a damaged archive
        raise ModelCorrupt(f"{path} cannot be read.", remedy=REMEDY) from error


def _bounded(path: Path, raw: bytes) -> bytes:
    if len(raw) > limits.TOKENIZER_BYTES:
        raise ModelCorrupt(f"The tokenizer in {path} is too large.", remedy=REMEDY)
    return raw
