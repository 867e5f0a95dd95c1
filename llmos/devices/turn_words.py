"""What languages say at the edges of a turn: words after which more must come, fillers, answers
that are no interruption, and short commands.

Data only. Words are lower case, without punctuation, as ``words_of`` gives them; a phrase has
blanks. A language that is not here is judged by its punctuation alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["LANGUAGES", "Command", "TurnWords", "turn_words", "words_of"]


class Command(StrEnum):
    """What a person can say to the voice itself, whatever the assistant is."""

    STOP = "stop"
    WAIT = "wait"
    REPEAT = "repeat"
    SLOWER = "slower"
    FASTER = "faster"
    LOUDER = "louder"
    QUIETER = "quieter"


@dataclass(frozen=True, slots=True)
class TurnWords:
    """The words of one language.

    Args:
        hanging: After one of these a sentence goes on: articles, conjunctions, prepositions,
            possessives, auxiliaries.
        stranded: Of those the ones that may end a question: "What are you looking for?"
        fillers: Sounds of somebody who is still thinking.
        questions: Words a question begins with.
        opening: Words that begin a clause which another one must follow: "if it rains".
        asking: Question words, after which in the middle of a sentence something is asked:
            "Do you know who".
        verb_last: Words after which the verb stands last: "dass ich es gesehen habe".
        openers: Beginnings that ask for or announce something, and are nothing alone.
        part_of: What stands after a question word where only a part is asked about: "which of
            the two", of which something must be said.
        attributes: Words that after an article belong to a noun: "the last".
        articles: Words before them.
        numbers: Words of numbers, after which another digit may come.
        whole: Answers and calls that are complete by themselves.
        backchannels: Words that say "go on": said while listening, not to interrupt.
        commands: Ways to say each command, alone or with a please.
        polite: Words that change nothing about a command.
    """

    hanging: frozenset[str]
    stranded: frozenset[str]
    fillers: frozenset[str]
    questions: frozenset[str]
    opening: frozenset[str]
    asking: frozenset[str]
    verb_last: frozenset[str]
    openers: frozenset[str]
    part_of: frozenset[str]
    attributes: frozenset[str]
    articles: frozenset[str]
    numbers: frozenset[str]
    whole: frozenset[str]
    backchannels: frozenset[str]
    commands: Mapping[Command, frozenset[str]]
    polite: frozenset[str]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrase in text.split(","))


_EN: Final = TurnWords(
    hanging=_set(
        "a an the and or but nor so because since although though unless until while whereas if "
        "that which who whose whom when where as than like of to in on at by for from with without "
        "about into onto over under between through during before after against towards per my "
        "your his her its our their this these those some any every each is are was were am be "
        "been being has have had do does did will would can could should shall may might must "
        "whether i'm you're we're they're it's he's she's that's there's i'll i'd i've let's very "
        "really quite another not don't doesn't didn't can't won't wanna gonna want need i "
        "we they he she what's where's who's how's plus versus via"
    ),
    stranded=_set(
        "of to in on at by for from with about into over under through before after against like "
        "that is are was were am be have do does did will would can could should not this these "
        "those some any need want don't didn't"
    ),
    fillers=_set("um uh uhm umm er erm hmm hm mmm uhh ah eh well so like let's see"),
    questions=_set(
        "what who whom whose which when where why how is are was were am do does did can could "
        "will would should shall may has have had isn't aren't don't doesn't didn't can't what's "
        "who's where's how's"
    ),
    opening=_set("if when because although though unless while since whenever once whereas"),
    asking=_set("what who whom whose which when where why how whether if"),
    verb_last=frozenset(),
    openers=_phrases(
        "do you know, do you think, do you remember, do you want, can you, could you, would you, "
        "will you, can you tell me, could you tell me, can you give me, can you show me, tell me, "
        "show me, give me, remind me, please remind me, please tell me, i think, i guess, "
        "i believe, i mean, i wonder, i was wondering, i wanted to ask, i want to ask, "
        "i would like, i'd like, i would like to know, i'd like to know, i want to know, "
        "i need to know, i want you to, explain to me, please explain to me, explain, let me know, "
        "what about, how about, is there, are there, have you, did you, the thing is, you know, "
        "the question is, i have a question, one more thing, by the way, first of all, for example"
    ),
    part_of=_set("of"),
    attributes=_set(
        "last next first second third same other new old best worst most whole only big small "
        "little long short good bad great entire few main following previous"
    ),
    articles=_set("the a an my your his her its our their this these that those some any"),
    numbers=_set(
        "zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
        "eighty ninety hundred thousand million point minus double"
    ),
    whole=_phrases(
        "yes, no, yeah, yep, nope, okay, ok, sure, thanks, thank you, please, hello, hi, hey, "
        "goodbye, bye, exactly, right, correct, never mind, of course, why, what, who, where, "
        "when, how, really, good morning, good evening, good night, not really, i do, i am, it is, "
        "i don't, maybe, do it, go on, of course not, why not, what for, i don't want to, "
        "i want to, i will, i can't, that is it, that's it, this is it"
    ),
    backchannels=_phrases(
        "mhm, mm, mmm, mm hmm, mm-hmm, mmhmm, uh huh, uh-huh, uhhuh, hm, hmm, ah, aha, oh, ooh, "
        "yeah, yep, yes, right, okay, ok, i see, sure, wow, great, nice, cool, really, oh really, "
        "oh okay, oh yeah, good, got it, exactly, interesting"
    ),
    commands={
        Command.STOP: _phrases(
            "stop, stop it, stop that, stop talking, stop speaking, be quiet, quiet, silence, "
            "shut up, enough, that's enough, cancel, never mind, no stop, okay stop, hush"
        ),
        Command.WAIT: _phrases(
            "wait, wait a moment, wait a minute, wait a second, hold on, hang on, one moment, "
            "just a moment, one second, just a second, pause, no wait, oh wait, a moment"
        ),
        Command.REPEAT: _phrases(
            "repeat, repeat that, repeat it, say that again, say it again, again, once more, "
            "one more time, pardon, pardon me, sorry what, come again, what did you say, "
            "what was that, can you repeat that, could you repeat that, can you say that again"
        ),
        Command.SLOWER: _phrases(
            "slower, speak slower, talk slower, slow down, more slowly, speak more slowly, "
            "not so fast, too fast, a bit slower, can you speak slower, you're too fast"
        ),
        Command.LOUDER: _phrases(
            "louder, speak louder, speak up, a bit louder, turn it up, volume up, too quiet, "
            "can you speak louder, i can't hear you"
        ),
        Command.FASTER: _phrases(
            "faster, speak faster, talk faster, speed up, a bit faster, not so slow, too slow, "
            "can you speak faster"
        ),
        Command.QUIETER: _phrases(
            "quieter, speak quieter, softer, speak softly, a bit quieter, turn it down, "
            "volume down, not so loud, too loud, can you speak quieter"
        ),
    },
    polite=_set("please hey okay ok now just llmos"),
)

_DE: Final = TurnWords(
    hanging=_set(
        "der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner "
        "und oder aber sondern denn weil dass daß obwohl wenn als ob damit sodass bevor nachdem "
        "während bis seit falls sobald welche welcher welches deren dessen wie in im ins an am "
        "ans auf aus bei beim mit nach von vom zu zum zur für durch gegen ohne um über unter vor "
        "zwischen hinter neben wegen trotz mein meine meinen meinem meiner dein deine deinen "
        "deinem deiner sein seine seinen ihr ihre ihren unser unsere unseren euer eure dieser "
        "diese dieses diesen diesem jede jeder jedes jeden ist sind war waren bin hat habe haben "
        "hatte hatten wird werde werden wurde wurden kann könnte können muss müssen soll sollte "
        "will möchte möchten würde würden darf dürfen mag sehr ganz ziemlich zirka etwa also "
        "sowie bzw beziehungsweise ich wir er man nicht"
    ),
    # verbs stand at the end of German clauses, so an auxiliary there may well be the last word;
    # so may the prefix of a separable verb ("mach das Licht an")
    stranded=_set(
        "ist sind war waren bin hat habe haben hatte hatten wird werde werden wurde wurden kann "
        "könnte können muss müssen soll sollte will möchte möchten würde würden darf dürfen mag "
        "sein nicht an auf aus mit nach vor zu um bei über unter durch das die"
    ),
    fillers=_set("äh ähm öh öhm hm hmm mmm tja naja also eh em"),
    questions=_set(
        "was wer wen wem wessen welche welcher welches welchen wann wo wohin woher warum wieso "
        "weshalb wie wieviel ist sind war hat hast habe haben kann kannst können könntest könnte "
        "könnten willst wollen wird wirst werden soll sollte sollen darf muss gibt"
    ),
    opening=_set("wenn weil obwohl falls sobald als während nachdem bevor solange damit da"),
    asking=_set("was wer wen wem wessen wann wo wohin woher warum wieso weshalb wie wieviel ob"),
    verb_last=_set("dass daß weil ob wenn wer was wo wie warum der die das obwohl damit bis bevor"),
    openers=_phrases(
        "weißt du, glaubst du, denkst du, kannst du, könntest du, würdest du, kannst du mir, "
        "könntest du mir, kannst du mir sagen, könntest du mir sagen, sag mir, sag mal, zeig mir, "
        "gib mir, erinnere mich, bitte erinnere mich, ich glaube, ich denke, ich meine, "
        "ich finde, ich wollte fragen, ich würde gern, ich würde gerne, ich hätte gern, "
        "ich hätte gerne, gibt es, hast du, die frage ist, das problem ist, ich habe eine frage, "
        "noch etwas, übrigens, zum beispiel, und zwar, wie wäre es, ich möchte wissen, "
        "ich würde gern wissen, ich würde gerne wissen, ich will wissen, erkläre mir, erklär mir, "
        "erkläre mir bitte, ich möchte, dass du, ich möchte fragen"
    ),
    part_of=_set("von der davon"),
    attributes=_set(
        "letzte letzten letzter letztes nächste nächsten nächster nächstes erste ersten erster "
        "erstes zweite zweiten gleiche gleichen andere anderen anderer anderes neue neuen neuer "
        "neues alte alten alter altes ganze ganzen beste besten große großen kleine kleinen gute "
        "guten"
    ),
    articles=_set(
        "der die das den dem des ein eine einen einem einer mein meine meinen meinem meiner dein "
        "deine deinen deinem deiner seine seinen ihre ihren unsere unseren im am vom zum zur"
    ),
    numbers=_set(
        "null eins ein zwei zwo drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn "
        "vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig dreißig vierzig fünfzig "
        "sechzig siebzig achtzig neunzig hundert tausend million komma minus"
    ),
    whole=_phrases(
        "ja, nein, doch, okay, ok, gut, genau, danke, danke schön, bitte, hallo, tschüss, richtig, "
        "stimmt, klar, natürlich, vielleicht, warum, wieso, was, wer, wo, wann, wie, wirklich, "
        "guten morgen, guten abend, gute nacht, guten tag, lieber nicht, warum nicht, egal, "
        "auf wiedersehen, das ist es, das war es, ich nicht, noch nicht"
    ),
    backchannels=_phrases(
        "mhm, mm, mmm, hm, hmm, ah, aha, ach, ach so, achso, oh, ja, jaja, ja ja, genau, okay, ok, "
        "gut, klar, stimmt, verstehe, ich verstehe, schön, toll, wow, echt, wirklich, interessant, "
        "richtig, alles klar, ah ja, ah okay"
    ),
    commands={
        Command.STOP: _phrases(
            "stopp, stop, halt, hör auf, aufhören, ruhe, sei still, still, schluss, genug, "
            "das reicht, es reicht, abbrechen, vergiss es, nein stopp, nein stop, halt stopp"
        ),
        Command.WAIT: _phrases(
            "warte, warte mal, warten, moment, moment mal, einen moment, ein moment, "
            "einen augenblick, augenblick, sekunde, eine sekunde, pause, nein warte, warte kurz"
        ),
        Command.REPEAT: _phrases(
            "wiederhole, wiederhole das, wiederholen, wiederhol das, noch mal, nochmal, "
            "noch einmal, sag das noch mal, sag das nochmal, sag das noch einmal, "
            "wie bitte, was hast du gesagt, was war das, kannst du das wiederholen"
        ),
        Command.SLOWER: _phrases(
            "langsamer, sprich langsamer, rede langsamer, langsam, nicht so schnell, zu schnell, "
            "etwas langsamer, ein bisschen langsamer, kannst du langsamer sprechen"
        ),
        Command.LOUDER: _phrases(
            "lauter, sprich lauter, rede lauter, etwas lauter, ein bisschen lauter, mach lauter, "
            "zu leise, ich höre dich nicht, ich hör dich nicht, kannst du lauter sprechen"
        ),
        Command.FASTER: _phrases(
            "schneller, sprich schneller, rede schneller, etwas schneller, "
            "ein bisschen schneller, nicht so langsam, zu langsam, kannst du schneller sprechen"
        ),
        Command.QUIETER: _phrases(
            "leiser, sprich leiser, rede leiser, etwas leiser, ein bisschen leiser, mach leiser, "
            "nicht so laut, zu laut, kannst du leiser sprechen"
        ),
    },
    polite=_set("bitte hey okay ok mal jetzt doch llmos"),
)

LANGUAGES: Final[Mapping[str, TurnWords]] = {"en": _EN, "de": _DE}

_WORD: Final = re.compile(r"\w+(?:['’\-]\w+)*")


def turn_words(language: str) -> TurnWords | None:
    """The words of ``language``, as in ``en`` or ``de-AT``; None where there are none."""
    return LANGUAGES.get(re.split("[-_]", language.lower())[0])


def words_of(text: str) -> list[str]:
    """The words of ``text``: lower case, apostrophes straight, no punctuation."""
    folded = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    return _WORD.findall(folded)
