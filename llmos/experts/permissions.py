"""What an expert declares that it needs, and how that is told to a person before the yes.

The sentences are made from the declarations alone, never from an expert's own prose. It says what
is declared; that nothing else can be had is the work of ``lending.py`` and of the jail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmos import limits
from llmos.errors import AddressRefused, ExpertError
from llmos.net.address import parse
from llmos.net.policy import listed

__all__ = ["Permissions", "host_pattern"]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
#: A name with a dot whose last label is not a number: no address of a machine, no ``localhost``.
_HOST = re.compile(rf"(\*\.)?({_LABEL}\.)+(?!\d+$)[a-z0-9-]{{2,63}}")


@dataclass(frozen=True, slots=True)
class Permissions:
    """What an expert's own tools may use of what the kernel lends.

    Args:
        web: Hosts they may read: ``docs.python.org``, ``*.example.org`` (whatever stands below it),
            or ``*`` (any).
        search: Whether they may search the web.
        folders: ``read`` or ``write`` in the folders a person granted, or empty.
        python: Whether they may run code in the conversation's Python.
        shell: Whether they may run commands.
        timers: Whether they may set reminders.
        clipboard: ``read`` or ``write``, or empty.
        machine: Whether they may see what the machine is doing.
        memory_mb: What one call may take, in megabytes.
    """

    web: tuple[str, ...] = ()
    search: bool = False
    folders: str = ""
    python: bool = False
    shell: bool = False
    timers: bool = False
    clipboard: str = ""
    machine: bool = False
    memory_mb: int = limits.EXPERT_MEMORY_MB

    def lends(self, service: str) -> bool:
        """Whether anything of a service, as ``services.SERVICES`` has them, is declared."""
        declared = {
            "web": bool(self.web) or self.search,
            "folders": bool(self.folders),
            "interpreter": self.python,
            "shell": self.shell,
            "timers": self.timers,
            "clipboard": bool(self.clipboard),
            "machine": self.machine,
        }
        return declared[service]

    def reaches(self, address: str) -> bool:
        """Whether an address stands on a declared host, read as it would be fetched.

        One that reads in two ways, or is none, does not.
        """
        try:
            host = parse(address).host
        except AddressRefused:
            return False
        return listed(host, self.web, bare=False)

    def told(self) -> tuple[str, ...]:
        """What is declared, plain words each, to stand behind “It may”."""
        lines = []
        if self.web:
            hosts = ", ".join(map(_site, self.web))
            where = "any page of the web" if "*" in self.web else f"pages of {hosts}"
            only = "" if "*" in self.web else ", and of no other site"
            lines.append(f"read {where}{only}; an address can carry words of your chat there")
        if self.search:
            lines.append("search the web; the search engine sees what is searched for")
        if self.folders:
            also = ", and change files in those that you granted with --write"
            lines.append(
                "read files in the folders that you granted to llmos, and any file or folder whose"
                f" path you write in the chat{also if self.folders == 'write' else ''}"
                " (this grants no folder; “llmos grants” lists yours)"
            )
        if self.python:
            lines.append(
                "run Python in a jail without network, which reaches your files"
                f" {'only as is said here' if self.folders else 'not at all'}"
            )
        if self.shell:
            lines.append(
                "run commands in a jail that holds the folders that you granted, and change files"
                " in those that you granted with --write, which llmos undo cannot take back"
            )
        if self.timers:
            lines.append("set, see and cancel reminders in the chat where you ask it")
        if self.clipboard:
            change = ", and put something else there" if self.clipboard == "write" else ""
            lines.append(f"read your clipboard{change}")
        if self.machine:
            lines.append("see how busy and how full your machine is")
        return tuple(lines)


def _site(pattern: str) -> str:
    return f"any site below {pattern[2:]}" if pattern.startswith("*.") else pattern


def host_pattern(said: str) -> str:
    """A host as a manifest may name it, in small letters.

    Raises:
        ExpertError: It is none.
    """
    host = said.strip().lower()
    if host != "*" and not _HOST.fullmatch(host):
        raise ExpertError(
            f"“web” of [permissions] has {said[:80]!r}, which is no site.",
            remedy="Write a name such as docs.python.org, *.example.org, or * for any.",
        )
    return host
