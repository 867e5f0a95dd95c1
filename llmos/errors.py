"""Every error llmos raises, in one tree.

::

    LlmosError                      one clear sentence for a person, a remedy, a stable code
    ├── ConfigError                 a setting is missing, of the wrong type or out of range
    ├── ModelError                  something is wrong with a model file or its template
    │   ├── ModelMissing
    │   ├── ModelCorrupt
    │   ├── ModelTooLarge
    │   └── TemplateError
    ├── GrammarError                a schema or grammar that cannot constrain a sampler
    ├── EngineError                 a generation could not go on
    │   ├── PromptTooLong
    │   ├── TextTooLong             for an embedder
    │   ├── EngineStopped
    │   └── RemoteError             a remote OpenAI-compatible server failed
    │       └── RemoteDown          for now: it may be back later
    ├── KernelError                 a request to the kernel is refused
    │   ├── NoSuchProcess
    │   ├── NoSuchReminder
    │   ├── NoSuchQuestion          it was answered already, or nobody waits for the answer
    │   ├── ProcessEnded
    │   ├── BudgetExceeded
    │   ├── KernelRunning           a second kernel on one state directory
    │   └── KernelUnreachable       a terminal finds no kernel
    │       └── KernelStopped       somebody stopped it: it is not to be started unasked
    ├── StoreError                  the journal cannot be read or written
    │   ├── StoreFull
    │   ├── NotStored               what was asked for is not there, or was forgotten
    │   ├── NotRemembered           what a person wants remembered cannot be: empty, too long
    │   └── StoreCorrupt
    ├── MountError                  a folder cannot be mounted, or is not
    │   └── FileNotRead             a file of it cannot be read, or only in part
    ├── NetError                    a page cannot be fetched, or not be read
    │   └── AddressRefused          nothing was sent: it may not be reached
    ├── BadFile                     a file to be imported is not what it says
    ├── SandboxMissing              nothing on this machine can hold untrusted code
    ├── HostError                   a file or the clipboard cannot be reached, or not be changed
    ├── DeviceError                 sound cannot be heard or made here
    ├── ExpertError                 an expert cannot be installed, loaded or found
    └── SyscallError                a system call failed; becomes data for the caller
        ├── UnknownCall
        ├── InvalidArguments
        ├── CallDenied
        ├── CallFailed
        └── CallTimeout

``str(error)`` is the sentence a person reads. Tracebacks go to the log, never to a person.
"""

from __future__ import annotations

__all__ = [
    "AddressRefused",
    "BadFile",
    "BudgetExceeded",
    "CallDenied",
    "CallFailed",
    "CallTimeout",
    "ConfigError",
    "DeviceError",
    "EngineError",
    "EngineStopped",
    "ExpertError",
    "FileNotRead",
    "GrammarError",
    "HostError",
    "InvalidArguments",
    "KernelError",
    "KernelRunning",
    "KernelStopped",
    "KernelUnreachable",
    "LlmosError",
    "ModelCorrupt",
    "ModelError",
    "ModelMissing",
    "ModelTooLarge",
    "MountError",
    "NetError",
    "NoSuchProcess",
    "NoSuchQuestion",
    "NoSuchReminder",
    "NotRemembered",
    "NotStored",
    "ProcessEnded",
    "PromptTooLong",
    "RemoteDown",
    "RemoteError",
    "SandboxMissing",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "SyscallError",
    "TemplateError",
    "TextTooLong",
    "UnknownCall",
]

_STOPS = (".", "!", "?", "…", ":")


class LlmosError(Exception):
    """The root of the tree.

    Args:
        sentence: What went wrong, in one sentence a person can read.
        remedy: What the person can do about it, or empty.
    """

    code = "error"
    exit_code = 1  #: of a command that ends with it

    def __init__(self, sentence: str, *, remedy: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy

    def __str__(self) -> str:
        sentence = self.sentence.rstrip()
        if self.remedy and sentence and not sentence.rstrip("\"'”)").endswith(_STOPS):
            sentence += "."  # it ends with somebody else's words
        return f"{sentence} {self.remedy}".strip()


class ConfigError(LlmosError):
    code = "config"


class ModelError(LlmosError):
    code = "model"


class ModelMissing(ModelError):
    code = "model_missing"


class ModelCorrupt(ModelError):
    code = "model_corrupt"


class ModelTooLarge(ModelError):
    code = "model_too_large"


class TemplateError(ModelError):
    code = "template"


class GrammarError(LlmosError):
    code = "grammar"


class EngineError(LlmosError):
    code = "engine"


class PromptTooLong(EngineError):
    """The prompt and the reply it asks for do not fit the window.

    Args:
        prompt_tokens: Exact length of the prompt, in tokens.
        window_tokens: What one sequence may hold, in tokens.
        reply_tokens: Tokens asked for beyond the prompt.
    """

    code = "context_length_exceeded"

    def __init__(self, prompt_tokens: int, window_tokens: int, reply_tokens: int = 1) -> None:
        self.prompt_tokens = prompt_tokens
        self.window_tokens = window_tokens
        self.reply_tokens = reply_tokens
        asked = f" and {reply_tokens} more were asked for" if reply_tokens > 1 else ""
        super().__init__(
            f"The prompt is {prompt_tokens} tokens long{asked}, but the model's window holds "
            f"{window_tokens}.",
            remedy="Shorten it, start a new chat, or set a larger window.",
        )


class TextTooLong(EngineError):
    """A text does not fit the embedder's window, and may not be cut.

    Args:
        tokens: Its length in tokens; 0 where only a server knows.
        window: What the embedder reads, in tokens; 0 where only a server knows.
        at: Its place among the texts that were given.
        whole: Whether ``tokens`` counts all of it, not only its beginning.
        told: What a server said instead.
    """

    code = "context_length_exceeded"

    def __init__(
        self, tokens: int, window: int, *, at: int = 0, whole: bool = True, told: str = ""
    ) -> None:
        self.at = at
        more = "" if whole else "more than "
        size = f"{more}{tokens} tokens long"
        if not whole and tokens <= window:  # what its beginning has says nothing
            size = "too long to be counted"
        counts = f"The text is {size}, but the embedder's window holds {window} tokens."
        super().__init__(told or counts, remedy="Split it into shorter ones.")


class EngineStopped(EngineError):
    code = "engine_stopped"


class RemoteError(EngineError):
    code = "remote"


class RemoteDown(RemoteError):
    code = "remote_down"


class KernelError(LlmosError):
    code = "kernel"


class NoSuchProcess(KernelError):
    code = "no_such_process"


class NoSuchReminder(KernelError):
    code = "no_such_reminder"


class NoSuchQuestion(KernelError):
    code = "no_such_question"


class ProcessEnded(KernelError):
    code = "process_ended"


class BudgetExceeded(KernelError):
    code = "budget_exceeded"


class KernelRunning(KernelError):
    code = "kernel_running"
    exit_code = 75  # try again later, as sysexits.h has it


class KernelUnreachable(KernelError):
    code = "kernel_unreachable"


class KernelStopped(KernelUnreachable):
    code = "kernel_stopped"


class StoreError(LlmosError):
    code = "store"


class StoreFull(StoreError):
    code = "store_full"


class NotStored(StoreError):
    code = "not_stored"


class NotRemembered(StoreError):
    code = "not_remembered"


class StoreCorrupt(StoreError):
    code = "store_corrupt"


class MountError(LlmosError):
    code = "mount"


class FileNotRead(MountError):
    code = "file_not_read"


class NetError(LlmosError):
    code = "net"


class AddressRefused(NetError):
    code = "address_refused"


class BadFile(LlmosError):
    code = "bad_file"


class DeviceError(LlmosError):
    code = "device"


class ExpertError(LlmosError):
    code = "expert"


class HostError(LlmosError):
    code = "host"


class SandboxMissing(LlmosError):
    code = "sandbox_missing"


class SyscallError(LlmosError):
    code = "call_failed"


class UnknownCall(SyscallError):
    code = "unknown_call"


class InvalidArguments(SyscallError):
    code = "invalid_arguments"


class CallDenied(SyscallError):
    code = "denied"


class CallFailed(SyscallError):
    code = "call_failed"


class CallTimeout(SyscallError):
    code = "call_timeout"
