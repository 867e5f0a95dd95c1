"""Whisper in a process of its own: reads requests from standard input, answers on standard output.

Stands alone: imports nothing of llmos, is started by its path, and dies with whoever started it
(the end of standard input). ``worker.py`` has the form of its messages. On processors and CUDA
through faster-whisper (CTranslate2), on Metal through whisper.cpp (pywhispercpp).

Whisper makes words of silence and noise, too. What it is not sure of is left out, by the
thresholds of its authors (Radford et al. 2022, arXiv:2212.04356, section 4.5).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import struct
import sys
from typing import Any, BinaryIO

LENGTHS = struct.Struct("!II")
RATE = 16_000
NICE = 5  # behind the language model; before what runs in the background
#: Above the first a stretch is no speech, where the mean log probability of its words is below the
#: second, too.
NO_SPEECH, UNSURE = 0.6, -1.0
#: Below this mean log probability the words are made up, whatever it says of speech.
INVENTED = -1.5
#: Words that compress better than this repeat themselves. Where they also come faster than anybody
#: speaks, in words a second, the decoder runs in a circle; else the person repeats themselves.
REPETITIVE = 2.4
FASTEST = 5.0
#: Temperatures to try where it does; what is only a guess in between is not worth a second try.
TEMPERATURES = (0.0, 0.2, 0.4)
BEAMS = 5
#: Of 10 ms, that the encoder sees: all there can be, the fewest, and those behind the sound.
FRAMES, LEAST_FRAMES, SILENT_FRAMES = 3_000, 1_000, 300


class Refused(Exception):
    """It cannot be done; a clause that says why, and what to do about it."""


def window(samples: int) -> int:
    """Frames of 10 ms that the encoder is shown of a stretch of sound.

    It was trained on 30 s and costs as much, whatever is in them; silence behind the sound can be
    left out, as long as enough of it stays for the decoder to see that the speech is over.
    """
    return min(FRAMES, max(LEAST_FRAMES, samples // (RATE // 100) + SILENT_FRAMES))


class FasterWhisper:
    """A model folder of CTranslate2's.

    Args:
        path: The folder.
        device: ``cpu`` or ``cuda``.
        threads: That compute.
    """

    def __init__(self, path: str, device: str, threads: int) -> None:
        import faster_whisper

        class Whisper(faster_whisper.WhisperModel):  # type: ignore[misc]
            """Whisper, whose encoder need not look at half a minute where there is less."""

            frames = FRAMES

            def encode(self, features: Any) -> Any:
                return super().encode(features[..., : self.frames])

        def load(device: str) -> Any:
            kind = "int8" if device == "cpu" else "float16"
            return Whisper(
                path, device=device, compute_type=kind, cpu_threads=threads, local_files_only=True
            )

        self.device = device
        try:
            self._model = load(device)
        except Exception as error:  # a card without NVIDIA's libraries, or with too little memory
            if device == "cpu":
                raise
            print(f"the card cannot be used, so processors compute: {error}", file=sys.stderr)
            self._model, self.device = load("cpu"), "cpu"
        self._english = not self._model.model.is_multilingual

    def hear(self, sound: Any, language: str, final: bool) -> dict[str, Any]:
        """The words in ``sound``, with their times in it."""
        self._model.frames = window(len(sound))
        known = language if language in self._model.supported_languages else ""
        segments, info = self._model.transcribe(
            sound,
            language="en" if self._english else known or None,
            beam_size=BEAMS if final else 1,
            temperature=TEMPERATURES if final else 0.0,
            word_timestamps=True,
            condition_on_previous_text=False,
            no_speech_threshold=NO_SPEECH,
            log_prob_threshold=UNSURE,
            compression_ratio_threshold=REPETITIVE,
        )
        words: list[list[Any]] = []
        made = list(segments)
        pace = sum(len(segment.words or ()) for segment in made) * RATE / max(len(sound), 1)
        for segment in made:
            doubtful = segment.no_speech_prob > NO_SPEECH and segment.avg_logprob < UNSURE
            circular = segment.compression_ratio > REPETITIVE and pace > FASTEST
            if not doubtful and not circular and segment.avg_logprob >= INVENTED:
                words += [_word(w.word, w.start, w.end, w.probability) for w in segment.words or ()]
        return {
            "words": words,
            "language": info.language,
            "sure": _round(info.language_probability),
        }


class WhisperCpp:
    """A GGML file of whisper.cpp's.

    Args:
        path: The file.
        device: ``metal`` or ``cpu``, for telling: the package takes what it was built for.
        threads: Beside the graphics processor.
    """

    def __init__(self, path: str, device: str, threads: int) -> None:
        model = importlib.import_module("pywhispercpp.model")  # on Macs alone

        self.device = device
        self._model = model.Model(
            path,
            n_threads=threads,
            print_progress=False,
            print_realtime=False,
            token_timestamps=True,
            max_len=1,
            split_on_word=True,
            no_context=True,
            no_speech_thold=NO_SPEECH,
            logprob_thold=UNSURE,
            entropy_thold=REPETITIVE,
        )

    def hear(self, sound: Any, language: str, final: bool) -> dict[str, Any]:
        """As ``FasterWhisper.hear``; its segments are single words."""
        spoken, sure = language, 1.0
        if not spoken:
            (spoken, sure), _ = self._model.auto_detect_language(sound)
        found = self._model.transcribe(sound, language=spoken, greedy={"best_of": 1})
        words = [_word(one.text, one.t0 / 100, one.t1 / 100, 1.0) for one in found]
        words = [word for word in words if word[0].strip()]
        return {"words": words, "language": spoken, "sure": _round(sure)}


def _word(text: str, start: float, end: float, probability: float) -> list[Any]:
    return [text, _round(start), _round(end), _round(probability)]


def _round(value: float) -> float:
    return round(float(value), 3)


# --- requests ---------------------------------------------------------------------------------


class Server:
    """The requests, and the model they are answered by."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._key: tuple[Any, ...] = ()
        self._model: Any = None

    def run(self) -> None:
        """Serve until the source ends."""
        while len(lengths := self._source.read(LENGTHS.size)) == LENGTHS.size:
            size, more = LENGTHS.unpack(lengths)
            request = json.loads(self._source.read(size))
            sound = self._source.read(more)
            if len(sound) < more:
                break
            if "cancel" not in request:  # what is under way is short, and ends by itself
                self._say({"id": request["id"], **self._answer(request, sound)})
        os._exit(0)  # whoever asked is gone: nothing may hold up the end

    def _answer(self, request: dict[str, Any], sound: bytes) -> dict[str, Any]:
        try:
            return {**self._do(request, sound), "last": True}
        except Refused as error:
            return {"error": error.args[0], "remedy": error.args[1]}
        except Exception as error:
            return {"error": f"it fails ({type(error).__name__}: {str(error)[:300]})"}

    def _do(self, request: dict[str, Any], sound: bytes) -> dict[str, Any]:
        import numpy as np

        key = tuple(request[name] for name in ("engine", "path", "device", "threads"))
        if key != self._key:
            self._model = None  # never two of them in memory
            self._model, self._key = _model(*key), key
        samples = np.frombuffer(sound, dtype="<f4")
        found: dict[str, Any] = {}
        if len(samples):  # else it was to be loaded, no more
            found = self._model.hear(samples, request["language"], request["final"])
        return {**found, "device": self._model.device}

    def _say(self, told: dict[str, Any]) -> None:
        text = json.dumps(told).encode()
        self._sink.write(LENGTHS.pack(len(text), 0) + text)
        self._sink.flush()


def _model(engine: str, path: str, device: str, threads: int) -> FasterWhisper | WhisperCpp:
    """
    Raises:
        Refused: It does not load.
    """
    package = "pywhispercpp" if engine == "whisper.cpp" else "faster-whisper"
    try:
        if engine == "whisper.cpp":
            return WhisperCpp(path, device, threads)
        return FasterWhisper(path, device, threads)
    except ImportError as error:
        raise Refused(
            f"the package {package} is not installed ({error})",
            "Install it with: pip install 'llmos[voice]'",
        ) from error
    except Exception as error:
        raise Refused(
            f"the model {os.path.basename(path)} does not load ({type(error).__name__}: "
            f"{str(error)[:300]})",
            "Pull it again, or choose another: [voice] recogniser.",
        ) from error


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what is said is nobody's business
    os.nice(NICE)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print among the answers
    Server(sys.stdin.buffer, sink).run()


if __name__ == "__main__":
    main()
