"""What the machine is doing (``services.Machine``): figures, by psutil.

Of other programs their names only, never what they were started with: that holds passwords. What
the system does not tell is left out. Sizes are in bytes, shares in percent of the whole machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict

import psutil

from llmos import limits
from llmos.threads import in_thread
from llmos.visible import visible

__all__ = ["Machine"]

_NAME_CHARS = 40
#: File systems that hold nothing of a person's.
_UNREAL = frozenset({"squashfs", "overlay", "tmpfs", "devtmpfs", "devfs", "iso9660", "autofs"})


class Machine:
    """This machine."""

    async def status(self) -> dict[str, object]:
        """Processor, memory, disks, battery, uptime, and the busiest programs.

        Returns:
            ``processor`` (``percent`` of all ``cores``, ``load`` over a minute), ``memory`` and
            ``swap`` (``total``, ``used``, ``percent``), ``disks`` (``place``, ``total``, ``free``,
            ``percent``), ``battery`` (``percent``, ``charging``, ``minutes`` left) or None,
            ``uptime`` in seconds, ``busiest`` (``name``, ``percent``) and ``largest`` (``name``,
            ``memory``) programs.
        """
        return await in_thread(_status)


def _status() -> dict[str, object]:
    before = _times()
    psutil.cpu_percent(None)
    started = time.monotonic()
    time.sleep(limits.MACHINE_SECONDS)  # in a thread: what is busy shows only over some time
    percent = psutil.cpu_percent(None)
    elapsed = time.monotonic() - started
    busiest, largest = _programs(before, elapsed)
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "processor": {
            "percent": percent,
            "cores": psutil.cpu_count() or 1,
            "load": round(os.getloadavg()[0], 2),
        },
        "memory": {
            "total": memory.total,
            "used": memory.total - memory.available,
            "percent": memory.percent,
        },
        "swap": {"total": swap.total, "used": swap.used, "percent": swap.percent},
        "disks": _disks(),
        "battery": _battery(),
        "uptime": max(0, round(time.time() - psutil.boot_time())),
        "busiest": busiest,
        "largest": largest,
    }


def _times() -> dict[int, float]:
    """Seconds of processor time that each program used so far."""
    used = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used


def _programs(
    before: dict[int, float], elapsed: float
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The busiest programs and the largest, the processes of one name together."""
    busy: dict[str, float] = defaultdict(float)
    size: dict[str, int] = defaultdict(int)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            name = visible(process.name())[:_NAME_CHARS].replace("\n", " ")
            times = process.cpu_times()
            size[name] += process.memory_info().rss
            used = times.user + times.system - before.get(process.pid, times.user + times.system)
            busy[name] += max(0.0, used)
    cores = psutil.cpu_count() or 1
    shares = {name: round(100 * used / elapsed / cores, 1) for name, used in busy.items()}
    first = sorted(shares, key=lambda name: (-shares[name], name))[: limits.MACHINE_PROGRAMS]
    large = sorted(size, key=lambda name: (-size[name], name))[: limits.MACHINE_PROGRAMS]
    return (
        [{"name": name, "percent": shares[name]} for name in first if shares[name] > 0],
        [{"name": name, "memory": size[name]} for name in large if size[name] > 0],
    )


def _disks() -> list[dict[str, object]]:
    """The disks a person knows of, each once, wherever else it is mounted, the fullest first."""
    found: dict[str, dict[str, object]] = {}
    places = [(part.device, part.mountpoint, part.fstype) for part in psutil.disk_partitions()]
    root = ("/", "/", "")
    for device, place, kind in [*places, root]:
        if kind in _UNREAL or device in found or (device == "/" and found):
            continue
        with contextlib.suppress(OSError):
            usage = psutil.disk_usage(place)
            if usage.total:
                found[device] = {
                    "place": visible(place),
                    "total": usage.total,
                    "free": usage.free,
                    "percent": usage.percent,
                }
    full = sorted(found.values(), key=lambda disk: -float(str(disk["percent"])))
    return full[: limits.MACHINE_DISKS]


def _battery() -> dict[str, object] | None:
    read = getattr(psutil, "sensors_battery", None)  # not on every system
    try:
        battery = read() if read is not None else None
    except (OSError, RuntimeError, NotImplementedError):
        battery = None
    if battery is None:
        return None
    left = battery.secsleft
    return {
        "percent": round(battery.percent),
        "charging": bool(battery.power_plugged),
        "minutes": round(left / 60) if isinstance(left, int) and left > 0 else None,
    }
