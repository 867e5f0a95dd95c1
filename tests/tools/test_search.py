from __future__ import annotations

import json

import pytest

from llmos import paths
from llmos.config import WebConfig
from llmos.door.tools import load
from llmos.errors import CallFailed, InvalidArguments
from llmos.kernel.spans import values
from llmos.net.internet import Internet
from tests.net.servers import Resolver, reply, serving
from tests.tools.webs import lent

(WEB,) = load(paths.bundled("tools") / "search").calls
FOUND = {
    "results": [
        {"url": "https://a.example/", "title": "A\x1b[2J page", "content": "What A says."},
        {"url": "https://b.example/", "title": "B", "content": ""},
    ]
}


async def run(tmp_path, answer: bytes, query: str = "tides"):
    async with serving(answer) as server:
        config = WebConfig(search=f"http://site.test:{server.port}")
        net = Internet(config, tmp_path, resolve=Resolver())
        try:
            return await WEB.run({"query": query}, lent(net.lend(1, "search.web")))
        finally:
            await net.close()


def test_a_query_leaves_the_machine_so_it_must_come_from_the_person():
    assert WEB.effect == "egress" and WEB.sources == {"query": "any"}
    assert WEB.origin == "untrusted" and WEB.trusted == ("addresses",)


async def test_hits_are_listed_and_can_be_cited(tmp_path):
    result = await run(tmp_path, reply(json.dumps(FOUND).encode(), "application/json"))
    assert "1. A␛[2J page\n   https://a.example/\n   What A says." in result.text
    assert [each.address for each in result.evidence] == ["https://a.example/"]
    assert result.data["addresses"] == ["https://a.example/", "https://b.example/"]


async def test_nothing_found_and_no_engine_are_two_sentences(tmp_path):
    with pytest.raises(CallFailed, match="Nothing was found"):
        await run(tmp_path, reply(b'{"results": []}', "application/json"))
    with pytest.raises(CallFailed, match="could not be searched. SearXNG: .*403"):
        await run(tmp_path, reply(status="403 Forbidden"))


async def test_a_query_has_words(tmp_path):
    with pytest.raises(InvalidArguments):
        await WEB.run({"query": ""}, lent(None))


def test_the_requests_of_the_worked_examples_are_found_in_their_questions():
    for worked in WEB.worked:
        assert values(worked.question, WEB.verbatim["query"].accepts) == [worked.arguments["query"]]


@pytest.mark.parametrize(
    "text",
    [
        "what time is it in Oslo?",
        "explain how Google ranks pages",
        "how do I search a list in python?",
        "what is a web browser?",
        "I read it online yesterday",
        "how many days until Easter?",
        "thanks, that helps",
    ],
)
def test_a_message_that_asks_for_no_search_holds_no_request(text):
    assert values(text, WEB.verbatim["query"].accepts) == []


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("Search the web for cheap flights to Lisbon.", "cheap flights to Lisbon"),
        ("can you look up train strikes in France online?", "train strikes in France"),
        ("do a web search for local election results", "local election results"),
        ("Google Maps API pricing", "Google Maps API pricing"),
        ("web development jobs", "web development jobs"),
        ("the internet of things", "the internet of things"),
        ("find me news about tea on the web and tell me", "news about tea"),
        ("google causes of back pain", "google causes of back pain"),
        ("how do search engines work?", "how do search engines work?"),
    ],
)
async def test_the_words_that_ask_for_a_search_are_not_searched_for(tmp_path, query, sent):
    result = await run(tmp_path, reply(json.dumps(FOUND).encode(), "application/json"), query)
    assert result.data["query"] == sent
