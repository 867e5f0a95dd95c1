from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import AddressRefused
from llmos.net.address import join, parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://example.org", "https://example.org/"),
        ("  example.org/a b".replace(" b", "?q=1#x"), "https://example.org/a?q=1"),
        ("HTTP://EXAMPLE.ORG:80/A", "http://example.org/A"),
        ("example.org:8443/x", "https://example.org:8443/x"),
        ("https://example.org./", "https://example.org/"),
        ("https://bücher.example/ü?ö=ä", "https://xn--bcher-kva.example/%C3%BC?%C3%B6=%C3%A4"),
        ("http://[2606:4700:0:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://93.184.216.34/", "http://93.184.216.34/"),
        ("https://example.org/%2e%2e/a%20b", "https://example.org/%2e%2e/a%20b"),
        ("https://example.org:443", "https://example.org/"),
    ],
)
def test_an_address_has_one_spelling(text, canonical):
    assert str(parse(text)) == canonical
    assert str(parse(canonical)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "http:///etc/passwd",
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://example.org/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://user@example.org/",
        "http://user:pass@example.org/",
        "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http://127.0.0.1\\.example.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:80:80/",
        "http://example.org:８０/",
        "http://exa mple.org/",
        "http://example.org/\nHost: evil",
        "http://example.org/\x00",
        "http://example.org/\u202egpj.exe",
        "http://example..org/",
        "http://example.org../",
        "http://-example.org/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%2eexample.org/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1/",
        "http://[::1]evil/",
        "http://[v1.x]/",
        "http://xn--a/",
        "http://xn--zzzz-.example/",
        "http://" + "a" * 64 + ".org/",
        "http://" + "a." * 130 + "org/",
        "http://example.org/" + "a" * 5000,
    ],
)
def test_what_can_be_read_in_two_ways_or_is_no_page_is_refused(text):
    with pytest.raises(AddressRefused) as caught:
        parse(text)
    assert caught.value.sentence.endswith(".")


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0"),
        *("017700000001", "127.0.0.01", "0x7F.1", "1.1.1.1.1", "256.1.1.1", "4294967297"),
        *("127.0.0.1..", "example.0x10", "example.42", "0x", "１２７。1"),
    ],
)
def test_an_ip_address_in_any_spelling_but_the_plain_one_is_refused(host):
    with pytest.raises(AddressRefused):
        parse(f"http://{host}/")


def test_wide_digits_and_a_trailing_dot_are_seen_through():
    assert parse("http://１２７．０。0.1/").host == "127.0.0.1"
    assert parse("http://127.0.0.1./").literal is not None
    assert parse("http://LOCALHOST/").host == "localhost"
    assert parse("http://ⓛocalhost/").host == "localhost"


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_sentence(text):
    for candidate in (text, f"http://{text}/", f"https://example.org/{text}"):
        try:
            address = parse(candidate)
        except AddressRefused:
            continue
        assert parse(str(address)) == address
        assert str(address).isascii() and " " not in str(address)


def test_a_link_is_read_where_it_stands():
    base = parse("https://example.org/a/b?c")
    assert str(join(base, "../d")) == "https://example.org/d"
    assert str(join(base, "//other.org/x")) == "https://other.org/x"
    for wrong in ("mailto:a@b.c", "//user@other.org", "http://[", "javascript:1"):
        with pytest.raises(AddressRefused):
            join(base, wrong)
