"""Does today's traffic still look like what the model was made for, and if not, what moved?

Six features of a stream are counted into bins and compared with a reference by the population stability index:
PSI = Σ (now - then) · ln(now / then) over the bins' shares, each bin given half a message more so that an empty one
is not infinite. Below 0.1 is calm, above 0.25 something is different (docs/why.md has what was measured). Words that
moved are ranked by the log-likelihood ratio (Dunning 1993).
"""

import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from spamguard.core.normalize import normalize_batch
from spamguard.core.tokenizer import tokenize
from spamguard.types import Action, Category, Decision

Counts = NDArray[np.float64]

#: Upper edges of the bins; the last bin has none. Scores are denser at both ends.
EDGES: Final[Mapping[str, tuple[float, ...]]] = {
    "score": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997),
    "length": (6, 10, 15, 22, 32, 46, 60, 70, 100, 140, 280),
    "unknown_words": (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
    "rewritten": (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
}
#: Bins that are names: the category of what is blocked or unsure, and whether a message would be blocked.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "category": (*map(str, Category), "none"),
    "blocked": ("allow", "block"),
}
FEATURES: Final = (*EDGES, *NAMES)
SENTENCES: Final = {
    "score": "the spam score",
    "length": "the length of the text",
    "unknown_words": "the share of words the model does not know",
    "rewritten": "the share of characters the normaliser changed",
    "category": "the category of what is blocked or unsure",
    "blocked": "the share that would be blocked",
}
#: Messages a feature needs before its index says anything; categories are counted of blocked and unsure ones alone.
LEAST: Final = {"score": 1000, "length": 1000, "unknown_words": 500, "rewritten": 500, "category": 200, "blocked": 1000}
CALM, MOVED = 0.1, 0.25
#: Words whose share of messages is kept in a reference.
WORDS: Final = 400


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What traffic looked like when the model was made, or when somebody called it calm; all are counts of messages.

    The edges are kept too, so that a release with other ones still reads it.
    """

    messages: int
    edges: dict[str, tuple[float, ...]]
    counts: dict[str, tuple[float, ...]]
    #: share of messages that hold a word, of the commonest words, numbers and names left out by what the model knows
    words: dict[str, float] = {}


class Observed(NamedTuple):
    """What one batch says of each feature: values to be binned, or places of names."""

    values: dict[str, NDArray[np.float64]]
    names: dict[str, NDArray[np.int64]]


_CATEGORY: Final[Mapping[str | None, int]] = {
    **{category: place for place, category in enumerate(Category)},
    None: len(Category),
}


def observe_decisions(decisions: Sequence[Decision]) -> Observed:
    """Return what decisions alone tell: score, category and block rate; what was never scored is left out."""
    scored = [decision for decision in decisions if decision.score is not None]
    suspects = [d.category for d in scored if d.score >= d.ham_cutoff]  # type: ignore[operator]  # scored ones have one
    blocked = [decision.would_be is Action.BLOCK for decision in scored]
    return Observed(
        {"score": np.array([decision.score for decision in scored], dtype=np.float64)},
        {
            "category": np.array([_CATEGORY[category] for category in suspects], dtype=np.int64),
            "blocked": np.array(blocked, dtype=np.int64),
        },
    )


def observe_texts(texts: Sequence[str], known: Mapping[str, int]) -> Observed:
    """Return what texts tell: length, share of unknown words, share of rewritten characters."""
    return observe_normalized(texts, normalize_batch(texts), known)


def observe_normalized(texts: Sequence[str], normalized: Sequence[str], known: Mapping[str, int]) -> Observed:
    """Return what texts and their normalised forms tell."""
    unknown, rewritten = [], []
    for text, done in zip(texts, normalized, strict=True):
        words = [word for word in tokenize(done) if word != " "]
        unknown.append(sum(word not in known for word in words) / max(1, len(words)))
        left = Counter(text.lower())
        left.subtract(done)
        rewritten.append(sum(count for count in left.values() if count > 0) / max(1, len(text)))
    return Observed(
        {
            "length": np.array([len(text) for text in texts], dtype=np.float64),
            "unknown_words": np.array(unknown, dtype=np.float64),
            "rewritten": np.array(rewritten, dtype=np.float64),
        },
        {},
    )


class Tally:
    """Counts of every feature, by the edges of one reference or by this release's."""

    def __init__(self, edges: Mapping[str, Sequence[float]] = EDGES) -> None:
        self.edges = {name: np.asarray(edges.get(name, EDGES[name]), dtype=np.float64) for name in EDGES}
        self.counts: dict[str, Counts] = {name: np.zeros(len(found) + 1) for name, found in self.edges.items()}
        self.counts |= {name: np.zeros(len(names)) for name, names in NAMES.items()}

    def add(self, seen: Observed) -> None:
        """Count a batch."""
        for name, values in seen.values.items():
            places = np.searchsorted(self.edges[name], values, side="left")
            self.counts[name] += np.bincount(places, minlength=len(self.counts[name]))
        for name, places in seen.names.items():
            self.counts[name] += np.bincount(places, minlength=len(self.counts[name]))

    def plus(self, other: "Tally") -> None:
        """Add another tally of the same edges."""
        for name, counts in other.counts.items():
            self.counts[name] += counts

    def messages(self, feature: str) -> int:
        """Return how many messages a feature was counted on."""
        return int(self.counts[feature].sum())


def reference_of(tally: Tally, words: Mapping[str, float] | None = None) -> Reference:
    """Return counts as a manifest or a file keeps them."""
    return Reference(
        messages=tally.messages("score"),
        edges={name: tuple(edges.tolist()) for name, edges in tally.edges.items()},
        counts={name: tuple(counts.tolist()) for name, counts in tally.counts.items()},
        words=dict(words or {}),
    )


def psi(now: Counts, then: Counts) -> float:
    """Return the population stability index of two rows of counts.

    >>> round(psi(np.array([50.0, 50.0]), np.array([500.0, 500.0])), 3)
    0.0
    >>> round(psi(np.array([900.0, 100.0]), np.array([500.0, 500.0])), 2)
    0.88
    """
    ours, theirs = now + 0.5, then + 0.5
    ours, theirs = ours / ours.sum(), theirs / theirs.sum()
    return float(np.sum((ours - theirs) * np.log(ours / theirs)))


class Shift(NamedTuple):
    """How far one feature moved."""

    feature: str
    messages: int
    psi: float | None  #: None: too few messages to say
    now: tuple[float, ...]  #: shares of the bins
    then: tuple[float, ...]


def shifts(tally: Tally, reference: Reference) -> list[Shift]:
    """Return how far every feature moved, the furthest first; those with too few messages last."""
    found = []
    for name in FEATURES:
        now, then = tally.counts[name], np.asarray(reference.counts.get(name, ()), dtype=np.float64)
        enough = now.sum() >= LEAST[name] and then.sum() >= LEAST[name] and len(now) == len(then)
        shares = [tuple((one / max(1.0, one.sum())).round(4).tolist()) for one in (now, then)]
        found.append(Shift(name, int(now.sum()), psi(now, then) if enough else None, *shares))
    return sorted(found, key=lambda shift: -1.0 if shift.psi is None else shift.psi, reverse=True)


def bin_name(edges: Sequence[float], place: int) -> str:
    """Return how a bin is called.

    >>> bin_name((6, 10), 0), bin_name((6, 10), 1), bin_name((6, 10), 2)
    ('≤ 6', '6–10', '> 10')
    """
    if place == 0:
        return f"≤ {edges[0]:g}"
    return f"> {edges[-1]:g}" if place == len(edges) else f"{edges[place - 1]:g}–{edges[place]:g}"


class WordCounts:
    """In how many messages does each word stand?"""

    def __init__(self) -> None:
        self.messages = 0
        self._counts: Counter[str] = Counter()

    def add(self, normalized: Iterable[str]) -> None:
        """Count some normalised messages."""
        for text in normalized:
            self.messages += 1
            self._counts.update(set(tokenize(text)))

    def known(self, words: Container[str]) -> dict[str, float]:
        """Return the shares of the commonest words the model knows, which a reference may keep.

        The model knows no word of fewer than some near-duplicate groups, so no one person's name or number stands here.
        """
        common = sorted((word for word in self._counts if word in words), key=lambda word: (-self._counts[word], word))
        return self._shares(sorted(common[:WORDS]))

    def repeated(self, named: Container[str], least: int = 5) -> dict[str, float]:
        """Return the shares of words for a screen alone: those that are named, and all of some messages.

        The latter may be unknown ones; figures are left out.
        """
        return self._shares(
            word
            for word, count in self._counts.items()
            if word in named or (count >= least and not any(map(str.isdigit, word)))
        )

    def _shares(self, words: Iterable[str]) -> dict[str, float]:
        return {word: round(self._counts[word] / max(1, self.messages), 6) for word in words}


class Moved(NamedTuple):
    """A word whose share of messages moved."""

    word: str
    then: float
    now: float
    strength: float  #: signed root of the log-likelihood ratio: above 3 is no chance


def moved_words(now: Mapping[str, float], messages: int, reference: Reference, most: int = 20) -> list[Moved]:
    """Return the words that moved most, by the strength of the evidence.

    A word the reference does not name was rarer there than the rarest it names; it is taken to have been that common.
    """
    if not reference.words or not messages:
        return []
    rarest = min(reference.words.values())
    found = []
    for word in {*now, *reference.words}:
        then, share = reference.words.get(word, rarest), now.get(word, 0.0)
        if any(map(_tells, word)) and (word in reference.words or share > rarest):
            found.append(Moved(word, then, share, _strength(share, messages, then, reference.messages)))
    return sorted(found, key=lambda moved: (-abs(moved.strength), moved.word))[:most]


def _tells(char: str) -> bool:
    """Return whether a character can mean something: punctuation cannot, what stands for a link or a phone can."""
    return char.isalnum() or unicodedata.category(char) == "Co"


def _strength(now: float, n: int, then: float, m: int) -> float:
    both = (now * n + then * m) / (n + m)
    ratio = 0.0
    for share, size in ((now, n), (then, m)):
        for part, whole in ((share, both), (1 - share, 1 - both)):
            if part > 0 and whole > 0:
                ratio += 2 * size * part * float(np.log(part / whole))
    return float(np.sqrt(max(0.0, ratio))) * (1 if now >= then else -1)
