"""What is fitted, in scikit-learn's words?

`ViewCounts` wraps the one feature function of `spamguard.core.features` as a transformer that learns its vocabulary;
the rest is scikit-learn: TfidfTransformer per view, side by side, and a linear classifier. The fitted pipeline is for
people who retrain and inspect; the service loads the arrays that `export` takes out of it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from spamguard.core.features import Grams, Keys, KeyTable, View, code_points, count, marker_ids, read, word_numbers
from spamguard.core.tokenizer import tokenize

CHUNK = 4000  #: messages featurised at once: a few hundred megabytes at most

Texts = Sequence[str]


def _chunks(texts: Texts) -> Iterator[tuple[int, Texts]]:
    for first in range(0, len(texts), CHUNK):
        yield first, texts[first : first + CHUNK]


def _frequent(symbols: NDArray[Any], groups: NDArray[np.int64], least: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the distinct symbols that occur in at least `least` groups, and in how many each does."""
    order = np.lexsort((groups, symbols))
    symbols, groups = symbols[order], groups[order]
    fresh = np.concatenate(([True], (symbols[1:] != symbols[:-1]) | (groups[1:] != groups[:-1])))[: len(symbols)]
    distinct, frequency = np.unique(symbols[fresh], return_counts=True)
    return distinct[frequency >= least], frequency[frequency >= least]


def _whole_groups(groups: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the places of all texts, about a chunk at a time and no group in two of them."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], groups[order][1:] != groups[order][:-1])))[: len(order)]
    first = 0
    while first < len(order):
        at = int(np.searchsorted(starts, first + CHUNK, side="left"))
        last = int(starts[at]) if at < len(starts) else len(order)
        yield order[first:last]
        first = last


class _GroupCounts:
    """In how many groups does each key occur? Fed whole groups, it keeps a number a key and not every occurrence."""

    def __init__(self) -> None:
        self._keys: Keys = np.zeros(0, dtype=np.uint64)
        self._numbers: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._waiting: list[tuple[Keys, NDArray[np.int32]]] = []
        self._size = 0

    def add(self, keys: Keys, groups: NDArray[np.int64]) -> None:
        """Count the keys of some whole groups."""
        distinct, numbers = _frequent(keys, groups, 1)
        self._waiting.append((distinct.astype(np.uint64), numbers.astype(np.int32)))
        self._size += len(distinct)
        if self._size > max(1 << 20, len(self._keys)):  # so that every key is merged a few times, not with every chunk
            self._merge()

    def _merge(self) -> None:
        parts = [(self._keys, self._numbers), *self._waiting]
        keys, numbers = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
        order = np.argsort(keys, kind="stable")
        keys, numbers = keys[order], numbers[order]
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))[: len(keys)]
        self._keys = keys[starts]
        self._numbers = np.add.reduceat(numbers, starts) if len(starts) else numbers
        self._waiting, self._size = [], 0

    def frequent(self, least: int) -> Keys:
        """Return the keys of at least so many groups, in order."""
        self._merge()
        return self._keys[self._numbers >= least]


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
        groups = np.arange(len(texts)) if groups is None else groups
        self.word_ids_: dict[str, int] = {}
        if self.view.reads_words:
            self._fit_words(texts, groups)
        else:
            self._fit_symbols(texts, groups)
        running = _GroupCounts()
        for places in _whole_groups(groups):
            found = self._grams([texts[place] for place in places.tolist()])
            running.add(found.keys, groups[places][found.rows])
        self.keys_ = running.frequent(self.least_groups)
        self.table_ = KeyTable(self.keys_)
        return self

    def _fit_words(self, texts: Texts, groups: NDArray[np.int64]) -> None:
        seen: dict[str, set[int]] = {}
        for text, group in zip(texts, groups.tolist(), strict=True):
            for word in set(tokenize(text)):
                known = seen.setdefault(word, set())
                if len(known) < self.least_groups:
                    known.add(group)
        self.words_ = sorted(word for word, known in seen.items() if len(known) >= self.least_groups and word != " ")
        self.word_ids_ = {word: number for number, word in enumerate(self.words_, start=1)}

    def _fit_symbols(self, texts: Texts, groups: NDArray[np.int64]) -> None:
        pairs = []
        for first, chunk in _chunks(texts):
            codes = code_points(chunk)
            rows = first + np.cumsum(codes == 0x0A)
            pairs.append(np.unique(codes.astype(np.int64) << 32 | groups[np.minimum(rows, len(groups) - 1)]))
        both = np.unique(np.concatenate(pairs))
        codes, _ = _frequent(both >> 32, both & 0xFFFFFFFF, self.least_groups)
        codes = codes[codes != 0x0A].astype(np.uint32)
        if self.sounds is None:
            self.codes_, self.symbols_ = codes, np.arange(1, len(codes) + 1, dtype=np.uint16)
        else:
            sound_of = {ord(char): sound for char, sound in self.sounds.items()}
            sound_of |= {code: chr(code) for code in codes.tolist() if code not in sound_of}
            numbers = {sound: number for number, sound in enumerate(sorted(set(sound_of.values())), start=1)}
            self.codes_ = np.array(sorted(sound_of), dtype=np.uint32)
            self.symbols_ = np.array([numbers[sound_of[code]] for code in self.codes_.tolist()], dtype=np.uint16)
        self.symbol_table_ = np.zeros(0x110000, dtype=np.uint16)
        self.symbol_table_[self.codes_] = self.symbols_

    def _grams(self, texts: Texts) -> Grams:
        tables = {} if self.view.reads_words else {self.view.name: self.symbol_table_}
        markers = {self.view.name: marker_ids(self.view, self.word_ids_)}
        return next(read(texts, [self.view], word_numbers(self.word_ids_), tables, markers)).grams

    def transform(self, texts: Texts) -> sp.csr_matrix:
        """Return counts of shape (len(texts), number of features)."""
        parts = []
        for _, chunk in _chunks(texts):
            found = self._grams(chunk)
            rows, features, counts = count(found.rows, self.table_.find(found.keys), len(self.keys_))
            shape = (len(chunk), len(self.keys_))
            parts.append(sp.csr_matrix((counts.astype(np.float64), (rows, features)), shape=shape))
        return sp.vstack(parts, format="csr") if parts else sp.csr_matrix((0, len(self.keys_)))


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


def fit_features(union: FeatureUnion, texts: Texts, groups: NDArray[np.int64]) -> sp.csr_matrix:
    """Fit the features with their groups (which FeatureUnion cannot pass on) and return the matrix."""
    parts = []
    for _, steps in union.transformer_list:
        counts = steps.named_steps["counts"].fit(texts, groups=groups).transform(texts)
        tfidf = steps.named_steps["tfidf"].fit(counts)
        #: the stored precision: what is measured is what is served
        tfidf.idf_ = tfidf.idf_.astype(np.float32).astype(np.float64)
        parts.append(tfidf.transform(counts))
    return sp.hstack(parts, format="csr")


def classifier(name: str, strength: float, seed: int = 0) -> Any:
    """Return an unfitted linear classifier: 'logistic' or 'svm', with its C."""
    if name == "logistic":
        return LogisticRegression(C=strength, solver="lbfgs", max_iter=400, tol=1e-5, random_state=seed)
    if name == "svm":
        return LinearSVC(C=strength, dual="auto", random_state=seed, max_iter=5000)
    raise ValueError(f"unknown classifier {name}")
