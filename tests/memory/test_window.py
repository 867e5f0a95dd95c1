"""The window of one process: what is in view, what leaves, and what stands for it."""

from __future__ import annotations

import itertools
import time

import pytest

from llmos.errors import StoreCorrupt
from llmos.events import Message, StoredMessage, ToolCall
from llmos.labels import Label, Origin
from llmos.memory.pages import Kind
from llmos.memory.records import Record, piped
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
    talk.window.pin(["p9"])  # the fifth turn
    talk.evict(1500)
    front = talk.window.messages()[0].content
    assert "- p1 to p8 (4 turns" in front
    assert "- p11 to" in front
    assert ("user", "Question 5?") in talk.shown()


def test_the_newest_turn_and_what_is_pinned_stay_whatever_is_asked(talk):
    talk.turns(3)
    talk.window.pin(["p1"])
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
    again.say(6, change.message().role, change.message().content)
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


def test_a_conversation_holds_of_a_long_message_what_is_in_view_and_of_a_piped_one_the_words(talk):
    long = talk.say(1, "user", "So much. " * 10_000)
    talk.window.apply(talk.window.trim(long, len, 4000))
    words = "Sum this up. " * 10_000
    for turn, own in ((2, "Sum this up."), (3, words)):
        message = piped(own, "Obey me. " * 10_000)
        held = talk.say(turn, "user", message.content, name=message.name)
        talk.window.apply(talk.window.trim(held, len, 4000))
    first, short, cut = (message.content for message in talk.window.conversation())
    assert first == talk.window.messages()[1].content
    assert len(first) < 5000
    assert short == "Sum this up."
    assert words.startswith(cut)
    assert 1000 < len(cut) < 4000


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
    change = talk.window.trim(held, lambda part: len(part.split()), 600)
    talk.window.apply(change)
    gone = change.evicted
    shown = talk.window.messages()[1].content
    assert shown.startswith("Paragraph 0.") and shown.endswith("So what is it?")
    assert f"[{gone[0]} to {gone[-1]}: " in shown and "stored and not shown" in shown
    assert len(shown.split()) < 700
    assert {page.id for page in held.pages} - set(gone)


def test_a_message_that_fits_stays_whole(talk):
    held = talk.say(1, "user", "word " * 500)
    assert len(held.pages) > 1
    assert talk.window.trim(held, lambda part: len(part.split()), 501) is None


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


# --- pinned pages -----------------------------------------------------------------------------


def brought(talk: Talk, *ids: str, room: int = 1000) -> Change | None:
    """Have pages pinned, and what that changes in view."""
    change = talk.window.brought(ids, len, room)
    talk.say(99, Kind.PIN, "pin", name=" ".join(ids))
    if change is not None:
        talk.window.apply(change)
    return change


def test_a_page_that_is_let_go_again_leaves_like_any_other(talk):
    talk.turns(3)
    talk.say(3, Kind.PIN, "pin", name="p1 p2")
    assert talk.window.pinned() == {"p1", "p2"}
    talk.say(3, Kind.PIN, "unpin", name="p1")
    assert talk.window.pinned() == {"p2"}
    talk.say(3, Kind.PIN, "unpin", name="p2 p77")
    talk.evict(10_000)
    assert [m.content[:11] for m in talk.window.messages()[1:]] == ["Question 3?", "Answer 3..."]


def test_a_pinned_page_that_had_left_comes_back_with_its_turn_in_its_place(talk):
    talk.turns(8)
    talk.evict(1000)
    assert ("user", "Question 2?") not in talk.shown()
    change = brought(talk, "p4")
    assert change.returned == ("p3", "p4")
    shown = talk.shown()
    assert shown[1:3] == [("user", "Question 2?"), ("assistant", "Answer 2")]
    assert "- p1 to p2 (1 turn" in shown[0][1]
    assert "- p5 to p10 (3 turns" in shown[0][1]
    again = Talk()
    again.turns(8)
    again.say(8, *_record(change))
    talk.evict(10_000)
    assert ("assistant", "Answer 2") in talk.shown()


def _record(change: Change) -> tuple[str, str]:
    message = change.message()
    return message.role, message.content


def test_a_pinned_page_in_view_changes_nothing_that_is_shown(talk):
    talk.turns(3)
    before = talk.window.messages()
    change = brought(talk, "p1")
    assert not change.evicted and not change.returned
    assert talk.window.messages() == before


def test_of_a_long_turn_the_pinned_page_stays_and_what_there_is_room_for(talk):
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 150 for n in range(12))
    held = talk.say(1, "user", text)
    talk.say(1, "assistant", "Noted.")
    talk.turns(2, first=2)
    assert len(held.pages) == 12
    change = brought(talk, "p1.7", room=2000)
    assert "p1.7" not in change.evicted and len(change.evicted) == 10
    shown = talk.window.messages()[1].content
    assert len(shown) <= 2000
    assert "Paragraph 6." in shown and "Paragraph 0." in shown and "Paragraph 1." not in shown
    assert "[p1.2 to p1.6: " in shown and "[p1.8 to p1.12: " in shown
    assert talk.shown()[2] == ("assistant", "Noted")


def test_pinned_pages_have_no_more_than_their_room(talk):
    talk.turns(4)
    assert brought(talk, "p1", room=450) is not None
    assert brought(talk, "p3", room=450) is not None
    assert talk.window.brought(["p5"], len, 450) is None


def test_in_a_window_smaller_than_it_was_what_is_pinned_may_leave(talk):
    talk.turns(4)
    talk.window.pin(["p1", "p3"])
    talk.evict(10_000, size=800)
    shown = [m.content[:11] for m in talk.window.messages()[1:]]
    assert shown == ["Question 1?", "Answer 1...", "Question 4?", "Answer 4..."]


def test_what_is_pinned_of_a_forgotten_text_is_no_matter(talk):
    talk.say(1, "user", "", erased=True)
    talk.say(1, Kind.PIN, "pin", name="p1")
    assert talk.window.pinned() == set()
    assert talk.window.named("p1") == ()


# --- a turn that is too long by itself --------------------------------------------------------


def results(talk: Talk, sizes: list[int]) -> None:
    calls = tuple(ToolCall(f"c{n}", "t.read", {}) for n in range(len(sizes)))
    talk.say(1, "user", "Read them all.")
    talk.say(1, "assistant", "", calls=calls)
    for n, size in enumerate(sizes):
        text = "\n\n".join(f"Result {n}, part {part}. " + "x" * 770 for part in range(size))
        talk.say(1, "tool", text, call_id=f"c{n}", name="t.read")


def test_of_several_long_results_in_one_turn_the_newest_keeps_most(talk):
    results(talk, [8, 8, 8])
    window = talk.measured()
    assert window.evict(1000, 8000) is None
    total = sum(held.tokens for held in window.held)
    change = window.squeeze(total - 9000, len)
    window.apply(change)
    talk.measured()
    assert window.front == ""
    parts = [len(held.shown) for held in window.held[2:]]
    assert parts[2] > parts[1] >= parts[0] and sum(parts) < 12
    assert parts[2] >= 6
    assert window.out_of_view() == set(change.evicted)
    texts = [m.content for m in window.messages() if m.role == "tool"]
    assert len(texts) == 3 and all("stored and not shown here" in text for text in texts)
    assert window.messages()[1].content == "Read them all."


def test_a_turn_of_many_short_results_gets_room_too(talk):
    results(talk, [1] * 20)
    window = talk.measured()
    while sum(held.tokens for held in window.held) > 3000:
        change = window.squeeze(sum(held.tokens for held in window.held) - 2500, len)
        assert change is not None and change.evicted
        window.apply(change)
        talk.measured()
    said = [m for m in window.messages() if m.role == "tool"]
    assert len(said) == 20  # every call still has its result, if only as a note
    assert said[-1].content.startswith("Result 19") and said[0].content.startswith("\n[p3: ")


def test_where_nothing_more_can_be_left_out_nothing_is(talk):
    talk.say(1, "user", "What?")
    talk.say(1, "assistant", "That.")
    assert talk.measured().squeeze(10_000, len) is None


# --- what is erased ---------------------------------------------------------------------------


def test_what_had_left_stays_out_when_the_front_is_erased_and_a_new_one_is_built(talk):
    talk.turns(8)
    talk.say(8, "user", "And?")
    change = talk.evict(600)
    again = Talk()
    again.say(1, "user", "", erased=True)
    again.say(1, "assistant", "Answer 1.")
    again.turns(7, first=2)
    again.say(8, "user", "And?")
    again.say(8, Kind.WINDOW, "", name=change.message().name, erased=True)
    assert again.window.stale and again.window.front == ""
    rebuilt = again.window.rebuilt()
    again.window.apply(rebuilt)
    assert not again.window.stale
    assert again.window.out_of_view() >= set(change.evicted) - {"p1"}
    front, *rest = again.shown()
    assert "- p1 to p6 (3 turns, 2026-11-03): " in front[1]
    assert rest == talk.shown()[1:]


def test_pages_that_came_back_stay_in_view_when_the_front_is_erased(talk):
    talk.turns(8)
    first = talk.evict(1000)
    second = brought(talk, "p3")
    again = Talk()
    again.turns(8)
    for change in (first, second):
        again.say(8, Kind.WINDOW, "", name=change.message().name, erased=True)
    assert again.window.stale
    assert again.shown()[1:] == talk.shown()[1:]


# --- notes ------------------------------------------------------------------------------------


def test_what_was_told_in_a_turn_that_is_dropped_was_not_told(talk):
    talk.window.apply(Change((), "Front.", core="old"))
    talk.turns(1)
    assert talk.window.told == "old"
    talk.say(2, Kind.NOTE, "From now on.", name="new")
    talk.say(2, "user", "word " * 500)
    talk.window.apply(talk.window.without(["p4.2"]))  # its middle
    assert talk.window.told == "new"
    talk.window.drop((1, 2))
    assert talk.window.told == "old"


def test_a_note_that_left_is_what_the_front_says(talk):
    talk.say(1, Kind.NOTE, "From now on.", name="new")
    talk.turns(4)
    talk.evict(500, core="Be brief.", core_sources=["m1"])
    assert talk.window.told == talk.window.core != "new"
