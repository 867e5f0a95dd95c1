"""The desktop's clipboard: what was copied, and copying something onto it."""

from __future__ import annotations

from typing import Annotated

from llmos.sdk import Context, Length, Preview, Result

__all__ = ["read", "write"]

_SHOWN = 100_000  # characters of a long one that are given back


async def read(context: Context) -> Result:
    """Tell what is on the clipboard."""
    text = await context.clipboard.read()
    if not text.strip():
        return Result("The clipboard is empty, or holds no text.", {"characters": len(text)})
    more = f"\n[{len(text) - _SHOWN:,} more characters]" if len(text) > _SHOWN else ""
    return Result(text[:_SHOWN] + more, {"characters": len(text)})


async def write(text: Annotated[str, Length(1)], context: Context) -> Result:
    """Copy a text onto the clipboard.

    Args:
        text: What is copied.
    """
    await context.clipboard.write(text)
    one = "1 character is" if len(text) == 1 else f"{len(text):,} characters are"
    return Result(f"{one} on the clipboard.", {"characters": len(text)})


def preview_write(text: Annotated[str, Length(1)], context: Context) -> Preview:
    """What ``write`` would put there."""
    return Preview(f"This replaces what is on the clipboard:\n{text}")
