"""``llmos models``: list, pull, use, info, remove.

Thin: each command calls a function that returns data and prints it as a table or as JSON. Errors
become one sentence on standard error (or a JSON object) and exit code 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import click

from llmos import config
from llmos.errors import LlmosError, ModelError
from llmos.models import catalog, gguf, hardware
from llmos.models.catalog import Entry, Model
from llmos.models.download import Progress
from llmos.models.hardware import Hardware, Verdict, amount
from llmos.models.selection import select_model
from llmos.visible import visible

__all__ = ["Bar", "info_of", "models", "overview"]

P = ParamSpec("P")
_LOADED = ("chat", "completion")  # purposes of what the kernel itself can run
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn an llmos error into its sentence and exit code 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except LlmosError as error:
            if kwargs.get("as_json"):
                told = {"code": error.code, "message": error.sentence, "remedy": error.remedy}
                _print_json({"error": told})
            else:
                click.echo(visible(str(error)), err=True)
            raise SystemExit(1) from None

    return run


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, default=str))  # in ASCII: exact, and harmless


# --- data -------------------------------------------------------------------------------------


def _judged(model: gguf.GgufHeader | Entry, machine: Hardware, settings: config.Config) -> Verdict:
    return hardware.plan(model, machine, settings.engine).verdict


def overview(settings: config.Config, machine: Hardware) -> list[dict[str, Any]]:
    """Every model of the catalog and of the person, with what fits and why.

    Returns:
        Rows with ``name``, ``title``, ``purpose``, ``size``, ``licence``, ``here`` (empty,
        ``pulled``, ``package`` or ``file``), ``used``, ``fits``, ``reason`` and ``about``.
    """
    here = {model.name: model for model in catalog.installed()}
    used = settings.engine.model
    rows = []
    for entry in catalog.entries():
        model = here.pop(entry.name, None)
        rows.append(_row(entry, model, _judged(_best_known(entry, model), machine, settings)))
    for model in here.values():
        try:
            header = gguf.verify(model.path)
            rows.append(_own_row(model, header, _judged(header, machine, settings)))
        except ModelError as error:
            rows.append(_own_row(model, None, None, error.sentence))
    for row in rows:
        row["used"] = used.lower() == row["name"] or used == row["path"]
    return rows


def _best_known(entry: Entry, model: Model | None) -> gguf.GgufHeader | Entry:
    """The file's own header where the model is here: the catalog's figures are rounder."""
    if model and model.path.suffix.lower() == ".gguf":
        with contextlib.suppress(ModelError):  # a damaged file is judged as the catalog has it
            return gguf.verify(model.path)
    return entry


def _row(known: Entry, model: Model | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": known.name,
        "title": known.title,
        "purpose": known.purpose,
        "size": known.size,
        "licence": known.licence,
        "here": model.origin if model else "",
        "path": str(model.path) if model else "",
        "fits": verdict.fits,
        "reason": verdict.reason,
        "about": known.about,
    }


def _own_row(
    model: Model, header: gguf.GgufHeader | None, verdict: Verdict | None, problem: str = ""
) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": header.name if header else model.path.name,
        "purpose": "chat",
        "size": header.file_size if header else model.path.stat().st_size,
        "licence": header.licence if header else "",
        "here": model.origin,
        "path": str(model.path),
        "fits": verdict.fits if verdict else "no",
        "reason": verdict.reason if verdict else problem,
        "about": "Your own.",
    }


def info_of(name: str, settings: config.Config, machine: Hardware) -> dict[str, Any]:
    """All that is known of one model, from its file where it is here, else from the catalog.

    Raises:
        ModelMissing: There is no such model.
        ModelCorrupt: Its file is damaged.
    """
    known = catalog.entry(name)
    model = catalog.locate(known) if known else catalog.find(name)
    data: dict[str, Any] = {"name": model.name if model else name.lower(), "here": bool(model)}
    judged: gguf.GgufHeader | Entry | None = known
    if known:
        listed = dataclasses.asdict(known)
        data |= {key: listed[key] for key in ("title", "purpose", "about", "licence", "parameters")}
        data |= {"quantisation": known.quantisation, "context": known.context, "size": known.size}
        data["files"] = [
            {"name": file.name, "size": file.size, "sha256": file.sha256 or "pinned on first pull"}
            | {"sources": [str(source) for source in file.sources]}
            for file in known.files
        ]
    if model:
        data |= {"path": str(model.path), "origin": model.origin}
        if model.path.suffix.lower() == ".gguf":
            judged = header = gguf.verify(model.path)
            data["file"] = dataclasses.asdict(header)
    if judged:
        data["verdict"] = dataclasses.asdict(_judged(judged, machine, settings))
    return data


# --- printing ---------------------------------------------------------------------------------


class Bar:
    """A line of progress on a terminal; one line for every tenth of a file elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said: tuple[str, int] = ("", -1)
        self._drawn = 0.0

    def __call__(self, progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else 0.0
        line = f"{progress.file}  {self._figures(progress, share)}"
        if self._live:
            now = time.monotonic()
            if now - self._drawn < 0.1 and progress.done < progress.total:
                return
            self._drawn = now
            width = shutil.get_terminal_size().columns - 1
            click.echo("\r\x1b[K" + line[:width], err=True, nl=False)
            return
        step = (progress.file + progress.phase, int(share * 10))
        if step != self._said:
            self._said = step
            click.echo(line, err=True)

    @staticmethod
    def _figures(progress: Progress, share: float) -> str:
        if progress.phase == "package":
            return "from the package registry …"
        if progress.phase == "checking":
            return "checking …"
        text = amount(progress.done)
        if progress.total:
            filled = int(share * 24)
            bar = "█" * filled + "░" * (24 - filled)
            text = f"{bar} {share:4.0%}  {text} of {amount(progress.total)}"
        if progress.rate:
            text += f"  {amount(progress.rate)}/s"
            left = max(progress.total - progress.done, 0) / progress.rate
            if progress.total and left >= 1:
                text += f"  {int(left) // 60}:{int(left) % 60:02} left"
        return text

    def close(self) -> None:
        if self._live and self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)


def _table(rows: Sequence[Sequence[str]], gap: str = "  ") -> list[str]:
    """Columns, left-aligned; the last one is not padded."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        gap.join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


# --- commands ---------------------------------------------------------------------------------


def _listed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Every name of the catalog and of what is here, for completion."""
    names = {entry.name for entry in catalog.entries()} | {m.name for m in catalog.installed()}
    return sorted(name for name in names if name.startswith(incomplete))


def _here(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return sorted(m.name for m in catalog.installed() if m.name.startswith(incomplete))


@click.group()
def models() -> None:
    """Models: which there are, which fit, and getting them."""


@models.command("list")
@_json_option
@_plainly
def list_(as_json: bool) -> None:
    """Show every model, whether it is here, and whether it fits this machine."""
    settings, machine = config.load(), hardware.probe()
    rows = overview(settings, machine)
    suggestion = hardware.suggest(machine, settings.engine.model)
    if as_json:
        _print_json({"models": rows, "suggestion": suggestion.entry.name if suggestion else None})
        return
    table = [("", "NAME", "PURPOSE", "SIZE", "HERE", "FITS", "WHY")]
    table += [
        (
            "*" if row["used"] else " ",
            visible(row["name"]),
            row["purpose"],
            amount(row["size"]),
            row["here"] or "-",
            row["fits"],
            visible(row["reason"]),
        )
        for row in rows
    ]
    for line in _table(table):
        click.echo(line)
    if suggestion:
        click.echo(f"\n{suggestion.reason}")


@models.command("pull")
@click.argument("name", shell_complete=_listed)
@_json_option
@_plainly
def pull_(name: str, as_json: bool) -> None:
    """Get a model: NAME of the catalog, OWNER/REPO/FILE.gguf of the hub, or its address."""
    from llmos.models.pull import pull

    settings = config.load()
    bar = None if as_json else Bar()
    try:
        model = pull(name, hub=settings.models.hub, on_progress=bar)
    except KeyboardInterrupt:
        raise ModelError(
            f"The pull of {name} was stopped.", remedy="Pull it again to go on where it stopped."
        ) from None
    finally:
        if bar:
            bar.close()
    if as_json:
        files = {key: str(path) for key, path in model.files.items()}
        _print_json({"name": model.name, "path": str(model.path), "files": files})
    else:
        click.echo(f"{model.name} is here: {model.path}")
        chats = model.entry is None or model.entry.purpose in _LOADED
        if chats and settings.engine.model != model.name:
            click.echo(f"Use it with: llmos models use {model.name}")


@models.command("use")
@click.argument("name", shell_complete=_here)
@_json_option
@_plainly
def use(name: str, as_json: bool) -> None:
    """Choose the model the kernel loads: NAME, a GGUF file, or a server's address."""
    chosen = name
    if "://" not in name and not name.startswith("scripted:"):
        model = catalog.find(name)
        if model.entry and model.entry.purpose not in _LOADED:
            raise ModelError(f"The model {model.name} is for {model.entry.purpose}, not for chat.")
        gguf.verify(model.path)
        plain = model.entry or model.origin == "pulled" or not Path(name).expanduser().exists()
        chosen = model.name if plain else str(model.path.resolve())
    file = select_model(chosen)
    if as_json:
        _print_json({"engine": {"model": chosen}, "file": str(file)})
    else:
        click.echo(f"The kernel will use {chosen} from its next start on.")


@models.command("info")
@click.argument("name", shell_complete=_listed)
@_json_option
@_plainly
def info(name: str, as_json: bool) -> None:
    """Show all that is known of a model: NAME or the path of a GGUF file."""
    data = info_of(name, config.load(), hardware.probe())
    if as_json:
        _print_json(data)
        return
    file = data.pop("file", {})
    verdict = data.pop("verdict", None)
    rows = [(key, str(value)) for key, value in data.items() if key not in ("files", "here")]
    rows += [
        (key, str(file[key]))
        for key in ("architecture", "size_label", "quantisation", "context", "layers", "licence")
        if key in file and key not in data
    ]
    rows += [("source", s) for f in data.get("files", []) for s in f["sources"]]
    if file:
        rows.append(("template", "yes" if file["template"] else "none"))
    if verdict:
        rows.append(("fits", f"{verdict['fits']}: {verdict['reason']}"))
    for line in _table([(key, visible(value)) for key, value in rows]):
        click.echo(line)


@models.command("remove")
@click.argument("name", shell_complete=_here)
@_json_option
@_plainly
def remove_(name: str, as_json: bool) -> None:
    """Delete a pulled model."""
    from llmos.models.pull import remove

    freed = remove(name)
    if as_json:
        _print_json({"name": name, "freed": freed})
    else:
        click.echo(f"{name} is removed; {amount(freed)} are free again.")
