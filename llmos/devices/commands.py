"""``llmos transcribe`` and ``llmos speak``: files written down, and texts read out.

They use the devices themselves and need no kernel.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from llmos import config
from llmos.devices import subtitles
from llmos.devices.audio import WIRE_RATE, Samples
from llmos.devices.reading import Reader
from llmos.devices.sound_codec import MEDIA, SoundFile, encoded, wav_head
from llmos.devices.speech import Speech
from llmos.devices.transcribing import Segment, transcribe
from llmos.errors import DeviceError, LlmosError
from llmos.visible import visible

__all__ = ["speak", "transcribe_"]

_REDRAWN_S = 0.2  # between two looks at how far it is
_PIPED_CHARS = 10_000_000


@click.command("transcribe")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format", "-f", "form", type=click.Choice(("txt", "srt", "vtt", "json")), default=None,
    help="What is written; by the ending of --out, or txt.",
)  # fmt: skip
@click.option("--out", "-o", type=click.Path(path_type=Path), help="The file to write.")
@click.option("--language", "-l", default="", help="That is spoken, as in en; else found out.")
@click.option("--model", default="", help="The recogniser, as models list has it.")
def transcribe_(file: Path, form: str | None, out: Path | None, language: str, model: str) -> None:
    """Write down what is said in a sound or video FILE.

    Subtitles with --format srt or vtt. What is written so far stands on the disk at any time.
    """
    form = form or {".srt": "srt", ".vtt": "vtt", ".json": "json"}.get(
        out.suffix.lower() if out else "", "txt"
    )
    settings = config.load().voice
    settings = replace(
        settings,
        recogniser=model or settings.recogniser,
        language=language or settings.language,
    )
    asyncio.run(_transcribe(file, form, out, settings.language, Speech(settings)))


async def _transcribe(
    file: Path, form: str, out: Path | None, language: str, speech: Speech
) -> None:
    sound = SoundFile(file)
    progress = _Progress(sound)
    async with aclosing(speech), aclosing(sound.chunks()) as chunks:
        recogniser = speech.recogniser()
        segments = transcribe(chunks, speech.detector(), recogniser, language=language)
        first = await anext(segments, None)  # what cannot be read leaves no empty file behind
        with _opened(out) as sink:
            write = _Writer(sink, form)
            while first is not None:
                write.segment(first)
                progress.show()
                first = await anext(segments, None)
            write.end(sound.heard_s)
    progress.end()
    if not write.words:
        click.echo(f"Nobody speaks in {visible(file.name)}.", err=True)


@contextmanager
def _opened(out: Path | None) -> Iterator[Any]:
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8") as sink:
            yield sink
    except OSError as error:
        raise LlmosError(f"{out} cannot be written: {error.strerror}.") from error


class _Writer:
    """Segments as they come, in one of the formats."""

    def __init__(self, sink: Any, form: str) -> None:
        self._sink = sink
        self._form = form
        self._segments: list[Segment] = []
        self.words = 0

    def segment(self, segment: Segment) -> None:
        self.words += len(segment.words)
        if self._form == "txt":
            text = visible(segment.text) if self._sink.isatty() else segment.text
            self._sink.write(f"{text}\n")
            self._sink.flush()
        else:
            self._segments.append(segment)

    def end(self, seconds: float) -> None:
        words = (word for segment in self._segments for word in segment.words)
        if self._form == "srt":
            self._sink.writelines(subtitles.srt(subtitles.cues(words)))
        elif self._form == "vtt":
            self._sink.writelines(subtitles.vtt(subtitles.cues(words)))
        elif self._form == "json":
            json.dump(_told(self._segments, seconds), self._sink, ensure_ascii=False, indent=1)
            self._sink.write("\n")
        self._sink.flush()


def _told(segments: Iterable[Segment], seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 3),
        "segments": [
            {
                "start": one.start_s,
                "end": one.end_s,
                "language": one.language,
                "text": one.text,
                "words": [
                    {"word": word.text.strip(), "start": word.start_s, "end": word.end_s}
                    for word in one.words
                ],
            }
            for one in segments
        ],
    }


class _Progress:
    """How far a file is written down; on a terminal only."""

    def __init__(self, sound: SoundFile) -> None:
        self._sound = sound
        self._live = sys.stderr.isatty()
        self._began = self._drawn = time.monotonic()

    def show(self) -> None:
        now = time.monotonic()
        if not self._live or now - self._drawn < _REDRAWN_S:
            return
        self._drawn = now
        done, whole = self._sound.heard_s, self._sound.seconds
        line = _clock(done)
        if whole > done > 0:
            left = (now - self._began) * (whole - done) / done
            line = f"{line} of {_clock(whole)}, {done / whole:.0%}, {_clock(left)} to go"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
    )


# --- speak ------------------------------------------------------------------------------------


@click.command()
@click.argument("text", nargs=-1)
@click.option("--out", "-o", type=click.Path(path_type=Path), help="A file instead of a speaker.")
@click.option("--voice", default="", help="Its name, as --voices has it.")
@click.option(
    "--speed", type=click.FloatRange(0.5, 2.0), default=None, help="1 is the voice's own."
)
@click.option("--voices", "listing", is_flag=True, help="List the voices, and say nothing.")
def speak(
    text: Sequence[str], out: Path | None, voice: str, speed: float | None, listing: bool
) -> None:
    """Read TEXT out, or standard input: as a person would, without markup.

    With --out it is written to a file: wav, mp3, flac, opus or aac, by its ending.
    """
    settings = config.load().voice
    speech = Speech(settings, notify=lambda told: click.echo(f"llmos: {told}", err=True))
    if listing:
        _list(speech)
        return
    said = " ".join(text) or sys.stdin.read(_PIPED_CHARS)
    if not said.strip():
        raise click.UsageError("There is no text to read out.")
    asyncio.run(_speak(speech, said, out, voice, speed))


def _list(speech: Speech) -> None:
    for one in speech.voices():
        about = ", ".join(filter(None, (one.language, one.region, one.quality)))
        click.echo(f"{visible(one.name)}  {visible(about)}")
    if not speech.voices():
        speech.speaker()  # raises what to do about it


async def _speak(
    speech: Speech, text: str, out: Path | None, voice: str, speed: float | None
) -> None:
    form = out.suffix.lower().removeprefix(".") if out else ""
    if out and form not in MEDIA:
        endings = ", ".join(f".{name}" for name in MEDIA)
        raise click.UsageError(f"A file that is spoken to ends in one of {endings}.")
    async with aclosing(speech):
        speaker = speech.speaker()
        known = [one.name for one in speech.voices()]
        if voice and voice not in known:
            raise DeviceError(
                f"There is no voice {voice} on this machine.",
                remedy=f"There is {' and '.join(known)}.",
            )
        reader = Reader(speaker.speaking(voice, speed), speaker.languages)
        reader.feed(text)
        reader.end()
        if out is None:
            await reader.play(speech.settings.loudspeaker)
        else:
            await _write(reader.sounds(), out, form)


async def _write(sound: AsyncIterator[Samples], out: Path, form: str) -> None:
    count = 0

    async def counted() -> AsyncIterator[Samples]:
        nonlocal count
        async for chunk in sound:
            count += len(chunk)
            yield chunk

    written = encoded(counted(), form)
    first = await anext(written, b"")
    try:
        with out.open("wb") as file:
            file.write(first)
            async for data in written:
                file.write(data)
            if form == "wav":  # its length is known now
                file.seek(0)
                file.write(wav_head(WIRE_RATE, count))
        if not count:
            raise LlmosError("There is nothing in this text that can be said.")
    except LlmosError:
        with suppress(OSError):  # what is cut short is no file
            out.unlink()
        raise
    except OSError as error:
        raise LlmosError(f"{out} cannot be written: {error.strerror}.") from error
    click.echo(f"{out}: {_clock(count / WIRE_RATE)}", err=True)
