"""The delay between handing sound to the loudspeaker and hearing it in the microphone.

The generalised cross-correlation with phase transform (Knapp and Carter 1976,
doi:10.1109/TASSP.1976.1162830): every frequency counts alike, so a voice's own period makes no
second peak. Spectra are averaged over the last seconds, with what is older fading.

It says nothing rather than guess: while nothing is played, or nothing of it is heard (headphones),
there is no peak that stands out, and the last delay that was found stays.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from llmos.devices.audio import EAR_RATE, Samples, level_dbfs

__all__ = ["DelayEstimator"]

#: Seconds of delay that are looked for: Bluetooth has 0.2 to 0.3.
LONGEST_S: Final = 0.5
#: Seconds of sound that one spectrum is taken of, and after which the next one is.
WINDOW_S: Final = 1.0
HOP_S: Final = 0.25
#: What stays of the average at each hop: half of it is gone after a second.
KEPT: Final = 0.85
#: Hz between which speech is, and small loudspeakers play.
LOWEST_HZ: Final = 200.0
HIGHEST_HZ: Final = 5_000.0
#: dBFS of a window in which something is played, or heard.
FAINTEST_DBFS: Final = -60.0
#: How far the peak must stand out, in standard deviations of the correlation elsewhere. Of 8,000
#: values of noise the highest lies at 4.
STANDS_OUT: Final = 8.0
#: Seconds by which two estimates may differ and still confirm each other.
SAME_S: Final = 0.002


class DelayEstimator:
    """One microphone and one loudspeaker at one rate.

    Args:
        rate: Samples a second of both.
    """

    def __init__(self, rate: int = EAR_RATE) -> None:
        self._rate = rate
        self._window = round(WINDOW_S * rate)
        self._hop = round(HOP_S * rate)
        self._lags = round(LONGEST_S * rate)
        self._size = 1 << (2 * self._window - 1).bit_length()
        freqs = np.fft.rfftfreq(self._size, 1 / rate)
        self._band = (freqs >= LOWEST_HZ) & (freqs <= min(HIGHEST_HZ, rate / 2))
        self.reset()

    @property
    def delay_s(self) -> float | None:
        """Seconds; None until it was found twice at the same place."""
        return None if self._delay is None else self._delay / self._rate

    @property
    def confidence(self) -> float:
        """How far the last peak stood out, in standard deviations; 0 before the first."""
        return self._confidence

    def reset(self) -> None:
        """Another device: forget everything."""
        self._heard: Samples = np.zeros(0, dtype=np.float32)
        self._played: Samples = np.zeros(0, dtype=np.float32)
        self._spectrum: npt.NDArray[np.complex128] = np.zeros(self._size // 2 + 1, complex)
        self._delay: int | None = None
        self._candidate: int | None = None
        self._confidence = 0.0

    def feed(self, heard: Samples, played: Samples) -> float | None:
        """Take as much of both as passed; the delay as it is known then, in seconds.

        Raises:
            ValueError: They differ in length.
        """
        if len(heard) != len(played):
            raise ValueError(f"{len(heard)} samples were heard, {len(played)} played")
        self._heard = np.concatenate([self._heard, heard])
        self._played = np.concatenate([self._played, played])
        while len(self._heard) >= self._window:
            self._look(self._heard[: self._window], self._played[: self._window])
            self._heard = self._heard[self._hop :]
            self._played = self._played[self._hop :]
        return self.delay_s

    def _look(self, heard: Samples, played: Samples) -> None:
        if min(level_dbfs(heard), level_dbfs(played)) < FAINTEST_DBFS:
            return
        cross = np.fft.rfft(heard, self._size) * np.conj(np.fft.rfft(played, self._size))
        white = np.where(self._band, cross / np.maximum(np.abs(cross), 1e-12), 0)
        self._spectrum = KEPT * self._spectrum + (1 - KEPT) * white
        correlation = np.fft.irfft(self._spectrum, self._size)[: self._lags + 1]
        peak = int(np.argmax(correlation))
        # the median of the magnitudes: the peak and the room's echoes do not spoil it
        spread = float(np.median(np.abs(correlation))) / 0.6745
        self._confidence = float(correlation[peak]) / spread if spread > 0 else 0.0
        if self._confidence < STANDS_OUT:
            return
        same = round(SAME_S * self._rate)
        if self._candidate is not None and abs(peak - self._candidate) <= same:
            self._delay = peak
        self._candidate = peak
