"""The engine on real weights: greedy text is the same whatever happened to a sequence on its way.

Texts are compared where both were decoded alone and from the first cell on: on a CPU a step of one
row rounds differently from a step of several, and so do cells that begin at another place within
a vector register (16 cells).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llmos import limits
from llmos.config import EngineConfig
from llmos.engine import llama
from llmos.engine.backend import Priority, Run, SamplingParams
from llmos.engine.llama import LlamaRuntime
from llmos.errors import GrammarError, ModelCorrupt, ModelMissing, ModelTooLarge
from tests.engine.engine_helpers import Listener, Rig

STORY = (
    "The lighthouse keeper climbed the stairs every evening at six. He lit the lamp, wrote the "
    "weather into a book, and looked out over the sea until the first ships had passed the rocks. "
)


def chat(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def starter(starter_weights: Path) -> Iterator[Rig]:
    config = EngineConfig(window=1024, cells=2048)
    rig = Rig(lambda: LlamaRuntime(starter_weights, config), resident=2048)
    yield rig
    rig.engine.close()


@pytest.fixture(scope="module")
def gemma(gemma_weights: Path) -> Iterator[Rig]:
    config = EngineConfig(window=1024, cells=2048)
    rig = Rig(lambda: LlamaRuntime(gemma_weights, config), resident=2048)
    yield rig
    rig.engine.close()


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test begins without remembered prefixes and ends with the books in order."""
    rigs = [request.getfixturevalue(n) for n in ("starter", "gemma") if n in request.fixturenames]
    for rig in rigs:
        rig.between_steps(rig.engine.admission.forget)
    yield
    for rig in rigs:
        rig.check()


def fresh(rig: Rig, prompt: str | list[int], **params: object) -> str:
    """The text of a sequence that shares nothing with anybody."""
    rig.between_steps(rig.engine.admission.forget)
    _, heard = rig.ask(prompt, **params)
    assert heard.finish in ("stop", "length"), heard.last.error
    rig.between_steps(rig.engine.admission.forget)
    return heard.text


def after_some_tokens(rig: Rig, prompt: str | list[int], **params: object):
    """A running sequence whose first tokens have been heard."""
    sequence, heard = rig.ask(prompt, **params)
    assert heard.spoke.wait(60)
    return sequence, heard


# --- the same text --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["starter", "gemma"])
def test_suspending_and_swapping_out_do_not_change_the_text(model, request):
    rig = request.getfixturevalue(model)
    alone = fresh(rig, STORY, max_tokens=48)
    sequence, heard = after_some_tokens(rig, STORY, max_tokens=48)
    rig.engine.suspend(sequence)

    def swap_out() -> bool:
        if sequence in rig.engine.admission.running:
            rig.engine.admission.preempt(sequence)
        return sequence.preemptions == 1

    assert rig.between_steps(swap_out)
    _, other = rig.ask("Something else in the same cells, long enough to overwrite.", max_tokens=8)
    assert other.finish in ("stop", "length")
    rig.engine.resume(sequence)
    assert heard.finish in ("stop", "length")
    assert heard.text == alone
    assert rig.engine.admission.swapped_in >= 1
    assert heard.last.usage.prompt_tokens == len(rig.tokens(STORY))


@pytest.mark.parametrize("model", ["starter", "gemma"])
def test_a_known_prefix_does_not_change_the_text(model, request):
    rig = request.getfixturevalue(model)
    bos = rig.runtime.info.bos if rig.runtime.info.adds_bos else ""
    story = bos + STORY.strip()  # a space at the end would be another token before a word
    longer = story + " One evening"
    alone = fresh(rig, longer, max_tokens=32)
    assert rig.ask(story, max_tokens=1)[1].finish == "length"
    _, heard = rig.ask(longer, max_tokens=32)
    assert heard.finish in ("stop", "length")
    assert heard.text == alone
    assert heard.last.usage.cached_tokens == len(rig.tokens(story))


def test_several_turns_are_the_same_with_and_without_what_is_remembered(gemma):
    history = gemma.tokens("<bos>" + STORY.strip())
    for turn in range(4):
        history = history + gemma.tokens(f" On day {turn + 2}")
        alone = fresh(gemma, history, max_tokens=12, ignore_end=True)
        # the same again, behind a beginning that is remembered
        assert gemma.ask(history[:-4], max_tokens=1)[1].finish in ("stop", "length")
        sequence, heard = gemma.ask(history, max_tokens=12, ignore_end=True)
        assert heard.finish == "length"
        assert heard.last.usage.cached_tokens == len(history) - 4
        assert heard.text == alone
        history = list(sequence.tokens)


def test_a_fork_speaks_as_its_parent_would(starter):
    alone = fresh(starter, STORY, max_tokens=48)
    parent, heard = after_some_tokens(starter, STORY, max_tokens=48)
    child = Listener()

    def part() -> int:
        starter.engine.fork(parent, SamplingParams(max_tokens=48 - parent.generated), child)
        starter.engine.cancel(parent)  # alone again: see above
        return parent.generated

    said = starter.between_steps(part)
    assert heard.finish == "cancelled"
    assert child.finish in ("stop", "length")
    assert heard.text + child.text == alone
    assert child.last.usage.prompt_tokens == len(starter.tokens(STORY)) + said
    assert child.last.usage.cached_tokens == child.last.usage.prompt_tokens - 1


def test_n_replies_prefill_once(starter):
    before = starter.engine.prefilled_tokens
    group = starter.ask_many(STORY, 8, max_tokens=6)
    assert all(heard.last.finish in ("stop", "length") for heard in group.listeners)
    assert starter.engine.prefilled_tokens - before == len(starter.tokens(STORY))


def test_every_slot_can_speak_in_one_step(starter):
    before = starter.engine.admission.forked
    group = starter.ask_many("Hello", starter.runtime.slots, max_tokens=3, ignore_end=True)
    assert {heard.last.finish for heard in group.listeners} == {"length"}
    assert starter.engine.admission.forked - before == starter.runtime.slots - 1


def test_a_stronger_class_takes_the_cells_and_gives_them_back(starter):
    words = STORY * 9
    alone = fresh(starter, words, max_tokens=24)
    sequence, heard = after_some_tokens(starter, words, max_tokens=24, priority=Priority.IDLE)
    others = [
        starter.ask(f"{i} " + words, max_tokens=300, priority=Priority.REALTIME) for i in range(5)
    ]
    for other, listener in others:
        assert listener.spoke.wait(60)
        starter.engine.cancel(other)
    assert heard.finish in ("stop", "length")
    assert sequence.preemptions > 0
    assert heard.text == alone


def test_a_state_survives_saving_and_restoring_exactly(starter):
    def round_trip() -> bool:
        runtime, cells = starter.runtime, starter.engine.admission.cells
        one, two = cells.take_slot(), cells.take_slot()
        tokens = starter.tokens(STORY)
        last = Run(one, len(tokens) - 1, tokens[-1:], True)
        runtime.decode([Run(one, 0, tokens[:-1], False)])
        state = runtime.save(one)
        row = runtime.decode([last])[0]
        before = runtime.logits(row).copy()
        assert runtime.restore(two, state)
        row = runtime.decode([Run(two, last.start, last.tokens, True)])[0]
        same = bool((runtime.logits(row) == before).all())
        assert not runtime.restore(cells.take_slot(), state[: len(state) // 2])
        for slot in range(runtime.slots):
            runtime.free(slot)
        for slot in list(cells._end):
            cells.release(slot)
        return same

    assert starter.between_steps(round_trip)


@pytest.mark.parametrize("model", ["starter", "gemma"])
def test_being_moved_to_the_front_does_not_change_the_text(model, request, monkeypatch):
    rig = request.getfixturevalue(model)
    cells = rig.engine.admission.cells
    prompt = rig.tokens(rig.runtime.info.bos + STORY if rig.runtime.info.adds_bos else STORY)
    alone = fresh(rig, prompt, max_tokens=40)
    other = (rig.tokens("word " * 1100))[:1008]
    assert rig.ask(other, max_tokens=1)[1].finish in ("stop", "length")
    _, heard = after_some_tokens(rig, prompt, max_tokens=40)

    def move() -> tuple[int, int]:
        rig.engine.admission.forget()
        before = cells.reach - cells.used
        rig.engine.admission.tidy(1e9)
        return before, cells.reach - cells.used

    before, after = rig.between_steps(move)
    assert (before >= 512, after) == (True, 0)
    assert heard.finish in ("stop", "length")
    assert heard.text == alone


# --- sampling -------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_text_again_and_another_seed_another(starter):
    def said(seed: int) -> str:
        return fresh(starter, STORY, max_tokens=24, temperature=1.2, top_p=0.95, seed=seed)

    assert said(1) == said(1)
    assert len({said(1), said(2), said(3)}) > 1


def test_text_is_never_cut_inside_a_character(starter):
    prompt = chat("Repeat exactly: 🐦 naïve 日本語 🎈")
    _, heard = starter.ask(prompt, max_tokens=40, logprobs=0)
    assert heard.finish in ("stop", "length")
    raw = b"".join(entry.text for chunk in heard.chunks for entry in chunk.logprobs)
    assert heard.text == raw.decode("utf-8", "replace")


def test_a_grammar_binds_from_the_first_token(starter):
    grammar = 'root ::= "{\\"answer\\": " ("true" | "false") "}"'
    assert fresh(starter, chat("Is water wet?"), grammar=grammar) in (
        '{"answer": true}',
        '{"answer": false}',
    )


def test_a_grammar_with_a_trigger_sleeps_until_then(starter):
    first, then = "Well, ", "<call>"
    grammar = 'root ::= "<call>" [0-9] [0-9] "</call>"'
    prompt = chat("Say Well") + first
    free = fresh(starter, prompt, max_tokens=20)
    asleep = fresh(starter, prompt, max_tokens=20, grammar=grammar, trigger="\x00never")
    assert asleep == free
    # the reply is led to the trigger by a text that has said it often
    led = "1 <call>12</call> 2 <call>13</call> 3 <call>14</call> 4"
    bound = fresh(starter, led, max_tokens=30, grammar=grammar, trigger=then)
    before, _, call = bound.partition(then)
    assert "</call>" not in before
    assert len(call) == len("15</call>")
    assert call[:2].isdigit()
    assert call.endswith("</call>")


def test_a_token_that_runs_over_the_trigger_must_fit_the_grammar(starter):
    """llama.cpp would end the whole process."""
    grammar = 'root ::= "e" "Q" [a-z]'
    text = fresh(starter, "The the the the the", max_tokens=20, grammar=grammar, trigger="e")
    assert "eQ" in text
    assert len(text.partition("eQ")[2]) == 1
    assert "e" not in text.partition("eQ")[0]


def test_a_grammar_that_leads_nowhere_is_an_error_of_its_sequence_alone(starter):
    _, wrong = starter.ask("hi", grammar="root ::= (")
    assert wrong.finish == "error"
    assert str(wrong.last.error) == "The grammar cannot be parsed."
    bias = dict.fromkeys(range(starter.runtime.info.vocab), -math.inf)
    _, stuck = starter.ask("hi", grammar='root ::= "x"', logit_bias=bias)
    assert stuck.finish == "error"
    assert starter.ask("hi", max_tokens=2)[1].finish == "length"


def test_a_grammar_is_refused_by_the_runtime_in_a_sentence(starter):
    def refused() -> str:
        try:
            starter.runtime.sampler(SamplingParams(grammar="nonsense"), [1])
        except GrammarError as error:
            return str(error)
        return ""

    assert starter.between_steps(refused) == "The grammar cannot be parsed."


def test_a_bias_forces_and_forbids_tokens(starter):
    (yes,) = starter.tokens("yes")
    forced = fresh(starter, STORY, max_tokens=3, logit_bias={yes: 100.0, 10**9: 1.0})
    assert forced == "yesyesyes"
    first = fresh(starter, STORY, max_tokens=1)
    (token,) = starter.tokens(first)
    assert fresh(starter, STORY, max_tokens=1, logit_bias={token: -100.0}) != first


@pytest.mark.parametrize(
    "params",
    [
        {"repeat_penalty": 1.5},
        {"frequency_penalty": 2.0},
        {"presence_penalty": 2.0},
        {"dry_multiplier": 2.0},
    ],
)
def test_penalties_stop_a_text_from_repeating_itself(starter, params):
    prompt = "one two three one two three one two three one two three one two"
    plain = fresh(starter, prompt, max_tokens=12)
    assert "one two three" in plain
    assert fresh(starter, prompt, max_tokens=12, **params) != plain


def test_log_probabilities_are_those_of_a_distribution(starter):
    _, heard = starter.ask(STORY, max_tokens=5, logprobs=20)
    assert heard.finish in ("stop", "length")
    for chunk in heard.chunks:
        for entry in chunk.logprobs:
            chances = [math.exp(logprob) for _, _, logprob in entry.top]
            assert chances == sorted(chances, reverse=True)
            assert 0 < sum(chances) <= 1 + 1e-9
            assert entry.token == entry.top[0][0]  # greedy
            assert entry.logprob == entry.top[0][2]


def test_a_stop_string_ends_the_text_before_it(starter):
    whole = fresh(starter, STORY, max_tokens=40)
    stop = whole[10:14]
    assert fresh(starter, STORY, max_tokens=40, stop=(stop,)) == whole[: whole.index(stop)]


def test_a_full_window_ends_a_reply_with_length(starter):
    prompt = starter.tokens("word " * 1010)[:1010]
    _, heard = starter.ask(prompt, ignore_end=True)
    assert heard.finish == "length"
    assert heard.last.usage.completion_tokens == 1024 - 1010


# --- the model file -------------------------------------------------------------------------------


def test_what_is_known_of_a_model_is_read_from_its_file(starter, gemma):
    assert starter.runtime.info.can_rewind
    assert not starter.runtime.info.adds_bos
    assert "im_start" in starter.runtime.info.template
    assert starter.runtime.info.window == 1024
    assert not gemma.runtime.info.can_rewind
    assert gemma.runtime.info.adds_bos
    assert gemma.runtime.info.bos == "<bos>"
    assert starter.runtime.info.fingerprint != gemma.runtime.info.fingerprint


@pytest.mark.parametrize(
    "text", ["Hello world", "naïve 日本語 🐦\n\tx  y", "", " lead", "<|im_end|>"]
)
def test_tokens_spell_their_text(starter, text):
    tokens = starter.runtime.tokenize(text, special=True)
    assert b"".join(starter.runtime.piece(t, special=True) for t in tokens) == text.encode()


def test_a_missing_or_damaged_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ModelMissing, match="There is no model file"):
        LlamaRuntime(tmp_path / "none.gguf", EngineConfig())
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelCorrupt, match=r"cannot load bad\.gguf"):
        LlamaRuntime(tmp_path / "bad.gguf", EngineConfig())


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        (
            b"ggml_backend_cuda: allocating 9 MiB: cudaMalloc failed: out of memory",
            ModelTooLarge,
        ),
        (b"llama_model_load: error: unable to allocate CUDA0 buffer", ModelTooLarge),
        (b"ggml_vulkan: Device memory allocation of size 9 failed.", ModelTooLarge),
        (b"llama_model_load: error: unknown model architecture: 'x'", ModelCorrupt),
        (b"llama_model_load: error: tensor 'a' data is not within the file bounds", ModelCorrupt),
    ],
)
def test_a_load_that_fails_for_memory_is_not_called_damage(
    starter_weights, monkeypatch, complaint, kind
):
    def load(_path, _params):
        llama._forward_log(4, complaint, None)

    monkeypatch.setattr(llama.C, "llama_model_load_from_file", load)
    with pytest.raises(kind):
        LlamaRuntime(starter_weights, EngineConfig(window=256))


def test_a_row_is_as_it_was_after_a_grammar_left_no_token(starter_weights):
    runtime = LlamaRuntime(starter_weights, EngineConfig(window=256, cells=256))
    try:
        params = SamplingParams(grammar='root ::= "<t>"', trigger="<t>")
        sampler = runtime.sampler(params, [])
        runtime.decode([Run(0, 0, runtime.tokenize("Hello", special=True), True)])
        row = 0
        before = runtime.logits(row).copy()
        sampler._wakes_well = lambda _tail: False
        with pytest.raises(GrammarError):
            sampler.sample(runtime, row)
        assert np.array_equal(runtime.logits(row), before)
        sampler.close()
    finally:
        runtime.close()


def test_a_grammar_that_takes_too_long_ends_its_own_reply_only(starter, monkeypatch):
    monkeypatch.setattr(limits, "GRAMMAR_SECONDS", 0.0)
    heard = starter.ask("Go on:", grammar='root ::= "a" | "b"', max_tokens=5)[1]
    assert heard.finish == "error"
    assert "takes too long" in str(heard.last.error)
    monkeypatch.undo()
    assert starter.ask("Go on:", max_tokens=5)[1].finish in ("stop", "length")


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
def test_a_token_drawn_from_the_likeliest_is_the_one_drawn_from_all(starter, temperature):
    """What llama.cpp picks when it is handed the whole vocabulary, for many seeds."""

    def differ() -> list[int]:
        runtime, cells = starter.runtime, starter.engine.admission.cells
        slot, tokens = cells.take_slot(), starter.tokens(STORY)
        row = runtime.decode([Run(slot, 0, tokens, True)])[0]
        cells.append(slot, tokens)
        wrong = []
        for seed in range(40):
            params = SamplingParams(
                temperature=temperature, top_k=40, top_p=0.95, min_p=0.01, seed=seed
            )
            short, whole = runtime.sampler(params, tokens), runtime.sampler(params, tokens)
            assert short._shortlist in (1, 40)
            whole._shortlist = 0
            if [short.sample(runtime, row) for _ in range(3)] != [
                whole.sample(runtime, row) for _ in range(3)
            ]:
                wrong.append(seed)
            short.close()
            whole.close()
        cells.release(slot)
        return wrong

    assert starter.between_steps(differ) == []
