"""Which features does a batch of normalised messages carry, as integers?

There is one feature function, and training and serving share it. A *view* reads a message as a row of symbols
(jieba words, characters, syllables); its features are the n-grams of that row, packed into one 64-bit key each:
exact, without hashing, because a symbol outside the vocabulary is 0 and breaks every n-gram it would be part of.
All work is done on whole batches in numpy; the only Python loop is one dictionary look-up a word.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count as count_from
from itertools import repeat
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from spamguard.core.normalize import TOKENS
from spamguard.core.shape import shapes
from spamguard.core.sounds import MOST_LETTERS, spelt
from spamguard.core.tokenizer import tokenize

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]

_LINE_BREAK: Final = 0x0A
#: What white space counts as while words are read: no word has such a number.
_SPACE: Final = 1 << 62
_BREAK: Final = 1 << 63
_FIRST_LETTER: Final = ord("a")
_LETTERS: Final = 26
_FIRST_HAN: Final = 0x4E00
_HANS: Final = 0xA000 - _FIRST_HAN


def where(mask: NDArray[np.bool_]) -> Rows:
    """Return the indices at which a mask is true; `np.flatnonzero` is three functions deep, which is felt."""
    return mask.nonzero()[0]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How one view reads a message; part of the manifest.

    `bits` is the width of a symbol: n-grams of up to 64 / bits symbols fit a key.
    """

    name: str  #: words, crossed, chars, sounds or shape
    bits: int
    shortest: int  #: smallest n of its n-grams
    longest: int
    #: Crossed only: groups of words; a message that holds a word of group k pairs k with each of its words.
    markers: tuple[tuple[str, ...], ...] = ()

    @property
    def reads_words(self) -> bool:
        """Whether its symbols are jieba's words."""
        return self.name in ("words", "crossed")

    @property
    def reads_chars(self) -> bool:
        """Whether its symbols are characters, or what stands for them."""
        return self.name in ("chars", "sounds")

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
SHAPE: Final = View(name="shape", bits=16, shortest=1, longest=1)


class Symbols(NamedTuple):
    """A batch as one row of symbols: `values[i]` belongs to message `rows[i]`; 0 is unknown and breaks n-grams."""

    values: Keys
    rows: Rows


class Grams(NamedTuple):
    """N-grams of a batch, one entry an occurrence: the message it is in, its key, and where it stands.

    `places` numbers the cells of a table with one row a length and one column a symbol, `width` columns wide.
    """

    rows: Rows
    keys: Keys
    places: Rows
    width: int
    shortest: int

    def spans(self, which: Rows) -> tuple[Rows, Rows]:
        """Return the first symbol and the number of symbols of some of them."""
        lengths, starts = np.divmod(self.places.take(which), max(1, self.width))
        return starts, lengths + self.shortest


def word_symbols(texts: Sequence[str], numbers: Mapping[str, int]) -> Symbols:
    """Return the words of a batch of normalised texts by their `word_numbers` (unknown words are 0).

    White space is left out, so that words on both sides of it are neighbours.
    """
    words = tokenize("\n".join(texts))
    values = np.fromiter(map(numbers.get, words, repeat(0)), dtype=np.uint64, count=len(words))
    values = values[values != _SPACE]
    breaks = values == _BREAK
    values[breaks] = 0
    return Symbols(values, breaks.cumsum(dtype=np.int64))


def word_numbers(ids: Mapping[str, int]) -> dict[str, int]:
    """Return word ids with numbers for white space, as `word_symbols` looks them up."""
    return {**ids, " ": _SPACE, "\n": _BREAK}


def code_points(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the characters of a batch joined by line breaks, as code points."""
    return np.frombuffer("\n".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def char_symbols(codes: NDArray[np.uint32], table: NDArray[np.uint16], rows: Rows | None = None) -> Symbols:
    """Return the symbols of a batch's code points by a table of 0x110000 entries (0 is unknown).

    `rows` are the code points' messages, for those who have them already.
    """
    return Symbols(table.take(codes).astype(np.uint64), messages_of(codes) if rows is None else rows)


def messages_of(codes: NDArray[np.uint32]) -> Rows:
    """Return the message of each of a batch's code points."""
    rows: Rows = (codes == _LINE_BREAK).cumsum(dtype=np.int64)
    return rows


class Heard(NamedTuple):
    """A batch as syllables, and which characters of the joined batch each of them was written with."""

    symbols: Symbols
    starts: Rows
    ends: Rows


def heard(
    texts: Sequence[str], codes: NDArray[np.uint32], table: NDArray[np.uint16], rows: Rows | None = None
) -> Heard:
    """Return the syllables of a batch's code points by a table of 0x110000 entries (0 is unknown).

    A run of letters beside a Han character that spells syllables is heard as those; any other letter is not heard.
    """
    symbols = char_symbols(codes, table, rows)
    starts = np.arange(len(codes), dtype=np.int64)
    ends = starts + 1
    is_letter = np.zeros(len(codes) + 2, dtype=np.bool_)
    is_letter[1:-1] = codes - np.uint32(_FIRST_LETTER) < _LETTERS  # unsigned: what is below wraps around
    edges = where(is_letter[1:] != is_letter[:-1])
    firsts, lasts = edges[::2], edges[1::2]
    # Where the batch begins or ends with a letter its neighbour is taken to be that letter, which is no Han character.
    neighbours = codes.take(np.concatenate((firsts - 1, lasts)), mode="clip") if len(edges) else codes[:0]
    is_han = neighbours - np.uint32(_FIRST_HAN) < _HANS
    beside = where((is_han[: len(firsts)] | is_han[len(firsts) :]) & (lasts - firsts <= MOST_LETTERS))
    if not len(beside):
        return Heard(symbols, starts, ends)
    joined = "\n".join(texts)
    kept = np.ones(len(codes), dtype=np.bool_)
    for first, last in zip(firsts.take(beside).tolist(), lasts.take(beside).tolist(), strict=True):
        if (chars := spelt(joined[first:last])) is not None:
            behind = first + len(chars)
            symbols.values[first:behind] = [table[ord(char)] for char in chars]
            starts[first:behind], ends[first:behind] = first, last
            kept[behind:last] = False
    if kept.all():
        return Heard(symbols, starts, ends)
    places = where(kept)
    return Heard(
        Symbols(symbols.values.take(places), symbols.rows.take(places)), starts.take(places), ends.take(places)
    )


def grams(symbols: Symbols, view: View) -> Grams:
    """Return every n-gram of known symbols, by length and then by place.

    >>> two = Symbols(np.array([7, 8], dtype=np.uint64), np.array([0, 0]))
    >>> [hex(key) for key in grams(two, View(name="chars", bits=16, shortest=1, longest=2)).keys]
    ['0x7', '0x8', '0x70008']
    """
    values, rows = symbols
    width = len(values)
    keys = np.empty((view.longest, width), dtype=np.uint64)
    known = np.zeros((view.longest, width), dtype=bool)
    keys[0] = values
    np.not_equal(values, 0, out=known[0])
    for more in range(1, min(view.longest, width)):
        until = width - more
        np.left_shift(keys[more - 1, :until], np.uint64(view.bits), out=keys[more, :until])
        np.bitwise_or(keys[more, :until], values[more:], out=keys[more, :until])
        np.logical_and(known[more - 1, :until], known[0, more:], out=known[more, :until])
    places = where(known[view.shortest - 1 :].ravel())
    return Grams(
        np.concatenate([rows] * (view.longest - view.shortest + 1)).take(places),
        keys[view.shortest - 1 :].ravel().take(places),
        places,
        width,
        view.shortest,
    )


def crossed(symbols: Symbols, markers: Sequence[NDArray[np.uint64]], bits: int) -> Grams:
    """Return each known word of a message paired with the number (from 1) of every marker the message holds.

    What a link asks one to do is the plainest sign of fraud, and a linear model sees it only as a pair: a parcel is
    good news, a link is harmless, a parcel with a link to an odd host is neither.
    """
    values, rows = symbols
    words, numbers = np.concatenate(markers), np.arange(len(markers)).repeat([len(words) for words in markers])
    which, places = (values == words[:, None]).nonzero()
    holds = np.zeros((len(markers), int(rows[-1]) + 1 if len(rows) else 0), dtype=bool)
    holds[numbers.take(which), rows.take(places)] = True
    found, starts = (holds.take(rows, axis=1) & (values != 0)).nonzero()
    keys = (found + 1).astype(np.uint64) << np.uint64(bits) | values.take(starts)
    return Grams(rows.take(starts), keys, starts, len(values), 1)


def marker_ids(view: View, ids: Mapping[str, int]) -> list[NDArray[np.uint64]]:
    """Return the word ids of each of a view's markers; words outside the vocabulary mark nothing."""
    return [np.array([ids[word] for word in words if word in ids], dtype=np.uint64) for words in view.markers]


def shape_grams(symbols: NDArray[np.int64]) -> Grams:
    """Return each message's symbols of shape, one row a message; they stand nowhere in its text."""
    messages, slots = symbols.shape
    rows = np.arange(messages, dtype=np.int64).repeat(slots)
    return Grams(rows, symbols.ravel().view(np.uint64), np.zeros(len(rows), dtype=np.int64), 1, 1)


class ViewOfBatch(NamedTuple):
    """One view's n-grams of a batch, and the message each symbol belongs to."""

    rows: Rows
    grams: Grams


def read(
    texts: Sequence[str],
    views: Sequence[View],
    numbers: Mapping[str, int],
    tables: Mapping[str, NDArray[np.uint16]],
    markers: Mapping[str, Sequence[NDArray[np.uint64]]],
) -> Iterator[ViewOfBatch]:
    """Yield the n-grams of a batch of normalised texts, a view at a time: the one feature function.

    `numbers` are the `word_numbers` and `markers` the `marker_ids` of each view; `tables` holds the symbol table of
    each view of characters.
    """
    words = word_symbols(texts, numbers) if any(view.reads_words for view in views) else None
    codes = code_points(texts)
    rows = messages_of(codes)
    for view in views:
        if view.name == SOUNDS.name:
            syllables = heard(texts, codes, tables[view.name], rows).symbols
            yield ViewOfBatch(syllables.rows, grams(syllables, view))
        elif view.name == SHAPE.name:
            found = shape_grams(shapes(codes, len(texts), rows))
            yield ViewOfBatch(found.rows, found)
        elif words is None or not view.reads_words:
            symbols = char_symbols(codes, tables[view.name], rows)
            yield ViewOfBatch(symbols.rows, grams(symbols, view))
        elif view.markers:
            yield ViewOfBatch(words.rows, crossed(words, markers[view.name], view.bits))
        else:
            yield ViewOfBatch(words.rows, grams(words, view))


#: Keys a table takes at once. A numpy call keeps the interpreter's lock; a model that is loaded while another one
#: decides must not keep it for longer than a slice of messages does.
PLACED_TOGETHER: Final = 1 << 14


#: Slots a key may stand in, its own and the next ones. More would only be asked for by a few stray keys, each of which
#: costs a small batch a whole round of numpy calls; what does not fit is searched for instead.
PROBES: Final = 3
_MIX: Final = 0x9E3779B97F4A7C15
_SALT: Final = 0xD1342543DE82EF95


class KeyTable:
    """Finds the position of a key among the vocabulary's keys, for whole arrays at once.

    Open addressing at a load of at most one half: nearly every look-up, and nearly every miss, is settled by the first
    probe, where a binary search would take eighteen. The few keys that find all their slots taken are kept aside,
    sorted.
    """

    def __init__(self, keys: Keys) -> None:
        distinct = bool((keys[1:] > keys[:-1]).all()) or len(np.unique(keys)) == len(keys)
        if not distinct or (len(keys) and keys.min() == 0):
            raise ValueError("keys must be distinct and not 0")
        self.size = len(keys)
        self._bits = max(4, int(len(keys) * 2).bit_length())
        size = 1 << self._bits
        self._keys = np.zeros(size, dtype=np.uint64)
        self._positions = np.full(size, -1, dtype=np.int64)
        every = np.arange(len(keys), dtype=np.int64)
        parts = range(0, max(1, len(keys)), PLACED_TOGETHER)
        aside = np.concatenate([self._place(keys, every[first : first + PLACED_TOGETHER]) for first in parts])
        self._aside_positions = aside[np.argsort(keys[aside])]
        self._aside = np.append(keys[self._aside_positions], np.uint64(0))  # 0, which no key is, ends it

    def _place(self, keys: Keys, waiting: Rows) -> Rows:
        """Give each waiting key a free slot; of several that want the same one, the last gets it. Return who got none.

        A key that moves on leaves a taken slot behind: a look-up may stop at the first free one.
        """
        slots = self._slots(keys[waiting])
        for _ in range(PROBES):
            free = self._keys[slots] == 0
            self._positions[slots[free]] = waiting[free]
            placed = self._positions[slots] == waiting
            self._keys[slots[placed]] = keys[waiting[placed]]
            waiting, slots = waiting[~placed], (slots[~placed] + 1) & (len(self._keys) - 1)
        return waiting

    def _slots(self, keys: Keys) -> Rows:
        mixed = (keys ^ (keys >> np.uint64(29))) * np.uint64(_MIX)
        return (mixed >> np.uint64(64 - self._bits)).view(np.int64)

    def find(self, keys: Keys) -> Rows:
        """Return each key's position in the vocabulary, -1 for keys that are not there."""
        slots = self._slots(keys)
        positions = self._positions.take(slots)
        there = self._keys.take(slots)
        missed = there != keys
        positions[missed] = -1
        waiting = where(missed & (there != 0))
        slots, keys = slots.take(waiting), keys.take(waiting)
        for _ in range(PROBES - 1):
            slots = (slots + 1) & (len(self._keys) - 1)
            there = self._keys.take(slots)
            hit = where(there == keys)
            positions[waiting.take(hit)] = self._positions.take(slots.take(hit))
            onward = where((there != keys) & (there != 0))
            waiting, slots, keys = waiting.take(onward), slots.take(onward), keys.take(onward)
        places = np.searchsorted(self._aside[:-1], keys)
        hit = where(self._aside.take(places) == keys)
        positions[waiting.take(hit)] = self._aside_positions.take(places.take(hit))
        return positions


class KeyTables:
    """Finds the keys of several views at once, each among its own view's vocabulary.

    A small batch costs by calls, not by keys, so the tables of all views lie in one array, one behind the other, and
    one look-up serves them all. Behind each stand its first slots once more, so that no probe has to turn around. What
    a table keeps aside is one sorted array for all: a key is salted by its view, and found only by its own view.
    """

    def __init__(self, tables: Sequence[KeyTable]) -> None:
        keys, positions, first = [], [], 0
        for table in tables:
            keys += [table._keys, table._keys[: PROBES - 1]]
            positions += [table._positions + first, table._positions[: PROBES - 1] + first]
            first += table.size
        self._bases = np.cumsum([0, *(len(table._keys) + PROBES - 1 for table in tables)])[:-1]
        self._shifts = np.array([64 - table._bits for table in tables], dtype=np.uint64)
        self._keys = np.concatenate(keys)
        aside = np.concatenate([table._aside[:-1] for table in tables])
        views = np.arange(len(tables)).repeat([len(table._aside_positions) for table in tables])
        firsts = np.cumsum([0, *(table.size for table in tables)])
        aside_positions = np.concatenate([table._aside_positions for table in tables]) + firsts.take(views)
        for factor in count_from(_SALT, 2):
            self._salts = np.arange(len(tables), dtype=np.uint64) * np.uint64(factor)
            salted = aside ^ self._salts.take(views)
            order = salted.argsort()
            salted = salted.take(order)
            if (salted[1:] != salted[:-1]).all():
                break
        self._aside = salted
        #: … ended by one that belongs to no view
        self._aside_ended = np.append(salted, np.uint64(0))
        self._aside_views = np.append(views.take(order), -1)
        #: by slot, then by place among those aside
        self._positions = np.concatenate([*positions, aside_positions.take(order), [-1]])

    def find(self, keys: Sequence[Keys]) -> tuple[Rows, Rows]:
        """Return which keys are known, numbered through all views, and their positions in all vocabularies together."""
        every, sizes = np.concatenate(keys), [len(own) for own in keys]
        mixed = every >> np.uint64(29)
        mixed ^= every
        mixed *= np.uint64(_MIX)
        mixed >>= self._shifts.repeat(sizes)
        slots = mixed.view(np.int64)
        slots += self._bases.repeat(sizes)
        there = self._keys.take(slots)
        hit = there == every
        waiting = where(hit < (there != 0))
        waited, onto = every.take(waiting), slots.take(waiting)
        for _ in range(PROBES - 1):
            onto += 1
            there = self._keys.take(onto)
            found = there == waited
            slots[waiting], hit[waiting] = onto, found
            onward = where(found < (there != 0))
            waiting, waited, onto = waiting.take(onward), waited.take(onward), onto.take(onward)
        if len(waiting):
            views = self._bases.searchsorted(onto, side="right") - 1
            salted = waited ^ self._salts.take(views)
            places = self._aside.searchsorted(salted)
            slots[waiting] = places + len(self._keys)
            hit[waiting] = (self._aside_ended.take(places) == salted) & (self._aside_views.take(places) == views)
        known = where(hit)
        return known, self._positions.take(slots.take(known))


class Counts(NamedTuple):
    """How often each known feature occurs in each message, sorted by message and feature."""

    rows: Rows
    features: Rows
    counts: Rows


def count(rows: Rows, features: Rows, size: int) -> Counts:
    """Return the occurrences of known features (not -1) counted per message; `size` is the number of features."""
    known = where(features >= 0)
    bits = size.bit_length()
    combined = rows.take(known) << bits | features.take(known)
    # Stable is a merge sort. The default is vectorised, and three times as slow on a processor that is slow at it.
    combined.sort(kind="stable")
    first = where(np.diff(combined, prepend=-1))
    distinct = combined.take(first)
    return Counts(distinct >> bits, distinct & ((1 << bits) - 1), np.diff(first, append=len(combined)))


#: A small table costs a small batch more rounds, and each round a dozen calls.
_LEAST_BITS: Final = 12


def last_alike(values: Rows) -> Rows:
    """Return for each value the index of its last equal; equal values have equal answers.

    Hashing into a table that need not be cleared: whoever wrote a slot last is found there by all of its equals, and
    those who find a stranger try again, elsewhere. A third of what sorting takes.

    >>> last_alike(np.array([7, 5, 7, 9])).tolist()
    [2, 1, 2, 3]
    """
    alike = np.empty(len(values), dtype=np.int64)
    waiting, keys, factor = np.arange(len(values), dtype=np.int64), values.astype(np.uint64), 0x9E3779B97F4A7C15
    while len(waiting):
        bits = max(_LEAST_BITS, (len(waiting) * 4).bit_length())
        slots = (keys * np.uint64(factor) >> np.uint64(64 - bits)).astype(np.int64)
        table = np.empty(1 << bits, dtype=np.int64)
        table[slots] = np.arange(len(waiting), dtype=np.int64)
        found = table.take(slots)
        alike[waiting] = waiting.take(found)
        strangers = where(keys.take(found) != keys)
        waiting, keys = waiting.take(strangers), keys.take(strangers)
        factor = (factor * 0xD1342543DE82EF95 | 1) & ((1 << 64) - 1)
    return alike
