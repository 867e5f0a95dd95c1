"""Every command, thin. Heavy imports are inside the commands, so that ``llmos ask`` starts fast."""

from __future__ import annotations

import asyncio
import errno
import importlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from llmos import __version__
from llmos.errors import KernelUnreachable, LlmosError
from llmos.visible import visible

__all__ = ["main"]

T = TypeVar("T")
_LOOK_SECONDS = 0.05

_ELSEWHERE = {  # command → module:object, imported when it is called or its help is asked for
    "models": "llmos.models.commands:models",
    "doctor": "llmos.doctor:doctor",
    "bench": "llmos.bench.commands:bench",
    "memory": "llmos.memories:memory",
    "mount": "llmos.memories:mount",
    "umount": "llmos.memories:umount",
    "dream": "llmos.dreams:dream",
    "export": "llmos.memory.commands:export",
    "import": "llmos.memory.commands:import_",
    "fsck": "llmos.fsck:fsck",
    "plugin": "llmos.experts.commands:plugin",
    "reminders": "llmos.reminders:reminders",
    "undo": "llmos.host.commands:undo",
    "trace": "llmos.tracing:trace",
    "audit": "llmos.tracing:audit",
    "replay": "llmos.tracing:replay",
    "speak": "llmos.devices.commands:speak",
    "transcribe": "llmos.devices.commands:transcribe_",
    "voice": "llmos.voice.commands:voice",
}
_SHORT_HELP = {
    "models": "List, pull, choose and remove models.",
    "doctor": "Check this machine and say what is missing.",
    "bench": "Measure every figure llmos claims, here.",
    "memory": "See, search, change and forget what is remembered.",
    "mount": "Read a folder into memory and follow its changes.",
    "umount": "Take a mounted folder out of memory.",
    "dream": "Tidy memory now: merge, summarise, link.",
    "export": "Write conversations to a file.",
    "import": "Make processes of conversations from a file.",
    "fsck": "Check what is on the disk, and repair it.",
    "plugin": "Install, list, look at and remove experts.",
    "reminders": "List the reminders of all chats, or cancel them.",
    "undo": "Take back what was changed in your files.",
    "trace": "Show the calls of a process, past and live.",
    "audit": "Check the hash chain, and list what calls changed.",
    "replay": "Run a conversation again, and show what differs.",
    "speak": "Read a text out, or into a sound file.",
    "transcribe": "Write down what is said in a file; subtitles, too.",
    "voice": "Talk with it, and interrupt it by speaking.",
}


class _Commands(click.Group):
    """A group whose larger commands live in their own packages and load when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = _ELSEWHERE[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            if name in _ELSEWHERE:
                rows.append((name, _SHORT_HELP[name]))
            elif (command := self.get_command(ctx, name)) and not command.hidden:
                rows.append((name, command.get_short_help_str(80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def main() -> None:
    """The ``llmos`` command. Errors become one sentence; Ctrl-C is silent."""
    if sys.stdout is None:  # closed by the caller; what is printed then goes nowhere
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the locale cannot spell
    try:
        cli.main(prog_name="llmos", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except asyncio.CancelledError:  # by SIGTERM or SIGHUP
        sys.exit(143)
    except LlmosError as error:
        click.echo(f"llmos: {visible(str(error))}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
            click.echo(f"llmos: The output cannot be written: {error.strerror}.", err=True)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what it holds goes nowhere
            sys.exit(74)  # input/output error, as sysexits.h has it
        click.echo(f"llmos: Something went wrong in llmos itself. {_recorded()}", err=True)
        sys.exit(70)  # internal software error, as sysexits.h has it


def _recorded() -> str:
    """Write the traceback of the error at hand to the log; returns where it is."""
    import time
    import traceback

    from llmos import paths

    file = paths.log_file()
    try:
        paths.private_dir(file.parent)
        with open(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as log:
            moment = time.strftime("%Y-%m-%d %H:%M:%S")
            command = " ".join(sys.argv[1:2])
            log.write(f"{moment},000 ERROR llmos.cli: {command}\n{traceback.format_exc()}")
    except OSError:
        return f"Its log {file} cannot be written."
    return f"The details are in {file}."


def _pids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Processes to complete a PID from; none where no kernel answers."""
    from click.shell_completion import CompletionItem

    from llmos.client import Client

    async def read() -> list[CompletionItem]:
        async with await Client.connect(start=False) as client:
            rows = await client.processes()
        titles = {
            str(row.pid): visible(" ".join(row.title.split())) or "(untitled)" for row in rows
        }
        return [
            CompletionItem(pid, help=title)
            for pid, title in titles.items()
            if pid.startswith(incomplete)
        ]

    try:
        return _run(read())
    except (LlmosError, OSError):
        return []


def _models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Models the kernel could load, by name."""
    from llmos.models import catalog

    try:
        return [m.name for m in catalog.installed() if m.name.startswith(incomplete)]
    except (LlmosError, OSError):
        return []


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(__version__, prog_name="llmos")
@click.option(
    "--pid",
    type=int,
    default=0,
    help="Open this process instead of a new chat.",
    shell_complete=_pids,
)
@click.pass_context
def cli(ctx: click.Context, pid: int) -> None:
    """An operating system whose kernel runs a local language model.

    Without a command it opens the chat screen.
    """
    if ctx.invoked_subcommand is None:
        if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError(
                "The chat screen needs a terminal. Otherwise: llmos ask QUESTION"
            )
        from llmos.ui.app import LlmosApp

        LlmosApp(pid=pid or None).run()


def _run(work: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` to its end; where it is what makes it, it is made once nothing can break it off.

    Ctrl-C cancels it, and only it: what is opened and closed around it is never broken off half
    way, which Python would tell with tracebacks. A second Ctrl-C breaks off anything.

    Raises:
        KeyboardInterrupt: It was cancelled by Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work() if callable(work) else work)
    interrupted = False
    cancel: Callable[[], object] = bool  # nothing runs yet

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        cancel()

    async def cancelled_by_interrupt() -> T:
        nonlocal cancel
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel = partial(loop.call_soon_threadsafe, task.cancel)
        if interrupted:
            task.cancel()
        try:
            return await (work() if callable(work) else work)
        finally:
            cancel = bool

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        return asyncio.run(cancelled_by_interrupt())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        if not callable(work):
            work.close()
        signal.signal(signal.SIGINT, before)


# --- asking ---------------------------------------------------------------------------------------


@cli.command()
@click.argument("question", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--pid",
    type=int,
    default=0,
    help="Ask in this process instead of a new one.",
    shell_complete=_pids,
)
@click.option("--system", default="", help="What the assistant is told it is.")
@click.option("--keep", is_flag=True, help="Keep the new process instead of ending it.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files that are made, such as charts, to this folder.",
)
@click.option("--expert", default="", help="The expert that answers; llmos plugin list has them.")
@click.option("--speak", is_flag=True, help="Read the answer out, too, while it is written.")
def ask(
    question: tuple[str, ...],
    as_json: bool,
    pid: int,
    system: str,
    keep: bool,
    save: Path | None,
    expert: str,
    speak: bool,
) -> None:
    """Ask one question; the answer streams to standard output.

    What is piped in is read with the question, as a text that anybody may have written; without a
    question it is answered itself, and nothing that it asks for is changed or sent unless you say
    yes to it.

    Exits with 0 if answered, also where the answer is that something was not allowed or failed
    (--json has each call with its error); with 1 if there is no whole answer, with 2 if asked
    wrongly, and with 130 if interrupted.
    """
    text = " ".join(question).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    given = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        from llmos import limits

        most = 4 * limits.MESSAGE_CHARS  # bytes: no character has more; a pipe may have no end
        piped = sys.stdin.buffer.read(most + 1)
        given = piped.decode("utf-8", "replace").strip()
        if len(piped) > most or len(given) > limits.MESSAGE_CHARS:
            raise click.UsageError(
                f"What is piped in is longer than {limits.MESSAGE_CHARS:,} characters. Pipe in a "
                "part of it, or name the file in the question."
            )
    if not (text.strip() or given):
        raise click.UsageError('There is no question. Say: llmos ask "What is 17 × 24?"')
    from llmos.ask import ask as ask_kernel

    if expert and (pid or system):
        raise click.UsageError(
            "An expert answers in a process of its own: leave --pid and --system."
        )
    asked = partial(
        ask_kernel,
        text,
        given=given,
        as_json=as_json,
        pid=pid,
        system=system,
        keep=keep,
        save=save,
        expert=expert.removeprefix("@").lower(),
        aloud=_aloud if speak else None,
    )
    sys.exit(_run(asked))


def _aloud() -> Any:
    """What reads an answer out through the loudspeaker of the settings."""
    from llmos import config
    from llmos.devices.reading import Aloud
    from llmos.devices.speech import Speech

    return Aloud(Speech(config.load().voice))


# --- permissions ----------------------------------------------------------------------------------


@cli.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def grants(ctx: click.Context, as_json: bool) -> None:
    """List what is allowed for longer than once; allow more, or take it back."""
    if ctx.invoked_subcommand is None:
        from llmos.grants import print_grants

        _run(print_grants(as_json=as_json))


@grants.command("folder")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--write", is_flag=True, help="Also change what is in it.")
@click.option("--pid", type=int, default=0, help="Only in this conversation.", shell_complete=_pids)
@click.option(
    "--days", type=click.FloatRange(0, 3650), default=0, help="For so long; 0: until taken back."
)
def grants_folder(folder: str, write: bool, pid: int, days: float) -> None:
    """Let tools read FOLDER."""
    from llmos.grants import allow_folder

    _run(allow_folder(folder, write=write, pid=pid, days=days))


@grants.command("call")
@click.argument("call")
@click.argument("values", nargs=-1)
@click.option("--pid", type=int, default=0, help="Only in this conversation.", shell_complete=_pids)
@click.option(
    "--days", type=click.FloatRange(0, 3650), default=0, help="For so long; 0: until taken back."
)
def grants_call(call: str, values: tuple[str, ...], pid: int, days: float) -> None:
    """Make CALL (such as files.write) without a question, with VALUES (name=value, name=pat*)."""
    from llmos.grants import allow_call

    _run(allow_call(call, values, pid=pid, days=days))


@grants.command("revoke")
@click.argument("ids", nargs=-1, required=True)
def grants_revoke(ids: tuple[str, ...]) -> None:
    """Take grants back by their IDS (g12), or all."""
    from llmos.grants import revoke

    _run(revoke(ids))


# --- processes ------------------------------------------------------------------------------------


@cli.command()
@click.option("--all", "-a", "ended", is_flag=True, help="Also processes that have ended.")
@click.option("--json", "as_json", is_flag=True)
def ps(ended: bool, as_json: bool) -> None:
    """List processes."""
    from llmos.monitoring import print_processes

    _run(print_processes(ended=ended, as_json=as_json))


@cli.command()
@click.option("--once", is_flag=True, help="Print one picture and exit.")
def top(once: bool) -> None:
    """Watch processes and the engine (Ctrl-C ends)."""
    from llmos.monitoring import watch

    _run(watch(once=once or not sys.stdout.isatty()))


@cli.command()
@click.argument("pids", type=int, nargs=-1, required=True, shell_complete=_pids)
@click.option(
    "--signal",
    "-s",
    default="kill",
    type=click.Choice(["kill", "interrupt", "stop", "continue", "terminate"]),
    show_default=True,
)
def kill(pids: tuple[int, ...], signal: str) -> None:
    """End processes, or send them another signal."""
    from llmos.client import Client
    from llmos.reminders import known, lost

    async def send() -> int:
        failed = 0
        ends = signal in ("kill", "terminate")
        async with await Client.connect(start=False) as client:
            for pid in pids:
                try:
                    before = await known(client) if ends else []
                    await (client.kill(pid) if signal == "kill" else client.signal(pid, signal))
                    if before and (told := lost(before, await known(client))):
                        click.echo(told if len(pids) == 1 else f"Process {pid}: {told}")
                except KernelUnreachable:
                    raise
                except LlmosError as error:  # the others are signalled all the same
                    click.echo(f"llmos: {error}", err=True)
                    failed = 1
        return failed

    sys.exit(_run(send()))


# --- the kernel -----------------------------------------------------------------------------------


@cli.command()
@click.option(
    "--model",
    default=None,
    help="A catalog name, a GGUF file or a server's address.",
    shell_complete=_models,
)
@click.option("--port", type=int, default=None, help="Also listen on this loopback TCP port.")
@click.option("--window", type=int, default=None, help="Tokens one conversation may hold.")
@click.option("--background", is_flag=True, hidden=True)
def serve(model: str | None, port: int | None, window: int | None, background: bool) -> None:
    """Run the kernel in the foreground."""
    from llmos.serve import serve as run_kernel

    given: dict[str, dict[str, Any]] = {"engine": {}, "server": {}}
    for section, key, value in (
        ("engine", "model", model),
        ("engine", "window", window),
        ("server", "port", port),
    ):
        if value is not None:
            given[section][key] = value
    run_kernel(given, background=background)


async def _released(state: Path) -> None:
    """Wait until the state directory is free: the last snapshots are written after the goodbye."""
    from llmos import limits
    from llmos.errors import KernelRunning
    from llmos.memory.lock import lock

    for _ in range(int(limits.GONE_SECONDS / _LOOK_SECONDS)):
        try:
            with lock(state):
                return
        except KernelRunning:
            await asyncio.sleep(_LOOK_SECONDS)


@cli.command()
def stop() -> None:
    """Stop the kernel; running replies are cut and kept."""
    from llmos import paths
    from llmos.client import Client
    from llmos.consent import unanswered
    from llmos.reminders import known, waiting

    async def shutdown() -> list[str]:
        async with await Client.connect(start=False) as client:
            told = [await unanswered(client), waiting(await known(client))]
            await client.shutdown()
            await client.gone()
            await _released(paths.state_dir())
        return told

    try:
        told = _run(shutdown())
    except KernelUnreachable:
        click.echo("No kernel is running.")
    else:
        click.echo("The kernel has stopped.")
        for sentence in filter(None, told):
            click.echo(visible(sentence))


@cli.command()
@click.option("--json", "as_json", is_flag=True)
def status(as_json: bool) -> None:
    """Show the running kernel and its model."""
    from llmos.client import Client

    async def read() -> dict[str, Any]:
        async with await Client.connect(start=False) as client:
            return await client.status()

    found = _run(read())
    if as_json:
        click.echo(json.dumps(found))
        return
    model = found["model"]
    click.echo(f"llmos {found['version']}, kernel pid {found['pid']}, up {found['uptime_s']:.0f} s")
    click.echo(f"model {model['name']} on {model['device']}, window {model['window']} tokens")
    if found["engine"] != "running":
        click.echo("The engine has died; stop the kernel with: llmos stop")
    for sentence in [*found["broken"], found["hint"]]:
        if sentence:
            click.echo(visible(sentence))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell; source it in its start-up file."""
    from click.shell_completion import get_completion_class

    cls = get_completion_class(shell)
    assert cls is not None
    click.echo(cls(cli, {}, "llmos", "_LLMOS_COMPLETE").source())
