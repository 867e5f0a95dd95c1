"""Whether somebody is speaking, 32 ms at a time.

``SileroDetector`` runs Silero VAD v6 (Silero Team, github.com/snakers4/silero-vad, MIT), whose file
is given as a path. ``EnergyDetector`` stands in where that file is not installed: it hears that
something is louder than the room, and takes a door for a word. Both know one frame at a time; what
is a turn, and when it began, is ``segmenter.py``'s.
"""

from __future__ import annotations

import importlib.util
import os
from collections import deque
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from llmos.devices.audio import EAR_RATE, Samples, clean, level_dbfs
from llmos.errors import ModelCorrupt, ModelMissing

__all__ = [
    "FRAME",
    "FRAME_S",
    "EnergyDetector",
    "SileroDetector",
    "SpeechDetector",
    "open_detector",
    "silero_file",
]

#: Samples of a frame: what Silero was trained on at 16 kHz, and takes nothing else.
FRAME: Final = 512
FRAME_S: Final = FRAME / EAR_RATE
#: Samples of the frame before, which Silero wants to see again.
CONTEXT: Final = 64
#: Numbers in each half of Silero's memory.
STATE: Final = 128
#: Frames whose quietest fifth is taken for the room: 3 s, longer than a person speaks in one breath
#: without any gap between two words.
ROOM_FRAMES: Final = 94
#: Decibels above the room at which speech is as likely as not, and by which the odds grow e-fold.
ABOVE_ROOM_DB: Final = 12.0
PER_NAT_DB: Final = 2.0
#: dBFS below which nothing is speech, however quiet the room: a microphone's own noise.
FAINTEST_DBFS: Final = -55.0

REMEDY = "It comes within faster-whisper: pip install --force-reinstall faster-whisper"


class SpeechDetector(Protocol):
    """The probability of speech in each frame of one stream, in order.

    A detector remembers the stream it hears, so each stream has its own, and ``reset`` stands
    between two of them.
    """

    def probability(self, frame: Samples) -> float:
        """The probability, in [0, 1], that somebody speaks in ``frame``: 512 samples at 16 kHz.

        Raises:
            ValueError: It has another length.
        """
        ...

    def reset(self) -> None:
        """What comes next has nothing to do with what was heard."""
        ...


def _require_frame(frame: Samples) -> Samples:
    if frame.shape != (FRAME,):
        raise ValueError(f"a frame has the shape {frame.shape}; ({FRAME},) is needed")
    return clean(frame)  # one NaN would stay in the memory of Silero for good


class SileroDetector:
    """Silero VAD v6 on ONNX Runtime, one thread that doesn't spin: 0.1 to 0.3 ms a frame.

    Args:
        model: ``silero_vad_v6.onnx``, inputs ``input`` (n, 576), ``h`` and ``c`` (1, 1, 128).

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It is another model, or none.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise ModelMissing(f"The voice activity model {model} is not there.", remedy=REMEDY)
        self._session = _open(model)
        self.reset()

    def reset(self) -> None:
        self._h = np.zeros((1, 1, STATE), dtype=np.float32)
        self._c = np.zeros((1, 1, STATE), dtype=np.float32)
        self._context: Samples = np.zeros(CONTEXT, dtype=np.float32)

    def probability(self, frame: Samples) -> float:
        sound = _require_frame(frame)
        seen = np.concatenate([self._context, sound])[None, :]
        out, self._h, self._c = self._session.run(None, {"input": seen, "h": self._h, "c": self._c})
        self._context = sound[-CONTEXT:]
        return float(np.clip(out.reshape(-1)[0], 0.0, 1.0))


def _open(model: Path) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is loaded; it reports by default
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised; nothing on the person's terminal
    try:
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base of their own
        raise ModelCorrupt(f"{model} is no ONNX model that can be run.", remedy=REMEDY) from error
    if {"input", "h", "c"} != {entry.name for entry in session.get_inputs()}:
        raise ModelCorrupt(f"{model} is not Silero VAD v6.", remedy=REMEDY)
    return session


class EnergyDetector:
    """Louder than the room: what is left without a model. Music and doors are speech to it.

    The room's level is the quietest fifth of the last three seconds (after the minimum statistics
    of R. Martin 2001, doi:10.1109/89.928915, without its bias correction).
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._levels: deque[float] = deque(maxlen=ROOM_FRAMES)

    def probability(self, frame: Samples) -> float:
        level = level_dbfs(_require_frame(frame))
        self._levels.append(level)
        quiet = sorted(self._levels)[len(self._levels) // 5]
        if len(self._levels) == 1:
            quiet = FAINTEST_DBFS  # the first frame has no room to stand out of
        # a room of digital silence would make a whisper of the microphone's noise a shout
        over = level - max(quiet, FAINTEST_DBFS) - ABOVE_ROOM_DB
        return float(1 / (1 + np.exp(-np.clip(over / PER_NAT_DB, -30, 30))))


def silero_file() -> Path | None:
    """Silero's file, which comes within faster-whisper, whose code is not imported; or None."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "assets" / "silero_vad_v6.onnx"


def open_detector(model: Path | None) -> tuple[SpeechDetector, str]:
    """The best detector there is, and a sentence to say when it is not the good one, else empty.

    Args:
        model: Silero's file, or None where it is not installed.

    Raises:
        ModelCorrupt: There is a file, and it is not Silero's.
    """
    if model is None or not model.is_file():
        return EnergyDetector(), (
            "No voice activity model is installed, so any loud sound is taken for speech. " + REMEDY
        )
    return SileroDetector(model), ""
