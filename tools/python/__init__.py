"""Python for the model: a session in a jail, and a subset for short pieces."""

from __future__ import annotations

import re
from typing import Annotated

from llmos.sdk import Context, Length, Result, ToolError, Verbatim

__all__ = ["evaluate", "run"]

_LINES, _SHOWN = 20, 600  # of an output that an answer shows as it is
_SHORT = 200  # characters of a result that can be told in a sentence
#: Models put code into Markdown's fences out of habit.
_FENCED = re.compile(r"\s*```[ \t]*(?:python|py)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL | re.I)


#: What holds data; ``np.mean`` and ``math.pi`` are no files.
_ENDINGS = (
    *(
        "csv",
        "tsv",
        "txt",
        "md",
        "json",
        "jsonl",
        "xml",
        "yaml",
        "yml",
        "toml",
        "ini",
        "log",
        "html",
    ),
    *(
        "html",
        "xlsx",
        "xls",
        "ods",
        "parquet",
        "feather",
        "db",
        "sqlite",
        "npy",
        "npz",
        "pkl",
        "h5",
    ),
    *("png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "webp", "wav", "pdf", "docx", "zip", "gz"),
)


def is_file(text: str) -> bool:
    """Whether ``text`` is written as the name or the path of a file with data."""
    if len(text) > 1000 or " " in text or "://" in text:
        return False
    stem, _, ending = text.rpartition(".")
    return ending.lower() in _ENDINGS and re.fullmatch(r"[\w.~/()+@-]*[\w()+@-]", stem) is not None


async def run(
    code: Annotated[str, Length(1)],
    context: Context,
    files: Annotated[list[str] | None, Length(0, 16), Verbatim(accepts=is_file)] = None,
) -> Result:
    """Run Python code; the session is kept.

    Args:
        code: Python; the value of its last expression is shown.
        files: Files of the user that the code opens by their bare names, such as ~/data.csv.
    """
    taken: dict[str, str] = {}
    left_out: list[str] = []
    for path in files or ():
        name = path.rstrip("/").rpartition("/")[2]
        if name in taken:
            if taken[name] != path:
                raise ToolError(f"Two files are called {name}.", "Run the code with one of them.")
            continue
        taken[name] = path
        context.progress(f"Reading {name}")
        try:
            content = await context.folders.content(path)
        except ToolError:
            if name in code:
                raise
            left_out.append(name)  # small models name files nobody spoke of: the code does without
            continue
        await context.interpreter.put(name, content)
    ran = await context.interpreter.run(_bare(code))
    made = ", ".join(artifact.name for artifact in ran.artifacts)
    missing = f"[Not read: {', '.join(left_out)}]" if left_out else ""
    parts = (ran.output, ran.error, f"[Files: {made}]" if made else "", missing)
    text = "\n".join(part for part in parts if part)
    data = {
        "output": ran.output,
        "error": ran.error,
        "files": [artifact.name for artifact in ran.artifacts],
        "value": "" if ran.error else _told(ran.output),
        "printed": "" if ran.error else _quoted(ran.output),
        "made": "" if ran.error or ran.output else made,
    }
    said = text or "It ran and printed nothing."
    return Result(said, data, ran.artifacts, failed=bool(ran.error))


async def evaluate(code: Annotated[str, Length(1)], context: Context) -> Result:
    """Run a short piece of plain Python at once.

    Args:
        code: Python; the value of its last expression is shown.
    """
    ran = await context.interpreter.evaluate(_bare(code))
    text = "\n".join(part for part in (ran.output, ran.error) if part)
    value = "" if ran.error else _told(ran.output)
    data = {"output": ran.output, "error": ran.error, "value": value}
    return Result(text or "It ran and printed nothing.", data, failed=bool(ran.error))


def _bare(code: str) -> str:
    fenced = _FENCED.fullmatch(code)
    return fenced[1] if fenced else code


def _quoted(output: str) -> str:
    """What was printed, where it is some lines that can be shown as they are."""
    lines = 1 < len(output.splitlines()) <= _LINES
    return output.rstrip() if lines and len(output) <= _SHOWN and "```" not in output else ""


def _told(output: str) -> str:
    """What was printed, where it is one short line."""
    return output if len(output) <= _SHORT and "\n" not in output else ""
