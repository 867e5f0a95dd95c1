"""A command line for the model, off until the person grants it."""

from __future__ import annotations

from typing import Annotated

from llmos.sdk import Context, Length, Result, Verbatim

__all__ = ["run"]


async def run(command: Annotated[str, Length(1), Verbatim()], context: Context) -> Result:
    """Run one shell command.

    Args:
        command: The command as the user wrote it.
    """
    ran = await context.shell.run(command)
    text = "\n".join(part for part in (ran.output, ran.error) if part)
    data = {"output": ran.output, "error": ran.error}
    return Result(text or "It ran and printed nothing.", data, ran.artifacts)
