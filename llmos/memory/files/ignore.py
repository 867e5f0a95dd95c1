"""What a folder's ignore files leave out: .gitignore, .ignore and .llmosignore.

The patterns are Git's. A deeper file comes before one above it, .llmosignore before .ignore before
.gitignore; the first with a pattern that fits decides. Knows names, not files: whether something
hidden counts all the same is up to the caller.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from pathspec import GitIgnoreSpec

from llmos import limits

__all__ = ["IGNORE_FILES", "Rules"]

IGNORE_FILES = (b".llmosignore", b".ignore", b".gitignore")  # the strongest first
_WILDCARDS = re.compile(r"\*+")


class Rules:
    """The patterns that hold in one folder. Immutable.

    Args:
        specs: For each kind of ignore file, where one stands and what it says, deepest first.
    """

    def __init__(
        self, specs: tuple[tuple[tuple[str, GitIgnoreSpec], ...], ...] = ((), (), ())
    ) -> None:
        self._specs = specs

    @classmethod
    def above(cls, folder: Path) -> Rules:
        """What holds in ``folder`` already: of the folders above it, up to a repository's top."""
        if (folder / ".git").exists():
            return cls()
        for top in folder.parents:
            if (top / ".git").exists():
                rules = cls()
                within = [parent for parent in folder.parents if parent.is_relative_to(top)]
                for parent in reversed(within):
                    rules = rules.inside(os.fsencode(parent), IGNORE_FILES)
                return rules
        return cls()

    def inside(self, folder: bytes, names: Iterable[bytes]) -> Rules:
        """The rules in ``folder``, which holds ``names``; these rules hold there too."""
        names = set(names)
        if names.isdisjoint(IGNORE_FILES):
            return self
        specs = list(self._specs)
        for kind, name in enumerate(IGNORE_FILES):
            if name in names and (spec := _spec(os.path.join(folder, name))):
                specs[kind] = ((os.path.join(os.fsdecode(folder), ""), spec), *specs[kind])
        return Rules(tuple(specs))

    def ignores(self, path: bytes, *, folder: bool) -> tuple[bool | None, bool]:
        """Whether ``path`` is left out: True, False where it is brought back, or None.

        Returns:
            That, and whether an .llmosignore says so.
        """
        name = os.fsdecode(path) + "/" * folder
        for kind, specs in enumerate(self._specs):
            for base, spec in specs:
                verdict = spec.check_file(name[len(base) :]).include
                if verdict is not None:
                    return verdict, kind == 0
        return None, False


def _spec(path: bytes) -> GitIgnoreSpec | None:
    """What an ignore file says; None where it can't be read, as if it were not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        raw = file.read(limits.IGNORE_BYTES)
    written = raw.decode("utf-8", "surrogateescape").splitlines()[: limits.IGNORE_LINES]
    lines = [_tame(line) for line in written]
    try:
        return GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error):  # one is malformed: Git passes over it
        return GitIgnoreSpec.from_lines([line for line in lines if _valid(line)])


def _valid(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def _tame(line: str) -> str:
    """A pattern without more wildcards than a name can be held against in a moment.

    A regular expression's cost is the length of the name to the power of their number. What is
    left of a longer pattern leaves out more than it did; one that brings back brings back nothing.
    A ``*`` or ``**`` that is a whole part of a path costs nothing.
    """
    if line.startswith("#"):
        return ""
    costly = [
        run
        for run in _WILDCARDS.finditer(line)
        if line[run.start() - 1 : run.start()] not in ("", "/", "!")
        or line[run.end() : run.end() + 1] not in ("", "/")
    ]
    if len(costly) <= limits.IGNORE_STARS:
        return line
    return "" if line.startswith("!") else line[: costly[limits.IGNORE_STARS - 1].end()]
