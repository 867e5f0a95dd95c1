"""``llmos fsck``: checks the journal and everything derived from it, and repairs what can be.

The one place that joins what ``memory.fsck`` checks to the index and to what the engine keeps.
Exit codes: 0 all is sound, 1 problems were found (repaired or not), 2 it could not be checked.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from llmos import config as settings
from llmos.config import Config
from llmos.engine import swapfile
from llmos.errors import LlmosError
from llmos.logfile import logged
from llmos.memory.fsck import MountFiles, Rebuildable, Report
from llmos.memory.fsck import fsck as check_all
from llmos.memory.index import Index
from llmos.memory.lock import lock
from llmos.memory.salvage import Salvaged, salvage
from llmos.memory.words import FILE, Words
from llmos.visible import visible

__all__ = ["KnownTexts", "Snapshots", "derived", "fsck"]

_FOUND, _UNCHECKED = 1, 2

#: What repairing each of them does, and what that costs.
_ANEW = {
    "index": "the search index is written again, or put aside and filled from your chats and"
    " mounted folders by the next kernel; nothing is lost.",
    "mounts": "the next kernel reads the mounted folders again. Where their list cannot be read,"
    " it is put aside as mounts.json.damaged-…, and which folders were mounted is lost: mount them"
    " again with llmos mount FOLDER.",
    "snapshots": "what is unsound is removed; the next turn of these chats takes longer, once.",
    "texts": "the file is removed; the next turn of some chats takes longer, once.",
}


class Snapshots:
    """The engine's snapshots on disk; one that is unsound is dropped and computed again.

    Args:
        folder: Where they lie; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def problems(self) -> list[str]:
        """A sentence for each file that is no whole snapshot. Reads all of them."""
        return [f"{path.name} cannot be used: {why}." for path, why in self._unsound()]

    async def rebuild(self) -> None:
        """Drop what is unsound."""
        for path, _ in await asyncio.to_thread(self._unsound):
            _remove(path)

    def _unsound(self) -> list[tuple[Path, str]]:
        found = sorted(self._folder.glob(f"*{swapfile.SUFFIX}")) if self._folder.is_dir() else []
        return [(path, why) for path in found if (why := swapfile.unsound(path))]


class KnownTexts:
    """How texts of before were spelled in tokens; a kernel without it spells them again.

    Args:
        file: Need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def problems(self) -> list[str]:
        """A sentence where the file is not what a kernel writes."""
        try:
            kept = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            return [f"{self._file.name} cannot be read ({error})."]
        match kept:
            case {"fingerprint": str(), "tokens": list(texts)} if all(map(_tokens, texts)):
                return []
        return [f"{self._file.name} does not hold tokens of texts."]

    async def rebuild(self) -> None:
        """Remove it."""
        _remove(self._file)


def _remove(path: Path) -> None:
    """Take away a file, or a folder that stands in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tokens(text: Any) -> bool:
    return isinstance(text, list) and all(type(token) is int for token in text)


def derived(config: Config) -> dict[str, Rebuildable]:
    """Everything that is made from the journal or from files and can be made again, by name."""
    folder, swap = config.state / "index", config.state / "swap"
    return {
        "index": Index(folder, None),  # what is missing then, the kernel makes
        "mounts": MountFiles(config.state / "mounts.json", lambda: _forget_files(folder)),
        "snapshots": Snapshots(swap),
        "texts": KnownTexts(swap / "texts.json"),
    }


def _forget_files(folder: Path) -> None:
    """Take everything that was read of mounted files out of the index.

    Raises:
        StoreError: It cannot be, or traces may be left.
    """
    if not (folder / FILE).exists():
        return
    words = Words(folder / FILE, "")
    try:
        with words.reading() as db:
            rows = db.execute("SELECT id FROM passages WHERE source = 'file'").fetchall()
        words.drop(id for (id,) in rows)
        words.erase()
    finally:
        words.close()


@click.command()
@click.option("--repair", is_flag=True, help="Make anew or drop what is derived and unsound.")
@click.option(
    "--salvage",
    "rescue",
    is_flag=True,
    help="Replace a damaged journal by all of it that still verifies; the old file is kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fsck(repair: bool, rescue: bool, as_json: bool) -> None:
    """Check what is on the disk: the journal, and what is made from it and from mounted folders.

    The kernel must be stopped. Exits with 0 if all is sound, with 1 if problems were found,
    repaired or not, and with 2 if it could not be checked.
    """
    progress = _Progress()
    try:
        config = settings.load()
        journal = config.state / "journal.db"
        if not config.state.is_dir():
            report, saved = Report((), ()), None
        else:
            with logged(), lock(config.state):
                work = check_all(journal, derived(config), repair=repair, progress=progress)
                report = asyncio.run(work)
                wanted = rescue and report.journal_damaged
                saved = salvage(journal, progress) if wanted else None
    except LlmosError as error:
        progress.clear()
        _refused(error, as_json)
        sys.exit(_UNCHECKED)
    progress.clear()
    if as_json:
        click.echo(json.dumps(_data(report, saved), indent=2))
    else:
        _say(report, saved, repair=repair, rescue=rescue)
    sys.exit(0 if report.sound else _FOUND)


def _refused(error: LlmosError, as_json: bool) -> None:
    if as_json:
        told = {"code": error.code, "message": error.sentence, "remedy": error.remedy}
        click.echo(json.dumps({"error": told}, indent=2))
    else:
        click.echo(f"llmos: {visible(str(error))}", err=True)


def _data(report: Report, saved: Salvaged | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "sound": report.sound,
        "checked": list(report.checked),
        "problems": [dataclasses.asdict(problem) for problem in report.problems],
    }
    if saved is not None:
        data["salvaged"] = {**dataclasses.asdict(saved), "kept": str(saved.kept)}
    return data


def _say(report: Report, saved: Salvaged | None, *, repair: bool, rescue: bool) -> None:
    for problem in report.problems:
        mended = " Repaired." if problem.repaired else ""
        click.echo(f"{problem.where}: {visible(problem.sentence)}{mended}")
    if report.sound:
        names = ", ".join(report.checked) or "nothing is there yet"
        click.echo(f"All is sound ({names}).")
    if rescue and saved is None:
        click.echo("The journal is what was written: there is nothing to salvage.")
    elif saved is not None:
        _say_saved(saved)
    elif report.journal_damaged:
        click.echo("llmos fsck --salvage saves what still verifies and keeps the damaged file.")
    meant = [problem for problem in report.problems if problem.repaired or not repair]
    anew = [name for name in dict.fromkeys(problem.where for problem in meant) if name in _ANEW]
    if anew:
        click.echo("Made anew:" if repair else "llmos fsck --repair makes anew:")
    for name in anew:
        click.echo(f"  {name}: {_ANEW[name]}")


def _say_saved(saved: Salvaged) -> None:
    click.echo(f"Saved: {saved.records:,} messages. The damaged journal is kept as {saved.kept}.")
    if saved.lost:
        runs = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in saved.lost)
        click.echo(f"Lost: messages {runs}.")
    if saved.contents:
        click.echo(f"Lost: the texts of messages {', '.join(map(str, saved.contents))}.")
    if saved.rows:
        click.echo(f"Lost: {saved.rows:,} notes of calls and turns.")
    if saved.processes:
        pids = ", ".join(map(str, saved.processes))
        click.echo(f"Processes without title and settings: {pids}.")


class _Progress:
    """One line on a terminal that says what is being done; nothing elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._drawn = 0.0
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._live or (what == self._what and now - self._drawn < 0.1):
            return
        self._what, self._drawn = what, now
        line = f"Checking {what}" + (f"  {done:,} of {total:,}" if total else " …")
        width = shutil.get_terminal_size().columns - 1
        click.echo("\r\x1b[K" + line[:width], err=True, nl=False)

    def clear(self) -> None:
        """Take the line away."""
        if self._live and self._what:
            click.echo("\r\x1b[K", err=True, nl=False)
