from __future__ import annotations

import pytest

from llmos import paths
from llmos.door.tools import load
from llmos.errors import CallFailed, InvalidArguments
from llmos.host.folders import Folders
from llmos.host.places import Grant
from llmos.host.undo import Log
from llmos.sandbox.sessions import Sessions
from llmos.sdk import Context, ToolError
from llmos.services import Artifact, Ran

CALLS = {call.name: call for call in load(paths.bundled("tools") / "python").calls}
RUN, EVALUATE = CALLS["python.run"], CALLS["python.evaluate"]


class SomeFolders:
    """Granted folders with two files of one name."""

    async def content(self, path: str) -> bytes:
        if "none" in path:
            raise ToolError(f"There is no file {path}.")
        return b"day,price\n1,2\n2,4\n"


class Scripted:
    """An interpreter that notes what it is given and answers what it was told to."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran
        self.code: list[str] = []

    async def run(self, code: str) -> Ran:
        self.code.append(code)
        return self.ran

    evaluate = run


@pytest.fixture
async def context(home):
    sessions = Sessions(home / "python")
    await sessions.open()
    yield Context(lent={"interpreter": sessions.lend(1), "folders": SomeFolders()})
    await sessions.aclose()


async def test_a_session_is_kept_and_its_charts_and_files_come_back(context):
    await RUN.run({"code": "import matplotlib.pyplot as plt\nx = 3"}, context)
    code = "plt.plot([1, x]); open('a.csv', 'w').write('1');"
    result = await RUN.run({"code": code}, context)
    assert result.text == "[Files: a.csv, chart-1.png]"
    assert [each.media for each in result.artifacts] == ["text/csv", "image/png"]


async def test_files_of_the_user_are_at_hand_under_their_bare_names(context):
    code = "import pandas as pd\nint(pd.read_csv('data.csv')['price'].mean())"
    result = await RUN.run({"code": code, "files": ["~/data.csv"]}, context)
    assert (result.text, result.data["value"]) == ("3", "3")
    assert result.artifacts == ()  # what was given is nothing that was made


async def test_a_granted_file_is_read_whole_and_nothing_outside_the_grant(home, context):
    folder = home / "granted"
    folder.mkdir()
    (folder / "raw.bin").write_bytes(bytes(range(256)))
    (home / "secret").write_text("s")
    folders = Folders(lambda: [Grant.of(folder)], Log(paths.state_dir() / "undo"), never=())
    person = context.child(lent={"folders": folders})
    given = {"code": "len(open('raw.bin', 'rb').read())", "files": [str(folder / "raw.bin")]}
    assert (await RUN.run(given, person)).text == "256"
    with pytest.raises(CallFailed):
        await RUN.run({"code": "open('secret')", "files": [str(home / "secret")]}, person)
    unasked = {"code": "1 + 1", "files": ["run", "run", str(home / "secret")]}
    left_out = await RUN.run(unasked, person)
    assert left_out.text == "2\n[Not read: run, secret]"
    assert left_out.data["value"] == "2"
    await folders.close()


async def test_a_file_that_is_not_there_is_told_and_nothing_runs(context):
    with pytest.raises(CallFailed, match=r"There is no file ~/none\.csv"):
        await RUN.run({"code": "open('none.csv')", "files": ["~/none.csv"]}, context)


async def test_two_files_of_one_name_are_refused(context):
    with pytest.raises(CallFailed, match=r"Two files are called a\.csv"):
        await RUN.run({"code": "x", "files": ["~/1/a.csv", "~/2/a.csv"]}, context)


async def test_an_error_is_text_that_the_model_can_read(context):
    result = await RUN.run({"code": "print('so far')\n1/0"}, context)
    assert result.text.startswith("so far\n") and "ZeroDivisionError" in result.text
    assert result.data["value"] == "" and RUN.phrases({}, result) == ()
    assert result.failed and not (await RUN.run({"code": "1"}, context)).failed
    assert (await EVALUATE.run({"code": "1/0"}, context)).failed


async def test_some_printed_lines_are_shown_as_they_are(context):
    result = await RUN.run({"code": "print('a')\nprint('b')"}, context)
    assert RUN.phrases({}, result) == ("It printed:\n```\na\nb\n```",)
    for code in ("print('x\\n' * 99)", "print('`' * 3 + '\\nb')", "print('a' * 700 + '\\nb')"):
        assert RUN.phrases({}, await RUN.run({"code": code}, context)) == ()


async def test_what_prints_nothing_says_so(context):
    assert (await RUN.run({"code": "y = 1"}, context)).text == "It ran and printed nothing."
    assert (await EVALUATE.run({"code": "y = 1"}, context)).text == "It ran and printed nothing."


@pytest.mark.parametrize("call", [RUN, EVALUATE])
async def test_worked_examples_give_what_they_say(context, call):
    for worked in call.worked:
        result = await call.run(worked.arguments, context)
        assert result.data["error"] == ""
        assert worked.result in ("", result.text)


@pytest.mark.parametrize(
    "code", ["```python\nx = 1\nx\n```", "```\nx = 1\nx\n```", " ```py\nx = 1\nx```\n", "x = 1\nx"]
)
async def test_fences_of_markdown_are_taken_off(code):
    lent = Scripted(Ran("1"))
    for call in (RUN, EVALUATE):
        await call.run(
            {"code": code}, Context(lent={"interpreter": lent, "folders": SomeFolders()})
        )
    assert lent.code == ["x = 1\nx", "x = 1\nx"]


async def test_a_short_result_is_told_in_a_sentence_and_a_long_one_is_not():
    for output, phrases in (("42", ("The result of x is 42",)), ("a\nb", ()), ("x" * 999, ())):
        result = await EVALUATE.run(
            {"code": "x"}, Context(lent={"interpreter": Scripted(Ran(output))})
        )
        assert EVALUATE.phrases({"code": "x"}, result) == phrases


async def test_pictures_are_handed_on():
    made = (Artifact("chart.png", "image/png", b"p"),)
    lent = {"interpreter": Scripted(Ran("", artifacts=made)), "folders": SomeFolders()}
    result = await RUN.run({"code": "x"}, Context(lent=lent))
    assert result.artifacts == made
    assert RUN.phrases({"code": "x"}, result) == ("Here is chart.png",)


async def test_without_code_or_an_interpreter_there_is_a_sentence():
    with pytest.raises(InvalidArguments):
        await RUN.run({"code": ""})
    with pytest.raises(CallFailed, match="There is no interpreter here"):
        await EVALUATE.run({"code": "1"})


def test_what_it_declares():
    assert (RUN.effect, RUN.origin, RUN.private) == ("read", "untrusted", True)
    assert RUN.sources == {"code": "any", "files": "any"}
    assert (EVALUATE.effect, EVALUATE.origin, EVALUATE.private) == ("pure", "plugin", False)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("sales.csv", True),
        ("~/data/sales 2024.csv", False),
        ("~/data/sales-2024.csv", True),
        ("/srv/a.b/log.txt", True),
        ("../x.parquet", True),
        ("np.mean", False),
        ("math.pi", False),
        ("https://example.org/a.csv", False),
        (".csv", False),
        ("csv", False),
    ],
)
def test_the_files_that_code_is_given_are_those_the_person_names(text, file):
    assert RUN.verbatim["files"].accepts(text) is file
