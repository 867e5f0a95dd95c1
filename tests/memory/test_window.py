"""The window of one process: what is in view, what leaves, and what stands for it."""

from __future__ import annotations

import itertools
import time

import pytest

from llmos.errors import StoreCorrupt
from llmos.events import Message, StoredMessage, ToolCall
from llmos.labels import Label, Origin
from llmos.memory.pages import Kind
from llmos.memory.records import Record
from llmos.memory.window import FORGOTTEN, Change, Window

NOON = time.mktime((2026, 11, 3, 12, 0, 0, 0, 0, -1))


class Talk:
    """A window that is filled turn by turn; a character is a token."""

    def __init__(self) -> None:
        self.window = Window("Be kind.")
        self.seqs = itertools.count(1)

    def say(self, turn: int, role: str, text: str, **given):
        seq = next(self.seqs)
        erased = given.pop("erased", False)
        stored = StoredMessage(seq, f"m{seq}", turn, NOON, Message(role, text, **given))
        return self.window.add(Record(1, stored, Label(Origin.USER), erased))

    def turns(self, count: int, size: int = 100, first: int = 1) -> None:
        for turn in range(first, first + count):
            self.say(turn, "user", f"Question {turn}?".ljust(size, "."))
            self.say(turn, "assistant", f"Answer {turn}.".ljust(size, "."))

    def measured(self) -> Window:
        self.window.measure(lambda texts: [len(text) for text in texts])
        return self.window

    def evict(self, excess: int, size: int = 2000, **given) -> Change:
        change = self.measured().evict(excess, size, **given)
        assert change is not None
        self.window.apply(change)
        return change

    def shown(self) -> list[tuple[str, str]]:
        return [(m.role, m.content.rstrip(".")) for m in self.window.messages()]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_appending_never_changes_what_precedes_it(talk):
    seen = []
    for turn in range(1, 9):
        talk.turns(1, first=turn)
        now = talk.window.messages()
        assert now[: len(seen)] == seen
        seen = now


def test_the_oldest_turns_leave_together_and_a_line_in_the_front_names_them(talk):
    talk.turns(8)
    change = talk.evict(600)
    assert change.evicted == ("p1", "p2", "p3", "p4", "p5", "p6")
    front, *rest = talk.window.messages()
    assert front.role == "system" and front.content.startswith("Be kind.\n\nEarlier turns")
    assert "- p1 to p6 (3 turns, 2026-11-03): “Question…” … “Question…”" in front.content
    assert rest[0].content.startswith("Question 4?")
    assert talk.window.out_of_view() == set(change.evicted)


def test_after_a_batch_the_front_stands_still(talk):
    talk.turns(8)
    talk.evict(600)
    before = talk.window.messages()
    talk.turns(2, first=9)
    assert talk.window.messages()[: len(before)] == before


def test_runs_of_turns_that_left_are_one_line_each(talk):
    talk.turns(10)
    talk.window.held[8].pinned = True  # the fifth turn
    talk.evict(1500)
    front = talk.window.messages()[0].content
    assert "- p1 to p8 (4 turns" in front
    assert "- p11 to" in front
    assert ("user", "Question 5?") in talk.shown()


def test_the_newest_turn_and_what_is_pinned_stay_whatever_is_asked(talk):
    talk.turns(3)
    talk.window.held[0].pinned = True
    talk.evict(10_000)
    assert [m.content[:11] for m in talk.window.messages()[1:]] == [
        *("Question 1?", "Answer 1..."),
        *("Question 3?", "Answer 3..."),
    ]
    assert talk.measured().evict(10_000, 2000) is None


def test_a_turn_that_matters_now_outlives_others_of_its_age(talk):
    talk.turns(10)
    talk.evict(1000, relevance={(1, 2): 5.0})
    assert ("user", "Question 2?") in talk.shown()
    assert ("user", "Question 1?") not in talk.shown()


def test_what_must_be_computed_again_is_weighed_against_what_is_lost(talk):
    # All turns are worth the same but for age; the first is long and would free enough alone,
    # yet so would a newer one behind which there is hardly anything.
    talk.turns(9)
    relevance = {(1, turn): 3.0 for turn in range(1, 8)}
    change = talk.evict(150, size=400, relevance=relevance)
    assert change.evicted == ("p15", "p16")  # the eighth turn: only one stays behind it


def test_a_batch_that_is_read_back_shows_the_same_bytes(talk):
    talk.turns(6)
    change = talk.evict(500)
    again = Talk()
    again.turns(6)
    again.window.apply(Change.from_json(change.to_json()))
    assert again.window.messages() == talk.window.messages()


def test_a_change_in_the_journal_is_applied_when_it_is_read(talk):
    talk.turns(3)
    talk.say(3, Kind.WINDOW, Change(("p1", "p2"), "Front.").to_json())
    assert talk.shown()[0] == ("system", "Be kind.\n\nFront")
    assert talk.shown()[1] == ("user", "Question 2?")
    with pytest.raises(StoreCorrupt):
        talk.say(3, Kind.WINDOW, "{")


def test_what_was_brought_back_stands_in_the_turn_s_message_and_not_in_the_conversation(talk):
    talk.say(1, "user", "What was it?")
    talk.say(1, Kind.RECALLED, "[p4] It was blue.")
    talk.say(1, "assistant", "Blue.")
    assert [m.content for m in talk.window.messages()][1:] == [
        "[p4] It was blue.\n\nWhat was it?",
        "Blue.",
    ]
    assert [m.content for m in talk.window.conversation()] == ["What was it?", "Blue."]


def test_a_call_and_its_result_leave_together(talk):
    call = ToolCall("c1", "t.f", {})
    talk.say(1, "user", "Work." * 20)
    talk.say(1, "assistant", "", calls=(call,))
    talk.say(1, "tool", "42" * 50, call_id="c1", name="t.f")
    talk.say(1, "assistant", "It is 42.")
    talk.turns(3, first=2)
    talk.evict(150)
    assert all(not m.calls and m.role != "tool" for m in talk.window.messages())


def test_a_call_without_a_result_is_shown_with_one(talk):
    talk.say(1, "user", "Work.")
    talk.say(1, "assistant", "", calls=(ToolCall("c1", "t.f", {}),))
    assert talk.window.messages()[-1].content.startswith("Error: this call was cut off")


def test_of_a_long_message_the_beginning_and_the_end_stay(talk):
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 180 for n in range(40)) + "\n\nSo what is it?"
    held = talk.say(1, "user", text)
    gone = talk.window.trim(held, lambda part: len(part.split()), 600)
    talk.window.apply(Change(gone, ""))
    shown = talk.window.messages()[1].content
    assert shown.startswith("Paragraph 0.") and shown.endswith("So what is it?")
    assert f"[{gone[0]} to {gone[-1]}: " in shown and "stored and not shown" in shown
    assert len(shown.split()) < 700
    assert {page.id for page in held.pages} - set(gone)


def test_a_message_that_fits_stays_whole(talk):
    held = talk.say(1, "user", "word " * 500)
    assert len(held.pages) > 1
    assert talk.window.trim(held, lambda part: len(part.split()), 501) == ()


def test_a_forgotten_text_is_shown_as_such(talk):
    talk.say(1, "user", "", erased=True)
    talk.say(1, "assistant", "Noted.")
    assert talk.window.messages()[1].content == FORGOTTEN
    talk.turns(4, first=2)
    change = talk.evict(5000)
    assert "p1" in change.evicted and "p2" in change.evicted


def test_a_dropped_turn_was_never_there(talk):
    talk.turns(2)
    talk.window.drop((1, 2))
    assert [m.content[:11] for m in talk.window.messages()[1:]] == ["Question 1?", "Answer 1..."]
    assert len(talk.window.pages()) == 2
