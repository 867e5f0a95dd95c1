"""Writing the chosen model into the settings file, leaving the rest of it as it is.

Edits one line of text instead of rewriting the file, so that comments and order survive, and
refuses where the file is written in a way that one line cannot change.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from llmos import paths
from llmos.errors import ConfigError

__all__ = ["select_model"]

_HEADER: Final = re.compile(r"\s*\[")
_ENGINE: Final = re.compile(r"\s*\[\s*engine\s*\]\s*(#.*)?$")
_MODEL: Final = re.compile(r"(\s*)model\s*=")
_COMMENT: Final = re.compile(r"""\s*model\s*=\s*(?:"[^"\\]*"|'[^']*')(\s*#.*)$""")


def _edited(text: str, model: str) -> str:
    """``text`` with ``model`` in its ``[engine]`` section."""
    line = f"model = {json.dumps(model, ensure_ascii=False)}"
    lines = text.splitlines()
    inside, place = False, None
    for number, old in enumerate(lines):
        if _HEADER.match(old):
            inside = bool(_ENGINE.match(old))
            place = number if inside and place is None else place
        elif inside and (found := _MODEL.match(old)):
            comment = _COMMENT.match(old)
            lines[number] = found[1] + line + (comment[1] if comment else "")
            return "\n".join(lines) + "\n"
    if place is not None:
        lines.insert(place + 1, line)
    else:
        lines += [*([""] if lines and lines[-1].strip() else []), "[engine]", line]
    return "\n".join(lines) + "\n"


def select_model(model: str, file: Path | None = None) -> Path:
    """Set ``[engine] model`` in the settings file, which need not exist.

    Returns:
        The file written.

    Raises:
        ConfigError: The file cannot be read or written, or is not written so that one line of it
            can be changed.
    """
    file = file or paths.config_file()
    by_hand = f'Set it by hand: model = "{model}" under [engine].'
    try:
        text = file.read_text("utf-8") if file.exists() else ""
        before: dict[str, Any] = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # ValueError: a number too long, too
        raise ConfigError(f"The settings file {file} cannot be read: {error}.") from error
    edited = _edited(text, model)
    engine = before.get("engine", {})
    wanted = {**before, "engine": {**engine, "model": model}} if isinstance(engine, dict) else None
    try:
        right = wanted is not None and tomllib.loads(edited) == wanted
    except ValueError:
        right = False
    if not right:
        raise ConfigError(f"The settings file {file} cannot be changed safely.", remedy=by_hand)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        paths.atomic_write(file.resolve(), edited, mode=mode)
    except OSError as error:
        raise ConfigError(f"The settings file {file} cannot be written: {error}.") from error
    return file
