"""The end of a turn, from three things: silence so far, how finished the words sound, and how long
this speaker rests.

For each the silence that must pass is computed, twice. After the first an end is *likely*: an
answer may be computed, and thrown away if the person goes on. After the second it is *sure*: the
answer may sound. A pause after "because" is waited out long, a question is answered soon.

Nothing here knows a clock: the caller says how long it has been silent, as often as it likes, and
gives the newest transcript. A transcript that comes late changes the next answer, not the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from llmos.devices.completeness import NEUTRAL, completeness
from llmos.devices.rhythm import Rhythm

__all__ = ["Endpoint", "Endpointer"]

#: Seconds of silence after which an end is sure, by how finished the words sound. Between two
#: points it is interpolated. The bars: half of all finished sentences are answered within 0.7 s,
#: and of ten pauses of 0.3 to 1.2 s inside sentences nine are waited out.
SURE_S: Final = (
    (0.0, 2.4),
    (0.1, 2.0),
    (0.3, 1.5),
    (0.5, 1.15),
    (0.65, 0.9),
    (0.85, 0.62),
    (1.0, 0.55),
)
#: Share of that silence after which an end is likely, and the least, in seconds: a guess costs
#: computing, and within a word the breath is held for 0.1 s.
LIKELY_SHARE: Final = 0.4
LIKELY_LEAST_S: Final = 0.2
#: Which of the speaker's pauses is waited out when the words say nothing. Where they sound
#: finished a smaller share is, where they do not a larger one.
PATIENCE: Final = 0.9
#: How much smaller, for each point of completeness above neutral.
EAGERNESS: Final = 1.15
#: Of the speaker's rhythm, so much counts at most, in seconds: nobody is waited for longer.
LONGEST_S: Final = 3.0
#: Silence, in seconds, after which a turn is over whatever was said last.
GIVE_UP_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is known about the end now.

    Args:
        likely / sure: Whether a guess may be computed, and whether the answer may sound.
        likely_s / sure_s: The silence, in seconds, that either needs.
        completeness: How finished the words sound, in [0, 1].
        probability: That the turn is over, as one number: 0.5 when likely, 0.9 when sure.
    """

    likely: bool
    sure: bool
    likely_s: float
    sure_s: float
    completeness: float
    probability: float


class Endpointer:
    """The ends of one speaker's turns."""

    def __init__(self, rhythm: Rhythm | None = None) -> None:
        self.rhythm = rhythm or Rhythm()
        self.patience = 1.0  #: by which the silence that is waited for is longer than usual
        self.silence_s: float | None = None  #: the silence that makes an end, whatever was said

    def judge(self, silence_s: float, text: str, language: str = "") -> Endpoint:
        """Is it over?

        Args:
            silence_s: Seconds since the last speech; 0 while somebody speaks.
            text: What is known of the turn's words; empty where nothing is transcribed yet.
            language: Of the words, as in ``en``.
        """
        score = completeness(text, language) if text.strip() else NEUTRAL
        if self.silence_s is not None:
            sure_s = self.silence_s
        else:
            sure_s = min(self.patience * self.required(score), GIVE_UP_S)
        likely_s = max(LIKELY_LEAST_S, LIKELY_SHARE * sure_s)
        return Endpoint(
            likely=silence_s >= likely_s,
            sure=silence_s >= sure_s,
            likely_s=likely_s,
            sure_s=sure_s,
            completeness=score,
            probability=_probability(silence_s, likely_s, sure_s),
        )

    def required(self, score: float) -> float:
        """Seconds of silence that make an end sure after words that sound finished by ``score``."""
        base = _interpolate(score)
        share = PATIENCE - EAGERNESS * max(0.0, score - NEUTRAL)
        own = self.rhythm.quantile(max(0.0, min(1.0, share)))
        # a speaker who rests long is waited for longer, but who rests little is still heard out
        return min(max(base, min(own, LONGEST_S)), GIVE_UP_S)

    def resumed(self, silence_s: float) -> None:
        """The person went on after ``silence_s``: it was a pause. Also said when the end had been
        taken for sure, and nothing had sounded yet: that is how a slow speaker is learned."""
        self.rhythm.pause(silence_s)


def _interpolate(score: float) -> float:
    score = min(max(score, 0.0), 1.0)
    for (low, slow), (high, fast) in pairwise(SURE_S):
        if score <= high:
            return slow + (fast - slow) * (score - low) / (high - low)
    return SURE_S[-1][1]


def _probability(silence_s: float, likely_s: float, sure_s: float) -> float:
    """Rises with the silence: 0.5 at the one threshold, 0.9 at the other, towards 1 after it."""
    if silence_s <= 0:
        return 0.0
    if silence_s < likely_s:
        return 0.5 * silence_s / likely_s
    if silence_s < sure_s:
        return 0.5 + 0.4 * (silence_s - likely_s) / (sure_s - likely_s)
    return 1.0 - 0.1 * sure_s / silence_s
