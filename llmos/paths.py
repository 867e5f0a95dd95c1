"""The one home of directories and of atomic writes.

Knows where things live; creates a directory only when asked for it by the functions that say so.
``LLMOS_HOME`` puts everything below one folder (tests, portable installs); otherwise the
platform's usual places are used.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import platformdirs

__all__ = [
    "atomic_write",
    "bundled",
    "cache_dir",
    "config_file",
    "log_file",
    "models_dir",
    "own_places",
    "plugins_dir",
    "private_dir",
    "remade_dir",
    "socket_path",
    "state_dir",
    "tools_dir",
]

_PACKAGE = Path(__file__).resolve().parent
#: Longest path a Unix socket address holds on every supported system, in bytes.
_SOCKET_PATH_MAX = 100


def _home() -> Path | None:
    home = os.environ.get("LLMOS_HOME")
    return Path(home).expanduser().resolve() if home else None


def state_dir() -> Path:
    """Where the journal, the lock, the socket and the log live (``LLMOS_STATE`` overrides)."""
    if state := os.environ.get("LLMOS_STATE"):
        return Path(state).expanduser().resolve()
    home = _home()
    return home / "state" if home else Path(platformdirs.user_state_dir("llmos"))


def config_file() -> Path:
    """The person's settings, a TOML file that need not exist."""
    home = _home()
    base = home if home else Path(platformdirs.user_config_dir("llmos"))
    return base / "config.toml"


def models_dir() -> Path:
    """Where pulled models are kept."""
    home = _home()
    return home / "models" if home else Path(platformdirs.user_data_dir("llmos")) / "models"


def tools_dir() -> Path:
    """The person's own tools, each a folder as in the bundled ``tools``; need not exist."""
    return models_dir().parent / "tools"


def plugins_dir() -> Path:
    """The experts a person installed; need not exist."""
    return models_dir().parent / "plugins"


def cache_dir() -> Path:
    """What can be deleted at any time (``LLMOS_CACHE`` overrides)."""
    if cache := os.environ.get("LLMOS_CACHE"):
        return Path(cache).expanduser().resolve()
    home = _home()
    return home / "cache" if home else Path(platformdirs.user_cache_dir("llmos"))


def log_file(state: Path | None = None) -> Path:
    """The kernel's log, where tracebacks go."""
    return (state or state_dir()) / "kernel.log"


def socket_path(state: Path | None = None) -> Path:
    """The kernel's private Unix socket.

    It lies in the state directory; where that path is too long for a socket address, in a
    private folder of ``XDG_RUNTIME_DIR`` or, without that, of ``/tmp``, under a name made from
    the state directory. Every terminal must come to the same place, so ``TMPDIR`` is no matter.

    Raises:
        PermissionError: That folder is a link or belongs to somebody else.
    """
    state = state or state_dir()
    path = state / "kernel.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        return path
    import hashlib

    name = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and len(os.fsencode(runtime)) <= _SOCKET_PATH_MAX - 32:
        folder = Path(runtime) / "llmos"
    else:
        folder = Path("/tmp") / f"llmos-{os.getuid()}"  # where anybody may have put something
    folder.mkdir(mode=0o700, exist_ok=True)
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise PermissionError(f"{folder} is not a folder of its own")
    return private_dir(folder) / f"{name}.sock"


def private_dir(path: Path) -> Path:
    """Create ``path`` (and parents) readable by this user alone, and return it.

    Parents that are there already are left as they are.

    Raises:
        PermissionError: It exists and belongs to somebody else.
    """
    for folder in (*reversed(path.parents), path):
        if folder == path or not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path


def remade_dir(path: Path) -> Path:
    """``private_dir`` for what can be made anew: what stands in its place is put aside.

    Raises:
        OSError: It cannot be put aside, or there can be no folder.
    """
    if os.path.lexists(path) and not path.is_dir():
        os.replace(path, path.with_name(f"{path.name}.broken"))
    return private_dir(path)


def own_places() -> tuple[Path, ...]:
    """Where llmos keeps what it remembers, what it may do and what it runs: never for a tool."""
    return (
        state_dir(),
        config_file(),
        models_dir(),
        tools_dir(),
        plugins_dir(),
        cache_dir(),
    )


def bundled(name: str) -> Path:
    """A folder shipped with llmos: ``tools``, ``plugins`` or ``assets``.

    An installed wheel carries them in ``llmos/_bundle``; a checkout has them at its top.
    """
    installed = _PACKAGE / "_bundle" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def atomic_write(path: Path, data: bytes | str, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data`` such that a crash leaves the old file or the new, whole."""
    raw = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
