"""How a text is brought back decides whether it is used: the same facts in several forms.

For each fact a question that only it answers. The fact stands before or behind the question, with
other words around it; the replies are greedy, as the agent's are. ``recall_format`` is the form
that llmos uses (``memory/recall.py``); the controls are the best and the worst of the others, and
the question alone. The facts and questions are made up here, and short: it is the form that is on
trial.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmos.bench.harness import say
from llmos.bench.memory.scope import MemoryBench
from llmos.boot import processor
from llmos.config import AgentConfig, Config, EngineConfig
from llmos.engine.backend import Backend, SamplingParams
from llmos.events import Message

__all__ = ["ALONE", "FORMS", "OURS", "QUESTIONS", "measure"]

WINDOW, REPLY_TOKENS = 2048, 50
SYSTEM = "You are a helpful assistant. Answer briefly and truthfully."
OURS, ALONE = "context, quoted, before", "the question alone"
_SOURCE = "m1, 2026-11-22"
#: The forms tried, by a name for each.
FORMS = {
    OURS: f'Context ({_SOURCE}): "{{fact}}"\n\n{{question}}',
    "context, before": f"Context ({_SOURCE}): {{fact}}\n\n{{question}}",
    "told, before": "I told you on 2026-11-22: {fact}\n\n{question}",
    "nothing around it, before": "{fact}\n\n{question}",
    "context, behind": f"{{question}}\n\nContext ({_SOURCE}): {{fact}}",
    "told, behind": "{question}\n\nI told you on 2026-11-22: {fact}",
    "note, behind": "{question}\n\nNote m1 of 2026-11-22: {fact}",
    "id, behind": "{question}\n\n[m1, remembered, 2026-11-22]\n{fact}",
    ALONE: "{question}",
}
#: A fact, a question, and what a right answer holds.
QUESTIONS = (
    ("My sister Anna lives in Lisbon.", "Where does my sister live?", "lisbon"),
    ("My favourite colour is green.", "What is my favourite colour?", "green"),
    ("Wifi password: horse-battery-42", "What is my wifi password?", "horse-battery-42"),
    ("The boat is moored in Setubal.", "Where is the boat moored?", "setubal"),
    ("My dog is called Bruno and loves carrots.", "What is my dog called?", "bruno"),
    ("I am allergic to peanuts.", "What am I allergic to?", "peanut"),
    ("My birthday is on 14 March.", "When is my birthday?", "14 march"),
    ("I work as an architect at Mota.", "What is my job?", "architect"),
    ("Our budget for the garden is 2,400 euros.", "What is our garden budget?", "2,400"),
    ("The meeting with Paul was moved to Friday.", "When is the meeting with Paul?", "friday"),
    ("My car is a red Fiat Panda from 2009.", "What car do I drive?", "fiat"),
    ("My doctor is Dr. Weiss in Baker Street.", "Who is my doctor?", "weiss"),
    ("The spare key is under the blue pot.", "Where is the spare key?", "blue pot"),
    ("My train leaves from platform 7.", "Which platform does my train leave from?", "7"),
    ("I weigh 81 kilograms.", "How much do I weigh?", "81"),
    ("My daughter Ines plays the cello.", "What does my daughter play?", "cello"),
)


async def measure(bench: MemoryBench) -> None:
    """The group's figures."""
    questions = QUESTIONS[: bench.samples_of(len(QUESTIONS))]
    engine = EngineConfig(model=bench.model, window=WINDOW, swap_disk_bytes=0)
    backend, _ = processor(Config(engine=engine, state=bench.home))
    await backend.start()
    try:
        right = {name: await _right(backend, form, questions) for name, form in FORMS.items()}
    finally:
        await backend.close()
    others = {name: count for name, count in right.items() if name not in (OURS, ALONE)}
    bench.samples["recall_format"] = {"right": right, "of": len(questions)}
    for key, count in (
        ("recall_format", right[OURS]),
        ("recall_format_best", max(others.values())),
        ("recall_format_worst", min(others.values())),
        ("recall_format_alone", right[ALONE]),
    ):
        bench.found(key, count / len(questions), questions=len(questions), forms=len(others))


async def _right(backend: Backend, form: str, questions: Sequence[tuple[str, str, str]]) -> int:
    """How many questions are answered rightly."""
    config, right = AgentConfig(), 0
    params = SamplingParams(
        max_tokens=REPLY_TOKENS,
        dry_multiplier=config.dry_multiplier,
        dry_allowed_length=4,
        dry_breakers=(),
        dry_last_n=512,
        penalize_prompt=False,
    )
    for fact, question, answer in questions:
        shown = form.format(fact=fact, question=question)
        prompt = await backend.prompt([Message("system", SYSTEM), Message("user", shown)])
        [generation] = backend.generate(prompt, params)
        said = "".join([chunk.text async for chunk in generation])
        right += answer in said.lower()
    say(f"  {right} of {len(questions)}: {form!r}")
    return right
