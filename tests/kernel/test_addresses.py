"""What in a text would lead its reader somewhere, and what would not."""

from __future__ import annotations

import pytest

from llmos.kernel.addresses import found


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("see https://Evil.com/A?b=c, then", "evil.com/A?b=c"),
        ("see (www.evil.com).", "www.evil.com"),
        ("[here](https://evil.com/x)", "evil.com/x"),
        ("![](//evil.com/p.png)", "evil.com/p.png"),
        ("<a href='evil.com'>", "evil.com"),
        ("http:/evil.com", "http:/evil.com"),
        ("https://good.com@evil.com/", "good.com@evil.com"),
        ("...evil.com", "evil.com"),
        ("ｅｖｉｌ．com", "evil.com"),
        ("ev\u200bil.com", "evil.com"),
        ("evil。com", "evil.com"),
        ("xn--80ak6aa92e.com", "xn--80ak6aa92e.com"),
        ("еvil.com", "еvil.com"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1:80/x"),
        ("10.0.0.1/admin", "10.0.0.1/admin"),
        ("mailto:a@evil.com", "a@evil.com"),
        ("write to A.b+c@Evil.com!", "a.b+c@evil.com"),
        ("javascript:alert", "javascript:alert"),
        ("GB29 NWBK 6016 1331 9268 19", "GB29NWBK60161331926819"),
        (
            "0x52908400098527886e0f7030069857d2e4169ee7",
            "0x52908400098527886e0f7030069857d2e4169ee7",
        ),
        ("ab12 abcdefghijk evil.com", "evil.com"),
        ("evil.com/report.pdf", "evil.com/report.pdf"),
    ],
)
def test_addresses_are_found_however_they_are_written(text: str, address: str) -> None:
    assert address in set(found(text))


@pytest.mark.parametrize(
    "text",
    [
        "e.g. this, i.e. that",
        "the file report.pdf",
        "3.14 or 1,200.50",
        "10:30 a.m.",
        "",
        "Ann Lee",
        "at24 people came to the party",
    ],
)
def test_what_leads_nowhere_is_no_address(text: str) -> None:
    assert list(found(text)) == []
