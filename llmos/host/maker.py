"""Changes made, such that each can be taken back and none is half there.

A change is written down, made in one step (``placing.py``), and written down as made. Killed at
any point, a file is as before or as after; the next change (or ``llmos undo``) finds out which.

Knows nothing of grants: ``Places`` settled those, and a person who undoes needs none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llmos.errors import HostError
from llmos.failpoints import failpoint
from llmos.host import changes, placing
from llmos.host.changes import Change
from llmos.host.places import folder_of, told
from llmos.host.undo import Entry, Log

__all__ = ["Maker"]

log = logging.getLogger(__name__)


class Maker:
    """Makes changes and takes them back. Every method blocks; any thread may call it.

    Args:
        kept: The log of what was changed.
    """

    def __init__(self, kept: Log) -> None:
        self._log = kept

    def make(self, change: Change, group: str = "") -> Entry:
        """Make a change.

        Args:
            change: Which.
            group: Names all that is made in one go, if it is part of that.

        Raises:
            HostError: It cannot be made, or its file is not as it was when the change was shown;
                then nothing is changed.
        """
        with self._log.held():
            self._settle()
            return self._make(change, group)

    def changes(self) -> tuple[list[Entry], int]:
        """The changes that can be taken back, oldest first; how many before them no longer can."""
        with self._log.held():
            self._settle()
            return self._log.entries(), self._log.lost()

    def last(self) -> list[tuple[Entry, Change]]:
        """The changes that ``undo`` would take back, in that order, and what doing so would change.

        Raises:
            HostError: There are none, or a file was changed since.
        """
        with self._log.held():
            self._settle()
            return [(entry, self._inverse(entry, force=False)) for entry in self._found(0)]

    def undo(
        self, number: int = 0, *, force: bool = False, only: Sequence[int] = ()
    ) -> list[tuple[Entry, str]]:
        """Take a change back.

        Args:
            number: Which one; where 0 the last that is neither undone nor an undoing, with all that
                was made with it in one go.
            force: Also where a file was changed since; as it is now, it can be had back by
                undoing the undoing.
            only: The numbers of the changes that are meant; empty for whichever they are.

        Returns:
            The changes that were taken back, each with the diff of doing so.

        Raises:
            HostError: There is none, or a file was changed since; then nothing was taken back, or
                the sentence says how much.
        """
        with self._log.held():
            self._settle()
            found = self._found(number)
            if only and [entry.number for entry in found] != list(only):
                raise HostError(
                    "Something else was changed or undone meanwhile.",
                    remedy="See llmos undo --list.",
                )
            planned = [(entry, self._inverse(entry, force)) for entry in found]
            group = secrets.token_hex(8) if len(planned) > 1 else ""
            for count, (entry, change) in enumerate(planned):
                try:
                    made = self._make(change, group)
                except HostError as error:
                    if not count:
                        raise
                    some = f"{count} of {len(planned)} changes were taken back. {error.sentence}"
                    raise HostError(some, remedy=error.remedy) from error
                self._log.mark(entry, undone=made.number)
                placing.unmake(entry.made)
            return [(entry, change.shown) for entry, change in planned]

    # --- taking back ----------------------------------------------------------------------------

    def _found(self, number: int) -> list[Entry]:
        """The change of a number, or the last ones that were made in one go, the newest first."""
        entries = self._log.entries()
        if number:
            entry = next((each for each in entries if each.number == number), None)
            if entry is None:
                gone = 0 < number <= self._log.lost()
                why = " any more: its room was needed" if gone else ""
                raise HostError(
                    f"There is no change {number}{why}.", remedy="See llmos undo --list."
                )
        else:
            open_ones = [each for each in entries if not each.undone and not each.undoes]
            if not open_ones:
                raise HostError("There is nothing to undo.")
            last = open_ones[-1]
            together = [each for each in open_ones if each.group and each.group == last.group]
            return together[::-1] or [last]
        if entry.undone:
            raise HostError(
                f"Change {entry.number} is undone already.",
                remedy=f"llmos undo {entry.undone} makes it again.",
            )
        return [entry]

    def _inverse(self, entry: Entry, force: bool) -> Change:
        path = Path(entry.path)
        if entry.to:
            change = changes.move(Path(entry.to), path)
            if change.identity != entry.identity and not self._known(entry) and not force:
                raise HostError(
                    f"{told(entry.to)} is not what was moved there.",
                    remedy="llmos undo --force moves it nevertheless.",
                )
            return replace(change, kind="undo", undoes=entry.number)
        now = changes.look(path)
        if now.digest != entry.after and not force:
            raise _changed(path)
        if now.folder:
            raise HostError(
                f"{told(entry.path)} is a folder now.", remedy="Move it away, then undo again."
            )
        after = self._log.image(entry) if entry.before else None
        if after == now.data:
            raise HostError(f"{told(entry.path)} is already as it was before.")
        return Change(
            "undo",
            path,
            changes.mark(now),
            changes.shown(now.data, after, told(entry.path)),
            before=now.data,
            after=after,
            mode=entry.mode if after is not None else now.mode,
            undoes=entry.number,
        )

    def _known(self, entry: Entry) -> bool:
        """Whether what was moved was since changed by llmos alone: a change makes a new inode."""
        later = [each for each in self._log.entries() if each.path == entry.to]
        now = changes.look(Path(entry.to)).digest
        return any(each.after == now != "" for each in later if each.number > entry.number)

    # --- making ---------------------------------------------------------------------------------

    def _make(self, change: Change, group: str = "") -> Entry:
        if changes.seen_now(change) != change.seen:
            raise placing.overtaken(change.path)
        target = change.to or change.path
        entry = self._log.begin(
            Entry(
                number=0,
                at=time.time(),
                kind=change.kind,
                path=str(change.path),
                to=str(change.to or ""),
                before=placing.digest(change.before),
                after=placing.digest(change.after),
                mode=change.mode,
                identity=change.identity,
                made=tuple(str(folder) for folder in placing.missing(target.parent)),
                temporary="" if change.to else f".llmos-{secrets.token_hex(8)}",
                undoes=change.undoes,
                group=group,
            ),
            change.before,
        )
        failpoint("change-begun")
        try:
            for folder in entry.made:
                with folder_of(Path(folder)) as above, contextlib.suppress(FileExistsError):
                    os.mkdir(Path(folder).name, dir_fd=above)
            if change.to is not None:
                placing.move(change.path, change.to, change.identity)
            else:
                placing.replace_file(change, entry.temporary)
        except HostError:
            self._log.drop(entry)
            placing.unmake(entry.made)
            raise
        except OSError as error:
            self._settle()  # it may have failed after the fact, as a disk does
            placing.unmake(entry.made)
            raise placing.failed(change, error) from error
        failpoint("change-made")
        self._log.done(entry)
        return entry

    def _settle(self) -> None:
        """Find out what became of changes that were begun by somebody who is gone."""
        for entry in self._log.begun():
            try:
                made = _was_made(entry)
            except (OSError, HostError) as error:
                log.warning("change %d: what became of it is unknown: %s", entry.number, error)
                made = True  # its image is kept, and undoing looks again
            log.info("change %d was %s", entry.number, "made" if made else "not made")
            if made:
                self._log.done(entry)
            else:
                self._log.drop(entry)


def _was_made(entry: Entry) -> bool:
    path = Path(entry.path)
    if entry.to:
        return changes.look(Path(entry.to), whole=False).identity == entry.identity
    now = changes.look(path)
    beside = path.with_name(entry.temporary) if entry.temporary else None
    if beside is not None:
        left = changes.look(beside)
        # After an exchange it holds the file as it was, whose image is kept. What somebody else
        # wrote in the last instant is neither, and stays where they can find it.
        if left.identity and (now.digest == entry.before or left.digest == entry.before):
            with folder_of(beside) as folder:
                os.unlink(beside.name, dir_fd=folder)
    return now.digest != entry.before


def _changed(path: Path) -> HostError:
    return HostError(
        f"{told(str(path))} was changed since, so that undoing would lose that.",
        remedy="llmos undo --force does it nevertheless; that, too, can be undone.",
    )
