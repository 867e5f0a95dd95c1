"""The process in which a sound or video file is decoded, or a sound encoded. Started by
``sound_codec.py``, in a jail.

It knows PyAV (FFmpeg) and nothing of llmos: the file comes as an open descriptor, without its name.
In: a line of JSON, ``path`` (where the package lies) and ``do``. Out: chunks, each behind its
length (network order, four bytes), the first of them JSON, the last of them empty; where it fails,
a length of ``FAILED``, a sentence, and on the next line what only a log wants to know.

decode: ``fd``; the first chunk tells ``seconds`` (0 where the file does not say), the others are
mono float32 at 16 kHz.
encode: ``format`` and ``rate``; mono int16 comes in on standard input, in chunks as they go out.
"""

from __future__ import annotations

import fractions
import io
import json
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__: list[str] = []

LENGTH = struct.Struct("!I")
FAILED = 0xFFFFFFFF
RATE = 16_000
CHUNK = 1 << 15  # samples in one chunk
RATES = range(4_000, 768_001)  # of sound, in Hz; a header that says anything else lies
CHANNELS = range(1, 33)
#: Container and codec of each format, the sample type it takes, and its rates where not all go.
FORMATS = {
    "flac": ("flac", "flac", "s16", ()),
    "mp3": ("mp3", "libmp3lame", "fltp", (24_000,)),
    "opus": ("ogg", "libopus", "flt", (48_000,)),
    "aac": ("adts", "aac", "fltp", (24_000,)),
}


class Refused(Exception):
    """The sentence why it is not done."""


def decode(fd: int) -> Iterator[bytes]:
    """The chunks of the first sound there is in a file.

    Raises:
        Refused: There is none, or it cannot be read.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        container: Any = av.open(os.fdopen(fd, "rb"), metadata_errors="ignore")
    except Exception as error:
        raise Refused("It is no sound or video file of a kind that llmos knows.") from error
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise Refused("There is no sound in it.")
    if stream.codec_context is None:
        raise Refused("Its sound is of a kind that llmos does not know.")
    rate, channels = stream.rate or 0, stream.channels or 0
    if rate not in RATES or channels not in CHANNELS:
        raise Refused(f"It says that it has {channels} channels at {rate:,} Hz, which cannot be.")
    yield json.dumps({"seconds": seconds(container, stream)}).encode()
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    held, broken, heard = bytearray(), 0, False
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            broken += 1  # a damaged stretch; what comes after it may be whole
            continue
        for frame in frames:
            frame.pts = None  # what a file says of its times is not believed
            for piece in resampler.resample(frame):
                held += bytes(piece.planes[0])[: 4 * piece.samples]
                heard = True
        while len(held) >= 4 * CHUNK:
            yield bytes(held[: 4 * CHUNK])
            del held[: 4 * CHUNK]
    for piece in resampler.resample(None):
        held += bytes(piece.planes[0])[: 4 * piece.samples]
    if not heard and broken:
        raise Refused("It is damaged: nothing in it can be decoded.")
    for start in range(0, len(held), 4 * CHUNK):
        yield bytes(held[start : start + 4 * CHUNK])


def seconds(container: Any, stream: Any) -> float:
    """How long the file says it is; 0 where it does not."""
    if stream.duration and stream.time_base:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, (container.duration or 0) / 1_000_000)


def encode(name: str, rate: int, source: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, as they are made."""
    import av
    import numpy as np

    av.logging.set_level(av.logging.PANIC)
    muxer, codec, kind, rates = FORMATS[name]
    wanted = rate if not rates or rate in rates else rates[0]
    out = Sink()
    yield json.dumps({"rate": wanted}).encode()
    with av.open(out, "w", format=muxer) as container:
        stream: Any = container.add_stream(codec, rate=wanted, layout="mono")
        stream.time_base = fractions.Fraction(1, wanted)
        resampler = av.AudioResampler(
            format=kind, layout="mono", rate=wanted, frame_size=stream.frame_size or 0
        )
        at = 0

        def pack(frame: Any) -> None:
            nonlocal at
            for piece in resampler.resample(frame):
                piece.pts = at
                at += piece.samples
                container.mux(stream.encode(piece))

        while data := received(source):
            samples = np.frombuffer(data, dtype="<i2").reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.rate = rate
            frame.pts = None
            pack(frame)
            yield from out.take()
        pack(None)
        container.mux(stream.encode(None))
    yield from out.take()


class Sink(io.RawIOBase):
    """Where a container is written: no seeking back, so that it can be sent as it is made."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> Iterator[bytes]:
        """What was written since."""
        data, self._held = bytes(self._held), bytearray()
        if data:
            yield data


def received(source: BinaryIO) -> bytes:
    """The next chunk; empty at the end."""
    head = source.read(LENGTH.size)
    return source.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""


def main() -> None:
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # what a library complains of, nobody reads
    setup = json.loads(source.readline())
    sys.path[:0] = setup["path"]
    decoding = setup["do"] == "decode"
    try:
        made = decode(setup["fd"]) if decoding else encode(setup["format"], setup["rate"], source)
        for chunk in made:
            sink.write(LENGTH.pack(len(chunk)) + chunk)
            sink.flush()
        sink.write(LENGTH.pack(0))
    except Refused as error:
        sink.write(LENGTH.pack(FAILED) + str(error).encode())
    except Exception as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        said = f"It is damaged, or of a kind that llmos does not know.\n{detail}"
        sink.write(LENGTH.pack(FAILED) + said.encode())
    sink.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
