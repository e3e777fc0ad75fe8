"""How spammy is each message of a batch, and which pieces of its text say so?

The model is a handful of arrays: a vocabulary of n-gram keys per view, an inverse document frequency and a weight per
feature, and an intercept with the calibration folded in. A score is what scikit-learn's TfidfTransformer (sublinear
tf, L2 norm per view) and a logistic regression would give, to 1e-9, on whole batches at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard.core.features import Counts, Grams, KeyTable, View, code_points, count, read
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
    kind: str | None  #: the likeliest category of spam; None when the model has no such head


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
        self.is_long = (arrays.keys >> np.uint64(arrays.view.bits) != 0) & (arrays.view.name != "crossed")

    def weigh(self, counts: Counts, messages: int) -> _Weighted:
        values = (1.0 + np.log(counts.counts)) * self.idf[counts.features]
        norms = np.sqrt(np.bincount(counts.rows, weights=values * values, minlength=messages))
        return _Weighted(counts, values / norms[counts.rows])

    def pulls(self, found: Grams, features: NDArray[np.int64], weighted: _Weighted) -> Floats:
        """Return the log-odds each single occurrence of a known feature adds to its message."""
        counts, values = weighted
        places = np.searchsorted(counts.rows * self.size + counts.features, found.rows * self.size + features)
        return values[places] / counts.counts[places] * self.weights[features]


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

    @property
    def words(self) -> Mapping[str, int]:
        """Return the words the model knows, with their numbers."""
        return self._word_ids

    def _grams(self, texts: Sequence[str]) -> Iterator[tuple[_LoadedView, Grams]]:
        """Yield each view with its n-grams of a batch."""
        found = read(texts, [loaded.view for loaded in self._views], self._word_ids, self._tables)
        return zip(self._views, found, strict=True)

    def _weighted(self, texts: Sequence[str]) -> Iterator[tuple[_LoadedView, _Weighted]]:
        for loaded, found in self._grams(texts):
            counts = count(found.rows, loaded.table.find(found.keys), loaded.size)
            yield loaded, loaded.weigh(counts, len(texts))

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

    def _add_kinds(self, totals: Floats, loaded: _LoadedView, weighted: _Weighted) -> None:
        """Add what a view says of each message's category to `totals` of shape (messages, kinds)."""
        counts, values = weighted
        if len(counts.rows):
            first = np.flatnonzero(np.diff(counts.rows, prepend=-1))
            said = values[:, None] * self._kind_weights[loaded.view.name][counts.features]
            totals[counts.rows[first]] += np.add.reduceat(said, first)

    def explain(self, original: str, *, most: int = 5) -> Explanation:
        """Return the clues of one message, pointing into its original text."""
        return self.explain_batch([original], most=most)[0]

    def explain_batch(self, originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Return the clues of each message, pointing into its original text.

        Each feature's pull is shared evenly by the characters it covers and summed over jieba's words: overlapping
        n-grams of 发票 become one clue that a reader understands, and nothing is counted twice. The category comes from
        the same pass: it is wanted for the same messages.
        """
        if not originals:
            return []
        aligned = [align(original) for original in originals]
        texts = [one.text for one in aligned]
        words = _Words.of("\n".join(texts))
        totals = np.zeros(len(texts))
        kinds = np.tile(self._kind_intercepts, (len(texts), 1))
        codes = code_points(texts)
        steps = np.zeros(len(codes) + 1)
        for loaded, every in self._grams(texts):
            features = loaded.table.find(every.keys)
            known = features >= 0
            features = features[known]
            found = Grams(every.rows[known], every.keys[known], every.starts[known], every.lengths[known])
            weighted = loaded.weigh(count(found.rows, features, loaded.size), len(texts))
            if self._kinds:
                self._add_kinds(kinds, loaded, weighted)
            pulls = loaded.pulls(found, features, weighted)
            first, last = words.covered(loaded.view, found)
            each = pulls / (last - first)
            totals += np.bincount(found.rows, weights=pulls, minlength=len(texts))
            steps += np.bincount(first, weights=each, minlength=len(steps))
            steps -= np.bincount(last, weights=each, minlength=len(steps))
        likeliest = [self._kinds[best] for best in np.argmax(kinds, axis=1)] if self._kinds else [None] * len(texts)
        # Rounded, so that words of equal pull keep their order whatever the sum ran over before them.
        by_word = np.round(words.sums(np.cumsum(steps)), 9)
        line_starts = np.concatenate(([0], np.flatnonzero(codes == 0x0A) + 1))
        bounds = np.searchsorted(words.starts, [*line_starts.tolist(), len(codes) + 1])
        explanations = []
        for row, (one, total, kind) in enumerate(zip(aligned, totals.tolist(), likeliest, strict=True)):
            own = range(int(bounds[row]), int(bounds[row + 1]))
            clues = _clues(one, words, by_word, own, int(line_starts[row]), most)
            explanations.append(
                Explanation(
                    log_odds=self._intercept + total,
                    intercept=self._intercept,
                    clues=clues,
                    rest=total - sum(clue.pull for clue in clues),
                    kind=kind,
                )
            )
        return explanations


def _clues(aligned: Aligned, words: "_Words", by_word: Floats, own: range, offset: int, most: int) -> tuple[Clue, ...]:
    """Return one message's strongest words; `own` are its words, `offset` its place in the joined text."""
    strongest = sorted((word for word in own if by_word[word]), key=lambda word: -abs(by_word[word]))
    clues = []
    for word in strongest[:most]:
        start, end = int(words.starts[word]) - offset, int(words.ends[word]) - offset
        first, last = aligned.span(start, end)
        clues.append(Clue(feature=readable(aligned.text[start:end]), start=first, end=last, pull=float(by_word[word])))
    return tuple(clues)


class _Words(NamedTuple):
    """Where the words of a joined batch stand; white space and line breaks are no words.

    The `symbol_` arrays have one entry a symbol of the view of words, which counts line breaks but no spaces.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    symbol_starts: NDArray[np.int64]
    symbol_ends: NDArray[np.int64]

    @classmethod
    def of(cls, joined: str) -> "_Words":
        """Return the words of a text."""
        words = tokenize(joined)
        ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        starts = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1]))[: len(ends)]
        symbol = np.array([word != " " for word in words], dtype=bool)
        shown = np.array([word not in (" ", "\n") for word in words], dtype=bool)
        return cls(starts[shown], ends[shown], starts[symbol], ends[symbol])

    def covered(self, view: View, found: Grams) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and behind-last characters each n-gram covers."""
        if not view.reads_words:
            return found.starts, found.starts + found.lengths
        return self.symbol_starts[found.starts], self.symbol_ends[found.starts + found.lengths - 1]

    def sums(self, by_char: Floats) -> Floats:
        """Return the sum over each word's characters."""
        running = np.concatenate(([0.0], np.cumsum(by_char)))
        return running[self.ends] - running[self.starts]


def _symbol_table(codes: NDArray[np.uint32], symbols: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the table of 0x110000 symbols for `char_symbols`."""
    table = np.zeros(0x110000, dtype=np.uint16)
    table[codes] = symbols
    table[0x0A] = 0
    return table


def _spread(features: NDArray[np.int64], weights: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return the category weights as (features of a view, kinds); those it does not look at are 0."""
    spread = np.zeros((size, len(weights)), dtype=np.float32)
    spread[features] = weights.T
    return spread
