"""The kernel's socket, seen from a terminal.

A terminal (chat screen, voice, ``llmos ask``, your program) holds a ``Client``. It finds the
kernel of the state directory, starts one when none runs, and speaks the ``/kernel/v1`` routes
over the private Unix socket. It knows events, not kernel objects; everything it does, any HTTP
client can do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llmos import errors, limits, paths
from llmos.errors import (
    KernelError,
    KernelRunning,
    KernelStopped,
    KernelUnreachable,
    LlmosError,
)
from llmos.events import (
    EVENTS,
    ArtifactsMade,
    Cited,
    Event,
    ProcessInfo,
    Recalled,
    StoredMessage,
    WindowChanged,
    from_json,
    message_from_json,
)
from llmos.lean import httpx

__all__ = ["Client"]

_NOTED = (Recalled, WindowChanged, ArtifactsMade, Cited)  # events that the journal keeps, too
ANSWER_SECONDS = limits.ANSWER_SECONDS
_POLL_SECONDS = 0.02
_RETRY_SECONDS = 0.5  # while another kernel starts or stops
_STOPPED = 1001  # how a WebSocket is closed when somebody stops the kernel


class Client:
    """A connection to one kernel.

    Use as ``async with await Client.connect() as client``. Not for use from several event loops.

    Args:
        socket: The kernel's Unix socket.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._http = httpx.AsyncClient(
            # No TLS and no proxy on a Unix socket: reading certificates takes 40 ms.
            transport=httpx.AsyncHTTPTransport(uds=str(socket), verify=False),
            trust_env=False,
            base_url="http://kernel",
            timeout=ANSWER_SECONDS,
        )

    @classmethod
    async def connect(
        cls, *, state: Path | None = None, start: bool = True, arguments: tuple[str, ...] = ()
    ) -> Client:
        """Find the kernel, or start one.

        Args:
            state: The state directory; the person's own where not given.
            start: Start a kernel when none runs.
            arguments: Passed to ``llmos serve`` when one is started.

        Raises:
            KernelUnreachable: None runs and none could be started; the sentence says why.
        """
        state = state or paths.state_dir()
        try:
            client = cls(paths.socket_path(state))
        except OSError as error:
            raise _unusable(state, error) from error
        if await client.alive():
            return client
        if not start:
            await client.close()
            raise KernelUnreachable("No kernel is running.", remedy="Start one with: llmos serve")
        try:
            await _start_kernel(client, state, arguments)
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def alive(self) -> bool:
        """Whether a kernel answers on the socket."""
        try:
            if not self.socket.exists():
                return False
            await self.status()
        except (OSError, LlmosError):
            return False
        return True

    # --- kernel -----------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """Version, operating-system pid, model (name, window, device), hints and uptime."""
        return await self._call("GET", "/kernel/v1/status")

    async def stats(self) -> dict[str, Any]:
        """Counters and gauges of engine and kernel."""
        return await self._call("GET", "/kernel/v1/stats")

    async def shutdown(self) -> None:
        """Ask the kernel to stop; running replies are cut and journalled first."""
        await self._call("POST", "/kernel/v1/shutdown")

    async def gone(self, seconds: float = limits.GONE_SECONDS) -> None:
        """Wait until the kernel no longer answers.

        Raises:
            KernelError: It still does after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while await self.alive():
            if time.monotonic() > deadline:
                raise KernelError(f"The kernel is still running after {seconds:.0f} s.")
            await asyncio.sleep(_POLL_SECONDS)

    # --- processes --------------------------------------------------------------------------

    async def processes(self, *, ended: bool = False) -> list[ProcessInfo]:
        """All processes, newest first; also those that ended, where asked."""
        rows = await self._call("GET", "/kernel/v1/processes", params={"ended": ended})
        return [_info(row) for row in rows["processes"]]

    async def create(
        self,
        *,
        title: str = "",
        system: str = "",
        priority: str = "interactive",
        parent: int = 0,
        budget: Mapping[str, float] | None = None,
        expert: str = "",
    ) -> ProcessInfo:
        """A new process: a conversation with a window of its own.

        Args:
            system: What this assistant is told it is; empty takes the default.
            priority: ``realtime``, ``interactive``, ``normal`` or ``idle``.
            budget: Any of ``tokens``, ``seconds``, ``calls``, over its whole life.
            expert: Who speaks in it.
        """
        body = {"title": title, "system": system, "priority": priority, "parent": parent}
        if expert:
            body["expert"] = expert
        if budget:
            body["budget"] = dict(budget)
        return _info(await self._call("POST", "/kernel/v1/processes", json=body))

    async def process(self, pid: int) -> ProcessInfo:
        return _info(await self._call("GET", f"/kernel/v1/processes/{pid}"))

    async def rename(self, pid: int, title: str) -> ProcessInfo:
        row = await self._call("PATCH", f"/kernel/v1/processes/{pid}", json={"title": title})
        return _info(row)

    async def fork(self, pid: int) -> ProcessInfo:
        """A new process with the same history and window; nothing is prefilled again."""
        return _info(await self._call("POST", f"/kernel/v1/processes/{pid}/fork"))

    async def signal(self, pid: int, signal: str) -> ProcessInfo:
        """Send ``interrupt`` (end this turn), ``stop``, ``continue`` or ``terminate``."""
        body = {"signal": signal}
        row = await self._call("POST", f"/kernel/v1/processes/{pid}/signal", json=body)
        return _info(row)

    async def heard(self, pid: int, turn: int, text: str) -> ProcessInfo:
        """Cut the last turn's reply to the beginning of it that was heard; it may be empty.

        Raises:
            KernelError: The reply does not begin so; or the turn is not the last one.
        """
        body = {"turn": turn, "text": text}
        row = await self._call("POST", f"/kernel/v1/processes/{pid}/heard", json=body)
        return _info(row)

    async def kill(self, pid: int) -> ProcessInfo:
        """End a process at once."""
        return _info(await self._call("DELETE", f"/kernel/v1/processes/{pid}"))

    async def wait(self, pid: int, *, seconds: float | None = None) -> ProcessInfo:
        """Wait until the process has nothing to do (``ready``) or has ended."""
        body = {} if seconds is None else {"seconds": seconds}
        longest = None if seconds is None else seconds + ANSWER_SECONDS
        patience = httpx.Timeout(ANSWER_SECONDS, read=longest)
        path = f"/kernel/v1/processes/{pid}/wait"
        return _info(await self._call("POST", path, json=body, timeout=patience))

    # --- messages and events ----------------------------------------------------------------

    async def send(self, pid: int, text: str, *, given: str = "") -> str:
        """Send a message; it is in the journal when this returns.

        Args:
            text: The person's own words; they may be empty where a text is given.
            given: A text that goes with it and need not be the person's own words.

        Returns:
            The message's id, the ``message_id`` of its ``TurnStarted``.
        """
        body = {"content": text, "given": given} if given else {"content": text}
        row = await self._call("POST", f"/kernel/v1/processes/{pid}/messages", json=body)
        return row["id"]

    async def messages(self, pid: int, *, after: int = 0) -> list[StoredMessage]:
        """The conversation from the journal, oldest first, after place ``after``."""
        rows = await self._call(
            "GET", f"/kernel/v1/processes/{pid}/messages", params={"after": after}
        )
        return [_stored(row) for row in rows["messages"]]

    async def history(
        self, pid: int, *, after: int = 0
    ) -> list[StoredMessage | Recalled | WindowChanged | ArtifactsMade | Cited]:
        """As ``messages``, with what was brought back, left the window and was made by calls."""
        params = {"after": after, "notes": True}
        rows = await self._call("GET", f"/kernel/v1/processes/{pid}/messages", params=params)
        told = (from_json(row) for row in rows.get("notes", ()) if row.get("type") in EVENTS)
        notes = [note for note in told if isinstance(note, _NOTED)]
        stored = [_stored(row) for row in rows["messages"]]
        return sorted([*stored, *notes], key=lambda entry: entry.seq)

    # --- memory -----------------------------------------------------------------------------

    async def draft(self, pid: int, text: str) -> None:
        """Tell what is being typed, so that it is computed ahead."""
        await self._call("POST", f"/kernel/v1/processes/{pid}/draft", json={"text": text})

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[dict[str, Any]]:
        """Passages by meaning and by words, best first; of one conversation, or (0) of all."""
        params = {"query": query, "k": k, "pid": pid}
        return (await self._call("GET", "/kernel/v1/memory/search", params=params))["hits"]

    async def pages(self, page: str) -> list[dict[str, Any]]:
        """A page by its id, or all pages of a long record."""
        return (await self._call("GET", f"/kernel/v1/memory/pages/{_segment(page)}"))["pages"]

    async def passage(self, id: str) -> dict[str, Any]:
        """A passage of a mounted file by its id (``f1-2.3``), with the ``place`` it stands in."""
        return await self._call("GET", f"/kernel/v1/memory/files/{_segment(id)}")

    async def facts(self) -> dict[str, Any]:
        """What is remembered (``facts``), and what every conversation begins with (``core``)."""
        return await self._call("GET", "/kernel/v1/memory/facts")

    async def remember(self, text: str, *, block: str = "fact") -> dict[str, Any]:
        """Remember something; ``user`` and ``assistant`` stand in front of every conversation."""
        body = {"text": text, "block": block}
        return await self._call("POST", "/kernel/v1/memory/facts", json=body)

    async def change_fact(
        self, id: str, *, text: str | None = None, pinned: bool | None = None
    ) -> dict[str, Any]:
        """Give something remembered another text, or pin or unpin it."""
        given = {"text": text, "pinned": pinned}
        body = {name: value for name, value in given.items() if value is not None}
        return await self._call("PATCH", f"/kernel/v1/memory/facts/{_segment(id)}", json=body)

    async def would_forget(self, *ids: str) -> dict[str, Any]:
        """What ``forget`` would empty, each thing once however many of ``ids`` take it along.

        Returns:
            How many ``records``, what a person calls them (``counts``), the first (``listed``).
        """
        return await self._call("GET", "/kernel/v1/memory/forgetting", params={"id": list(ids)})

    async def forget(self, id: str) -> int:
        """Forget a fact (``m12``) or a page (``p12``) for good.

        Returns:
            How many records of the journal were erased.
        """
        kind = "pages" if id.startswith("p") else "facts"
        path = f"/kernel/v1/memory/{kind}/{_segment(id)}"
        return (await self._call("DELETE", path, timeout=limits.FORGET_SECONDS))["erased"]

    async def dream(self) -> None:
        """Have memory consolidated now; ``dreaming`` tells how far that is."""
        await self._call("POST", "/kernel/v1/dream")

    async def wake(self) -> None:
        """Stop that; what it made stays."""
        await self._call("DELETE", "/kernel/v1/dream")

    async def dreaming(self) -> dict[str, Any]:
        """How far the dream is, or what the last one made."""
        return await self._call("GET", "/kernel/v1/dream")

    async def derived(self) -> list[dict[str, Any]]:
        """What dreams have made, newest first."""
        return (await self._call("GET", "/kernel/v1/memory/derived"))["made"]

    async def undo(self, id: str) -> int:
        """Undo something that a dream made (``d12``); returns how many records were erased."""
        path = f"/kernel/v1/memory/derived/{_segment(id)}"
        return (await self._call("DELETE", path, timeout=limits.FORGET_SECONDS))["erased"]

    async def mounts(self) -> list[dict[str, Any]]:
        """Mounted folders, and how far those are that are being read."""
        return (await self._call("GET", "/kernel/v1/mounts"))["mounts"]

    async def mount(self, folder: Path) -> dict[str, Any]:
        """Mount a folder; it is read in the background."""
        return await self._call("POST", "/kernel/v1/mounts", json={"folder": str(folder)})

    async def umount(self, number: int) -> int:
        """Take a mounted folder out; returns how many passages that were."""
        path = f"/kernel/v1/mounts/{number}"
        return (await self._call("DELETE", path, timeout=limits.FORGET_SECONDS))["passages"]

    async def page_table(self, pid: int) -> list[dict[str, Any]]:
        """Every page of a process, and whether it is in view."""
        return (await self.window(pid))["pages"]

    async def pin_page(self, pid: int, page: str, pinned: bool = True) -> None:
        """Have a page stay in view of a process when room is made, or no longer."""
        path = f"/kernel/v1/processes/{pid}/pages/{_segment(page)}"
        await self._call("PATCH", path, json={"pinned": pinned})

    async def window(self, pid: int, *, last: int = 0) -> dict[str, Any]:
        """What the model sees of a process: its ``front``, and the page table (``pages``).

        Args:
            last: Rows of the table's end, besides those in view; 0 for all.
        """
        path = f"/kernel/v1/processes/{pid}/pages"
        return await self._call("GET", path, params={"last": last})

    # --- trace ------------------------------------------------------------------------------

    async def calls(self, pid: int = 0, *, after: int = 0) -> list[dict[str, Any]]:
        """The system calls of a process, or (0) of all, behind the one of that number."""
        path = f"/kernel/v1/processes/{pid}/calls" if pid else "/kernel/v1/calls"
        return (await self._call("GET", path, params={"after": after}))["calls"]

    async def replay(self, pid: int) -> dict[str, Any]:
        """Run a conversation again, without effects; returns where its ``turns`` differ."""
        patience = httpx.Timeout(ANSWER_SECONDS, read=None)
        return await self._call("POST", f"/kernel/v1/processes/{pid}/replay", timeout=patience)

    async def experts(self) -> list[dict[str, Any]]:
        """The experts there are, those that are broken with the reason."""
        return (await self._call("GET", "/kernel/v1/experts"))["experts"]

    async def prepare(self, expert: str) -> None:
        """Have computed what every conversation with an expert begins with."""
        path = f"/kernel/v1/experts/{_segment(expert)}/front"
        await self._call("POST", path, timeout=limits.PREPARE_SECONDS)

    # --- permissions ------------------------------------------------------------------------

    async def questions(self) -> list[dict[str, Any]]:
        """The questions about calls that wait for an answer, as ``CallAsked``."""
        return (await self._call("GET", "/kernel/v1/questions"))["questions"]

    async def answer(self, pid: int, call_id: str, answer: str) -> None:
        """Answer a question about a call: ``once``, ``conversation``, ``always`` or ``no``."""
        body = {"call_id": call_id, "answer": answer}
        await self._call("POST", f"/kernel/v1/processes/{pid}/answers", json=body)

    async def grants(self) -> list[dict[str, Any]]:
        """What is allowed for longer than once, newest first."""
        return (await self._call("GET", "/kernel/v1/grants"))["grants"]

    async def grant(self, **about: Any) -> dict[str, Any]:
        """Allow a ``call`` (with ``arguments``, ``patterns``) or a ``folder`` (``write``)."""
        return await self._call("POST", "/kernel/v1/grants", json=about)

    async def revoke(self, id: str) -> dict[str, Any]:
        """Take a grant (``g12``) back."""
        return await self._call("DELETE", f"/kernel/v1/grants/{_segment(id)}")

    # --- reminders --------------------------------------------------------------------------

    async def reminders(self) -> list[dict[str, Any]]:
        """Reminders of all conversations (id, due, text, pid, title), the next one first."""
        return (await self._call("GET", "/kernel/v1/reminders"))["reminders"]

    async def cancel_reminder(self, id: str) -> dict[str, Any]:
        """Take a reminder (``t3``) back."""
        return await self._call("DELETE", f"/kernel/v1/reminders/{_segment(id)}")

    # --- files that calls made --------------------------------------------------------------

    async def artifact(self, id: str) -> bytes:
        """The bytes of a file that a call made, by its id."""
        return (await self._file(id)).content

    async def artifact_preview(self, id: str, width: int, height: int) -> tuple[int, int, bytes]:
        """A picture that a call made, fitted into ``width`` by ``height`` pixels.

        Returns:
            Its width and height, and red, green and blue of every pixel, row by row.

        Raises:
            LlmosError: It is no picture, or cannot be decoded.
        """
        answer = await self._file(id, "/thumbnail", width=width, height=height)
        try:
            wide, high = (int(answer.headers[f"x-picture-{side}"]) for side in ("width", "height"))
        except (KeyError, ValueError) as error:
            raise KernelUnreachable("The kernel's answer cannot be read.") from error
        return wide, high, answer.content

    async def artifact_picture(self, id: str) -> bytes:
        """A picture that a call made, as a PNG that the kernel wrote anew."""
        return (await self._file(id, "/picture")).content

    async def _file(self, id: str, form: str = "", **params: int) -> httpx.Response:
        patience = httpx.Timeout(ANSWER_SECONDS, read=2 * limits.PICTURE_SECONDS)
        path = f"/kernel/v1/artifacts/{_segment(id)}{form}"
        try:
            answer = await self._http.get(path, params=params, timeout=patience)
        except httpx.HTTPError as error:
            raise KernelUnreachable("The kernel does not answer.") from error
        if not answer.is_success:
            raise _error(answer)
        return answer

    @asynccontextmanager
    async def subscribe(
        self, pid: int = 0, *, answers: bool = False
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Events of one process or (0) of all, from the moment this is entered.

        Args:
            answers: A person is here who can answer questions about calls.

        The first event of a process in mid-turn is a ``TurnState``. The iterator never ends by
        itself.

        Raises:
            KernelUnreachable: The kernel cannot be reached or went away.
            KernelStopped: Somebody stopped it, or it was idle for long.
        """
        from websockets.asyncio.client import unix_connect
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        uri = f"ws://kernel/kernel/v1/events?pid={pid}"
        if answers:
            uri += "&answers=true"

        async def read(socket: Any) -> AsyncIterator[Event]:
            try:
                async for line in socket:
                    told = json.loads(line)
                    if told.get("type") in EVENTS:  # a newer kernel may know more
                        yield from_json(told)
            except (OSError, ConnectionClosed) as error:
                raise _gone(socket) from error
            raise _gone(socket)

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = unix_connect(
                    str(self.socket), uri, max_size=None, compression=None, ping_interval=None
                )
                socket = await connection
                await socket.recv()  # "hello": subscribed
        except InvalidStatus as error:
            body = bytes(error.response.body or b"")
            raise _error(httpx.Response(error.response.status_code, content=body)) from error
        except (OSError, ConnectionClosed, InvalidHandshake) as error:
            raise _gone() from error
        try:
            yield read(socket)
        finally:
            await socket.close()

    async def speech(self, text: str, speed: float = 1.0) -> bytes:
        """A text read out by the kernel's voice: 16-bit little-endian samples, mono, 24 kHz.

        Args:
            speed: 1 as the voice speaks by itself.

        Raises:
            LlmosError: There is no voice.
        """
        body = {"model": "tts-1", "input": text, "response_format": "pcm", "speed": speed}
        try:
            answer = await self._http.request("POST", "/v1/audio/speech", json=body)
        except httpx.HTTPError as error:
            raise KernelUnreachable("The kernel does not answer.") from error
        if answer.is_success:
            return bytes(answer.content)
        raise _error(answer)

    async def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise KernelUnreachable("The kernel does not answer.") from error
        if answer.is_success:
            return answer.json() if answer.content else {}
        raise _error(answer)


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever a person typed."""
    return urllib.parse.quote(name, safe="")


def _known(cls: type, row: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The fields of ``row`` that this version knows: a newer kernel may send more."""
    names = {field.name for field in dataclasses.fields(cls)}
    return {**{name: value for name, value in row.items() if name in names}, **values}


def _info(row: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(**_known(ProcessInfo, row))


def _stored(row: dict[str, Any]) -> StoredMessage:
    message = message_from_json(row["message"])
    return StoredMessage(**_known(StoredMessage, row, message=message))


def _gone(socket: Any = None) -> KernelUnreachable:
    """Why a connection ended."""
    if socket is not None and socket.close_code == _STOPPED:
        return KernelStopped("The kernel was stopped.")
    return KernelUnreachable((socket and socket.close_reason) or "The kernel went away.")


def _unusable(state: Path, error: OSError) -> KernelUnreachable:
    sentence = f"The state directory {state} cannot be used: {error.strerror or error}."
    return KernelUnreachable(sentence, remedy="Free some space or set LLMOS_HOME.")


def _error(answer: httpx.Response) -> LlmosError:
    """The error the kernel raised, of the same class where this version knows it."""
    try:
        told = answer.json()["error"]
        sentence, code = str(told["message"]), str(told.get("code") or "")
    except (ValueError, KeyError, TypeError):
        return KernelError(f"The kernel answered {answer.status_code}.")
    for name in errors.__all__:
        cls = getattr(errors, name)
        if cls.code == code:
            if cls is not errors.PromptTooLong:
                return cls(sentence)
            error = errors.EngineError(sentence)
            error.code = code
            return error
    return KernelError(sentence)


async def _start_kernel(client: Client, state: Path, arguments: tuple[str, ...]) -> None:
    """Start ``llmos serve`` in the background and wait until it answers.

    A kernel that has said that it loads its model is waited for as long as it lives: how long
    that takes is the model's and the disk's business. Where another kernel holds the directory,
    one that another terminal starts or one that is stopping, this waits for it and then tries
    again.
    """
    deadline = time.monotonic() + limits.LOAD_SECONDS
    while time.monotonic() < deadline:
        try:
            paths.private_dir(state)
            with tempfile.TemporaryFile() as said:
                process = _serve_process(state, arguments, said)
                patience = time.monotonic() + limits.START_SECONDS
                while process.poll() is None:
                    if await client.alive():
                        return
                    if time.monotonic() > patience and not os.fstat(said.fileno()).st_size:
                        raise _not_ready(state, limits.START_SECONDS)
                    await asyncio.sleep(_POLL_SECONDS)
                said.seek(0)
                lines = said.read().decode("utf-8", "replace").strip().splitlines()
        except OSError as error:
            raise _unusable(state, error) from error
        if await client.alive():
            return
        if process.returncode != KernelRunning.exit_code:
            if told := [line for line in lines if not line.startswith("Loading ")]:
                raise KernelUnreachable(told[-1].removeprefix("llmos: "))
            why = f"The kernel ended at start (exit code {process.returncode})."
            raise KernelUnreachable(why, remedy=f"See {paths.log_file(state)}.")
        await asyncio.sleep(_RETRY_SECONDS)
    raise _not_ready(state, limits.LOAD_SECONDS)


def _not_ready(state: Path, seconds: float) -> KernelUnreachable:
    return KernelUnreachable(
        f"The kernel did not become ready within {seconds:.0f} s.",
        remedy=f"See {paths.log_file(state)}.",
    )


def _serve_process(state: Path, arguments: tuple[str, ...], said: Any) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "LLMOS_STATE": str(state)}
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():  # not installed: it is found nowhere else
        found = environ.get("PYTHONPATH")
        environ["PYTHONPATH"] = os.pathsep.join([str(checkout), *([found] if found else [])])
    return subprocess.Popen(
        # -P: whatever lies in the person's current directory must not be imported
        [sys.executable, "-P", "-m", "llmos", "serve", "--background", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        env=environ,
        start_new_session=True,
    )
