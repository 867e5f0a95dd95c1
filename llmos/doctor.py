"""``llmos doctor``: is everything there that llmos needs, and what to do about what is not.

Each check looks at one thing and returns data; it never repairs and never raises. Printing is
thin. A failed check (✗) means llmos cannot work; a warning (!) means something is slower or
missing that it can do without.
"""

from __future__ import annotations

import asyncio
import codecs
import dataclasses
import errno
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click

from llmos import config, limits, paths
from llmos.client import Client
from llmos.errors import LlmosError, RemoteDown
from llmos.memory import embedders
from llmos.memory.check import check as verify
from llmos.models import catalog, gguf, hardware
from llmos.models.hardware import Hardware, amount
from llmos.sandbox import probes, tiers

__all__ = ["Check", "doctor", "examinations", "examine"]

Status = Literal["ok", "warn", "fail"]
_MARKS: Final[dict[Status, str]] = {"ok": "✓", "warn": "!", "fail": "✗"}
_PLAIN_MARKS: Final[dict[Status, str]] = {"ok": "ok", "warn": "!", "fail": "X"}
_COLOURS: Final[dict[Status, str]] = {"ok": "green", "warn": "yellow", "fail": "red"}
_PYTHON_MIN: Final = (3, 11)
_PROBE_SECONDS: Final = 10.0
_SPACE_WARN: Final = 1 << 30
_CPU_FEATURES: Final = ("AVX2", "AVX512", "F16C", "FMA", "NEON", "SVE", "DOTPROD")
_REBUILD: Final = "CMAKE_ARGS='{}' pip install --force-reinstall --no-binary :all: llama-cpp-python"
_JAILS: Final = "Install bubblewrap; in a container, allow user namespaces; on Ubuntu, AppArmor."
_NOT_USED: Final = "llmos does not use this tier; report it with the output of llmos doctor --json."
_OUT_SHOWN: Final = 5
_NAME_CELLS: Final = len("chat template")  # the longest name of a check
_GPU_FLAGS: Final = {"NVIDIA": "-DGGML_CUDA=on", "AMD": "-DGGML_VULKAN=on"}


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Args:
        name: What was looked at.
        status: ``ok``, ``warn`` or ``fail``.
        detail: What was found, in one sentence.
        remedy: What to do about it; empty where nothing need be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info < _PYTHON_MIN:
        return Check("python", "fail", f"Python {version}.", "llmos needs Python 3.11 or newer.")
    return Check("python", "ok", f"Python {version} on {platform.system()} {platform.machine()}.")


def _settings(file: Path) -> Check:
    if not file.exists():
        return Check("settings", "ok", f"As they come: there is no {file}.")
    return Check("settings", "ok", f"{file}.")


def _llama(machine: Hardware) -> Check:
    if machine.problem:
        return Check(
            "llama.cpp",
            "fail",
            f"It cannot be loaded: {machine.problem.rstrip('.')}.",
            "Reinstall it: pip install --force-reinstall llama-cpp-python",
        )
    on = {
        part.split("=")[0].split(":")[-1].strip()
        for part in machine.system.split("|")
        if "= 1" in part
    }
    features = ", ".join(name for name in _CPU_FEATURES if name in on) or "no vector units"
    devices = ", ".join(f"{device.name} ({device.description})" for device in machine.devices)
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if x86 and "AVX2" not in on:
        return Check(
            "llama.cpp",
            "warn",
            f"Built without AVX2, so it is several times slower than it could be. {devices}.",
            _REBUILD.format("-DGGML_NATIVE=on"),
        )
    return Check("llama.cpp", "ok", f"{devices or 'no device'}; {features}.")


def _gpu(machine: Hardware) -> Check:
    """A GPU that is there but idle is what people never get told about elsewhere."""
    used = hardware.pick_devices(machine.devices)
    if used:
        names = ", ".join(
            f"{gpu.name} ({gpu.description}, {amount(gpu.free)} of {amount(gpu.total)} free)"
            for gpu in used
        )
        return Check("gpu", "ok", f"{names}.")
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Check(
            "gpu",
            "warn",
            "This Mac's GPU is not used: llama.cpp was built without Metal.",
            _REBUILD.format("-DGGML_METAL=on"),
        )
    cards = [card for card in machine.cards if card in _GPU_FLAGS]
    if not cards:
        return Check("gpu", "ok", "None found; the model runs on the CPU.")
    card = "NVIDIA" if "NVIDIA" in cards else cards[0]
    if not machine.gpu_build:
        return Check(
            "gpu",
            "warn",
            f"There is an {card} card, but llama.cpp was built without support for it.",
            _REBUILD.format(_GPU_FLAGS[card]),
        )
    driver = "nvidia-smi" if card == "NVIDIA" else "vulkaninfo --summary"
    return Check(
        "gpu",
        "warn",
        f"There is an {card} card and llama.cpp supports GPUs, but it sees none.",
        f"Check the driver with: {driver}. In a container, pass the card through.",
    )


def _model(settings: config.Config, machine: Hardware) -> list[Check]:
    """Found, whole, and not too large: one check each, as far as it gets."""
    name = settings.engine.model
    if "://" in name or name.startswith("scripted:"):
        return [Check("model", "ok", f"{name} is not a file on this machine.")]
    try:
        model = catalog.find(name)
        header = gguf.verify(model.path)
    except LlmosError as error:
        return [Check("model", "fail", error.sentence, error.remedy or "llmos models list")]
    size = amount(header.file_size)
    checks = [
        Check(
            "model",
            "ok",
            f"{model.name}: {header.size_label} {header.quantisation}, {size}, "
            + ("verified." if model.entry else "header verified, no checksum known."),
        )
    ]
    if not header.template:
        checks.append(
            Check(
                "chat template",
                "warn",
                f"{model.name} has no chat template: it continues text, but cannot chat well.",
                "Choose an instruct model: llmos models list",
            )
        )
    plan = hardware.plan(header, machine, settings.engine)
    verdict = plan.verdict
    status: Status = {"yes": "ok", "slow": "warn", "no": "fail"}[verdict.fits]  # type: ignore[assignment]
    remedy = "" if status == "ok" else "Choose a smaller model: llmos models list"
    checks.append(Check("memory", status, f"{verdict.reason} {plan.note}".strip(), remedy))
    if suggestion := hardware.suggest(machine, name):
        checks.append(Check("better model", "ok", suggestion.reason))
    return checks


def _embedder(settings: config.Config) -> Check:
    """Which one the settings ask for, and whether it embeds a text."""
    wanted = settings.memory.embedder
    started = wanted == "starter"
    without = "Search by meaning and choosing tools work less well without it. " if started else ""
    fetch = f"{without}Get it with: llmos models pull embedder" if started else ""
    try:
        embedder = embedders.choose(settings.memory)
        if embedder is None:
            return Check("embedder", "ok", "None: searches go by words ([memory] embedder).")
        try:
            embedder.load()
            embedder.embed(["Is anybody there?"])
        finally:
            embedder.close()
    except RemoteDown as error:
        return Check(
            "embedder",
            "warn",
            f"Searches go by words for now: {error.sentence}",
            f"{error.remedy} Vectors follow when it is back.",
        )
    except LlmosError as error:
        remedy = fetch or error.remedy or "Choose another embedder: [memory] embedder."
        return Check("embedder", "warn" if started else "fail", error.sentence, remedy)
    window = f", texts of {embedder.window} tokens" if embedder.window else ""
    what = f"{embedder.model}: vectors of {embedder.dimension} numbers{window}"
    where = embedder.name.partition("#")[0] if "://" in embedder.name else ""
    return Check("embedder", "ok", f"{what}; it works{f' ({where})' if where else ''}.")


def _state(state: Path) -> Check:
    """Writable by trying, since permissions alone do not tell (read-only mounts, quotas)."""
    try:
        paths.private_dir(state)
        probe = state / ".doctor"
        paths.atomic_write(probe, b"llmos")
        probe.unlink()
        free = shutil.disk_usage(state).free
    except OSError as error:
        reason = error.strerror or str(error)
        return Check(
            "state",
            "fail",
            f"The state directory {state} cannot be written: {reason}.",
            "Make room on that disk."
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "Make it yours and writable, or set LLMOS_HOME to another folder.",
        )
    if free < limits.STORE_FREE_BYTES:
        return Check(
            "state", "fail", f"Only {amount(free)} are free in {state}.", "Make room on that disk."
        )
    if free < _SPACE_WARN:
        return Check(
            "state", "warn", f"{amount(free)} are free in {state}.", "Make room before it fills up."
        )
    return Check("state", "ok", f"{state} is writable, {amount(free)} free.")


def _journal(state: Path) -> Check:
    """All of it, from the first record on: also beside a kernel that runs."""
    file = state / "journal.db"
    if not file.exists():
        return Check("journal", "ok", "None yet; the first kernel makes it.")
    problems = verify(file)
    if not problems:
        return Check("journal", "ok", f"{file}: whole, its chain of hashes unbroken.")
    more = f" {len(problems) - 1} more problems." if len(problems) > 1 else ""
    remedy = "Stop llmos and put a backup in its place; keep a copy of what is there."
    if shutil.disk_usage(state).free < limits.STORE_FREE_BYTES:  # then nothing said so far is sure
        remedy = "Make room on that disk first, and look again."
    return Check("journal", "fail", f"{problems[0]}{more}", remedy)


def _reminders(state: Path) -> Check:
    """Whether the kernel had to put some aside: nobody is woken by those."""
    aside = sorted(state.glob("timers.json.broken*"))
    if not aside:
        return Check("reminders", "ok", "All that were set are known.")
    names = ", ".join(path.name for path in aside)
    return Check(
        "reminders",
        "warn",
        f"Some could not be read and were put aside in {state}: {names}.",
        "See what they hold, set again what still matters, and delete them.",
    )


def _socket(state: Path) -> Check:
    try:
        path = paths.socket_path(state)
    except OSError as error:
        return Check(
            "socket",
            "fail",
            f"There is no safe place for the kernel's socket: {error}.",
            "Set LLMOS_HOME to a shorter path of your own.",
        )
    return Check("socket", "ok", f"{path}.")


async def _status(path: Path) -> dict[str, object]:
    async with Client(path) as client:
        return await asyncio.wait_for(client.status(), _PROBE_SECONDS)


def _kernel(state: Path) -> Check:
    try:
        path = paths.socket_path(state)
        if not path.exists():
            return Check("kernel", "ok", "Not running; it starts with the first terminal.")
        status = asyncio.run(_status(path))
    except (LlmosError, OSError, TimeoutError):
        return Check(
            "kernel",
            "warn",
            "A socket is there, but no kernel answers.",
            f"It starts anew with the next terminal; the log is {paths.log_file(state)}.",
        )
    return Check("kernel", "ok", f"Running, version {status.get('version', 'unknown')}.")


def _terminal() -> Check:
    encoding = sys.stdout.encoding or "ascii"
    try:
        utf8 = codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        utf8 = False
    term = os.environ.get("TERM", "")
    true_colour = os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    colours = (
        "16 million colours" if true_colour else "256 colours" if "256" in term else "few colours"
    )
    detail = f"{term or 'unknown'}, {encoding}, {colours}."
    if not utf8:
        remedy = "Use a UTF-8 locale, such as: export LANG=C.UTF-8"
        return Check("terminal", "warn", f"It does not speak UTF-8 ({encoding}).", remedy)
    if term in ("", "dumb") and sys.stdout.isatty():
        return Check(
            "terminal", "warn", "It cannot place the cursor (TERM is unset or dumb).",
            "llmos ask works here; the chat screen needs a full terminal.",
        )  # fmt: skip
    return Check("terminal", "ok", detail)


def _sandbox() -> list[Check]:
    """Every tier of this system, by trying to get out of it: the first that holds is used."""
    checks: list[Check] = []
    for jail in tiers.available():
        used = not any(check.status == "ok" for check in checks)
        try:
            probed = asyncio.run(probes.probe(jail))
        except LlmosError as error:
            checks.append(
                Check("sandbox", "warn", f"{jail.name}: {error.sentence}", error.remedy or _JAILS)
            )
            continue
        out = [one for one in probed if not one.held]
        told = f"{jail.name}: {len(probed) - len(out)} of {len(probed)} escapes denied"
        if out:
            names = "; ".join(f"{one.about} ({one.told})" for one in out[:_OUT_SHOWN])
            more = f"; and {len(out) - _OUT_SHOWN} more" if len(out) > _OUT_SHOWN else ""
            detail = f"{told}. Not denied: {names}{more}."
            checks.append(Check("sandbox", "warn", detail, _NOT_USED))
        else:
            checks.append(Check("sandbox", "ok", f"{told}{'' if used else '; it stands by'}."))
    if not any(check.status == "ok" for check in checks):
        detail = "No code and no document from outside can be run or read safely, so none is."
        checks.append(Check("sandbox", "warn", detail, _JAILS))
    return checks


def examine(settings: config.Config | None = None, machine: Hardware | None = None) -> list[Check]:
    """Run every check; see ``examinations``."""
    return list(examinations(settings, machine))


def examinations(
    settings: config.Config | None = None, machine: Hardware | None = None
) -> Iterator[Check]:
    """Run every check, in a fixed order; each is told as soon as it is done.

    Args:
        settings: Read from file and environment where not given.
        machine: Probed where not given.

    Returns:
        The checks; one that broke is a failed one.
    """

    def run(name: str, check: Callable[[], Check | list[Check]]) -> Iterator[Check]:
        try:
            found = check()
        except Exception as error:  # the doctor reports what breaks, also in itself
            found = Check(name, "fail", f"The check itself failed: {error!r}.")
        yield from found if isinstance(found, list) else [found]

    yield from run("python", _python)
    if settings is None:
        try:
            settings = config.load()
            yield _settings(paths.config_file())
        except LlmosError as error:
            yield Check("settings", "fail", error.sentence, error.remedy)
            settings = config.Config()
    chosen, seen = settings, machine or hardware.probe()
    yield from run("llama.cpp", lambda: _llama(seen))
    yield from run("gpu", lambda: _gpu(seen))
    yield from run("model", lambda: _model(chosen, seen))
    yield from run("embedder", lambda: _embedder(chosen))
    yield from run("state", lambda: _state(chosen.state))
    yield from run("journal", lambda: _journal(chosen.state))
    yield from run("reminders", lambda: _reminders(chosen.state))
    yield from run("socket", lambda: _socket(chosen.state))
    yield from run("kernel", lambda: _kernel(chosen.state))
    yield from run("terminal", _terminal)
    yield from run("sandbox", _sandbox)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check that everything llmos needs is there."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a path may hold what the terminal cannot show
    if as_json:
        checks = examine()
        failed = any(check.status == "fail" for check in checks)
        data = {"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        raise SystemExit(failed)
    try:
        "".join(_MARKS.values()).encode(sys.stdout.encoding or "ascii")
        marks = _MARKS
    except (UnicodeEncodeError, LookupError):
        marks = _PLAIN_MARKS
    failed, checking = False, examinations()
    while (check := _next(checking)) is not None:
        failed |= check.status == "fail"
        mark = click.style(marks[check.status], fg=_COLOURS[check.status])
        click.echo(f"{mark} {check.name.ljust(_NAME_CELLS)}  {check.detail}")
        if check.remedy:
            beside = f"  {' ' * _NAME_CELLS}  → " if marks is _MARKS else "    "
            click.echo(f"{beside}{check.remedy}")
    raise SystemExit(failed)


def _next(checking: Iterator[Check]) -> Check | None:
    """The next check; a person who waits for it is told that something is being done."""
    waits = sys.stdout.isatty() and sys.stderr.isatty()
    if waits:
        click.echo("  checking …", err=True, nl=False)
    try:
        return next(checking, None)
    finally:
        if waits:
            click.echo("\r            \r", err=True, nl=False)
