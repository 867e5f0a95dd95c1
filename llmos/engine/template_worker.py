"""The process in which a model's chat template runs. Started by ``template.py``, in a jail.

It knows jinja2 and nothing of llmos: the file is run by its path, isolated from the environment
and from site customisation. The first line it reads is a JSON object with ``path`` (where jinja2
lies), limits and the template. It answers once when it is ready and once when the template is
compiled; then each line in gives one answer, until standard input ends. An answer is its length
in bytes on a line, and then so many bytes of JSON. A template is code from a file: Jinja's sandbox
keeps it from Python's attributes, the limits of this process keep it from time and memory; the
parent keeps the clock.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

MARGIN_SECONDS = 1  # processor time beyond the parent's limit, which is the finer one


def limit(kind: int, value: int) -> None:
    """Set a limit where the system allows it (macOS refuses RLIMIT_AS)."""
    try:
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, hard))
    except (ValueError, OSError):
        pass


def environment(today: time.struct_time) -> Any:
    """Jinja as the templates of model hubs expect it."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}`` marks what the assistant wrote, for training; here it is bare."""

        tags = {"generation"}  # noqa: RUF012 - as the base class has it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    def raise_exception(message: object) -> None:
        raise TemplateError(str(message))

    def strftime_now(form: str) -> str:
        return time.strftime(form, today)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)
    return env


def main() -> None:
    setup = json.loads(sys.stdin.buffer.readline())
    sys.path[:0] = setup["path"]
    env = environment(time.struct_time(setup["today"]))
    output = sys.stdout.buffer
    most = setup["output_chars"]
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_NOFILE, 16)
    limit(resource.RLIMIT_AS, setup["memory_bytes"])

    def budget() -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = used.ru_utime + used.ru_stime
        limit(resource.RLIMIT_CPU, int(spent + setup["seconds"]) + 1 + MARGIN_SECONDS)

    def guarded(work: Callable[[], str]) -> dict[str, Any]:
        try:
            return {"text": work()}
        except MemoryError:
            return {"error": "memory"}
        except RecursionError:
            return {"error": "it is nested too deeply"}
        except Exception as error:
            said = " ".join(str(error).split())[:300].rstrip(".")
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            return {"error": where + (said or type(error).__name__)}

    def answer(value: dict[str, Any]) -> None:
        line = json.dumps(value).encode()
        output.write(b"%d\n" % len(line))
        output.write(line)
        output.flush()

    template: Any = None

    def compiled() -> str:
        nonlocal template
        template = env.from_string(setup["template"])
        return ""

    answer({"text": ""})
    budget()
    answer(guarded(compiled))

    def render(variables: dict[str, Any]) -> str:
        pieces: list[str] = []
        length = 0
        for piece in template.generate(variables):
            length += len(piece)
            if length > most:
                raise MemoryError
            pieces.append(piece)
        return "".join(pieces)

    for line in sys.stdin.buffer:
        budget()
        variables = json.loads(line)
        try:
            answer(guarded(lambda: render(variables)))  # noqa: B023 - called at once
        except MemoryError:  # the answer did not fit beside its own text
            answer({"error": "memory"})


if __name__ == "__main__":
    main()
