"""The process in which one GGUF header is read. Started by ``header_process.py``, in a jail.

In: the file, from its first byte on; its size is the argument. It gets the bytes, never the file
or its name, and reads no further than the header. Out: an object in JSON, either ``header``, as
``header.told`` makes it, or ``damaged``, the end of a sentence.

It sees five modules of llmos and no folder, and a jail may forbid it to list one: so it loads them
by their own paths.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["SEEN"]

#: What it imports of llmos, in this order; all that a jail shows it, besides this file.
SEEN = ("limits", "errors", "visible", "models.container", "models.header")


def load(package: Path) -> ModuleType:
    """Import ``SEEN`` from below ``package``.

    Returns:
        The last of them.
    """
    for name in ("llmos", "llmos.models"):
        folder = ModuleType(name)
        folder.__path__ = []  # nothing else is found in it
        sys.modules[name] = folder
    for name in SEEN:
        path = package.joinpath(*name.split(".")).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(f"llmos.{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        parent, _, last = spec.name.rpartition(".")
        setattr(sys.modules[parent], last, module)
        spec.loader.exec_module(module)
    return module


def main() -> None:
    header = load(Path(__file__).resolve().parents[1])
    damaged = sys.modules["llmos.models.container"].Damaged
    try:
        found = header.described(sys.stdin.buffer, int(sys.argv[1]), Path("it"))
        said = {"header": header.told(found)}
    except damaged as error:
        said = {"damaged": error.what}
    except MemoryError:
        said = {"damaged": "its header needs more memory than any real one"}
    sys.stdout.buffer.write(json.dumps(said, ensure_ascii=False).encode())


if __name__ == "__main__":
    main()
