from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest
from pypdf import PdfWriter

from llmos.config import WebConfig
from llmos.net.internet import LOG_NAME, Internet
from llmos.sdk import ToolError
from tests.net import jails
from tests.net.servers import Resolver, reply, serving

ARTICLE = """<html><head><title>Tides</title></head><body><nav><a href="/home">Home</a></nav>
<article><h1>Tides</h1><p>The moon moves the sea twice a day, which sailors have always known and
which Newton explained.</p><p>At springs the range is largest, and at neaps it is smallest.</p>
<p>See <a href="/moon">the moon</a>.</p></article></body></html>"""


async def read(tmp_path, answer, path: str = "/", **fields):
    await jails.jail()
    async with serving(answer) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        try:
            return await net.lend(5, "browse.read").read(server.url(path))
        finally:
            await net.close()


async def refused(tmp_path, answer) -> str:
    with pytest.raises(ToolError) as caught:
        await read(tmp_path, answer)
    return str(caught.value)


async def test_a_page_becomes_title_text_and_links(tmp_path):
    page = await read(tmp_path, reply(ARTICLE.encode(), "text/html"))
    assert page.title == "Tides" and page.media == "text/html"
    assert "moves the sea twice a day" in page.text and "<p>" not in page.text
    assert [text for text, _ in page.links] == ["Home", "the moon"]
    assert all(address.startswith("http://site.test:") for _, address in page.links)
    entry = json.loads((tmp_path / LOG_NAME).read_text())
    assert (entry["pid"], entry["call"], entry["status"]) == (5, "browse.read", 200)


async def test_the_servers_character_set_counts(tmp_path):
    raw = ARTICLE.replace("sailors", "Küstenfischer").encode("cp1252")
    page = await read(tmp_path, reply(raw, "text/html; charset=windows-1252"))
    assert "Küstenfischer" in page.text


async def test_a_page_in_utf_16_says_so_by_its_mark(tmp_path):
    raw = ARTICLE.replace("sailors", "Küstenfischer").encode("utf-16")
    page = await read(tmp_path, reply(raw, "text/html"))
    assert "Küstenfischer" in page.text and page.title == "Tides"


async def test_a_pdf_that_is_called_a_page_is_read_as_a_pdf(tmp_path):
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    out = io.BytesIO()
    writer.write(out)
    assert "no text, only pictures" in await refused(tmp_path, reply(out.getvalue(), "text/html"))


async def test_text_and_json_are_read_as_they_are(tmp_path):
    page = await read(tmp_path, reply("Grüße\x1b[31m\u202e".encode(), "text/plain"))
    assert (page.text, page.media) == ("Grüße␛[31m\ufffd", "text/plain")
    page = await read(tmp_path, reply(b'{"a": 1}', "application/json"))
    assert (page.text, page.media) == ('{"a": 1}', "application/json")


async def test_a_picture_that_is_called_a_page_is_refused_by_what_it_is(tmp_path):
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    assert "It is a picture (PNG), not what its server says" in await refused(
        tmp_path, reply(png, "text/html")
    )


async def test_random_bytes_are_a_sentence(tmp_path):
    assert "no text" in await refused(tmp_path, reply(bytes(range(256)) * 40, "text/html"))


async def test_a_form_is_listed_below_the_text(tmp_path):
    form = ARTICLE.replace(
        "</article>", "</article><form>Port <input name=port value=Brest></form>"
    )
    page = await read(tmp_path, reply(form.encode(), "text/html"))
    assert "Form fields:\n- port (text): Brest" in page.text


async def test_a_caller_with_a_list_reaches_nothing_else(tmp_path):
    async with serving(reply(b"x")) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        with pytest.raises(ToolError, match="may not reach site.test"):
            await net.lend(1, "weather.now", ("*.example.org",)).read(server.url())
        assert (await net.lend(1, "weather.now", ("site.test",)).read(server.url())).text == "x"
        await net.close()


async def test_it_is_lent_to_any_loop_and_reads_on_none_of_them(tmp_path):
    """Tools run on a loop of their own; what strangers send is read on a third one."""
    async with serving(reply(b"x")) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        web, url = net.lend(1, "c"), server.url()
        got = await asyncio.to_thread(lambda: asyncio.run(web.read(url)))
        assert got.text == "x" and (await web.read(url)).text == "x"
        assert any(thread.name == "network" for thread in threading.enumerate())
        await net.close()
    assert not any(thread.name == "network" for thread in threading.enumerate())


async def test_a_call_nobody_waits_for_ends(tmp_path):
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        asked.set()
        while not writer.transport.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0)
        left.set()

    async with serving(silent) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        reading = asyncio.create_task(net.lend(1, "c").read(server.url()))
        await asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await left.wait()
        await net.close()
    assert "It was cancelled." in (tmp_path / LOG_NAME).read_text()


async def test_closing_ends_what_is_under_way(tmp_path):
    asked = asyncio.Event()

    async def silent(request, writer):
        asked.set()
        await asyncio.Event().wait()

    async with serving(silent) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        reading = asyncio.create_task(net.lend(1, "c").read(server.url()))
        await asked.wait()
        await net.close()
        with pytest.raises(asyncio.CancelledError):
            await reading
