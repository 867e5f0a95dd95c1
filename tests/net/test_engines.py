from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from urllib.parse import quote

import pytest

from llmos.errors import ConfigError, NetError
from llmos.net.egress import Egress
from llmos.net.engines import ENGINES, Search, fused
from llmos.net.log import RequestLog
from llmos.net.outline import Outliner
from llmos.net.policy import Caller, Policy
from llmos.services import Hit
from tests.net import jails
from tests.net.servers import Resolver, reply, serving

CALLER = Caller(1, "search.web")
DUCK, MOJEEK, WIKIPEDIA = ENGINES

# Shaped as the engines' own pages are: a link and a text for each hit, among much else.
DUCK_PAGE = f"""<html><body><div class="results">
<div class="result results_links result--ad"><h2 class="result__title">
<a rel="nofollow" class="result__a" href="https://duckduckgo.com/y.js?ad_domain=x">An ad</a></h2>
<a class="result__snippet" href="https://duckduckgo.com/y.js?ad_domain=x">Buy!</a></div>
<div class="result results_links"><h2 class="result__title"><a class="result__a"
 href="//duckduckgo.com/l/?uddg={quote("https://www.python.org/downloads/", safe="")}&amp;rut=1">
 Download <b>Python</b></a></h2>
<a class="result__snippet" href="x">The official home of the <b>Python</b> language.</a></div>
<div class="result"><h2><a class="result__a" href="https://docs.python.org/3/">Docs</a></h2></div>
<div class="result"><h2><a class="result__a" href="javascript:alert(1)">Bad</a></h2></div>
</div></body></html>"""
MOJEEK_PAGE = """<html><body><ul class="results-standard">
<li class="r1"><h2><a class="title" href="https://docs.python.org/3">Python docs \x1b[31m</a></h2>
<p class="i"><a href="/more">x</a></p><p class="s">Everything about \u202ePython 3.</p></li>
<li class="r2"><h2><a class="title" href="https://realpython.com/">Real</a></h2>
<p class="s">Tutorials</p></li></ul></body></html>"""
WIKIPEDIA_ANSWER = {
    "query": {
        "search": [
            {
                "title": "Python (programming language)",
                "snippet": 'a <span class="searchmatch">Python</span> &amp; more',
            }
        ]
    }
}


async def way(tmp_path, *opened: str) -> Egress:
    log = RequestLog(tmp_path / "log")
    return Egress(Policy(also=opened), log, resolve=Resolver(searx_lan=["127.0.0.1"]))


async def asked(tmp_path, answers: dict, query: str = "python docs", most: int = 10) -> list[Hit]:
    """A search with engines whose servers are here."""
    await jails.jail()
    async with AsyncExitStack() as stack:
        engines, opened = [], []
        for engine, answer in answers.items():
            server = await stack.enter_async_context(serving(answer))
            opened.append(server.site)
            engines.append(replace(engine, address=server.url("/search")))
        search = Search("", await way(tmp_path, *opened), Outliner(), engines)
        return await search.find(query, most, CALLER)


async def test_what_several_engines_find_is_fused(tmp_path):
    hits = await asked(
        tmp_path,
        {
            DUCK: reply(DUCK_PAGE.encode(), "text/html"),
            MOJEEK: reply(MOJEEK_PAGE.encode(), "text/html"),
            WIKIPEDIA: reply(json.dumps(WIKIPEDIA_ANSWER).encode(), "application/json"),
        },
    )
    assert hits[0].address == "https://docs.python.org/3"  # two engines found it
    assert hits[0].title == "Python docs ␛[31m" and "\u202e" not in hits[0].text
    addresses = [hit.address for hit in hits]
    assert "https://www.python.org/downloads/" in addresses
    wiki = next(hit for hit in hits if hit.title.startswith("Python (prog"))
    assert wiki.address.endswith("/wiki/Python_(programming_language)")
    assert wiki.text == "a Python & more"
    assert not any(hit.title in ("An ad", "Bad") for hit in hits if "duckduckgo.com" in hit.address)
    assert len(hits) == len(set(addresses))


async def test_one_engine_that_is_no_longer_understood_is_named_in_the_log(tmp_path, caplog):
    hits = await asked(
        tmp_path,
        {
            DUCK: reply(b"<html><body>Are you a robot?</body></html>", "text/html"),
            MOJEEK: reply(MOJEEK_PAGE.encode(), "text/html"),
        },
    )
    assert len(hits) == 2
    assert "DuckDuckGo: Its page is not understood" in caplog.text


async def test_where_all_engines_fail_each_is_named(tmp_path):
    with pytest.raises(NetError) as caught:
        await asked(
            tmp_path,
            {
                DUCK: reply(b"<html>changed</html>", "text/html"),
                MOJEEK: reply(status="403 Forbidden"),
                WIKIPEDIA: reply(b"[" * 100_000, "application/json"),
            },
        )
    told = str(caught.value)
    assert "DuckDuckGo: Its page is not" in told and "Wikipedia: Its answer is not" in told
    assert "Mojeek" in told and "403" in told


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"{}",
        b'{"query": []}',
        b'{"query": {"search": {"a": 1}}}',
        b'{"query": {"search": [1, null, {"title": 5}]}}',
        b"\xff\xfe{",
    ],
)
async def test_json_of_another_shape_is_a_sentence_or_nothing(tmp_path, answer):
    try:
        hits = await asked(tmp_path, {WIKIPEDIA: reply(answer, "application/json")})
    except NetError as error:
        assert "Wikipedia" in error.sentence
    else:
        assert hits == []


async def test_nothing_found_is_no_failure(tmp_path):
    nothing = b"<html><body>No pages found matching x</body></html>"
    assert await asked(tmp_path, {MOJEEK: reply(nothing, "text/html")}) == []


async def test_the_query_goes_over_the_wire_as_one_parameter(tmp_path):
    await jails.jail()
    async with serving(reply(b'{"results": []}', "application/json")) as server:
        search = Search(f"http://{server.site}", await way(tmp_path), Outliner())
        await search.find("a&b=c #d\n ü", 5, CALLER)
    assert b"GET /search?format=json&q=a%26b%3Dc+%23d+%C3%BC HTTP/1.1" in server.requests[0]


@pytest.mark.parametrize("ending", ["", "/", "/search"])
async def test_a_searxng_server_the_person_named_may_be_on_this_machine(tmp_path, ending):
    found = {"results": [{"url": "https://a.example/", "title": "A", "content": "text"}]}
    async with serving(reply(json.dumps(found).encode(), "application/json")) as server:
        egress = await way(tmp_path)
        search = Search(f"http://searx.lan:{server.port}{ending}", egress, Outliner())
        assert await search.find("x", 5, CALLER) == [Hit("https://a.example/", "A", "text")]
        # The place is open to searches only: a page that was read cannot lead there.
        with pytest.raises(NetError):
            await egress.get(f"http://searx.lan:{server.port}/search", CALLER)
    assert server.connections == 1


async def test_braves_key_goes_in_a_field_and_not_into_the_log(tmp_path, monkeypatch):
    found = {"web": {"results": [{"url": "https://a.example/", "title": "A", "description": "t"}]}}
    async with serving(reply(json.dumps(found).encode(), "application/json")) as server:
        monkeypatch.setattr("llmos.net.engines._BRAVE", server.url("/res"))
        search = Search("brave: sesame", await way(tmp_path, server.site), Outliner())
        assert (await search.find("x", 5, CALLER))[0].text == "t"
    assert b"X-Subscription-Token: sesame" in server.requests[0]
    assert "sesame" not in (tmp_path / "log").read_text()


async def test_a_query_has_words_and_an_end(tmp_path):
    search = Search("", await way(tmp_path), Outliner())
    for query in ("", " \n ", "x" * 401):
        with pytest.raises(NetError):
            await search.find(query, 5, CALLER)


async def test_a_setting_that_is_no_way_to_search_is_told(tmp_path):
    for setting in (
        "http://user@host/",
        "brave:",
        "brave:two words",
        "brave:a\nHost: b",
        "brave:ü",
    ):
        with pytest.raises(ConfigError, match="web.search"):
            Search(setting, await way(tmp_path), Outliner())


def test_fusing_keeps_the_hit_that_says_most():
    short, long = Hit("https://www.a.example/", "A", ""), Hit("http://a.example", "A", "says more")
    other = Hit("https://b.example/", "B", "b")
    assert fused([[short, other], [long]]) == [long, other]
    assert fused([]) == []
