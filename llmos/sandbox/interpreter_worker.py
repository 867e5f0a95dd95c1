"""The Python that runs a model's code, in a jail. Started by ``interpreter.py``.

Stands alone: imports nothing of llmos and is run by its path, isolated from the environment. Keeps
what one call defines for the next one. It guards nothing: whoever's code runs here can do what this
process can, which is what the jail leaves it.

In: a line of JSON a message, on standard input: ``run`` (code, a mark), ``interrupt``, ``answer``
(to a question). Out: a line of JSON a message, on what was standard output: ``ready``, ``done``
(the error, if any) and ``ask`` (a question to the kernel). What the code prints goes to standard
error, as does the mark when a call ends, so that its reader knows that it has read all of it.
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import importlib.abc
import importlib.machinery
import io
import itertools
import json
import linecache
import os
import queue
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__: list[str] = []

ERROR_CHARS = 8000  # of one traceback
FIGURES = 16  # of one call
FRAMES = 20  # of one traceback, the innermost ones


class CallError(RuntimeError):
    """The kernel did not make a call, or it failed."""


class Wire:
    """The pipes to the kernel: a thread reads, anybody writes."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "wb", buffering=0)
        self._requests = os.fdopen(os.dup(0), "rb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)  # nobody types here
        os.close(nothing)
        os.dup2(2, 1)  # whatever prints must not come between the messages
        self._writing = threading.Lock()
        self._serial = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self.calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.interrupted = ""  # the mark of the call that is to end

    def send(self, **message: Any) -> None:
        """Tell the kernel something."""
        line = json.dumps(message).encode() + b"\n"
        with self._writing:
            view = memoryview(line)
            while view:
                view = view[self._answers.write(view) :]

    def read(self) -> None:
        """Sort what comes in, until the kernel hangs up."""
        main = threading.main_thread().ident or 0
        for line in self._requests:
            message = json.loads(line)
            if message["do"] == "run":
                self.calls.put(message)
            elif message["do"] == "interrupt":
                self.interrupted = message["mark"]
                signal.pthread_kill(main, signal.SIGINT)  # also out of a system call it waits in
            elif message["do"] == "answer" and message["id"] in self._waiting:
                self._waiting[message["id"]].put(message)
        os._exit(0)

    def ask(self, name: str, arguments: dict[str, Any]) -> Any:
        """Have the kernel make a call.

        Raises:
            CallError: It was refused, or it failed; the message says why.
        """
        number = next(self._serial)
        answer = self._waiting[number] = queue.SimpleQueue()
        try:
            self.send(do="ask", id=number, name=name, arguments=arguments)
            message = answer.get()
        finally:
            del self._waiting[number]
        if "error" in message:
            raise CallError(message["error"])
        if "bytes" in message:
            return base64.b64decode(message["bytes"])
        return message.get("result")


def kernel_module(wire: Wire) -> types.ModuleType:
    """The module ``llmos`` that code finds here: files and calls, through the kernel."""
    module = types.ModuleType("llmos", "Files and calls, through the kernel.")

    def call(name: str, /, **arguments: Any) -> Any:
        """Make a call of the system, such as ``llmos.call("clock.now")``."""
        return wire.ask(name, arguments)

    def read(path: str | os.PathLike[str]) -> str:
        """The text of a file in a granted folder."""
        return str(wire.ask("files.read", {"path": os.fspath(path)}))

    def opened(path: str | os.PathLike[str], mode: str = "r", encoding: str = "utf-8") -> Any:
        """Open a file of a granted folder for reading: what ``pandas.read_csv`` takes."""
        if mode not in ("r", "rt", "rb"):
            raise ValueError("llmos.open only reads; write files here and they are handed over")
        data = wire.ask("files.bytes", {"path": os.fspath(path)})
        raw = io.BytesIO(data if isinstance(data, bytes) else str(data).encode())
        return raw if mode == "rb" else io.TextIOWrapper(raw, encoding, newline="")

    module.__dict__.update(call=call, read=read, open=opened, CallError=CallError)
    return module


# --- figures ----------------------------------------------------------------------------------


class Figures(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A backend of matplotlib that draws to files and knows what the code saved itself.

    It is found under the name in ``MPLBACKEND``, and so costs nothing until somebody draws.
    """

    NAME = "llmos_figures"

    def __init__(self) -> None:
        self._saved: set[int] = set()
        self._number = itertools.count(1)
        self._folder = Path.cwd()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Only our own name."""
        return importlib.machinery.ModuleSpec(name, self) if name == self.NAME else None

    def exec_module(self, module: types.ModuleType) -> None:
        """Agg, with a note of each figure that is saved."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        saved = self._saved

        class FigureCanvas(FigureCanvasAgg):
            def print_figure(self, *args: Any, **options: Any) -> Any:
                saved.add(id(self.figure))
                return super().print_figure(*args, **options)

        module.__dict__.update(FigureCanvas=FigureCanvas, show=lambda *_, **__: None)

    def keep(self) -> None:
        """Draw what is open to files of the workspace, and close it."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            numbers = pyplot.get_fignums()
            if len(numbers) > FIGURES:
                print(f"[{len(numbers) - FIGURES} more charts are not drawn]")
            for number in numbers[:FIGURES]:
                figure = pyplot.figure(number)
                if id(figure) not in self._saved:
                    while (file := self._folder / f"chart-{next(self._number)}.png").exists():
                        pass
                    figure.savefig(file, bbox_inches="tight")
        finally:
            pyplot.close("all")
            self._saved.clear()


# --- running ----------------------------------------------------------------------------------


class Session:
    """What the calls of one session share."""

    def __init__(self, wire: Wire) -> None:
        self._main = types.ModuleType("__main__")
        sys.modules["__main__"] = self._main  # where pickle and dataclasses look for classes
        self._names = self._main.__dict__
        self._count = itertools.count(1)
        self._wire = wire
        self._running = ""  # the mark of the call whose code runs
        self._folder = f"{Path.cwd()}{os.sep}"
        self._figures = Figures()
        sys.meta_path.insert(0, self._figures)

    def run(self, code: str, mark: str) -> str:
        """Run code and show the value of its last expression, as IPython does.

        Returns:
            The traceback; empty where there was none.
        """
        name = f"<cell {next(self._count)}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        signal.signal(signal.SIGINT, self._interrupt)  # whatever the code before made of it
        error = self._guarded(mark, lambda: self._execute(code, name))
        # Charts are drawn where the code failed, too: they are none of the next call's.
        undrawn = self._guarded(mark, self._figures.keep)
        return error or undrawn

    def _guarded(self, mark: str, work: Callable[[], None]) -> str:
        """Do what may fail in any way, and may be interrupted; its traceback."""
        try:
            self._running = mark
            if self._wire.interrupted == mark:
                raise KeyboardInterrupt
            work()
        except SystemExit as end:
            return "" if end.code in (None, 0) else f"SystemExit: {end.code}"[:ERROR_CHARS]
        except BaseException as raised:
            self._running = ""
            return self._told(raised)
        finally:
            self._running = ""
        return ""

    def _interrupt(self, *_: Any) -> None:
        """An interrupt that comes when the call has ended finds nothing to interrupt."""
        if self._running and self._wire.interrupted == self._running:
            raise KeyboardInterrupt

    def _execute(self, code: str, name: str) -> None:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        if tree.body:
            exec(compile(tree, name, "exec"), self._names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), self._names)
            if value is not None and not code.rstrip().endswith(";"):
                self._names["_"] = value
                print(repr(value))

    def _told(self, error: BaseException) -> str:
        """A traceback of the code's own lines: what libraries did inside is no help."""
        try:
            told = traceback.TracebackException.from_exception(error)
            seen: set[int] = set()
            ahead = [told]
            while ahead:
                one = ahead.pop()
                if id(one) in seen:
                    continue
                seen.add(id(one))
                own = [frame for frame in one.stack if self._is_own(frame.filename)]
                one.stack = traceback.StackSummary.from_list(own[-FRAMES:])
                linked = (one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ()))
                ahead += [e for e in linked if e is not None]
            text = "".join(told.format()).strip()
        except BaseException as broken:  # the error's own __str__ may do anything
            text = f"{type(error).__name__} (which cannot be shown: {type(broken).__name__})"
        return text if len(text) <= ERROR_CHARS else f"…\n{text[-ERROR_CHARS:]}"

    def _is_own(self, filename: str) -> bool:
        return filename.startswith(("<cell ", self._folder))


def _no_input(prompt: object = "", /) -> str:
    raise EOFError("nobody is there to type an answer: put the value into the code")


def main() -> None:
    """Serve until standard input ends."""
    os.umask(0o077)
    wire = Wire()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        # Line by line, so that both come out in the order in which they were printed.
        stream: Any = open(  # noqa: SIM115
            number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
    builtins.input = _no_input
    sys.modules["llmos"] = kernel_module(wire)
    sys.path.append(str(Path.cwd()))  # behind everything else: no file here stands for a library
    sys.argv = [""]
    threading.Thread(target=wire.read, name="wire", daemon=True).start()
    session = Session(wire)
    wire.send(do="ready")
    pid = os.getpid()
    while True:
        request = wire.calls.get()
        error = session.run(request["code"], request["mark"])
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the code may have put anything there
                stream.flush()
        if os.getpid() != pid:  # the code forked, and this is the other one: it ends as it would
            os._exit(1 if error else 0)
        os.write(2, request["mark"].encode())
        wire.send(do="done", mark=request["mark"], error=error)


if __name__ == "__main__":
    main()
