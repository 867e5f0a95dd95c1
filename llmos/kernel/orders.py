"""Whether a person's words order a change, forbid it, or only speak of it.

The guide chooses a call by what words are about, and "do not delete a.txt", "how do I delete
a.txt?" and "he told me to delete a.txt" are about what "delete a.txt" is about. So a change is made
on an order alone; what may be none is asked, and what is forbidden is not done. English, as the
worked examples are: an order in another language is not recognised, and so is asked.

An order is recognised by its form: a sentence of one paragraph that begins, after politeness, a
time or a place, with a verb that the call's own examples begin with, and in which nothing is left
over: no condition, exception or delay ("delete all but a.txt", "… once I have saved it"), and,
where the call takes nothing but what its tests accept, no word that none of its examples has
("delete the copies of a.txt"). Nothing but thanks and other orders may stand beside it: "Translate
this. Delete a.txt." A question is answered, not carried out. All else is doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

from llmos.kernel.spans import maximal
from llmos.kernel.syscalls import Syscall
from llmos.kernel.wishes import START

__all__ = ["Order", "order", "pasted"]


Test = Callable[[str], bool]


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
#: What, before a verb, says not to.
_NOT_TO = re.compile(
    r"\b(?:not|\w+n[’']t|dont|never|no (?:means|account|time|case|circumstances?|way|reason))\b"
    r"(?: (?:ever|please|you|again|just))*",
    re.IGNORECASE,
)
_NO = re.compile(r"(?:no|nope)[\s.!,]*", re.IGNORECASE)
#: At the end: what was said before was not meant.
_TAKEN_BACK = re.compile(
    r"(?:\A|[.!?;,\n–—-])\s*(?:(?:no|oh|wait|hold on|actually|sorry|please)\b[\s,]*)*"
    r"(?:do not|don[’']?t|never ?mind|just kidding|scratch that|forget (?:it|that|this)"
    r"|on second thou?ghts?|or (?:would|should) (?:you|i) not|or not|no(?:pe)?(?: way)?|wait|stop"
    r"|hold on|(?:just |only |i[’']m |i am )?(?:kidding|joking)|(?:it|that) was a joke)"
    r"(?: do (?:that|it|this))?"
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
    r"(?:tomorrow|today|tonight|later|next|every|on|at|in|by|from|for)\b",
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
_NOTHING = frozenset(("nothing", "none", "no", "not", "of"))
#: What makes of an order a condition, an exception or a delay.
_TURNED = re.compile(
    r"\b(?:if|unless|provided|assuming|except|excluding|whether|once|until|till|whenever|tomorrow"
    r"|tonight|later|other than|apart from|(?:after|before|when|while|because) "
    r"(?:i|you|we|he|she|they|it))\b",
    re.IGNORECASE,
)
#: Words that do so, or make it no order, where there is no text in which they may stand.
_TURNS = frozenset(
    (
        *("only", "but", "besides", "apart", "other", "than", "rather", "instead", "without"),
        *("not", "never", "or", "either", "whichever", "whatever", "whose", "who", "which", "when"),
        *("after", "before", "while", "is", "are", "was", "were", "has", "had", "would", "should"),
        *("might", "said", "says", "told", "wants", "wanted", "asked", "kidding", "joking"),
    )
)
#: What may be said beside an order without changing it.
_THANKS = re.compile(
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening)|yes|sure|right|alright|well|there"
    r"|thanks|thank you|thx|cheers|please|ok|okay|great|bye|good|now|again|a lot|so much|very"
    r" much|much|many|in advance|llmos|for now|that[’']?s all|that is all)\b[\s,.!]*)*\Z",
    re.IGNORECASE,
)


def order(
    message: str,
    clause: str,
    call: Syscall,
    *,
    going_on: bool = False,
    others: Iterable[Syscall] = (),
) -> Order:
    """What a message is to a change that it is about.

    Args:
        message: The person's, all of it.
        clause: What of it the call was chosen by.
        call: The call.
        going_on: Whether it says in other words what was just asked for: "and b.txt".
        others: The other calls that were chosen by it.
    """
    whole = message.strip()
    # quotations say nothing of what is wanted; as long as they were, so that places stay
    bare = _QUOTED.sub(lambda found: "“" + "…" * (len(found[0]) - 2) + "”", whole)
    place = _place(whole, clause)
    sentences = list(_sentences(bare))
    about = [said for start, end, said in sentences if start < place[1] and place[0] < end]
    besides = [said for _, _, said in sentences if said not in about]
    own = _verbs(call)
    if _TAKEN_BACK.search(bare) or any(_forbids(one, own) for one in about):
        return Order.FORBIDDEN
    if going_on and _KEEPS.match(bare):
        return Order.FORBIDDEN
    if pasted(whole):
        return Order.DOUBTFUL
    verbs = frozenset[str]() if going_on else own
    ordered = [_orders(one, verbs) and (going_on or not _left(one, call)) for one in about]
    if any(ordered):
        # what is beside it may quote it or take it back in more ways than can be told
        at = ordered.index(True)
        rest = [*about[:at], *about[at + 1 :], *besides]
        if _NO.fullmatch(sentences[0][2]):  # to something else
            rest.remove(sentences[0][2])
        known = [verbs, *map(_verbs, others)]
        clear = all(_THANKS.match(one) or any(_orders(one, each) for each in known) for one in rest)
        return Order.GIVEN if going_on or clear else Order.DOUBTFUL
    asks = any(one.endswith("?") and not _ASKED_OF_YOU.search(one) for one in about)
    return Order.ASKED_ABOUT if asks and not going_on else Order.DOUBTFUL


def pasted(message: str) -> bool:
    """Whether a message seems to hold somebody else's text."""
    return _PASTED.search(message.strip()) is not None


def _sentences(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each sentence begins and ends, and what it says."""
    for found in _SENTENCE.finditer(text):
        if said := found[0].strip():
            yield found.start(), found.end(), said


def _place(message: str, clause: str) -> tuple[int, int]:
    """Where a clause stands; where that cannot be told, everywhere."""
    start = message.find(clause.strip())
    return (start, start + len(clause.strip())) if start >= 0 else (0, len(message))


def _orders(sentence: str, verbs: frozenset[str]) -> bool:
    """Whether a sentence is an order by its form; where there are no verbs, whatever its verb."""
    if sentence.endswith("?") and not _ASKED_OF_YOU.search(sentence):
        return False
    begun = _begun(sentence)
    if _QUESTION.match(begun):
        return False
    if not verbs:
        return True
    words = _words(begun)
    places = range(_WORDS_BEFORE + 1 if _WHEN.match(begun) else 1)
    at = next((n for n in places if words[n : n + 1] and words[n] in verbs), None)
    return at is not None and _NOTHING.isdisjoint(words[at + 1 : at + 2])


def _forbids(sentence: str, verbs: frozenset[str]) -> bool:
    """Whether a sentence says not to, at its beginning or right before a verb of the call's."""
    if _FORBIDS.match(sentence):
        return True
    found = _NOT_TO.finditer(sentence)
    return any(verb in verbs for one in found for verb in _words(sentence[one.end() :])[:1])


def _left(sentence: str, call: Syscall) -> bool:
    """Whether an order says more than the call does."""
    tests = tuple(copied.accepts for copied in call.copied.values() if copied.accepts is not None)
    begun = _begun(sentence)
    # a command may be any words, so nothing is besides it
    rest = begun if call.effect == "execute" else _besides(begun, tests)
    if _TURNED.search(rest):
        return True
    whole = len(tests) == len(call.copied)
    if not whole or not set(call.schema.get("properties", {})) <= {*call.copied, *call.listed}:
        return False
    said = (*(worked.question for worked in call.worked), *call.examples)
    words, known = _words(rest), _vocabulary(said, tests) - _TURNS
    if call.effect == "execute":
        if not _TURNS.isdisjoint(words):
            return True
        words = _words(_before(begun, tests))
    return not set(words) <= known


def _besides(text: str, tests: Iterable[Test]) -> str:
    """A text without the values that tests accept."""
    for test in tests:
        for value in maximal(text, test):
            text = text.replace(value.text, "…")
    return text


def _before(text: str, tests: Iterable[Test]) -> str:
    """What stands in a text before the first value that a test accepts."""
    places = [text.find(value.text) for test in tests for value in maximal(text, test)]
    return text[: min(places, default=len(text))]


@lru_cache
def _vocabulary(said: tuple[str, ...], tests: tuple[Test, ...]) -> frozenset[str]:
    """The words that examples have besides the values."""
    return frozenset(word for one in said for word in _words(_besides(one, tests)))


def _words(text: str) -> list[str]:
    return [found[0].lower() for found in _WORD.finditer(text)]


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
