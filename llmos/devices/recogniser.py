"""Speech to text: Whisper on this machine, in a worker process.

Fulfils ``listening.Transcribe``. The worker is started with the first sound, is ended when there
was none for a while, and takes no more memory than it may; one that dies is replaced, once for the
same sound. Which engine computes is decided in ``engine``, from what the machine has.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from llmos import paths
from llmos.devices.audio import EAR_RATE, Samples, clean
from llmos.devices.listening import WINDOW_S, Transcript
from llmos.devices.partials import HeardWord
from llmos.devices.worker import Answer, Worker, WorkerDied
from llmos.errors import DeviceError, ModelMissing
from llmos.models import catalog
from llmos.models.machine import Hardware

__all__ = ["Recogniser", "Whisper", "best_whisper", "engine", "find_whisper"]

log = logging.getLogger(__name__)

#: Bytes the worker may take: Whisper base, and what it computes with. ``large-v3`` needs 4 GB.
MEMORY_BYTES: Final = 1 << 30
#: The same, of larger models: their file, several times.
TIMES_FILE: Final = 4
#: Seconds without sound after which it is ended; it is back in about a second.
IDLE_S: Final = 300.0
#: Seconds it may take to start, and to write down half a minute.
ANSWER_S: Final = 120.0
#: Times that a stretch is tried.
TRIES: Final = 2
#: Seconds of a word; longer ones are a mistake of the alignment, and silence lies in them.
LONGEST_WORD_S: Final = 2.0
#: The endings of whisper.cpp's files. A folder is CTranslate2's.
_GGML: Final = (".bin", ".ggml")

_REMEDY: Final = "Say it again; the log has the details."


@dataclass(frozen=True, slots=True)
class Whisper:
    """A model on this machine.

    Args:
        name: As in ``whisper-tiny``.
        path: A folder of CTranslate2's, or a file of whisper.cpp's.
    """

    name: str
    path: Path

    @property
    def ggml(self) -> bool:
        """Whether it is whisper.cpp's."""
        return self.path.is_file()

    @property
    def size(self) -> int:
        """Of its weights, in bytes."""
        return (self.path if self.ggml else self.path / "model.bin").stat().st_size


def find_whisper(name: str) -> Whisper:
    """The model that ``name`` means: of the catalog, or a path.

    Raises:
        ModelMissing: It is not on this machine.
        ModelCorrupt: It is there, but its checksum is wrong.
    """
    wanted = catalog.entry(name)
    if wanted is not None and wanted.purpose == "speech-to-text":
        model = catalog.locate(wanted)
        if model is None:
            raise ModelMissing(
                f"The speech recogniser {wanted.name} is not on this machine.",
                remedy=f"Get it with: llmos models pull {wanted.name}",
            )
        return Whisper(wanted.name, _together(model) if len(model.files) > 1 else model.path)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix in _GGML:
        return Whisper(path.stem, path)
    if (path / "model.bin").is_file():
        return Whisper(path.name, path)
    known = [one.name for one in catalog.entries() if one.purpose == "speech-to-text"]
    raise ModelMissing(
        f"There is no speech recogniser {name}.",
        remedy=f"Choose one of {', '.join(known)}, or a folder of CTranslate2's.",
    )


def _together(model: catalog.Model) -> Path:
    """The folder of a model's files; one of links to them where they lie in several."""
    folders = {path.parent for path in model.files.values()}
    if len(folders) == 1:
        return folders.pop()
    folder = paths.cache_dir() / "together" / model.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in model.files.items():
        link = folder / name
        if not link.is_symlink() or link.readlink() != path:
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    return folder


def best_whisper(hardware: Hardware) -> Whisper:
    """The best of the catalog that is on this machine: its later entries write better.

    Of whisper.cpp's where Metal computes, else of CTranslate2's; another where there is no such.

    Raises:
        ModelMissing: None is.
        ModelCorrupt: The best one's checksum is wrong.
    """
    known = [one for one in catalog.entries() if one.purpose == "speech-to-text"]
    here = [one for one in reversed(known) if catalog.locate(one, check=False) is not None]
    if not here:
        raise ModelMissing(
            "There is no speech recogniser on this machine.",
            remedy=f"Get one with: llmos models pull {known[0].name}",
        )
    fits = [one for one in here if (len(one.files) == 1) == _has_metal(hardware)]
    return find_whisper((fits or here)[0].name)


def _has_metal(hardware: Hardware) -> bool:
    names = (device.name.lower() for device in hardware.devices)
    return any(name.startswith(("metal", "mtl")) for name in names)


def engine(model: Whisper, hardware: Hardware) -> tuple[str, str]:
    """What computes: the engine, and its device.

    Args:
        hardware: As it was probed.

    Returns:
        ``faster-whisper`` on ``cuda`` or ``cpu``, or ``whisper.cpp`` on ``metal`` or ``cpu``.
    """
    if model.ggml:
        return "whisper.cpp", "metal" if _has_metal(hardware) else "cpu"
    names = [device.name.lower() for device in hardware.devices]
    cuda = any(name.startswith("cuda") for name in names) or "NVIDIA" in hardware.cards
    return "faster-whisper", "cuda" if cuda else "cpu"


class Recogniser:
    """A model of Whisper's. Used from one asyncio loop.

    Args:
        threads: That compute, on processors.
        memory_bytes: The worker's, at most; 0 reckons it from the model.
        idle_s: Without sound, after which it is ended.
    """

    def __init__(
        self,
        model: Whisper,
        hardware: Hardware,
        *,
        threads: int = 0,
        memory_bytes: int = 0,
        idle_s: float = IDLE_S,
    ) -> None:
        self._model = model
        self._engine, self._device = engine(model, hardware)
        self._threads = threads or max(1, min(4, hardware.cores))
        self._worker = Worker(
            "speech recogniser",
            Path(__file__).with_name("recogniser_worker.py"),
            memory_bytes=memory_bytes or max(MEMORY_BYTES, TIMES_FILE * model.size),
            idle_s=idle_s,
            answer_s=ANSWER_S,
            env={
                "OMP_NUM_THREADS": str(self._threads),
                # who waits by spinning takes the core from the language model
                "OMP_WAIT_POLICY": "PASSIVE",
                "KMP_BLOCKTIME": "0",
                "HF_HUB_OFFLINE": "1",
                "ORT_DISABLE_TELEMETRY": "1",
            },
        )

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def device(self) -> str:
        """What computes: ``cpu``, ``cuda`` or ``metal``; known for sure once it is loaded."""
        return self._device

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        return self._worker.pid

    @property
    def memory_bytes(self) -> int:
        """Of memory the worker takes now."""
        return self._worker.memory_bytes

    async def load(self) -> None:
        """Have it ready, so that the first words are not late.

        Raises:
            DeviceError: It cannot be used.
        """
        await self._ask(np.zeros(0, dtype=np.float32), "", final=False)

    async def unload(self) -> None:
        """End the worker once nothing is asked of it; the next sound starts another one."""
        await self._worker.unload()

    async def close(self) -> None:
        """End the worker at once, for good. Safe to call twice."""
        await self._worker.close()

    async def __call__(self, sound: Samples, *, language: str, final: bool) -> Transcript:
        """See ``Transcribe``.

        Raises:
            DeviceError: It cannot be used, or the sound is longer than ``WINDOW_S``.
        """
        if len(sound) > WINDOW_S * EAR_RATE:
            raise DeviceError(f"More than {WINDOW_S:g} seconds cannot be written down at once.")
        if not len(sound):
            return Transcript(())
        told = await self._ask(clean(sound), language, final=final)
        try:
            words = tuple(_words(told["words"], len(sound) / EAR_RATE))
            return Transcript(words, str(told["language"]))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("the speech recogniser answers nonsense: %r", error)
            raise DeviceError("The speech recogniser failed.", remedy=_REMEDY) from error

    async def _ask(self, sound: Samples, language: str, *, final: bool) -> dict[str, Any]:
        request = {
            "engine": self._engine,
            "path": str(self._model.path.resolve()),
            "device": self._device,
            "threads": self._threads,
            "language": language,
            "final": final,
        }
        for last in (*[False] * (TRIES - 1), True):
            try:
                answers: list[Answer] = [
                    answer
                    async for answer in self._worker.ask(request, sound.astype("<f4").tobytes())
                ]
                self._device = str(answers[-1][0].get("device", self._device))
                return answers[-1][0]
            except WorkerDied as error:
                if last:
                    raise DeviceError(
                        f"The speech recogniser cannot be used: its process {error}.",
                        remedy=_REMEDY,
                    ) from error
        raise AssertionError("unreachable")


def _words(rows: list[list[Any]], seconds: float) -> list[HeardWord]:
    """The words as they were told, their times within the sound and in order.

    Raises:
        ValueError: They are none.
    """
    words: list[HeardWord] = []
    at = 0.0
    for text, start, end, _ in rows:
        start, end = float(start), float(end)
        if not (isinstance(text, str) and math.isfinite(start) and math.isfinite(end)):
            raise ValueError(f"{text!r} from {start} to {end} is no word")
        start = min(max(start, end - LONGEST_WORD_S, at), seconds)
        end = min(max(end, start), seconds)
        words.append(HeardWord(text, start, end))
        at = start
    return words
