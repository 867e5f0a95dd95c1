"""Names that are left alone even in a folder that was granted: secrets, and what is hidden.

Knows names only; a secret in a file with a harmless name is not recognised. Whoever wants such a
file used grants that very file or folder.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["not_files", "why_not"]

_ENDINGS = frozenset(
    {
        *("pem", "key", "p12", "pfx", "p8", "ppk", "jks", "keystore", "kdb", "kdbx", "gpg", "asc"),
        *("ovpn", "keychain", "keychain-db", "age", "env"),
    }
)
_NAMES = re.compile(
    r"(?:id_(?:rsa|dsa|ecdsa|ed25519)\w*)(?:\..*)?"  # of SSH
    r"|(?:ssh_host_.*|htpasswd|shadow|credentials|wallet\.dat)"
    r"|(?:secrets?|credentials?|passwords?)\.(?:txt|json|ya?ml|toml|ini|csv|xml)"
)
#: Of browsers' profiles and keychains, wherever the profile was copied to.
_BROWSERS = frozenset(
    {
        *("login data", "cookies", "web data", "local state", "cookies.sqlite", "key3.db"),
        *("key4.db", "logins.json", "signons.sqlite", "formhistory.sqlite", "keychains"),
    }
)
_MACHINE = (Path("/proc"), Path("/sys"), Path("/dev"))


def why_not(parts: Sequence[str]) -> str:
    """Why what these names lead to is left alone; empty where it is not.

    Args:
        parts: The names from a granted folder on, the folder itself not among them.
    """
    for part in parts:
        name = part.casefold()
        if name.startswith("."):
            return "it is hidden"
        ending = name.rpartition(".")[2]
        if ending in _ENDINGS and ending != name:
            return "it looks like a secret"
        if name in _BROWSERS or _NAMES.fullmatch(name):
            return "it looks like a secret"
    if sys.platform == "darwin" and parts and parts[0] == "Library":
        return "it is hidden"  # in a home: profiles, mail, keychains
    return ""


def not_files(path: Path) -> bool:
    """Whether what is there are no files, but how the system shows itself: its processes, with
    their secrets, and its devices.

    Args:
        path: Without links.
    """
    return any(path.is_relative_to(place) for place in _MACHINE)
