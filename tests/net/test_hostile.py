"""What hostile names and servers try, against real servers.

The public internet is played by 127.0.0.1, what must not be reached by 127.0.0.2: nothing of it is
opened in the settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from llmos.config import WebConfig
from llmos.errors import AddressRefused, NetError
from llmos.net import policy, ranges
from llmos.net.egress import Answer, Egress
from llmos.net.http import Bounds
from llmos.net.internet import Internet
from llmos.net.log import RequestLog
from llmos.net.policy import Policy
from tests.net import jails
from tests.net.servers import Resolver, Server, reply, serving

PUBLIC = ipaddress.ip_address("127.0.0.1")
INSIDE = "127.0.0.2"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Turning(Resolver):
    """Another answer at each question; the last one stays."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)

    async def __call__(self, host):
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ipaddress.ip_address(ip) for ip in answer.split()]


@pytest.fixture
def internet(monkeypatch, tmp_path):
    """An egress without any allowance, for which 127.0.0.1 is public at the ports of servers."""

    def refusal(ip, own=frozenset()):
        return "" if ip == PUBLIC else ranges.refusal(ip, own)

    monkeypatch.setattr(policy, "refusal", refusal)
    monkeypatch.setattr(psutil, "net_if_addrs", dict)

    def made(*servers: Server, resolve: Resolver) -> Egress:
        monkeypatch.setattr(policy, "_PORTS", {server.port for server in servers})
        return Egress(Policy(), RequestLog(tmp_path / "requests.jsonl"), resolve=resolve)

    return made


@contextlib.asynccontextmanager
async def inside(port: int) -> AsyncIterator[Server]:
    """A service of this machine at the same port as a public server."""
    try:
        async with serving(reply(b"secret"), host=INSIDE, port=port) as server:
            yield server
    except OSError as error:  # macOS has only the first of these addresses
        pytest.skip(f"nothing can listen at {INSIDE}: {error}")


def connected(tmp_path: Path) -> list[str]:
    lines = (tmp_path / "requests.jsonl").read_text().splitlines()
    return [json.loads(line)["ip"] for line in lines]


async def test_a_name_that_turns_inside_between_two_requests_is_not_followed(tmp_path, internet):
    async with serving(reply(b"page")) as outside, inside(outside.port) as hidden:
        way = internet(outside, resolve=Turning("127.0.0.1", INSIDE))
        url = f"http://turning.example:{outside.port}/"
        assert (await way.get(url)).body == b"page"
        with pytest.raises(AddressRefused, match="this machine"):
            await way.get(url)
        assert outside.connections == 1 and hidden.connections == 0
    assert connected(tmp_path) == ["127.0.0.1", ""]


async def test_a_name_that_turns_inside_at_its_own_redirect_is_not_followed(tmp_path, internet):
    again = reply(status="302 Found", Location="/again")
    async with serving(again) as outside, inside(outside.port) as hidden:
        way = internet(outside, resolve=Turning("127.0.0.1", INSIDE))
        with pytest.raises(AddressRefused, match="this machine"):
            await way.get(f"http://turning.example:{outside.port}/")
        assert outside.connections == 1 and hidden.connections == 0


async def test_a_name_that_stands_for_both_is_not_reached_at_all(internet):
    async with serving(reply(b"page")) as outside, inside(outside.port) as hidden:
        for both in (f"127.0.0.1 {INSIDE}", f"{INSIDE} 127.0.0.1", "127.0.0.1 ::ffff:127.0.0.2"):
            way = internet(outside, resolve=Turning(both))
            with pytest.raises(AddressRefused):
                await way.get(f"http://both.example:{outside.port}/")
        assert outside.connections == hidden.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.2", "127.0.0.2.", "127.2", "127.0.2", "127.0.0.02", "127.0.0.2%00"),
        *("2130706434", "0x7f000002", "0x7f.0.0.2", "0177.0.0.2", "017700000002"),
        *("１２７.0.0.2", "127。0。0。2", "①②⑦.0.0.2", "%31%32%37.0.0.2", "127.0.0.2\t"),
        *(
            "[::ffff:127.0.0.2]",
            "[::ffff:7f00:2]",
            "[::127.0.0.2]",
            "[::1]",
            "[::]",
            "0",
            "0.0.0.0",
        ),
        *("[64:ff9b::7f00:2]", "[2002:7f00:2::]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]"),
        *("inside.example", "INSIDE.EXAMPLE", "inside.example.", "ⓘnside.example"),
        *("localhost", "LocalHost.", "a.localhost", "localhost.localdomain"),
        *("site.test@127.0.0.2", "site.test:80@127.0.0.2", "site.test\\@127.0.0.2"),
    ],
)
async def test_a_chain_of_redirects_does_not_end_on_this_machine(tmp_path, internet, host):
    async def answer(request, writer):
        step = request.split()[1].decode()
        chain = {"/": "/one", "/one": "?two", "/one?two": f"http://{host}:{outside.port}/"}
        location = chain[step].encode()
        writer.write(b"HTTP/1.1 307 x\r\nLocation: " + location + b"\r\n\r\n")

    names = Resolver(inside_example=[INSIDE], a_localhost=[INSIDE])
    async with serving(answer) as outside, inside(outside.port) as hidden:
        with pytest.raises(AddressRefused):
            await internet(outside, resolve=names).get(outside.url())
        assert outside.connections == 3 and hidden.connections == 0
    assert connected(tmp_path) == ["127.0.0.1"] * 3 + [""]


async def got(tmp_path: Path, answer, **bounds) -> Answer | str:
    """What is fetched, or the sentence."""
    async with serving(answer) as server:
        log = RequestLog(tmp_path / "requests.jsonl")
        way = Egress(Policy(also=(server.site,)), log, resolve=Resolver(), bounds=Bounds(**bounds))
        try:
            return await way.get(server.url())
        except NetError as error:
            return str(error)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", b"to the end"),
        (OK + b"\r\nto the end", b"to the end"),
        (OK + b"Content-Length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\n\r\nmore", b"four"),
        (
            OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"hi",
        ),
        (OK + b"Content-Length: 4, 4\r\n\r\nfour", b"four"),
        (b"HTTP/1.1 204 None\r\n\r\nhidden", b""),
        (OK + b"".join(b"X-%d: y\r\n" % n for n in range(4000)) + b"\r\nx", b"x"),
        (CHUNKED + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n", b"x" * 2000),
    ],
)
async def test_an_odd_answer_is_read_as_the_protocol_has_it(tmp_path, answer, body):
    answered = await got(tmp_path, answer)
    assert isinstance(answered, Answer) and answered.body == body


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"just text\n", "ended the connection"),
        (OK + b"Content-Length: 99\r\n\r\nfour", "before all was sent"),
        (OK + b"Content-Length: -4\r\n\r\nfour", "does not speak HTTP"),
        (OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfour5", "does not speak HTTP"),
        (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nfour", "does not speak HTTP"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "does not speak HTTP"),
        (OK + b"X Y: z\r\n\r\n", "does not speak HTTP"),
        (OK + b"X: a\0b\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 2OO OK\r\n\r\n", "does not speak HTTP"),
        (CHUNKED + b"zz\r\nhello\r\n", "does not speak HTTP"),
        (CHUNKED + b"-1\r\nhello\r\n0\r\n\r\n", "does not speak HTTP"),
        (CHUNKED + b"5\r\nhelloXX0\r\n\r\n", "does not speak HTTP"),
        (CHUNKED + b"ffffffffffffffffffff\r\nhello", "before all was sent"),
        (CHUNKED + b"5\r\nhello\r\n", "before all was sent"),
        (CHUNKED + b"5;" + b"x" * 200_000 + b"\r\nhello\r\n0\r\n\r\n", "too long"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "too long"),
        (reply(status="302 Found", Location="/" + "a" * 5000), "too long"),
        (reply(b"x", Content_Encoding="br"), "not asked for (br)"),
        (reply(b"\x28\xb5\x2f\xfd", Content_Encoding="zstd"), "not asked for (zstd)"),
        (reply(b"x", Content_Encoding="compress"), "not asked for (compress)"),
        (reply(gzip.compress(bytes(1 << 16)) * 3000, Content_Encoding="gzip"), "far more than"),
    ],
)
async def test_what_is_no_answer_is_one_sentence(tmp_path, answer, told):
    sentence = await got(tmp_path, answer)
    assert isinstance(sentence, str) and told in sentence


async def test_a_bomb_within_a_packed_page_stays_packed(tmp_path):
    """What is unpacked is unpacked once: a page that is an archive is one still."""
    within = gzip.compress(bytes(1 << 24))
    answered = await got(tmp_path, reply(gzip.compress(within), Content_Encoding="gzip"))
    assert isinstance(answered, Answer) and answered.body == within


@pytest.mark.parametrize(
    "beginning", [b"", OK + b"X: ", CHUNKED, CHUNKED + b"5;", OK + b"Content-Length: 5\r\n\r\n"]
)
async def test_a_server_that_drips_is_left_wherever_it_does(tmp_path, beginning):
    left = asyncio.Event()

    async def drip(request, writer):
        writer.write(beginning)
        await left.wait()

    sentence = await got(tmp_path, drip, seconds=0.2)
    assert isinstance(sentence, str) and "took longer than 0.2 s" in sentence


async def test_endless_chunks_end_at_the_limit(tmp_path):
    async def endless(request, writer):
        writer.write(CHUNKED)
        while True:
            writer.write(b"1\r\nx\r\n" * 1000)
            await writer.drain()

    sentence = await got(tmp_path, endless, body_bytes=20_000)
    assert isinstance(sentence, str) and "Far more was sent" in sentence


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_a_packed_body_that_never_unpacks_to_anything_ends_at_the_limit(tmp_path, packing):
    member = gzip.compress(b"") if packing == "gzip" else b"\x00\x00\x00\xff\xff"

    async def endless(request, writer):
        writer.write(OK + f"Content-Encoding: {packing}\r\n\r\n".encode())
        writer.write(b"" if packing == "gzip" else b"\x78\x9c")
        while True:
            writer.write(member * 1000)
            await writer.drain()

    sentence = await got(tmp_path, endless, body_bytes=20_000)
    assert isinstance(sentence, str) and "Far more was sent" in sentence


@pytest.mark.parametrize(
    ("body", "claimed", "media"),
    [
        (b"<!doctype html><p>A page of words.</p>", "image/png", "text/html"),
        (b"<!doctype html><p>A page of words.</p>", "application/octet-stream", "text/html"),
        (b"<!doctype html><p>A page of words.</p>", "no media type at all", "text/html"),
        (b"only words", "text/html", "text/plain"),
        (b'{"a": "words"}', "application/pdf", "application/json"),
        (b"only words", "text/plain; charset=zip", "text/plain"),
        (b"only words", "text/plain; charset=idna", "text/plain"),
        (b"only words", "text/plain; charset=" + "x" * 5000, "text/plain"),
    ],
)
async def test_a_page_is_what_its_bytes_are_whatever_it_is_called(tmp_path, body, claimed, media):
    await jails.jail()
    async with serving(reply(body, claimed)) as server:
        net = Internet(WebConfig(also=server.site), tmp_path, resolve=Resolver())
        try:
            page = await net.lend(1, "browse.read").read(server.url())
        finally:
            await net.close()
    assert page.media == media and "words" in page.text
