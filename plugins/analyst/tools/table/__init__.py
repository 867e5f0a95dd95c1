"""What a table holds. A model of a tool: it reads by a service, computes, and answers shortly."""

from __future__ import annotations

from typing import Annotated

from llmos.sdk import Context, Length, Pattern, Result, Verbatim

from .columns import read

__all__ = ["describe"]


#: A path, or the name of a file with its ending; a pattern, since the test stays in the jail.
Table = Annotated[str, Length(1, 1000), Verbatim(), Pattern(r"\S*[/~]\S*|\S+\.[A-Za-z]{2,5}")]


async def describe(path: Table, context: Context) -> Result:
    """Show the columns of a CSV file: their kinds, what is missing, how the values are spread.

    Args:
        path: The file, in a folder that was granted.
    """
    context.progress("reading")
    text = await context.folders.read(path)
    context.progress("counting")
    columns, rows = read(text)
    head = f"{len(columns)} column{'s' * (len(columns) != 1)}, {rows:,} row{'s' * (rows != 1)}."
    return Result(
        "\n".join([head, *(column.sentence() for column in columns)]),
        {"rows": rows, "columns": [column.data() for column in columns]},
    )
