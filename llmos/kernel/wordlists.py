"""The words by which ``support.py`` tells what decides in a sentence. Data, mostly English.

Other languages have what denies and weakens; where a language has no list, its words are simply
words, and a sentence in it must be nearer to the letter.
"""

from __future__ import annotations

__all__ = ["DECISIVE", "DENYING", "NUMBERS", "PRONOUNS", "STOP", "WEAKENING"]

_STOP = """
a an the and or of to in on at by for with from as is are was were be been being am do does did
has have had having it its this that these those there here he she they them his her their we our
you your i me my who which what when where also so then than such very just about into will would
shall can
"""
_DECISIVE = """
increase increased increases increasing decrease decreased decreases decreasing rise rises rose
risen rising fall falls fell fallen falling grow grew grows grown shrink shrank shrunk more less
fewer most least higher lower high low highest lowest greater smaller larger longer shorter before
after above below over under up down first last second third earlier later always sometimes often
rarely seldom all every each some many few several any both half twice only won lost win lose gain
loss true false accept accepted reject rejected allow allowed forbid forbidden legal illegal
maximum minimum best worst better worse north south east west northern southern eastern western
left right male female man woman mother father son daughter brother sister start end begin began
open opened close closed positive negative success failure succeed succeeded failed safe unsafe
dangerous possible impossible buy bought sell sold hot cold old new million billion trillion
thousand hundred dozen mehr weniger alle einige vor nach über unter plus moins más menos antes
después
"""
_DENYING = """
not no never none nobody nothing neither nor cannot without unless except false untrue denied
denies deny refuted debunked myth hoax nicht kein keine keinen keinem keiner nie niemals niemand
ohne ne pas jamais aucun aucune sans rien nunca jamás ningún ninguno ninguna sin nada non mai
nessuno nessuna senza não nenhum nenhuma sem не нет никогда ни без niet geen nooit zonder inte
ingen aldrig utan
"""
_WEAKENING = """
may might could possibly perhaps maybe allegedly reportedly supposedly unlikely if rumour rumor
rumours rumors almost nearly hardly barely planned proposed hypothetical vielleicht angeblich
könnte peut-être quizás forse
"""
_PRONOUNS = """
it its he his she her they their this these er sie es ihr ihre sein seine il elle ils elles ce
cette él ella ellos esto este esta
"""
_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"

#: Say nothing by themselves.
STOP = frozenset(_STOP.split())
#: Their opposite, or another of their kind, would stand in just such a sentence.
DECISIVE = frozenset(_DECISIVE.split())
#: Say that something is not so.
DENYING = frozenset(_DENYING.split())
#: Say that something is not certain.
WEAKENING = frozenset(_WEAKENING.split())
#: Begin a sentence that goes on about what the one before it named.
PRONOUNS = frozenset(_PRONOUNS.split())
#: Numbers in words, by what they are in digits.
NUMBERS = {word: str(value) for value, word in enumerate(_ONES.split())} | {
    word: str(10 * value) for value, word in enumerate(_TENS.split(), 2)
}
