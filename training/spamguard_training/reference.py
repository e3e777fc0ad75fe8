"""What does the traffic look like that a model is made for?

The rows of a corpus are no traffic: half of them are spam. So messages are drawn from them as the cutoffs' budget and
the calibration state it: the recipe's share of spam, from the headline sources, and good messages by the mix of kinds.
Scores are out of fold; the same rows, recipe and seed give the same reference.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from spamguard.core.ageing import Observed, Reference, Tally, WordCounts, observe_normalized, reference_of
from spamguard.core.scorer import LinearScorer
from spamguard.types import Category
from spamguard_training.corpus import Row
from spamguard_training.fit import Data, headline_sources
from spamguard_training.measure import Floats, ham_kind
from spamguard_training.recipe import Recipe

DRAWN: Final = 20_000
_CHUNK: Final = 1000


def traffic_weights(rows: Sequence[Row], recipe: Recipe) -> Floats:
    """Return how likely each row is drawn; they add up to 1."""
    headline = headline_sources(rows, recipe)
    spam = np.array([row.is_spam for row in rows])
    stated = spam & np.array([row.source in headline for row in rows])
    weights = np.where(stated if stated.any() else spam, 1.0, 0.0)
    weights *= recipe.prior / weights.sum()
    kinds = np.array([ham_kind(row) or "" for row in rows])
    present = {kind: share for kind, share in recipe.mix.items() if (kinds == kind).any()}
    if present:
        for kind, share in present.items():
            members = kinds == kind
            weights[members] += (1 - recipe.prior) * share / sum(present.values()) / members.sum()
    else:
        weights[~spam] += (1 - recipe.prior) / (~spam).sum()
    found: Floats = weights / weights.sum()
    return found


def reference(
    data: Data, probability: Floats, scorer: LinearScorer, recipe: Recipe, *, ham_cutoff: float, spam_cutoff: float
) -> Reference:
    """Return the reference of a model; `probability` are its out-of-fold scores."""
    rng = np.random.default_rng(recipe.seed)
    weights = traffic_weights(data.rows, recipe)
    drawn = rng.choice(len(data.rows), size=min(DRAWN, 20 * len(data.rows)), p=weights)
    distinct, copies = np.unique(drawn, return_counts=True)
    originals = [data.rows[place].text for place in distinct.tolist()]
    normalized = [data.texts[place] for place in distinct.tolist()]
    tally = Tally()
    tally.add(_repeated(observe_normalized(originals, normalized, scorer.words), copies))
    scores = probability[distinct]
    suspects = np.flatnonzero(scores >= ham_cutoff)
    kinds: list[str | None] = []
    for first in range(0, len(suspects), _CHUNK):
        part = [originals[place] for place in suspects[first : first + _CHUNK].tolist()]
        kinds += [found.kind for found in scorer.explain_batch(part, most=1)]
    names = [*map(str, Category)]
    places = np.array([len(names) if kind is None else names.index(kind) for kind in kinds], dtype=np.int64)
    tally.add(
        Observed(
            {"score": np.repeat(scores, copies)},
            {
                "category": np.repeat(places, copies[suspects]),
                "blocked": np.repeat((scores >= spam_cutoff).astype(np.int64), copies),
            },
        )
    )
    repeated = (text for text, number in zip(normalized, copies.tolist(), strict=True) for _ in range(number))
    words = WordCounts()
    words.add(repeated)
    return reference_of(tally, words.known(scorer.words))


def _repeated(seen: Observed, copies: np.ndarray) -> Observed:
    return Observed({name: np.repeat(values, copies) for name, values in seen.values.items()}, {})
