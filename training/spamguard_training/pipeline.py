"""What is fitted, in scikit-learn's words?

`ViewCounts` wraps the one feature function of `spamguard.core.features` as a transformer that learns its vocabulary;
the rest is scikit-learn: TfidfTransformer per view, side by side, and a linear classifier. The fitted pipeline is for
people who retrain and inspect; the service loads the arrays that `export` takes out of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from string import ascii_lowercase
from typing import Any, Final, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from spamguard.core.features import Grams, Keys, KeyTable, View, code_points, count, marker_ids, read, word_numbers
from spamguard.core.tokenizer import tokenize
from spamguard_training.cores import spread
from spamguard_training.descent import Logistic, Svm

CHUNK = 4000  #: messages featurised at once: a few hundred megabytes at most
GROWTH = 1 << 23  #: most values more that a matrix of unknown size is held ready for

Texts = Sequence[str]
_LINE_BREAK: Final = 0x0A


def _chunks(texts: Texts) -> Iterator[Texts]:
    for first in range(0, len(texts), CHUNK):
        yield texts[first : first + CHUNK]


class _Chunk(NamedTuple):
    """Some whole groups: their texts, and the group of each, a group's texts side by side."""

    texts: Texts
    groups: NDArray[np.int64]


def _whole_groups(texts: Texts, groups: NDArray[np.int64]) -> Iterator[_Chunk]:
    """Yield all texts, about a chunk at a time and no group in two of them."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], groups[order][1:] != groups[order][:-1])))[: len(order)]
    first = 0
    while first < len(order):
        at = int(np.searchsorted(starts, first + CHUNK, side="left"))
        last = int(starts[at]) if at < len(starts) else len(order)
        places = order[first:last]
        yield _Chunk([texts[place] for place in places.tolist()], groups[places])
        first = last


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each number once, in order. `np.unique` hashes them, which takes seven times as long as sorting."""
    numbers = np.sort(numbers, kind="stable")
    return numbers[np.concatenate(([True], numbers[1:] != numbers[:-1]))[: len(numbers)]]


class _Alphabet(NamedTuple):
    """In how many groups each word and each character occurs."""

    words: Mapping[str, int]
    characters: Mapping[int, int]


def _spell(views: Sequence[View], chunk: _Chunk) -> _Alphabet:
    """Count the groups of each word and of each character, as far as the views read them."""
    words: Counter[str] = Counter()
    characters: Counter[int] = Counter()
    if any(view.reads_words for view in views):
        mine: set[str] = set()
        for text, ends in zip(chunk.texts, np.diff(chunk.groups, append=-1) != 0, strict=True):
            mine.update(tokenize(text))
            if ends:
                words.update(mine)
                mine.clear()
    if any(view.reads_chars for view in views):
        codes = code_points(chunk.texts)
        rows = np.minimum(np.cumsum(codes == _LINE_BREAK), len(chunk.groups) - 1)
        numbers = np.cumsum(np.diff(chunk.groups, prepend=-1) != 0)  # small ones: a code and a group share an integer
        distinct = _distinct(codes.astype(np.int64) << 32 | numbers[rows]) >> 32
        characters.update(distinct.tolist())
    return _Alphabet(words, characters)


class _Reader:
    """Turns texts into n-grams of some views; what it looks things up in is made once a process."""

    def __init__(
        self,
        views: Sequence[View],
        word_ids: Mapping[str, int],
        symbols: Mapping[str, tuple[NDArray[np.uint32], NDArray[np.uint16]]],
    ) -> None:
        self.views = views
        self._word_ids = word_ids
        self._symbols = symbols  # by view: code points, and what they stand for

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return word_numbers(self._word_ids)

    @cached_property
    def _tables(self) -> Mapping[str, NDArray[np.uint16]]:
        tables = {}
        for name, (codes, symbols) in self._symbols.items():
            tables[name] = np.zeros(0x110000, dtype=np.uint16)
            tables[name][codes] = symbols
        return tables

    def grams(self, texts: Texts) -> list[Grams]:
        """Return each view's n-grams."""
        markers = {view.name: marker_ids(view, self._word_ids) for view in self.views}
        return [found.grams for found in read(texts, self.views, self._numbers, self._tables, markers)]


class _Frequencies(NamedTuple):
    """In how many groups, and in how many messages, each key occurs; keys are sorted."""

    keys: Keys
    groups: NDArray[np.int32]
    messages: NDArray[np.int32]

    def at(self, which: NDArray[Any]) -> "_Frequencies":
        """Return those of some places, or of a mask."""
        return _Frequencies(self.keys[which], self.groups[which], self.messages[which])


def _together(parts: Sequence[_Frequencies]) -> _Frequencies:
    """Return all parts one after the other, their keys in order; equal ones stay apart."""
    keys = np.concatenate([part.keys for part in parts])
    every = _Frequencies(
        keys, np.concatenate([part.groups for part in parts]), np.concatenate([part.messages for part in parts])
    )
    return every.at(np.argsort(keys, kind="stable"))


def _frequencies(reader: _Reader, chunk: _Chunk) -> list[_Frequencies]:
    """Return what each view counts in some whole groups."""
    return [_occurrences(found.keys, found.rows, chunk.groups) for found in reader.grams(chunk.texts)]


def _occurrences(keys: Keys, rows: NDArray[np.int64], groups: NDArray[np.int64]) -> _Frequencies:
    """Count the groups and messages of each key; `groups` of the messages, a group's messages side by side."""
    distinct, places = np.unique(keys, return_inverse=True)
    bits = len(groups).bit_length()
    both = _distinct(places << bits | rows)
    places, of_place = both >> bits, groups[both & ((1 << bits) - 1)]
    fresh = np.concatenate(([True], (places[1:] != places[:-1]) | (of_place[1:] != of_place[:-1])))[: len(places)]
    in_groups, in_messages = (np.bincount(found, minlength=len(distinct)) for found in (places[fresh], places))
    return _Frequencies(distinct, in_groups.astype(np.int32), in_messages.astype(np.int32))


_NOTHING: Final = _Frequencies(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
#: A power of two. Sums are sorted a share at a time, so that sorting needs little memory of its own.
_SHARES: Final = 32


class _Totals:
    """Adds frequencies up: fed whole groups, it keeps two numbers a key and not every occurrence."""

    def __init__(self) -> None:
        self._sums = [_NOTHING] * _SHARES
        self._waiting: list[list[_Frequencies]] = [[] for _ in range(_SHARES)]

    def add(self, found: _Frequencies) -> None:
        """Count what was found in some whole groups."""
        shares = (found.keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(65 - _SHARES.bit_length())
        for share, waiting in enumerate(self._waiting):
            mine = np.flatnonzero(shares == share)
            waiting.append(found.at(mine))
            size = sum(len(part.keys) for part in waiting)
            if size > max(1 << 15, len(self._sums[share].keys)):  # a key is merged a few times, not with each chunk
                self._merge(share)

    def _merge(self, share: int) -> None:
        every = _together([self._sums[share], *self._waiting[share]])
        self._waiting[share] = []
        starts = np.flatnonzero(np.concatenate(([True], every.keys[1:] != every.keys[:-1])))[: len(every.keys)]
        if len(starts):
            sums = [np.add.reduceat(numbers, starts) for numbers in (every.groups, every.messages)]
            self._sums[share] = _Frequencies(every.keys[starts], *sums)

    def frequent(self, least: int) -> tuple[_Frequencies, int]:
        """Return the keys of at least so many groups, in order, and how many distinct keys there were."""
        distinct, kept = 0, []
        for share in range(_SHARES):
            self._merge(share)
            found, self._sums[share] = self._sums[share], _NOTHING
            distinct += len(found.keys)
            kept.append(found.at(found.groups >= least))
        return _together(kept), distinct


class ViewCounts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Counts one view's n-grams in normalised texts: fit learns the vocabulary, transform gives a sparse matrix.

    A feature must occur in `least_groups` different near-duplicate groups: one mass mailing, or one person's name,
    is no feature.
    """

    def __init__(self, view: View, least_groups: int = 3, sounds: dict[str, str] | None = None) -> None:
        self.view = view
        self.least_groups = least_groups
        self.sounds = sounds

    def fit(self, texts: Texts, y: object = None, *, groups: NDArray[np.int64] | None = None) -> Self:
        """Learn which n-grams are features; without groups every message is its own."""
        learn([self], texts, np.arange(len(texts)) if groups is None else groups)
        return self

    def spell(self, alphabet: _Alphabet) -> None:
        """Give a number to each word or character of enough groups."""
        self.word_ids_: dict[str, int] = {}
        if self.view.reads_words:
            enough = (word for word, groups in alphabet.words.items() if groups >= self.least_groups)
            self.words_ = sorted(word for word in enough if word != " ")
            self.word_ids_ = {word: number for number, word in enumerate(self.words_, start=1)}
        if not self.view.reads_chars:
            return
        frequent = (code for code, groups in alphabet.characters.items() if groups >= self.least_groups)
        codes = np.array(sorted(code for code in frequent if code != _LINE_BREAK), dtype=np.uint32)
        if self.sounds is None:
            self.codes_, self.symbols_ = codes, np.arange(1, len(codes) + 1, dtype=np.uint16)
        else:
            sound_of = {ord(char): sound for char, sound in self.sounds.items()}
            others = (code for code in codes.tolist() if code not in sound_of and chr(code) not in ascii_lowercase)
            sound_of |= {code: chr(code) for code in others}  # letters are heard as syllables, or not at all
            numbers = {sound: number for number, sound in enumerate(sorted(set(sound_of.values())), start=1)}
            self.codes_ = np.array(sorted(sound_of), dtype=np.uint32)
            self.symbols_ = np.array([numbers[sound_of[code]] for code in self.codes_.tolist()], dtype=np.uint16)

    def choose(self, totals: _Totals) -> None:
        """Keep the keys of enough groups, and in how many messages each occurs."""
        found, self.distinct_ = totals.frequent(self.least_groups)  # distinct: before the choice
        self.keys_, self.messages_ = found.keys, found.messages
        self.table_ = KeyTable(self.keys_)

    def transform(self, texts: Texts) -> sp.csr_matrix:
        """Return counts of shape (len(texts), number of features)."""
        reader = _reader([self])
        parts = [_counted(reader.grams(chunk)[0], self.table_, len(self.keys_), len(chunk)) for chunk in _chunks(texts)]
        return sp.vstack(parts, format="csr") if parts else sp.csr_matrix((0, len(self.keys_)))


def _counted(found: Grams, table: KeyTable, features: int, messages: int) -> sp.csr_matrix:
    """Return how often each message holds each feature."""
    rows, columns, counts = count(found.rows, table.find(found.keys), features)
    return sp.csr_matrix((counts.astype(np.float64), (rows, columns)), shape=(messages, features))


def _reader(counters: Sequence[ViewCounts]) -> _Reader:
    """Return a reader of all views at once; those that read words have learnt the same ones."""
    return _Reader(
        [counter.view for counter in counters],
        next((counter.word_ids_ for counter in counters if counter.view.reads_words), {}),
        {counter.view.name: (counter.codes_, counter.symbols_) for counter in counters if counter.view.reads_chars},
    )


def learn(counters: Sequence[ViewCounts], texts: Texts, groups: NDArray[np.int64]) -> None:
    """Fit all views together, on all cores: first the words and characters, then the n-grams of those.

    What is kept is a number a word and two an n-gram; messages are read a chunk at a time.
    """
    views = [counter.view for counter in counters]
    words: Counter[str] = Counter()
    characters: Counter[int] = Counter()
    for found in spread(_spell, views, _whole_groups(texts, groups), messages=len(texts)):
        words.update(found.words)
        characters.update(found.characters)
    for counter in counters:
        counter.spell(_Alphabet(words, characters))
    totals = [_Totals() for _ in counters]
    for parts in spread(_frequencies, _reader(counters), _whole_groups(texts, groups), messages=len(texts)):
        for total, part in zip(totals, parts, strict=True):
            total.add(part)
    for total, counter in zip(totals, counters, strict=True):
        counter.choose(total)


def feature_union(views: Sequence[View], sounds: dict[str, str] | None = None, least_groups: int = 3) -> FeatureUnion:
    """Return the unfitted features: per view counts, then tf-idf with sublinear tf and L2 norm."""
    return FeatureUnion(
        [
            (
                view.name,
                Pipeline(
                    [
                        ("counts", ViewCounts(view, least_groups, sounds if view.name == "sounds" else None)),
                        ("tfidf", TfidfTransformer(sublinear_tf=True)),
                    ]
                ),
            )
            for view in views
        ]
    )


class _Weigher(NamedTuple):
    """The fitted features of all views."""

    reader: _Reader
    tables: Sequence[KeyTable]
    sizes: Sequence[int]
    tfidf: Sequence[TfidfTransformer]


class _Rows(NamedTuple):
    """Some rows of the matrix."""

    values: NDArray[np.float32]
    columns: NDArray[np.int32]
    lengths: NDArray[np.int64]


def _weigh(weigher: _Weigher, texts: Texts) -> _Rows:
    """Return texts as rows of the matrix, the views side by side."""
    views = zip(weigher.reader.grams(texts), weigher.tables, weigher.sizes, weigher.tfidf, strict=True)
    parts = [
        tfidf.transform(_counted(found, table, size, len(texts)), copy=False) for found, table, size, tfidf in views
    ]
    rows = sp.hstack(parts, format="csr")
    return _Rows(
        rows.data.astype(np.float32), rows.indices.astype(np.int32, copy=False), np.diff(rows.indptr).astype(np.int64)
    )


def _learn_idf(tfidf: TfidfTransformer, counter: ViewCounts, messages: int) -> None:
    """Fit a TfidfTransformer as scikit-learn would, but from the frequencies that are known already."""
    idf = np.log(np.full(len(counter.keys_), messages + 1.0) / (counter.messages_ + 1.0)) + 1.0
    #: the stored precision: what is measured is what is served
    tfidf.idf_ = idf.astype(np.float32).astype(np.float64)
    tfidf.n_features_in_ = len(counter.keys_)


def fit_features(union: FeatureUnion, texts: Texts, groups: NDArray[np.int64]) -> sp.csr_matrix:
    """Fit the features with their groups (which FeatureUnion cannot pass on) and return the matrix.

    The same numbers as scikit-learn's steps one after the other, in single precision; but no step's whole matrix stands
    in memory beside the next one's: how many values there will be is known from counting, so each is written once,
    where it stays.
    """
    steps = [steps.named_steps for _, steps in union.transformer_list]
    counters = [of_view["counts"] for of_view in steps]
    learn(counters, texts, groups)
    for of_view, counter in zip(steps, counters, strict=True):
        _learn_idf(of_view["tfidf"], counter, len(texts))
    total = sum(int(counter.messages_.sum(dtype=np.int64)) for counter in counters)
    return _written(_weighed(union, texts), len(texts), sum(len(counter.keys_) for counter in counters), total)


def weigh(union: FeatureUnion, texts: Texts) -> sp.csr_matrix:
    """Return texts as `fit_features` would: what `union.transform` says in single precision, on all cores."""
    width = sum(len(steps.named_steps["counts"].keys_) for _, steps in union.transformer_list)
    return _written(_weighed(union, texts), len(texts), width, 0)


def _written(parts: Iterable[_Rows], rows: int, width: int, expected: int) -> sp.csr_matrix:
    """Return the parts one above the other, each written where it stays; where more come than expected, more is held.

    Growing moves no values when they are many: the system gives the pages another address.
    """
    values, columns = np.empty(expected, dtype=np.float32), np.empty(expected, dtype=np.int32)
    ends = np.zeros(rows + 1, dtype=np.int64)
    row = last = 0
    for part in parts:
        first, last = last, last + len(part.values)
        if last > len(values):
            for held in (values, columns):
                held.resize(last + min(last // 8, GROWTH), refcheck=False)
        values[first:last], columns[first:last] = part.values, part.columns
        ends[row + 1 : row + 1 + len(part.lengths)] = first + np.cumsum(part.lengths)
        row += len(part.lengths)
    for held in (values, columns):
        held.resize(last, refcheck=False)
    return sp.csr_matrix((values, columns, ends.astype(np.int32) if last < 1 << 31 else ends), shape=(rows, width))


def _weighed(union: FeatureUnion, texts: Texts) -> Iterator[_Rows]:
    """Yield the rows of all texts, a chunk at a time, from fitted features."""
    steps = [steps.named_steps for _, steps in union.transformer_list]
    counters = [of_view["counts"] for of_view in steps]
    weigher = _Weigher(
        _reader(counters),
        [counter.table_ for counter in counters],
        [len(counter.keys_) for counter in counters],
        [of_view["tfidf"] for of_view in steps],
    )
    return spread(_weigh, weigher, _chunks(texts), messages=len(texts))


CLASSIFIERS: Final = {"svm": Svm, "logistic": lambda strength: Logistic(C=strength, tol=1e-6, max_iter=1000)}


def classifier(name: str, strength: float) -> Svm | Logistic:
    """Return an unfitted linear classifier: 'logistic' or 'svm', with its C."""
    if name not in CLASSIFIERS:
        raise ValueError(f"unknown classifier {name}")
    return CLASSIFIERS[name](strength)
