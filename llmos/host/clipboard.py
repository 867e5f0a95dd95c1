"""The desktop's clipboard, through the helper that the desktop has (``services.Clipboard``).

wl-copy and wl-paste under Wayland, xclip or xsel under X, pbcopy and pbpaste on macOS. Over SSH, or
where there is no desktop, there is no clipboard, and that is said. Text only. The helpers get an
environment of the few names they need.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence

from llmos import limits
from llmos.sandbox.child import spawn
from llmos.sdk import ToolError

__all__ = ["Clipboard", "helpers"]

_KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "DISPLAY", "XAUTHORITY"),
    *("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"),
)
_X = (
    (("xclip", "-selection", "clipboard", "-o"), ("xclip", "-selection", "clipboard")),
    (("xsel", "--clipboard", "--output"), ("xsel", "--clipboard", "--input")),
)
_WAYLAND = ((("wl-paste", "--no-newline"), ("wl-copy",)),)
_MAC = ((("pbpaste",), ("pbcopy",)),)


def helpers(
    environ: Mapping[str, str], platform: str = sys.platform
) -> tuple[tuple[Sequence[str], Sequence[str]], ...]:
    """The commands that read and write the clipboard of this desktop, the best first."""
    if platform == "darwin":
        return _MAC
    wayland = _WAYLAND if environ.get("WAYLAND_DISPLAY") else ()
    return wayland + (_X if environ.get("DISPLAY") else ())


class Clipboard:
    """The clipboard.

    Args:
        environ: Tells which desktop there is; this process's environment where not given.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    async def read(self) -> str:
        """The text on it; empty where there is none."""
        status, raw = await self._run(self._helper()[0], b"")
        if len(raw) > limits.CLIPBOARD_BYTES:
            raise ToolError("What is on the clipboard is too long.", "Copy less of it.")
        if status:  # the helpers fail so where nothing was copied, or something without text
            return ""
        if b"\0" in raw:
            raise ToolError("There is no text on the clipboard.", "Copy a text first.")
        return raw.decode("utf-8", "replace")

    async def write(self, text: str) -> None:
        """Put a text there."""
        raw = text.encode("utf-8", "replace")
        if len(raw) > limits.CLIPBOARD_BYTES:
            raise ToolError("That is too long for the clipboard.", "Write it into a file.")
        status, _ = await self._run(self._helper()[1], raw)
        if status:
            raise ToolError(
                "The desktop did not take it onto the clipboard.",
                "The text can be copied from the screen.",
            )

    def _helper(self) -> tuple[Sequence[str], Sequence[str]]:
        path = self._environ.get("PATH", os.defpath)
        wanted = helpers(self._environ)
        for pair in wanted:
            if all(shutil.which(command[0], path=path) for command in pair):
                return pair
        if not wanted:
            raise ToolError(
                "There is no clipboard here: llmos runs without a desktop.",
                "The text can be copied from the screen.",
            )
        names = " or ".join(pair[1][0] for pair in wanted)
        package = names.replace("wl-copy", "wl-clipboard")
        raise ToolError(
            f"The clipboard cannot be reached: {names} is not installed.",
            f"It works once {package} is installed.",
        )

    async def _run(self, command: Sequence[str], data: bytes) -> tuple[int, bytes]:
        """Run a helper; its status, and what it wrote, at most a byte more than is allowed.

        A helper that sets the clipboard stays behind to serve it, so what it inherits is closed
        to us: nothing it writes is waited for.
        """
        try:
            program = await spawn(
                command,
                env={name: self._environ[name] for name in _KEPT if name in self._environ},
                fds=(),
            )
        except OSError as error:
            raise ToolError(f"The clipboard cannot be reached: {error.strerror}.") from error
        try:
            async with asyncio.timeout(limits.CLIPBOARD_SECONDS):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    program.stdin.write(data)
                    await program.stdin.drain()
                program.stdin.close()
                out = b""
                while not data and (piece := await program.stdout.read(65536)):
                    out += piece
                    if len(out) > limits.CLIPBOARD_BYTES:
                        return 0, out
                await program.exited.wait()
                return program.status or 0, out
        except TimeoutError:
            raise ToolError(
                "The clipboard does not answer.", "Copy something by hand, then try again."
            ) from None
        finally:
            if not program.exited.is_set():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(program.pid, signal.SIGKILL)
                await program.exited.wait()
            program.close()
            program.forget()
