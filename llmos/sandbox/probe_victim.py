"""Another program of the same person, for escape probes to attack. Started by ``probe_world.py``.

It holds a secret word in its arguments, its environment, its memory, an open file and shared
memory, and says so in one line of JSON. Then it says which signals reach it, a number a line,
until its standard input ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys

__all__: list[str] = []

SIGNALS = ("SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGURG", "SIGIO", "SIGTERM", "SIGHUP")
IPC_CREAT, IPC_RMID = 0o1000, 0


def main() -> None:
    token, secret = sys.argv[1:]
    kept = ctypes.create_string_buffer(token.encode())
    libc = ctypes.CDLL(None)
    key, number = int(token[:7], 16) | 1, -1
    with contextlib.suppress(AttributeError):
        number = libc.shmget(key, 4096, IPC_CREAT | 0o600)
    if number >= 0:
        libc.shmat.restype = ctypes.c_void_p
        ctypes.memmove(libc.shmat(number, None, 0), kept, len(kept))
    name = ""
    with contextlib.suppress(OSError), open(f"/dev/shm/llmos-probe-{token[:12]}", "x") as file:
        name = os.path.basename(file.name)
        os.chmod(file.name, 0o600)
        file.write(token)
    for word in SIGNALS:
        signal.signal(getattr(signal, word), lambda got, _: os.write(1, b"%d\n" % got))
    facts = {
        "address": ctypes.addressof(kept),
        "victim_fd": os.open(secret, os.O_RDONLY),
        "shared_key": key if number >= 0 else 0,
        "shared_name": name,
    }
    os.write(1, json.dumps(facts).encode() + b"\n")
    try:
        while os.read(0, 1):
            pass
    finally:
        if number >= 0:
            libc.shmctl(number, IPC_RMID, None)
        if name:
            os.unlink(f"/dev/shm/{name}")


if __name__ == "__main__":
    main()
