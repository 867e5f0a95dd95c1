from __future__ import annotations

import pytest

from llmos import paths
from llmos.config import WebConfig
from llmos.door.tools import load
from llmos.errors import CallFailed, InvalidArguments
from llmos.kernel.spans import values
from llmos.net.internet import Internet
from llmos.sdk import Result
from tests.net import jails
from tests.net.servers import Resolver, reply, serving
from tests.tools.webs import lent

CALLS = {call.name: call for call in load(paths.bundled("tools") / "browse").calls}
READ, LINKS = CALLS["browse.read"], CALLS["browse.links"]
ARTICLE = """<html><head><title>Tides</title></head><body><article><h1>Tides</h1>
<p>The moon moves the sea twice a day, which sailors have always known.</p>
<p>At springs the range is largest, and at neaps it is smallest.</p>
<p>More of <a href="/moon">the moon</a> and of <a href="https://b.example/">B</a>.</p></article>"""


async def run(call, answer, tmp_path, path: str = "/", told: list[str] | None = None) -> Result:
    await jails.jail()
    async with serving(answer) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        try:
            context = lent(net.lend(1, call.name), told)
            return await call.run({"address": server.url(path)}, context)
        finally:
            await net.close()


def test_a_get_is_egress_and_what_comes_back_is_by_strangers():
    for call in CALLS.values():
        assert call.effect == "egress" and call.origin == "untrusted"
        assert call.sources == {"address": "trusted"} and call.uses == ("web",)
        assert call.trusted == ()


async def test_a_page_is_text_to_read_and_evidence_to_cite(tmp_path):
    told: list[str] = []
    result = await run(READ, reply(ARTICLE.encode(), "text/html"), tmp_path, told=told)
    assert result.text.startswith("Tides\nhttp://site.test")
    (evidence,) = result.evidence
    assert evidence.title == "Tides" and "springs the range is largest" in evidence.text
    assert evidence.address == result.data["address"]
    assert told and told[0].startswith("Reading http")


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("", '<a href="/n">Next page</a>'),
        ("", '<p><a href="/p">Previous</a> | <a href="/n">Next</a></p>'),
        ("", '<ul><li><a href="/w">Waves</a></li><li><a href="/c">Currents</a></li></ul>'),
        ('<p><a href="/s">Start</a> <a href="/a">About us</a></p>', '<p><a href="/t">Top</a></p>'),
    ],
)
async def test_what_is_told_of_a_page_is_what_it_says_and_not_the_links_around(
    tmp_path, before, behind
):
    page = f"<title>T</title><body>{before}<p>The office opens at 9:00.</p>{behind}</body>"
    result = await run(READ, reply(page.encode(), "text/html"), tmp_path)
    assert result.data["told"] == "T says: “The office opens at 9:00.”"


async def test_a_link_within_a_sentence_is_told_with_it(tmp_path):
    page = '<title>T</title><body><p>See <a href="/m">the moon</a>.</p><a href="/n">Next</a>'
    result = await run(READ, reply(page.encode(), "text/html"), tmp_path)
    assert result.data["told"] == "T says: “See the moon.”"


async def test_a_page_of_links_alone_is_told_by_them(tmp_path):
    page = '<title>T</title><body><p><a href="/a">Waves</a> <a href="/b">Currents</a></p></body>'
    result = await run(READ, reply(page.encode(), "text/html"), tmp_path)
    assert result.data["told"] == "T says: “Waves Currents”"


async def test_a_word_that_begins_like_a_link_is_not_one(tmp_path):
    page = '<title>T</title><body><p>Open daily.</p><p>Nextdoor, too.</p><a href="/n">Next</a>'
    result = await run(READ, reply(page.encode(), "text/html"), tmp_path)
    assert result.data["told"] == "T says: “Open daily. Nextdoor, too.”"


async def test_a_long_page_is_handed_over_whole(tmp_path):
    text = "".join(f"line {number}\n" for number in range(50_000)).encode()
    result = await run(READ, reply(text), tmp_path)
    assert result.evidence[0].text == text.decode()


async def test_of_a_page_too_long_for_a_call_the_beginning_is_read_and_the_rest_told(tmp_path):
    result = await run(READ, reply(b"0123456789" * 500_000), tmp_path)
    assert result.text.endswith("[The page goes on: 4,100,000 more characters were left out.]")
    assert len(result.text) < 1_000_000


async def test_links_are_listed_with_where_they_lead(tmp_path):
    result = await run(LINKS, reply(ARTICLE.encode(), "text/html"), tmp_path)
    assert "- B: https://b.example/" in result.text and "/moon" in result.text
    assert result.data["more"] == 0 and len(result.data["links"]) == 2


async def test_links_that_are_not_listed_are_counted(tmp_path):
    page = ARTICLE + "".join(f'<a href="/{n}">{n}</a> ' for n in range(20_000))
    result = await run(LINKS, reply(page.encode(), "text/html"), tmp_path)
    assert result.text.endswith("19702 more are not listed.")


async def test_a_page_without_links_says_so(tmp_path):
    with pytest.raises(CallFailed, match="no links"):
        await run(LINKS, reply(b"text"), tmp_path)


@pytest.mark.parametrize("address", ["http://127.0.0.1:22/", "http://2130706433/", "file:///etc"])
async def test_what_may_not_be_reached_is_a_sentence(tmp_path, address):
    net = Internet(WebConfig(), tmp_path)
    with pytest.raises(CallFailed) as caught:
        await READ.run({"address": address}, lent(net.lend(1, "browse.read")))
    assert "internal error" not in str(caught.value)
    await net.close()


async def test_an_address_is_a_text(tmp_path):
    with pytest.raises(InvalidArguments):
        await READ.run({"address": 7}, lent(None))


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])
def test_the_addresses_of_the_worked_examples_are_found_in_their_questions(call):
    test = call.verbatim["address"].accepts
    for worked in call.worked:
        assert values(worked.question, test) == [worked.arguments["address"]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Read notes.md and report.csv, please.", []),
        ("It costs 3.50 or 1.2.3.", []),
        ("e.g. this one, i.e. that", []),
        ("ask ann@example.org about it", []),
        ("see http://10.0.0.1/x and https://[::1]/", ["http://10.0.0.1/x", "https://[::1]/"]),
        ("Read example.org/a?b=c.", ["example.org/a?b=c"]),
        ("Read EXAMPLE.ORG!", ["EXAMPLE.ORG"]),
    ],
)
def test_what_is_an_address_in_a_message(text, found):
    assert values(text, READ.verbatim["address"].accepts) == found
