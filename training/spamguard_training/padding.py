"""How does a model learn that good words around an advert do not make it a good message?

tf-idf is scaled to length one, so two innocent sentences halve every clue and bring clues of their own. Here a share
of the rows, spam and ham alike, trains once more with one to three private messages around it, and a share with a
notice or a sentence of one before or behind it: that there is padding says nothing, and what still tells the two apart
is what is heard. The vocabulary and the document frequencies stay those of the rows as they were sent.
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard_training.corpus import Row

#: How many private messages stand around a row, as often as they are named; what stands between them.
COUNTS: Final = (1, 2, 2, 3)
BETWEEN: Final = ("", "。", " ", "，", "\n")
#: Private messages shorter or longer than this are no padding: the one says nothing, the other hides everything.
SHORTEST, LONGEST = 6, 60
#: Notices of these lengths are baits.
SHORTEST_NOTICE, LONGEST_NOTICE = 6, 90
_NOTICES: Final = ("otp", "transaction", "service", "public")
_SENTENCE_END: Final = re.compile("(?<=[。！!.])")
#: A part of a notice shorter than this is no sentence.
SHORTEST_SENTENCE: Final = 6
#: Rows of sources that weigh less are so many that their copies would cost more than they teach.
LEAST_WEIGHT: Final = 0.5


class Copies(NamedTuple):
    """Copies of rows that train beside them, written otherwise."""

    texts: list[str]  #: as they would be sent, not normalised
    places: NDArray[np.int64]  #: which row each one is a copy of


def padded(
    rows: Sequence[Row], weights: NDArray[np.float64], seen: NDArray[np.int64], share: float, seed: int
) -> Copies:
    """Return padded copies of a share of the rows at `seen`; the padding comes from these rows too."""

    def write(text: str, pool: Sequence[str], rng: random.Random) -> list[str]:
        around = [rng.choice(pool) for _ in range(rng.choice(COUNTS))]
        around.insert(rng.randint(0, len(around)), text)
        return around

    return _copies(rows, weights, seen, share, f"{seed}:padding", _is_padding, write)


def with_notices(
    rows: Sequence[Row], weights: NDArray[np.float64], seen: NDArray[np.int64], share: float, seed: int
) -> Copies:
    """Return copies of a share of the rows at `seen` with a notice, or a sentence of one, before or behind them."""

    def write(text: str, pool: Sequence[str], rng: random.Random) -> list[str]:
        notice = rng.choice(pool)
        sentences = [part for part in _SENTENCE_END.split(notice) if len(part) >= SHORTEST_SENTENCE]
        if sentences and rng.random() < 0.5:
            notice = rng.choice(sentences)
        return [text, notice] if rng.random() < 0.5 else [notice, text]

    return _copies(rows, weights, seen, share, f"{seed}:notice", _is_notice, write)


def _copies(
    rows: Sequence[Row],
    weights: NDArray[np.float64],
    seen: NDArray[np.int64],
    share: float,
    name: str,
    is_beside: Callable[[Row], bool],
    write: Callable[[str, Sequence[str], random.Random], list[str]],
) -> Copies:
    """Return copies of a share of the rows that weigh, with texts of their language from these rows beside them."""
    pools: dict[str, list[str]] = {}
    for place in seen.tolist():
        if is_beside(row := rows[place]):
            pools.setdefault(row.lang[:2], []).append(row.text)
    texts, places = [], []
    for place in seen.tolist():
        row = rows[place]
        rng = random.Random(f"{name}:{row.id}")  # noqa: S311 - reproducible, not secret
        pool = pools.get(row.lang[:2])
        if pool is None or weights[place] < LEAST_WEIGHT or rng.random() >= share:
            continue
        parts = write(row.text, pool, rng)
        texts.append(rng.choice(BETWEEN).join(parts))
        places.append(place)
    return Copies(texts, np.array(places, dtype=np.int64))


def _is_notice(row: Row) -> bool:
    notice = row.category in _NOTICES or (row.public_category or "").endswith("OTP")
    return notice and not row.is_spam and SHORTEST_NOTICE < len(row.text) < LONGEST_NOTICE


def _is_padding(row: Row) -> bool:
    private = row.category == "personal" or row.public_category == "personal_chat"
    return private and not row.is_spam and SHORTEST < len(row.text) < LONGEST
