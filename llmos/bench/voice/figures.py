"""What ``llmos bench voice`` measures: keys, units and bars."""

from __future__ import annotations

from llmos.bench.figures import Figure

__all__ = ["VOICE_FIGURES"]

_ROWS = (
    Figure("wer_clean", "hearing", "<=", 0.12, "words wrong, synthesised users in silence"),
    Figure("wer_10db", "hearing", "<=", 0.25, "the same in noise, 10 dB below them"),
    Figure("wer_20db", "hearing", "", None, "the same, 20 dB below them"),
    Figure("wer_5db", "hearing", "", None, "the same, 5 dB below them"),
    Figure("wer_room", "hearing", "", None, "the same in an echoing room (RT60 0.4 s)"),
    Figure("wer_recorded", "hearing", "", None, "words wrong, recordings of people"),
    Figure("wer_base", "hearing", "", None, "wer_clean with Whisper base"),
    Figure("wer_base_german", "hearing", "", None, "the same of German, with Whisper base"),
    Figure("stt_rtf", "hearing", "<=", 0.35, "seconds to write down a second, Whisper tiny"),
    Figure("stt_rtf_base", "hearing", "", None, "the same, Whisper base"),
    Figure("tts_rtf", "hearing", "<=", 0.25, "seconds to speak a second"),
    Figure(
        "invented_words_on_silence_and_noise",
        "quiet",
        "<=",
        0.0,
        "words heard in 10 minutes of silence and 10 of noise",
    ),
    Figure(
        "endpoint_ms", "turns", "<=", {"p50": 700.0}, "end of speech to the end of the turn, ms"
    ),
    Figure(
        "barge_in_stop_ms", "echo", "<=", {"p95": 200.0}, "a person's first sound to silence, ms"
    ),
    Figure(
        "self_interruptions",
        "echo",
        "<=",
        0.0,
        "times it broke off for its own echo, in 20 minutes of its speech",
    ),
    Figure("self_rests", "echo", "", None, "times it fell silent for its own echo, and went on"),
    Figure("missed_interruptions", "echo", "<=", 2.0, "of 50 while it speaks, not noticed"),
    Figure(
        "voice_to_voice_ms",
        "talk",
        "<=",
        {"p50": 1200.0, "p95": 2200.0},
        "end of a person's speech to the first sound, ms",
    ),
    Figure(
        "heard_exact", "talk", ">=", 0.95, "interrupted answers kept as they were heard, ± 1 word"
    ),
    Figure(
        "text_latency_under_voice",
        "talk",
        "<=",
        1.5,
        "a chat's first token while somebody is being heard ÷ alone",
    ),
    Figure(
        "first_audio_after_first_clause_ms",
        "speaking",
        "<=",
        {"p50": 300.0},
        "the first clause written to its first sound, ms",
    ),
    Figure("cut_off_rate", "turns", "<=", 0.10, "turns ended in a pause of 0.3 to 1.2 s"),
)

#: All of them, in the order in which they are measured.
VOICE_FIGURES: dict[str, Figure] = {figure.key: figure for figure in _ROWS}
