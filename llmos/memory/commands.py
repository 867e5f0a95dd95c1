"""``llmos export`` and ``llmos import``: conversations out of the journal and into it.

Thin. An export reads beside a running kernel; an import holds the state directory, since a kernel
would not know of the new processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TextIO

import click

from llmos import config as settings
from llmos.errors import BadFile, LlmosError
from llmos.memory.bulk import Conversation, Imported
from llmos.memory.journal import Journal
from llmos.memory.lock import lock
from llmos.memory.portable import export as exported
from llmos.memory.portable import import_conversations, read
from llmos.visible import visible

__all__ = ["export", "import_"]

_FORMATS: dict[str, Literal["jsonl", "md"]] = {"jsonl": "jsonl", "md": "md"}


@click.command("export")
@click.argument("pids", type=int, nargs=-1, metavar="[PID]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    help="JSON lines, which llmos imports again whole, or Markdown to read.  [default: jsonl]",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file instead of standard output.",
)
def export(pids: tuple[int, ...], form: str | None, output: Path | None) -> None:
    """Write conversations to a file: those of PID, or all.

    The kernel may run or not. A file that ends in .md is Markdown without being told.
    """
    if form is None:
        form = "md" if output is not None and output.suffix.lower() == ".md" else "jsonl"
    pieces = exported(settings.load().state / "journal.db", pids, format=_FORMATS[form])
    if output is None:
        _print(pieces)
        return
    with _replacing(output) as file:
        file.writelines(pieces)
    click.echo(f"Written to {output}.", err=True)


def _print(pieces: Iterable[str]) -> None:
    """Write to standard output: on a terminal harmless, elsewhere to the letter."""
    try:
        if sys.stdout.isatty():
            for piece in pieces:
                click.echo(visible(piece), nl=False)
        else:
            for piece in pieces:
                click.echo(piece.encode("utf-8", "replace"), nl=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A private file that takes the place of ``path`` once it is whole.

    A link stays, and what it leads to is replaced; a device or a pipe is written to.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        try:
            with path.open("w", encoding="utf-8", errors="replace", newline="\n") as device:
                yield device
        except OSError as error:
            raise BadFile(f"{path} cannot be written: {error.strerror or error}.") from error
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise BadFile(f"{path} cannot be written: {error.strerror or error}.") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BadFile(f"{path} cannot be written: {error.strerror or error}.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--title", default="", help="Title of the new processes, in place of their own.")
@click.option(
    "--mine",
    is_flag=True,
    help="The conversations are your own: your words are yours again, and the model's its own.",
)
def import_(files: tuple[Path, ...], title: str, mine: bool) -> None:
    """Make processes of conversations: of an export of llmos or ChatGPT, or of messages.

    Understood are the JSON lines and the Markdown that llmos exports, ChatGPT's
    conversations.json, and JSON messages with a role and a content. The kernel must be stopped.
    Nothing in a file is trusted, whatever it says of itself, and system prompts are left out,
    unless you say that it is yours: --mine, as when you move to another machine. Then what
    you said is yours, what the model said is the model's, what calls gave back is as they left it
    in an export of llmos and trusted by nobody otherwise, and system prompts are taken over. Say
    so only of what nobody else had in their hands. What is remembered does not come along.
    """
    state = settings.load().state
    with lock(state):
        asyncio.run(_import(state / "journal.db", files, title, mine))


async def _import(path: Path, files: Iterable[Path], title: str, mine: bool) -> None:
    count = 0

    def done(conversation: Conversation, imported: Imported) -> None:
        nonlocal count
        count += 1
        title = " ".join(visible(conversation.title).split())
        name = f" “{title}”" if title else ""
        messages = "1 message" if imported.records == 1 else f"{imported.records:,} messages"
        again = "; a copy, all of it was here already" if imported.copy else ""
        click.echo(f"Process {imported.pid}{name}: {messages}{again}.")
        for sentence in conversation.left_out:
            click.echo(f"  {sentence}")

    journal = Journal(path)
    try:
        for file in files:
            await import_conversations(journal, read(file, mine=mine, title=title), done=done)
    except LlmosError as error:
        if count:
            error.remedy = f"{error.remedy} What is listed above was imported.".strip()
        raise
    finally:
        await journal.close()
    if count and not mine:
        click.echo(
            "Nothing in it is trusted: it may be anybody's. Of your own, say so with --mine."
        )
