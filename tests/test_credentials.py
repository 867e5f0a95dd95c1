"""What is taken out of a text, what is not, and that no text makes it slow.

No credential here was ever anybody's: each is put together from its format.
"""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.credentials import KEPT_OUT, without

LETTERS = string.ascii_letters + string.digits
BODY = base64.b64encode(bytes(range(256)) * 5).decode()
LINES = "\n".join(BODY[at : at + 64] for at in range(0, len(BODY), 64))


def pem(label: str, body: str = LINES) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"


TOKENS = [
    "AKIA" + "Q7" * 8,
    "ghp_" + LETTERS[:36],
    "github_pat_" + LETTERS[:60],
    "glpat-" + LETTERS[:20],
    "xoxb-" + "1234567890-" + LETTERS[:24],
    "sk-" + LETTERS[:48],
    "sk-proj-" + LETTERS[:40] + "_-" + LETTERS[:20],
    "sk_live_" + LETTERS[:24],
    "AIza" + LETTERS[:35],
    "hf_" + LETTERS[:34],
    "npm_" + LETTERS[:36],
    "pypi-" + LETTERS[:60],
    "SG." + LETTERS[:22] + "." + LETTERS[:43],
    "eyJ" + LETTERS[:20] + ".eyJ" + LETTERS[:40] + "." + LETTERS[:43],
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "around", ["{}", "KEY={}\n", '"{}"', "token: {}, and on", "curl -H 'Authorization: Bearer {}'"]
)
def test_a_token_is_taken_out_and_the_rest_stays(token, around):
    assert without(around.format(token)) == around.format(KEPT_OUT)


@pytest.mark.parametrize(
    "label",
    [
        *("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        *("OPENSSH PRIVATE KEY", "DSA PRIVATE KEY"),
    ],
)
def test_a_private_key_is_taken_out_whole(label):
    assert without(f"before\n{pem(label)}\nafter") == f"before\n{KEPT_OUT}\nafter"
    in_json = pem(label).replace("\n", "\\n")
    assert without(f'{{"key": "{in_json}"}}') == f'{{"key": "{KEPT_OUT}"}}'


def test_an_old_key_with_headers_is_taken_out():
    body = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,6E7E6F\n\n{LINES}"
    assert without(pem("RSA PRIVATE KEY", body)) == KEPT_OUT


def test_of_a_key_that_is_cut_in_two_neither_half_is_left():
    key = pem("PRIVATE KEY")
    for at in range(40, len(key) - 40, 97):
        first, second = without(f"Notes.\n{key[:at]}"), key[at:]
        assert first.startswith(f"Notes.\n{KEPT_OUT}")
        assert not any(line in first for line in LINES.split("\n"))
        whole = second[second.index("\n") + 1 :] if "\n" in second else second
        left = without(f"{whole}\nNotes.")
        assert not any(line in left for line in LINES.split("\n")[:-1])
        assert left.endswith("Notes.")


def test_what_has_no_format_but_its_name_is_taken_out_behind_it():
    secret = "abcd/" * 8
    said = without(f'aws_secret_access_key = {secret}\n"AwsSecretAccessKey": "{secret}"')
    assert said == f'aws_secret_access_key = {KEPT_OUT}\n"AwsSecretAccessKey": "{KEPT_OUT}"'


def test_of_an_address_the_password_alone_is_taken_out():
    said = without(
        "postgres://ana:hunter2@db.example.org:5432/shop and https://example.org:8080/a@b"
    )
    assert said == (
        f"postgres://ana:{KEPT_OUT}@db.example.org:5432/shop and https://example.org:8080/a@b"
    )


@pytest.mark.parametrize(
    "text",
    [
        "The wifi password is Birdhouse42.",
        "password: correct horse battery staple",
        pem("CERTIFICATE"),
        pem("PUBLIC KEY"),
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "sk-learn is scikit-learn; a risk-averse-and-rather-cautious person",
        "https://example.org/?q=eyJ&x=AKIA",
        "mailto:ana@example.org, 12:30@noon",
        "sha256-" + LETTERS,
        LINES,
        "PRIVATE KEY",
        "Keep your PRIVATE KEY private.",
    ],
)
def test_what_is_no_credential_is_left_as_it_is(text):
    assert without(text) == text


@given(st.text(alphabet="-BEGIND PRVATKY\nabc+/=\\n:@eyJ._sk", max_size=400))
def test_it_can_be_done_twice(text):
    assert without(without(text)) == without(text)


@pytest.mark.parametrize(
    "piece",
    [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nabc ",
        "A" * 64 + "\n",
        "-----END PRIVATE KEY-----",
        "eyJ" + "a" * 3000 + ".",
        "a://" + ":" * 50,
        "sk-",
        "a://b:c" + "d" * 300,
    ],
)
def test_a_hostile_text_is_read_to_its_end(piece):
    text = piece * (200_000 // len(piece))
    assert len(without(text)) <= len(text) + len(KEPT_OUT) * text.count("PRIVATE KEY")
