"""Taking what the loudspeaker plays out of what the microphone hears.

``WebRtcCanceller`` is AEC3 of WebRTC's audio processing module, which finds the delay by itself;
the package ``aec-audio-processing`` wraps it. Without it ``NoCanceller`` hands the sound through,
and says what that means. What any canceller leaves over is judged in ``interruption.py``, and what
gets past that, as text, in ``overheard.py``.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol

import numpy as np

from llmos.devices.audio import EAR_RATE, Samples, decode_pcm16, encode_pcm16
from llmos.errors import DeviceError

__all__ = [
    "CANCELLER_FRAME",
    "EchoCanceller",
    "NoCanceller",
    "WebRtcCanceller",
    "open_canceller",
]

#: Samples of a frame: 10 ms at 16 kHz; WebRTC takes nothing else.
CANCELLER_FRAME: Final = EAR_RATE // 100
#: Seconds of delay that can be told; AEC3 looks back no further.
LONGEST_DELAY_S: Final = 0.5

REMEDY = (
    "Install it with pip install aec-audio-processing (it compiles and needs a C++ compiler), or "
    "use headphones."
)


class EchoCanceller(Protocol):
    """One microphone and one loudspeaker, heard side by side.

    A canceller learns the room while sound is played, so it gets every frame, silent ones too.
    """

    def process(self, heard: Samples, played: Samples) -> Samples:
        """What is left of ``heard``.

        Args:
            heard: 160 samples at 16 kHz, from the microphone.
            played: As many, handed to the loudspeaker in the same 10 ms; silence if none were.

        Raises:
            ValueError: One of them has another length.
        """
        ...

    def set_delay(self, delay_s: float) -> None:
        """A hint: seconds between handing sound to the loudspeaker and hearing it."""
        ...

    def reset(self) -> None:
        """Another room, another device: forget what was learned."""
        ...


def _require_frames(heard: Samples, played: Samples) -> None:
    for frame in (heard, played):
        if frame.shape != (CANCELLER_FRAME,):
            raise ValueError(f"a frame has the shape {frame.shape}; ({CANCELLER_FRAME},) is needed")


class NoCanceller:
    """Hands the sound through: for headphones, and where no canceller is installed."""

    def process(self, heard: Samples, played: Samples) -> Samples:
        _require_frames(heard, played)
        return heard

    def set_delay(self, delay_s: float) -> None:
        pass

    def reset(self) -> None:
        pass


class WebRtcCanceller:
    """WebRTC's AEC3, about 0.1 ms for 10 ms of sound.

    Neither its noise suppression nor its gain control is on: the recogniser was trained on noise,
    and a gain that follows the voice would hide from ``interruption.py`` how loud anything was.

    Raises:
        DeviceError: The package is not there, or its library does not load.
    """

    def __init__(self) -> None:
        self._delay_ms = 0
        self._processor = self._open()

    def process(self, heard: Samples, played: Samples) -> Samples:
        _require_frames(heard, played)
        self._processor.process_reverse_stream(encode_pcm16(played))
        left = decode_pcm16(bytes(self._processor.process_stream(encode_pcm16(heard))))
        if len(left) != CANCELLER_FRAME:  # it says so by returning nothing, not by raising
            return np.zeros(CANCELLER_FRAME, dtype=np.float32)
        return left

    def set_delay(self, delay_s: float) -> None:
        self._delay_ms = round(1000 * min(max(delay_s, 0.0), LONGEST_DELAY_S))
        self._processor.set_stream_delay(self._delay_ms)

    def reset(self) -> None:
        self._processor = self._open()
        self._processor.set_stream_delay(self._delay_ms)

    @staticmethod
    def _open() -> Any:
        try:
            # by name: it is optional, has no types, and is not on every machine this is checked on
            package = importlib.import_module("aec_audio_processing")
        except (ImportError, OSError) as error:  # OSError: its shared library does not load
            raise DeviceError(
                "Echo cancellation is not installed, so llmos may hear its own voice.",
                remedy=REMEDY,
            ) from error
        processor: Any = package.AudioProcessor(
            enable_aec=True, enable_ns=False, enable_agc=False, enable_vad=False
        )
        processor.set_stream_format(EAR_RATE, 1, EAR_RATE, 1)
        processor.set_reverse_stream_format(EAR_RATE, 1)
        return processor


def open_canceller() -> tuple[EchoCanceller, str]:
    """The canceller there is, and a sentence to say when there is none, else empty."""
    try:
        return WebRtcCanceller(), ""
    except DeviceError as error:
        return NoCanceller(), str(error)
