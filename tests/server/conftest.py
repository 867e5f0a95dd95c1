"""A kernel and a model that do what a test says, behind a real server on a real socket.

``Speaker`` is a backend whose tokens are words, so that counts and log probabilities can be
checked by eye; ``Kernel`` keeps its processes in a list. The routes see the same protocols as
with the real ones.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from llmos.engine.backend import (
    Chunk,
    ModelInfo,
    Priority,
    Prompt,
    SamplingParams,
    TokenLogprob,
)
from llmos.errors import (
    BudgetExceeded,
    EngineError,
    ExpertError,
    KernelError,
    LlmosError,
    MountError,
    NoSuchProcess,
    NoSuchReminder,
    NotStored,
    PromptTooLong,
    TextTooLong,
)
from llmos.events import (
    CallAsked,
    Event,
    Message,
    ProcessInfo,
    Recalled,
    StoredMessage,
    Usage,
    WindowChanged,
)
from llmos.kernel.dreaming import DreamState
from llmos.kernel.replay import Replayed
from llmos.labels import Label, Origin
from llmos.memory.derived import Made
from llmos.memory.embed import Embedded, Vectors, unit
from llmos.memory.facts import Block, Fact
from llmos.memory.files.mounts import Mount, Progress, State
from llmos.memory.grants import Grant
from llmos.memory.pages import Page, page_id, pages_of
from llmos.memory.passages import Hit, Passage
from llmos.memory.records import Record
from llmos.memory.trail import Traced
from llmos.server import create_app, serve
from llmos.services import Timer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Speech:
    """One reply, spoken piece by piece; waits at ``speaker.gate`` before each piece."""

    def __init__(self, speaker: Speaker, params: SamplingParams, prompt: Prompt, text: str) -> None:
        self.params = params
        self.cancelled = asyncio.Event()
        self._speaker = speaker
        self._prompt = prompt
        self._text = text

    def cancel(self) -> None:
        self.cancelled.set()

    def _usage(self, spoken: int) -> Usage:
        count = len(self._prompt.tokens)
        return Usage(prompt_tokens=count, cached_tokens=count // 2, completion_tokens=spoken)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        pieces = [part + " " for part in self._text.split(" ")]
        pieces[-1] = pieces[-1][:-1]
        limit = self.params.max_tokens
        finish = "length" if limit is not None and limit < len(pieces) else "stop"
        for number, piece in enumerate(pieces[:limit]):
            gate = asyncio.ensure_future(self._speaker.gate.wait())
            stop = asyncio.ensure_future(self.cancelled.wait())
            await asyncio.wait({gate, stop}, return_when=asyncio.FIRST_COMPLETED)
            gate.cancel()
            stop.cancel()
            if self.cancelled.is_set():
                yield Chunk("", finish="cancelled", usage=self._usage(number))
                return
            if self._speaker.breaks_at == number:
                yield Chunk("", finish="error", error=EngineError("The model broke."))
                return
            yield Chunk(piece, 1, self._logprobs(number, piece))
        yield Chunk("", finish=finish, usage=self._usage(len(pieces[:limit])))

    def _logprobs(self, number: int, piece: str) -> tuple[TokenLogprob, ...]:
        if self.params.logprobs is None:
            return ()
        others = [(1, b"\xf0\x9f", float("-inf")), (2, b"no", -3.0)]
        top = [(number, piece.encode(), -0.5), *others][: self.params.logprobs]
        return (TokenLogprob(number, piece.encode(), -0.5, tuple(top)),)


class Speaker:
    """A backend that says ``reply`` (or what it makes of the prompt)."""

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="starter",
            window=512,
            template=CHATML,
            vocab=1000,
            fingerprint="0123456789abcdef0123",
        )
        self.reply: str | Callable[[Prompt], str] = "Hello there, you."
        self.gate = asyncio.Event()
        self.gate.set()
        self.breaks_at = -1
        self.speeches: list[Speech] = []
        self.prompts: list[Prompt] = []
        self.asked: list[tuple[SamplingParams, Priority, int]] = []

    async def prompt(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] = (),
        generate: bool = True,
    ) -> Prompt:
        text = "\n".join(message.content for message in messages)
        tokens = tuple(range(self.count(text)))
        return Prompt(tuple(messages), text, tokens, tuple(tools))

    async def text_prompt(self, text: str) -> Prompt:
        return Prompt((), text, tuple(range(self.count(text))))

    async def token_prompt(self, tokens: Sequence[int]) -> Prompt:
        return Prompt((), " ".join(f"t{token}" for token in tokens), tuple(tokens))

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        priority: Priority = Priority.INTERACTIVE,
        n: int = 1,
    ) -> list[Speech]:
        if len(prompt.tokens) >= self.info.window:
            raise PromptTooLong(len(prompt.tokens), self.info.window)
        self.prompts.append(prompt)
        self.asked.append((params, priority, n))
        text = self.reply if isinstance(self.reply, str) else self.reply(prompt)
        new = [Speech(self, params, prompt, text) for _ in range(n)]
        self.speeches += new
        return new

    def count(self, text: str) -> int:
        return len(text.split())

    def size(self, prompt: Prompt) -> int:
        return len(prompt.tokens)

    def sizes(self, prompt: Prompt, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def stats(self) -> dict[str, Any]:
        return {}

    async def close(self) -> None: ...


class Numbers:
    """An embedder whose tokens are words; a text's vector points where its length says.

    ``gate`` holds up whoever computes.
    """

    name = model = "numbers"
    dimension = 3
    window = 8

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.asked: list[int] = []
        self.error: LlmosError | None = None

    def load(self) -> None: ...

    def close(self) -> None: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self.embed_counted(texts).vectors

    def embed_counted(self, texts: Sequence[str], *, cut: bool = True) -> Embedded:
        self.begun.set()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        self.asked.append(len(texts))
        tokens = tuple(len(text.split()) for text in texts)
        for at, count in enumerate(tokens):
            if count > self.window and not cut:
                raise TextTooLong(count, self.window, at=at)
        angles = np.array([[len(text), 1.0, 0.5] for text in texts], np.float32)
        truncated = tuple(count > self.window for count in tokens)
        return Embedded(unit(angles), tokens, truncated, sum(tokens))


class Kernel:
    """A kernel without a journal."""

    def __init__(self) -> None:
        self.backend = Speaker()
        self.embedder: Numbers | None = Numbers()
        self.table: dict[int, ProcessInfo] = {}
        self.stored: dict[int, list[StoredMessage]] = {}
        self.notes: list[Recalled | WindowChanged] = []
        self.stopped = asyncio.Event()
        self.busy = asyncio.Event()  # set while `wait` must wait
        self.waiting = asyncio.Event()
        self.waits_cancelled = asyncio.Event()
        self.subscribed = asyncio.Event()
        self.unsubscribed = asyncio.Event()
        self.events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.drafts: list[tuple[int, str]] = []
        self.pins: set[tuple[int, str]] = set()
        self.out_of_view: set[str] = set()
        self.known: dict[str, Fact] = {}
        self.damaged: list[Path] = []
        self.keeper = self  # one double for both
        self.permissions, self.artifacts = Permitting(self), Files()
        self.tracer = Tracing(self)
        self.answering: list[bool] = []
        self.known_experts: list[dict[str, Any]] = []
        self.touched = 0
        self.dreams = False
        self.made = [Made("d3", "summary", "A dog.", 1.0, 1)]
        self.mounted: dict[int, Mount] = {}
        self.timers: dict[str, Timer] = {}
        self._pids = itertools.count(1)
        self._seqs = itertools.count(1)

    async def experts(self) -> list[dict[str, Any]]:
        return self.known_experts

    async def prepare(self, expert: str) -> None:
        if expert not in [row["name"] for row in self.known_experts]:
            raise ExpertError(f"There is no expert {expert!r}.")

    def status(self) -> dict[str, Any]:
        return {"version": "0", "model": {"name": self.backend.info.name}}

    def stats(self) -> dict[str, Any]:
        return {"engine": self.backend.stats()}

    def processes(self, ended: bool = False) -> list[ProcessInfo]:
        rows = [p for p in self.table.values() if ended or p.state != "ended"]
        return sorted(rows, key=lambda p: -p.pid)

    def process(self, pid: int) -> ProcessInfo:
        if pid not in self.table:
            raise NoSuchProcess(f"There is no process {pid}.")
        return self.table[pid]

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
        if expert and expert not in [row["name"] for row in self.known_experts]:
            raise ExpertError(f"There is no expert {expert!r}.")
        if parent:
            self.process(parent)
        pid = next(self._pids)
        self.stored[pid] = []
        return self._put(ProcessInfo(pid, title, "ready", priority, parent))

    def _put(self, info: ProcessInfo) -> ProcessInfo:
        self.table[info.pid] = info
        return info

    def _change(self, pid: int, **changes: Any) -> ProcessInfo:
        return self._put(dataclasses.replace(self.process(pid), **changes))

    async def rename(self, pid: int, title: str) -> ProcessInfo:
        return self._change(pid, title=title)

    async def fork(self, pid: int) -> ProcessInfo:
        if self.process(pid).state == "ended":
            raise BudgetExceeded(f"Process {pid} has used up its budget.")
        child = next(self._pids)
        self.stored[child] = list(self.stored[pid])
        return self._put(dataclasses.replace(self.process(pid), pid=child, parent=pid))

    async def signal(self, pid: int, signal: str) -> ProcessInfo:
        if self.process(pid).state == "ended":
            raise KernelError(f"Process {pid} has ended.")
        states = {"stop": "stopped", "terminate": "ended"}
        return self._change(pid, state=states.get(signal, "ready"))

    async def heard(self, pid: int, turn: int, text: str) -> ProcessInfo:
        self.heard_of = (pid, turn, text)
        return self.process(pid)

    async def kill(self, pid: int) -> ProcessInfo:
        return self._change(pid, state="ended")

    async def wait(self, pid: int, seconds: float | None = None) -> ProcessInfo:
        self.process(pid)
        if self.busy.is_set():
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.waits_cancelled.set()
        return self.process(pid)

    async def send(self, pid: int, text: str, *, given: str = "") -> str:
        self.process(pid)
        seq = next(self._seqs)
        message = StoredMessage(seq, f"m{seq}", 1, 0.0, Message("user", text))
        self.stored[pid].append(message)
        return message.id

    async def messages(self, pid: int, after: int = 0) -> list[StoredMessage]:
        self.process(pid)
        return [message for message in self.stored[pid] if message.seq > after]

    async def history(
        self, pid: int, after: int = 0
    ) -> list[StoredMessage | Recalled | WindowChanged]:
        told = [*(await self.messages(pid)), *(note for note in self.notes if note.pid == pid)]
        return sorted((t for t in told if t.seq > after), key=lambda entry: entry.seq)

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[Hit]:
        if pid:
            self.process(pid)
        found = [p for p, _ in self._pages() if query.lower() in p.text.lower()]
        passages = [Passage(p.id, "turn", p.pid, "process", p.time, p.text) for p in found]
        return [Hit(passage, 0.1, 0.9, None) for passage in passages][:k]

    async def pages(self, written: str) -> Sequence[Page]:
        found = [p for p, _ in self._pages() if p.id == written]
        if not found:
            raise NotStored(f"There is no page {written!r}.")
        return found

    async def passage(self, id: str) -> Passage:
        if id != "f1-2.3":
            raise NotStored(f"There is no passage {id!r}.")
        return Passage(id, "file", 0, "notes/sea.md, lines 1-2", 1.0, "The sea is calm.")

    async def page_table(self, pid: int) -> list[tuple[Page, bool]]:
        self.process(pid)
        return [(page, shown) for page, shown in self._pages() if page.pid == pid]

    async def pinned(self, pid: int) -> set[str]:
        self.process(pid)
        return {page for at, page in self.pins if at == pid}

    async def pin_page(self, pid: int, page: str, pinned: bool = True) -> None:
        if page not in [each.id for each, _ in await self.page_table(pid)]:
            raise NotStored("There is no such page.")
        self.pins = self.pins | {(pid, page)} if pinned else self.pins - {(pid, page)}

    async def front(self, pid: int) -> str:
        self.process(pid)
        return "Be kind."

    async def facts(self) -> list[Fact]:
        return list(self.known.values())

    async def remember(self, text: str, *, block: Block = "fact") -> Fact:
        fact = Fact(f"m{next(self._seqs)}", text, block, 1.0, Label(Origin.USER))
        self.known[fact.id] = fact
        return fact

    async def change_fact(
        self, id: str, *, text: str | None = None, pinned: bool | None = None
    ) -> Fact:
        fact = self._fact(id)
        if text is not None:
            fact = dataclasses.replace(fact, text=text, history=((1.0, fact.text),))
        if pinned is not None:
            fact = dataclasses.replace(fact, pinned=pinned)
        self.known[id] = fact
        return fact

    def touch(self) -> None:
        self.touched += 1

    async def dream(self) -> None:
        self.dreams = True

    async def wake(self) -> None:
        self.dreams = False

    def dreaming(self) -> tuple[DreamState, bool, str]:
        return DreamState("turns", 1, 3, tuple(self.made), 1), self.dreams, ""

    async def derived(self) -> list[Made]:
        return list(self.made)

    async def links(self) -> dict[str, list[str]]:
        return {"p1": ["p7"]}

    async def undo(self, written: str) -> int:
        if written not in [made.id for made in self.made]:
            raise NotStored("There is nothing derived of that name.")
        self.made = [made for made in self.made if made.id != written]
        return 1

    def set_aside(self) -> list[Path]:
        return self.damaged

    async def would_forget(self, written: str) -> list[Record]:
        records = [
            Record(pid, message, Label(Origin.USER))
            for pid, stored in self.stored.items()
            for message in stored
        ]
        if written.startswith("p"):
            return [r for r in records if page_id(r.stored.seq) == written] or await self._none()
        fact = self._fact(written)
        content = json.dumps({"op": "remember", "id": "", "text": fact.text})
        kept = StoredMessage(int(fact.id[1:]), "x", 0, fact.time, Message("memory", content))
        same = [r for r in records if fact.text in r.stored.message.content]
        return [Record(0, kept, fact.label), *same]

    async def _none(self) -> list[Record]:
        raise NotStored("There is no such page.")

    async def forget(self, written: str) -> int:
        if written.startswith("p"):
            return len(await self.pages(written))
        del self.known[self._fact(written).id]
        return 1

    def _fact(self, id: str) -> Fact:
        if id not in self.known:
            raise NotStored(f"There is no memory {id!r}.")
        return self.known[id]

    def mounts(self) -> list[tuple[Mount, Progress | None]]:
        return [(mount, None) for mount in self.mounted.values()]

    async def mount(self, folder: str) -> Mount:
        number = len(self.mounted) + 1
        mount = Mount(number, Path(folder), 2, 5, (), 0, 1.0, State.READY, "watched")
        self.mounted[number] = mount
        return mount

    async def umount(self, which: int | str) -> int:
        if which not in self.mounted:
            raise MountError(f"There is no mount {which}.")
        return self.mounted.pop(int(which)).passages

    def reminders(self) -> list[Timer]:
        return sorted(self.timers.values(), key=lambda timer: timer.due)

    async def cancel_reminder(self, id: str) -> Timer:
        if id not in self.timers:
            raise NoSuchReminder("There is no such reminder.")
        return self.timers.pop(id)

    async def import_messages(
        self, said: Sequence[tuple[str, str, float]], *, title: str = "", mine: bool = False
    ) -> ProcessInfo:
        info = await self.create(title=title)
        for role, text, moment in said:
            seq = next(self._seqs)
            message = StoredMessage(seq, f"m{seq}", 1, moment, Message(role, text))
            self.stored[info.pid].append(message)
        return info

    async def draft(self, pid: int, text: str) -> None:
        self.process(pid)
        self.drafts.append((pid, text))

    def _pages(self) -> list[tuple[Page, bool]]:
        return [
            (page, page.id not in self.out_of_view)
            for pid, stored in self.stored.items()
            for message in stored
            for page in pages_of(Record(pid, message, Label(Origin.USER)))
        ]

    @contextmanager
    def subscribe(self, pid: int = 0, *, answers: bool = False) -> Iterator[AsyncIterator[Event]]:
        self.answering.append(answers)

        async def read() -> AsyncIterator[Event]:
            while True:
                item = await self.events.get()
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield item

        self.subscribed.set()
        try:
            yield read()
        finally:
            self.unsubscribed.set()

    async def shutdown(self) -> None:
        self.stopped.set()


class Tracing:
    """The calls and replays of a kernel in which nothing is called."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    async def trail(self, pid: int = 0, after: int = 0) -> list[Traced]:
        if pid:
            self._kernel.process(pid)
        return []

    async def replay(self, pid: int) -> Replayed:
        self._kernel.process(pid)
        return Replayed(pid, "starter", ())


class Permitting:
    """Questions and grants of a kernel without a monitor."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.asked: list[CallAsked] = []
        self.answers: list[tuple[int, str, str]] = []
        self.given: dict[str, Grant] = {}

    def waiting(self, pid: int = 0) -> list[CallAsked]:
        return [asked for asked in self.asked if pid in (0, asked.pid)]

    def answer(self, pid: int, call_id: str, said: str) -> None:
        self._kernel.process(pid)
        if call_id not in [asked.call.id for asked in self.asked]:
            raise KernelError("This question was answered already, or its turn is over.")
        self.answers.append((pid, call_id, said))

    async def grants(self) -> list[Grant]:
        return list(self.given.values())

    async def grant(self, **about: Any) -> Grant:
        if bool(about["call"]) == bool(about["folder"]):
            raise KernelError("Allow either a call or a folder.")
        until = 86400.0 * about.pop("days")
        grant = Grant(id=f"g{len(self.given) + 1}", time=1.0, until=until, **about)
        self.given[grant.id] = grant
        return grant

    async def revoke(self, id: str) -> Grant:
        if id not in self.given:
            raise NotStored(f"There is no grant {id!r}.")
        return self.given.pop(id)


class Files:
    """Files that calls made."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def read(self, id: str) -> bytes:
        if id not in self.kept:
            raise NotStored("This file is not kept any more.")
        return self.kept[id]


class Served:
    """A running server and the ways to it."""

    def __init__(self, kernel: Any, socket: Path, port: int) -> None:
        self.kernel = kernel
        self.socket = socket
        self.port = port

    def http(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        return httpx.AsyncClient(transport=transport, base_url="http://kernel", timeout=30)

    def tcp(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers)

    def openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            api_key="unused", base_url="http://kernel/v1", http_client=self.http(), max_retries=0
        )


@asynccontextmanager
async def running(kernel: Any, socket: Path, port: int | None = 0) -> AsyncIterator[Served]:
    """A server over ``kernel``, until the block ends."""
    bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(create_app(kernel), socket, port, "secret", ready=bound.set_result)
    )
    await asyncio.wait({task, bound}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield Served(kernel, socket, bound.result())
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    """``running``, for tests that start servers themselves."""
    return running


@pytest.fixture(scope="session")
def new_kernel() -> type[Kernel]:
    """For tests that need a kernel of their own."""
    return Kernel


@pytest.fixture
async def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
async def served(kernel: Kernel, tmp_path: Path) -> AsyncIterator[Served]:
    """The server on its socket and on a free TCP port with the token ``secret``."""
    async with running(kernel, tmp_path / "state" / "k.sock", None) as server:
        yield server


@pytest.fixture
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with served.http() as client:
        yield client


@pytest.fixture
def spoken(http: httpx.AsyncClient) -> Callable[..., Awaitable[int]]:
    """Begins a process with a message, and gives its number."""

    async def speak(text: str = "The dog is called Bruno.") -> int:
        pid = (await http.post("/kernel/v1/processes", json={})).json()["pid"]
        await http.post(f"/kernel/v1/processes/{pid}/messages", json={"content": text})
        return int(pid)

    return speak


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, untouched, over the Unix socket."""
    async with served.openai() as api:
        yield api
