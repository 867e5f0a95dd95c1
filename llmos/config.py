"""Typed settings, checked when built.

A setting comes from, in rising order: the default here, the config file (TOML), the environment
(``LLMOS_ENGINE_WINDOW=4096`` for ``[engine] window``), and what a command passes. A wrong name,
type or range is a ``ConfigError`` that names the setting and where it came from.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llmos import limits, paths
from llmos.errors import ConfigError

__all__ = [
    "AgentConfig",
    "Config",
    "EngineConfig",
    "MemoryConfig",
    "ModelsConfig",
    "PolicyConfig",
    "ServerConfig",
    "VoiceConfig",
    "WebConfig",
    "entries",
    "load",
]

_KINDS = {int: "a whole number", float: "a number", str: "a text"}


def entries(text: str) -> list[str]:
    """The entries of a setting that takes several, with commas."""
    return [entry.strip().lower() for entry in text.split(",") if entry.strip()]


def _require(ok: bool, sentence: str) -> None:
    if not ok:
        raise ConfigError(sentence)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The processor: which model, how much memory, how many threads.

    Args:
        model: A catalog name, a path to a GGUF file, ``scripted:FILE``, or the address of an
            OpenAI-compatible server (``http://host:port/v1#model``).
        window: Tokens one sequence may hold; 0 takes the model's own, at most 8,192.
        cells: KV cells shared by all sequences, in tokens; 0 picks twice the window.
        resident: Idle cells kept beside the running ones, in tokens; 0 picks by device: all on a
            GPU. On a CPU each slows every step, so they are swapped out to memory when that pays.
        swap_bytes: Memory for swapped-out sequences, in bytes; at most a quarter of what the
            model leaves free.
        swap_disk_bytes: Disk for snapshots of conversations, which make them resume at once after
            a restart too; 0 keeps none there.
        threads: Compute threads; 0 adapts to what else the machine is doing.
        gpu_layers: Layers on a GPU; -1 means all where there is one.
        flash_attention: ``auto`` is on with a GPU, and with ``kv_type = "q8_0"``, which needs it.
            On a CPU ``off`` makes resume and preemption bit-exact (the same tokens for the same
            rows in a step); ``on`` is faster with long contexts and rounds differently.
        kv_type: Type of the KV cells.
        tool_help: ``guided`` chooses tools by meaning for small models, ``native`` leaves it to
            the model, ``auto`` decides by the model's size and template.
        api_key: Bearer token for a remote server, if it wants one.
    """

    model: str = "starter"
    window: int = 0
    cells: int = 0
    resident: int = 0
    swap_bytes: int = 1 << 30
    swap_disk_bytes: int = 4 << 30
    threads: int = 0
    gpu_layers: int = -1
    flash_attention: Literal["auto", "on", "off"] = "auto"
    kv_type: Literal["f16", "q8_0"] = "f16"
    tool_help: Literal["auto", "guided", "native"] = "auto"
    api_key: str = ""

    def __post_init__(self) -> None:
        _require(bool(self.model.strip()), "engine.model is empty.")
        _require(self.window >= 0, "engine.window must not be negative.")
        _require(self.window == 0 or self.window >= 256, "engine.window must be 256 or more.")
        _require(
            self.cells == 0 or self.cells >= max(self.window, 256),
            "engine.cells must hold at least one window.",
        )
        _require(self.resident >= 0, "engine.resident must not be negative.")
        _require(self.swap_bytes >= 0, "engine.swap_bytes must not be negative.")
        _require(
            self.kv_type == "f16" or self.flash_attention != "off",
            'engine.kv_type = "q8_0" needs flash attention, and engine.flash_attention is off.',
        )
        _require(self.swap_disk_bytes >= 0, "engine.swap_disk_bytes must not be negative.")
        _require(0 <= self.threads <= 1024, "engine.threads must be between 0 and 1024.")
        _require(self.gpu_layers >= -1, "engine.gpu_layers must be -1 or more.")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What one turn may use up.

    Args:
        system: What the assistant is told it is; empty takes llmos's own sentence.
        reply_tokens: Longest reply, in tokens.
        turn_seconds: Longest turn, in seconds.
        calls: Calls one turn may make.
        temperature: 0 is greedy.
        top_p / min_p: Truncations, where the temperature is above 0.
        repeat_penalty: 1 is off.
        dry_multiplier: How strongly a reply is kept from repeating long stretches of itself (DRY);
            0 is off.
    """

    system: str = ""
    reply_tokens: int = 1024
    turn_seconds: float = 600.0
    calls: int = 16
    temperature: float = 0.0
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    dry_multiplier: float = 0.8

    def __post_init__(self) -> None:
        _require(self.dry_multiplier >= 0, "agent.dry_multiplier must not be negative.")
        _require(self.reply_tokens >= 1, "agent.reply_tokens must be at least 1.")
        _require(self.turn_seconds > 0, "agent.turn_seconds must be positive.")
        _require(self.calls >= 0, "agent.calls must not be negative.")
        _require(0 <= self.temperature <= 5, "agent.temperature must be between 0 and 5.")
        _require(0 < self.top_p <= 1, "agent.top_p must be above 0 and at most 1.")
        _require(0 <= self.min_p <= 1, "agent.min_p must be between 0 and 1.")
        _require(self.repeat_penalty > 0, "agent.repeat_penalty must be positive.")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How terminals reach the kernel.

    Args:
        port: TCP port on loopback, beside the Unix socket; 0 opens none.
        token: Bearer token for TCP; empty makes one at the first start and keeps it.
        idle_minutes: A kernel that a terminal started stops after this long without a terminal
            and without work; 0 never.
    """

    port: int = 0
    token: str = ""
    idle_minutes: float = 30.0

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65535, "server.port must be between 0 and 65535.")
        _require(self.idle_minutes >= 0, "server.idle_minutes must not be negative.")


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """Where models are pulled from.

    Args:
        hub: Address of the model hub or a mirror of it; empty takes ``HF_ENDPOINT`` from the
            environment, or the public hub.
    """

    hub: str = ""

    def __post_init__(self) -> None:
        _require(
            not self.hub or self.hub.startswith(("https://", "http://")),
            "models.hub must start with https:// or http://.",
        )


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """What is remembered beyond the window.

    Args:
        chroma: Where Chroma, the vector store, runs: ``embedded`` (a worker process of llmos's
            own), the address of a Chroma server, or ``off`` (vectors are compared one by one).
        embedder: What turns texts to vectors: ``starter``, a model's name, a path to a folder or
            an ``.onnx`` file with its ``tokenizer.json``, a path to a ``.gguf`` file, the address
            of an OpenAI-compatible server (``http://host:port/v1#model``; whatever is to be found
            again is sent there), or ``off`` (searches go by words). Another one makes all vectors
            anew, in the background.
        embedder_key: Bearer token for that server, if it wants one.
        dream_minutes: After this long without anybody, memory is tidied: duplicates are merged,
            turns that left a window summarised, related pages linked. It stops when somebody comes.
            Not on battery, and a remote model is not asked to write. 0 never.
    """

    chroma: str = "embedded"
    embedder: str = "starter"
    embedder_key: str = ""
    dream_minutes: float = 10.0

    def __post_init__(self) -> None:
        _require(
            self.chroma in ("embedded", "off") or self.chroma.startswith(("http://", "https://")),
            "memory.chroma must be embedded, off, or start with http:// or https://.",
        )
        _require(bool(self.embedder.strip()), "memory.embedder is empty.")
        _require(self.dream_minutes >= 0, "memory.dream_minutes must not be negative.")


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The one way to the network. Hosts are ``example.org``, or ``*.example.org`` with all below.

    Args:
        search: How the web is searched: empty asks a few engines that need no key and fuses what
            they find; the address of a SearXNG server (with its JSON format switched on), which
            may be on this machine; or ``brave:KEY`` for Brave's API.
        allow: Hosts, with commas; where there are any, nothing else is reached.
        deny: Hosts that are never reached.
        also: Places, each exactly ``host:port`` (``[fd00::1]:80``), that are reached though the
            port is unusual or the machine is this one, in a private network or at a reserved
            address. Every page and every tool that may reach the web can then send requests there.
    """

    search: str = ""
    allow: str = ""
    deny: str = ""
    also: str = ""

    def __post_init__(self) -> None:
        _require(
            not self.search
            or self.search.startswith(("http://", "https://"))
            or self.search.startswith("brave:"),
            "web.search must be empty, the address of a SearXNG server, or brave:KEY.",
        )
        _require(self.search.strip() != "brave:", "web.search lacks the key after brave:.")


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What the monitor holds to besides its rules; nothing here loosens them, as grants do.

    Calls are ``files.write``, or ``files.*`` with all of a tool; several with commas.

    Args:
        never: Calls that are not made, whatever was granted.
        ask: Calls that are asked each time, whatever was granted.
    """

    never: str = ""
    ask: str = ""

    def __post_init__(self) -> None:
        for name in ("never", "ask"):
            for call in entries(getattr(self, name)):
                _require(
                    re.fullmatch(r"[a-z0-9_*]+(?:\.[a-z0-9_*]+)?", call) is not None,
                    f"policy.{name} has {call!r}, which is no name of calls such as files.write.",
                )


@dataclass(frozen=True, slots=True)
class VoiceConfig:
    """How it hears and speaks.

    Args:
        recogniser: A speech recogniser of the catalog, a folder of CTranslate2's or a file of
            whisper.cpp's; empty takes the best one on this machine.
        voices: Names of voices that are preferred, with commas, the most preferred first.
        speed: Of speech, against the voice's own: 0.5 to 2.
        language: That is spoken, as in ``en``; empty takes it as it comes.
        microphone / loudspeaker: Names of devices, or parts of them; empty takes the system's.
        threads: That a recogniser computes with; 0 takes all cores, at most 4.
        wake: The words after which it listens, as in ``hey jarvis``; empty: it always does.
    """

    recogniser: str = ""
    voices: str = ""
    speed: float = 1.0
    language: str = ""
    microphone: str = ""
    loudspeaker: str = ""
    threads: int = 0
    wake: str = ""

    def __post_init__(self) -> None:
        _require(0.5 <= self.speed <= 2.0, "voice.speed must be between 0.5 and 2.")
        _require(
            not self.language or re.fullmatch(r"[a-z]{2,3}", self.language) is not None,
            "voice.language must be a code such as en.",
        )
        _require(0 <= self.threads <= 64, "voice.threads must be between 0 and 64.")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one kernel."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    web: WebConfig = field(default_factory=WebConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    voice: VoiceConfig = field(default_factory=VoiceConfig)
    state: Path = field(default_factory=paths.state_dir)

    def __post_init__(self) -> None:
        _require(
            self.agent.calls <= 10_000 and limits.ROUNDS_MAX >= 1, "agent.calls is out of range."
        )


def _coerce(name: str, kind: Any, value: Any, source: str) -> Any:
    """Bring ``value`` to the field's type or say what is wrong."""
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            allowed = ", ".join(choices)
            raise ConfigError(f"{name} is {value!r} ({source}); it must be one of {allowed}.")
        return value
    wrong = ConfigError(f"{name} is {value!r} ({source}); it must be {_KINDS[kind]}.")
    if isinstance(value, float | str) and kind is float and not _finite(value):
        raise wrong
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and kind is not str:
        try:
            return kind(value)
        except ValueError:
            raise wrong from None
    if type(value) is not kind:
        raise wrong
    return value


def _finite(value: float | str) -> bool:
    """Whether it is a number that can be compared and counted with."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _section(name: str, cls: type, layers: list[tuple[str, Mapping[str, Any]]]) -> Any:
    kinds = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for place, layer in layers:
        for key, value in layer.items():
            source = place.format(key=key.upper())
            if key not in kinds:
                known = ", ".join(sorted(kinds))
                raise ConfigError(
                    f"There is no setting {name}.{key} ({source}).",
                    remedy=f"[{name}] knows {known}.",
                )
            values[key] = _coerce(f"{name}.{key}", kinds[key], value, source)
            sources[key] = source
    try:
        return cls(**values)
    except ConfigError as error:
        raise _traced(error, name, sources) from None


def _traced(error: ConfigError, name: str, sources: Mapping[str, str]) -> ConfigError:
    """``error`` with where the settings came from that it names."""
    named = [s for key, s in sources.items() if re.search(rf"\b{name}\.{key}\b", error.sentence)]
    if not named:
        return error
    told = " and ".join(dict.fromkeys(named))
    return ConfigError(f"{error.sentence.removesuffix('.')} ({told}).", remedy=error.remedy)


def load(
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read the settings from file and environment.

    Args:
        overrides: Section to settings, what a command line passed.
        file: The TOML file; the person's own where not given. It need not exist.
        environ: The environment; the process's own where not given.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
    """
    file = file or paths.config_file()
    environ = os.environ if environ is None else environ
    try:
        written = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    except (OSError, ValueError, RecursionError) as error:  # ValueError: a number too long, too
        raise ConfigError(f"The settings file {file} cannot be read: {error}.") from error
    sections = {
        "engine": EngineConfig,
        "agent": AgentConfig,
        "server": ServerConfig,
        "models": ModelsConfig,
        "memory": MemoryConfig,
        "web": WebConfig,
        "policy": PolicyConfig,
    }
    unknown = set(written) - set(sections)
    if unknown:
        raise ConfigError(f"There is no section [{sorted(unknown)[0]}] in {file}.")
    built = {}
    for name, cls in sections.items():
        prefix = f"LLMOS_{name.upper()}_"
        from_env = {
            key.removeprefix(prefix).lower(): value
            for key, value in environ.items()
            if key.startswith(prefix)
        }
        section = written.get(name, {})
        if not isinstance(section, Mapping):
            raise ConfigError(f"[{name}] in {file} must be a section.")
        layers = [
            (str(file).replace("{", "{{").replace("}", "}}"), section),
            (f"{prefix}{{key}} in the environment", from_env),
        ]
        layers.append(("command line", (overrides or {}).get(name, {})))
        built[name] = _section(name, cls, layers)
    return Config(**built)
