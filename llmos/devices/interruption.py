"""Whether a person is interrupting, decided twice: fast from sound, then for good from words.

The first decision must come within 150 ms of speech, while llmos itself is heard in the
microphone. A detector of speech takes the rest of an echo for speech, so the sound must also be
more than what the echo can be: how much of what is played usually gets through the canceller is
learned band by band (the leakage of residual echo suppression: Valin 2007,
doi:10.1109/TASL.2006.885935), and what lies above it is somebody else. The sound is then stopped.
The second decision comes with the transcript (``overheard.py``): a reason to stop, or a false
alarm, after which the sentence is taken up again.

Stopping and taking up is the caller's. Time is counted in frames.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from llmos.devices.audio import EAR_RATE, Samples
from llmos.devices.overheard import Heard, Overheard
from llmos.devices.vad import FRAME, FRAME_S

__all__ = ["EchoLeak", "Interruptions", "Outcome"]

#: Hz that divide the bands: each holds something of every vowel, and no hum of the mains.
BANDS_HZ: Final = (200, 400, 700, 1_100, 1_700, 2_600, 4_000, 7_000)
#: Seconds in which what was played dies away in a room by a factor of ten (RT60 of 0.4 s).
DECAY_S: Final = 0.07
#: Decibels by which the canceller is trusted before anything was learned, and by which what is
#: heard must lie above the echo that is expected to be somebody else's.
FIRST_LEAK_DB: Final = -20.0
ABOVE_DB: Final = 15.0
#: Bands of the seven in which it must: between the formants of one voice another one is heard,
#: while a hum, or one band that got through the canceller, does not decide.
BANDS: Final = 2
#: How fast the leak is learned, upwards and downwards, for each frame in which only llmos speaks.
#: It rises fast, since an echo taken for a person is worse than a person heard a bit later.
RISE: Final = 0.3
FALL: Final = 0.02
#: Leaks that can be: a canceller does not amplify, and below -60 dB there is only noise.
LOWEST_LEAK: Final = 1e-6
HIGHEST_LEAK: Final = 2.0
#: Power a band has of noise that nobody hears: -70 dBFS.
NOISE: Final = 1e-7
#: Probability from which on a frame may be a person's: low, since a canceller takes some of the
#: person's voice with the echo, and the power above the echo is asked, too. Clicks, claps and
#: coughs stay below it.
SPEECH: Final = 0.15
#: Each such frame counts by its probability, and by how far it lies above the echo: as many times
#: as this many decibels fit, at most so often. That must add up to so much: a clear frame (32 ms)
#: or some doubtful ones; and so much stays of the sum after each frame that is none.
CLEAR_DB: Final = 15.0
MOST: Final = 3.0
ENOUGH: Final = 0.4
STAYS: Final = 0.5
#: Seconds of speech after which somebody is interrupting, whatever the words: no cough is so long.
CERTAIN_S: Final = 1.5
#: Seconds without speech after which no transcript will come any more: a false alarm. Where speech
#: was heard and is being written down, it is waited for longer: "no" is short.
NOTHING_S: Final = 1.2
LATE_S: Final = 4.0


class Outcome(StrEnum):
    """What is decided."""

    SUSPECTED = "suspected"  # stop the sound, keep what was not heard yet
    CONFIRMED = "confirmed"  # cancel the answer
    FALSE_ALARM = "false_alarm"  # take the sentence up again


class EchoLeak:
    """How much of what is played is left in what the canceller gives, band by band."""

    def __init__(self) -> None:
        freqs = np.fft.rfftfreq(FRAME, 1 / EAR_RATE)
        self._edges = np.searchsorted(freqs, BANDS_HZ)
        self._window = np.hanning(FRAME)
        self._stays = 10.0 ** (-FRAME_S / DECAY_S)
        self.reset()

    def reset(self) -> None:
        """Another room, another device."""
        self._leak = np.full(len(BANDS_HZ) - 1, 10.0 ** (FIRST_LEAK_DB / 10))
        self._played = np.zeros(len(BANDS_HZ) - 1)
        self._left = np.zeros(len(BANDS_HZ) - 1)

    @property
    def leak_db(self) -> float:
        """The mean leak, in dB of power."""
        return float(10 * np.log10(self._leak.mean()))

    def above_db(self, left: Samples, played: Samples) -> float:
        """Decibels by which ``left`` lies above all the echo that is expected in it, in ``BANDS``
        of the bands at least.

        Args:
            left: A frame from the canceller, shape (512,).
            played: The frame that sounded then, its delay already taken off.
        """
        self._left = self._bands(left)
        # what was played some frames ago still sounds in the room
        self._played = np.maximum(self._bands(played), self._stays * self._played)
        expected = self._leak * self._played + NOISE
        above = 10 * np.log10((self._left + NOISE / 10) / expected)
        return float(np.sort(above)[-BANDS])

    def learn(self) -> None:
        """In the frame last given nobody but llmos was heard."""
        sounding = self._played > 100 * NOISE
        ratio = np.clip(self._left / np.maximum(self._played, NOISE), LOWEST_LEAK, HIGHEST_LEAK)
        rate = np.where(ratio > self._leak, RISE, FALL)
        # in decibels: the mean of powers would follow single peaks
        learned = np.exp((1 - rate) * np.log(self._leak) + rate * np.log(ratio))
        self._leak = np.where(sounding, learned, self._leak)

    def _bands(self, frame: Samples) -> npt.NDArray[np.float64]:
        spectrum = np.abs(np.fft.rfft(frame * self._window)) ** 2
        total = np.concatenate([[0.0], np.cumsum(spectrum)])
        # of a sine of amplitude a, its band gets about a²/2
        scale = 2.0 / (FRAME * float(np.sum(self._window**2)))
        return (total[self._edges[1:]] - total[self._edges[:-1]]) * scale


class Interruptions:
    """The interruptions of one microphone while llmos speaks.

    The caller feeds every frame of 32 ms, also when nothing is played; then any speech counts.
    """

    def __init__(self) -> None:
        self.leak = EchoLeak()
        self._at = 0  # samples so far
        self._onset = 0
        self._suspected = False
        self._evidence = 0.0
        self._spoken = 0  # frames of the person's speech since the onset
        self._quiet = 0  # frames since the last of them

    @property
    def suspected(self) -> bool:
        """Whether the sound was stopped and the words are awaited."""
        return self._suspected

    @property
    def onset(self) -> int:
        """The sample, counted from the first frame fed, at which the last suspect began."""
        return self._onset

    def feed(
        self, probability: float, left: Samples, played: Samples, *, awaited: bool = False
    ) -> Outcome | None:
        """Take a frame; what is decided with it, or None.

        Args:
            probability: Of speech in ``left``, from the detector.
            left: What the canceller gives, shape (512,).
            played: What sounded in the meantime, its delay taken off; zeros where nothing did.
            awaited: Whether words of the suspect are on their way.
        """
        start = self._at
        self._at += FRAME
        speech = probability >= SPEECH
        above = self.leak.above_db(left, played)
        person = speech and above >= ABOVE_DB
        if not person and not self._suspected:
            self.leak.learn()
        if person:
            self._quiet = 0
            self._spoken += 1
        else:
            self._quiet += 1
        if self._suspected:
            return self._await(LATE_S if awaited else NOTHING_S)
        if person and self._evidence < SPEECH:
            self._onset, self._spoken = start, 1
        if person:
            self._evidence += probability * min(above / CLEAR_DB, MOST)
        else:
            self._evidence *= STAYS
        if self._evidence < ENOUGH:
            return None
        self._suspected = True
        return Outcome.SUSPECTED

    def words(self, heard: Overheard, *, final: bool = True) -> Outcome | None:
        """What was transcribed of the suspect; what is decided with it, or None.

        Args:
            heard: The judgement on the transcript.
            final: Whether no more of it will come. Before that only a reason to stop decides,
                since "yeah" may go on as "yeah, but that is wrong".
        """
        if not self._suspected:
            return None
        if heard.interrupts:
            return self._decide(Outcome.CONFIRMED)
        if final or heard.heard is Heard.ECHO:
            return self._decide(Outcome.FALSE_ALARM)
        return None

    def _await(self, longest_s: float) -> Outcome | None:
        if self._spoken * FRAME_S >= CERTAIN_S:
            return self._decide(Outcome.CONFIRMED)
        if self._quiet * FRAME_S >= longest_s:
            return self._decide(Outcome.FALSE_ALARM)
        return None

    def _decide(self, outcome: Outcome) -> Outcome:
        self._suspected = False
        self._evidence = 0.0
        return outcome
