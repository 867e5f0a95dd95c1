"""What a person says to have something remembered, changed or forgotten: the words alone.

Two kinds of regular expressions, for the rows of ``memory_calls.py``. Those called ``REMEMBER``,
``UPDATE`` and ``FORGET`` match a whole message that asks for the call in so many words, and their
groups are its arguments. The others match messages that seem to ask for it in words nobody here
understands: where no call follows, the person is told so (``Syscall.left_undone``).

All are matched against the person's own message and nothing else, and are English but for a few
beginnings of the second kind. A question about remembering, a quotation and what follows
"Translate:" are none of them. No two repetitions in them can take the same characters, but for a
lazy one that the end of the message ends; ``limits.ASKED_CHARS`` bounds what a hostile one costs.
"""

from __future__ import annotations

import re

__all__ = [
    "FORGET",
    "REMEMBER",
    "SEEMS_FORGET",
    "SEEMS_REMEMBER",
    "SEEMS_UPDATE",
    "START",
    "UPDATE",
    "begins",
    "followed",
    "spelled",
]

_GAP = r"[\s,.!:;–—-]{1,4}"
#: What people say before they say it, each with what parts it from the rest.
_OPENING = (
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|ok|okay|alright|well|so|oh|yes|no"
    r"|actually|also|and|then|now|sorry|thanks|thank you|great|by the way|btw|one more thing"
    r"|correct that|correction|please|kindly)(?: there| again)?" + _GAP + r"){0,4}"
)
_QUOTE = "[\"“”„«»'‘’`]"
_MODAL = r"(?:can|could|would|will) you(?:,? please| kindly)?,? "
_PLEASE = (
    rf"(?:please,? |{_MODAL}|you (?:should|must|can) |i(?:[’']d like| want| would like| need) "
    r"you to )?"
)
#: How a message may begin before it says what it wants.
START = _OPENING + _PLEASE


def begins(phrase: str) -> str:
    """A pattern of messages that begin with ``phrase``, whatever politeness goes before it."""
    return rf"{START}{re.escape(phrase)}\b"


def followed(phrase: str, name: str) -> str:
    """A pattern of messages that begin with ``phrase``; what follows is the group ``name``."""
    return rf"{START}{re.escape(phrase)}\s*(?P<{name}>\S.*)"


def spelled(message: str) -> str:
    """A pattern of messages like this one, whose arguments in braces are groups of that name.

    A quotation mark in it stands for one of any kind.
    """
    pieces = re.split(r"{(\w+)}", message)
    said = [re.escape(words).replace(r"\ ", r"\s+").replace('"', _QUOTE) for words in pieces]
    said[1::2] = [rf"(?P<{name}>\S[^\n]*?)" for name in pieces[1::2]]
    return START + "".join(said) + r"(?:,? please)?"


_NO_QUESTION = r"(?!.*\?\s*\Z)"
#: A pasted text has paragraphs; what somebody wants remembered has none.
_ONE_PARAGRAPH = r"(?!.*\n[ \t]*\n)"
_END = r"(?:,? please|, (?:thanks|thank you|ok|okay))?[\s.!?]*"  # what is no part of a fact
_TEXT = r"(?P<text>\S.*?)" + _END

#: How a statement begins, so that "remember that film" is none.
_STATES = (
    r"(?:(?:i|i[’'](?:m|ve|d|ll)|my|we|we[’'](?:re|ve)|our|the|he|she|it|they|his|her|their|its"
    r"|it[’']s|he[’']s|she[’']s|there|this|today|tomorrow|every|each|on|in|at|from|until)\b"
    r"|(?-i:[A-ZÄÖÜ])[\w-]*(?:[’']s)? )"
)
_MINE = r"(?:my|i|i[’'](?:m|ve|d|ll)|we|our)\b"
_NOTE = (
    r"(?:remember|memori[sz]e|note(?: down)?|write down|(?:make|take) (?:a )?note|keep in mind"
    r"|don[’']?t forget)(?:,? please)?"
)
_THIS = r" (?:this|that|it|the following)(?: down)?(?: for (?:me|later))?:"
_MEMORY = r"(?:to|in|into) (?:your |my |the )?memory"

#: Who asks for a task, and to have something remembered besides, asks for more than a memory.
_NO_TASK = (
    r"(?!(?:please,? )?(?:translate|summari[sz]e|rewrite|rephrase|proofread|correct|fix|explain"
    r"|repeat|say|write|spell|book|call|tell|give|show|list|make|find|look|read|add|set|compare"
    r"|calculate|what|who|how|why|where|when)\b)"
)

REMEMBER = (
    # "Remember that …", "Note: …", "Note that down: …"
    _ONE_PARAGRAPH
    + _NO_QUESTION
    + START
    + _NOTE
    + rf"(?:{_THIS}| (?:of )?that(?! down\b)|:)\s+"
    + _TEXT,
    # "Remember my …", "Don't forget I …"
    _ONE_PARAGRAPH
    + _NO_QUESTION
    + START
    + _NOTE
    + r",?\s+(?P<text>(?:my|i|i[’'](?:m|ve|d|ll)|we|our|the)\b.+?)"
    + _END,
    # "Save this to memory: …"
    _ONE_PARAGRAPH
    + _NO_QUESTION
    + START
    + r"(?:save|store|add|keep|put)(?: this| that| it| the following)? "
    + _MEMORY
    + r"(?: that|:)\s+"
    + _TEXT,
    # "Can you remember that …?" A question mark is no harm where a statement follows.
    _ONE_PARAGRAPH
    + _OPENING
    + rf"(?:please,? |{_MODAL})"
    + _NOTE
    + rf"(?:{_THIS}| that|:)\s+(?={_STATES})"
    + _TEXT,
    # "I moved to Graz, please remember that." What comes before is one line, and no quotation.
    _OPENING
    + _NO_TASK
    + rf"(?P<text>(?={_STATES})[^\n\"“”„«»:?]+?)"
    + r"(?:[,.;!–—-]{1,3}\s*(?:(?:and|so|but|also),? )?| (?:and|so) (?=please))"
    + _PLEASE
    + r"(?:remember|memori[sz]e|note|keep|save|store|don[’']?t forget) (?:this|that|it)"
    + r"(?: down| in mind| for (?:me|later|next time|the future)| please| "
    + _MEMORY
    + r")?"
    + _END,
)

UPDATE = (
    _ONE_PARAGRAPH
    + START
    + r"(?:change|update|correct|replace) (?P<id>m\d{1,18})(?: to:?| with:?|:)\s+"
    + _TEXT,
)

#: What "forget" is said of, idioms left out: "forget I asked", "forget my last message".
_OWN = (
    r"(?!i (?:ever |just )?(?:asked|said|mentioned|told|wrote)\b)"
    r"(?!my (?:last|previous|earlier|first|question|message|request|idea|mistake)\b)"
)
_TO_FORGET = _ONE_PARAGRAPH + _NO_QUESTION + START
_ABOUT = r"(?P<about>\S.*?)" + _END

FORGET = (
    # "Forget m12, please."
    START
    + r"(?:forget|delete|remove|erase)(?: about)?(?: memory| fact)? (?P<id>m\d{1,18})"
    + r"(?: now| for good)?"
    + _END,
    # "Forget that I …"
    _TO_FORGET + rf"forget(?: about)?(?: the fact)? that (?={_STATES}){_OWN}" + _ABOUT,
    # "Forget my …"
    _TO_FORGET + rf"forget(?: about)? (?={_MINE}){_OWN}" + _ABOUT,
    _TO_FORGET + r"forget (?:what|everything|all) i(?:[’']ve)? (?:said|told you) about " + _ABOUT,
    # "Can you forget my …?"
    _ONE_PARAGRAPH
    + _OPENING
    + rf"(?:please,? |{_MODAL})forget(?: about)?(?: that)? (?={_MINE}){_OWN}"
    + _ABOUT,
    # "Delete my … from your memory."
    _TO_FORGET
    + r"(?:delete|remove|erase|forget)(?: that)? (?P<about>\S.*?) from (?:your |my |the )?memory"
    + _END,
)

_REST = r"[^.!?\n]{0,300}[\s.!]*\Z"  # nothing more is said
SEEMS_REMEMBER = (
    START + r"(?:remember|memori[sz]e)(?:,? please)?"
    rf"(?: (?:that|this)[\s.!]*\Z| that (?={_STATES})| (?={_MINE}){_NO_QUESTION}|{_THIS}|:"
    rf"| to\b{_REST})",
    _MODAL + r"(?:remember|memori[sz]e) (?:this|that|it)(?: for (?:me|later))?[\s.!?]*\Z",
    START + rf"(?:note(?: down)?|write down|keep in mind|make a note|don[’']?t forget){_THIS}",
    START + r"(?:note (?:this|that|it) down|make a note|don[’']?t forget (?:this|that))[\s.!]*\Z",
    START + rf"(?:save|store|add|keep|put) (?:this|that|it) {_MEMORY}\b",
    _NO_TASK + r"[^?\n\"“”„«»]{1,300}?[,.;!–—-]\s*(?:(?:and|so|but),? )?(?:please,? )?"
    r"remember (?:this|that)(?:,? please)?[\s.!]*\Z",
    rf"(?:bitte )?(?:merke? dir|vergiss nicht|notiere? dir|speichere? dir)\b{_REST}",
    rf"(?:souviens-toi|rappelle-toi|retiens|n[’']oublie pas) (?:que|qu[’']|de|ma|mon|mes)\b{_REST}",
    rf"(?:recuerda|acuérdate de|no olvides) (?:que|mi|mis)\b{_REST}",
)
SEEMS_UPDATE = (START + r"(?:change|update|correct|replace) (?:memory |fact )?m\d{1,18}\b",)
SEEMS_FORGET = (
    START + r"forget (?:that|this)[\s.!]*\Z",
    START + rf"forget(?: about)?(?: that)? (?={_MINE}){_OWN}{_REST}",
    START + rf"forget(?: about)? (?:me|(?:everything|all|what) (?:about|i|you know)\b){_REST}",
    START + r"(?:forget|delete|remove|erase)(?: about)?(?: memory| fact| page)? [mp]\d{1,18}\b",
    START + r"(?:delete|remove|erase|forget)\b[^.!?\n]{1,200} from (?:your |my |the )?memory\b",
    rf"(?:bitte )?vergiss (?!nicht\b|es\b){_REST}",
    rf"oublie (?:que|qu[’']|ma|mon|mes)\b{_REST}",
    rf"olvida (?:que|mi|mis)\b{_REST}",
)
