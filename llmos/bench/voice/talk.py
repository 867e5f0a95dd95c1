"""Talking with the whole system, in real time: a kernel, the voice terminal, a computed room."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import numpy as np

from llmos.bench.harness import interleaved, median_ratio, say
from llmos.bench.voice.hearing import normaliser
from llmos.bench.voice.scope import VoiceBench, spread
from llmos.bench.voice.users import Said
from llmos.client import Client
from llmos.devices.audio import EAR_RATE, WIRE_RATE, Samples
from llmos.devices.echo import open_canceller
from llmos.devices.listening import WINDOW_S
from llmos.devices.resample import Resampler
from llmos.devices.sound_loopback import Loopback, room_response
from llmos.events import ReplyDelta, TurnFinished
from llmos.voice.duplex import Line, State
from llmos.voice.link import Link
from llmos.voice.terminal import Terminal

__all__ = ["measure"]

_QUESTIONS = 20
_INTERRUPTED = 20
_ANSWER_S = 20.0
_NO = "No, tell me about the mountains."
_LONG = "Tell me a long story about a fox and a river."


class _Talk:
    """The terminal in its room, and what was really played in it."""

    def __init__(self, terminal: Terminal, room: Loopback, link: Link) -> None:
        self.terminal = terminal
        self.room = room
        self.link = link
        self.first_s = 0.0  # when the answer under way was first heard
        self.heard: list[Samples] = []  # of the answer under way, 24 kHz
        duplex = terminal.duplex
        read, unread, begin = duplex.read, duplex.player.unread, duplex.player.begin

        def reads(count: int) -> Samples:
            sound = read(count)
            self.first_s = self.first_s or time.monotonic()
            self.heard.append(sound)
            return sound

        def unreads(count: int) -> None:
            whole = np.concatenate(self.heard) if self.heard else np.zeros(0, np.float32)
            self.heard = [whole[: len(whole) - count]]
            unread(count)

        def begins(response: str) -> None:
            self.first_s, self.heard = 0.0, []
            begin(response)

        duplex.read, duplex.player.unread, duplex.player.begin = reads, unreads, begins  # type: ignore[method-assign]

    async def until(self, true: Callable[[], bool], seconds: float = _ANSWER_S) -> bool:
        """Wait; whether it came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not true():
                    await asyncio.sleep(0.005)
                return True
        return False

    async def rest(self) -> None:
        """Until nobody has the word."""
        self.terminal.duplex.stop()
        await self.until(lambda: self.terminal.duplex.state is State.LISTENING)
        await asyncio.sleep(1.0)

    def ask(self, said: Said) -> float:
        """Say it; when it will have been said."""
        self.first_s = 0.0
        self.room.say(said.sound)
        return time.monotonic() + said.end / EAR_RATE


async def measure(bench: VoiceBench) -> None:
    """Everything of this group."""
    async with _talk(bench) as talk:
        if bench.wants("voice_to_voice_ms"):
            await _voice_to_voice(bench, talk)
        if bench.wants("heard_exact"):
            await _heard_exact(bench, talk)
        if bench.wants("text_latency_under_voice"):
            await _text_latency(bench, talk)


async def _voice_to_voice(bench: VoiceBench, talk: _Talk) -> None:
    users = await bench.users()
    voices = [voice for voice in users.voices if not voice[2]]
    texts = [text for text in users.sentences["en"] if text.endswith("?")]
    took: list[float] = []
    silent = 0
    for number in range(bench.samples_of(_QUESTIONS) + 1):
        said = await users.say(texts[number % len(texts)], *voices[number % len(voices)])
        over_s = talk.ask(said)
        came = await talk.until(lambda: talk.first_s > 0)
        if number == 0:
            pass  # everything is loaded with the first
        elif not came:
            silent += 1
        else:
            took.append(1000 * (talk.first_s - over_s))
        await talk.rest()
    if took:
        bench.found("voice_to_voice_ms", spread(took), unanswered=silent, recogniser="the best")


async def _heard_exact(bench: VoiceBench, talk: _Talk) -> None:
    """Interrupt a long answer: what the journal has of it, against what was played."""
    users, speech = await bench.users(), await bench.speech()
    story, no = await users.say(_LONG), await users.say(_NO)
    tidy = normaliser("en")
    exact = count = unnoticed = 0
    for number in range(bench.samples_of(_INTERRUPTED)):
        talk.ask(story)
        if not await talk.until(lambda: talk.first_s > 0):
            unnoticed += 1
            await talk.rest()
            continue
        await asyncio.sleep(2.0 + 0.37 * (number % 7))
        talk.room.say(no.sound)
        rested = await talk.until(lambda: talk.terminal.duplex.state is State.RESTING, 3.0)
        parts = [part for part in talk.heard if len(part)]
        if not rested or not parts:
            unnoticed += 1
            await talk.rest()
            continue
        played = np.concatenate(parts)
        await talk.until(lambda: talk.terminal.duplex.state is State.HEARING, 3.0)
        await asyncio.sleep(0.5)  # the cut is kept
        kept = await _last_reply(talk)
        to_ear = Resampler(WIRE_RATE, EAR_RATE)
        sound = np.concatenate([to_ear.feed(played), to_ear.flush()])
        found = await speech.recogniser()(
            sound[: round(WINDOW_S * EAR_RATE)], language="en", final=True
        )
        heard = "".join(word.text for word in found.words)
        off = abs(len(tidy(kept).split()) - len(tidy(heard).split()))
        count += 1
        exact += off <= 1
        say(f"  {off} words off: {kept[-40:]!r} | {heard[-40:]!r}")
        await talk.rest()
    if count:
        bench.found("heard_exact", exact / count, n=count, without_an_interruption=unnoticed)


async def _text_latency(bench: VoiceBench, talk: _Talk) -> None:
    """A chat's first token, while a person is being heard and while nobody speaks, in turn."""
    users, kernel = await bench.users(), await bench.kernel()
    story = await users.say(_LONG)
    questions = iter(users.sentences["en"] * 4)

    async def alone(_round: int) -> float:
        await talk.rest()
        return await _first_token(kernel.client, next(questions))

    async def under_voice(_round: int) -> float:
        talk.ask(story)
        await talk.until(lambda: talk.terminal.duplex.state is State.HEARING)
        await asyncio.sleep(0.6)  # the recogniser is at work
        took = await _first_token(kernel.client, next(questions))
        await talk.rest()
        return took

    rounds = await interleaved(bench.samples_of(10), alone, under_voice)
    bench.samples["text_latency_s"] = [[round(one, 4) for one in each] for each in rounds]
    bench.found("text_latency_under_voice", median_ratio(rounds, above=1, below=0), n=len(rounds))


async def _first_token(client: Client, text: str) -> float:
    """Seconds to the first token of an answer in a new process."""
    pid = (await client.create()).pid
    try:
        async with client.subscribe(pid) as events:
            began = time.perf_counter()
            await client.send(pid, text)
            async for event in events:
                if isinstance(event, ReplyDelta | TurnFinished):
                    return time.perf_counter() - began
    finally:
        await client.kill(pid)
    raise AssertionError("the iterator of events never ends by itself")


async def _last_reply(talk: _Talk) -> str:
    messages = await talk.link.messages()
    replies = [stored.message for stored in messages if stored.message.role == "assistant"]
    return replies[-1].content if replies else ""


@contextlib.asynccontextmanager
async def _talk(bench: VoiceBench) -> AsyncIterator[_Talk]:
    kernel = await bench.kernel()
    speech = await bench.speech()
    link = Link(kernel.client)
    room = Loopback(delay_s=0.08, gain=0.2, response=room_response(0.2), noise=0.001, realtime=True)
    canceller, _ = open_canceller()

    def show(line: Line) -> None:
        pass

    terminal = Terminal(
        link, None, room.microphone, room.loudspeaker, canceller, speech.detector(), show,
        language="en",
    )  # fmt: skip
    running = asyncio.create_task(terminal.run())
    try:
        await asyncio.wait_for(terminal.ready.wait(), 30)
        await asyncio.sleep(5.0)  # the devices are loaded
        yield _Talk(terminal, room, link)
    finally:
        running.cancel()
        await asyncio.wait({running})
