"""Sounds for tests, made from nothing: a voice, a click, noise. All deterministic, 16 kHz."""

from __future__ import annotations

import numpy as np

RATE = 16_000
#: Formants in Hz of a few vowels (Peterson and Barney 1952, men).
VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (570, 840, 2410),
    (530, 1840, 2480),
    (300, 870, 2240),
)


def voice(seconds, *, seed=0, pitch=120.0, level=0.2, rate=RATE):
    """Syllables of a voice: a pulse train with a wandering pitch through three resonances.

    Crude, but a detector of speech takes it for speech.
    """
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    time = np.arange(count) / rate
    hertz = pitch * (
        1 + 0.12 * np.sin(2 * np.pi * 0.7 * time + seed) + 0.02 * rng.standard_normal()
    )
    phase = np.cumsum(hertz) / rate
    source = np.diff(np.floor(phase), prepend=0.0) + 0.02 * rng.standard_normal(count)
    out = np.zeros(count)
    syllable = int(0.2 * rate)
    for start in range(0, count, syllable):
        piece = source[start : start + syllable]
        length = 1 << int(np.ceil(np.log2(2 * len(piece))))
        freqs = np.fft.rfftfreq(length, 1 / rate)
        response = np.zeros(len(freqs), dtype=complex)
        for formant, width in zip(VOWELS[rng.integers(len(VOWELS))], (80, 100, 140), strict=True):
            response += 1 / (1 + 1j * (freqs**2 - formant**2) / (width * np.maximum(freqs, 1)))
        sound = np.fft.irfft(np.fft.rfft(piece, length) * response, length)[: len(piece)]
        rise = np.minimum(1, np.minimum(np.arange(len(piece)), np.arange(len(piece))[::-1]) / 400)
        out[start : start + len(piece)] = sound * (0.25 + 0.75 * rise)
    return (level * out / np.sqrt(np.mean(out**2) + 1e-12)).clip(-1, 1).astype(np.float32)


def noise(seconds, *, seed=0, level=0.01, rate=RATE):
    """White noise with that root mean square."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(int(seconds * rate))).clip(-1, 1).astype(np.float32)


def click(seconds=0.02, *, rate=RATE):
    """A short burst, as of a key or a door."""
    out = noise(seconds, seed=7, level=0.4, rate=rate)
    return out * np.linspace(1, 0, len(out), dtype=np.float32) ** 2


def silence(seconds, *, rate=RATE):
    return np.zeros(int(seconds * rate), dtype=np.float32)


def echo(played, delay_s, *, gain, distortion=0.0, drift_ppm=0.0, reverb_s=0.2, rate=RATE):
    """What a microphone hears of ``played``: a saturated loudspeaker, a room, another clock."""
    sound = played.astype(np.float64)
    if distortion:
        sound = np.tanh(distortion * sound) / distortion
    if drift_ppm:
        at = np.arange(len(sound)) * (1 + drift_ppm * 1e-6)
        sound = np.interp(at, np.arange(len(sound)), sound)
    rng = np.random.default_rng(11)
    count = int(reverb_s * rate)
    room = 0.1 * rng.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    room[0] = 1.0
    length = 1 << (len(sound) + count).bit_length()
    heard = np.fft.irfft(np.fft.rfft(sound, length) * np.fft.rfft(room, length), length)
    late = np.concatenate([np.zeros(int(delay_s * rate)), heard])[: len(played)]
    return (gain * late).astype(np.float32)
