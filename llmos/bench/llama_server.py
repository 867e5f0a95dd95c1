"""llmos's rival on the same weights: llama.cpp's own server, from the package ``xllamacpp``.

Runs as a child process: it loads the model, listens on a loopback port of its own choice, prints
its address and serves until its standard input ends. A development dependency: where it is not
installed, what is compared with it is left out, with the reason.
"""

from __future__ import annotations

import importlib.util
import json
import sys

__all__ = ["installed", "main"]


def installed() -> bool:
    """Whether the package that carries the server is there."""
    return importlib.util.find_spec("xllamacpp") is not None


def main(arguments: list[str]) -> None:
    """Serve ``MODEL THREADS SLOTS CELLS`` until standard input ends."""
    import xllamacpp

    model, threads, slots, cells = arguments
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.n_parallel = int(slots)
    params.n_ctx = int(cells)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(json.dumps({"address": server.listening_address}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
