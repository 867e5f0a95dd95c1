"""From the first clause of an answer to its first sound.

The answer comes as a model writes it, a word at a time, and its speech is made beside it, as the
server does for a spoken answer.
"""

from __future__ import annotations

import asyncio
import time

from llmos.bench.voice.scope import VoiceBench, spread
from llmos.devices.clauses import Clauser
from llmos.devices.speaking import Utterance

__all__ = ["measure"]

_ANSWERS = 30
_TOKEN_S = 0.01  # between two words, as the starter model writes


async def measure(bench: VoiceBench) -> None:
    """Everything of this group."""
    users, speech = await bench.users(), await bench.speech()
    speaker = speech.speaker()
    await speaker.load("en")
    texts = users.sentences["en"]
    late: list[float] = []
    for number in range(bench.samples_of(_ANSWERS)):
        answer = f"{texts[number % len(texts)]} {texts[(number + 7) % len(texts)]}"
        utterance, clauser = Utterance(1, speaker, speaker.languages, "en"), Clauser()
        clause_s = 0.0
        first = asyncio.create_task(_first(utterance))
        for word in answer.split():
            if not clause_s and any(True for _ in clauser.feed(f"{word} ")):
                clause_s = time.perf_counter()
            utterance.feed(f"{word} ")
            await asyncio.sleep(_TOKEN_S)
        utterance.end()
        clause_s = clause_s or time.perf_counter()
        late.append(1000 * (await first - clause_s))
        await utterance.stop()
    bench.found("first_audio_after_first_clause_ms", spread(late))


async def _first(utterance: Utterance) -> float:
    """When its first sound is there."""
    async for _ in utterance.sounds():
        break
    return time.perf_counter()
