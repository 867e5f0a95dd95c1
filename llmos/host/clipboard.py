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
            raise ToolError("What is on the clipboard is too long.")
        if status:  # the helpers fail so where nothing was copied, or something without text
            return ""
        if b"\0" in raw:
            raise ToolError("There is no text on the clipboard.")
        return raw.decode("utf-8", "replace")

    async def write(self, text: str) -> None:
        """Put a text there."""
        raw = text.encode("utf-8", "replace")
        if len(raw) > limits.CLIPBOARD_BYTES:
            raise ToolError("That is too long for the clipboard.")
        status, _ = await self._run(self._helper()[1], raw)
        if status:
            raise ToolError("The desktop did not take it onto the clipboard.")

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
        reads = not data
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL if reads else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if reads else asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: self._environ[name] for name in _KEPT if name in self._environ},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"The clipboard cannot be reached: {error.strerror}.") from error
        ended = False
        try:
            async with asyncio.timeout(limits.CLIPBOARD_SECONDS):
                out = b""
                if process.stdout is not None:
                    while len(out) <= limits.CLIPBOARD_BYTES:
                        if not (piece := await process.stdout.read(65536)):
                            break
                        out += piece
                    else:
                        return 0, out
                elif process.stdin is not None:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        process.stdin.write(data)
                        await process.stdin.drain()
                    process.stdin.close()
                status = await process.wait()
                ended = True
                return status, out
        except TimeoutError:
            raise ToolError("The clipboard does not answer.") from None
        finally:
            if not ended:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                if process.stdout is not None:  # what it left in the pipe would keep that open
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(limits.CLIPBOARD_SECONDS):
                            while await process.stdout.read(65536):
                                pass
