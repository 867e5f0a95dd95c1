"""The folders a person granted, as tools see them (``services.Folders``).

Everything is looked up anew at each call: a grant that was taken back counts at once. What blocks
runs in threads. Whether a call may be made at all was decided before; here it is made sure that
nothing outside the granted folders is reached, that a change is the one that was shown, and that it
can be undone. Search reads text only: what is in a PDF is found by reading it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from llmos import limits, sdk
from llmos.documents.decoder import Decoder
from llmos.documents.reader import Format, sniff
from llmos.errors import FileNotRead, HostError, LlmosError
from llmos.host import changes, placing
from llmos.host.changes import Change
from llmos.host.maker import Maker
from llmos.host.places import Grant, Places, check_regular, folder_of, kind, not_there, opened, told
from llmos.host.texts import decoded
from llmos.host.undo import Log
from llmos.host.walk import Look, Seen, seen_in
from llmos.services import Entry, Found
from llmos.threads import in_thread

__all__ = ["Folders", "Partly"]

T = TypeVar("T")
_DECODED = (Format.PDF, Format.WORD, Format.SHEETS, Format.HTML)
_HEAD = 64 * 1024  # bytes that tell a file's format


class Partly(list[T]):
    """A list that may not be whole.

    Args:
        missing: Says what is missing, a sentence; empty where nothing is.
    """

    def __init__(self, items: Sequence[T], missing: str = "") -> None:
        super().__init__(items)
        self.missing = missing


@contextlib.contextmanager
def _told_to_tools() -> Iterator[None]:
    """What goes wrong is for the model to read."""
    try:
        yield
    except LlmosError as error:
        raise sdk.ToolError(error.sentence, error.remedy) from error


class Folders:
    """Granted folders. Close it in the end.

    Args:
        roots: Gives what is granted at this moment.
        log: Where changes are written down.
        never: What is refused whatever was granted; llmos's own folders where not given.
    """

    def __init__(
        self,
        roots: Callable[[], Sequence[Grant]],
        log: Log,
        never: Sequence[Path] | None = None,
    ) -> None:
        self._places = Places(roots, never)
        self._maker = Maker(log)
        self._decoders: dict[asyncio.AbstractEventLoop, Decoder] = {}

    async def close(self) -> None:
        """End what decodes files, in whatever event loop it was started."""
        here = asyncio.get_running_loop()
        while self._decoders:
            loop, decoder = self._decoders.popitem()
            if loop is here:
                await decoder.close()
            elif loop.is_running():
                work = asyncio.run_coroutine_threadsafe(decoder.close(), loop)
                await asyncio.wrap_future(work)

    async def roots(self) -> Sequence[str]:
        """The granted folders."""
        with _told_to_tools():
            return [str(path) for path in self._places.roots()]

    # --- reading --------------------------------------------------------------------------------

    async def list(self, path: str = "", pattern: str = "") -> Sequence[Entry]:
        """What is in a folder, folders first, by name; with a pattern, files and folders below it.

        Args:
            path: A folder; the granted folders themselves where empty and no pattern is given.
            pattern: Such as ``*.jpg``, or with a slash for the path from the folder on.

        Returns:
            The entries, as a ``Partly``.
        """
        with _told_to_tools():
            return await in_thread(self._list, path, pattern)

    def _list(self, path: str, pattern: str) -> Partly[Entry]:
        if len(pattern) > limits.GRANTED_PATTERN_CHARS:
            raise HostError("That pattern is too long.", remedy="A part of the name is enough.")
        if not path and not pattern and len(self._places.roots()) > 1:
            return Partly([_entry(root, os.stat(root)) for root in self._tops("")])
        deep = "/" in pattern.replace("**/", "")
        wanted = re.compile(fnmatch.translate(pattern.replace("**/", "").casefold()))
        found: list[Entry] = []
        look = Look()
        for top in self._tops(path):
            for seen in self._below(top, look, below=bool(pattern)):
                name = str(seen.path.relative_to(top)) if deep else seen.path.name
                if pattern and not wanted.fullmatch(name.casefold()):
                    continue
                found.append(_entry(seen.path, seen.status))
                if len(found) >= limits.GRANTED_LISTED:
                    look.over = f"There are more than these {limits.GRANTED_LISTED:,}."
                    break
        found.sort(key=lambda each: (not each.folder, each.path.casefold()))
        return Partly(found, look.missing)

    async def read(self, path: str) -> str:
        """The text of a file; PDF, Word, spreadsheets and HTML as text.

        Of a very long one the beginning, and a last line that says so.
        """
        with _told_to_tools():
            found = self._places.find(path)
            with io.FileIO(await in_thread(_open, found), "rb") as file:
                try:
                    return _cut(*await self._text(file, found.name))
                except (FileNotRead, HostError) as error:
                    why = f"{told(str(found))} cannot be read. {error.sentence}"
                    raise HostError(why, remedy=error.remedy) from error

    async def content(self, path: str) -> bytes:
        """The bytes of a file, all of them; one that is too large is refused, not cut."""
        with _told_to_tools():
            found = self._places.find(path)
            with io.FileIO(await in_thread(_open, found), "rb") as file:
                raw: bytes = await in_thread(file.read, limits.PYTHON_PUT_BYTES + 1)
            if len(raw) > limits.PYTHON_PUT_BYTES:
                most = limits.PYTHON_PUT_BYTES // 2**20
                raise HostError(
                    f"{told(str(found))} is larger than {most} MB.", remedy="Take a part of it."
                )
            return raw

    async def _text(self, file: io.FileIO, name: str) -> tuple[str, bool]:
        """The text of an open file, and whether it goes on."""
        size = os.fstat(file.fileno()).st_size
        head = await in_thread(os.pread, file.fileno(), _HEAD, 0)
        form = sniff(name, head)
        if form in _DECODED:
            return await self._decoded(file, form, size)
        raw = await in_thread(file.read, limits.GRANTED_FILE_BYTES)
        if more := size > len(raw):
            raw = raw[: raw.rfind(b"\n") + 1] or raw  # no character is cut in two
        return decoded(raw).text, more

    async def _decoded(self, file: io.FileIO, form: Format, size: int) -> tuple[str, bool]:
        parts: list[str] = []
        title, length = "", 0
        # A worker belongs to the event loop it was started in.
        decoder = self._decoders.setdefault(asyncio.get_running_loop(), Decoder())
        async with contextlib.aclosing(decoder.blocks(file, form, size)) as blocks:
            async for block in blocks:
                begins = block.title and block.title != title
                title = block.title
                text = f"\n[{title}]\n{block.head}" if begins else ""
                parts.append(text + block.text)
                length += len(parts[-1])
                if length > limits.GRANTED_TEXT_CHARS:
                    return "".join(parts), True
        return "".join(parts).strip(), False

    async def search(self, text: str, path: str = "") -> Sequence[Found]:
        """Lines that contain a text, letter for letter but for case.

        Args:
            text: What is sought.
            path: A file, or a folder that is searched with all below it; everything where empty.

        Returns:
            The lines, as a ``Partly``.
        """
        with _told_to_tools():
            return await in_thread(self._search, text, path)

    def _search(self, text: str, path: str) -> Partly[Found]:
        sought = text.strip().casefold()
        if not sought:
            raise HostError("There is nothing to search for.", remedy="Say which words.")
        found: list[Found] = []
        look, bytes_left = Look(), limits.GRANTED_SEARCH_BYTES
        for top in self._tops(path):
            for seen in self._below(top, look, below=True):
                if seen.is_folder or not seen.status.st_size:
                    continue
                bytes_left -= min(seen.status.st_size, limits.GRANTED_FILE_BYTES)
                if bytes_left < 0:
                    look.over = "There is more than could be read in one search."
                    break
                found += _lines(seen, sought, limits.GRANTED_FOUND - len(found))
                if len(found) >= limits.GRANTED_FOUND:
                    look.over = f"There are more than these {limits.GRANTED_FOUND} lines."
                    break
        return Partly(found, look.missing)

    def _tops(self, path: str) -> Sequence[Path]:
        """Where to look; of what was granted, what is there."""
        if path:
            return [self._places.find(path)]
        if not self._places.roots():
            self._places.find("")  # says so
        return [root for root in self._places.roots() if os.path.exists(root)]

    def _below(self, top: Path, look: Look, *, below: bool) -> Iterable[Seen]:
        if look.over:
            return ()
        with folder_of(top) as folder:
            status = kind(folder, top.name)
            if status is None:
                raise not_there(top)
        if _entry(top, status).folder:
            return seen_in(self._places, top, look, below=below)
        check_regular(top, status)
        return self._alone(top)

    def _alone(self, top: Path) -> Iterator[Seen]:
        with folder_of(top) as folder:
            status = kind(folder, top.name)
            if status is not None:
                yield Seen(folder, top, status)

    # --- changing -------------------------------------------------------------------------------

    async def preview(self, change: str, **arguments: str) -> tuple[str, str]:
        """What a change of the name of a method below would change, and its ``seen``."""
        with _told_to_tools():
            if change == "undo":
                last = await in_thread(self._last)
                return "\n".join(each.shown for each in last), _agreed(*last)
            planned = await in_thread(self._planned, change, arguments)
            return planned.shown, _agreed(planned)

    async def write(self, path: str, text: str, seen: str = "") -> str:
        """Write a new file; returns the diff."""
        with _told_to_tools():
            return await in_thread(self._make, "write", {"path": path, "text": text}, seen)

    async def overwrite(self, path: str, text: str, seen: str = "") -> str:
        """Write a file anew; returns the diff."""
        with _told_to_tools():
            return await in_thread(self._make, "overwrite", {"path": path, "text": text}, seen)

    async def append(self, path: str, text: str, seen: str = "") -> str:
        """Write lines at the end of a file; returns the diff."""
        with _told_to_tools():
            return await in_thread(self._make, "append", {"path": path, "text": text}, seen)

    async def edit(self, path: str, old: str, new: str, seen: str = "") -> str:
        """Replace a text that stands once in a file; returns the diff."""
        with _told_to_tools():
            wanted = {"path": path, "old": old, "new": new}
            return await in_thread(self._make, "edit", wanted, seen)

    async def copy(self, path: str, to: str, seen: str = "") -> str:
        """Copy a file; into ``to`` where that is a folder."""
        with _told_to_tools():
            return await in_thread(self._make, "copy", {"path": path, "to": to}, seen)

    async def move(self, path: str, to: str, seen: str = "", group: str = "") -> str:
        """Rename a file or folder, or move it; into ``to`` where that is a folder."""
        with _told_to_tools():
            return await in_thread(self._make, "move", {"path": path, "to": to}, seen, group)

    async def delete(self, path: str, seen: str = "") -> str:
        """Take a file away; returns what was in it, as a diff."""
        with _told_to_tools():
            return await in_thread(self._make, "delete", {"path": path}, seen)

    async def undo(self, seen: str = "") -> str:
        """Take back the last change that was not taken back; returns what that changed."""
        with _told_to_tools():
            return await in_thread(self._undo, seen)

    def _undo(self, seen: str) -> str:
        planned = self._last()
        if seen and _agreed(*planned) != seen:
            raise _changed(planned[0])
        return "\n".join(
            diff for _, diff in self._maker.undo(only=[each.undoes for each in planned])
        )

    def _last(self) -> Sequence[Change]:
        """What to take back the last changes would change, where all lies in what was granted."""
        last = self._maker.last()
        for entry, _ in last:
            for path in filter(None, (entry.path, entry.to)):
                self._places.find(path, write=True)
        return [change for _, change in last]

    def _make(self, kind: str, arguments: dict[str, str], seen: str, group: str = "") -> str:
        change = self._planned(kind, arguments)
        if seen and _agreed(change) != seen:
            raise _changed(change)
        self._maker.make(change, group)
        return change.shown

    def _planned(self, kind: str, arguments: dict[str, str]) -> Change:
        path = self._places.find(arguments["path"], write=kind != "copy")
        match kind:
            case "copy":
                return changes.copy(path, self._target(path, arguments["to"]))
            case "write":
                return changes.write(path, arguments["text"])
            case "overwrite":
                return changes.overwrite(path, arguments["text"])
            case "append":
                return changes.append(path, arguments["text"])
            case "edit":
                return changes.edit(path, arguments["old"], arguments["new"])
            case "move":
                return changes.move(path, self._target(path, arguments["to"]))
            case "delete":
                return changes.delete(path)
        raise HostError(f"There is no change “{told(kind)}”.")

    def _target(self, path: Path, text: str) -> Path:
        """A bare name is one beside the old; what ends in a slash is a folder, made if need be."""
        if "/" not in text and text not in ("~", "", "."):
            text = str(path.with_name(text)) if text != ".." else str(path.parent.parent)
        there = self._places.find(text)
        if there.is_dir() and not there.is_symlink():
            there = there / path.name
        elif text.endswith("/"):
            if there.exists():
                raise HostError(f"{told(str(there))} is no folder.", remedy="Name another one.")
            there = there / path.name
        elif path.suffix and not there.suffix and not path.is_dir() and not there.exists():
            raise HostError(
                f"There is no folder {told(str(there))}.",
                remedy=f"Say {told(text)}/ to have it made.",
            )
        return self._places.find(str(there), write=True)


def _agreed(*changes: Change) -> str:
    """Identifies what a person was shown of changes: where, from what, and to what."""
    told = (
        f"{each.undoes}:{each.seen}:{placing.digest(each.after)}:"
        f"{placing.digest(f'{each.path}{chr(0)}{each.to}'.encode())}"
        for each in changes
    )
    return " ".join(told)


def _changed(change: Change) -> HostError:
    return HostError(
        f"{told(str(change.path))} was changed since that was shown; nothing was done.",
        remedy="Look at it again.",
    )


def _open(path: Path) -> int:
    with folder_of(path) as folder:
        return opened(folder, path)[0]


def _entry(path: Path, status: os.stat_result) -> Entry:
    is_folder = stat.S_ISDIR(status.st_mode)
    return Entry(str(path), is_folder, 0 if is_folder else status.st_size, status.st_mtime)


def _cut(text: str, more: bool) -> str:
    if len(text) > limits.GRANTED_TEXT_CHARS:
        text, more = text[: limits.GRANTED_TEXT_CHARS], True
    return f"{text}\n[The file goes on; only its beginning is here.]" if more else text


def _lines(seen: Seen, sought: str, most: int) -> list[Found]:
    """The lines of one file, of which a piece around what was sought is given."""
    try:
        handle, _ = opened(seen.folder, seen.path)
        with open(handle, "rb") as file:
            head = file.read(_HEAD)
            if sniff(seen.path.name, head) in (Format.PDF, Format.WORD, Format.SHEETS):
                return []
            text = decoded(head + file.read(limits.GRANTED_FILE_BYTES - len(head))).text
    except (HostError, FileNotRead, OSError):
        return []  # what cannot be read holds nothing that could be shown
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        at = line.casefold().find(sought)
        if at >= 0:
            start = max(0, at - limits.GRANTED_FOUND_CHARS // 3)
            piece = line[start : start + limits.GRANTED_FOUND_CHARS].strip()
            found.append(Found(str(seen.path), number, piece))
            if len(found) >= most:
                break
    return found
