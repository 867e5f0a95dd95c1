"""What was heard while llmos spoke, judged by its words: the second line of defence.

Sound that came through the echo canceller was transcribed. Is it only what was being spoken, heard
again? Is it "mhm", which says "go on"? A short command? Or somebody who wants to say something?
Words are compared fuzzily, since what comes through a canceller is heard badly. Who spoke is not
known: a person who repeats the last sentence word for word is taken for its echo.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Final

from llmos.devices.turn_words import LANGUAGES, Command, TurnWords, turn_words, words_of

__all__ = ["Heard", "Overheard", "command_of", "judge"]

#: Words that are compared: what can be spoken and heard again in 10 s. Time grows with the product.
MOST_WORDS: Final = 60
#: Likeness, as difflib measures it, from which on two words are the same, heard badly.
ALIKE: Final = 0.72
#: Share of the words heard that must stand, in order, in what was spoken.
ECHO_SHARE: Final = 0.6
#: Words in a row that were not spoken, from which on they are a person's, echo or not.
OWN_WORDS: Final = 2
#: Words of the longest backchannel. After more than these somebody says something.
BACKCHANNEL_WORDS: Final = 4

_LAUGH: Final = re.compile(r"(?:h+[aeiou]+){2,}h*|(?:lo+l|haha\w*)")
_LAUGHS: Final = frozenset({"ha", "hah", "he", "heh", "hi", "ho"})
#: What recognisers write for sounds that are no words: [laughter], (coughs), *sighs*, ♪.
_SOUND: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|♪[^♪]*♪?")
#: What Whisper hears in noise and silence, however the person speaks.
_INVENTED: Final = frozenset(
    {"you", "thank you", "thanks for watching", "thank you for watching", "bye"}
)


class Heard(StrEnum):
    """What a stretch of sound was."""

    NOTHING = "nothing"  # no words: a cough, laughter, a noise
    ECHO = "echo"  # llmos itself
    BACKCHANNEL = "backchannel"  # "mhm": go on
    COMMAND = "command"  # to the voice: stop, louder
    SPEECH = "speech"  # somebody wants to say something


@dataclass(frozen=True, slots=True)
class Overheard:
    """The judgement on a transcript.

    Args:
        heard: What it was.
        own: The person's words, without those that were only echo; of ``SPEECH`` and ``COMMAND``.
        command: Which one.
    """

    heard: Heard
    own: str = ""
    command: Command | None = None

    @property
    def interrupts(self) -> bool:
        """Whether it was a reason to stop speaking: "louder" is none."""
        stops = self.command in (Command.STOP, Command.WAIT)
        return self.heard is Heard.SPEECH or (self.heard is Heard.COMMAND and stops)


def judge(text: str, spoken: str, language: str = "") -> Overheard:
    """What was heard?

    Args:
        text: The transcript.
        spoken: What was being played in the last seconds, as words; empty where nothing was.
        language: Of the transcript, as in ``en``; of one that is not known, the words of all
            languages that are count.
    """
    words = words_of(_SOUND.sub(" ", text))[:MOST_WORDS]
    if not words or _laughs(words):
        return Overheard(Heard.NOTHING)
    known = turn_words(language)
    tables = [known] if known else list(LANGUAGES.values())
    own = _not_spoken(words, words_of(spoken)[-MOST_WORDS:])
    if not own:
        return Overheard(Heard.ECHO)
    said = " ".join(own)
    command = next((found for table in tables if (found := _command(own, table))), None)
    if command is not None:
        return Overheard(Heard.COMMAND, said, command)
    if spoken and said in _INVENTED:
        return Overheard(Heard.NOTHING)
    if any(_backchannel(own, table) for table in tables):
        return Overheard(Heard.BACKCHANNEL)
    return Overheard(Heard.SPEECH, said if len(own) < len(words) else text.strip())


def command_of(text: str, language: str = "") -> Command | None:
    """The command that ``text`` is, or None; "please" and the like change nothing."""
    known = turn_words(language)
    words = words_of(text)
    for table in [known] if known else LANGUAGES.values():
        if (found := _command(words, table)) is not None:
            return found
    return None


def _command(words: Sequence[str], known: TurnWords) -> Command | None:
    bare = [word for word in words if word not in known.polite]
    # "stop, stop, stop"
    once = [word for number, word in enumerate(bare) if number == 0 or word != bare[number - 1]]
    for said in (" ".join(words), " ".join(bare), " ".join(once)):
        for command, ways in known.commands.items():
            if said in ways:
                return command
    return None


def _backchannel(words: Sequence[str], known: TurnWords) -> bool:
    """Whether all of it is one or several of them: "oh, I see"."""
    if len(words) > BACKCHANNEL_WORDS:
        return False
    ends = {0}  # where one of them may end
    for end in range(1, len(words) + 1):
        if any(" ".join(words[start:end]) in known.backchannels for start in ends):
            ends.add(end)
    return len(words) in ends


def _laughs(words: Sequence[str]) -> bool:
    # "hi" is a greeting when it stands alone
    return all(_LAUGH.fullmatch(word) for word in words) or (
        len(words) > 1 and all(word in _LAUGHS for word in words)
    )


def _not_spoken(heard: list[str], spoken: list[str]) -> list[str]:
    """The words heard that are a person's: none when all of it is echo.

    The longest common subsequence, over words that are alike, says which words were spoken.
    """
    if not spoken:
        return heard
    matched = _matched(heard, spoken)
    rests = _runs(heard, matched)
    if sum(matched) < ECHO_SHARE * len(heard):
        # too little of it was spoken for an echo, unless a person spoke at the end of one
        first = matched.index(False) if False in matched else len(heard)
        return heard[first:] if first >= OWN_WORDS else heard
    longest = max(rests, key=len, default=[])
    if len(longest) >= OWN_WORDS and matched[-1] is False:
        return longest
    if len(rests) and matched[-1] is False and command_of(" ".join(rests[-1])) is not None:
        return rests[-1]  # "... in Hamburg the weather stop"
    return []


def _runs(heard: list[str], matched: list[bool]) -> list[list[str]]:
    """The stretches of words that were not spoken."""
    runs: list[list[str]] = []
    for number, (word, same) in enumerate(zip(heard, matched, strict=True)):
        if same:
            continue
        if number == 0 or matched[number - 1]:
            runs.append([])
        runs[-1].append(word)
    return runs


def _matched(heard: list[str], spoken: list[str]) -> list[bool]:
    """For each word heard, whether it stands in its order among those spoken."""
    same = [[_alike(a, b) for b in spoken] for a in heard]
    best = [[0] * (len(spoken) + 1) for _ in range(len(heard) + 1)]
    for i in range(len(heard) - 1, -1, -1):
        for j in range(len(spoken) - 1, -1, -1):
            best[i][j] = (
                1 + best[i + 1][j + 1] if same[i][j] else max(best[i + 1][j], best[i][j + 1])
            )
    out = [False] * len(heard)
    i = j = 0
    while i < len(heard) and j < len(spoken):
        if same[i][j]:
            out[i] = True
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return out


def _alike(a: str, b: str) -> bool:
    if a == b:
        return True
    if min(len(a), len(b)) < 3 or (a[0] != b[0] and a[-1] != b[-1]):
        return False  # short words are alike by chance
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE
