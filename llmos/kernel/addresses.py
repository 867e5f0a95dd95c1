"""Where a text would lead: links, hosts, mail addresses and accounts that stand in it.

What a message says may be informed by what was read, but where it leads its reader may not: a link,
an account or an address within it is judged like an argument of its own. Letters are first brought
to their compatible forms and invisible ones taken out, so that ``ｅｖｉｌ．com`` is found as
``evil.com``; a name may be in any script, and marks of emphasis are not part of it. What only a
person could make out ("evil dot com", a telephone number) is not found.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["INVISIBLE", "found", "normal"]

#: Marks that are not seen, or that change what is seen: format characters and variation selectors.
INVISIBLE = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}\U000e0000-\U000e01ef]")
#: The dot of names in Chinese and Japanese. Before their letters it ends a sentence far more often.
_DOT = re.compile(r"。(?=[^\W\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")
#: Emphasis within a word, as Markdown has it: ``ev**il**.com``.
_EMPHASIS = re.compile(r"(?<=[\w.-])(?:\*{1,3}|~~)(?=[\w.-])")
#: Neither ASCII nor a letter or digit for ``re``: perhaps a mark that belongs to a letter.
_MARK = re.compile(r"[^\w\s\x00-\x7f]")
_STANDING_IN = "ː"  # for such a mark: a letter of no other meaning here
_TOP = r"(?:xn--[\w-]+|[^\W\d_]{2,})"
_REST = r"[^\s<>\"'`|]*+"
_LOCAL = r"[\w.!#$%&'’*+/=?^{}~-]"
_START, _END = r"(?<![a-z0-9])", r"(?![a-z0-9])"  # in a text of any script
#: Tried one after the other, each on the whole text, so that none hides what another would find.
#: Each begins only where a run of its letters begins: whatever the text, the time is linear.
_FOUND = tuple(
    re.compile(each, re.IGNORECASE)
    for each in (
        "|".join(
            (
                # Browsers take any number of slashes.
                rf"(?<![a-z0-9+.-])[a-z0-9+.-]++:/+{_REST}",
                rf"{_START}(?:mailto|tel|sms|data|javascript|file):{_REST}",
                rf"(?<!{_LOCAL})(?P<mail>{_LOCAL}++@[\w-]++(?:\.[\w-]++)*+)",
                # An underscore that no letter follows ends an emphasis, not a name.
                rf"(?<![\w.-])\.*(?:[\w-]++\.)+{_TOP}(?=_*+(?!\w))(?:[:/?#\\]{_REST})?",
                rf"{_START}\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_END}(?:[:/?#\\]{_REST})?",
            )
        ),
        rf"{_START}(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{{24,}}{_END}",  # a key, a wallet
    )
)
_BEFORE, _BEHIND = re.compile(r"[*_~]*"), re.compile(r"[.,;:!?)]*([*_~]*)")
_GROUPED = re.compile(rf"[a-z]{{2}}\d{{2}}(?:[ -]?[a-z0-9]){{11,30}}{_END}", re.IGNORECASE)
#: An account as it is printed, whatever stands between its groups of four.
_PRINTED = re.compile(r"[a-z]{2}\d{2}(?:[\W_][a-z0-9]{4})+(?:[\W_][a-z0-9]{1,3})?", re.IGNORECASE)
_ACCOUNT = re.compile(
    rf"{_START}(?=([a-z]{{2}}\d{{2}}(?:[\W_]{{0,3}}[a-z0-9]){{11,30}}{_END}))", re.IGNORECASE
)
_CLOSING = ".,;:!?)]}>*_~"
#: Endings of files that no host has. Others, such as ``md`` and ``zip``, hosts have, too.
_FILE = re.compile(
    r"[^@:/\\]*\.(?:csv|docx?|epub|gguf|gif|html?|jpe?g|json|log|odt|pdf|png|pptx?|svg|tex|toml|txt"
    r"|wav|webp|xlsx?|xml|ya?ml)",
    re.IGNORECASE,
)


def found(text: str) -> Iterator[str]:
    """Every address in a text, once, as it is compared (``normal``)."""
    plain = _DOT.sub(".", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))
    read = dict.fromkeys((plain, _EMPHASIS.sub("", plain)))
    yield from dict.fromkeys(each for one in read for each in (*_names(one), *_accounts(one)))


def _names(plain: str) -> Iterator[str]:
    """Links, hosts, mail addresses and keys."""
    letters = _MARK.sub(_stand_in, plain)
    for match in itertools.chain.from_iterable(each.finditer(letters) for each in _FOUND):
        address = plain[match.start() : match.end()].rstrip(_CLOSING)
        account = _ACCOUNT.match(plain, match.start())
        if account and len(_printed(account[1])) >= len(address):
            continue  # it is one of ``_accounts``
        if match.lastgroup == "mail":
            # What is not closed belongs to it: _a@b.c is another person than a@b.c.
            before = _BEFORE.match(address)[0]  # type: ignore[index]
            behind = _BEHIND.match(plain, match.start() + len(address))[1]  # type: ignore[index]
            address = address[len(before) if behind.startswith(before[::-1]) else 0 :]
        else:
            address = address.lstrip("._")
        address = address.lstrip(".'’")
        if address and not _FILE.fullmatch(address):
            yield normal(address)


def _stand_in(match: re.Match[str]) -> str:
    return _STANDING_IN if unicodedata.category(match[0])[0] == "M" else match[0]


def _accounts(plain: str) -> Iterator[str]:
    """Numbers of accounts (IBAN), whatever stands between their groups.

    What its check digits do not confirm is one, too, where only spaces and hyphens stand there.
    """
    confirmed_to = grouped_to = 0
    for match in _ACCOUNT.finditer(plain):
        at = match.start()
        if at < confirmed_to:
            continue  # a group of the last one
        if confirmed := _confirmed(match[1]):
            confirmed_to = at + len(confirmed)
            yield _number(confirmed)
        elif at >= grouped_to and (grouped := _GROUPED.match(plain, at)):
            grouped_to = grouped.end()
            if sum(map(str.isdigit, grouped[0])) >= 6:  # else words that follow each other
                yield _number(grouped[0])


def _confirmed(text: str) -> str:
    """What a text begins with, where it is an account by its check digits (ISO 13616)."""
    number = ""
    for group in re.finditer(r"[a-z0-9]+", text, re.IGNORECASE):
        number += group[0]
        if len(number) > 34:
            break
        if len(number) < 15:
            continue
        if int("".join(str(int(each, 36)) for each in number[4:] + number[:4])) % 97 == 1:
            return text[: group.end()]
    return ""


def _printed(text: str) -> str:
    """What a text begins with, where it is an account in groups of four and thus no host."""
    account = _confirmed(text)
    return account if _PRINTED.fullmatch(account) else ""


def _number(account: str) -> str:
    return re.sub(r"[\W_]", "", account).upper()


@lru_cache(maxsize=4096)
def normal(address: str) -> str:
    """An address as it is compared.

    A host has no case, and is spoken of without ``https://``; the rest of an address has case. An
    account has neither case nor anything between its groups.
    """
    if _GROUPED.fullmatch(address) or _printed(address) == address:
        return _number(address)
    head, mark, rest = re.fullmatch(
        r"((?:[a-z][a-z0-9+.-]*:/+)?[^/?#\\]*)([/?#\\]?)(.*)", address, re.IGNORECASE | re.DOTALL
    ).groups()  # type: ignore[union-attr]
    head = head.lower().removeprefix("https://").removeprefix("mailto:")
    return head if mark == "/" and not rest else f"{head}{mark}{rest}"
