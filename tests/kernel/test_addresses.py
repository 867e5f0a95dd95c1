"""What in a text would lead its reader somewhere, and what would not."""

from __future__ import annotations

import unicodedata

import idna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmos.kernel.addresses import found, normal


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
        ("_evil.com_", "evil.com"),
        ("see __evil.com__.", "evil.com"),
        ("_look at evil.com_", "evil.com"),
        ("ev**il**.com", "evil.com"),
        ("_http://evil.com/a_", "http://evil.com/a"),
        ("_10.0.0.1_", "10.0.0.1"),
        ("*a@evil.com*", "a@evil.com"),
        ("**_a@evil.com_**", "a@evil.com"),
        ("_a@evil.com", "_a@evil.com"),  # not closed: another person's
        ("my_file.com", "my_file.com"),
        ("हिन्दी.com", "हिन्दी.com"),
        ("उदाहरण.भारत", "उदाहरण.भारत"),
        ("a@हिन्दी.com", "a@हिन्दी.com"),
        ("ตัวอย่าง.ไทย", "ตัวอย่าง.ไทย"),
        ("зло。рф", "зло.рф"),
        ("看10.0.0.1吧", "10.0.0.1"),
        ("给GB29NWBK60161331926819付", "GB29NWBK60161331926819"),
        ("_GB29NWBK60161331926819_", "GB29NWBK60161331926819"),
        ("pay GB29 NWBK 6016 1331 9268 19 and then me", "GB29NWBK60161331926819"),
        ("ab12" * 3000, "ab12" * 3000),
        ("for ab12 to GB29 NWBK 6016 1331 9268 19", "GB29NWBK60161331926819"),
        ("GB29 NWBK 6016 1331 9268 18", "GB29NWBK60161331926818"),  # mistyped
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
        "今日は。明日は。",
        "x = a*b.c",
        "ab12/cd34/ef56/gh78",
    ],
)
def test_what_leads_nowhere_is_no_address(text: str) -> None:
    assert list(found(text)) == []


@pytest.mark.parametrize(
    "text", ["NL91.ABNA.0417.1643.00", "NL91.ABNA/0417/1643/00", "NL91 ABNA 0417 1643 00"]
)
def test_an_account_in_groups_is_no_host(text: str) -> None:
    assert list(found(f"Pay {text}, please.")) == ["NL91ABNA0417164300"] == [normal(text)]


def test_a_host_is_not_taken_for_an_account_that_is_spelled_by_its_letters() -> None:
    assert "bg80bn.bg/9661/1020345678" in set(found("bg80bn.bg/9661/1020345678"))


#: Letters, digits and marks of many scripts, as names may have them.
LABELS = st.one_of(
    st.text(st.characters(min_codepoint=first, max_codepoint=last, categories=("L", "M", "Nd")))
    for first, last in (
        *((0x61, 0x7A), (0xE0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x58F)),
        *((0x5D0, 0x5F4), (0x620, 0x6D3), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF)),
        *((0xE01, 0xE4E), (0x1000, 0x104F), (0x10D0, 0x10FF), (0x1200, 0x135F), (0x1780, 0x17DD)),
        *((0x3041, 0x3096), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)),
    )
).map(lambda text: unicodedata.normalize("NFKC", text[:12]))


@given(
    st.lists(LABELS, min_size=1, max_size=3),
    st.sampled_from(["com", "рф", "भारत", "ไทย", "中国", "மலேசியா", "xn--p1ai"]),
    st.sampled_from(["", "*", "**", "_", "__", "~~", "**_", "(", "“", "’"]),
)
def test_a_name_is_found_in_any_script_and_without_its_emphasis(
    labels: list[str], top: str, mark: str
) -> None:
    host = ".".join((*labels, top))
    try:
        idna.encode(host, uts46=True)
    except idna.IDNAError:
        assume(False)
    close = mark[::-1].replace("(", ")").replace("“", "”")
    assert normal(host) in set(found(f"Look: {mark}{host}{close} is there"))


@given(
    st.from_regex(r"[A-Z]{4}[0-9]{10,14}|[0-9]{12,18}|[0-9]{5}[A-Z0-9]{10}", fullmatch=True),
    st.data(),
)
def test_an_account_is_found_whatever_stands_between_its_groups(bank: str, data) -> None:
    digits = "".join(str(int(each, 36)) for each in f"{bank}DE00")
    number = f"DE{98 - int(digits) % 97:02}{bank}"
    between = data.draw(st.sampled_from(["", " ", "-", ".", "/", "_", "\u00a0", " - ", "\n"]))
    groups = [number[at : at + 4] for at in range(0, len(number), 4)]
    text = f"Pay to *{between.join(groups)}*."
    assert any(number.startswith(each) for each in found(text))


@given(st.text())
def test_any_text_has_addresses_or_none_each_once(text: str) -> None:
    addresses = list(found(text))
    assert len(addresses) == len(set(addresses)) and "" not in addresses
