"""Words wrong, and how long hearing and speaking take.

The word error rate is the word edit distance over the number of words said, after Whisper's own
normaliser of texts (Radford et al. 2022, arXiv:2212.04356, appendix C).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from llmos.bench.voice.scope import VoiceBench
from llmos.bench.voice.users import Said, in_room, noisy
from llmos.config import VoiceConfig
from llmos.devices.audio import EAR_RATE, Samples, mono
from llmos.devices.listening import WINDOW_S
from llmos.devices.recogniser import Recogniser
from llmos.devices.speech import Speech
from llmos.errors import DeviceError, ModelMissing

__all__ = ["errors", "measure", "normaliser"]

_EACH = 10  # sentences of each user
#: Recordings of people that Debian ships for the tests of a recogniser.
_RECORDED = Path("/usr/share/pocketsphinx/test/data/librivox")
_CONDITIONS = {"wer_clean": None, "wer_20db": 20.0, "wer_10db": 10.0, "wer_5db": 5.0}


async def measure(bench: VoiceBench) -> None:
    """Everything of this group."""
    users, speech = await bench.users(), await bench.speech()
    recogniser = speech.recogniser()
    await recogniser.load()
    everybody = await users.everybody(bench.samples_of(_EACH))
    spoken = [said for said in everybody if said.language == "en"]  # the starter knows no other
    parameters = {"model": recogniser.name, "sentences": len(spoken)}
    costs: list[float] = []
    for key, db in _CONDITIONS.items():
        if bench.wants(key) or (key == "wer_clean" and bench.wants("stt_rtf")):
            change = (lambda s: s) if db is None else lambda s: noisy(s, db, users.random)  # noqa: B023
            rate, by_user = await _rate(recogniser, spoken, change, costs)
            bench.found(key, rate, **parameters, by_user=by_user)
    if bench.wants("wer_room"):
        rate, by_user = await _rate(recogniser, spoken, lambda s: in_room(s, users.random), costs)
        bench.found("wer_room", rate, by_user=by_user)
    if costs:
        bench.found("stt_rtf", median(costs), n=len(costs), threads="all cores, at most 4")
    if bench.wants("wer_base", "wer_base_german", "stt_rtf_base"):
        await _base(bench, everybody)
    if bench.wants("wer_recorded"):
        await _recorded(bench, recogniser)
    if bench.wants("tts_rtf"):
        await _speaking(bench, [said.text for said in spoken if said.language == "en"])


async def _base(bench: VoiceBench, spoken: Sequence[Said]) -> None:
    """The same with a larger model, and in another language."""
    speech = Speech(VoiceConfig(recogniser="whisper-base"))
    async with contextlib.aclosing(speech):
        try:
            recogniser = speech.recogniser()
            await recogniser.load()
        except ModelMissing as error:
            keys = ("wer_base", "wer_base_german", "stt_rtf_base")
            bench.left_out |= dict.fromkeys(keys, str(error))
            return
        costs: list[float] = []
        for key, language in (("wer_base", "en"), ("wer_base_german", "de")):
            mine = [said for said in spoken if said.language == language]
            if not mine:
                bench.left_out[key] = "espeak-ng, whose voices these users have, is missing."
            elif bench.wants(key):
                rate, by_user = await _rate(recogniser, mine, lambda s: s, costs)
                bench.found(key, rate, sentences=len(mine), by_user=by_user)
        if costs:
            bench.found("stt_rtf_base", median(costs), n=len(costs))


async def _rate(
    recogniser: Recogniser,
    spoken: Sequence[Said],
    change: Callable[[Samples], Samples],
    costs: list[float],
) -> tuple[float, dict[str, float]]:
    """Words wrong over all and by user; what each sentence cost is added to ``costs``."""
    wrong: dict[str, list[int]] = {}
    for said in spoken:
        sound = change(said.sound)
        began = time.perf_counter()
        found = await recogniser(sound, language=said.language, final=True)
        costs.append((time.perf_counter() - began) / (len(sound) / EAR_RATE))
        text = "".join(word.text for word in found.words)
        counted = wrong.setdefault(said.user, [0, 0])
        made, words = errors(said.text, text, said.language)
        counted[0] += made
        counted[1] += words
    rate = sum(one for one, _ in wrong.values()) / sum(words for _, words in wrong.values())
    return rate, {user: round(one / words, 4) for user, (one, words) in wrong.items()}


def errors(said: str, heard: str, language: str) -> tuple[int, int]:
    """Words wrong, and words said."""
    tidy = normaliser(language)
    a, b = tidy(said).split(), tidy(heard).split()
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            best = min(row[j] + 1, row[j - 1] + 1, corner + (word != other))
            corner, row[j] = row[j], best
    return row[-1], len(a)


def normaliser(language: str) -> Callable[[str], str]:
    """Whisper's, of a language.

    Raises:
        DeviceError: The package is not installed.
    """
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise DeviceError(
            "Whisper's normaliser is not installed.", remedy="pip install whisper-normalizer"
        ) from error
    if language not in _NORMALISERS:
        english = language == "en"
        _NORMALISERS[language] = EnglishTextNormalizer() if english else BasicTextNormalizer()
    return _NORMALISERS[language]


_NORMALISERS: dict[str, Callable[[str], str]] = {}


async def _recorded(bench: VoiceBench, recogniser: Recogniser) -> None:
    """Recordings with what was said in them."""
    if not (_RECORDED / "transcription").is_file():
        bench.left_out["wer_recorded"] = "Recordings are missing: Debian's pocketsphinx-testdata."
        return
    wrong = words = 0
    names = 0
    for line in (_RECORDED / "transcription").read_text().splitlines():
        text, _, name = line.rpartition(" (")
        path = _RECORDED / f"{name.rstrip(')')}.wav"
        if not path.is_file():
            continue
        with wave.open(str(path)) as file:
            sound = mono(np.frombuffer(file.readframes(file.getnframes()), "<i2"))
        found = await recogniser(sound[: round(WINDOW_S * EAR_RATE)], language="en", final=True)
        heard = "".join(word.text for word in found.words)
        made, count = errors(text.replace("<s>", "").replace("</s>", ""), heard, "en")
        wrong, words, names = wrong + made, words + count, names + 1
    bench.found("wer_recorded", wrong / words, recordings=names, words=words)


async def _speaking(bench: VoiceBench, texts: Sequence[str]) -> None:
    speaker = (await bench.speech()).speaker()
    costs: list[float] = []
    for text in texts[: bench.samples_of(30)]:
        seconds, began = 0.0, time.perf_counter()
        async for piece in speaker(text, words=len(text.split()), language="en"):
            seconds += len(piece.sound) / piece.rate
        costs.append((time.perf_counter() - began) / seconds)
        await asyncio.sleep(0)
    bench.found("tts_rtf", median(costs), n=len(costs), threads=1)
