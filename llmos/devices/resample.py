"""Sound from one rate to another, in chunks of any size.

A windowed sinc, evaluated at exactly the times the new samples stand at (J. O. Smith, *Digital
Audio Resampling*, ccrma.stanford.edu/~jos/resample). The ratio of the rates is reduced to up/down,
so there are no more than ``up`` different sets of coefficients (the polyphase form), computed once.
Every output sample is the same sum over the same inputs, however the sound was cut into chunks.

Rates are taken as exact. Two clocks that drift apart are no matter of this file.
"""

from __future__ import annotations

from math import ceil, gcd
from typing import Final

import numpy as np
import numpy.typing as npt

from llmos.devices.audio import Samples

__all__ = ["HIGHEST_RATE", "LOWEST_RATE", "Resampler", "resample"]

#: Hz: telephones, and the best of studio equipment. Others are refused: a header that claims 1 Hz
#: or 1 GHz lies, and would ask for filters of any length.
LOWEST_RATE: Final = 8_000
HIGHEST_RATE: Final = 96_000
#: Zero crossings of the sinc on either side: 24 give a transition of 22 % of the band.
CROSSINGS: Final = 24
#: Shape of the Kaiser window: 9 keeps aliases 90 dB down, below the steps of 16 bits.
BETA: Final = 9.0
#: The cutoff, of the lower rate's half: the middle of the transition, which reaches from 0.83 to
#: 1.05. What little folds back lies above 0.95, where speech has nothing.
CUTOFF: Final = 0.94
#: Coefficients computed ahead. Rates with no common measure (44,101 to 48,000) would need
#: megabytes for all their phases; theirs are computed as they are needed.
MOST_COEFFICIENTS: Final = 1 << 20
#: Samples made at once, so that ten hours in one go need no more memory than a second does.
BLOCK: Final = 4_096


class Resampler:
    """One stream from ``source`` Hz to ``target`` Hz.

    The n-th sample out stands at the time n / target of the sound that came in: nothing is
    shifted. To know it, ``latency_s`` of the sound after that time is needed, so what comes out
    lags behind by so much until ``flush``.

    Raises:
        ValueError: A rate lies outside 8,000 to 96,000 Hz.
    """

    def __init__(self, source: int, target: int) -> None:
        for rate in (source, target):
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise ValueError(
                    f"{rate} Hz: rates from {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz are possible"
                )
        common = gcd(source, target)
        self._up = target // common
        self._down = source // common
        self._source = source
        self._cutoff = CUTOFF * min(1.0, target / source)  # of half the source's rate
        self._same = self._up == self._down
        # samples on either side of an output's time that count
        self._half = 0 if self._same else ceil(CROSSINGS / self._cutoff)
        self._table: npt.NDArray[np.float32] | None = None
        if not self._same and self._up * 2 * self._half <= MOST_COEFFICIENTS:
            self._table = self._coefficients(np.arange(self._up))
        self.reset()

    @property
    def latency_s(self) -> float:
        """Seconds by which what comes out lags behind: half the filter's length.

        1.6 ms between 16 and 24 kHz, at most 3.3 ms for any rates here.
        """
        return self._half / self._source

    def reset(self) -> None:
        """Forget the sound; the next chunk begins another one."""
        # silence before the first sample, so that the filter's left half has something to read
        self._sound: Samples = np.zeros(max(self._half - 1, 0), dtype=np.float32)
        self._first = -len(self._sound)  # where in the input the buffer begins
        self._taken = 0  # input samples so far
        self._made = 0  # output samples so far

    def feed(self, chunk: Samples) -> Samples:
        """What can be known of the output once ``chunk`` is here."""
        if self._same:
            return np.array(chunk, dtype=np.float32)
        self._taken += len(chunk)
        return self._make(chunk, self._known(self._taken))

    def flush(self) -> Samples:
        """The rest, as if silence followed; then it is as new.

        All that came out has, together, ``ceil(n · target / source)`` samples for ``n`` in.
        """
        if self._same:
            return np.zeros(0, dtype=np.float32)
        total = -(-self._taken * self._up // self._down)
        out = self._make(np.zeros(self._half + 1, dtype=np.float32), total)
        self.reset()
        return out

    def _known(self, taken: int) -> int:
        """How many outputs need no input after the first ``taken``.

        Output ``n`` stands at ``n·down/up`` and reads up to ``half`` after the whole part of it.
        """
        last = taken - 1 - self._half
        return 0 if last < 0 else ((last + 1) * self._up - 1) // self._down + 1

    def _make(self, chunk: Samples, until: int) -> Samples:
        """Outputs up to the number ``until``, with ``chunk`` behind what is in the buffer."""
        self._sound = np.concatenate([self._sound, chunk]).astype(np.float32, copy=False)
        parts: list[Samples] = []
        while self._made < until:
            end = min(until, self._made + BLOCK)
            at = np.arange(self._made, end, dtype=np.int64) * self._down
            whole, phase = np.divmod(at, self._up)
            # windows of 2·half samples; the one of an output begins half-1 before its time
            windows = np.lib.stride_tricks.sliding_window_view(self._sound, 2 * self._half)
            rows = windows[whole - (self._half - 1) - self._first]
            kernel = self._table[phase] if self._table is not None else self._coefficients(phase)
            # a sum along each row alone: the same whatever else is computed with it
            parts.append((rows * kernel).sum(axis=1, dtype=np.float32))
            self._made = end
        keep = (self._made * self._down) // self._up - (self._half - 1)
        if keep > self._first:
            self._sound = self._sound[keep - self._first :].copy()
            self._first = keep
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def _coefficients(self, phases: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The filter of each phase, shape (phases, 2·half); each adds up to 1."""
        taps = np.arange(2 * self._half) - (self._half - 1)
        distance = taps[None, :] - phases[:, None] / self._up
        window = np.i0(BETA * np.sqrt(np.clip(1 - (distance / self._half) ** 2, 0, None)))
        kernel = np.sinc(self._cutoff * distance) * window
        # the sum differs a little from phase to phase, which would be heard as a tone
        return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


def resample(sound: Samples, source: int, target: int) -> Samples:
    """All of ``sound`` at once.

    Raises:
        ValueError: A rate lies outside 8,000 to 96,000 Hz.
    """
    resampler = Resampler(source, target)
    return np.concatenate([resampler.feed(sound), resampler.flush()])
