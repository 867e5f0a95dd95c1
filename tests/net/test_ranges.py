from __future__ import annotations

import ipaddress

import pytest

from llmos.net.ranges import openable, refusal

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1
64:ff9b::169.254.169.254 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::
2002:0808:0808::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
4000::1 2606:4700::1%eth0
""".split()


@pytest.mark.parametrize("ip", REFUSED)
def test_what_is_not_of_the_public_internet_is_refused(ip):
    assert refusal(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "ip", ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8"]
)
def test_what_is_public_is_not(ip):
    assert refusal(ipaddress.ip_address(ip)) == ""


def test_a_person_can_open_this_machine_and_what_is_reserved_but_no_link_local_address():
    for ip in ("127.0.0.1", "192.168.1.1", "::1", "fd12::1", "192.0.2.2", "100.64.0.1"):
        assert openable(ipaddress.ip_address(ip))
    for ip in ("169.254.169.254", "fe80::1", "::1%lo", "0.0.0.0", "224.0.0.1", "::2"):
        assert not openable(ipaddress.ip_address(ip))
