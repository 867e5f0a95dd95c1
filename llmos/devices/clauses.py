"""An answer in clauses, as early as each can be spoken, while it is still being written.

One state machine, fed character by character, so how the answer was cut on its way here changes
nothing. It looks at no character twice but for a short tail, and remembers no more than the clause
it is in. Clauses follow each other without a gap; what nobody should hear (marks, code, footnotes)
leads up to the next one. Knows Markdown and where sentences end, but no words: what is said for a
number or a symbol is ``spoken.py``'s.

A block of code is announced where it begins, not where it ends: a model may write on it for half a
minute. A table is read once it is whole, since only then its size is known.
"""

from __future__ import annotations

from enum import Enum, auto

from llmos.devices.borders import at_blank, between
from llmos.devices.contracts import Border, Clause, Notice
from llmos.devices.lines import Line, kind_of
from llmos.devices.markup import GONE, formula, masked, visible
from llmos.devices.open_mark import ADDRESS, OpenMark
from llmos.devices.scripts import joins, unspaced
from llmos.devices.tables import read_table

__all__ = ["Clauser"]

#: Characters from which on a comma ends a clause: the first, the second, all others. Sound begins
#: early, and while it lasts there is time for a longer one, which is spoken more naturally.
CLAUSE_LENGTHS = (10, 30, 60)
#: Characters from which on a blank does.
BLANK_LENGTHS = (80, 120, 160)
#: Characters from which on anything does, but for addresses: what a voice takes at once.
LONGEST = 200
#: The same of scripts without blanks, where a character is about a syllable.
LONGEST_UNSPACED = 60
#: A formula of more characters than this is shown and not read out.
FORMULA = 60
#: Characters after which what began as a formula is none.
FORMULA_LONGEST = 1_000
#: Characters that are looked back at a border; longer words end no abbreviation.
TAIL = 48

#: Blanks that hold together what is beside them: 10 km, 1 000.
_HOLDING = "\u00a0\u202f\u2007"


class _Mode(Enum):
    """Where in the Markdown the next character stands."""

    LINE = auto()  # in a line of which it is not known yet what it is
    TEXT = auto()
    HEADING = auto()
    CODE = auto()
    TABLE = auto()
    FORMULA = auto()
    SKIP = auto()  # in a line that nobody hears


class Clauser:
    """The clauses of one answer."""

    def __init__(self) -> None:
        self._mode = _Mode.LINE
        self._out: list[Clause] = []
        # the clause that is being read
        self._start = 0
        self._raw: list[str] = []  # its characters
        self._mask: list[str] = []  # the same, marks of blocks overwritten
        self._mute = 0  # how many of them are known to say nothing
        self._solid = 0  # how many of them there are up to the last that is seen
        self._length = 0  # how many are seen, about
        self._said = 0  # clauses before it that say something
        # the line, while it is not known what it is, and in code
        self._line: list[str] = []
        # the block
        self._body = 0  # where in _raw a table or formula begins
        self._in_table = False  # lines of a table were read, and no other line since
        self._fence = ""  # what ends code or a formula
        self._marks = OpenMark()  # no border while one is open
        self._address = False  # the word is one

    def feed(self, piece: str) -> list[Clause]:
        """The clauses that ``piece`` completes."""
        for char in piece:
            self._take(char)
        return self._taken()

    def flush(self) -> list[Clause]:
        """The answer is over: the last clauses. Their spans reach to its end."""
        if self._line and self._mode is _Mode.LINE:
            line, self._line = self._line, []
            if "".join(line).strip("`~-=*_#|"):
                self._begin_text(line)
            else:
                self._silent(line)
        self._end_table()
        if self._mode is _Mode.FORMULA:
            self._end_formula()
        self._cut(self._solid, Border.BLOCK)
        if self._raw:
            self._emit(len(self._raw), Border.BLOCK)
        return self._taken()

    def _taken(self) -> list[Clause]:
        out, self._out = self._out, []
        return out

    def _take(self, char: str) -> None:
        match self._mode:
            case _Mode.LINE:
                self._begin_line(char)
            case _Mode.TEXT | _Mode.HEADING:
                self._text(char)
            case _Mode.CODE:
                self._code(char)
            case _Mode.FORMULA:
                self._formula(char)
            case _Mode.TABLE | _Mode.SKIP:
                self._silent(char)
                if char == "\n":
                    self._mode = _Mode.LINE

    # --- lines and blocks -------------------------------------------------------------------

    def _begin_line(self, char: str) -> None:
        if not self._line and char in " \t\r>":
            self._silent(char)
            return
        self._line.append(char)
        kind = kind_of("".join(self._line).replace("\r", ""))
        if kind is None:
            return
        line, self._line = self._line, []
        if kind is not Line.TABLE:
            self._end_table()
        if kind is Line.TEXT:
            self._begin_text(line)
            return
        self._cut(self._solid, Border.BLOCK)
        self._marks.abandon()
        match kind:
            case Line.NUMBER:
                for one in line:  # "1. Mix" is said "one, mix"
                    self._see(one, "," if one in ".)" else one)
                self._mode = _Mode.TEXT
                return
            case Line.FENCE:
                self._silent(line)
                self._emit(len(self._raw), Border.BLOCK, notice=Notice.CODE)
                text = "".join(line)
                self._fence = text[: len(text) - len(text.lstrip(text[0]))]
                self._mode = _Mode.CODE
                return
            case Line.TABLE:
                if not self._in_table:
                    self._in_table, self._body = True, len(self._raw)
                self._mode = _Mode.TABLE
            case Line.FORMULA:
                self._body = len(self._raw) + len(line)
                self._fence = "$$" if line[0] == "$" else r"\]"
                self._mode = _Mode.FORMULA
            case Line.ITEM:
                self._mode = _Mode.TEXT
            case Line.HEADING:
                self._mode = _Mode.HEADING
            case Line.SOURCE:
                self._mode = _Mode.SKIP
        self._silent(line)

    def _begin_text(self, line: list[str]) -> None:
        self._mode = _Mode.TEXT
        for char in line:
            self._text(char)

    def _code(self, char: str) -> None:
        self._silent(char)
        if char != "\n":
            if len(self._line) <= len(self._fence) + TAIL:
                self._line.append(char)
            return
        line, self._line = "".join(self._line).strip(), []
        if line.startswith(self._fence) and not line.strip(self._fence[0]):
            self._mode = _Mode.LINE

    def _formula(self, char: str) -> None:
        self._silent(char)
        if (
            "".join(self._raw[-2:]) in (self._fence, "\n\n") and len(self._raw) >= self._body + 2
        ) or len(self._raw) > self._body + FORMULA_LONGEST:
            self._end_formula()

    def _end_formula(self) -> None:
        self._mode = _Mode.TEXT
        raw = "".join(self._raw)
        content = raw[self._body :].removesuffix(self._fence)
        if len(content) > FORMULA:
            self._emit(len(raw), Border.BLOCK, notice=Notice.FORMULA)
            return
        mask = GONE * self._body + formula(content)
        text, ends = visible(mask.ljust(len(raw), GONE), self._start)
        self._emit(len(raw), Border.BLOCK, text, ends)

    def _end_table(self) -> None:
        if not self._in_table:
            return
        self._in_table = False
        lines = "".join(self._raw[self._body :])
        table = read_table(lines, self._start + self._body)
        if not table.rows:
            self._emit(len(self._raw), Border.BLOCK, notice=Notice.TABLE, rows=table.count)
            return
        begin = self._start + self._body
        for row in table.rows:
            self._emit(begin + row.end - self._start, Border.BLOCK, row.text, row.ends)

    # --- text -------------------------------------------------------------------------------

    def _text(self, char: str) -> None:
        self._marks.settle(char)
        if char.isspace() and char not in _HOLDING:
            self._blank(char)
            return
        if self._raw and not self._marks.open and (border := self._border_before(char)):
            self._cut(len(self._raw), border)
        self._see(char, char)
        self._marks.read(char, self._raw[-2] if len(self._raw) > 1 else " ")
        if char in "p." and "".join(self._raw[-4:]) in ("http", "www."):
            self._address = True

    def _blank(self, char: str) -> None:
        if self._raw and not self._marks.open and (border := self._border_at_blank()):
            self._cut(self._solid, border)
        self._silent(char)
        self._length += 1
        self._address = False
        if char == "\n":
            self._marks.end_line()
            if self._mode is _Mode.HEADING:
                self._cut(self._solid, Border.BLOCK)
            self._mode = _Mode.LINE

    def _border_at_blank(self) -> Border | None:
        place = min(self._said, 2)
        border = at_blank("".join(self._mask[-TAIL:]), len(self._mask) <= TAIL)
        if border is Border.CLAUSE and self._length < CLAUSE_LENGTHS[place]:
            return None
        long = self._length >= BLANK_LENGTHS[place]
        if border is None and long and self._solid == len(self._raw):
            return None if self._raw[-1].isdigit() else Border.NONE
        return border

    def _border_before(self, char: str) -> Border | None:
        last = self._raw[-1]
        if self._solid < len(self._raw):
            return None  # a blank stands between
        if ord(last) > 0x7F or last in "\"')*_~":  # what ends without a blank is beyond ASCII
            border = between("".join(self._raw[-TAIL:]), char)
            long = CLAUSE_LENGTHS[min(self._said, 2)] // (1 if last == "—" else 3)
            if border and (border is Border.SENTENCE or self._length >= long):
                return border
        longest = ADDRESS if self._address else LONGEST
        if unspaced(last):
            longest = LONGEST_UNSPACED
        if self._length < longest or (joins(last, char) and self._length < 2 * longest):
            return None
        return Border.NONE

    # --- the clause -------------------------------------------------------------------------

    def _see(self, char: str, as_seen: str) -> None:
        self._raw.append(char)
        self._mask.append(as_seen)
        self._solid = len(self._raw)
        if not self._marks.unseen:
            self._length += 1

    def _silent(self, chars: str | list[str]) -> None:
        self._raw += chars
        self._mask += " " * len(chars)

    def _cut(self, at: int, border: Border) -> None:
        """End the clause behind ``at`` characters, if that leaves something to say."""
        mask = masked("".join(self._mask[self._mute : at]))
        text, ends = visible(mask, self._start + self._mute)
        if text.strip():
            self._emit(at, border, text, ends)
        elif at > self._mute:
            self._mute, self._length = at, 0

    def _emit(
        self,
        at: int,
        border: Border,
        text: str = "",
        ends: tuple[int, ...] = (),
        notice: Notice | None = None,
        rows: int = 0,
    ) -> None:
        shown = "".join(self._raw[:at])
        end = self._start + at
        self._out.append(Clause(shown, self._start, end, text, ends, border, notice, rows))
        del self._raw[:at], self._mask[:at]
        self._start, self._mute, self._solid, self._length = end, 0, 0, 0
        self._said += 1 if text or notice else 0
