"""Where did somebody type a number that is to be forgotten?

Into notes, reasons and answers, and into texts pasted into cases: with spaces, dashes or brackets between the figures,
with or without the country's 86, in full-width figures too. What is inside a message that somebody else sent or got is
that person's, and goes with it.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, select, update

from spamguard.review.tables import case_notes, cases, entries, verdicts
from spamguard.review.vault import canonical

#: What may be typed in, each with the key of its row.
PLACES: Final[tuple[tuple[Column[Any], Column[Any]], ...]] = (
    (verdicts.c.id, verdicts.c.note),
    (case_notes.c.id, case_notes.c.text),
    (cases.c.seq, cases.c.text),
    (cases.c.seq, cases.c.answer),
    (entries.c.id, entries.c.reason),
)
#: Shorter ones are nobody's private number, and stand in every other note: dates, sums, short codes.
MIN_FIGURES: Final = 7
COVER: Final = "***"
_BETWEEN: Final = r"[\s\-\u2010-\u2015.·()（）/]{0,3}"
_FIGURE: Final = "[0-9０-９]"
_CHUNK: Final = 2000


class Mention(NamedTuple):
    """A text in which a number stands."""

    key: Column[Any]
    column: Column[Any]
    row: int
    text: str


def writings(number: str) -> re.Pattern[str] | None:
    """Return what finds a number however it is written; None for what is no number.

    >>> bool(writings("+8613900001234").search("call (139) 0000-1234 back"))
    True
    >>> writings("13900001234").search("order 913900001234") is None and writings("ALERT") is None
    True
    """
    figures = canonical(number)
    if not figures.isascii() or not figures.isdigit() or len(figures) < MIN_FIGURES:
        return None

    def spaced(figures: str) -> str:
        return _BETWEEN.join(f"[{figure}{chr(ord('０') + int(figure))}]" for figure in figures)

    country = f"(?:(?:[+＋]|{spaced('00')})?{_BETWEEN}{spaced('86')}{_BETWEEN})?"
    return re.compile(f"(?<!{_FIGURE}){country}[+＋]?{spaced(figures)}(?!{_FIGURE})")


def mentions(connection: Connection, number: str) -> Iterator[Mention]:
    """Yield every text that names a number."""
    pattern = writings(number)
    if pattern is None:
        return
    for key, column in PLACES:
        last = -1
        while True:
            query = select(key, column).where(key > last, column != "").order_by(key).limit(_CHUNK)
            rows = list(connection.execute(query))
            yield from (Mention(key, column, row, text) for row, text in rows if pattern.search(text))
            if len(rows) < _CHUNK:
                break
            last = rows[-1][0]


def cover(connection: Connection, number: str) -> int:
    """Put stars in place of a number wherever somebody typed it, and return in how many texts."""
    pattern = writings(number)
    if pattern is None:
        return 0
    found = list(mentions(connection, number))
    for one in found:
        covered = {one.column.name: pattern.sub(COVER, one.text)}
        connection.execute(update(one.column.table).where(one.key == one.row).values(covered))
    return len(found)
