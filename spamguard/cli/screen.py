"""What does the command line look like, and what may it show?

Colours say what a word says too, so nothing is lost without them. A message's text reaches a terminal only with its
control characters made visible: an SMS must not move a reviewer's cursor.
"""

import os
import unicodedata
from typing import Any, Final, NoReturn

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamguard.types import Action, Decision

ACTION_STYLE: Final = {Action.ALLOW: "green", Action.BLOCK: "bold red"}
SPAM_STYLE: Final = "red"
HAM_STYLE: Final = "green"
UNSURE_STYLE: Final = "yellow"
DIM: Final = "bright_black"

#: Shown for what has no shape: invisible characters (a favourite of spammers) and direction marks.
INVISIBLE: Final = "·"
_CONTROL_PICTURES: Final = 0x2400


#: On a narrower screen a row of many columns that ends in a sentence takes two lines.
NARROW: Final = 110
#: How wide a table may be in a pipe or a file, where nobody wraps and `grep` wants whole lines.
FILE_COLUMNS: Final = 200


class Screen(Console):
    """A Rich console that shows text as it is (no markup, no emoji codes) and lets a broken pipe be one."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = FILE_COLUMNS

    def say(self, text: Text | str = "", style: str = "") -> None:
        """Print a line: wrapped on a terminal, and in one piece for whatever else reads it."""
        self.print(text, style=style or None, soft_wrap=not self.is_terminal)

    def lay_out(self, table: Table) -> None:
        """Print a table; Rich fills its lines up with blanks, which only a terminal does not mind."""
        if self.is_terminal:
            self.print(table)
            return
        with self.capture() as captured:
            self.print(table)
        for line in captured.get().splitlines():
            self.say(line.rstrip())

    def on_broken_pipe(self) -> NoReturn:
        """Raise instead of ending the process here."""
        raise BrokenPipeError


def plain_table(*columns: str, **more: Any) -> Table:
    """Return a table without a frame whose columns fold what is too long; a row of empty headings is not shown."""
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), **({"show_header": any(columns) or not columns} | more)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def indented(text: Text | str) -> Table:
    """Return a text that stands a little to the right, all its lines."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=2)
    table.add_column(overflow="fold")
    table.add_row("", text)
    return table


def complain(sentence: str) -> None:
    """Say on standard error what went wrong."""
    Screen(stderr=True).say(Text.assemble(("error: ", "bold red"), " ".join(sentence.split())))


def printable(text: str) -> str:
    """Return the text with every character that has no shape shown by one that has; lengths stay the same.

    >>> printable("加\u200b薇\x1b[2J")
    '加·薇␛[2J'
    """
    return text if text.isprintable() else "".join(map(_shape, text))


def _shape(char: str) -> str:
    if char.isprintable() or char == "\u3000":
        return char
    code = ord(char)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    if code == 0x7F:
        return "␡"
    return INVISIBLE if unicodedata.category(char) == "Cf" else "\ufffd"


def shortened(text: str, cells: int) -> str:
    """Return the text on one line, cut to a width in terminal cells; Han characters take two.

    >>> shortened("代开发票", 7)
    '代开发…'
    """
    text = printable(" ".join(text.split()))
    if cell_len(text) <= cells:
        return text
    kept, width = [], 1
    for char in text:
        width += cell_len(char)
        if width > cells:
            break
        kept.append(char)
    return "".join(kept) + "…"


def score_style(decision: Decision) -> str:
    """Return the colour of a decision's score, by the cutoffs it lies between."""
    if decision.score is None:
        return DIM
    if decision.score >= decision.spam_cutoff:
        return SPAM_STYLE
    return HAM_STYLE if decision.score < decision.ham_cutoff else UNSURE_STYLE


def score_text(score: float | None) -> str:
    """Return a score in four digits, which never shows what is not quite certain as certain.

    >>> [score_text(score) for score in (0.99996, 0.5, 0.0, None)]
    ['0.9999', '0.5000', '0.0000', '–']
    """
    if score is None:
        return "–"
    return f"{int(score * 10_000) / 10_000:.4f}"
