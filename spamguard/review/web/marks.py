"""Where in the original text do the clues stand, and what in it cannot be seen?

The pieces, joined, are the text again, character by character: nothing is normalised, nothing left out.
"""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from spamguard.types import Clue

#: Below this pull, in log-odds, a mark is faint; from the second on it is strong.
FAINT_BELOW: Final = 0.75
STRONG_FROM: Final = 2.0
_JOINER: Final = "\u200d"


class Piece(NamedTuple):
    """A run of the text that is shown in one way."""

    text: str
    pull: float = 0.0  #: log-odds of all clues over it; 0 where there is none
    hidden: str = ""  #: the code point, where the character has no shape

    @property
    def side(self) -> str:
        """Return what the piece speaks for: spam, ham or nothing."""
        return "" if self.pull == 0 else "spam" if self.pull > 0 else "ham"

    @property
    def strength(self) -> int:
        """Return 1, 2 or 3."""
        pull = abs(self.pull)
        return 1 if pull < FAINT_BELOW else 2 if pull < STRONG_FROM else 3


def pieces(text: str, clues: Sequence[Clue]) -> list[Piece]:
    """Return a text cut where clues begin and end, and around characters that cannot be seen.

    >>> [piece.text for piece in pieces("加薇信", [Clue(feature="微信", start=1, end=3, pull=1.0)])]
    ['加', '薇信']
    """
    size = len(text)
    spans = [(max(0, clue.start), min(size, clue.end), clue.pull) for clue in clues]
    spans = [span for span in spans if span[0] < span[1]]
    hidden = {place for place in range(size) if _unseen(text, place)}
    edges = {0, size, *hidden, *(place + 1 for place in hidden)}
    for start, end, _ in spans:
        edges |= {start, end}
    cuts = sorted(edges)
    found = []
    for start, end in pairwise(cuts):
        pull = sum(pull for first, last, pull in spans if first <= start and end <= last)
        name = f"U+{ord(text[start]):04X}" if start in hidden else ""
        found.append(Piece(text[start:end], pull, name))
    return found


def _unseen(text: str, place: int) -> bool:
    """Return whether a character has no shape: zero-width, a direction mark, a control, half a surrogate pair."""
    character = text[place]
    kind = unicodedata.category(character)
    if kind not in ("Cf", "Cc", "Cs", "Co", "Zl", "Zp"):
        return False
    if character in "\n\r\t":
        return False
    return not (character == _JOINER and _emoji(text[place - 1 : place]) and _emoji(text[place + 1 : place + 2]))


def _emoji(character: str) -> bool:
    """Return whether a joiner beside this character makes one picture of several, as it should."""
    return bool(character) and (unicodedata.category(character) in ("So", "Sk") or character == "\ufe0f")
