from __future__ import annotations

import ipaddress
import re

import pytest

from llmos.errors import AddressRefused, ConfigError
from llmos.net.address import parse
from llmos.net.policy import NOBODY, Caller, Policy, listed


def refused(policy: Policy, address: str, caller: Caller = NOBODY) -> str:
    with pytest.raises(AddressRefused) as caught:
        policy.check(parse(address), caller)
    return str(caught.value)


def test_a_pattern_is_a_host_or_all_below_it():
    assert listed("example.org", ["example.org"])
    assert not listed("www.example.org", ["example.org"])
    assert listed("www.example.org", ["*.example.org"])
    assert listed("example.org", ["*.example.org"])
    assert not listed("badexample.org", ["*.example.org"])
    assert not listed("example.org.evil.net", ["*.example.org", "example.org"])
    assert listed("anything", ["*"])


def test_deny_wins_over_allow_and_over_what_was_opened():
    policy = Policy.read(allow="*.example.org", deny="bad.example.org", also="bad.example.org:81")
    policy.check(parse("https://good.example.org"), NOBODY)
    assert "forbid" in refused(policy, "https://bad.example.org")
    assert "forbid" in refused(policy, "http://bad.example.org:81")
    assert "do not allow" in refused(policy, "https://example.com")


def test_a_caller_s_pattern_is_what_stands_below_a_host_as_its_person_was_told():
    caller = Caller(3, "weather.now", ("*.example.org",))
    Policy().check(parse("https://api.example.org/x"), caller)
    assert "may not reach" in refused(Policy(), "https://example.org", caller)


def test_a_caller_reaches_only_the_hosts_on_its_list():
    caller = Caller(3, "weather.now", ("api.example.org",))
    Policy().check(parse("https://api.example.org/x"), caller)
    assert "weather.now may not reach example.com" in refused(
        Policy(), "https://example.com", caller
    )
    assert refused(Policy(), "https://example.com", Caller(hosts=()))
    # What the person opened for everybody opens nothing for a caller with a list.
    assert refused(Policy.read(also="localhost:8888"), "http://localhost:8888", caller)


@pytest.mark.parametrize(
    "address",
    [
        *("http://localhost/", "http://printer/", "http://a.localhost/", "http://nas.local/"),
        *("http://metadata.google.internal/", "http://x.home.arpa/", "http://abc.onion/"),
        *("http://example.org:22/", "http://example.org:25/", "http://example.org:6379/"),
    ],
)
def test_names_of_the_inside_and_ports_of_other_services_are_refused(address):
    assert "web" in refused(Policy(), address) or "public" in refused(Policy(), address)


def test_where_an_address_leads_is_the_reason_before_its_port():
    assert "localhost is this machine itself" in refused(Policy(), "http://localhost:8765")
    assert "it is this machine" in refused(Policy(), "http://127.0.0.1:8765")
    assert "in a private network" in refused(Policy(), "http://192.168.1.1:9000")
    assert "Port 8765" in refused(Policy(), "http://example.org:8765")


def test_the_refusal_says_how_a_person_can_open_the_place():
    assert 'also = "localhost:3000"' in refused(Policy(), "http://localhost:3000/")


@pytest.mark.parametrize(
    "host",
    [
        *("192.0.2.2", "100.64.0.7", "198.18.0.5", "240.0.0.1", "203.0.113.9", "10.1.2.3"),
        *("[fd00::2]", "[::1]", "[2001:db8::1]", "[100::1]", "localhost", "printer", "nas.local"),
    ],
)
def test_what_the_refusal_says_to_write_opens_the_place(host):
    """Also where other places are open, which stay so."""
    address = parse(f"http://{host}:3000/")
    ips = [address.literal or ipaddress.ip_address("192.0.2.2")]
    said = refused(Policy.read(also="localhost:8888, [::1]:80"), str(address))
    also = re.search('A person can open it: also = "([^"]+)" under ', said)[1]
    assert "8888" not in said  # what else is open is no business of who asks
    policy = Policy.read(also=f"localhost:8888, [::1]:80, {also}")
    for opened in (address, parse("http://localhost:8888"), parse("http://[::1]/")):
        policy.check(opened, NOBODY)
    policy.check_ips(address, ips)
    with pytest.raises(AddressRefused):
        policy.check_ips(parse(f"http://{host}:3001/"), ips)


def test_a_public_name_that_leads_to_a_reserved_address_is_opened_by_its_name():
    address, ips = parse("http://nas.example.org"), [ipaddress.ip_address("198.18.0.5")]
    with pytest.raises(AddressRefused, match='also = "nas.example.org:80"'):
        Policy().check_ips(address, ips)
    Policy.read(also="nas.example.org:80").check_ips(address, ips)


@pytest.mark.parametrize(
    "ip",
    [
        *("169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("100.100.100.200", "fd00:ec2::254", "fe80::1", "::", "ff02::1", "::ffff:169.254.169.254"),
        *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::127.0.0.1"),
    ],
)
def test_what_no_setting_opens_is_told_as_that(ip):
    address = parse("http://example.org/")
    ips = [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address(ip)]
    for policy in (Policy(), Policy.read(also="example.org:80")):
        with pytest.raises(AddressRefused) as caught:
            policy.check_ips(address, ips)
        assert caught.value.remedy == "No setting opens it."


def test_one_wrong_address_among_right_ones_refuses_them_all():
    ips = [ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address("10.0.0.1")]
    address = parse("https://example.org")
    Policy().check_ips(address, ips[:1])
    with pytest.raises(AddressRefused, match="private network"):
        Policy().check_ips(address, ips)


def test_what_was_opened_never_leads_to_a_clouds_metadata():
    policy = Policy.read(also="example.org:80, 169.254.169.254:80")
    for text in ("http://example.org/", "http://169.254.169.254/"):
        with pytest.raises(AddressRefused):
            policy.check_ips(parse(text), [ipaddress.ip_address("169.254.169.254")])


@pytest.mark.parametrize(
    "settings",
    [
        {"allow": "example.org/path"},
        {"allow": "example.org:8080"},
        {"deny": "http://example.org"},
        {"also": "localhost"},
        {"also": "localhost:99999"},
        {"also": "http://localhost:80"},
        {"also": "localhost:80/x"},
    ],
)
def test_a_setting_that_means_nothing_is_told(settings):
    with pytest.raises(ConfigError, match="web"):
        Policy.read(**settings)


def test_settings_are_lists_with_commas_in_any_case():
    policy = Policy.read(allow=" Example.ORG , *.bücher.example ", also="LocalHost:8888,[::1]:80")
    assert policy.allow == ("example.org", "*.xn--bcher-kva.example")
    assert policy.also == ("localhost:8888", "[::1]:80")
