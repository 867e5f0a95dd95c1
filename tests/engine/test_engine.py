"""The step loop on the scripted double: what it computes, in what order; nothing is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from llmos import limits
from llmos.engine.backend import Priority, SamplingParams
from llmos.engine.scripted import ScriptedRuntime
from llmos.engine.sequence import State
from llmos.errors import EngineError, EngineStopped, ModelMissing, PromptTooLong
from tests.engine.engine_helpers import WAIT_S, Gate, Listener, Rig, scripted

LONG = "The quick brown fox jumps over the lazy dog, and nobody minds it at all. " * 4


def letters(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices("abcdefgh", k=length))


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Makes rigs; each is stopped, and its books checked, when the test is over."""
    rigs: list[Rig] = []

    def make(reply: Callable[[str], str] | str = "Yes.", **options: object) -> Rig:
        names = ("resident", "swap_bytes", "governor")
        engine = {name: options.pop(name) for name in names if name in options}
        rigs.append(Rig(scripted(reply, **options), **engine))
        return rigs[-1]

    yield make
    for each in rigs:
        if each.engine._thread.is_alive():
            each.check()
        each.engine.close()


# --- one sequence -------------------------------------------------------------------------------


def test_a_reply_arrives_whole_with_exact_counts(rig):
    _, heard = rig("Grüße 🐦!").ask(LONG)
    assert heard.finish == "stop"
    assert heard.text == "Grüße 🐦!"
    usage = heard.last.usage
    assert usage.prompt_tokens == len(LONG)
    assert usage.completion_tokens == len("Grüße 🐦!".encode())
    assert usage.cached_tokens == 0
    assert sum(chunk.tokens for chunk in heard.chunks) == usage.completion_tokens


def test_the_first_token_is_delivered_at_once_and_later_ones_together(rig):
    gate = Gate()
    _, heard = rig("x" * 200, on_decode=gate).ask("hi")
    gate.step()
    assert heard.spoke.wait(WAIT_S)
    assert heard.chunks[0].tokens == 1
    gate.open()
    assert heard.finish == "stop"
    assert len(heard.chunks) < 100


def test_a_reply_ends_at_max_tokens_and_at_the_window(rig):
    made = rig("x" * 500, window=100)
    assert made.ask("hello", max_tokens=7)[1].last.finish == "length"
    _, heard = made.ask("hello")
    assert heard.finish == "length"
    assert heard.last.usage.completion_tokens == 95


def test_no_token_at_all_is_a_reply_too(rig):
    made = rig()
    _, heard = made.ask("hello", max_tokens=0)
    assert (heard.finish, heard.text) == ("length", "")
    assert heard.last.usage.completion_tokens == 0
    assert made.runtime.prefilled == 0


def test_a_stop_string_ends_a_reply_without_being_part_of_it(rig):
    _, heard = rig("one two three").ask("hi", stop=("two",))
    assert (heard.finish, heard.text) == ("stop", "one ")


def test_logprobs_come_with_every_token(rig):
    _, heard = rig("abc").ask("hi", logprobs=2)
    assert heard.finish == "stop"
    entries = [entry for chunk in heard.chunks for entry in chunk.logprobs]
    assert b"".join(entry.text for entry in entries) == b"abc"
    assert all(len(entry.top) == 2 and entry.logprob <= 0 for entry in entries)


def test_bad_prompts_are_refused_before_anything_runs(rig):
    made = rig(window=50)
    for prompt, sentence in (([], "empty"), ([1, 999], "vocabulary"), ([-1], "vocabulary")):
        with pytest.raises(EngineError, match=sentence):
            made.ask(prompt)
    with pytest.raises(PromptTooLong, match="50 tokens long"):
        made.ask("x" * 50)
    with pytest.raises(PromptTooLong, match="and 30 more"):
        made.ask("x" * 30, max_tokens=30)
    assert made.ask("x" * 50, max_tokens=0)[1].last.finish == "length"


# --- many -----------------------------------------------------------------------------------------


def test_many_sequences_share_the_steps(rig):
    made = rig(lambda prompt: prompt.upper() * 3)
    asked = {letters(9, i): made.ask(letters(9, i))[1] for i in range(40)}
    for prompt, heard in asked.items():
        assert heard.last.finish == "stop"
        assert heard.text == prompt.upper() * 3
    assert made.engine.steps < 40 * 28 / 4


def test_n_replies_prefill_their_prompt_once(rig):
    made = rig("four words are here")
    group = made.ask_many(LONG, 8)
    assert [heard.last.finish for heard in group.listeners] == ["stop"] * 8
    assert {heard.text for heard in group.listeners} == {"four words are here"}
    assert made.runtime.prefilled == len(LONG) + 8 * len("four words are here")
    assert made.engine.prefilled_tokens == len(LONG)


def test_n_replies_with_one_seed_differ_but_the_first_is_the_seed_s_own(rig):
    group = rig().ask_many("hi", 3, seed=7, temperature=1.0)
    assert [s.params.seed for s in group.sequences] == [7, 8, 9]


def test_more_replies_than_slots_all_come(rig):
    made = rig("done", slots=3)
    group = made.ask_many(LONG, 10)
    assert [heard.last.finish for heard in group.listeners] == ["stop"] * 10
    assert made.engine.prefilled_tokens < 2 * len(LONG)


def test_concurrent_prompts_prefill_their_common_beginning_once(rig):
    made = rig("ok")
    asked = [made.ask(LONG + f" Question {i}?")[1] for i in range(10)]
    assert [heard.last.finish for heard in asked] == ["stop"] * 10
    assert made.engine.prefilled_tokens < len(LONG) + 10 * 14
    assert made.engine.cached_tokens >= 9 * len(LONG)


def test_the_next_turn_reuses_the_cells_of_the_last(rig):
    made = rig("the reply")
    _, first = made.ask(LONG)
    assert first.finish == "stop"
    before = made.runtime.prefilled
    _, second = made.ask(LONG + "the reply" + " and more")
    assert second.finish == "stop"
    assert second.last.usage.cached_tokens >= len(LONG + "the reply") - 1
    assert made.runtime.prefilled - before <= len("y and more") + len("the reply")


def test_a_fork_goes_on_from_where_its_parent_is_without_prefill(rig):
    gate = Gate()
    made = rig("abcdefghij", on_decode=gate)
    parent, heard = made.ask(LONG)
    gate.step(4)
    other = Listener()
    made.engine.fork(parent, SamplingParams(), other)
    gate.open()
    assert (heard.finish, other.finish) == ("stop", "stop")
    assert heard.text == "abcdefghij"
    assert heard.text.endswith(other.text)
    assert 5 <= len(other.text) <= 7
    assert made.engine.prefilled_tokens <= len(LONG) + 1  # the child's first step is one token
    assert made.engine.admission.forked == 1


def test_a_fork_of_a_prefill_waits_for_it_instead_of_repeating_it(rig):
    gate = Gate()
    made = rig("abc", on_decode=gate, batch=32)
    parent, heard = made.ask(LONG)
    gate.step(1)
    other = Listener()
    made.engine.fork(parent, SamplingParams(), other)
    gate.open()
    assert (heard.finish, other.finish) == ("stop", "stop")
    assert (heard.text, other.text) == ("abc", "abc")
    assert made.engine.prefilled_tokens <= len(LONG) + limits.SHARE_MIN


def test_a_fork_of_a_full_window_has_no_room(rig):
    made = rig("x" * 500, window=100)
    parent, heard = made.ask("hello")
    assert heard.finish == "length"
    other = Listener()
    made.engine.fork(parent, SamplingParams(), other)
    assert other.finish == "length"


# --- priorities -----------------------------------------------------------------------------------


def test_a_stronger_class_preempts_and_the_weaker_goes_on_where_it_was(rig):
    gate = Gate()
    made = rig(lambda p: p[:20] * 3, slots=2, on_decode=gate, window=400, cells=800)
    weak = [made.ask(letters(40, i), priority=Priority.IDLE) for i in range(2)]
    gate.step(6)
    _, strong = made.ask(letters(40, 9), priority=Priority.REALTIME)
    gate.step(2)
    assert sum(s.state is State.WAITING for s, _ in weak) == 1
    gate.open()
    assert strong.finish == "stop"
    for i, (sequence, heard) in enumerate(weak):
        assert heard.finish == "stop"
        assert heard.text == letters(40, i)[:20] * 3
        assert heard.last.usage.cached_tokens == 0
        assert sequence.prefilled_tokens == 40
    assert made.engine.admission.preemptions == 1
    assert made.engine.admission.swapped_in == 1


def test_a_preempted_sequence_without_a_snapshot_is_computed_again(rig):
    gate = Gate()
    made = rig("r" * 30, slots=1, on_decode=gate, swap_bytes=0)
    sequence, heard = made.ask(LONG, priority=Priority.IDLE)
    gate.step(12)
    made.ask("hi", priority=Priority.REALTIME)
    gate.open()
    assert heard.finish == "stop"
    assert heard.text == "r" * 30
    usage = heard.last.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (len(LONG), 0, 30)
    assert made.engine.prompt_tokens == len(LONG) + 2
    assert sequence.prefilled_tokens > len(LONG)


def test_who_lends_its_priority_gets_it_back(rig):
    gate = Gate()
    made = rig("x" * 40, on_decode=gate, batch=32)
    weak, heard = made.ask(LONG, priority=Priority.IDLE)
    gate.step(1)
    _, strong = made.ask(LONG + "!", priority=Priority.REALTIME)
    gate.step(2)
    assert weak.boost is Priority.REALTIME
    gate.step(12)
    assert weak.boost is Priority.IDLE
    gate.open()
    assert (strong.finish, heard.finish) == ("stop", "stop")
    assert made.engine.prefilled_tokens <= len(LONG) + limits.SHARE_MIN + 1


def test_text_of_a_preempted_sequence_is_not_withheld(rig):
    gate = Gate()
    made = rig("x" * 100, slots=1, on_decode=gate)
    _, weak = made.ask("weak", priority=Priority.IDLE)
    gate.step(8)
    _, strong = made.ask("strong", priority=Priority.REALTIME, max_tokens=50)
    gate.step(30)
    gate.open()
    assert strong.finish == "length"
    assert weak.finish == "stop"
    assert weak.text == "x" * 100


# --- suspend, cancel, stop ------------------------------------------------------------------------


def test_a_suspended_sequence_rests_until_it_is_resumed(rig):
    gate = Gate()
    made = rig("abcdefghijklmnopqrstuvwxyz", on_decode=gate)
    sequence, heard = made.ask("hi")
    gate.step(5)
    made.engine.suspend(sequence)
    gate.open()
    assert made.ask("other")[1].finish == "stop"
    spoken = made.between_steps(lambda: (sequence.generated, heard.text))
    assert not heard.done.is_set()
    assert made.between_steps(lambda: (sequence.generated, heard.text)) == spoken
    assert heard.text == "abcdefghijklmnopqrstuvwxyz"[: spoken[0]]
    made.engine.resume(sequence)
    assert heard.finish == "stop"
    assert heard.text == "abcdefghijklmnopqrstuvwxyz"


def test_a_suspended_sequence_makes_room_for_others_whatever_their_class(rig):
    gate = Gate()
    made = rig("x" * 30, slots=1, on_decode=gate)
    sequence, heard = made.ask("first", priority=Priority.REALTIME)
    gate.step(4)
    made.engine.suspend(sequence)
    gate.open()
    assert made.ask("second", priority=Priority.IDLE)[1].finish == "stop"
    made.engine.resume(sequence)
    assert heard.finish == "stop"
    assert heard.text == "x" * 30


@pytest.mark.parametrize("which", ["leader", "follower", "both"])
@pytest.mark.parametrize("steps", [0, 1, 3, 12])
def test_any_of_a_group_can_be_cancelled_at_any_time(rig, which, steps):
    gate = Gate()
    made = rig("x" * 30, on_decode=gate, batch=32)
    group = made.ask_many(LONG, 3)
    gate.step(steps)
    victims = {"leader": [0], "follower": [1], "both": [0, 1]}[which]
    for victim in victims:
        made.engine.cancel(group.sequences[victim])
        made.engine.cancel(group.sequences[victim])
    gate.open()
    finishes = sorted(heard.last.finish for heard in group.listeners)
    assert finishes == ["cancelled"] * len(victims) + ["stop"] * (3 - len(victims))
    assert made.engine.prefilled_tokens <= len(LONG) + limits.SHARE_MIN + 2


def test_a_suspended_leader_does_not_hold_up_its_group(rig):
    gate = Gate()
    made = rig("yes", on_decode=gate, batch=32)
    group = made.ask_many(LONG, 3)
    gate.step(1)
    made.engine.suspend(group.sequences[0])
    made.engine.suspend(group.sequences[1])
    gate.open()
    assert group.listeners[0].last.finish == "stop"  # the first to be heard is the third
    made.engine.resume(group.sequences[0])
    made.engine.resume(group.sequences[1])
    assert [heard.last.finish for heard in group.listeners] == ["stop"] * 3
    assert made.engine.prefilled_tokens < 2 * len(LONG)


def test_a_waiting_sequence_can_be_cancelled(rig):
    gate = Gate()
    made = rig("x" * 30, slots=1, on_decode=gate)
    made.ask("first")
    gate.step(2)
    sequence, heard = made.ask("second")
    gate.step(1)
    made.engine.cancel(sequence)
    gate.step(1)
    assert heard.finish == "cancelled"
    gate.open()


def test_stopping_ends_every_stream_and_later_requests_are_refused(rig):
    gate = Gate()
    made = rig("x" * 300, slots=2, on_decode=gate)
    heard = [made.ask(letters(30, i))[1] for i in range(5)]
    group = made.ask_many(LONG, 3)
    gate.step(3)
    stopper = threading.Thread(target=made.engine.stop)
    stopper.start()
    gate.open()
    stopper.join(WAIT_S)
    for each in [*heard, *group.listeners]:
        assert each.last.finish == "error"
        assert isinstance(each.last.error, EngineStopped)
    parent = group.sequences[0]
    for call in (
        lambda: made.ask("hi"),
        lambda: made.engine.fork(parent, parent.params, Listener()),
    ):
        with pytest.raises(EngineStopped):
            call()
    made.engine.cancel(parent)
    made.engine.close()


def test_stopping_between_two_commands_is_not_slept_through(rig):
    made = rig()
    standing, go = threading.Event(), threading.Event()
    made.engine.call(lambda: (standing.set(), go.wait(WAIT_S)))
    assert standing.wait(WAIT_S)
    stopper = threading.Thread(target=made.engine.stop, daemon=True)
    stopper.start()
    while made.engine._commands.empty():  # the stop is taken by a step, not by the rest
        pass
    go.set()
    stopper.join(WAIT_S)
    assert not stopper.is_alive()


def test_a_request_sent_while_the_engine_stops_is_answered_too(rig):
    made = rig("x" * 50)
    answered: list[bool] = []

    def keep_asking() -> None:
        while True:
            try:
                _, heard = made.ask("hello")
            except EngineStopped:
                return
            answered.append(heard.done.wait(WAIT_S))

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    made.ask("first")[1].done.wait(WAIT_S)
    made.engine.stop()
    for asker in askers:
        asker.join(WAIT_S)
        assert not asker.is_alive()
    assert all(answered)


def test_the_death_of_the_engine_s_thread_ends_every_stream(rig):
    gate = Gate()
    made = rig("x" * 300, on_decode=gate, slots=2)
    heard = [made.ask(letters(30, i))[1] for i in range(5)]
    gate.step(2)
    made.engine.scheduler.plan = None  # not callable: the loop itself breaks
    gate.open()
    for each in heard:
        assert each.last.finish == "error"
    made.engine._thread.join(WAIT_S)
    with pytest.raises(EngineStopped):
        made.ask("hi")


def test_a_model_that_does_not_load_is_reported_by_start(rig):
    def load() -> ScriptedRuntime:
        raise ModelMissing("There is no such model.")

    with pytest.raises(ModelMissing):
        Rig(load)


# --- what breaks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [EngineError("No."), ValueError("no"), MemoryError()])
def test_a_failing_step_fails_its_batch_and_loses_no_cells(rig, error):
    def sometimes(runs) -> None:
        if any(bytes(run.tokens).startswith(b"bad") for run in runs):
            raise error

    made = rig("fine", on_decode=sometimes)
    assert made.ask("good")[1].finish == "stop"
    _, bad = made.ask("bad prompt")
    assert bad.finish == "error"
    assert str(bad.last.error)
    assert made.ask("good again")[1].finish == "stop"
    made.check()


def test_a_failing_leader_leaves_its_group_to_the_next(rig):
    failures = iter([True])

    def first_fails(runs) -> None:
        if next(failures, False):
            raise EngineError("No.")

    group = rig("fine", on_decode=first_fails).ask_many(LONG, 3)
    assert sorted(h.last.finish for h in group.listeners) == ["error", "stop", "stop"]


@pytest.mark.parametrize("what", ["share", "sampler", "piece"])
def test_what_fails_between_two_steps_ends_only_whom_it_concerns(rig, monkeypatch, what):
    made = rig("fine " * 20)
    gate = Gate()
    made.runtime._on_decode = gate
    _, beside = made.ask("beside", max_tokens=30)
    gate.step()
    assert beside.spoke.wait(WAIT_S)
    real = getattr(made.runtime, what)

    def broken(*arguments, **more):
        concerned = {
            "share": True,
            "sampler": arguments[-1][:3] == made.tokens("bad") if what == "sampler" else False,
            "piece": False,
        }[what]
        if concerned or (what == "piece" and arguments[0] == ord("!")):
            raise ValueError("broken")
        return real(*arguments, **more)

    monkeypatch.setattr(made.runtime, what, broken)
    made.runtime._script = lambda prompt: "!" if prompt.startswith("bad") else "fine " * 20
    group = made.ask_many("bad " * 10, 2)
    gate.open()
    assert "error" in [h.finish for h in group.listeners]
    assert beside.finish == "length"
    monkeypatch.undo()
    assert made.ask("good again", max_tokens=5)[1].finish == "length"
    made.check()


def test_an_idle_slot_that_cannot_be_saved_does_not_end_the_engine(rig, monkeypatch):
    made = rig("fine", resident=1)

    def broken(slot: int) -> bytes:
        raise ValueError("broken")

    monkeypatch.setattr(made.runtime, "save", broken)
    assert made.ask(LONG)[1].finish == "stop"
    assert made.ask(LONG[::-1])[1].finish == "stop"
    made.engine.admission.settle()
    assert made.engine.alive
    made.check()


def test_a_listener_that_raises_does_not_end_the_engine(rig):
    made = rig()

    def deaf(sequence, chunk) -> None:
        raise RuntimeError("Event loop is closed")

    made.engine.submit(made.tokens("hi"), SamplingParams(), deaf)
    assert made.ask("hello")[1].finish == "stop"


def test_a_state_that_cannot_be_saved_is_computed_again(rig):
    gate = Gate()
    made = rig("x" * 30, slots=1, on_decode=gate)

    def cannot(slot: int) -> bytes:
        raise EngineError("A sequence's state could not be saved.")

    made.runtime.save = cannot
    _, weak = made.ask(LONG, priority=Priority.IDLE)
    gate.step(10)
    _, strong = made.ask("strong", priority=Priority.REALTIME)
    gate.open()
    assert strong.finish == "stop"
    assert (weak.finish, weak.text) == ("stop", "x" * 30)


def test_a_state_that_cannot_be_restored_is_computed_again(rig):
    gate = Gate()
    made = rig("x" * 30, slots=1, on_decode=gate)
    made.runtime.restore = lambda slot, state: False
    _, weak = made.ask(LONG, priority=Priority.IDLE)
    gate.step(10)
    made.ask("strong", priority=Priority.REALTIME)
    gate.open()
    assert (weak.finish, weak.text) == ("stop", "x" * 30)
    assert len(made.engine.admission.swap) <= 1


# --- everything at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("rewinds", [True, False])
@pytest.mark.parametrize("swap_bytes", [0, 600, 1 << 20])
@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_in_a_tiny_memory_all_gets_its_answer(rig, rewinds, swap_bytes, seed):
    def answer(prompt: str) -> str:
        return prompt[-2::-1][:30]

    dice = random.Random(seed)
    made = rig(
        answer,
        window=64,
        cells=128,
        slots=3,
        batch=32,
        can_rewind=rewinds,
        swap_bytes=swap_bytes,
        resident=40,
    )
    begun = [letters(25, i) for i in range(3)]
    asked, groups = [], []
    for i in range(50):
        prompt = dice.choice(begun) + letters(dice.randrange(1, 12), 100 + i) + "."
        sequence, heard = made.ask(prompt, priority=dice.choice(list(Priority)))
        asked.append((prompt, sequence, heard))
        action = dice.random()
        target = dice.choice(asked)[1]
        if action < 0.2:
            made.engine.cancel(target)
        elif action < 0.5:
            made.engine.suspend(target)
        elif action < 0.6:
            made.engine.fork(target, SamplingParams(max_tokens=3), Listener())
        if action > 0.8:
            made.engine.resume(target)
        if action > 0.9:
            groups.append(made.ask_many(prompt, 3))
            action = dice.choice([made.engine.cancel, made.engine.suspend, lambda s: None])
            action(dice.choice(groups[-1].sequences))
    for sequence in [s for group in groups for s in group.sequences]:
        made.engine.resume(sequence)
    for _, sequence, _ in asked:
        made.engine.resume(sequence)
    for prompt, _, heard in asked:
        assert heard.last.finish in ("stop", "length", "cancelled")
        whole = answer(prompt)
        assert whole.startswith(heard.text)
        if heard.last.finish == "stop":
            assert heard.text == whole
        assert heard.last.usage.cached_tokens < len(prompt)
    for heard in [heard for group in groups for heard in group.listeners]:
        assert heard.last.finish in ("stop", "length", "cancelled")
    made.check()
    assert made.engine.admission.running == []
    assert made.engine.admission.waiting == []


def test_memory_that_cannot_rewind_gives_the_same_replies(rig):
    replies = []
    for rewinds in (True, False):
        made = rig(lambda p: p[-9:] * 2, can_rewind=rewinds)
        texts = []
        for prompt in (LONG, LONG + "more", LONG[:50], LONG + "more" + LONG[:5], LONG):
            _, heard = made.ask(prompt)
            assert heard.finish == "stop"
            texts.append(heard.text)
        replies.append(texts)
    assert replies[0] == replies[1]


# --- what goes wrong within -----------------------------------------------------------------------


def test_a_command_that_fails_ends_only_what_it_concerns(rig, monkeypatch):
    gate = Gate()
    made = rig("fine", on_decode=gate)
    _, runs = made.ask(LONG)
    gate.step()
    enqueue = made.engine.admission.enqueue
    monkeypatch.setattr(made.engine.admission, "enqueue", lambda _s: 1 / 0)
    _, broken = made.ask("hi")
    gate.open()
    assert broken.finish == "error"
    assert isinstance(broken.last.error, EngineError)
    assert runs.last.finish == "stop" and runs.text == "fine"
    monkeypatch.setattr(made.engine.admission, "enqueue", enqueue)
    assert made.ask("again")[1].last.finish == "stop"


def test_a_sequence_that_cannot_be_admitted_ends_with_an_error(rig, monkeypatch):
    made = rig("fine")
    place = made.engine.admission._place
    monkeypatch.setattr(made.engine.admission, "_place", lambda _s: 1 / 0)
    assert made.ask("hi")[1].last.finish == "error"
    monkeypatch.setattr(made.engine.admission, "_place", place)
    assert made.ask("hi")[1].last.finish == "stop"


def test_cells_found_wrong_are_emptied_and_the_engine_goes_on(rig, monkeypatch):
    made = rig("fine")
    emptied = threading.Event()
    rebuild = made.engine.admission.rebuild

    def seen():
        rebuild()
        emptied.set()

    def check():
        if not emptied.is_set():
            raise EngineError("Slot 0 holds 1 tokens, not 2.")

    monkeypatch.setattr(made.engine.admission, "rebuild", seen)
    monkeypatch.setattr(made.engine.admission.cells, "check_integrity", check)
    assert made.ask(LONG)[1].last.finish == "stop"
    assert emptied.wait(WAIT_S)
    assert made.ask(LONG)[1].last.finish == "stop"
    assert made.engine.alive


def test_idle_cells_stay_resident_on_a_gpu_and_pay_rent_on_a_cpu():
    def load(device):
        def made():
            runtime = ScriptedRuntime(window=8192)
            runtime.info = replace(runtime.info, device=device)
            return runtime

        return made

    for device, resident in (("cpu", 0), ("gpu", 4 * 8192)):
        made = Rig(load(device))
        assert made.engine.admission._resident == resident
        made.engine.close()
    made = Rig(load("gpu"), resident=300)
    assert made.engine.admission._resident == 300
    made.engine.close()
