"""What of a spoken answer was heard: the conversation keeps that, letter by letter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmos.errors import KernelError
from llmos.events import Message, ReplyDelta, ReplyFinished, ReplyHeard, TurnFinished
from llmos.kernel.history import heard_of
from llmos.kernel.syscalls import Outcome
from llmos.memory.check import check
from llmos.memory.consistency import consistent
from llmos.memory.importing import read
from llmos.memory.pages import Kind
from llmos.memory.portable import export, import_conversations
from tests.kernel.kernels import call, kernel_on, remembering, row, shown, turn, until

LONG = "One two three four five six seven."
RULES = [("Count", LONG), ("And", "Fine."), ("Hello", "Good day.")]


async def spoken(kernel, *texts: str) -> int:
    pid = (await kernel.create()).pid
    for text in texts:
        await turn(kernel, pid, text)
    return pid


async def replies(kernel, pid: int) -> list[tuple[str, bool]]:
    """Text and whether it was cut, of each reply as people are shown it."""
    told = await kernel.messages(pid)
    return [(m.message.content, m.partial) for m in told if m.message.role == "assistant"]


async def tokens(kernel, pid: int):
    """The tokens of the next prompt."""
    transcript, process = kernel._transcript, kernel.table[pid]
    await transcript.open(process, process.turns + 1)
    prompt = await transcript.prompt(process, lambda said: transcript.shape(process, said))
    return list(prompt.tokens)


def sound(kernel) -> bool:
    path = kernel.journal.path
    return not (check(path) or consistent(path))


async def test_of_a_kept_reply_only_what_was_heard_stays_also_after_a_restart(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Count")
        with kernel.subscribe(pid) as events:
            await kernel.heard(pid, 1, "One two three")
            told = await until(events, ReplyHeard)
        assert told.text == "One two three"
        assert await replies(kernel, pid) == [("One two three", True)]
        assert (await shown(kernel, pid))[-1].content == "One two three"
        before = await tokens(kernel, pid)
        assert sound(kernel)
    async with kernel_on(home, RULES) as kernel:
        assert await replies(kernel, pid) == [("One two three", True)]
        assert await tokens(kernel, pid) == before
        _, ended = await turn(kernel, pid, "And then?")
        assert ended.reason == "stop" and (await replies(kernel, pid))[-1] == ("Fine.", False)


async def test_the_next_prompt_is_that_of_a_conversation_whose_reply_was_just_that(home):
    async with kernel_on(home / "a", RULES) as kernel:
        pid = await spoken(kernel, "Hello", "Count")
        await kernel.heard(pid, 2, "One two three")
        cut = await tokens(kernel, pid)
    short = [("Count", "One two three"), *RULES[1:]]
    async with kernel_on(home / "b", short) as kernel:
        pid = await spoken(kernel, "Hello", "Count")
        assert await tokens(kernel, pid) == cut


async def test_where_nothing_was_heard_the_reply_is_as_one_interrupted_before_its_first_word(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Hello", "Count")
        await kernel.heard(pid, 2, "")
        assert await replies(kernel, pid) == [("Good day.", False)]
        assert [m.content for m in await shown(kernel, pid)] == ["Hello", "Good day.", "Count"]
        paper = "".join(export(kernel.journal.path, [pid], format="md"))
        assert paper.count("**llmos**") == 1 and "seven" not in paper
        assert (await turn(kernel, pid, "And then?"))[1].reason == "stop"


async def test_a_reply_being_written_ends_and_only_the_beginning_that_was_heard_is_kept(home):
    async with kernel_on(home, [("Count", "word " * 200)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Count")
            written = ""
            while len(written) < 20:
                written += (await until(events, ReplyDelta)).text
            await kernel.heard(pid, 1, "word wo")
            kept = await until(events, ReplyFinished)
            ended = await until(events, TurnFinished)
        assert kept.text == "word wo" and ended.reason == "interrupted"
        assert await replies(kernel, pid) == [("word wo", True)]
        [stored] = kernel.journal.records(role=Kind.ASSISTANT)
        assert stored.stored.message.content == "word wo"
        assert not kernel.journal.records(role=Kind.HEARD)  # the rest was never kept


async def test_what_is_no_beginning_of_the_reply_is_refused_and_changes_nothing(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Hello", "Count")
        for number, text in ((2, "Two"), (2, LONG + " Eight."), (1, "Good"), (3, "One")):
            with pytest.raises(KernelError):
                await kernel.heard(pid, number, text)
        assert await replies(kernel, pid) == [("Good day.", False), (LONG, False)]
        await kernel.heard(pid, 2, LONG)  # all of it
        assert (await replies(kernel, pid))[-1] == (LONG, False)


async def test_it_can_be_cut_to_less_once_more_and_never_to_more(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Count")
        await kernel.heard(pid, 1, "One two three")
        with pytest.raises(KernelError):
            await kernel.heard(pid, 1, "One two three four")
        await kernel.heard(pid, 1, "One")
        assert await replies(kernel, pid) == [("One", True)]


async def test_a_fork_made_before_keeps_the_whole_and_one_made_after_does_not(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Count")
        before = (await kernel.fork(pid)).pid
        await kernel.heard(pid, 1, "One")
        after = (await kernel.fork(pid)).pid
        assert await replies(kernel, before) == [(LONG, False)]
        assert await replies(kernel, after) == [("One", True)]
        assert (await shown(kernel, before))[-1].content == LONG
        with pytest.raises(KernelError):  # it is not the fork's to cut
            await kernel.heard(before, 1, "One")


async def test_calls_stay_and_what_was_said_before_them_can_be_cut_too(home):
    async def run(_by, _arguments):
        return Outcome("The result is 4.")

    rules = [("Do it", f"Wait.\n{call('test.do', n=1)}"), ("The result", "It is four.")]
    for heard, expected in (
        ("Wait.\n\nIt is", ["Wait.", "It is"]),
        ("Wait.It is", ["Wait.", "It is"]),
        ("Wai", ["Wai"]),
    ):
        async with kernel_on(home / str(len(heard)), rules, calls=[row("test.do", run)]) as kernel:
            pid = await spoken(kernel, "Do it")
            await kernel.heard(pid, 1, heard)
            assert [text.strip() for text, _ in await replies(kernel, pid)] == expected
            made = [c for m in await kernel.messages(pid) for c in m.message.calls]
            assert [c.name for c in made] == ["test.do"] and sound(kernel)
            assert (await kernel.tracer.replay(pid)).same


async def test_a_kernel_with_snapshots_goes_on_from_the_cut_reply_when_it_starts_again(home):
    async with remembering(home, RULES) as kernel:
        pid = await spoken(kernel, "Hello", "Count")
        await kernel.heard(pid, 2, "One two")
        before = await tokens(kernel, pid)
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return "Fine."

    async with remembering(home, answer) as kernel:
        assert await tokens(kernel, pid) == before
        await turn(kernel, pid, "And then?")
    assert prompts and "One two" in prompts[-1] and "three" not in prompts[-1]


async def test_a_check_tells_of_a_record_that_claims_more_than_was_said(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Count")
        [reply] = kernel.journal.records(pid, role=Kind.ASSISTANT)
        for length, page in (("999", f"p{reply.stored.seq}"), ("1", "p1")):
            await kernel.journal.append(pid, Message(Kind.HEARD, length, name=page), turn=1)
        longer, of_none = consistent(kernel.journal.path)
        assert "longer than the reply" in longer and "no reply of that turn" in of_none


def test_what_was_heard_is_laid_out_over_the_replies_of_a_turn():
    assert heard_of(["ab", "cd"], "ab\n\nc") == [2, 1]
    assert heard_of(["ab", "cd"], "abc") == [2, 1]
    assert heard_of(["ab", "cd"], "a") == [1, 0]
    assert heard_of(["", "cd"], "cd") == [0, 2]
    assert heard_of(["ab", "cd"], "abd") is None
    assert heard_of(["ab"], "abc") is None


async def test_an_export_has_what_was_heard_and_an_import_takes_it_over(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Count")
        await kernel.heard(pid, 1, "One two")
        file = Path(home) / "out.jsonl"
        file.write_text("".join(export(kernel.journal.path, [pid])))
        [copy] = await import_conversations(kernel.journal, read(file, mine=True))
        kept = [
            (r.stored.message.content, r.stored.partial)
            for r in kernel.journal.records(copy, role=Kind.ASSISTANT)
        ]
        assert kept == [("One two", True)] and sound(kernel)
        paper = "".join(export(kernel.journal.path, [pid], format="md"))
        assert "One two" in paper and "three" not in paper and "cut short" in paper


async def test_a_replay_does_not_call_it_a_difference(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Hello", "Count")
        await kernel.heard(pid, 2, "One two")
        await turn(kernel, pid, "And then?")
        assert (await kernel.tracer.replay(pid)).same


async def test_what_was_not_heard_is_found_no_more_and_forgetting_leaves_nothing(home):
    rules = [("Count", "One two three. The seagull sings."), ("And", "Fine.")]
    async with remembering(home, rules) as kernel:
        pid = await spoken(kernel, "Count")
        await kernel.memory.feed.catch_up()
        assert any("seagull" in hit.passage.text for hit in await kernel.keeper.search("seagull"))
        await kernel.heard(pid, 1, "One two three.")
        await kernel.memory.feed.catch_up()
        assert not any("seagull" in h.passage.text for h in await kernel.keeper.search("seagull"))
        [reply] = kernel.journal.records(pid, role=Kind.ASSISTANT)
        await kernel.keeper.forget(f"p{reply.stored.seq}")
        [reply] = kernel.journal.records(pid, role=Kind.ASSISTANT)
        [heard] = kernel.journal.records(pid, role=Kind.HEARD)
        assert reply.erased and heard.erased and sound(kernel)
    for file in (home / "state").rglob("*"):
        assert not file.is_file() or b"seagull" not in file.read_bytes(), file


async def test_two_who_cut_at_once_and_a_message_meanwhile_do_no_harm(home):
    async with kernel_on(home, RULES) as kernel:
        pid = await spoken(kernel, "Count")
        await asyncio.gather(kernel.heard(pid, 1, "One"), kernel.heard(pid, 1, "One"))
        await asyncio.gather(kernel.heard(pid, 1, "On"), kernel.send(pid, "And then?"))
        await kernel.wait(pid)
        assert await replies(kernel, pid) == [("On", True), ("Fine.", False)]
        assert sound(kernel)
