"""The experts that come with llmos: each is whole, and a model of how to write one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos import paths, sdk
from llmos.door import tools
from llmos.errors import CallFailed
from llmos.experts import expertfile, install
from llmos.experts.catalogue import Expert, Experts
from llmos.experts.knowledge import passages
from llmos.memory.passages import Passage
from llmos.sandbox import tiers

NAMES = ("analyst", "coder", "researcher")
PLUGINS = paths.bundled("plugins")


@pytest.mark.parametrize("name", NAMES)
async def test_each_is_whole(name):
    about = expertfile.read(PLUGINS / name)
    assert about.name == name
    assert about.licence == "Apache-2.0"
    assert len(about.starters) >= 3
    assert about.knowledge
    assert len(about.prompt) < 1500  # a small model reads all of it, in every turn
    assert about.calls


def test_no_other_folder_stands_beside_them():
    assert {p.parent.name for p in PLUGINS.glob("*/plugin.toml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_each_may_do_is_no_more_than_its_work_needs(name):
    about = expertfile.read(PLUGINS / name)
    told = " ".join(install.told(about, PLUGINS / name))
    assert ("web" in told.replace("may not use the web", "")) == (name == "researcher")
    assert ("change" in told) == (name == "coder")
    assert "shell" not in told


@pytest.mark.parametrize("name", NAMES)
async def test_their_knowledge_is_read_whole_and_has_places(name):
    about = expertfile.read(PLUGINS / name)
    expert = Expert(
        name=name,
        version=about.version,
        licence=about.licence,
        summary=about.summary,
        prompt=about.prompt,
        starters=about.starters,
        allows=about.calls,
        tools=(),
        permissions=about.permissions,
        knowledge=about.knowledge,
        folder=PLUGINS / name,
        bundled=True,
        digest="0" * 64,
    )
    found = [each async for each in passages(expert)]
    assert all(isinstance(each, Passage) for each in found)
    assert len(found) > 2


class Folders:
    def __init__(self, text: str) -> None:
        self._text = text

    async def read(self, path: str) -> str:
        return self._text


async def describe(text: str) -> sdk.Result:
    """The analyst's table tool through the ordinary loader."""
    call = tools.load(PLUGINS / "analyst" / "tools" / "table").calls[0]
    return await call.run({"path": "a.csv"}, sdk.Context(lent={"folders": Folders(text)}))


SALES = "month,sold,note\nJan,51,\nFeb,,late\nMar,140,late\nApr,310,\nMay,0,\n"


async def test_a_table_is_described():
    result = await describe(SALES)
    assert result.text.splitlines() == [
        "3 columns, 5 rows.",
        "month: text, 5 different; all different",
        "sold: number, 1 missing; 0 to 310, median 95.5, quartiles 38.25 and 182.5, mean 125.25",
        "note: text, 3 missing, 1 different; most often late (2)",
    ]
    assert result.data["rows"] == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a;b\n1,5;x\n2,5;y\n3,5;z\n4,5;w\n", "a: number; 1.5 to 4.5, median 3"),
        ("a\tb\n1\t2\n", "a: number; 1 to 1"),
        ("a,b\n1.234,x\n1e3,y\n", "a: number; 1.234 to 1000"),
        ("a,b\n,\nnan,NULL\n", "a: empty"),
        ("a,b\n1e308,x\n1e309,y\n", "a: text, 2 different"),
        ("a,b\ninf,x\n2,y\n", "a: text, 2 different; all different"),
        ("a,\n1,2\n", "column 2: number; 2 to 2"),
        ("a,b\n1\n", "b: empty"),
        ('a,b\n"x\ny",1\n', "a: text, 1 different; most often x y (1)"),
    ],
)
async def test_columns_are_told_for_what_they_are(text, line):
    assert line in (await describe(text)).text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The file has no header"),
        (",,\n1,2,3\n", "The file has no header"),
        ("a,b\n1,2,3\n", "Row 1 has 3 values, the header 2"),
        (",".join(["a"] * 201) + "\n", "more than 200 columns"),
        ('a,b\n"' + "x" * 200_000 + '",1\n', "cannot be read as a table"),
    ],
)
async def test_what_is_no_table_is_one_sentence(text, sentence):
    with pytest.raises(CallFailed, match=sentence):
        await describe(text)


async def test_the_analysts_tool_works_in_the_jail_of_this_machine(tmp_path: Path):
    try:
        await tiers.best()
    except Exception as error:
        pytest.skip(f"needs a jail for Python: {error}")
    experts = Experts(tiers.best)
    await experts.load()
    assert experts.broken == ()
    call = experts.get("analyst").own["table.describe"]
    context = sdk.Context(lent={"folders": Folders(SALES)})
    result = await call.run({"path": "~/sales.csv"}, context)
    assert result.text.startswith("3 columns, 5 rows.")
    assert (call.effect, call.origin, call.private) == ("read", "untrusted", True)
