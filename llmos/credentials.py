"""Credentials in a text, known by their issuers' formats, and taken out of it.

What a call gives and what a mounted file says goes through here before it can reach a window, the
journal or the index: a key that a model never saw cannot be written into an answer, a page or a
call. Knows only formats that nothing else has: a password that a person wrote down in words is
read like any other text, for they may well ask for it. The file itself is never changed.

The formats are those that the issuers document for their own secret scanning; private keys are
the textual encoding of RFC 7468, and OpenSSH's.
"""

from __future__ import annotations

import re

__all__ = ["KEPT_OUT", "without"]

#: Stands where a credential was.
KEPT_OUT = "⟨a credential, kept out⟩"

_MARK = re.compile(r"-----(BEGIN|END) (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
#: Between two marks: base64, the headers of old keys, and line ends that are written ``\\n``.
_BODY = re.compile(r"[A-Za-z0-9+/=\\ \t\r\n:,.()-]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\\\r\n]*")
_LINE = re.compile(r"[A-Za-z0-9+/=]+")
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # Amazon Web Services, the key's name
    r"|gh[opsur]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{40,255}"
    r"|glpat-[A-Za-z0-9_-]{20,255}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|sk-(?:[a-z]+-)?[A-Za-z0-9_-]{20,255}"  # services of language models
    r"|[rs]k_live_[A-Za-z0-9]{20,255}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,1000}"  # Google
    r"|hf_[A-Za-z0-9]{30,255}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,1000}"
    r"|SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"  # SendGrid
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{20,2000}"  # RFC 7519
    r")(?![A-Za-z0-9_])"
)
#: The secret half of a key of Amazon Web Services has no format but the name before it.
_NAMED = re.compile(
    r"(?i)(aws_?secret_?access_?key[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])"
)
#: The password in an address (RFC 3986, 3.2.1).
_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:)[^\s/:@]{1,200}(?=@[\w.\[-])")


def without(text: str) -> str:
    """``text`` with ``KEPT_OUT`` in the place of each credential."""
    if "PRIVATE KEY" in text:
        text = _without_keys(text)
    text = _TOKEN.sub(KEPT_OUT, text)
    text = _NAMED.sub(rf"\g<1>{KEPT_OUT}", text)
    return _ADDRESS.sub(rf"\g<1>{KEPT_OUT}", text) if "://" in text else text


def _without_keys(text: str) -> str:
    """Without private keys. A text is read in pieces: either end of a key may be missing."""
    out, at = list[str](), 0
    marks = list(_MARK.finditer(text))
    for at_mark, mark in enumerate(marks):
        following = marks[at_mark + 1] if at_mark + 1 < len(marks) else None
        if mark.start() < at:
            continue  # the end of the one before
        before = text[at : mark.start()]
        if mark[1] == "END":
            out += [_without_tail(before), KEPT_OUT]
            at = mark.end()
            continue
        out += [before, KEPT_OUT]
        end = following.start() if following is not None else len(text)
        if following is not None and following[1] == "END" and _ends(text, mark.end(), end):
            at = following.end()
        else:
            found = _BASE64.match(text, mark.end(), end)
            at = found.end() if found is not None else mark.end()
    return "".join([*out, text[at:]])


def _ends(text: str, start: int, end: int) -> bool:
    return _BODY.fullmatch(text, start, end) is not None


def _without_tail(text: str) -> str:
    """Without the lines of base64 at its end: of a key whose beginning is elsewhere."""
    end = len(text.rstrip("\r\n"))
    while end:
        start = text.rfind("\n", 0, end) + 1
        if not _LINE.fullmatch(text, start, end):
            return text[: end + 1]  # with the end of this line
        end = len(text[:start].rstrip("\r\n"))
    return ""
