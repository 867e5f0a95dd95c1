"""Which embedder the settings ask for.

``starter`` (the default), the name of a model on this machine, a path to a folder, an ``.onnx`` or
a ``.gguf`` file, the address of a server, or ``off``. Opens no weights but where they must be read
to know whether they can be used at all: a wrong setting is one sentence when the kernel starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from llmos import limits
from llmos.config import MemoryConfig
from llmos.errors import ConfigError, LlmosError, ModelMissing, RemoteDown
from llmos.memory.centre import Centred
from llmos.memory.embed import CachedEmbedder, ModelEmbedder
from llmos.memory.embed_gguf import GgufEmbedder
from llmos.memory.embed_layout import open_onnx
from llmos.memory.embed_onnx import MiniLM
from llmos.models import catalog

__all__ = ["choose", "for_memory", "load_when_back", "starter"]

log = logging.getLogger(__name__)

_STARTER = "embedder"  # its name in the catalog; there, "starter" is the chat model
_REMEDY = (
    "memory.embedder is starter, off, a model's name, a path to a folder, an .onnx or a .gguf file,"
    " or http://host:port/v1#model."
)


def starter() -> MiniLM:
    """The starter embedder.

    Raises:
        ModelMissing: Its files are not on this machine.
        ModelCorrupt: They are not what they should be.
    """
    files = catalog.find(_STARTER).files
    return MiniLM(files["model.onnx"], files["tokenizer.json"])


def choose(config: MemoryConfig) -> ModelEmbedder | None:
    """What ``config`` asks for, not loaded; None for ``off``.

    Raises:
        ConfigError: The setting names nothing that could be an embedder.
        ModelMissing: There is no such model.
        ModelCorrupt: It is damaged, or no embedder.
    """
    wanted = config.embedder.strip()
    if wanted == "off":
        return None
    if wanted in ("starter", _STARTER):
        return starter()
    if wanted.startswith(("http://", "https://")):
        from llmos.memory.embed_remote import RemoteEmbedder

        return RemoteEmbedder(wanted, api_key=config.embedder_key)
    path = Path(wanted).expanduser()
    if path.is_dir() and _is_path(wanted):
        return open_onnx(path)
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise ModelMissing(f"There is no embedding model {path}.", remedy=_REMEDY)
        return open_onnx(path)
    return _by_name(wanted)


def for_memory(embedder: ModelEmbedder) -> CachedEmbedder:
    """What memory embeds with: thresholds measured with the starter must fit any other, too."""
    return CachedEmbedder(embedder if isinstance(embedder, MiniLM) else Centred(embedder))


def _by_name(wanted: str) -> ModelEmbedder:
    """A model that the catalog knows, or whose file lies where models are; or a GGUF file."""
    try:
        model = catalog.find(wanted)
    except ModelMissing as error:
        raise ModelMissing(
            f"memory.embedder is {wanted!r}: {error.sentence}", remedy=error.remedy or _REMEDY
        ) from error
    if model.entry is not None and model.entry.purpose != "embed":
        raise ConfigError(
            f"memory.embedder is {wanted!r}, a model for {model.entry.purpose}.", remedy=_REMEDY
        )
    if model.path.suffix.lower() == ".gguf":
        return GgufEmbedder(model.path)
    if model.path.suffix.lower() == ".onnx":
        return open_onnx(model.path)
    raise ConfigError(
        f"memory.embedder is {wanted!r}, which is no kind of file that llmos can embed with.",
        remedy=_REMEDY,
    )


def _is_path(wanted: str) -> bool:
    return "/" in wanted or wanted.startswith(("~", "."))


async def load_when_back(embedder: ModelEmbedder, use: Callable[[], Awaitable[None]]) -> None:
    """Wait for a server that is down, then call ``use``. Says in the log how it went.

    Args:
        embedder: Not loaded.
        use: Called once it is.
    """
    while True:
        await asyncio.sleep(limits.INDEX_RETRY_S)
        try:
            await asyncio.to_thread(embedder.load)
        except RemoteDown:
            continue
        except LlmosError as error:  # it is back, and refuses: that may be mended there, too
            log.warning("the embedder cannot be used yet: %s", error)
            continue
        log.info("the embedder %s answers: vectors follow", embedder.name)
        await use()
        return
