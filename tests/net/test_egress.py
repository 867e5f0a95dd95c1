from __future__ import annotations

import asyncio
import gzip
import json
import re
import ssl
import zlib
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llmos.errors import AddressRefused, NetError
from llmos.net.egress import Answer, Egress
from llmos.net.http import Bounds
from llmos.net.log import RequestLog
from llmos.net.policy import Caller, Policy
from tests.net.servers import Resolver, Server, reply, serving

CALLER = Caller(7, "browse.read")
PEM = Path(__file__).with_name("site.pem")


def egress(tmp_path: Path, *servers: Server, resolve: Resolver | None = None, **options) -> Egress:
    policy = Policy(also=tuple(server.site for server in servers))
    log = RequestLog(tmp_path / "requests.jsonl")
    return Egress(policy, log, resolve=resolve or Resolver(), **options)


def log(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]


async def fetched(tmp_path: Path, answer, path: str = "/", **options) -> Answer:
    async with serving(answer) as server:
        return await egress(tmp_path, server, **options).get(server.url(path), CALLER)


async def failure(tmp_path: Path, answer, **options) -> str:
    with pytest.raises(NetError) as caught:
        await fetched(tmp_path, answer, **options)
    return str(caught.value)


async def test_a_page_is_fetched_and_the_request_written_down(tmp_path):
    answer = await fetched(tmp_path, reply(b"hello", "Text/HTML; charset=ISO-8859-1"), "/a?b=c")
    assert (answer.status, answer.body) == (200, b"hello")
    assert (answer.media, answer.charset) == ("text/html", "iso-8859-1")
    (entry,) = log(tmp_path)
    assert entry["pid"] == 7 and entry["call"] == "browse.read" and entry["bytes"] == 5
    assert entry["ip"] == "127.0.0.1" and entry["status"] == 200 and not entry["refused"]
    assert entry["address"].endswith("/a?b=c") and entry["seconds"] >= 0
    assert (tmp_path / "requests.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_request_says_nothing_of_the_person(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("machine site.test login me password secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    async with serving(reply(b"x", Set_Cookie="a=b")) as server:
        way = egress(tmp_path, server)
        await way.get(server.url(), CALLER)
        await way.get(server.url(), CALLER)
    for request in server.requests:
        names = {line.partition(b":")[0].lower() for line in request.splitlines()[1:] if line}
        assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::]"),
        *("[2002:7f00:1::]", "0.0.0.0", "127.0.0.1.", "LOCALHOST", "localhost.", "%6cocalhost"),
        *(
            "site.test@127.0.0.1",
            "inside.example",
            "both.example",
            "１２７.0.0.1",
            "mapped.example",
        ),
    ],
)
async def test_this_machine_is_not_reached_however_it_is_spelled(tmp_path, host):
    names = Resolver(
        localhost=["127.0.0.1", "::1"],
        inside_example=["127.0.0.1"],
        both_example=["93.184.216.34", "127.0.0.1"],
        mapped_example=["::ffff:127.0.0.1"],
    )
    async with serving(reply(b"secret")) as server:
        way = Egress(Policy(), RequestLog(tmp_path / "requests.jsonl"), resolve=names)
        for port in (":8080", f":{server.port}", ""):
            with pytest.raises(AddressRefused):
                await way.get(f"http://{host}{port}/", CALLER)
        assert server.connections == 0
    assert all(entry["refused"] and not entry["ip"] for entry in log(tmp_path))
    assert len(log(tmp_path)) == 3


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(tmp_path):
    """A rebinding name that turns to this machine at the second question finds no second one."""

    class Turning(Resolver):
        async def __call__(self, host):
            ips = await super().__call__(host)
            self.names[host] = ["127.0.0.1"]
            return ips

    async with serving(reply(b"secret")) as server:
        names = Turning(turning_example=["127.0.0.2"])
        policy = Policy(also=(f"turning.example:{server.port}",))
        way = Egress(policy, RequestLog(tmp_path / "requests.jsonl"), resolve=names)
        with pytest.raises(NetError, match="cannot be reached"):  # nobody listens on 127.0.0.2
            await way.get(f"http://turning.example:{server.port}/", CALLER)
        assert server.connections == 0
    assert names.asked == ["turning.example"]
    assert log(tmp_path)[0]["ip"] == "127.0.0.2"


async def test_a_name_that_turns_inside_is_refused_at_the_next_request(tmp_path):
    names = Resolver(turning_example=["93.184.216.34"])
    way = Egress(Policy(), RequestLog(tmp_path / "requests.jsonl"), resolve=names)
    names.names["turning.example"] = ["10.0.0.1"]
    with pytest.raises(AddressRefused, match="private network"):
        await way.get("https://turning.example/", CALLER)


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://0x7f.1:{port}/"),
        *("http://[::ffff:127.0.0.1]:{port}/", "http://inside.example:{port}/"),
        *("http://site.test@127.0.0.1:{port}/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/"),
        *("http://169.254.169.254/latest/meta-data/", "http://opened.test:{port}/"),
    ],
)
async def test_a_redirect_is_checked_like_any_address(tmp_path, target):
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(serving(reply(b"secret")))
        where = target.format(port=inside.port)
        outside = await stack.enter_async_context(
            serving(reply(status="302 Found", Location=where))
        )
        names = Resolver(inside_example=["127.0.0.1"], opened_test=["127.0.0.1"])
        policy = Policy(also=(outside.site, f"opened.test:{inside.port}"))
        way = Egress(policy, RequestLog(tmp_path / "requests.jsonl"), resolve=names)
        with pytest.raises(AddressRefused):
            await way.get(outside.url(), CALLER)
        assert outside.connections == 1 and inside.connections == 0
        assert [bool(entry["refused"]) for entry in log(tmp_path)] == [False, True]


async def test_a_redirect_within_a_place_is_followed_and_told(tmp_path):
    async def answer(request, writer):
        if b"GET /start" in request:
            writer.write(reply(status="301 Moved", Location="/end?x"))
        else:
            writer.write(reply(b"there"))

    got = await fetched(tmp_path, answer, "/start")
    assert got.body == b"there" and str(got.address).endswith("/end?x")
    assert [entry["status"] for entry in log(tmp_path)] == [301, 200]


async def test_redirects_end(tmp_path):
    again = reply(status="302 Found", Location="/again")
    async with serving(again) as server:
        with pytest.raises(NetError, match="on and on"):
            await egress(tmp_path, server).get(server.url(), CALLER)
    assert server.connections == 6


async def test_a_secret_stays_with_the_host_it_is_for(tmp_path):
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(serving(reply(b"x")))
        first = await stack.enter_async_context(serving(reply(status="302 x", Location="/next")))
        way = egress(tmp_path, first, other)
        with pytest.raises(NetError):
            await way.get(first.url(), CALLER, secret=("X-Key", "k1"))
        assert all(b"X-Key: k1" in request for request in first.requests)
        first_to_other = await stack.enter_async_context(
            serving(reply(status="302 x", Location=f"http://site.test:{other.port}/"))
        )
        with pytest.raises(AddressRefused):
            await egress(tmp_path, first_to_other, other).get(
                first_to_other.url(), CALLER, secret=("X-Key", "k1")
            )
    assert other.connections == 0
    assert "k1" not in (tmp_path / "requests.jsonl").read_text()


async def test_an_endless_body_ends_at_the_limit(tmp_path):
    async def endless(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    assert "larger than 1 MB" in await failure(tmp_path, endless, bounds=Bounds(body_bytes=1 << 20))


async def test_a_server_that_stops_answering_is_left(tmp_path):
    async def silent(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
        await writer.drain()
        await asyncio.Event().wait()

    assert "stopped answering" in await failure(tmp_path, silent, bounds=Bounds(idle_seconds=0.05))


async def test_a_body_that_drips_is_left_when_its_time_is_over(tmp_path):
    async def drip(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)

    bounds = Bounds(seconds=0.3, body_bytes=1 << 40)
    assert "took longer" in await failure(tmp_path, drip, bounds=bounds)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "raw"])
async def test_a_bomb_is_not_unpacked(tmp_path, packing):
    zeros = bytes(64 << 20)
    if packing == "gzip":
        packed = gzip.compress(zeros)
    else:
        maker = zlib.compressobj(wbits=zlib.MAX_WBITS if packing == "deflate" else -zlib.MAX_WBITS)
        packed = maker.compress(zeros) + maker.flush()
    name = "deflate" if packing == "raw" else packing
    sentence = await failure(tmp_path, reply(packed, Content_Encoding=name))
    assert re.search("far more than was sent", sentence)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "raw", "members"])
async def test_packed_pages_are_unpacked(tmp_path, packing):
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    packed = {
        "gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw": zlib.compress(text)[2:-4],
        "members": gzip.compress(text[:1000]) + gzip.compress(text[1000:]) + bytes(8),
    }[packing]
    name = {"raw": "deflate", "members": "gzip"}.get(packing, packing)
    assert (await fetched(tmp_path, reply(packed, Content_Encoding=name))).body == text


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (reply(gzip.compress(b"text" * 99)[:-9], Content_Encoding="gzip"), "ends early"),
        (reply(b"no gzip at all", Content_Encoding="gzip"), "damaged"),
        (reply(b"x", Content_Encoding="br"), "not asked for"),
        (reply(b"x", Content_Encoding="gzip, gzip"), "not asked for"),
        (reply(b"x", Content_Encoding="deflate"), "damaged"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "before all was sent"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "HTTP|before"),
        (b"", "HTTP|before"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP"),
        (b"\x00\xff\xfe garbage\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "before all"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nabc",
            "HTTP|before all",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "does not speak HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "does not speak HTTP",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "never comes"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"x" * 300_000, "header that is too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "header that is too long"),
        (reply(status="404 Not Found"), "404 .there is no such page"),
        (reply(status="500 Oops"), "status 500"),
        (reply(status="302 Found"), "status 302"),
    ],
)
async def test_what_a_bad_server_says_becomes_one_sentence(tmp_path, answer, told):
    sentence = await failure(tmp_path, answer)
    assert re.search(told, sentence), sentence
    assert log(tmp_path)[0]["refused"] or log(tmp_path)[0]["status"] >= 300


async def test_nobody_there_is_a_sentence(tmp_path):
    async with serving(b"") as server:
        pass
    with pytest.raises(NetError, match="cannot be reached"):
        await egress(tmp_path, server).get(server.url(), CALLER)
    with pytest.raises(NetError, match="There is no nowhere.example"):
        await egress(tmp_path).get("https://nowhere.example/", CALLER)


async def test_an_address_that_leads_nowhere_does_not_hide_the_next_one(tmp_path):
    async with serving(reply(b"here")) as server:
        names = Resolver(two_example=["::1", "127.0.0.9", "127.0.0.8", "127.0.0.1"])
        policy = Policy(also=(f"two.example:{server.port}",))
        log_ = RequestLog(tmp_path / "requests.jsonl")
        url = f"http://two.example:{server.port}/"
        with pytest.raises(NetError, match="cannot be reached"):  # three are tried, no more
            await Egress(policy, log_, resolve=names).get(url, CALLER)
        names.names["two.example"] = ["127.0.0.9", "127.0.0.1"]
        assert (await Egress(policy, log_, resolve=names).get(url, CALLER)).body == b"here"
    assert [entry["ip"] for entry in log(tmp_path)] == ["127.0.0.8", "127.0.0.1"]


def certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


async def test_a_server_that_does_not_prove_who_it_is_gets_no_request(tmp_path):
    async with serving(reply(b"x"), tls=certificate()) as server:
        way = egress(tmp_path, server)
        with pytest.raises(NetError, match="does not prove who it is"):
            await way.get(f"https://{server.site}/", CALLER)
        assert server.requests == []


async def test_tls_keeps_to_the_name_though_an_ip_address_is_connected_to(tmp_path):
    believed = ssl.create_default_context(cafile=str(PEM))
    async with serving(reply(b"safe"), tls=certificate()) as server:
        way = egress(tmp_path, server, context=believed)
        assert (await way.get(f"https://{server.site}/", CALLER)).body == b"safe"
        names = Resolver(other_test=["127.0.0.1"])
        policy = Policy(also=(f"other.test:{server.port}", f"127.0.0.1:{server.port}"))
        other = Egress(policy, RequestLog(tmp_path / "log"), resolve=names, context=believed)
        for host in ("other.test", "127.0.0.1"):
            with pytest.raises(NetError, match="does not prove who it is"):
                await other.get(f"https://{host}:{server.port}/", CALLER)


async def test_a_plain_server_behind_an_https_address_is_a_sentence(tmp_path):
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        way = egress(tmp_path, server, bounds=Bounds(connect_seconds=0.2))
        with pytest.raises(NetError, match="cannot be reached|secure"):
            await way.get(f"https://{server.site}/", CALLER)


async def test_a_redirect_never_leaves_the_protected_for_the_unprotected(tmp_path):
    believed = ssl.create_default_context(cafile=str(PEM))
    away = reply(status="302 Found", Location="http://site.test/")
    async with serving(away, tls=certificate()) as server:
        way = egress(tmp_path, server, context=believed)
        with pytest.raises(AddressRefused, match="unprotected"):
            await way.get(f"https://{server.site}/", CALLER)


async def test_a_call_that_is_cancelled_leaves_and_is_written_down(tmp_path):
    asked = asyncio.Event()

    async def silent(request, writer):
        asked.set()
        await asyncio.Event().wait()

    async with serving(silent) as server:
        task = asyncio.create_task(egress(tmp_path, server).get(server.url(), CALLER))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert log(tmp_path)[0]["refused"] == "It was cancelled."


async def test_at_most_so_many_requests_are_under_way(tmp_path):
    here, most, full, go = 0, 0, asyncio.Event(), asyncio.Event()

    async def answer(request, writer):
        nonlocal here, most
        here += 1
        most = max(most, here)
        if here == 8:
            full.set()
        await go.wait()
        here -= 1
        writer.write(reply(b"x"))

    async with serving(answer) as server:
        way = egress(tmp_path, server)
        tasks = [asyncio.create_task(way.get(server.url(), CALLER)) for _ in range(12)]
        await full.wait()
        go.set()
        await asyncio.gather(*tasks)
    assert most == 8
