"""What is done with files that calls made: fetched, shown large, saved, opened elsewhere.

A base class of the chat screen. A picture goes to another program only as the kernel wrote it anew,
since that program decodes it without a jail; of any other file it has to be saved first.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from textual import on, work

from llmos.errors import KernelUnreachable, LlmosError
from llmos.events import ArtifactInfo
from llmos.ui.asking import AskingScreen
from llmos.ui.dialogs import Prompt
from llmos.ui.files import FileCard
from llmos.ui.pictures import PAUSE_S, PictureCard, PictureView
from llmos.ui.tables import TableCard, TableView, parse
from llmos.ui.text import visible

__all__ = ["FileActions"]

STARTED_S = 2.0  # after which a program that opens a picture counts as started


class FileActions(AskingScreen[None]):
    """Files on the chat screen."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: Path | None = None  # for other programs; taken away at the end

    def refill(self) -> None:
        """Ask again for files that were needed while the kernel was away."""
        for card in self.query(FileCard):
            if card.away:
                card.need()

    def drop_copies(self) -> None:
        """Take away what was written for other programs."""
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)

    @on(FileCard.Needed)
    def _needed(self, event: FileCard.Needed) -> None:
        # Each card has its own worker: a newer wish of the same card ends the older one.
        card = event.card
        self.run_worker(self._fill(card), group=f"file {id(card)}", exclusive=True)

    async def _fill(self, card: FileCard) -> None:
        try:
            if isinstance(card, PictureCard):
                if card.shown:
                    await asyncio.sleep(PAUSE_S)
                card.show(*await self.link.client.artifact_preview(card.info.id, *card.room))
            elif isinstance(card, TableCard):
                data = await self.link.client.artifact(card.info.id)
                card.show(await asyncio.to_thread(parse, data))
        except (LlmosError, ValueError) as error:
            card.tell(str(error), away=isinstance(error, KernelUnreachable))

    @on(FileCard.Opened)
    @work(exclusive=True, group="dialog")
    async def _open_file(self, event: FileCard.Opened) -> None:
        card = event.card
        wish: str | None = None
        if isinstance(card, PictureCard):
            view = PictureView(
                card.info,
                lambda width, height: self.link.client.artifact_preview(
                    card.info.id, width, height
                ),
            )
            wish = await self.app.push_screen_wait(view)
        elif isinstance(card, TableCard) and card.table is not None:
            table = TableView(card.info, card.table)
            wish = await self.app.push_screen_wait(table)
        if wish == "save":
            card.action_save()
        elif wish == "outside":
            card.post_message(FileCard.Outside(card.info))

    @on(FileCard.Saved)
    @work(exclusive=True, group="dialog")
    async def _save_file(self, event: FileCard.Saved) -> None:
        """Write a file that a call made where the person says."""
        name = visible(event.info.name)
        path = await self.app.push_screen_wait(Prompt(f"Save {name} as", str(_downloads() / name)))
        if not path:
            return
        try:
            target = Path(path).expanduser()
            data = await self.link.client.artifact(event.info.id)
            await asyncio.to_thread(_write_new, target, data)
        except FileExistsError:
            told = visible(f"There is a file {target} already.")
            self.notify(told, severity="warning", markup=False)
        except (LlmosError, OSError, RuntimeError) as error:  # RuntimeError: ~nobody
            self.notify(visible(str(error)), severity="error", markup=False)
        else:
            self.notify(visible(f"Saved {target}"), markup=False, timeout=4)

    @on(FileCard.Outside)
    @work(exclusive=True, group="outside")
    async def _open_outside(self, event: FileCard.Outside) -> None:
        """Show a picture in the system's own viewer."""
        viewer = _viewer()
        if not viewer:
            self.notify("There is no screen here for another program. s saves the picture.")
            return
        try:
            data = await self.link.client.artifact_picture(event.info.id)
            if self._copies is None:
                self._copies = Path(tempfile.mkdtemp(prefix="llmos-"))  # for this user alone
            path = await asyncio.to_thread(_copied, self._copies, event.info, data)
            status = await asyncio.to_thread(_started, viewer, path)
        except (LlmosError, OSError) as error:
            self.notify(visible(str(error)), severity="error", markup=False)
            return
        if status:
            self.notify("No program here opens pictures. s saves it.", severity="warning")


def _viewer() -> str:
    """The program that opens a file with whatever the person has for it; empty without a screen."""
    if sys.platform == "darwin":
        return shutil.which("open") or ""
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return (shutil.which("xdg-open") or "") if screen else ""


def _copied(folder: Path, info: ArtifactInfo, data: bytes) -> Path:
    """A private copy; its name is ours, since a name can make a program do other things."""
    path = folder / f"picture-{info.id[:12]}.png"
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
    return path


def _started(viewer: str, path: Path) -> int:
    """Start the viewer, apart from this terminal; its status where it ended at once, or 0."""
    none = subprocess.DEVNULL
    process = subprocess.Popen(
        [viewer, str(path)], stdin=none, stdout=none, stderr=none, start_new_session=True
    )
    try:
        return process.wait(timeout=STARTED_S)
    except subprocess.TimeoutExpired:
        return 0


def _downloads() -> Path:
    """Where a person looks for what they saved."""
    folder = Path.home() / "Downloads"
    return folder if folder.is_dir() else Path.home()


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as out:
        out.write(data)
