"""Sound as arrays: what llmos takes sound to be, and the ways into it and out of it.

Inside llmos sound is mono float32 in [-1, 1]. Whatever a device, a file or a client hands in comes
through here first, so that nothing behind it ever sees a NaN, an infinity or a sample that clips.
Knows no rates; those are ``resample.py``'s.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "EAR_RATE",
    "SILENCE_DBFS",
    "WIRE_RATE",
    "Frames",
    "Samples",
    "clean",
    "decode_pcm16",
    "encode_pcm16",
    "level_dbfs",
    "mono",
]

#: Mono sound: shape (n,), float32, in [-1, 1].
Samples: TypeAlias = npt.NDArray[np.float32]

#: Hz of what is listened to: the detector's and the recogniser's rate.
EAR_RATE: Final = 16_000
#: Hz on the Realtime wire (pcm16, little endian).
WIRE_RATE: Final = 24_000
#: dBFS of digital silence. The quietest step of 16 bits is -90; below this nothing is told apart.
SILENCE_DBFS: Final = -120.0

_FULL: Final = 32_768.0  # of int16: -1.0 is a sample, +1.0 is one step beyond the last


def clean(sound: npt.ArrayLike) -> Samples:
    """``sound`` without what no loudspeaker can play: NaN becomes silence, the rest is clipped.

    Args:
        sound: Samples, full scale 1; of any shape, which stays.
    """
    array = np.asarray(sound, dtype=np.float32)
    return np.clip(np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def mono(sound: npt.NDArray[Any]) -> Samples:
    """One channel of what a device or file gave, of any sample type.

    Channels are averaged. Adding them instead would clip, and taking the first would lose a
    speaker whose microphone is on the other one.

    Args:
        sound: Shape (n,) or (n, channels). Integers are scaled by their type's range, unsigned
            ones around their middle, as WAV stores 8 bits; floats count as full scale 1.

    Raises:
        ValueError: It has another shape, or is neither of integers nor of floats.
    """
    if sound.ndim not in (1, 2):
        raise ValueError(f"sound has the shape {sound.shape}; (n,) or (n, channels) is needed")
    kind = sound.dtype.kind
    if kind not in "iuf":
        raise ValueError(f"sound is of {sound.dtype}; integers or floats are needed")
    if kind == "f":
        floats = clean(sound)
    else:
        half = 2.0 ** (8 * sound.dtype.itemsize - 1)
        middle = half if kind == "u" else 0.0
        floats = ((sound.astype(np.float64) - middle) / half).astype(np.float32)
    if floats.ndim == 1:
        return floats
    if floats.shape[1] == 0:
        return np.zeros(len(floats), dtype=np.float32)
    return floats.mean(axis=1, dtype=np.float32)


def decode_pcm16(data: bytes) -> Samples:
    """Sound from 16-bit little-endian samples. Half a sample at the end is left out."""
    whole = len(data) - len(data) % 2
    return np.frombuffer(data[:whole], dtype="<i2").astype(np.float32) / np.float32(_FULL)


def encode_pcm16(sound: Samples) -> bytes:
    """16-bit little-endian samples of ``sound``, whatever is in it. Undoes ``decode_pcm16``."""
    steps = np.rint(clean(sound).astype(np.float64) * _FULL)
    return np.clip(steps, -_FULL, _FULL - 1).astype("<i2").tobytes()


def level_dbfs(sound: Samples) -> float:
    """The level: 20·log10 of the root mean square, so that a full-scale square wave has 0 dBFS.

    Returns:
        dBFS, at least ``SILENCE_DBFS``; that for no samples at all.
    """
    if not len(sound):
        return SILENCE_DBFS
    power = float(np.mean(np.square(clean(sound), dtype=np.float64)))
    return max(SILENCE_DBFS, 10 * float(np.log10(power))) if power > 0 else SILENCE_DBFS


class Frames:
    """Chunks of any size in, frames of one size out; what is over waits for the next chunk.

    Args:
        size: Samples of a frame.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a frame has {size} samples; at least 1 is needed")
        self._size = size
        self._rest: Samples = np.zeros(0, dtype=np.float32)

    @property
    def waiting(self) -> int:
        """Samples that are not a frame yet."""
        return len(self._rest)

    def feed(self, chunk: Samples) -> list[Samples]:
        """The frames that ``chunk`` completes, each of shape (size,)."""
        sound = np.concatenate([self._rest, chunk]).astype(np.float32, copy=False)
        whole = len(sound) // self._size
        self._rest = sound[whole * self._size :].copy()  # a view would keep the chunk alive
        return list(sound[: whole * self._size].reshape(whole, self._size))

    def flush(self) -> Samples:
        """What is over, shorter than a frame."""
        rest, self._rest = self._rest, np.zeros(0, dtype=np.float32)
        return rest
