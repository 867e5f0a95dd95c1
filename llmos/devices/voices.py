"""Which voices are on this machine, and which of them speaks a language.

A voice of Piper's is an ``.onnx`` file and a ``.onnx.json`` beside it. Those of the catalog come
first, then the person's own in the folder of models. Reads the small file only, with suspicion;
downloads nothing.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llmos import paths
from llmos.devices.resample import HIGHEST_RATE, LOWEST_RATE
from llmos.errors import DeviceError, ModelError
from llmos.models import catalog

__all__ = ["Choice", "Voice", "choose", "installed_voices", "languages"]

log = logging.getLogger(__name__)

#: Bytes of the file that describes a voice; the largest known has 20,000.
CONFIG_BYTES: Final = 1 << 20
#: Names of languages, for sentences; others are told by their code.
NAMES: Final[Mapping[str, str]] = {
    "ar": "Arabic",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "zh": "Chinese",
}
#: Names of voices say what they speak: ``de_DE-thorsten-medium``.
_NAMED: Final = re.compile(r"^([a-z]{2,3})[_-]([A-Z]{2})\b")
#: The better of two voices of one language, where none is preferred.
_QUALITIES: Final = ("x_low", "low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice on this machine.

    Args:
        name: What it is chosen by.
        language: As in ``en``.
        region: As in ``US``; empty where the voice does not say.
        path: Its model.
        config: What says how to use it.
        rate: In Hz.
        quality: As its makers call it, as in ``medium``; empty where they do not.
    """

    name: str
    language: str
    region: str
    path: Path
    config: Path
    rate: int
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The voice for a language.

    Args:
        notice: What to tell the person where it is no voice of that language; else empty.
    """

    voice: Voice
    notice: str = ""


def installed_voices() -> tuple[Voice, ...]:
    """Every voice on this machine that can be used; of one that cannot, the log says why."""
    found: dict[str, Voice] = {}
    for name, path in _models():
        config = path.with_name(f"{path.name}.json")
        try:
            voice = _read(name, path, config)
        except (OSError, ValueError) as error:
            log.warning("the voice %s cannot be used: %s", path, error)
            continue
        found.setdefault(voice.name, voice)
    return tuple(found.values())


def languages(voices: Sequence[Voice]) -> tuple[str, ...]:
    """The languages that have a voice, in the order of the voices."""
    return tuple(dict.fromkeys(voice.language for voice in voices))


def choose(voices: Sequence[Voice], language: str, preferred: Sequence[str] = ()) -> Choice:
    """The voice that speaks ``language``.

    A preferred one of that language, else the best of that language, else a preferred one of any,
    English first: a text read with an accent is better than one not read.

    Args:
        language: As in ``en`` or ``en_GB``; of several voices one of that region is taken.
        preferred: Names of voices, the most preferred first.

    Raises:
        DeviceError: There is no voice at all.
    """
    if not voices:
        raise DeviceError(
            "There is no voice on this machine.", remedy="Get one with: llmos models pull piper-joe"
        )
    wanted, _, region = language.replace("-", "_").partition("_")
    order = [name.lower() for name in preferred]

    def rank(voice: Voice) -> tuple[bool, int, bool, int, bool]:
        name = voice.name.lower()
        liked = order.index(name) if name in order else len(order)
        quality = _QUALITIES.index(voice.quality) if voice.quality in _QUALITIES else -1
        return (
            voice.language != wanted,
            liked,
            voice.region != region.upper(),
            -quality,
            voice.language != "en",
        )

    best = min(voices, key=rank)
    if best.language == wanted:
        return Choice(best)
    asked, there = (NAMES.get(code, code) for code in (wanted, best.language))
    return Choice(
        best,
        f"There is no {asked} voice on this machine, so the {there} voice {best.name} reads it. "
        f"Put one into {paths.models_dir()}, as an .onnx file with its .onnx.json.",
    )


def _models() -> Iterator[tuple[str, Path]]:
    """Names and model files of voices, whether or not they can be used."""
    known: set[str] = set()
    for entry in catalog.entries():
        known.add(entry.name)
        if entry.purpose != "text-to-speech":
            continue
        try:
            model = catalog.locate(entry)
        except ModelError as error:
            log.warning("the voice %s cannot be used: %s", entry.name, error)
            continue
        if model is not None:
            yield model.name, model.path
    folder = paths.models_dir()
    for path in sorted([*folder.glob("*.onnx"), *folder.glob("*/*.onnx")]):
        own = path.parent == folder or path.parent.name not in known
        if own and not path.name.startswith(".") and path.with_name(f"{path.name}.json").is_file():
            yield path.stem, path


def _read(name: str, path: Path, config: Path) -> Voice:
    """What a voice says of itself.

    Raises:
        OSError: It cannot be read.
        ValueError: It says no such thing.
    """
    with config.open("rb") as file:
        text = file.read(CONFIG_BYTES + 1)
    if len(text) > CONFIG_BYTES:
        raise ValueError(f"{config.name} is larger than {CONFIG_BYTES:,} bytes")
    told = json.loads(text)
    audio, named = _table(told, "audio"), _NAMED.match(path.stem)
    rate = audio.get("sample_rate")
    if type(rate) is not int or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(f"{config.name} has no sample rate that can be played")
    spoken = _table(told, "language")
    code = str(spoken.get("code") or _table(told, "espeak").get("voice") or "")
    family, _, region = code.replace("-", "_").partition("_")
    if named:
        family, region = named.groups()
    family = str(spoken.get("family") or family).lower()
    if not re.fullmatch(r"[a-z]{2,3}", family):
        raise ValueError(f"{config.name} does not say which language it speaks")
    quality = str(audio.get("quality") or "")
    return Voice(name, family, region.upper()[:8], path, config, rate, quality)


def _table(told: Any, key: str) -> Mapping[str, Any]:
    found = told.get(key) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}
