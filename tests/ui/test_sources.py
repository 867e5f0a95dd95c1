"""The sources under an answer."""

from __future__ import annotations

from llmos.events import Cited, Source
from llmos.ui.blocks import ReplyBlock, UserBlock
from llmos.ui.sources import SourceLine, Sources

MOON = Source(2, "The Moon", "https://example.org/moon", "It is \x1b[2J384,400 km away.", "Far.")
AGAIN = Source(2, "The Moon", "https://example.org/moon", "It has no air.", "No air.")
FIRST = Source(1, "Notes", "notes/sea.md, line 4", "The sea is calm.", "Calm.")


async def answered(t) -> int:
    pid = await t.say("How far is the moon?")
    t.kernel.reply(pid, "Far [2].")
    await t.sees("Far [2].")
    return pid


async def test_sources_stand_under_their_answer_each_once(terminal):
    async with terminal() as t:
        pid = await answered(t)
        id = t.chat.query_one(ReplyBlock).message_id
        await t.write("and the sun?")
        cited = Cited(
            pid=pid, seq=90, turn=1, message_id=id, sources=(MOON, FIRST, AGAIN), dropped=(7, 2)
        )
        t.kernel.emit(cited)
        t.kernel.emit(cited)  # told again after the connection was lost
        for text in ("[1] Notes", "[2] The Moon", "https://example.org/moon", "“It has no air.”"):
            await t.sees(text)
        await t.sees("1 citation did not hold and was taken out.")
        assert "\x1b" not in t.screen_text
        assert len(t.chat.query(SourceLine)) == 2
        order = [type(block) for block in t.chat.conversation.turns.children]
        assert [kind for kind in order if kind in (UserBlock, ReplyBlock, Sources)] == [
            *(UserBlock, ReplyBlock, Sources, UserBlock)
        ]


async def test_enter_copies_the_address_of_a_source(terminal):
    async with terminal() as t:
        pid = await answered(t)
        t.kernel.emit(Cited(pid=pid, seq=90, turn=1, message_id="", sources=(MOON,)))
        await t.sees("[2] The Moon")
        t.chat.query_one(SourceLine).focus()
        await t.pilot.press("enter")
        await t.until(lambda: t.app.clipboard == "https://example.org/moon")


async def test_sources_come_back_from_the_journal(terminal):
    async with terminal() as t:
        pid = await answered(t)
        t.kernel.finish(pid)
        t.kernel.note(Cited, pid=pid, turn=1, message_id="", sources=(MOON,))
        t.chat.open(0)
        await t.settled()
        t.chat.open(pid)
        await t.sees("[2] The Moon")
