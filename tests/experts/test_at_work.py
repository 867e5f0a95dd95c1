"""Experts end to end: a whole kernel with the real tools, and a model that says what it is told."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from llmos.boot import boot
from llmos.config import AgentConfig, Config, EngineConfig
from llmos.errors import ExpertError
from llmos.events import Cited, TurnFinished
from llmos.experts.install import stage
from llmos.experts.permissions import Permissions
from llmos.experts.staff import Crew
from llmos.kernel.kernel import Kernel
from llmos.labels import Origin
from llmos.memory.pages import Kind
from tests.kernel.kernels import call, turn


def config(home: Path, rules: Sequence[tuple[str, str]]) -> Config:
    script = home / "script.json"
    script.write_text(json.dumps({"rules": list(rules), "default": "Yes."}))
    engine = EngineConfig(model=f"scripted:{script}", window=60_000, swap_disk_bytes=0)
    return Config(engine=engine, agent=AgentConfig(system="Be kind."), state=home / "state")


def results(kernel: Kernel, pid: int) -> list[tuple[str, str, str]]:
    """Name, text and error of the calls that were answered."""
    stored = kernel.journal.messages(pid)
    return [
        (m.message.name, m.message.content, m.error) for m in stored if m.message.role == "tool"
    ]


def opening(*names: str) -> str:
    return call("calls.open", names=list(names))


async def test_the_coder_runs_code_and_says_what_came_out(home: Path):
    rules = [
        ("[1, 4, 9]", "The squares are 1, 4 and 9."),
        ("Example: ", call("python.run", code="print([n * n for n in (1, 2, 3)])")),
        ("squares", opening("python.run")),
    ]
    async with boot(config(home, rules)) as kernel:
        pid = (await kernel.create(expert="coder")).pid
        _, finished = await turn(kernel, pid, "Compute three squares")
        assert finished.reason == "stop", finished
        assert results(kernel, pid)[-1][:2] == ("python.run", "[1, 4, 9]")
        stored = kernel.journal.messages(pid)[-1]
        assert stored.message.content == "The squares are 1, 4 and 9."
        assert kernel.journal.process(pid).system.strip().startswith("You")


async def test_the_analyst_reads_a_named_table_and_draws_it(home: Path, tmp_path: Path):
    table = tmp_path / "sales.csv"
    table.write_text("month,sales\nJan,100\nFeb,120\nMar,90\n")
    code = (
        "import llmos, pandas as pd, matplotlib.pyplot as plt\n"
        f"t = pd.read_csv(llmos.open('{table}', 'rb'))\n"
        "t.plot(x='month', y='sales')\n"
        "t.sales.max()"
    )
    rules = [
        ("120", "The best month had 120."),
        ("Example: ", call("python.run", code=code)),
        ("Draw", opening("python.run")),
    ]
    async with boot(config(home, rules)) as kernel:
        pid = (await kernel.create(expert="analyst")).pid
        seen, finished = await turn(kernel, pid, f"Draw the table {table}")
        assert finished.reason == "stop", finished
        name, text, error = results(kernel, pid)[-1]
        assert (name, error) == ("python.run", "")
        assert "120" in text
        [made] = [event for event in seen if event.type == "artifacts"]
        [picture] = made.artifacts
        assert picture.media == "image/png"
        assert kernel.artifacts.read(picture.id).startswith(b"\x89PNG")
        record = kernel.journal.records(pid, role=Kind.TOOL)[-1]
        assert record.label.private
        assert record.label.origin is Origin.UNTRUSTED


async def test_what_an_expert_knows_comes_with_the_message_and_is_cited(home: Path):
    async with boot(config(home, [])) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "@coder how do I read a traceback?")
        [told] = [r.stored.message for r in kernel.journal.records(pid, role=Kind.EXPERT)]
        assert told.name == "coder"
        assert "[1] coder: " in told.content
        known = kernel.journal.records(pid, role=Kind.EVIDENCE)
        texts = [r.stored.message.content.split("\n", 2)[-1] for r in known[1:]]
        sentence = max(re.findall(r"[A-Z][^.\n`|]{40,}\.", "\n".join(texts)), key=len)
    rules = [("And", f"{sentence[:-1]} [1][2]."), ("But", "Cats are made of glass and steel [1].")]
    async with boot(config(home, rules)) as kernel:
        seen, _ = await turn(kernel, pid, "And?")
        [cited] = [event for event in seen if isinstance(event, Cited)]
        assert sentence[:-1] in {
            " ".join(source.quote.split()).rstrip(".") for source in cited.sources
        }
        assert all(source.title.startswith("coder: ") for source in cited.sources)
        assert cited in await kernel.history(pid)
        seen, _ = await turn(kernel, pid, "But?")
        [cited] = [event for event in seen if isinstance(event, Cited)]
        assert (cited.sources, cited.dropped) == ((), (1,))
        answer = (await kernel.messages(pid))[-1].message.content
        assert answer == "Cats are made of glass and steel."


async def test_an_expert_makes_no_call_that_it_did_not_declare(home: Path):
    rules = [
        ("There is no call", "I cannot."),
        ("Search", call("search.web", query="anything")),
    ]
    async with boot(config(home, rules)) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "@coder Search the web")
        [(name, text, error)] = results(kernel, pid)
        assert (name, error) == ("search.web", "unknown_call")
        assert "clipboard" not in text


async def test_an_expert_speaks_for_one_turn_or_for_a_whole_conversation(home: Path):
    async with boot(config(home, [])) as kernel:
        plain = (await kernel.create()).pid
        await turn(kernel, plain, "@coder Hello")
        await turn(kernel, plain, "Hello")
        told = [r.stored.turn for r in kernel.journal.records(plain, role=Kind.EXPERT)]
        assert told == [1]
        info = await kernel.create(expert="researcher")
        assert info.expert == "researcher"
        pid = info.pid
        with pytest.raises(ExpertError):
            await kernel.create(expert="nobody")
    async with boot(config(home, [])) as kernel:
        assert kernel.process(pid).expert == "researcher"
        await turn(kernel, pid, "Hello")
        assert kernel.table[pid].expert == "researcher"
        fork = (await kernel.fork(pid)).pid
        await turn(kernel, fork, "Hello")
        assert kernel.table[fork].expert == "researcher"
        names = {row["name"] for row in await kernel.experts()}
        assert {"coder", "researcher", "analyst"} <= names


async def test_a_broken_expert_is_listed_and_never_fatal(home: Path):
    folder = home / "plugins" / "broken"
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text("nonsense")
    async with asyncio.timeout(60), boot(config(home, [])) as kernel:
        rows = {row["name"]: row["broken"] for row in await kernel.experts()}
        assert rows["coder"] == ""
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Hello")
        assert finished.reason == "stop"


async def test_a_message_to_an_expert_that_is_not_there_is_refused_and_not_kept(home: Path):
    async with boot(config(home, [])) as kernel:
        pid = (await kernel.create(expert="coder")).pid
        with pytest.raises(ExpertError, match=r"no expert @analist. Did you mean @analyst\? Inst"):
            await kernel.send(pid, "@analist which columns?")
        assert await kernel.messages(pid) == []
        for text in ("me@example.org asks @nobody", "@ 5pm, then?", "@cache\ndef f(): ..."):
            _, finished = await turn(kernel, pid, text)
            assert finished.reason == "stop", text
        with kernel.subscribe(pid) as events:  # what a model says addresses nobody
            await kernel.send(pid, "@nobody says a page", origin=Origin.MODEL)
            async with asyncio.timeout(30):
                reason = await anext(e.reason async for e in events if isinstance(e, TurnFinished))
        assert reason == "stop"


async def test_an_expert_whose_files_were_changed_says_so_when_it_is_asked(home: Path, write):
    staged = stage(write(name="birds", permissions=""))
    staged.commit()
    async with boot(config(home, [])) as kernel:
        pid = (await kernel.create()).pid
        [folder] = [path for path in (home / "plugins").iterdir() if path.is_dir()]
        (folder / "plugin.toml").write_text("nonsense")
        [lock] = (home / "plugins").glob("*.json")
        os.utime(lock)
        with pytest.raises(
            ExpertError, match=r"@birds is broken: .*changed.*plugin info birds\. If"
        ):
            await kernel.send(pid, "@birds hello")
        with pytest.raises(ExpertError, match="@birds is broken"):
            await kernel.create(expert="birds")


async def test_an_expert_that_is_installed_again_unchanged_works_from_its_new_folder(
    home: Path, write
):
    source = write(name="birds", permissions="")
    stage(source).commit()
    made = ('"maximum": 9', call("bird.sing"))
    rules = [("tweet", "It sang."), made, ("Sing", opening("bird.sing"))]
    async with boot(config(home, rules)) as kernel:
        for _ in range(2):
            pid = (await kernel.create(expert="birds")).pid
            await turn(kernel, pid, "Sing")
            assert results(kernel, pid)[-1][1:] == ("tweet ", "")
            stage(source).commit()


async def test_the_front_of_an_expert_is_computed_once_when_it_is_prepared(home: Path):
    async with boot(config(home, [])) as kernel:
        await kernel.prepare("coder")
        with pytest.raises(ExpertError):
            await kernel.prepare("nobody")
        pid = (await kernel.create(expert="coder")).pid
        _, finished = await turn(kernel, pid, "Hi")
        front = len(kernel.journal.process(pid).system)
        assert finished.usage.cached_tokens > front  # a byte is a token of the double's


async def test_a_call_whose_services_are_not_declared_is_not_offered_nor_what_it_opens(home: Path):
    async with boot(config(home, [])) as kernel:
        assert isinstance(kernel.staff, Crew)
        await kernel.staff.named("coder")
        coder = kernel.staff._experts.get("coder")
        narrow = replace(coder, permissions=Permissions(python=True))
        tools = {row.name.partition(".")[0] for row in kernel.staff._rows(narrow)}
        assert "python" in tools
        assert "files" not in tools  # with files.read, code could read a file's bytes
