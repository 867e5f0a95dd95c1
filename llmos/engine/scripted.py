"""The shipped double: a model that says what it is told.

A ``Script`` maps a prompt to a reply; ``ScriptedRuntime`` speaks it byte by byte through the same
engine, cells and swap as a real model, so that everything above is tested without weights. Its
tokens are bytes; it ignores sampling parameters and grammars (the script is to say what fits).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from llmos.engine.backend import Logits, ModelInfo, Run, SamplingParams, State
from llmos.errors import EngineError, ModelCorrupt, ModelMissing

__all__ = ["Script", "ScriptedRuntime"]

_END = 256
_VOCAB = 257
_OPEN = "<|im_start|>assistant\n"
_TURN = "<|im_start|>"


class Script:
    """Replies by what the last message contains.

    Args:
        rules: Pairs of a text to look for in the newest message and the reply; the first that
            is found counts.
        default: The reply where none is found.
    """

    def __init__(self, rules: Sequence[tuple[str, str]] = (), default: str = "Yes.") -> None:
        self.rules = list(rules)
        self.default = default

    @classmethod
    def from_file(cls, path: Path) -> Script:
        """Read ``{"rules": [[text, reply], …], "default": reply}``.

        Raises:
            ModelMissing: There is no such file.
            ModelCorrupt: It is not of that form.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
            return cls([(str(a), str(b)) for a, b in data.get("rules", [])], data["default"])
        except OSError as error:
            raise ModelMissing(f"There is no script {path}.") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelCorrupt(f"{path} is not a script.") from error

    def __call__(self, prompt: str) -> str:
        last = prompt.removesuffix(_OPEN).rpartition(_TURN)[2]
        return next((reply for text, reply in self.rules if text in last), self.default)


class ScriptedRuntime:
    """A runtime over a script.

    Args:
        script: From the prompt's text to the reply. Called once a prompt.
        window: Tokens (bytes) one sequence may hold.
        cells: Cells of all sequences; 0 for four windows.
        slots: Sequences resident at once.
        can_rewind: Whether tails can be dropped, as with attention, or not, as with recurrence.
        on_decode: Called before each step with its runs; tests pace and break the engine here.
    """

    def __init__(
        self,
        script: Callable[[str], str] | None = None,
        *,
        window: int = 8192,
        cells: int = 0,
        slots: int = 64,
        batch: int = 512,
        can_rewind: bool = True,
        on_decode: Callable[[Sequence[Run]], None] | None = None,
    ) -> None:
        self.info = ModelInfo(
            name="scripted",
            window=window,
            parameters=10**12,  # it never needs help with choosing a tool
            vocab=_VOCAB,
            can_rewind=can_rewind,
            device="script",
            fingerprint="scripted",
        )
        self.cells = cells or 4 * window
        self.slots = slots
        self.batch = batch
        self.threads = 1
        self.prefilled = 0
        self._script = script or Script()
        self._on_decode = on_decode
        self._held: dict[int, list[int]] = {slot: [] for slot in range(slots)}
        self._replies: dict[bytes, bytes] = {}
        self._rows: list[int] = []
        self._closed = False

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        self._require_open()
        return list(text.encode("utf-8", "surrogatepass"))

    def piece(self, token: int, *, special: bool = False) -> bytes:
        self._require_open()
        return bytes([token]) if token < _END else b""

    def controls(self) -> list[str]:
        return [_TURN, "<|im_end|>"]

    def is_end(self, token: int) -> bool:
        return token == _END

    def decode(self, runs: Sequence[Run]) -> list[int]:
        self._require_open()
        if self._on_decode is not None:
            self._on_decode(runs)
        rows, self._rows = [], []
        for run in runs:
            held = self._held[run.slot]
            if run.start != len(held):
                raise EngineError(f"Slot {run.slot} holds {len(held)} tokens, not {run.start}.")
            held.extend(run.tokens)
            self.prefilled += len(run.tokens)
            rows.append(len(self._rows) if run.want_logits else -1)
            if run.want_logits:
                self._rows.append(self._next(held))
        return rows

    def logits(self, row: int) -> Logits:
        logits = np.zeros(_VOCAB, dtype=np.float32)
        logits[self._rows[row]] = 20.0
        return logits

    def share(self, source: int, target: int, length: int) -> None:
        if not self.info.can_rewind and length != len(self._held[source]):
            raise EngineError("This memory can only be shared whole.")
        self._held[target] = self._held[source][:length]

    def truncate(self, slot: int, length: int) -> bool:
        if not self.info.can_rewind and length < len(self._held[slot]):
            return False
        del self._held[slot][length:]
        return True

    def free(self, slot: int) -> None:
        self._held[slot] = []

    def length(self, slot: int) -> int:
        return len(self._held[slot])

    def save(self, slot: int) -> bytes:
        return json.dumps(self._held[slot]).encode()

    def restore(self, slot: int, state: State) -> bool:
        self._held[slot] = json.loads(bytes(state))
        return True

    def sampler(self, params: SamplingParams, prompt: Sequence[int]) -> _Likeliest:
        return _Likeliest()

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def close(self) -> None:
        self._held.clear()
        self._closed = True

    def _require_open(self) -> None:
        """A real model's vocabulary is freed memory by then."""
        if self._closed:
            raise AssertionError("the runtime is used after it was closed")

    def _next(self, held: list[int]) -> int:
        """The next token: what the script says to this prompt, after what is said already."""
        text = bytes(token for token in held if token != _END)  # an end may have been ignored
        opened = text.rfind(_OPEN.encode())
        at = opened + len(_OPEN) if opened >= 0 else self._bare(text)
        prompt, said = text[:at], text[at:]
        reply = self._replies.get(prompt)
        if reply is None:
            spoken = self._script(prompt.decode("utf-8", "replace"))
            reply = self._replies[prompt] = spoken.encode("utf-8", "surrogateescape")
        return reply[len(said)] if len(said) < len(reply) else _END

    def _bare(self, text: bytes) -> int:
        """Where the reply to a prompt without a template begins: after a prompt we know."""
        known = [p for p in self._replies if text.startswith(p)]
        return max((len(p) for p in known), default=len(text))


class _Likeliest:
    """Takes the token the script wants."""

    def sample(self, runtime: ScriptedRuntime, row: int) -> int:
        return int(runtime.logits(row).argmax())

    def clone(self, seed: int | None = None) -> _Likeliest:
        return self

    def close(self) -> None:
        return None
