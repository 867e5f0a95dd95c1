"""This machine: memory, cores, and the devices llama.cpp can use.

A thin probe. It judges nothing; ``hardware`` does, from the plain data returned here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Device", "Hardware", "graphics_cards", "probe"]

#: ``enum ggml_backend_dev_type``.
_KINDS: Final = ("cpu", "gpu", "igpu", "accel", "meta")
_DEVICES_MAX: Final = 64
_DRM_VENDORS: Final = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Device:
    """A device as llama.cpp lists it.

    Args:
        kind: ``cpu``, ``gpu``, ``igpu`` (shares the main memory), ``accel`` or ``meta``.
        free / total: Its memory, in bytes.
    """

    name: str
    description: str
    kind: str
    free: int = 0
    total: int = 0

    @property
    def shares_memory(self) -> bool:
        """Whether its memory is the machine's own (integrated graphics, Apple silicon)."""
        return self.kind == "igpu" or self.name.lower().startswith(("metal", "mtl"))


@dataclass(frozen=True, slots=True)
class Hardware:
    """This machine.

    Args:
        memory_total / memory_available: Main memory, in bytes.
        cores: Physical cores this process may use.
        devices: What llama.cpp sees.
        cards: Graphics cards the operating system knows of, used or not.
        gpu_build: Whether this build of llama.cpp can use a GPU at all.
        system: llama.cpp's line about CPU features; empty where it could not be loaded.
        problem: Why llama.cpp could not be loaded.
    """

    memory_total: int
    memory_available: int
    cores: int
    devices: tuple[Device, ...] = ()
    cards: tuple[str, ...] = ()
    gpu_build: bool = False
    system: str = ""
    problem: str = ""


def graphics_cards(drm: Path = Path("/sys/class/drm")) -> tuple[str, ...]:
    """Makers of the graphics cards that the Linux kernel lists, whether usable or not."""
    makers = set()
    for vendor in drm.glob("card*/device/vendor"):
        try:
            maker = _DRM_VENDORS.get(vendor.read_text("ascii").strip())
        except (OSError, ValueError):
            continue
        if maker:
            makers.add(maker)
    if Path("/proc/driver/nvidia/version").exists() and drm == Path("/sys/class/drm"):
        makers.add("NVIDIA")
    return tuple(sorted(makers))


@dataclass(slots=True)
class _Seen:
    devices: tuple[Device, ...] = field(default=())
    gpu_build: bool = False
    system: str = ""
    problem: str = ""


def _llama() -> _Seen:
    """llama.cpp's device list, through its C interface; never an exception."""
    import ctypes

    try:
        import llama_cpp
        from llama_cpp import _ggml

        lib = _ggml.libggml
        lib.ggml_backend_dev_count.restype = ctypes.c_size_t
        lib.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
        lib.ggml_backend_dev_get.restype = ctypes.c_void_p
        for name in ("ggml_backend_dev_name", "ggml_backend_dev_description"):
            getattr(lib, name).argtypes = [ctypes.c_void_p]
            getattr(lib, name).restype = ctypes.c_char_p
        lib.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
        lib.ggml_backend_dev_type.restype = ctypes.c_int
        size_p = ctypes.POINTER(ctypes.c_size_t)
        lib.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size_p, size_p]
        lib.ggml_backend_dev_memory.restype = None
        devices = []
        for index in range(min(int(lib.ggml_backend_dev_count()), _DEVICES_MAX)):
            handle = lib.ggml_backend_dev_get(index)
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            lib.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
            kind = int(lib.ggml_backend_dev_type(handle))
            devices.append(
                Device(
                    (lib.ggml_backend_dev_name(handle) or b"").decode("utf-8", "replace"),
                    (lib.ggml_backend_dev_description(handle) or b"").decode("utf-8", "replace"),
                    _KINDS[kind] if 0 <= kind < len(_KINDS) else "accel",
                    free.value,
                    total.value,
                )
            )
        return _Seen(
            tuple(devices),
            bool(llama_cpp.llama_supports_gpu_offload()),
            llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(" |"),
        )
    except Exception as error:  # whatever a broken build raises, the machine is still described
        return _Seen(problem=str(error).splitlines()[0][:300] if str(error) else repr(error))


def _cores() -> int:
    import psutil

    physical: int = psutil.cpu_count(logical=False) or 1
    try:
        allowed = len(os.sched_getaffinity(0))  # containers and taskset give fewer
    except (AttributeError, OSError):
        allowed = physical
    return max(1, min(physical, allowed))


def _container(folder: Path = _CGROUP) -> tuple[int, int] | None:
    """Limit and use of memory of the container this runs in (cgroup v2), in bytes.

    Cached files that nothing uses count as free, as they do outside containers.
    """
    try:
        limit = (folder / "memory.max").read_text("ascii").strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text("ascii"))
        lines = (folder / "memory.stat").read_text("ascii").splitlines()
        cached = next((int(x.split()[1]) for x in lines if x.startswith("inactive_file ")), 0)
        return int(limit), max(used - cached, 0)
    except (OSError, ValueError, IndexError):
        return None


def probe(*, llama: bool = True) -> Hardware:
    """Look at this machine.

    Args:
        llama: Also load llama.cpp and ask for its devices. With CUDA this opens the driver.
    """
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    if (container := _container()) is not None:
        total = min(total, container[0])
        available = min(available, max(container[0] - container[1], 0))
    seen = _llama() if llama else _Seen()
    return Hardware(
        memory_total=total,
        memory_available=available,
        cores=_cores(),
        devices=seen.devices,
        cards=graphics_cards(),
        gpu_build=seen.gpu_build,
        system=seen.system,
        problem=seen.problem,
    )
