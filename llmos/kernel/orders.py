"""Whether a person's words order a change, forbid it, or only speak of it.

The guide chooses a call by what words are about, and "do not delete a.txt", "how do I delete
a.txt?" and "he told me to delete a.txt" are about what "delete a.txt" is about. So a change is made
on an order alone; what may be none is asked, and what is forbidden is not done. English, as the
worked examples are: an order in another language is not recognised, and so is asked.

An order is recognised by its form: a sentence of one paragraph that begins, after politeness, a
time or a place, with a verb that the call's own examples begin with. A question is answered, not
carried out. All else is doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from llmos.kernel.syscalls import Syscall
from llmos.kernel.wishes import START

__all__ = ["Order", "order", "pasted"]


class Order(StrEnum):
    """What words are to a change that they are about."""

    GIVEN = "given"
    DOUBTFUL = "doubtful"
    ASKED_ABOUT = "asked about"
    FORBIDDEN = "forbidden"


#: "Don't forget", "never mind" and "not only" forbid nothing.
_NOT = (
    r"(?:(?:do not|don[’']?t)(?! (?:let (?:me|us) )?forget)|never(?! ?mind)|not(?! only)|refrain"
    r"|avoid|under no circumstances|no ?(?:body|one) (?:may|should|must)"
    r"|(?:you |we )?(?:must|should|may|can|shall|need)(?:n[’']?t| not| never)|cannot"
    r"|i (?:do not|don[’']?t|wouldn[’']?t|would not) (?:want|like) (?:you|anybody|anyone|us) to"
    r"|(?:make|be) sure (?:not|(?:that )?(?:you|nobody) (?:do not|don[’']?t|never)))\b"
)
#: Words before an order that change nothing about it.
_AND = r"(?:(?:but|and|so|then|also|please|now|again|instead|just|simply|quickly|kindly)\b[\s,]*)*"
_FORBIDS = re.compile(rf"{START}{_AND}{_NOT}", re.IGNORECASE)
_KEEPS = re.compile(rf"{START}{_AND}(?:keep|leave|spare|not)\b", re.IGNORECASE)
#: At the end: what was said before was not meant.
_TAKEN_BACK = re.compile(
    r"(?:\A|[.!?;,\n–—-])\s*(?:(?:no|oh|wait|hold on|actually|sorry|please)\b[\s,]*)*"
    r"(?:do not|don[’']?t|never ?mind|just kidding|scratch that|forget (?:it|that|this)"
    r"|on second thou?ghts?|or (?:would|should) (?:you|i) not|or not)(?: do (?:that|it|this))?"
    r"[\s.!?]*\Z",
    re.IGNORECASE,
)
_POLITE = re.compile(START + _AND, re.IGNORECASE)
#: What a question that asks for something to be done has in it.
_ASKED_OF_YOU = re.compile(r"\b(?:can|could|would|will) (?:you|u)\b|\bplease\b", re.IGNORECASE)
_QUESTION = re.compile(
    r"(?:what|why|how|should|shall|is|are|was|were|did|does|do|if|who|whose|which|where|may|might"
    r"|am|has|have|had)\b",
    re.IGNORECASE,
)
#: A time or a place, which may stand before an order.
_WHEN = re.compile(
    r"(?:tomorrow|today|tonight|later|next|every|on|at|in|by|after|before|from|for|when|once)\b",
    re.IGNORECASE,
)
_WORDS_BEFORE = 6  # of such a time or place
_QUOTED = re.compile('"[^"\n]*"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|`[^`\n]*`')
#: Somebody else's text: paragraphs, quoted lines, the head of a mail.
_PASTED = re.compile(
    r"\n\s*\n|^\s*>|^(?:from|to|subject|date|sent|cc|von|betreff):|^-{2,} ?(?:original|forwarded)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(r"[^\n]*?(?:[.!?;]+(?=\s|\Z)|\n|\Z)")
_WORD = re.compile(r"[^\W\d_][\w’'-]*")
#: What examples begin with that is no verb of an order.
_NO_VERBS = frozenset(
    (
        *("a", "an", "and", "are", "at", "by", "can", "could", "do", "does", "for", "from", "have"),
        *("how", "i", "in", "is", "it", "my", "no", "not", "of", "on", "or", "please", "tell"),
        *("that", "the", "there", "these", "this", "to", "was", "what", "what's", "where", "which"),
        *("who", "will", "with", "would", "you", "your"),
    )
)
_NOTHING = frozenset(("nothing", "none", "no", "not"))


def order(message: str, clause: str, call: Syscall, *, going_on: bool = False) -> Order:
    """What a message is to a change that it is about.

    Args:
        message: The person's, all of it.
        clause: What of it the call was chosen by.
        call: The call.
        going_on: Whether it says in other words what was just asked for: "and b.txt".
    """
    whole = message.strip()
    # quotations say nothing of what is wanted; as long as they were, so that places stay
    bare = _QUOTED.sub(lambda found: "“" + "…" * (len(found[0]) - 2) + "”", whole)
    sentences = list(_about(bare, whole.find(clause.strip()), len(clause.strip())))
    if _TAKEN_BACK.search(bare) or any(_FORBIDS.match(one) for one in sentences):
        return Order.FORBIDDEN
    if going_on and _KEEPS.match(bare):
        return Order.FORBIDDEN
    if pasted(whole):
        return Order.DOUBTFUL
    verbs = frozenset() if going_on else _verbs(call)
    if any(_orders(one, verbs) for one in sentences):
        return Order.GIVEN
    about = any(one.endswith("?") and not _ASKED_OF_YOU.search(one) for one in sentences)
    return Order.ASKED_ABOUT if about and not going_on else Order.DOUBTFUL


def pasted(message: str) -> bool:
    """Whether a message seems to hold somebody else's text."""
    return _PASTED.search(message.strip()) is not None


def _about(text: str, start: int, size: int) -> Iterator[str]:
    """The sentences in which a stretch lies; all of them where it is nowhere."""
    for found in _SENTENCE.finditer(text):
        meets = found.start() < start + size and start < found.end()
        if found[0].strip() and (start < 0 or meets):
            yield found[0].strip()


def _orders(sentence: str, verbs: frozenset[str]) -> bool:
    """Whether a sentence is an order by its form; where there are no verbs, whatever its verb."""
    if sentence.endswith("?") and not _ASKED_OF_YOU.search(sentence):
        return False
    begun = _begun(sentence)
    if _QUESTION.match(begun):
        return False
    if not verbs:
        return True
    words = [found[0].lower() for found in _WORD.finditer(begun)]
    places = range(_WORDS_BEFORE + 1 if _WHEN.match(begun) else 1)
    at = next((n for n in places if words[n : n + 1] and words[n] in verbs), None)
    return at is not None and _NOTHING.isdisjoint(words[at + 1 : at + 2])


def _verbs(call: Syscall) -> frozenset[str]:
    """What the examples of a call begin with."""
    found: set[str] = set()
    for said in (*(worked.question for worked in call.worked), *call.examples):
        if first := _WORD.match(_begun(said)):
            found.add(first[0].lower())
    return frozenset(found - _NO_VERBS)


def _begun(said: str) -> str:
    """What is said after politeness."""
    found = _POLITE.match(said.strip())
    return said.strip()[found.end() :] if found else said.strip()
