from __future__ import annotations

import asyncio
import enum
import logging
import threading
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal

import pytest

from llmos import limits, paths, sdk
from llmos.door import rows, schema, tools
from llmos.door.tools import load_all
from llmos.errors import CallFailed, CallTimeout, InvalidArguments
from llmos.sdk import Context, Length, Pattern, Range, Result, Verbatim

MANIFEST = """
name = "{name}"
version = "1.0"
summary = "A tool."

[[call]]
function = "{function}"
description = "Does it."
effect = "pure"
{more}
"""


@pytest.fixture
def make(tmp_path: Path):
    """Write a tool and load it alone."""

    def write(code: str, *, name: str = "probe", function: str = "run", more: str = "", **files):
        folder = tmp_path / "tools" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tool.toml").write_text(
            MANIFEST.format(name=name, function=function, more=more), "utf-8"
        )
        (folder / "__init__.py").write_text(dedent(code), "utf-8")
        for file, text in files.items():
            (folder / f"{file}.py").write_text(dedent(text), "utf-8")
        return folder

    return write


@pytest.fixture
def load(make, tmp_path: Path):
    def loaded(code: str, **options: Any) -> tools.Call:
        make(code, **options)
        found = load_all([tmp_path / "tools"])
        assert not found.broken, found.broken
        return next(iter(found.calls.values()))

    return loaded


@pytest.fixture
def broken(make, tmp_path: Path):
    def sentence(code: str, **options: Any) -> str:
        make(code, **options)
        found = load_all([tmp_path / "tools"])
        assert not found.tools
        return found.broken[0].sentence

    return sentence


# --- loading ----------------------------------------------------------------------------------


def test_every_bundled_tool_loads():
    found = load_all([paths.bundled("tools")])
    assert not found.broken
    assert {"calculator.evaluate", "clock.now", "clock.add", "clock.between"} <= set(found.calls)


def test_bundled_calls_say_enough_to_be_chosen_by_meaning():
    for call in load_all([paths.bundled("tools")]).calls.values():
        assert call.description
        assert len(call.examples) >= 3, call.name
        assert call.worked, call.name
        # Code and commands have a clock of their own, which stands still while a person is asked.
        longest = limits.TOOL_SECONDS_MAX if call.name in ("python.run", "shell.run") else 0
        assert call.timeout <= max(longest, limits.CALL_SECONDS), call.name
        assert len(call.schema["properties"]) <= 3, call.name


def test_a_call_carries_what_its_manifest_says(load):
    call = load(
        '''
        def run(text: str) -> str:
            """Repeat.

            Args:
                text: What to repeat.
            """
            return text
        ''',
        more='timeout = 2.5\nsay = "It says {result}"\nexamples = ["say hello", "say it"]\n'
        'worked = { question = "Repeat x", arguments = { text = "x" }, result = "x" }',
    )
    assert call.name == "probe.run"
    assert call.description == "Does it."
    assert call.effect == "pure"
    assert call.timeout == 2.5
    assert call.examples == ("say hello", "say it")
    assert call.worked[0].arguments == {"text": "x"}
    assert call.schema == {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "What to repeat."}},
        "required": ["text"],
        "additionalProperties": False,
    }
    assert call.function_schema["function"]["parameters"] is call.schema


def test_the_docstring_describes_a_call_whose_manifest_does_not(make, tmp_path):
    folder = make('def run() -> str:\n    """Say hello\n    to all."""\n    return ""\n')
    manifest = (folder / "tool.toml").read_text().replace('description = "Does it."\n', "")
    (folder / "tool.toml").write_text(manifest)
    assert load_all([tmp_path / "tools"]).calls["probe.run"].description == "Say hello to all."


def test_a_tool_may_be_a_package_with_modules_of_its_own(load):
    call = load(
        "from .helper import answer\ndef run() -> str:\n    return answer()\n",
        helper="def answer():\n    return 'from the helper'\n",
    )
    assert asyncio.run(call.run({})).text == "from the helper"


def test_two_loads_do_not_share_modules(make, tmp_path):
    make("count = []\ndef run() -> int:\n    count.append(1)\n    return len(count)\n")
    first, second = (load_all([tmp_path / "tools"]).calls["probe.run"] for _ in range(2))
    assert asyncio.run(first.run({})).data == 1
    assert asyncio.run(first.run({})).data == 2
    assert asyncio.run(second.run({})).data == 1


def test_one_broken_tool_is_listed_and_the_rest_load(make, tmp_path):
    make("def run() -> str:\n    return ''\n", name="good")
    make("def run( -> str:", name="bad")
    found = load_all([tmp_path / "tools"])
    assert [tool.name for tool in found.tools] == ["good"]
    assert [(item.name, item.sentence) for item in found.broken] == [
        ("bad", "__init__.py is not valid Python (line 1).")
    ]


def test_the_first_of_two_tools_with_one_name_wins(make, tmp_path):
    folder = make("def run() -> str:\n    return 'first'\n")
    other = tmp_path / "mine" / "probe"
    other.mkdir(parents=True)
    for file in folder.iterdir():
        if file.is_file():
            (other / file.name).write_text(file.read_text().replace("first", "second"))
    found = load_all([tmp_path / "tools", tmp_path / "mine"])
    assert asyncio.run(found.calls["probe.run"].run({})).text == "first"
    assert "already loaded" in found.broken[0].sentence


def test_folders_that_are_missing_hidden_or_private_are_skipped(make, tmp_path):
    make("def run() -> str:\n    return ''\n", name="_private")
    (tmp_path / "tools" / ".git").mkdir()
    (tmp_path / "tools" / "README.md").write_text("no tool")
    assert load_all([tmp_path / "nowhere", tmp_path / "tools"]) == tools.Loaded()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("import llmos", "llmos"),
        ("import llmos.engine.backend", "llmos.engine.backend"),
        ("from llmos import errors", "llmos.errors"),
        ("from llmos.kernel import monitor", "llmos.kernel"),
        ("def hidden():\n    from llmos.limits import SLOTS", "llmos.limits"),
        ("import json, llmos.paths as p", "llmos.paths"),
    ],
)
def test_a_tool_that_imports_llmos_beyond_the_sdk_is_refused(broken, line, shown):
    sentence = broken(f"{line}\ndef run() -> str:\n    return ''\n")
    assert sentence == f"__init__.py imports {shown}; a tool may import only llmos.sdk of llmos."


def test_the_import_rule_holds_for_every_file_of_a_tool_and_before_any_runs(broken, tmp_path):
    mark = tmp_path / "ran"
    sentence = broken(
        f"open({str(mark)!r}, 'w').close()\ndef run() -> str:\n    return ''\n",
        helper="from llmos import kernel\n",
    )
    assert sentence.startswith("helper.py imports llmos.kernel")
    assert not mark.exists()


@pytest.mark.parametrize("line", ["import llmos.sdk", "from llmos import sdk", "import llmoss"])
def test_the_sdk_and_other_peoples_modules_are_allowed(make, tmp_path, line):
    make(f"def late():\n    {line}\ndef run() -> str:\n    return ''\n")
    assert load_all([tmp_path / "tools"]).tools


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise ValueError('no')", "probe cannot be imported (ValueError: no)."),
        ("import sys; sys.exit(3)", "probe cannot be imported (RuntimeError: it raised SystemExit"),
        ("import no_such_x", "probe needs the module no_such_x, which is not installed."),
        ("x = 1", "The manifest names probe.run, but __init__.py has no such function."),
        ("run = 3", "The manifest names probe.run, but __init__.py has no such function."),
        ("def run(a): return a", "The argument a of run has no type hint."),
        ("def run(a: set) -> str: ...", "The argument a of run: the type set is not supported."),
        ("def run(a: int | str) -> str: ...", "only unions with None are supported."),
        ("def run(*a: int) -> str: ...", "run takes *a; every argument needs a name."),
        ("def run(a: Nope) -> str: ...", "The type hints of run cannot be read"),
        ("\0", "__init__.py is not valid Python"),
        ("(" * 5000, "__init__.py is not valid Python"),
    ],
)  # fmt: skip
def test_a_broken_tool_says_in_one_sentence_what_is_wrong(broken, code, sentence):
    if "Nope" in code:
        code = "from __future__ import annotations\n" + code
    assert sentence in broken(code)


def test_a_docstring_that_describes_no_argument_of_the_function_is_a_mistake(broken):
    code = '''
    def run(a: int) -> str:
        """Do.

        Args:
            b: What is this?
        """
    '''
    assert broken(code) == "The docstring of run describes b, which it lacks."


def test_a_tool_that_never_finishes_importing_does_not_keep_the_system_from_starting(
    broken, monkeypatch
):
    monkeypatch.setattr(limits, "TOOL_LOAD_SECONDS", 0.05)
    code = "import threading\nthreading.Event().wait(30)\n"
    assert broken(code) == "probe takes too long to import."


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "probe"', 'name = "other"', "is named “other”, but its folder “probe”"),
        ('name = "probe"', 'name = "Pro be"', "must be of a-z"),
        ('name = "probe"', "", "lacks “name”"),
        ('version = "1.0"', 'version = "one"', "The version “one” is none."),
        ('summary = "A tool."', 'summary = ""', "is empty"),
        ('effect = "pure"', 'effect = "magic"', "must be one of pure, read, write"),
        ('effect = "pure"', "", "lacks “effect”"),
        ('effect = "pure"', 'effect = "pure"\ntimeout = 0', "must be above 0"),
        ('effect = "pure"', 'effect = "pure"\ntimeout = nan', "must be above 0"),
        ('effect = "pure"', 'effect = "pure"\ntimeout = true', "must be above 0"),
        ('effect = "pure"', 'effect = "pure"\ncolour = "red"', "unknown key “colour”"),
        ('effect = "pure"', 'effect = "pure"\nexamples = [3]', "must be questions"),
        ('effect = "pure"', 'effect = "pure"\nsay = "{a.b}"', "only names in braces"),
        ('effect = "pure"', 'effect = "pure"\nsay = "{a!r}"', "only names in braces"),
        ('effect = "pure"', 'effect = "pure"\nworked = 3', "must be a list"),
        ('effect = "pure"', 'effect = "pure"\nworked = [3]', "must be a table"),
        ("[[call]]", "[[call", "cannot be read"),
        ('effect = "pure"', f"effect = {'9' * 5000}", "cannot be read"),
        ('effect = "pure"', f"effect = {'[' * 5000}", "cannot be read"),
        ("[[call]]", "[call]", "has no such function"),
        (
            'effect = "pure"',
            'effect = "pure"\nworked = { question = "q", arguments = { x = 1 }, result = "r" }',
            "The worked example of probe.run does not fit: There is no argument “x”.",
        ),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(make, tmp_path, old, new, sentence):
    folder = make("def ran() -> str:\n    return ''\n" if new == "[call]" else
                  "def run() -> str:\n    return ''\n")  # fmt: skip
    file = folder / "tool.toml"
    file.write_text(file.read_text().replace(old, new))
    assert sentence in load_all([tmp_path / "tools"]).broken[0].sentence


def test_a_manifest_of_absurd_size_or_encoding_is_refused(make, tmp_path):
    file = make("def run() -> str:\n    return ''\n") / "tool.toml"
    file.write_bytes(b"#" * (limits.TOOL_MANIFEST_BYTES + 1))
    assert "too large" in load_all([tmp_path / "tools"]).broken[0].sentence
    file.write_bytes(b"\xff\xfe")
    assert "cannot be read" in load_all([tmp_path / "tools"]).broken[0].sentence


# --- schemas ----------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def test_type_hints_and_docstring_become_the_schema():
    def function(
        a: str,
        b: int,
        c: float,
        d: bool,
        e: list[int],
        f: dict[str, float],
        g: Literal["x", "y"],
        h: Colour,
        i: Annotated[int, Range(1, 9)],
        j: Annotated[str, Pattern("[a-z]+"), Length(1, 5)],
        k: Annotated[list[str], Length(maximum=3)],
        context: Context,
        m: str | None = None,
        n: dict[str, Any] | None = None,
        o: list = (),  # type: ignore[assignment, type-arg]
    ) -> str:
        """Do much. Really.

        A second paragraph.

        Args:
            a: The first,
                on two lines.
            b (int): The second: with a colon.

        Returns:
            x: No argument.
        """
        return ""

    read = schema.read(function)
    assert read.summary == "Do much. Really."
    assert read.context == "context"
    assert read.schema["properties"] == {
        "a": {"type": "string", "description": "The first, on two lines."},
        "b": {"type": "integer", "description": "The second: with a colon."},
        "c": {"type": "number"},
        "d": {"type": "boolean"},
        "e": {"type": "array", "items": {"type": "integer"}},
        "f": {"type": "object", "additionalProperties": {"type": "number"}},
        "g": {"type": "string", "enum": ["x", "y"]},
        "h": {"type": "string", "enum": ["red", "blue"]},
        "i": {"type": "integer", "minimum": 1, "maximum": 9},
        "j": {"type": "string", "pattern": "^(?:[a-z]+)$", "minLength": 1, "maxLength": 5},
        "k": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "m": {"type": "string"},
        "n": {"type": "object", "additionalProperties": True},
        "o": {"type": "array"},
    }
    assert read.schema["required"] == list("abcdefghijk")
    assert read.schema["additionalProperties"] is False


def test_arguments_copied_from_the_persons_words_are_marked():
    def function(
        a: Annotated[str, Verbatim(also=("today",))], b: Annotated[str, Verbatim()], c: str
    ) -> str:
        return ""

    assert schema.read(function).verbatim == {"a": Verbatim(also=("today",)), "b": Verbatim()}


def take(
    count: Annotated[int, Range(1, 9)] = 1,
    size: float = 0.0,
    sure: bool = False,
    text: Annotated[str, Length(1, 5), Pattern("[a-z]*")] = "x",
    items: Annotated[list[int], Length(maximum=2)] = [],  # noqa: B006
    table: dict[str, int] = {},  # noqa: B006
    colour: Colour = Colour.RED,
    step: Literal[1, 2] = 1,
    maybe: int | None = None,
) -> str:
    return ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": "3"}, "count is “3”; it must be a whole number."),
        ({"count": True}, "count is True; it must be a whole number."),
        ({"count": 2.5}, "count is 2.5; it must be a whole number."),
        ({"count": 0}, "count is 0; it must be 1 or more."),
        ({"count": 10}, "count is 10; it must be 9 or less."),
        ({"count": None}, "count is None; it must be a whole number."),
        ({"size": "1"}, "size is “1”; it must be a number."),
        ({"size": float("nan")}, "size must be a finite number."),
        ({"size": 10**400}, "size is too large."),
        ({"sure": 1}, "sure is 1; it must be true or false."),
        ({"text": ""}, "text is empty."),
        ({"text": "abcdef"}, "text must have at most 5 characters."),
        ({"text": "ABC"}, "text is “ABC”; it must match [a-z]*."),
        ({"items": [1, "2"]}, "items[1] is “2”; it must be a whole number."),
        ({"items": [1, 2, 3]}, "items must have at most 2 items."),
        ({"items": "1"}, "items is “1”; it must be a list."),
        ({"table": {"a": "b"}}, "table.a is “b”; it must be a whole number."),
        ({"table": {1: 2}}, "table has a key that is not text."),
        ({"colour": "green"}, "colour is “green”; it must be one of red, blue."),
        ({"step": True}, "step is True; it must be one of 1, 2."),
        ({"maybe": "x"}, "maybe is “x”; it must be a whole number."),
        ({"other": 1}, "There is no argument “other”."),
    ],
)
def test_a_wrong_argument_is_named(arguments, sentence):
    with pytest.raises(InvalidArguments) as caught:
        schema.read(take).check(arguments)
    assert caught.value.sentence == sentence


def test_right_arguments_become_what_the_function_wants():
    checked = schema.read(take).check(
        {"count": 5.0, "size": 1, "colour": "blue", "maybe": None, "items": [1]}
    )
    assert checked == {"count": 5, "size": 1.0, "colour": Colour.BLUE, "maybe": None, "items": [1]}
    assert type(checked["count"]) is int
    assert type(checked["size"]) is float


def test_a_missing_argument_is_named():
    def function(a: int) -> str:
        return ""

    with pytest.raises(InvalidArguments, match="The argument a is missing"):
        schema.read(function).check({})


# --- running ----------------------------------------------------------------------------------


async def test_text_data_and_results_come_back(load):
    call = load("def run(n: int) -> object:\n    return ['text', {'a': 1}, None][n]\n")
    assert await call.run({"n": 0}) == Result("text")
    assert await call.run({"n": 1}) == Result('{"a": 1}', {"a": 1})
    assert await call.run({"n": 2}) == Result("null")


async def test_a_sync_function_runs_in_a_thread_and_an_async_one_beside_the_callers_loop(
    load, make, tmp_path
):
    code = "import threading\n{} run() -> str:\n    return threading.current_thread().name\n"
    sync = await load(code.format("def")).run({})
    make(code.format("async def"), name="other")
    call = load_all([tmp_path / "tools"]).calls["other.run"]
    names = {threading.current_thread().name, sync.text, (await call.run({})).text}
    assert len(names) == 3
    assert (await call.run({})).text in names  # one loop for all async tools


async def test_arguments_are_checked_before_anything_runs(load):
    call = load("def run(n: int) -> str:\n    raise AssertionError\n")
    with pytest.raises(InvalidArguments, match="n is “1”"):
        await call.run({"n": "1"})


async def test_what_a_tool_says_is_wrong_reaches_the_model(load):
    call = load(
        "from llmos.sdk import ToolError\n"
        "def run() -> str:\n    raise ToolError('No such city.', 'Try Paris.')\n"
    )
    with pytest.raises(CallFailed) as caught:
        await call.run({})
    assert str(caught.value) == "No such city. Try Paris."


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    "statement",
    [
        "raise ValueError('secret')",
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "raise StopIteration",
        "raise TimeoutError('its own')",
        "import asyncio; raise asyncio.CancelledError",
        "raise RecursionError",
        "return object()",
        "return float('nan')",
        "from llmos.sdk import Result; return Result('x', object())",
        "from llmos.sdk import Result; return Result(3)",
    ],
)
async def test_a_tool_that_breaks_is_an_error_of_that_call_only(load, caplog, kind, statement):
    call = load(f"{kind} run() -> object:\n    {statement}\n")
    with caplog.at_level(logging.ERROR), pytest.raises(CallFailed) as caught:
        await call.run({})
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("probe.run ")


async def test_the_traceback_of_a_broken_tool_goes_to_the_log(load, caplog):
    call = load("def run() -> str:\n    raise ValueError('the secret')\n")
    with pytest.raises(CallFailed):
        await call.run({})
    assert "the secret" in caplog.text


async def test_a_result_beyond_the_limit_is_an_error(load, monkeypatch):
    monkeypatch.setattr(limits, "CALL_RESULT_CHARS", 10)
    call = load("def run() -> str:\n    return 'x' * 11\n")
    with pytest.raises(CallFailed, match="too long"):
        await call.run({})


@pytest.mark.parametrize("begin", ["def", "async def"])
async def test_a_stream_without_end_and_data_without_bottom_are_no_results(
    load, begin, monkeypatch
):
    monkeypatch.setattr(limits, "CALL_RESULT_CHARS", 100)
    stream = load(f"{begin} run() -> str:\n    while True:\n        yield 'x'\n")
    with pytest.raises(CallFailed, match="too long: over 100 characters"):
        await stream.run({})
    deep = load(
        "from llmos.sdk import Result\n\n\n"
        f"{begin} run() -> Result:\n"
        "    deep = []\n    for _ in range(100_000):\n        deep = [deep]\n"
        "    return Result('x', deep)\n"
    )
    with pytest.raises(CallFailed, match=r"internal error \(RecursionError\)"):
        await deep.run({})


async def test_a_call_beyond_its_time_limit_ends_and_is_told_so(load):
    call = load(
        """
        import threading
        from llmos.sdk import Context
        told = threading.Event()
        def run(context: Context) -> str:
            while not context.cancelled():
                threading.Event().wait(0.001)
            told.set()
            return "late"
        """,
        more="timeout = 0.05",
    )
    with pytest.raises(CallTimeout, match=r"probe.run took longer than 0.05 s"):
        await call.run({})
    told = call._function.__globals__["told"]
    assert await asyncio.to_thread(told.wait, 10)


async def test_an_async_call_beyond_its_time_limit_is_cancelled(load):
    call = load(
        """
        import asyncio, threading
        ended = threading.Event()
        async def run() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return ""
        """,
        more="timeout = 0.05",
    )
    with pytest.raises(CallTimeout):
        await call.run({})
    ended = call._function.__globals__["ended"]
    assert await asyncio.to_thread(ended.wait, 10)


async def test_cancelling_the_caller_tells_the_tool(load):
    call = load(
        """
        import threading
        from llmos.sdk import Context
        begun, told = threading.Event(), threading.Event()
        def run(context: Context) -> str:
            begun.set()
            while not context.cancelled():
                threading.Event().wait(0.001)
            told.set()
            return ""
        """
    )
    names = call._function.__globals__
    task = asyncio.create_task(call.run({}))
    await asyncio.to_thread(names["begun"].wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(names["told"].wait, 10)


async def test_hung_calls_do_not_keep_others_from_running(make, tmp_path):
    make(
        "import threading\ndef run(hang: bool) -> str:\n"
        "    if hang:\n        threading.Event().wait(60)\n    return 'ok'\n",
        more="timeout = 0.05",
    )
    call = load_all([tmp_path / "tools"]).calls["probe.run"]
    hung = await asyncio.gather(
        *(call.run({"hang": True}) for _ in range(40)), return_exceptions=True
    )
    assert all(isinstance(error, CallTimeout) for error in hung)
    assert (await call.run({"hang": False})).text == "ok"


async def test_the_context_is_given_and_is_no_argument(load):
    call = load(
        "from llmos.sdk import Context\n"
        "def run(context: Context) -> str:\n    return context.zone\n"
    )
    assert call.schema["properties"] == {}
    assert (await call.run({}, sdk.Context(zone="Asia/Tokyo"))).text == "Asia/Tokyo"
    with pytest.raises(InvalidArguments):
        await call.run({"context": "x"})


async def test_a_task_that_exits_does_not_end_the_loop_that_async_tools_share(load):
    call = load(
        """
        import asyncio
        async def leave():
            raise SystemExit(3)
        async def run(leaving: bool) -> str:
            if leaving:
                task = asyncio.get_running_loop().create_task(leave())
                task.add_done_callback(lambda task: task.exception())
                await asyncio.sleep(0)
            return "here"
        """
    )
    assert (await call.run({"leaving": True})).text == "here"
    assert (await call.run({"leaving": False})).text == "here"


# --- stating results --------------------------------------------------------------------------


def test_a_result_is_stated_by_the_manifests_sentence(load):
    call = load("def run(a: str) -> str:\n    return a\n", more='say = "{a} makes {result} or {b}"')
    assert call.phrases({"a": "x"}, Result("y", {"b": 3})) == ("X makes y or 3",)
    assert call.phrases({"a": "{b}"}, Result("y", {"b": 3})) == ("{b} makes y or 3",)


def test_a_sentence_that_lacks_a_value_is_left_out(load):
    more = 'say = ["{a} in {place}", "it is {result}"]'
    call = load("def run(a: str = '') -> str:\n    return a\n", more=more)
    assert call.phrases({}, Result("the text")) == ("It is the text",)
    assert call.phrases({"a": "x"}, Result("the text", {"place": ""})) == ("It is the text",)


@pytest.mark.parametrize(
    "statement",
    [
        "return 'a\\ud800b'",
        "return sdk.Result('a\\ud800b', {'n': ['a\\ud800b']})",
        "return {'n': ['a\\ud800b']}",
    ],
)
async def test_half_a_surrogate_pair_in_a_result_becomes_a_question_mark(load, statement):
    result = await load(f"from llmos import sdk\ndef run() -> object:\n    {statement}\n").run({})
    assert "a?b" in result.text
    assert result.data in (None, {"n": ["a?b"]})


def test_what_a_message_wants_and_does_not_get_is_owned_up_to_in_the_tools_words(load):
    more = 'wished = ["roll a die"]\nundone = "No die was rolled."'
    call = load("def run() -> str:\n    return 'Five.'", more=more)
    made = rows.row(call, Context())
    assert made.left_undone("Please roll a die for Ann.") == "No die was rolled."
    assert made.left_undone("can you roll a diet?") == ""
    assert made.left_undone("why would anybody roll a die?") == ""


@pytest.mark.parametrize("more", ['wished = ["roll"]', 'undone = "Nothing."'])
def test_a_wish_without_its_sentence_is_a_mistake(make, tmp_path: Path, more: str):
    make("def run() -> str:\n    return ''", more=more)
    [broken] = load_all([tmp_path / "tools"]).broken
    assert broken.sentence == "“wished” and “undone” of run go together."


@pytest.mark.parametrize("said", ["set a reminder for then", "Remind me to call mum."])
def test_a_reminder_without_a_time_is_said_not_to_be_set(said: str):
    call = load_all([paths.bundled("tools")]).calls["timer.set"]
    assert "No reminder was set" in rows.row(call, Context()).left_undone(said)


def test_what_follows_a_phrase_is_an_argument_as_it_stands(load):
    call = load(
        "def run(code: str, files: list[str] | None = None) -> str:\n    return code",
        more='literal = { code = ["run this:"] }',
    )
    made = rows.row(call, Context())
    assert made.literally("Please run this:\nprint(1)\nprint(2)") == {"code": "print(1)\nprint(2)"}
    assert made.literally("run this: x = 5.") == {"code": "x = 5."}
    assert made.literally("should I run this: print(1)") is None


@pytest.mark.parametrize(
    ("message", "name", "arguments"),
    [
        (
            "Replace wrold with world in /srv/photos/2024/draft.txt",
            "files.edit",
            {"old": "wrold", "new": "world", "path": "/srv/photos/2024/draft.txt"},
        ),
        (
            "write 'buy milk' to ~/notes/todo.txt",
            "files.write",
            {"text": "buy milk", "path": "~/notes/todo.txt"},
        ),
        (
            "Please add the line water the plants to todo.txt.",
            "files.append",
            {"text": "water the plants", "path": "todo.txt"},
        ),
        ("write a poem about milk to todo.txt", "", {}),
        ("replace milk with oat milk in the recipe", "", {}),
    ],
)
def test_changes_of_files_that_are_spelled_out_are_made_so(message: str, name: str, arguments):
    calls = load_all([paths.bundled("tools")]).calls
    made = {n: rows.row(call, Context()).literally(message) for n, call in calls.items()}
    assert {n: found for n, found in made.items() if found} == ({name: arguments} if name else {})


def test_a_message_that_is_spelled_out_makes_the_call_with_its_own_words(load):
    call = load(
        "from typing import Annotated\nfrom llmos.sdk import Verbatim\n"
        "def run(old: str, path: Annotated[str, Verbatim(accepts=lambda t: '.' in t)]) -> str:\n"
        "    return old",
        more="""asked = ["drop \\"{old}\\" from {path}", "drop {old} from {path}"]""",
    )
    made = rows.row(call, Context())
    assert made.literally("Please drop  the “” (sic) from a.txt.") == {
        "old": "the “” (sic)",
        "path": "a.txt",
    }
    assert made.literally("drop 'one from two' from a.txt, please") == {
        "old": "one from two",
        "path": "a.txt",
    }
    for other in ("drop it from the list", "do not drop it from a.txt", "drop a\nb from a.txt"):
        assert made.literally(other) is None


@pytest.mark.parametrize("more", ['asked = ["{old}"]', 'asked = ["drop {old"]', "asked = 3"])
def test_a_message_that_is_badly_spelled_out_is_a_mistake(make, tmp_path: Path, more: str):
    make("def run(old: str) -> str:\n    return old", more=more)
    [broken] = load_all([tmp_path / "tools"]).broken
    assert "asked" in broken.sentence


def test_literal_phrases_for_an_argument_there_is_not_are_a_mistake(make, tmp_path: Path):
    make("def run(code: str) -> str:\n    return code", more='literal = { "a b" = ["run this:"] }')
    [broken] = load_all([tmp_path / "tools"]).broken
    assert "speaks of an argument a b" in broken.sentence


@pytest.mark.parametrize("more", ["literal = 3", "literal = { code = 'run' }"])
def test_literal_phrases_that_are_none_are_a_mistake(make, tmp_path: Path, more: str):
    make("def run() -> str:\n    return ''", more=more)
    [broken] = load_all([tmp_path / "tools"]).broken
    assert "literal" in broken.sentence
