"""What a Realtime session is set to, and how ``session.update`` changes it.

Only fields that are given change. What llmos cannot do is refused, with the field's name; what
only hints at when a turn ends (``threshold``, ``silence_duration_ms``, ``eagerness``) is checked
and then left to the listener, which tells an end from silence, words and rhythm:
``session.updated`` does not list it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmos import limits
from llmos.devices.audio import WIRE_RATE
from llmos.devices.segmenter import START
from llmos.devices.speaker import FASTEST, SLOWEST
from llmos.server.body import Integer
from llmos.server.realtime_ear import Detection

__all__ = [
    "_ANY_VOICE",
    "OutputFormat",
    "Refusal",
    "SessionUpdate",
    "Settings",
    "VoiceId",
    "is_any_model",
]

#: How much longer a turn's end is waited for than usual, by eagerness.
_PATIENCE: Final = {"low": 1.6, "medium": 1.0, "auto": 1.0, "high": 0.75}
#: Seconds of silence that a turn's end needs at least: within a word a breath is held for 0.1 s.
_LEAST_S: Final = 0.2
#: The least and the highest probability at which speech can begin.
_THRESHOLDS: Final = (0.05, 0.95)
#: OpenAI's own voices, which any program may ask for; each stands for the one there is.
_ANY_VOICE = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)
#: How OpenAI's own models are called, which any program may ask for; each stands for ours.
_ANY_MODEL = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime", "gpt-audio")
_NO_VOICE = "There is no voice on this machine. Get one with: llmos models pull piper-joe"


class Refusal(Exception):
    """What a client asked for and does not get.

    Args:
        sentence: Why, for a person.
        param: Path of the offending field, such as ``session.audio.output.speed``.
        code: A stable word for programs.
        kind: ``invalid_request_error`` or ``server_error``.
    """

    def __init__(
        self,
        sentence: str,
        *,
        param: str | None = None,
        code: str = "invalid_value",
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(sentence)
        self.param = param
        self.code = code
        self.kind = kind


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class OutputFormat(_Strict):
    """16-bit samples, little endian, one channel."""

    type: Literal["audio/pcm"]
    rate: Literal[24_000] = 24_000


class VoiceId(_Strict):
    """A voice by its id."""

    id: str


class _Transcription(_Strict):
    model: str | None = None
    language: Annotated[str, Field(pattern="^([a-z]{2,3})?$")] | None = None
    prompt: Literal["", None] = None
    keywords: Annotated[list[str], Field(max_length=0)] | None = None
    languages: Annotated[list[str], Field(max_length=0)] | None = None
    delay: None = None


class _ServerVad(_Strict):
    type: Literal["server_vad"]
    create_response: bool | None = None
    interrupt_response: bool | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[Integer, Field(ge=0, le=60_000)] | None = None
    silence_duration_ms: Annotated[Integer, Field(ge=0, le=60_000)] | None = None
    idle_timeout_ms: None = None


class _SemanticVad(_Strict):
    type: Literal["semantic_vad"]
    create_response: bool | None = None
    interrupt_response: bool | None = None
    eagerness: Literal["low", "medium", "high", "auto"] | None = None


class _Input(_Strict):
    format: OutputFormat | None = None
    noise_reduction: None = None
    transcription: _Transcription | None = None
    turn_detection: Annotated[_ServerVad | _SemanticVad, Field(discriminator="type")] | None = None


class _Output(_Strict):
    format: OutputFormat | None = None
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] | None = None
    voice: str | VoiceId | None = None


class _Audio(_Strict):
    input: _Input | None = None
    output: _Output | None = None


class SessionUpdate(_Strict):
    """``session`` of a ``session.update``."""

    type: Literal["realtime"]
    audio: _Audio | None = None
    include: Annotated[list[str], Field(max_length=0)] | None = None
    instructions: Annotated[str, Field(max_length=limits.REALTIME_INSTRUCTIONS_CHARS)] | None = None
    max_output_tokens: Literal["inf", None] = None
    model: str | None = None
    output_modalities: (
        Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)] | None
    ) = None
    parallel_tool_calls: Literal[True, None] = None
    prompt: None = None
    reasoning: None = None
    tool_choice: Literal["auto", None] = None
    tools: list[Any] | None = None
    tracing: None = None
    truncation: Literal["auto", None] = None


@dataclass(frozen=True, slots=True)
class Settings:
    """A session's settings.

    Args:
        spoken: Whether answers are spoken; otherwise they are written.
        instructions: What the model is told before the conversation; empty for the usual.
        voice: As the client named it; empty for the usual one.
        speed: Against the voice's own.
        language: That is listened for, as in ``en``; empty takes it as it comes.
        transcribed: Whether the client is told what was heard.
        detection: ``server_vad`` or ``semantic_vad``; empty where the client says when a turn is
            over (push to talk).
        answers / interrupts: Whether a turn that is over is answered unasked, and whether one that
            begins cancels the answer under way.
        silence_ms / threshold: Of ``server_vad``: the silence that ends a turn, None: by what was
            said; and the probability at which speech begins.
        eagerness: Of ``semantic_vad``: how soon a turn counts as over.
    """

    spoken: bool
    instructions: str = ""
    voice: str = ""
    speed: float = 1.0
    language: str = ""
    transcribed: bool = True
    detection: str = "server_vad"
    answers: bool = True
    interrupts: bool = True
    silence_ms: int | None = None
    threshold: float | None = None
    eagerness: str = "auto"

    @property
    def detects(self) -> Detection:
        """How turns are told."""
        least, most = _THRESHOLDS
        return Detection(
            automatic=bool(self.detection),
            silence_s=None if self.silence_ms is None else max(self.silence_ms / 1000, _LEAST_S),
            patience=_PATIENCE[self.eagerness],
            threshold=START if self.threshold is None else min(max(self.threshold, least), most),
        )

    @property
    def voice_name(self) -> str:
        """The voice on this machine that was asked for; empty for the usual one."""
        return "" if self.voice in _ANY_VOICE else self.voice

    @property
    def modality(self) -> Literal["audio", "text"]:
        """As ``output_modalities`` has it."""
        return "audio" if self.spoken else "text"

    def updated(self, update: SessionUpdate, *, voices: Collection[str], begun: bool) -> Settings:
        """These settings with a client's changes.

        Args:
            voices: That are on this machine.
            begun: Whether the conversation has begun, so that its instructions stand.

        Raises:
            Refusal: It asks for what there is not.
        """
        changed = self
        if update.tools:
            raise Refusal(
                "A conversation of llmos has its own tools, under llmos's rules; it takes none "
                "from a session.",
                param="session.tools",
            )
        if update.instructions is not None and update.instructions != self.instructions:
            if begun:
                raise Refusal(
                    "The instructions stand once a conversation has begun; open another session.",
                    param="session.instructions",
                )
            changed = replace(changed, instructions=update.instructions)
        if update.output_modalities is not None:
            changed = changed.speaking(
                update.output_modalities == ["audio"], voices, "session.output_modalities"
            )
        audio = update.audio or _Audio()
        if audio.input is not None:
            changed = changed._heard(audio.input)
        if audio.output is not None:
            changed = changed._voiced(audio.output, voices)
        return changed

    def speaking(self, spoken: bool, voices: Collection[str], param: str) -> Settings:
        """With answers that are spoken or written.

        Raises:
            Refusal: There is no voice.
        """
        if spoken and not voices:
            raise Refusal(_NO_VOICE, param=param, code="voice_not_found")
        return replace(self, spoken=spoken)

    def with_voice(self, asked: str, voices: Collection[str], param: str) -> Settings:
        """With another voice.

        Raises:
            Refusal: It is not on this machine.
        """
        if asked not in _ANY_VOICE and asked not in voices:
            there = " and ".join(f"'{name}'" for name in voices) or "none"
            sentence = f"The voice '{asked[:100]}' is not on this machine; there is {there}."
            raise Refusal(sentence, param=param, code="voice_not_found")
        return replace(self, voice=asked)

    def _heard(self, asked: _Input) -> Settings:
        changed = self
        if "transcription" in asked.model_fields_set:
            found = asked.transcription
            changed = replace(changed, transcribed=found is not None)
            if found is not None and "language" in found.model_fields_set:
                changed = replace(changed, language=found.language or "")
        if "turn_detection" not in asked.model_fields_set:
            return changed
        if (detection := asked.turn_detection) is None:
            return replace(changed, detection="")
        return replace(
            changed,
            detection=detection.type,
            answers=detection.create_response is not False,
            interrupts=detection.interrupt_response is not False,
            silence_ms=getattr(detection, "silence_duration_ms", None),
            threshold=getattr(detection, "threshold", None),
            eagerness=getattr(detection, "eagerness", None) or "auto",
        )

    def _voiced(self, asked: _Output, voices: Collection[str]) -> Settings:
        changed = self
        if asked.speed is not None:
            changed = replace(changed, speed=asked.speed)
        if asked.voice is not None:
            name = asked.voice if isinstance(asked.voice, str) else asked.voice.id
            changed = changed.with_voice(name, voices, "session.audio.output.voice")
        return changed

    def shown(self, id: str, model: str) -> dict[str, Any]:
        """As ``session.created`` and ``session.updated`` tell them.

        Args:
            id: The session's.
            model: That answers.
        """
        detection: dict[str, Any] = {
            "type": self.detection,
            "create_response": self.answers,
            "interrupt_response": self.interrupts,
        }
        if self.detection == "semantic_vad":
            detection["eagerness"] = self.eagerness
        elif self.silence_ms is not None:
            detection["silence_duration_ms"] = self.silence_ms
        if self.threshold is not None:
            detection["threshold"] = self.threshold
        transcription = {"language": self.language} if self.language else {}
        form = {"type": "audio/pcm", "rate": WIRE_RATE}
        output = {"format": form, "speed": self.speed}
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": id,
            "model": model,
            "output_modalities": [self.modality],
            "instructions": self.instructions,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "audio": {
                "input": {
                    "format": form,
                    "transcription": transcription if self.transcribed else None,
                    "noise_reduction": None,
                    "turn_detection": detection if self.detection else None,
                },
                "output": output | ({"voice": self.voice} if self.voice else {}),
            },
        }


def is_any_model(name: str) -> bool:
    """Whether a program that asks for this model takes the one there is."""
    return name.startswith(_ANY_MODEL)
