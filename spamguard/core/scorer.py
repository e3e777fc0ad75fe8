"""How spammy is each message of a batch, and which pieces of its text say so?

The model is a handful of arrays: a vocabulary of n-gram keys per view, an inverse document frequency and a weight per
feature, and an intercept with the calibration folded in. A score is what scikit-learn's TfidfTransformer (sublinear
tf, L2 norm per view) and a logistic regression would give, to 1e-9, on whole batches at once.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard.core.features import (
    SHAPE,
    SOUNDS,
    KeyTable,
    KeyTables,
    View,
    code_points,
    heard,
    last_alike,
    marker_ids,
    read,
    where,
    word_numbers,
)
from spamguard.core.normalize import Aligned, align_batch, normalize_batch, readable
from spamguard.core.tokenizer import tokenize
from spamguard.types import Clue

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_NONE: Final = np.zeros(0, dtype=np.int64)
#: 1 + log(n), by n; hardly any feature occurs more often in a message.
_SUBLINEAR: Final = np.concatenate(([0.0], 1.0 + np.log(np.arange(1.0, 1024.0))))


#: What the pieces of a text are: white space, or a word that can be shown.
_BREAK, _SHOWN = 1, 2
_WHITE: Final = {" ": 0, "\n": _BREAK}


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
    kind_features: Mapping[str, Integers]  #: per view: the features the category head looks at
    kind_weights: Mapping[str, NDArray[np.float32]]  #: per view: (kinds, those features)
    kind_intercepts: NDArray[np.float64]


class Scores(NamedTuple):
    """What a batch of n messages scored; all arrays have n entries."""

    probability: Floats
    log_odds: Floats
    evidence: Integers  #: distinct known features of two symbols or more


class Explanation(NamedTuple):
    """A message's log-odds taken apart: `intercept` + the pulls of all `clues` + `rest` = `log_odds`."""

    log_odds: float
    intercept: float
    clues: tuple[Clue, ...]  #: strongest first
    rest: float
    kind: str | None  #: the likeliest category of spam; None when the model has no such head


class LinearScorer:
    """Scores batches of normalised texts; safe to share between threads.

    All views share one numbering of features, so that one pass over a batch weighs them all.
    """

    def __init__(self, model: ModelArrays) -> None:
        self._numbers = word_numbers({word: number for number, word in enumerate(model.words, start=1)})
        self._tables = {name: _symbol_table(codes, symbols) for name, (codes, symbols) in model.symbols.items()}
        self._views = [arrays.view for arrays in model.views]
        self._markers = {view.name: marker_ids(view, self._numbers) for view in self._views}
        self._keys = KeyTables([KeyTable(arrays.keys) for arrays in model.views])
        #: the number of each view's first feature, and of all features
        self._firsts = np.cumsum([0, *(len(arrays.keys) for arrays in model.views)], dtype=np.int64)
        self._idf = np.concatenate([arrays.idf.astype(np.float64) for arrays in model.views])
        self._weights = np.concatenate([arrays.weights.astype(np.float64) for arrays in model.views])
        #: features of enough symbols to count as evidence
        self._is_long = np.concatenate([arrays.keys >= _least_long(arrays.view) for arrays in model.views])
        self._intercept = model.intercept
        self._kinds = tuple(model.kinds)
        self._kind_weights = np.zeros((len(self._weights), len(model.kinds)), dtype=np.float32)
        for view, first in zip(self._views if self._kinds else (), self._firsts.tolist(), strict=False):
            self._kind_weights[first + model.kind_features[view.name]] = model.kind_weights[view.name].T
        self._kind_intercepts = model.kind_intercepts

    @property
    def words(self) -> Mapping[str, int]:
        """Return the words the model knows, and white space, with their numbers."""
        return self._numbers

    def read(self, texts: Sequence[str]) -> "LinearReading":
        """Return what n normalised texts score, and what explaining some of them needs."""
        return LinearReading(self, texts)

    def score(self, texts: Sequence[str]) -> Scores:
        """Return the scores of n normalised texts."""
        return self.read(texts).scores

    def explain(self, original: str, *, most: int = 5) -> Explanation:
        """Return the clues of one message, pointing into its original text."""
        return self.explain_batch([original], most=most)[0]

    def explain_batch(self, originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Return the clues of each message, pointing into its original text."""
        return self.read(normalize_batch(originals)).explain(range(len(originals)), originals, most=most)


def _least_long(view: View) -> np.uint64:
    """Return the least key of a feature that is evidence: two symbols, and three sounds.

    Two sounds are two characters, which are counted where they are written; a pair with a marker is no piece of text.
    """
    least = {"words": 2, "chars": 2, "sounds": 3}.get(view.name)
    return np.uint64((1 << 64) - 1 if least is None else 1 << (view.bits * (least - 1)))


class LinearReading:
    """A batch whose features were found once; the scores and the clues share them.

    Occurrences are the known n-grams in order of view, length and place. Of those that are the same feature of the same
    message the last one stands for all: `alike` names it.
    """

    def __init__(self, scorer: LinearScorer, texts: Sequence[str]) -> None:
        self._scorer = scorer
        self._texts = texts
        self._views = list(
            read(texts, scorer._views, scorer._numbers, scorer._tables, scorer._markers) if len(texts) else ()
        )
        #: which n-grams are known, numbered through all views, and of each of those its message and feature
        self._known = self._rows = self._features = _NONE
        #: the number of each view's first n-gram
        self._begins = [0] * len(scorer._views)
        if self._views:
            self._known, self._features = scorer._keys.find([found.keys for _, found in self._views])
            self._rows = np.concatenate([found.rows for _, found in self._views]).take(self._known)
            self._begins = [0, *accumulate(len(found.keys) for _, found in self._views[:-1])]
        #: the first occurrence of each view
        self._firsts = self._known.searchsorted(self._begins)
        self._alike = last_alike(self._rows << len(scorer._weights).bit_length() | self._features)
        self.scores = self._weigh()

    def _weigh(self) -> Scores:
        """Return what scikit-learn would say: sublinear tf-idf, each view of a message on its own unit sphere."""
        scorer, messages, views = self._scorer, len(self._texts), len(self._scorer._views)
        counts = np.bincount(self._alike, minlength=len(self._rows))
        distinct = where(counts != 0)
        rows, features, counts = self._rows.take(distinct), self._features.take(distinct), counts.take(distinct)
        values = (_SUBLINEAR.take(counts) if counts.max(initial=0) < len(_SUBLINEAR) else 1.0 + np.log(counts)) * (
            scorer._idf.take(features)
        )
        parts = rows * views
        edges = self._edges(distinct)
        parts += np.arange(views).repeat([last - first for first, last in pairwise(edges)])
        norms = np.sqrt(np.bincount(parts, weights=values * values, minlength=messages * views))
        values /= norms.take(parts)
        pulls = values * scorer._weights.take(features)
        sums = np.bincount(parts, weights=pulls, minlength=messages * views).reshape(messages, views)
        log_odds = np.full(messages, scorer._intercept)
        for view in range(views):
            log_odds += sums[:, view]
        evidence = np.bincount(rows.take(where(scorer._is_long.take(features))), minlength=messages)
        #: of each distinct feature of a message: where it stands for the others, its value, and its pull an occurrence
        self._distinct, self._values, self._each = distinct, values, pulls / counts
        return Scores(1.0 / (1.0 + np.exp(-log_odds)), log_odds, evidence)

    def _edges(self, occurrences: Integers) -> list[int]:
        """Return where each view begins among some occurrences, which are in order, and where the last one ends."""
        return [*occurrences.searchsorted(self._firsts).tolist(), len(occurrences)]

    def explain(self, places: Sequence[int], originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Return the clues and the category of the messages at `places`; clues point into their original texts.

        Each feature's pull is shared evenly by the characters it covers and summed over jieba's words: overlapping
        n-grams of 发票 become one clue that a reader understands, and nothing is counted twice.
        """
        if not places:
            return []
        scorer = self._scorer
        texts = [self._texts[place] for place in places]
        asked = np.array(places, dtype=np.int64)
        number = np.full(len(self._texts), -1, dtype=np.int64)
        number[asked] = np.arange(len(asked))
        words = _Words.of("\n".join(texts))
        each = np.zeros(len(self._rows))
        each[self._distinct] = self._each
        line_starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
        own = where(number.take(self._rows) >= 0)
        rows, pulls = number.take(self._rows.take(own)), each.take(self._alike.take(own))
        totals = np.bincount(rows, weights=pulls, minlength=len(texts))
        begins, ends, shared = [_NONE], [_NONE], [_NONE.astype(np.float64)]
        moves: dict[int, Integers] = {}
        for (first, last), begin, view, (symbol_rows, found) in zip(
            pairwise(self._edges(own)), self._begins, scorer._views, self._views, strict=True
        ):
            if first == last or view.name == SHAPE.name:  # a shape is said of the message, of no word in it
                continue
            starts, lengths = found.spans(self._known.take(own[first:last]) - begin)
            if id(symbol_rows) not in moves:  # several views read the same symbols
                moves[id(symbol_rows)] = _moves(symbol_rows, asked)
            starts += moves[id(symbol_rows)].take(rows[first:last])
            if view.name == SOUNDS.name:
                said = heard(texts, code_points(texts), scorer._tables[view.name])
                covered = said.starts.take(starts), said.ends.take(starts + lengths - 1)
            else:
                covered = words.covered(view, starts, lengths)
            begins.append(covered[0])
            ends.append(covered[1])
            shared.append(pulls[first:last])
        from_char, to_char = np.concatenate(begins), np.concatenate(ends)
        shares = np.concatenate(shared) / (to_char - from_char)
        steps = np.bincount(from_char, weights=shares, minlength=int(line_starts[-1]) + 1)
        steps -= np.bincount(to_char, weights=shares, minlength=len(steps))
        # Rounded, so that words of equal pull keep their order whatever the sum ran over before them.
        sums = np.round(words.sums(steps.cumsum()), 9)
        by_word, weakest_last = sums.tolist(), (-np.abs(sums)).tolist()
        bounds = words.starts.searchsorted(line_starts).tolist()
        word_starts, word_ends = words.starts.tolist(), words.ends.tolist()
        kinds = self._kinds(number, len(texts))
        explanations = []
        for row, (one, total, kind) in enumerate(zip(align_batch(originals), totals.tolist(), kinds, strict=True)):
            own_words = range(bounds[row], bounds[row + 1])
            offset = int(line_starts[row])
            strongest = sorted((word for word in own_words if by_word[word]), key=weakest_last.__getitem__)
            clues = tuple(
                _clue(one, word_starts[word] - offset, word_ends[word] - offset, by_word[word])
                for word in strongest[:most]
            )
            explanations.append(
                Explanation(
                    log_odds=scorer._intercept + total,
                    intercept=scorer._intercept,
                    clues=clues,
                    rest=total - sum(clue.pull for clue in clues),
                    kind=kind,
                )
            )
        return explanations

    def _kinds(self, number: Integers, messages: int) -> Sequence[str | None]:
        """Return the likeliest category of each message that has a number."""
        scorer = self._scorer
        if not scorer._kinds:
            return [None] * messages
        rows = number.take(self._rows.take(self._distinct))
        own = where(rows >= 0)
        own = own.take(rows.take(own).argsort(kind="stable"))
        totals = scorer._kind_intercepts[None].repeat(messages, axis=0)
        if len(own):
            rows = rows.take(own)
            first = np.concatenate(([0], 1 + where(rows[1:] != rows[:-1])))
            features = self._features.take(self._distinct.take(own))
            said = self._values.take(own)[:, None] * scorer._kind_weights.take(features, axis=0)
            totals[rows.take(first)] += np.add.reduceat(said, first)
        return [scorer._kinds[best] for best in totals.argmax(axis=1).tolist()]


def _moves(rows: Integers, asked: Integers) -> Integers:
    """Return how far each asked message's symbols move when the asked messages stand alone.

    `rows` names the message of each symbol; a line break is the first symbol of the message behind it, and none stands
    before the first message.
    """
    begins = rows.searchsorted(asked) + (asked > 0)
    sizes = rows.searchsorted(asked, side="right") - begins
    moves: Integers = sizes.cumsum() - sizes + np.arange(len(asked)) - begins
    return moves


def _clue(aligned: Aligned, start: int, end: int, pull: float) -> Clue:
    """Return the clue that a word of a normalised text is, pointing into the original."""
    first, last = aligned.span(start, end)
    return Clue(feature=readable(aligned.text[start:end]), start=first, end=last, pull=pull)


class _Words(NamedTuple):
    """Where the words of a joined batch stand; white space and line breaks are no words.

    The `symbol_` arrays have one entry a symbol of the view of words, which counts line breaks but no spaces.
    """

    starts: Integers
    ends: Integers
    symbol_starts: Integers
    symbol_ends: Integers

    @classmethod
    def of(cls, joined: str) -> "_Words":
        """Return the words of a text."""
        words = tokenize(joined)
        sizes = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        ends = sizes.cumsum()
        starts = ends - sizes
        kinds = np.fromiter(map(_WHITE.get, words, repeat(_SHOWN)), dtype=np.int64, count=len(words))
        symbol, shown = kinds >= _BREAK, kinds == _SHOWN
        return cls(starts[shown], ends[shown], starts[symbol], ends[symbol])

    def covered(self, view: View, starts: Integers, lengths: Integers) -> tuple[Integers, Integers]:
        """Return the first and behind-last characters of n-grams that start at some symbol."""
        if not view.reads_words:
            return starts, starts + lengths
        return self.symbol_starts.take(starts), self.symbol_ends.take(starts + lengths - 1)

    def sums(self, by_char: Floats) -> Floats:
        """Return the sum over each word's characters."""
        running = np.concatenate(([0.0], by_char.cumsum()))
        return running.take(self.ends) - running.take(self.starts)


def _symbol_table(codes: NDArray[np.uint32], symbols: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the table of 0x110000 symbols for `char_symbols`."""
    table = np.zeros(0x110000, dtype=np.uint16)
    table[codes] = symbols
    table[0x0A] = 0
    return table
