from __future__ import annotations

import ipaddress
import socket
from types import SimpleNamespace

import psutil
import pytest

from llmos.errors import AddressRefused, NetError
from llmos.net.address import parse
from llmos.net.egress import Egress
from llmos.net.interfaces import Interfaces
from llmos.net.log import RequestLog
from llmos.net.policy import NOBODY, Policy
from llmos.net.ranges import refusal
from tests.net.servers import Resolver, reply, serving

OWN = "93.184.216.34"
OWN_V6 = "2606:4700::1111"


def interfaces(*addresses: str) -> dict[str, list[SimpleNamespace]]:
    return {"eth0": [SimpleNamespace(address=each) for each in addresses]}


@pytest.fixture
def public(monkeypatch):
    """This machine has a public address of each kind."""
    told = interfaces(OWN, OWN_V6, "02:fc:00:00:00:01")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: told)


def test_the_addresses_of_this_machine_are_those_its_system_tells():
    own = Interfaces()()
    assert ipaddress.ip_address("127.0.0.1") in own
    for ip in own:
        if ip.version == 4:
            with socket.socket() as bound:  # which only an own address can be
                bound.bind((str(ip), 0))


def test_hardware_and_the_zone_of_a_local_link_are_left_out(monkeypatch):
    told = interfaces("02:fc:00:00:00:01", "fe80::1%eth0", OWN)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: told)
    assert {str(ip) for ip in Interfaces()()} == {"fe80::1", OWN}


def test_an_address_this_machine_gets_later_is_known_after_a_moment(monkeypatch):
    now, told = [0.0], interfaces("127.0.0.1")
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: told)
    own = Interfaces()
    assert len(own()) == 1
    told = interfaces("127.0.0.1", OWN)
    assert len(own()) == 1  # asked a moment ago
    now[0] += 60
    assert len(own()) == 2


def test_own_public_addresses_are_this_machine_also_behind_nat64():
    own = {ipaddress.ip_address(OWN), ipaddress.ip_address(OWN_V6)}
    for text in (OWN, OWN_V6, f"64:ff9b::{OWN}"):
        assert refusal(ipaddress.ip_address(text), own) == "this machine"


@pytest.mark.parametrize("host", [OWN, f"[{OWN_V6}]", "turned.example", "both.example"])
async def test_a_service_of_this_machine_is_not_reached_at_its_public_address(
    tmp_path, public, host
):
    names = Resolver(turned_example=[OWN], both_example=["8.8.8.8", OWN_V6])
    way = Egress(Policy(), RequestLog(tmp_path / "requests.jsonl"), resolve=names)
    with pytest.raises(AddressRefused, match="it is this machine"):
        await way.get(f"http://{host}/", NOBODY)
    assert '"ip": ""' in (tmp_path / "requests.jsonl").read_text()


async def test_a_name_opened_for_this_machine_may_lead_to_its_public_address(tmp_path, public):
    own = Interfaces()()
    policy = Policy.read(also=f"home.example:3000, {OWN}:3000")
    for text in ("http://home.example:3000", f"http://{OWN}:3000"):
        policy.check(parse(text), NOBODY, own)
        policy.check_ips(parse(text), [ipaddress.ip_address(OWN)], own)
    with pytest.raises(AddressRefused, match="this machine"):
        policy.check_ips(parse("http://home.example:80"), [ipaddress.ip_address(OWN)], own)


async def test_nothing_is_fetched_where_the_system_does_not_tell(tmp_path, monkeypatch):
    def silent():
        raise PermissionError

    monkeypatch.setattr(psutil, "net_if_addrs", silent)
    async with serving(reply(b"x")) as server:
        log = RequestLog(tmp_path / "requests.jsonl")
        way = Egress(Policy(also=(server.site,)), log, resolve=Resolver())
        with pytest.raises(NetError, match="own addresses"):
            await way.get(server.url())
        assert server.connections == 0
