"""The clipboard, by every way that reaches it.

OSC 52 (which Textual writes) crosses SSH, but tmux ignores it by default and some terminals lack
it. Where the environment shows a helper that is sure to be right, the text goes there as well.
Copies only; never reads what is on the clipboard.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

__all__ = ["copy", "helper"]

_SECONDS = 2.0


def helper(environ: Mapping[str, str], platform: str = sys.platform) -> list[str] | None:
    """The command that takes the text on its standard input, or None.

    ``tmux load-buffer -w`` makes tmux pass the text on to its own terminal. Over SSH the local
    helpers would set the clipboard of the wrong machine.
    """
    if environ.get("TMUX"):
        return ["tmux", "load-buffer", "-w", "-"]
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return None
    if platform == "darwin":
        return ["pbcopy"]
    if environ.get("WAYLAND_DISPLAY"):
        return ["wl-copy"]
    if environ.get("DISPLAY"):
        return ["xclip", "-selection", "clipboard"]
    return None


def copy(text: str) -> bool:
    """Give ``text`` to the helper, where there is one.

    Returns:
        Whether a helper took it.
    """
    command = helper(os.environ)
    if command is None or shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
