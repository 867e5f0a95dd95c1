"""A subset of Python, for short pieces of code: quick, and without any machine's jail.

Pydantic's Monty runs it: an interpreter of its own that has no way to files, to the network or to
the environment, in worker processes with limits on time, memory and depth. It is not all of Python:
few modules, no libraries, and nothing is kept from one call to the next; ``interpreter.py`` has the
rest. The interpreter is the wall here, not the operating system.
"""

from __future__ import annotations

import ast
import asyncio
from typing import Any

from llmos import limits
from llmos.errors import CallFailed
from llmos.sandbox.printed import Printed
from llmos.sdk import ToolError
from llmos.services import Ran

__all__ = ["Subset"]

_SHOWN = "_shown_"


class Subset:
    """The worker processes; started when first needed, ended by ``close``."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._room = asyncio.Semaphore(limits.SUBSET_PROCESSES)

    async def evaluate(self, code: str) -> Ran:
        """Run code and show the value of its last expression.

        Raises:
            ToolError: The code is too long.
            CallFailed: The subset is not installed.
        """
        if len(code) > limits.SUBSET_CODE_CHARS:
            raise ToolError("The code is too long for evaluate.", "Use python.run.")
        try:
            source = _showing(code)
        except SyntaxError as error:
            where = f"line {error.lineno}" if error.lineno else "the code"
            return Ran("", f"SyntaxError in {where}: {error.msg}")
        except (ValueError, RecursionError, MemoryError):
            return Ran("", "SyntaxError: the code is nested too deeply, or has characters of none")
        async with self._room:
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncio.to_thread(_open)
            # The limits end it in time, also where nobody waits any more.
            return await asyncio.to_thread(_run, self._pool, source)

    async def close(self) -> None:
        """End the workers."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.__exit__, None, None, None)


def _open() -> Any:
    try:
        import pydantic_monty as monty
    except ImportError as error:
        raise CallFailed(
            "The Python subset is not installed.", remedy="Install it: pip install pydantic-monty"
        ) from error
    # Not its asyncio form: a thread of that one aborted the whole process at exit (1.4).
    pool = monty.Monty(
        min_processes=1,
        max_processes=limits.SUBSET_PROCESSES,
        checkout_timeout=4 * limits.SUBSET_SECONDS,
        request_timeout=2 * limits.SUBSET_SECONDS,
    )
    try:
        return pool.__enter__()
    except (OSError, RuntimeError, monty.MontyError) as error:
        raise CallFailed(f"The Python subset does not start: {error}.") from error


def _run(pool: Any, source: str) -> Ran:
    import pydantic_monty as monty

    printed = Printed()
    checkout = pool.checkout(
        script_name="code",
        limits={
            "max_feed_duration_secs": limits.SUBSET_SECONDS,
            "max_memory": limits.SUBSET_MEMORY_BYTES,
            "max_recursion_depth": limits.SUBSET_DEPTH,
            "max_suspensions": 1,
        },
        os_policy={"sleep": "zero"},
    )
    collected = monty.CollectString(limits.PYTHON_PRINTED_BYTES)
    error = ""
    try:
        with checkout as session:
            shown = session.feed_run(source, print_callback=collected)
            printed.feed(collected.output.encode(errors="replace"))
            if isinstance(shown, str):
                printed.feed(shown.encode(errors="replace"))
    except monty.MontyCrashedError:  # beyond its own limits; the pool starts another worker
        error = (
            f"It took longer than {limits.SUBSET_SECONDS:g} s, or needed too much, and was ended."
        )
    except monty.MontyError as failed:
        printed.feed(collected.output.encode(errors="replace"))
        error = failed.display() if hasattr(failed, "display") else str(failed)
        error = error.replace(_SHOWN, "…")[-limits.PYTHON_SHOWN_TAIL :]
    except TimeoutError:
        error = "All workers are busy."
    return Ran(printed.text().rstrip(), error)


def _showing(code: str) -> str:
    """The code, ending in the text of its last expression's value, or in None.

    The text is made where the limits hold: a value of a few bytes can have one without end.
    """
    tree = ast.parse(code)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        return f"{code}\nNone"
    lines = code.encode().splitlines(keepends=True)
    before = b"".join(lines[: last.lineno - 1])
    first = len(before) + last.col_offset
    end = sum(map(len, lines[: (last.end_lineno or last.lineno) - 1])) + (last.end_col_offset or 0)
    whole = b"".join(lines)
    named = b"%s = (%s)" % (_SHOWN.encode(), whole[first:end])
    source = (whole[:first] + named + whole[end:]).decode()
    return f"{source}\nNone if {_SHOWN} is None else repr({_SHOWN})"
