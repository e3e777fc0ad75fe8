"""How spammy is each message of a batch, and which pieces of its text say so?

The model is a handful of arrays: a vocabulary of n-gram keys per view, an inverse document frequency and a weight per
feature, and an intercept with the calibration folded in. A score is what scikit-learn's TfidfTransformer (sublinear
tf, L2 norm per view) and a logistic regression would give, to 1e-9, on whole batches at once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard.core.features import (
    Counts,
    Grams,
    KeyTable,
    Symbols,
    View,
    char_symbols,
    code_points,
    count,
    grams,
    word_symbols,
)
from spamguard.core.normalize import Aligned, align, readable
from spamguard.core.tokenizer import tokenize
from spamguard.types import Clue

Floats = NDArray[np.float64]


class ViewArrays(NamedTuple):
    """What a model knows of one view; all arrays run over its features."""

    view: View
    keys: NDArray[np.uint64]
    idf: NDArray[np.float32]
    weights: NDArray[np.float32]


class ModelArrays(NamedTuple):
    """A whole model as arrays; `backends.artifacts` reads and writes it."""

    words: Sequence[str]  #: word number 1 is the first
    symbols: Mapping[str, tuple[NDArray[np.uint32], NDArray[np.uint16]]]  #: per character view: code points, symbols
    views: Sequence[ViewArrays]
    intercept: float
    kinds: Sequence[str]  #: categories of spam
    kind_features: Mapping[str, NDArray[np.int64]]  #: per view: the features the category head looks at
    kind_weights: Mapping[str, NDArray[np.float32]]  #: per view: (kinds, those features)
    kind_intercepts: NDArray[np.float64]


class Scores(NamedTuple):
    """What a batch of n messages scored; all arrays have n entries."""

    probability: Floats
    log_odds: Floats
    evidence: NDArray[np.int64]  #: distinct known features of two symbols or more


class Explanation(NamedTuple):
    """A message's log-odds taken apart: `intercept` + the pulls of all `clues` + `rest` = `log_odds`."""

    log_odds: float
    intercept: float
    clues: tuple[Clue, ...]  #: strongest first
    rest: float


class _Weighted(NamedTuple):
    """One view's features of a batch with their tf-idf values, normalised per message."""

    counts: Counts
    values: Floats


class _LoadedView:
    """A view's arrays with their look-up table."""

    def __init__(self, arrays: ViewArrays) -> None:
        self.view = arrays.view
        self.size = len(arrays.keys)
        self.table = KeyTable(arrays.keys)
        self.idf = arrays.idf.astype(np.float64)
        self.weights = arrays.weights.astype(np.float64)
        #: features of two symbols or more: the ones that count as evidence
        self.is_long = arrays.keys >> np.uint64(arrays.view.bits) != 0

    def weigh(self, counts: Counts, messages: int) -> _Weighted:
        values = (1.0 + np.log(counts.counts)) * self.idf[counts.features]
        norms = np.sqrt(np.bincount(counts.rows, weights=values * values, minlength=messages))
        return _Weighted(counts, values / norms[counts.rows])


class LinearScorer:
    """Scores batches of normalised texts; immutable and safe to share between threads."""

    def __init__(self, model: ModelArrays) -> None:
        self._word_ids = {word: number for number, word in enumerate(model.words, start=1)}
        self._tables = {name: _symbol_table(codes, symbols) for name, (codes, symbols) in model.symbols.items()}
        self._views = [_LoadedView(arrays) for arrays in model.views]
        self._intercept = model.intercept
        self._kinds = tuple(model.kinds)
        self._kind_weights = {
            view.view.name: _spread(model.kind_features[view.view.name], model.kind_weights[view.view.name], view.size)
            for view in self._views
            if view.view.name in model.kind_features
        }
        self._kind_intercepts = model.kind_intercepts

    def _symbols(self, view: View, texts: Sequence[str], codes: NDArray[np.uint32]) -> Symbols:
        if view.name == "words":
            return word_symbols(texts, self._word_ids)
        return char_symbols(codes, self._tables[view.name])

    def _weighted(self, texts: Sequence[str]) -> list[tuple[_LoadedView, _Weighted]]:
        codes = code_points(texts)
        weighted = []
        for loaded in self._views:
            found = grams(self._symbols(loaded.view, texts, codes), loaded.view)
            counts = count(found.rows, loaded.table.find(found.keys), loaded.size)
            weighted.append((loaded, loaded.weigh(counts, len(texts))))
        return weighted

    def score(self, texts: Sequence[str]) -> Scores:
        """Return the scores of n normalised texts."""
        log_odds = np.full(len(texts), self._intercept)
        evidence = np.zeros(len(texts), dtype=np.int64)
        if len(texts):
            for loaded, (counts, values) in self._weighted(texts):
                pulls = values * loaded.weights[counts.features]
                log_odds += np.bincount(counts.rows, weights=pulls, minlength=len(texts))
                evidence += np.bincount(counts.rows[loaded.is_long[counts.features]], minlength=len(texts))
        return Scores(1.0 / (1.0 + np.exp(-log_odds)), log_odds, evidence)

    def kinds(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest category of spam of each normalised text; empty when the model has no such head."""
        if not self._kinds or not len(texts):
            return []
        totals = np.tile(self._kind_intercepts, (len(texts), 1))
        for loaded, (counts, values) in self._weighted(texts):
            weights = self._kind_weights[loaded.view.name]
            for kind in range(len(self._kinds)):
                pulls = values * weights[kind, counts.features]
                totals[:, kind] += np.bincount(counts.rows, weights=pulls, minlength=len(texts))
        return [self._kinds[best] for best in np.argmax(totals, axis=1)]

    def explain(self, original: str, *, most: int = 5) -> Explanation:
        """Return the clues of one message, pointing into the original text.

        Each feature's pull is shared evenly by the characters it covers and summed over jieba's words: overlapping
        n-grams of 发票 become one clue that a reader understands, and nothing is counted twice.
        """
        aligned = align(original)
        pulls = np.zeros(len(aligned.text))
        words = _word_spans(aligned.text)
        if aligned.text:
            for loaded, (found, features, shares) in self._occurrences(aligned.text):
                first, last = _covered(loaded.view, found, words)
                widths = last - first
                for start, width, pull in zip(first, widths, shares * loaded.weights[features], strict=True):
                    pulls[start : start + width] += pull / width
        clues = [_clue(aligned, start, end, float(pulls[start:end].sum())) for start, end in words]
        clues = sorted((clue for clue in clues if clue.pull != 0.0), key=lambda clue: -abs(clue.pull))[:most]
        total = float(pulls.sum())
        return Explanation(
            log_odds=self._intercept + total,
            intercept=self._intercept,
            clues=tuple(clues),
            rest=total - sum(clue.pull for clue in clues),
        )

    def _occurrences(self, text: str) -> list[tuple[_LoadedView, tuple[Grams, NDArray[np.int64], Floats]]]:
        """Return each view's known n-grams of one text with the share of tf-idf each single occurrence has."""
        codes = code_points([text])
        result = []
        for loaded in self._views:
            found = grams(self._symbols(loaded.view, [text], codes), loaded.view)
            features = loaded.table.find(found.keys)
            known = features >= 0
            found = Grams(found.rows[known], found.keys[known], found.starts[known], found.lengths[known])
            features = features[known]
            counts, values = loaded.weigh(count(found.rows, features, loaded.size), 1)
            places = np.searchsorted(counts.features, features)
            result.append((loaded, (found, features, values[places] / counts.counts[places])))
        return result


def _symbol_table(codes: NDArray[np.uint32], symbols: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the table of 0x110000 symbols for `char_symbols`."""
    table = np.zeros(0x110000, dtype=np.uint16)
    table[codes] = symbols
    table[0x0A] = 0
    return table


def _spread(features: NDArray[np.int64], weights: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return the category weights over all features of a view; those it does not look at are 0."""
    spread = np.zeros((len(weights), size), dtype=np.float32)
    spread[:, features] = weights
    return spread


def _word_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words of a normalised text stand; white space is no word."""
    spans = []
    position = 0
    for word in tokenize(text):
        if word != " ":
            spans.append((position, position + len(word)))
        position += len(word)
    return spans


def _covered(view: View, found: Grams, words: Sequence[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and behind-last characters each n-gram covers."""
    if view.name != "words":
        return found.starts, found.starts + found.lengths
    starts = np.array([start for start, _ in words], dtype=np.int64)
    ends = np.array([end for _, end in words], dtype=np.int64)
    return starts[found.starts], ends[found.starts + found.lengths - 1]


def _clue(aligned: Aligned, start: int, end: int, pull: float) -> Clue:
    first, last = aligned.span(start, end)
    return Clue(feature=readable(aligned.text[start:end]), start=first, end=last, pull=pull)
