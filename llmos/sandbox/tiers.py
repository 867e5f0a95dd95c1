"""Which jail this machine has: the strongest tier whose escape probes held, found by trying.

A version number or a file's presence says little about a sandbox: distributions switch parts of
it off. So a tier counts only when programs that try to break out of it failed, here, since the
machine was started: trying takes a second, so what held is remembered until then, for this very
program, this user and this version. Where no tier held, whoever needs one is refused, with the
remedy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import shutil
from pathlib import Path
from weakref import WeakKeyDictionary

from llmos import __version__, paths
from llmos.errors import LlmosError, SandboxMissing
from llmos.sandbox import probes
from llmos.sandbox.bubblewrap import Bubblewrap
from llmos.sandbox.jail import Jail
from llmos.sandbox.landlock import Landlock
from llmos.sandbox.seatbelt import Seatbelt

__all__ = ["available", "best", "forget"]

_log = logging.getLogger(__name__)

_found: Jail | SandboxMissing | None = None
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def available() -> tuple[Jail, ...]:
    """The tiers written for this system, the strongest first; none of them is tried here."""
    if platform.system() == "Linux":
        return Bubblewrap(), Landlock()
    return (Seatbelt(),) if platform.system() == "Darwin" else ()


async def best() -> Jail:
    """The strongest tier that holds; tried once since the machine was started.

    Raises:
        SandboxMissing: None does. The sentence says what each tier failed at.
    """
    global _found
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if _found is None:
            _found = await _try_all()
    if isinstance(_found, SandboxMissing):
        raise SandboxMissing(_found.sentence, remedy=_found.remedy)
    return _found


def forget() -> None:
    """Try again on the next call: something was installed, or allowed."""
    global _found
    _found = None
    _memory().unlink(missing_ok=True)


async def _try_all() -> Jail | SandboxMissing:
    reasons: list[str] = []
    key, held = _here(), _remembered()
    for jail in available():
        reason = "" if key and held == {**key, "tier": jail.name} else await _why_not(jail)
        if not reason:
            _log.info("untrusted code runs in jails of %s", jail.name)
            if key and not reasons:  # a weaker one is tried again: the stronger may hold now
                _remember({**key, "tier": jail.name})
            return jail
        _log.warning("no jails of %s: %s", jail.name, reason)
        reasons.append(f"{jail.name}: {reason}")
    told = f" ({'; '.join(reasons)})" if reasons else ""
    return SandboxMissing(
        f"Nothing on this machine can hold untrusted code{told}.", remedy=_remedy()
    )


def _memory() -> Path:
    return paths.cache_dir() / "jails.json"


def _here() -> dict[str, object]:
    """What a finding holds for; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        program = shutil.which("bwrap")
        status = os.stat(program) if program else None
    except OSError:
        return {}
    told = [program, status.st_mtime_ns, status.st_size, status.st_mode] if status else None
    return {"boot": boot, "user": os.getuid(), "version": __version__, "bubblewrap": told}


def _remembered() -> object:
    try:
        return json.loads(_memory().read_bytes())
    except (OSError, ValueError):
        return None


def _remember(finding: dict[str, object]) -> None:
    try:
        paths.private_dir(_memory().parent)
        paths.atomic_write(_memory(), json.dumps(finding))
    except OSError as error:  # it is tried again next time
        _log.warning("which jail holds cannot be remembered: %s", error)


async def _why_not(jail: Jail) -> str:
    """What a tier failed at; empty where it held."""
    try:
        results = await probes.probe(jail, probes.QUICK)
    except LlmosError as error:
        return str(error).rstrip(".")
    except Exception as error:  # whatever it is, such a tier is not to be relied on
        _log.exception("the probes of %s failed", jail.name)
        why = error.strerror if isinstance(error, OSError) else ""
        return f"it could not be tried ({why or type(error).__name__})"
    out = [result for result in results if not result.held]
    if not results:
        return "no probe ran"
    return f"{len(out)} of {len(results)} escapes were not denied: {out[0].name}" if out else ""


def _remedy() -> str:
    if platform.system() == "Linux":
        return (
            "Install bubblewrap (Debian, Ubuntu: sudo apt install bubblewrap; Fedora: sudo dnf "
            "install bubblewrap) and allow user namespaces, or use a kernel with Landlock."
        )
    if platform.system() == "Darwin":
        return "It needs /usr/bin/sandbox-exec, which macOS brings along."
    return "Use Linux or macOS."
