"""Where this Python and its libraries live: what every jail sees besides the system's own.

Never names the folder llmos itself is in, unless that is the folder its libraries are in, too.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path

__all__ = ["SYSTEM", "executable", "roots"]

#: Folders and files of the system that programs need to start; none holds anything private.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/fonts", "/etc/mime.types"),
)
_LIBRARIES = ("site-packages", "dist-packages")


def executable() -> Path:
    """The interpreter that runs this, as a jail can start it."""
    return Path(sys.executable)


@cache
def roots() -> tuple[Path, ...]:
    """Folders of the interpreter and of the packages it finds, shortest first, none in another.

    The home directory itself and the root are never among them, whatever the interpreter says.
    """
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))}
    found |= {Path(entry) for entry in sys.path if Path(entry).name in _LIBRARIES}
    found |= {Path(sys.executable).resolve().parent}
    found |= {path.resolve() for path in found}
    home = Path.home()
    kept: list[Path] = []
    for path in sorted(found, key=lambda path: len(path.parts)):
        whole = path == Path("/") or home.is_relative_to(path)
        if path.is_dir() and not whole and not any(path.is_relative_to(seen) for seen in kept):
            kept.append(path)
    return tuple(kept)
