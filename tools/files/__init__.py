"""Files in the folders that the person granted: looked at, searched and changed.

Every change shows its diff first and can be undone (``llmos undo``). What is in a file may have
been written by anybody.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from llmos.sdk import Artifact, Context, Evidence, Length, Preview, Result, ToolError, Verbatim

__all__ = [
    "append",
    "copy",
    "delete",
    "edit",
    "list",
    "move",
    "overwrite",
    "read",
    "rename_by_date",
    "search",
    "undo",
    "write",
]

_SHOWN = 200  # entries or lines that are told
_NAMED = 8  # of them that are said in a sentence
_TOLD = 240  # characters of a file that are said in one
_KEPT = 1000  # of them that are given to programs
_RENAMED = 500  # files renamed by one call
_ARTIFACT_CHARS = 200_000  # of a diff
_UNDO = "It can be undone: llmos undo."
_UNDO_ALL = "All of it can be undone in one go: llmos undo."
_NAME_BYTES = 255  # of a file's name; every file system in use here allows as many
_USUAL = {
    *("desktop", "documents", "downloads", "music", "notes", "photos", "pictures", "projects"),
    *("public", "templates", "videos", "work"),
}
_FILE = re.compile(r"[\w()+@-][\w .()+@-]{0,120}\.[A-Za-z][A-Za-z0-9]{0,7}")
_PLACE = re.compile(r"(?:~|\.{1,2}|[\w.-]+)?/[^\0\n]*")


def is_path(text: str) -> bool:
    """Whether ``text`` is written as a path or a file's name, or is what folders are called."""
    if len(text) > 1000 or "://" in text or text != text.strip() or text[-1:] in ".,;?!:":
        return False
    if re.fullmatch(r"[\d/]+|e\.g|i\.e", text) or text.lower().startswith("www."):
        return False  # a date, an abbreviation, or an address
    name = " " not in text and _FILE.fullmatch(text)
    return bool(name or (" " not in text and _PLACE.fullmatch(text)) or text.lower() in _USUAL)


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a pattern of names, such as ``*.jpg``."""
    return "*" in text and len(text) <= 200 and re.fullmatch(r"[\w.*?\[\]/-]+", text) is not None


Path = Annotated[str, Length(1, 1000), Verbatim(accepts=is_path)]
To = Annotated[str, Length(1, 1000), Verbatim(accepts=is_path, after=("to", "into", "in", "as"))]
Old = Annotated[str, Length(1), Verbatim(after=("replace", "change", "correct", "swap", "turn"))]
New = Annotated[str, Verbatim(after=("with", "by", "to", "into", "for"))]
Folder = Annotated[str, Length(0, 1000), Verbatim(also=("",), accepts=is_path)]
_ADDED = (
    *(":", "add", "append", "put", "note", "jot", "write", "with", "saying", "says", "reads"),
    *("the line", "a line", "the lines", "the row", "a row", "the entry"),
    *(f"{verb} the {piece}" for verb in ("add", "append") for piece in ("line", "lines", "row")),
    *(f"{verb} a new {piece}" for verb in ("add", "append") for piece in ("line", "row", "entry")),
)
_REPLACING = (":", "with", "by", "saying", "says", "reads", "say", "only", "just", "nothing but")
Added = Annotated[str, Length(1), Verbatim(after=_ADDED)]
Replacing = Annotated[str, Length(1), Verbatim(after=_REPLACING)]
Glob = Annotated[str, Length(0, 200), Verbatim(also=("", "*"), accepts=is_pattern)]


# --- looking ------------------------------------------------------------------------------------


async def list(context: Context, folder: Folder = "", pattern: Glob = "") -> Result:
    """List files with size and date.

    Args:
        folder: The folder; empty for the granted ones.
        pattern: Such as *.pdf, to find files below the folder.
    """
    entries = await context.folders.list(folder, pattern)
    where = folder or "the granted folders"
    rows = [_row(entry, context) for entry in entries[:_KEPT]]
    if not rows:
        what = f"Nothing like {pattern} is" if pattern else "Nothing is"
        return Result(f"{what} in {where}.{_missing(entries)}", {"count": 0, "entries": []})
    base = os.path.commonpath([os.path.dirname(row["path"]) for row in rows])
    lines = [
        f"{row['modified']}  {'folder' if row['folder'] else _size(row['size']):>8}  "
        f"{os.path.relpath(row['path'], base)}{'/' if row['folder'] else ''}"
        for row in rows[:_SHOWN]
    ]
    if len(entries) > _SHOWN:
        lines.append(f"… and {len(entries) - _SHOWN} more")
    one = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    text = "\n".join([f"{one} in {base}:", *lines]) + _missing(entries)
    names = [os.path.relpath(row["path"], base) for row in rows]
    told = f"In {base} there {'is' if len(names) == 1 else 'are'} {_enumerated(names)}"
    data = {"count": len(entries), "folder": base, "entries": rows, "told": told}
    return Result(text, data)


async def read(path: Path, context: Context) -> Result:
    """Read a file: text, code, PDF, Word, a spreadsheet or HTML.

    Args:
        path: The file.
    """
    text = await context.folders.read(path)
    name = os.path.basename(path)
    if not text.strip():
        return Result(f"{name} is empty.", {"path": path, "characters": len(text)})
    proof = Evidence(path, name, text)
    words = " ".join(text.split())
    told = (
        f"{name} says: “{words}”" if len(words) <= _TOLD else f"{name} begins: “{words[:_TOLD]}…”"
    )
    data = {"path": path, "characters": len(text), "told": told}
    return Result(text, data, evidence=(proof,))


async def search(
    text: Annotated[str, Length(1, 500), Verbatim()], context: Context, folder: Folder = ""
) -> Result:
    """Find lines of text files that contain some words.

    Args:
        text: The words, as they stand in the file.
        folder: Where to look; empty for everywhere.
    """
    found = await context.folders.search(text, folder)
    rows = [{"path": each.path, "line": each.line, "text": each.text} for each in found]
    if not rows:
        return Result(f"“{text}” stands in no file.{_missing(found)}", {"count": 0, "found": []})
    lines = [f"{row['path']}:{row['line']}: {row['text']}" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"… and {len(rows) - _SHOWN} more")
    places = [f"{os.path.basename(str(row['path']))}, line {row['line']}" for row in rows]
    data = {"count": len(rows), "found": rows, "told": f"“{text}” stands in {_enumerated(places)}"}
    return Result("\n".join(lines) + _missing(found), data)


def _enumerated(names: Sequence[str]) -> str:
    """Names as a person says them; of many the first."""
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# --- changing -----------------------------------------------------------------------------------


async def write(path: Path, text: str, context: Context) -> Result:
    """Write a text into a new file. A file that is there already is left as it is.

    Args:
        path: The file.
        text: All that is to be in it.
    """
    return _changed("Wrote", path, await context.folders.write(path, text, context.seen))


async def preview_write(path: Path, text: str, context: Context) -> Preview:
    """What ``write`` would change."""
    return Preview(*await context.folders.preview("write", path=path, text=text))


async def append(path: Path, text: Added, context: Context) -> Result:
    """Add lines at the end of a text file and leave the rest as it is.

    Args:
        path: The file.
        text: The lines that are added.
    """
    return _changed("Added to", path, await context.folders.append(path, text, context.seen))


async def preview_append(path: Path, text: Added, context: Context) -> Preview:
    """What ``append`` would add."""
    return Preview(*await context.folders.preview("append", path=path, text=text))


async def overwrite(path: Path, text: Replacing, context: Context) -> Result:
    """Replace all that a file holds by another text.

    Args:
        path: The file.
        text: All that is to be in it.
    """
    return _changed("Overwrote", path, await context.folders.overwrite(path, text, context.seen))


async def preview_overwrite(path: Path, text: Replacing, context: Context) -> Preview:
    """What ``overwrite`` would change."""
    return Preview(*await context.folders.preview("overwrite", path=path, text=text))


async def edit(path: Path, old: Old, new: New, context: Context) -> Result:
    """Replace a piece of a text file.

    Args:
        path: The file.
        old: The piece as it stands in the file, once.
        new: What is to stand there instead.
    """
    return _changed("Edited", path, await context.folders.edit(path, old, new, context.seen))


async def preview_edit(path: Path, old: Old, new: New, context: Context) -> Preview:
    """What ``edit`` would change."""
    return Preview(*await context.folders.preview("edit", path=path, old=old, new=new))


async def copy(path: Path, to: To, context: Context) -> Result:
    """Copy a file. What is there already is left as it is.

    Args:
        path: What is copied.
        to: The name of the copy, or the folder it goes to.
    """
    done = await context.folders.copy(path, to, context.seen)
    return Result(f"Copied {path} to {to}. {_UNDO}", {"path": path, "to": to, "change": done})


async def preview_copy(path: Path, to: To, context: Context) -> Preview:
    """What ``copy`` would make."""
    return Preview(*await context.folders.preview("copy", path=path, to=to))


async def move(path: Path, to: To, context: Context) -> Result:
    """Rename a file or folder, or move it into another folder.

    Args:
        path: What is moved.
        to: Its new name, or the folder it goes to.
    """
    done = await context.folders.move(path, to, context.seen)
    return Result(f"Moved {path} to {to}. {_UNDO}", {"path": path, "to": to, "change": done})


async def preview_move(path: Path, to: To, context: Context) -> Preview:
    """What ``move`` would change."""
    return Preview(*await context.folders.preview("move", path=path, to=to))


async def delete(path: Path, context: Context) -> Result:
    """Delete a file.

    Args:
        path: The file.
    """
    return _changed("Deleted", path, await context.folders.delete(path, context.seen))


async def preview_delete(path: Path, context: Context) -> Preview:
    """What ``delete`` would take away."""
    return Preview(*await context.folders.preview("delete", path=path))


async def undo(context: Context) -> Result:
    """Take back the last change that was made to a file."""
    diff = await context.folders.undo(context.seen)
    return Result(f"The last change was taken back:\n{diff}", {"change": diff})


async def preview_undo(context: Context) -> Preview:
    """What ``undo`` would change."""
    return Preview(*await context.folders.preview("undo"))


Scheme = Literal["date and name", "date and number", "date and time"]


async def rename_by_date(
    folder: Path, context: Context, pattern: Glob = "*", names: Scheme = "date and name"
) -> Result:
    """Rename all files of a folder by the date they were last changed.

    Args:
        folder: The folder.
        pattern: Which files, such as *.jpg.
        names: What the new names are made of.
    """
    pairs = await _renamings(folder, pattern, names, context)
    if context.seen and context.seen != _mark(pairs):
        raise ToolError("The folder was changed since that was shown.", "Look at it again.")
    together = secrets.token_hex(8)
    for count, (path, to) in enumerate(pairs):
        if context.cancelled():
            left = f"{count} of {len(pairs)} files were renamed."
            raise ToolError(left, _UNDO_ALL if count else "")
        context.progress(f"renamed {count} of {len(pairs)}", count / len(pairs))
        try:
            await context.folders.move(path, to, group=together)
        except ToolError as error:
            why = f"{count} of {len(pairs)} files were renamed. {error.sentence}"
            raise ToolError(why, _UNDO_ALL if count else error.remedy) from error
    one = "1 file" if len(pairs) == 1 else f"{len(pairs)} files"
    text = f"Renamed {one} in {folder} by date. {_UNDO_ALL}"
    return Result(text, {"folder": folder, "count": len(pairs)})


async def preview_rename_by_date(
    folder: Path, context: Context, pattern: Glob = "*", names: Scheme = "date and name"
) -> Preview:
    """What ``rename_by_date`` would rename."""
    pairs = await _renamings(folder, pattern, names, context)
    lines = [f"{os.path.basename(path)} becomes {os.path.basename(to)}" for path, to in pairs]
    return Preview("\n".join(lines), _mark(pairs))


async def _renamings(
    folder: str, pattern: str, names: str, context: Context
) -> Sequence[tuple[str, str]]:
    """Old and new path of every file that does not have its date yet, oldest first."""
    entries = await context.folders.list(folder, pattern if pattern != "*" else "")
    files = [entry for entry in entries if not entry.folder]
    if (missing := _missing(entries)) or len(files) > _RENAMED:
        raise ToolError(f"There are too many files to be renamed at once.{missing}")
    taken = {entry.path for entry in entries}
    pairs = []
    days: dict[str, int] = {}
    for entry in sorted(files, key=lambda each: (each.modified, each.path)):
        parent, name = os.path.split(entry.path)
        stem, ending = os.path.splitext(name)
        moment = datetime.fromtimestamp(entry.modified, context.tzinfo)
        day = f"{moment:%Y-%m-%d}"
        key = f"{parent}/{day}"
        days[key] = days.get(key, 0) + 1
        if name.startswith(day):
            continue
        wanted = {
            "date and name": f"{day} {stem}",
            "date and number": f"{day} {days[key]:03}",
            "date and time": f"{moment:%Y-%m-%d %H.%M.%S}",
        }[names]
        to, number = f"{parent}/{wanted}{ending}", 1
        while to in taken:
            number += 1
            to = f"{parent}/{wanted} ({number}){ending}"
        if len(os.fsencode(os.path.basename(to))) > _NAME_BYTES:
            raise ToolError(f"With its date the name {name} is too long.", "Shorten it first.")
        taken.add(to)
        pairs.append((entry.path, to))
    if not pairs:
        raise ToolError(f"There is nothing to rename in {folder}.")
    return pairs


def _mark(pairs: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(repr(pairs).encode("utf-8", "surrogatepass")).hexdigest()


# --- telling ------------------------------------------------------------------------------------


def _changed(verb: str, path: str, diff: str) -> Result:
    """What the model reads has none of the file's own text; the person gets the diff."""
    body = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    many = "line" if added == 1 else "lines"
    lines = f" ({added} {many} added, {removed} removed)" if added or removed else ""
    name = f"{os.path.basename(path)}.diff"
    proof = Artifact(name, "text/x-diff", diff[:_ARTIFACT_CHARS].encode("utf-8", "replace"))
    data = {"path": path, "added": added, "removed": removed}
    return Result(f"{verb} {path}{lines}. {_UNDO}", data, artifacts=(proof,))


def _row(entry: Any, context: Context) -> dict[str, Any]:
    moment = datetime.fromtimestamp(entry.modified, context.tzinfo)
    return {
        "path": entry.path,
        "folder": entry.folder,
        "size": entry.size,
        "modified": f"{moment:%Y-%m-%d %H:%M}",
    }


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _missing(found: object) -> str:
    """What whoever looked says is missing."""
    said = getattr(found, "missing", "")
    return f"\n{said}" if said else ""
