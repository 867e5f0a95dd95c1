"""Piper in a process of its own: reads requests from standard input, answers on standard output.

Stands alone: imports nothing of llmos, is started by its path, and dies with whoever started it
(the end of standard input). ``worker.py`` has the form of its messages. Piper is under the GPL and
is imported here and nowhere else. Knows voices by their files, which were chosen before.

Piper speaks a sentence at a time. When each word ends in it is told from how long the voice makes
each phoneme, which its model computes but does not put out: the output is added when the model is
read. Where it cannot be, sound is shared out among phonemes alike, and the answer says so.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

LENGTHS = struct.Struct("!II")
VOICES = 2  # held at once: about 130 MB each
PIECE_S = 0.5  # of sound in one answer, so that little is left over where it is broken off
SNAP = 2  # phonemes by which the end of a word may lie beside a gap that is taken for it
SILENT = frozenset(" .,;:!?¡¿…—–'\"«»“”()-")  # phonemes that are no sound of a word
LARGEST = 512 * 1024 * 1024  # bytes of a voice
LONGEST = 250  # phonemes that are spoken at once, some 20 s: memory grows with them


class Refused(Exception):
    """It cannot be done; a clause that says why, and what to do about it."""


class Voice:
    """One voice.

    Args:
        path: Its ``.onnx`` file; the ``.onnx.json`` beside it says how to use it.
        threads: That compute.

    Raises:
        Refused: It does not load.
    """

    def __init__(self, path: str, config: str, threads: int) -> None:
        try:
            import onnxruntime
            import piper
        except ImportError as error:
            raise Refused(
                f"the package piper-tts is not installed ({error})",
                "Install it with: pip install 'llmos[piper]'",
            ) from error
        self._runs = onnxruntime.RunOptions
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # who waits by spinning takes the core from the language model
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # it would keep what the longest sentence took
        try:
            with open(config, encoding="utf-8") as file:
                self.config = piper.PiperConfig.from_dict(json.load(file))
            with open(path, "rb") as stream:
                model = stream.read(LARGEST)
            model += durations_output(model)
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise Refused(
                f"its file {os.path.basename(path)} does not load ({type(error).__name__}: "
                f"{str(error)[:300]})",
                "Pull it again, or choose another voice.",
            ) from error
        self._piper = piper.PiperVoice(session=self._session, config=self.config)
        self._takes = {one.name for one in self._session.get_inputs()}

    def sentences(self, text: str) -> list[list[str]]:
        """The phonemes of ``text``, sentence by sentence, long ones in parts."""
        return [part for one in self._piper.phonemize(text) for part in parts(one)]

    def speak(self, phonemes: Sequence[str], speed: float, job: Job) -> tuple[Any, list[int], bool]:
        """A sentence.

        Returns:
            Its samples, int16; for each phoneme the sample at which it ends; and whether that is
            so, or only shared out.
        """
        import numpy as np

        ids = self._piper.phonemes_to_ids(list(phonemes))
        config = self.config
        scales = (config.noise_scale, config.length_scale / speed, config.noise_w_scale)
        feed = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array(scales, dtype=np.float32),
        }
        if "sid" in self._takes:
            feed["sid"] = np.array([config.default_speaker_id], dtype=np.int64)
        options = self._runs()
        job.begin(options)
        found = self._session.run(None, feed, options)
        sound = np.nan_to_num(found[0].reshape(-1), posinf=0, neginf=0)
        samples = np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2")
        widths = [len(config.phoneme_id_map.get(one, ())) for one in phonemes]
        spans = np.rint(found[1].reshape(-1) * config.hop_length) if len(found) > 1 else ()
        ends = phoneme_ends(list(map(int, spans)), widths, len(samples))
        if ends is None:
            step = len(samples) / len(phonemes)
            return samples, [round((n + 1) * step) for n in range(len(phonemes))], False
        return samples, ends, True


def parts(phonemes: Sequence[str]) -> Iterator[list[str]]:
    """A sentence in parts of at most ``LONGEST`` phonemes, cut between words where it can be."""
    left = list(phonemes)
    while len(left) > LONGEST:
        gaps = (n for n in range(LONGEST - 1, LONGEST // 2, -1) if left[n] == " ")
        cut = next(gaps, LONGEST - 1) + 1
        yield left[:cut]
        left = left[cut:]
    if left:
        yield left


def phoneme_ends(spans: Sequence[int], widths: Sequence[int], total: int) -> list[int] | None:
    """At which sample each phoneme ends; None where the model does not say so.

    Args:
        spans: Samples of each id that the model was given: what begins a sentence and a pad, then
            the ids of each phoneme and a pad, then what ends it.
        widths: Ids of each phoneme; none for one that the voice does not have.
        total: Samples of the sentence.
    """
    if len(spans) != 3 + sum(width + 1 for width in widths if width) or sum(spans) != total:
        return None
    ends, place, sample = [], 2, sum(spans[:2])
    for width in widths:
        if width:
            sample += sum(spans[place : place + width + 1])
            place += width + 1
        ends.append(sample)
    return ends


# --- words ------------------------------------------------------------------------------------


def word_ends(sentences: Sequence[Sequence[str]], weights: Sequence[int] | int) -> list[int]:
    """After how many phonemes, of all sentences together, each word ends.

    Where a voice has as many groups of phonemes as there are words, these are the words. Else it
    draws some together ("of the") or takes one apart; words get phonemes by their weight then, and
    end at a gap where one is near.

    Args:
        weights: Phonemes of each word by itself, or the number of words where that is not known.
    """
    gaps = list(_groups(sentences))  # after how many audible phonemes each group ends
    places = [at for at, one in enumerate(_all(sentences), 1) if _audible(one)]
    count = weights if isinstance(weights, int) else len(weights)
    if not places:
        return [0] * count
    if len(gaps) == count:
        return [places[gap - 1] for gap in gaps]
    shares = [1] * count if isinstance(weights, int) else [max(1, weight) for weight in weights]
    ends: list[int] = []
    passed = 0
    for number, share in enumerate(shares, 1):
        passed += share
        end = round(len(places) * passed / sum(shares))
        near = min(gaps, key=lambda gap: abs(gap - end))
        if abs(near - end) <= SNAP or number == count:
            end = near if number < count else len(places)
        ends.append(max(end, ends[-1] if ends else 1, 1))
    return [places[end - 1] for end in ends]


def _all(sentences: Sequence[Sequence[str]]) -> Iterator[str]:
    for sentence in sentences:
        yield from sentence


def _audible(phoneme: str) -> bool:
    return phoneme not in SILENT


def _groups(sentences: Sequence[Sequence[str]]) -> Iterator[int]:
    heard = ended = 0
    for sentence in sentences:
        for phoneme in [*sentence, " "]:
            heard += _audible(phoneme)
            if phoneme == " " and heard > ended:
                ended = heard
                yield heard


# --- the model file ---------------------------------------------------------------------------


def durations_output(model: bytes) -> bytes:
    """What to append to a model for it to put out how long it makes each id; empty where not.

    A voice of this kind rounds the durations up, in its only ``Ceil``. A message of protocol
    buffers that is there twice is read as one, so a second graph with one more output is enough.
    """
    view = memoryview(model)
    graphs = [body for number, body in _fields(view) if number == 7]
    found: set[bytes] = set()
    for graph in graphs:
        for number, body in _fields(graph):
            if number == 1:  # a node: its outputs, and its kind
                node = list(_fields(body))
                if any(n == 4 and bytes(kind) == b"Ceil" for n, kind in node):
                    found.update(bytes(name) for n, name in node if n == 2)
            elif number == 12 and any(n == 1 and bytes(v) in found for n, v in _fields(body)):
                return b""  # it does so already
    if len(found) != 1:
        return b""
    return _field(7, _field(12, _field(1, found.pop())))


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and body of each field that has a length; others are passed over."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            _, place = _varint(data, place)
        elif kind == 2:
            size, place = _varint(data, place)
            if size > len(data) - place:
                raise ValueError("it is cut short")
            yield key >> 3, data[place : place + size]
            place += size
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError("it is no model")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if place >= len(data):
            raise ValueError("it is cut short")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("it is no model")


def _field(number: int, body: bytes) -> bytes:
    size, digits = len(body), bytearray()
    while True:
        digits.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + bytes(digits) + body


# --- requests ---------------------------------------------------------------------------------


class Job:
    """A request under way, which another thread may break off."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.cancelled = False
        self._lock = threading.Lock()
        self._run: Any = None

    def begin(self, run: Any) -> None:
        """The model is about to compute with these options."""
        with self._lock:
            self._run = run
            run.terminate = self.cancelled

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            if self._run is not None:
                self._run.terminate = True


class Server:
    """The requests, and the voices they are spoken by."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._voices: dict[tuple[str, int], Voice] = {}  # the latest one used last
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._open: dict[int, Job] = {}

    def run(self) -> None:
        """Serve until the source ends."""
        threading.Thread(target=self._read, daemon=True).start()
        while (job := self._jobs.get()) is not None:
            number = job.request["id"]
            try:
                if not job.cancelled:
                    self._do(job)
                self._say({"id": number, "last": True})
            except Refused as error:
                self._say({"id": number, "error": error.args[0], "remedy": error.args[1]})
            except Exception as error:
                if job.cancelled:
                    self._say({"id": number, "last": True})
                    continue
                said = f"it fails ({type(error).__name__}: {str(error)[:300]})"
                self._say({"id": number, "error": said})
            finally:
                self._open.pop(number, None)

    def _read(self) -> None:
        try:
            while len(lengths := self._source.read(LENGTHS.size)) == LENGTHS.size:
                size, more = LENGTHS.unpack(lengths)
                told = json.loads(self._source.read(size + more)[:size])
                if "cancel" in told:
                    if job := self._open.get(told["cancel"]):
                        job.cancel()
                    continue
                self._open[told["id"]] = job = Job(told)
                self._jobs.put(job)
        finally:
            os._exit(0)  # whoever asked is gone: nothing may hold up the end

    def _say(self, told: dict[str, Any], sound: bytes = b"") -> None:
        text = json.dumps(told).encode()
        self._sink.write(LENGTHS.pack(len(text), len(sound)) + text + sound)
        self._sink.flush()

    def _do(self, job: Job) -> None:
        request = job.request
        voice = self._voice(request["path"], request["config"], request["threads"])
        text, count = request.get("text", ""), request.get("words", 0)
        sentences = voice.sentences(text)
        ends = word_ends(sentences, self._weights(voice, sentences, text, count))
        aligned = len(list(_groups(sentences))) == count
        passed = 0
        for sentence in sentences:
            samples, places, exact = voice.speak(sentence, request["speed"], job)
            mine = [end - passed for end in ends if passed < end <= passed + len(sentence)]
            passed += len(sentence)
            self._send(job, voice, samples, [places[end - 1] for end in mine], exact and aligned)

    def _weights(
        self, voice: Voice, sentences: list[list[str]], text: str, count: int
    ) -> list[int] | int:
        """Phonemes of each word by itself, where that is needed and words can be told."""
        words = text.split()
        if len(words) != count or len(list(_groups(sentences))) == count:
            return count
        return [sum(map(_audible, _all(voice.sentences(word)))) for word in words]

    def _send(self, job: Job, voice: Voice, samples: Any, ends: list[int], exact: bool) -> None:
        """A sentence, in pieces."""
        rate = voice.config.sample_rate
        size = round(PIECE_S * rate)
        for start in range(0, len(samples), size):
            if job.cancelled:
                return
            piece = samples[start : start + size]
            stop = start + len(piece)
            if stop == len(samples):
                stop = max([stop, *ends])
            told = [end - start for end in ends if start < end <= stop]
            self._say(
                {"id": job.request["id"], "rate": rate, "ends": told, "exact": exact},
                piece.tobytes(),
            )

    def _voice(self, path: str, config: str, threads: int) -> Voice:
        key = (path, threads)
        voice = self._voices.pop(key, None)
        if voice is None:
            while len(self._voices) >= VOICES:
                del self._voices[next(iter(self._voices))]
            voice = Voice(path, config, threads)
        self._voices[key] = voice
        return voice


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the texts are nobody's business
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print among the answers
    Server(sys.stdin.buffer, sink).run()


if __name__ == "__main__":
    main()
