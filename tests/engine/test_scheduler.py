"""Who is in the next step, on sequences that never run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos import limits
from llmos.engine.backend import Priority, SamplingParams
from llmos.engine.scheduler import Planned, Scheduler
from llmos.engine.sequence import Sequence


def sequence(
    todo: int, *, priority: Priority = Priority.NORMAL, decoding: bool = False, age: float = 0.0
) -> Sequence:
    made = Sequence([1] * todo, SamplingParams(), priority, 10_000, lambda s, c: None)
    if decoding:
        made.filled = todo
        made.tokens = [*made.tokens, 2]
    made.last_step = -age
    return made


def planned(scheduler: Scheduler, *running: Sequence, waiting: bool = False) -> dict[Sequence, int]:
    return {p.sequence: p.count for p in scheduler.plan(running, waiting, 0.0)}


def test_every_decoding_sequence_is_in_the_step_and_prefill_fills_it():
    decoding = [sequence(5, decoding=True) for _ in range(10)]
    prompt = sequence(300)
    plan = planned(Scheduler(512), *decoding, prompt)
    assert all(plan[s] == 1 for s in decoding)
    assert limits.PREFILL_CHUNK_MIN <= plan[prompt] < 300


def test_short_prompts_go_together():
    old, new = sequence(8), sequence(8)
    assert list(planned(Scheduler(512), new, old)) == [old, new]


def test_a_short_prompt_need_not_wait_for_a_long_one_which_gets_on_all_the_same():
    long, middle, short = sequence(5000), sequence(4000), sequence(8)
    plan = planned(Scheduler(512), short, middle, long)
    assert plan[short] == 8
    assert plan[long] >= limits.PREFILL_CHUNK_MIN
    assert sum(plan.values()) <= 512
    assert planned(Scheduler(512), long, middle)[middle] > 0


def test_a_stronger_class_has_the_step_for_itself():
    strong = sequence(5, priority=Priority.INTERACTIVE, decoding=True)
    weak = sequence(5, priority=Priority.IDLE, decoding=True)
    assert list(planned(Scheduler(512), weak, strong)) == [strong]


def test_patience_ends_and_then_the_weaker_gets_one_step():
    strong = sequence(5, priority=Priority.INTERACTIVE, decoding=True)
    weak = sequence(5, priority=Priority.IDLE, decoding=True, age=limits.PATIENCE_S[3] + 0.1)
    assert set(planned(Scheduler(512), weak, strong)) == {weak, strong}


def test_a_passed_over_prompt_gets_its_little_beside_a_stronger_one():
    strong = sequence(5000, priority=Priority.INTERACTIVE)
    weak = sequence(5000, priority=Priority.IDLE, age=limits.PATIENCE_S[3] + 0.1)
    plan = planned(Scheduler(512), weak, strong)
    assert plan[weak] == limits.PREFILL_CHUNK_MIN
    assert plan[strong] >= plan[weak]


def test_a_suspended_sequence_is_in_no_step():
    resting = sequence(5, decoding=True)
    resting.suspended = True
    assert planned(Scheduler(512), resting) == {}


def test_a_chunk_is_longer_when_nobody_else_is_there_and_shorter_in_idle_time():
    scheduler = Scheduler(4096)
    alone = planned(scheduler, one := sequence(4000))[one]
    awaited = planned(scheduler, one := sequence(4000), waiting=True)[one]
    idle = planned(scheduler, one := sequence(4000, priority=Priority.IDLE))[one]
    assert alone > awaited > idle


def test_a_chunk_follows_the_speed_of_the_machine():
    scheduler = Scheduler(4096)
    for ms_per_token, most in ((10.0, 12), (0.1, 1200)):
        for _ in range(50):
            plan = scheduler.plan([sequence(4000)], True, 0.0)
            scheduler.learn(plan, plan[0].count * ms_per_token / 1000)
        count = scheduler.plan([sequence(4000)], True, 0.0)[0].count
        assert count >= limits.PREFILL_CHUNK_MIN
        assert abs(count - max(limits.STEP_TARGET_MS / ms_per_token, 16)) <= most / 10


def test_decode_steps_are_learnt_apart_from_prefill():
    scheduler = Scheduler(4096)
    before = planned(scheduler, one := sequence(4000), waiting=True)[one]
    for _ in range(50):
        scheduler.learn([Planned(sequence(5, decoding=True), 1)], 0.09)
    beside = planned(scheduler, one := sequence(4000), sequence(3, decoding=True))[one]
    assert beside == limits.PREFILL_CHUNK_MIN
    one = sequence(4000)
    assert planned(scheduler, one, waiting=True)[one] == before


SEQUENCES = st.lists(
    st.builds(
        sequence,
        st.integers(1, 2000),
        priority=st.sampled_from(Priority),
        decoding=st.booleans(),
        age=st.floats(0, 3),
    ),
    max_size=80,
)


@given(SEQUENCES, st.booleans())
def test_a_plan_is_never_empty_without_need_nor_larger_than_the_batch(running, waiting):
    plan = Scheduler(512).plan(running, waiting, 0.0)
    assert bool(plan) == bool(running)
    assert sum(p.count for p in plan) <= 512
    assert all(0 < p.count <= p.sequence.todo for p in plan)
    assert len({p.sequence for p in plan}) == len(plan)
    if running:
        strongest = min(running, key=lambda s: (s.boost, s.submitted))
        assert any(p.sequence is strongest for p in plan)


@given(st.lists(st.sampled_from(Priority), min_size=2, max_size=12))
def test_nobody_starves_beside_endless_prompts(priorities):
    scheduler, now, step = Scheduler(512), 0.0, 0.1
    running = [sequence(100_000, priority=priority) for priority in priorities]
    served = dict.fromkeys(running, 0)
    for _ in range(400):
        for p in scheduler.plan(running, False, now):
            served[p.sequence] += p.count
            p.sequence.last_step = now
        now += step
    top = min(priorities)
    oldest = next(s for s in running if s.boost == top)
    assert all(served[s] for s in running if s.boost != top)
    assert served[oldest] > sum(served.values()) / 3
