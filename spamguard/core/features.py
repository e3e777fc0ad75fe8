"""Which features does a batch of normalised messages carry, as integers?

There is one feature function, and training and serving share it. A *view* reads a message as a row of symbols
(jieba words, characters, syllables); its features are the n-grams of that row, packed into one 64-bit key each:
exact, without hashing, because a symbol outside the vocabulary is 0 and breaks every n-gram it would be part of.
All work is done on whole batches in numpy; the only Python loop is one dictionary look-up a word.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from spamguard.core.normalize import TOKENS
from spamguard.core.tokenizer import tokenize

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]

_LINE_BREAK: Final = 0x0A
_BLANKS: Final = {" ": 1, "\n": 2}


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How one view reads a message; part of the manifest.

    `bits` is the width of a symbol: n-grams of up to 64 / bits symbols fit a key.
    """

    name: str  #: words, crossed, chars or sounds
    bits: int
    shortest: int  #: smallest n of its n-grams
    longest: int
    #: Crossed only: groups of words; a message that holds a word of group k pairs k with each of its words.
    markers: tuple[tuple[str, ...], ...] = ()

    @property
    def reads_words(self) -> bool:
        """Whether its symbols are jieba's words; else they are characters, or what stands for them."""
        return self.name in ("words", "crossed")

    def __post_init__(self) -> None:
        if not (self.bits >= 1 and 1 <= self.shortest <= self.longest <= 64 // self.bits):
            raise ValueError(f"view {self.name}: n-grams of {self.shortest} to {self.longest} symbols do not fit")


WORDS: Final = View(name="words", bits=32, shortest=1, longest=2)
CROSSED: Final = View(
    name="crossed",
    bits=32,
    shortest=2,
    longest=2,
    markers=(
        (TOKENS["url_rare"], TOKENS["url_short"], TOKENS["url_ip"]),
        (TOKENS["url"],),
        (TOKENS["mobile"], TOKENS["landline"], TOKENS["hotline"], "微信", "vx", "qq"),
        ("退订", "拒收", "td", "stop", "unsubscribe"),
    ),
)
CHARS: Final = View(name="chars", bits=16, shortest=1, longest=4)
SOUNDS: Final = View(name="sounds", bits=16, shortest=2, longest=3)


class Symbols(NamedTuple):
    """A batch as one row of symbols: `values[i]` belongs to message `rows[i]`; 0 is unknown and breaks n-grams."""

    values: Keys
    rows: Rows


class Grams(NamedTuple):
    """N-grams of a batch, one entry an occurrence: the message it is in, its key, its first symbol and its length."""

    rows: Rows
    keys: Keys
    starts: Rows
    lengths: Rows


def word_symbols(texts: Sequence[str], ids: Mapping[str, int]) -> Symbols:
    """Return the words of a batch of normalised texts by their ids (from 1; unknown words are 0).

    White space is left out, so that words on both sides of it are neighbours.
    """
    words = tokenize("\n".join(texts))
    values = np.fromiter(map(ids.get, words, repeat(0)), dtype=np.uint64, count=len(words))
    blanks = np.fromiter(map(_BLANKS.get, words, repeat(0)), dtype=np.uint8, count=len(words))
    values[blanks != 0] = 0
    kept = blanks != _BLANKS[" "]
    return Symbols(values[kept], np.cumsum(blanks[kept] != 0, dtype=np.int64))


def code_points(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the characters of a batch joined by line breaks, as code points."""
    return np.frombuffer("\n".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def char_symbols(codes: NDArray[np.uint32], table: NDArray[np.uint16]) -> Symbols:
    """Return the symbols of a batch's code points by a table of 0x110000 entries (0 is unknown)."""
    return Symbols(table[codes].astype(np.uint64), np.cumsum(codes == _LINE_BREAK, dtype=np.int64))


def grams(symbols: Symbols, view: View) -> Grams:
    """Return every n-gram of known symbols, by length and then by place.

    >>> two = Symbols(np.array([7, 8], dtype=np.uint64), np.array([0, 0]))
    >>> [hex(key) for key in grams(two, View(name="chars", bits=16, shortest=1, longest=2)).keys]
    ['0x7', '0x8', '0x70008']
    """
    values, rows = symbols
    keys = values
    known = values != 0
    found: list[tuple[Rows, Keys, Rows, int]] = []
    for length in range(1, view.longest + 1):
        if length > 1:
            keys = (keys[:-1] << np.uint64(view.bits)) | values[length - 1 :]
            known = known[:-1] & (values[length - 1 :] != 0)
        if length >= view.shortest:
            starts = np.flatnonzero(known)
            found.append((rows[starts], keys[starts], starts, length))
    return Grams(
        np.concatenate([f[0] for f in found]),
        np.concatenate([f[1] for f in found]),
        np.concatenate([f[2] for f in found]),
        np.concatenate([np.full(len(f[0]), f[3], dtype=np.int64) for f in found]),
    )


def crossed(symbols: Symbols, markers: Sequence[NDArray[np.uint64]], bits: int) -> Grams:
    """Return each known word of a message paired with the number (from 1) of every marker the message holds.

    What a link asks one to do is the plainest sign of fraud, and a linear model sees it only as a pair: a parcel is
    good news, a link is harmless, a parcel with a link to an odd host is neither.
    """
    values, rows = symbols
    known = values != 0
    found: list[tuple[Rows, Keys, Rows]] = []
    for number, words in enumerate(markers, start=1):
        holds = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, dtype=bool)
        holds[rows[np.isin(values, words)]] = True
        starts = np.flatnonzero(known & holds[rows])
        found.append((rows[starts], np.uint64(number << bits) | values[starts], starts))
    starts = np.concatenate([f[2] for f in found])
    return Grams(
        np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]), starts, np.ones_like(starts)
    )


def marker_ids(view: View, ids: Mapping[str, int]) -> list[NDArray[np.uint64]]:
    """Return the word ids of each of a view's markers; words outside the vocabulary mark nothing."""
    return [np.array([ids[word] for word in words if word in ids], dtype=np.uint64) for words in view.markers]


def read(
    texts: Sequence[str], views: Sequence[View], ids: Mapping[str, int], tables: Mapping[str, NDArray[np.uint16]]
) -> Iterator[Grams]:
    """Yield the n-grams of a batch of normalised texts, a view at a time: the one feature function.

    `ids` numbers the words from 1; `tables` holds the symbol table of each view of characters.
    """
    words = word_symbols(texts, ids) if any(view.reads_words for view in views) else None
    codes = code_points(texts)
    for view in views:
        if words is None or not view.reads_words:
            yield grams(char_symbols(codes, tables[view.name]), view)
        elif view.markers:
            yield crossed(words, marker_ids(view, ids), view.bits)
        else:
            yield grams(words, view)


#: Keys a table takes at once. A numpy call keeps the interpreter's lock; a model that is loaded while another one
#: decides must not keep it for longer than a slice of messages does.
PLACED_TOGETHER: Final = 1 << 14


class KeyTable:
    """Finds the position of a key among the vocabulary's keys, for whole arrays at once.

    Open addressing with linear probing at a load of at most one half: nearly every look-up, and nearly every miss,
    is settled by the first probe, where a binary search would take eighteen.
    """

    def __init__(self, keys: Keys) -> None:
        distinct = bool((keys[1:] > keys[:-1]).all()) or len(np.unique(keys)) == len(keys)
        if not distinct or (len(keys) and keys.min() == 0):
            raise ValueError("keys must be distinct and not 0")
        self._bits = max(4, int(len(keys) * 2).bit_length())
        size = 1 << self._bits
        self._keys = np.zeros(size, dtype=np.uint64)
        self._positions = np.full(size, -1, dtype=np.int64)
        for first in range(0, len(keys), PLACED_TOGETHER):
            self._place(keys, np.arange(first, min(first + PLACED_TOGETHER, len(keys)), dtype=np.int64))

    def _place(self, keys: Keys, waiting: Rows) -> None:
        """Give each waiting key the next free slot; of several that want the same one, the last gets it."""
        slots = self._slots(keys[waiting])
        while len(waiting):
            free = self._keys[slots] == 0
            self._positions[slots[free]] = waiting[free]
            placed = self._positions[slots] == waiting
            self._keys[slots[placed]] = keys[waiting[placed]]
            waiting, slots = waiting[~placed], (slots[~placed] + 1) & (len(self._keys) - 1)

    def _slots(self, keys: Keys) -> Rows:
        mixed = (keys ^ (keys >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
        return (mixed >> np.uint64(64 - self._bits)).astype(np.int64)

    def find(self, keys: Keys) -> Rows:
        """Return each key's position in the vocabulary, -1 for keys that are not there."""
        slots = self._slots(keys)
        there = self._keys[slots]
        positions = np.where(there == keys, self._positions[slots], -1)
        waiting = np.flatnonzero((there != keys) & (there != 0))
        while len(waiting):
            slots[waiting] = (slots[waiting] + 1) & (len(self._keys) - 1)
            there = self._keys[slots[waiting]]
            wanted = keys[waiting]
            hit = there == wanted
            positions[waiting[hit]] = self._positions[slots[waiting[hit]]]
            waiting = waiting[~hit & (there != 0)]
        return positions


class Counts(NamedTuple):
    """How often each known feature occurs in each message, sorted by message and feature."""

    rows: Rows
    features: Rows
    counts: Rows


def count(rows: Rows, features: Rows, size: int) -> Counts:
    """Return the occurrences of known features (not -1) counted per message; `size` is the number of features."""
    known = features >= 0
    combined = rows[known] * size + features[known]
    combined.sort()
    if not len(combined):
        empty = np.zeros(0, dtype=np.int64)
        return Counts(empty, empty, empty)
    first = np.flatnonzero(np.concatenate(([True], combined[1:] != combined[:-1])))
    distinct = combined[first]
    return Counts(distinct // size, distinct % size, np.diff(np.append(first, len(combined))))
