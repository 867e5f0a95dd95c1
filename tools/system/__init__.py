"""What this machine is doing: what is busy, what is full, how long the battery lasts."""

from __future__ import annotations

from typing import Any, Literal

from llmos.sdk import Context, Result

__all__ = ["status"]

_FULL = 90.0  # percent of a disk or of memory from which on it is said first

Part = Literal["all", "processor", "memory", "disk", "battery", "uptime"]


async def status(context: Context, part: Part = "all") -> Result:
    """Tell what the machine is doing.

    Args:
        part: What is asked about.
    """
    found: dict[str, Any] = dict(await context.machine.status())
    told = {
        "processor": _processor(found),
        "memory": _memory(found),
        "disk": _disks(found),
        "battery": _battery(found),
        "uptime": f"It has been running for {_span(found['uptime'])}.",
    }
    lines = [text for name, text in told.items() if part in ("all", name)]
    if part == "all":
        lines = [*_warnings(found), *lines]
    return Result("\n".join(lines), found)


def _warnings(found: dict[str, Any]) -> list[str]:
    full = [f"The disk {disk['place']}" for disk in found["disks"] if disk["percent"] >= _FULL]
    if found["memory"]["percent"] >= _FULL:
        full.append("The memory")
    return [f"{what} is nearly full." for what in full]


def _processor(found: dict[str, Any]) -> str:
    processor = found["processor"]
    cores = f"{processor['cores']} core{'s' if processor['cores'] != 1 else ''}"
    text = f"Processor: {processor['percent']:.0f}% busy ({cores}, load {processor['load']:g})."
    busiest = [f"{each['name']} {each['percent']:g}%" for each in found["busiest"]]
    return f"{text} Busiest: {', '.join(busiest)}." if busiest else text


def _memory(found: dict[str, Any]) -> str:
    memory, swap = found["memory"], found["swap"]
    text = (
        f"Memory: {_size(memory['used'])} of {_size(memory['total'])} used "
        f"({memory['percent']:.0f}%)."
    )
    if swap["total"]:
        text += f" Swap: {_size(swap['used'])} of {_size(swap['total'])}."
    largest = [f"{each['name']} {_size(each['memory'])}" for each in found["largest"]]
    return f"{text} Largest: {', '.join(largest)}." if largest else text


def _disks(found: dict[str, Any]) -> str:
    disks = [
        f"Disk {disk['place']}: {_size(disk['free'])} of {_size(disk['total'])} free "
        f"({disk['percent']:.0f}% full)."
        for disk in found["disks"]
    ]
    return "\n".join(disks) or "No disk tells how full it is."


def _battery(found: dict[str, Any]) -> str:
    battery = found["battery"]
    if battery is None:
        return "There is no battery."
    if battery["charging"]:
        return f"Battery: {battery['percent']}%, plugged in."
    left = f", {_span(60 * battery['minutes'])} left" if battery["minutes"] else ""
    return f"Battery: {battery['percent']}%{left}."


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _span(seconds: float) -> str:
    minutes = int(seconds) // 60
    parts = [(minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute")]
    said = [f"{count} {unit}{'s' if count != 1 else ''}" for count, unit in parts if count]
    return " and ".join(said[:2]) or "less than a minute"
