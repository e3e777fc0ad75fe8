"""Does a model carry over to another source, and do sources give themselves away?

Three questions that need training of their own: what a model of one source does on another, how well a row's source can
be guessed from its text, and whether more rows would still help.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from spamguard.core.features import CHARS
from spamguard_training.corpus import Row
from spamguard_training.fit import Progress, fold_of, headline_sources, normalized, prepare, score_unseen
from spamguard_training.measure import auc, recall_at
from spamguard_training.pipeline import feature_union, fit_features
from spamguard_training.recipe import Recipe

RATE: Final = 0.01  #: the false-positive rate at which recall is stated
LEAST_ROWS: Final = 50  #: of a label, for a source to take part
GUESSED_ROWS: Final = 1000  #: most rows of a source and label that guessing looks at
#: From this AUC on, a source's ham is another domain: it is recognised without being understood.
GIVEN_AWAY: Final = 0.98
SIZES: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  #: shares of the training groups along the learning curve


def cross_source(rows: Sequence[Row], recipe: Recipe, progress: Progress = lambda *_: None) -> list[dict[str, Any]]:
    """Return, for each two sources with both classes in one language, what a model of the one alone does on the other.

    Rows of a near-duplicate group that both sources hold are left out of the test.
    """
    labels: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = labels.setdefault(row.source, {"ham": 0, "spam": 0})
        counts[row.label] += 1
    chosen = sorted(
        source
        for source in headline_sources(rows, msgspec.structs.replace(recipe, headline=()))
        if min(labels[source].values()) >= LEAST_ROWS and source not in ("modern", "families")
    )
    spoken = {source: Counter(row.lang[:2] for row in rows if row.source == source) for source in chosen}
    language = {source: counts.most_common(1)[0][0] for source, counts in spoken.items()}
    data = prepare(rows, recipe)
    sources = np.array([row.source for row in rows])
    found = []
    for step, one in enumerate(chosen):
        progress(f"trained on {one} alone", step, len(chosen))
        seen = np.flatnonzero(sources == one)
        known = set(data.groups[seen].tolist())
        tests = {
            other: np.array(
                [i for i in np.flatnonzero(sources == other) if data.groups[i] not in known], dtype=np.int64
            )
            for other in chosen
            if other != one and language[other] == language[one]
        }
        tests = {other: places for other, places in tests.items() if 0 < data.spam[places].sum() < len(places)}
        if not tests:
            continue
        scores = np.split(
            score_unseen(data, seen, np.concatenate(list(tests.values())), recipe),
            np.cumsum([len(places) for places in tests.values()])[:-1],
        )
        found += [
            {
                "trained_on": one,
                "tested_on": other,
                "rows": len(places),
                "auc": round(auc(data.spam[places], score), 4),
                "recall": round(recall_at(data.spam[places], score, RATE), 4),
            }
            for (other, places), score in zip(tests.items(), scores, strict=True)
        ]
    return found


@threadpool_limits.wrap(limits=1, user_api="blas")  # type: ignore[untyped-decorator]
def guess_sources(rows: Sequence[Row], recipe: Recipe, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Return how well a row's source is guessed from its normalised characters, for each label; grouped out-of-fold.

    `accuracy` stands beside `chance`, the share of the largest source; `auc` is one source against the rest.
    """
    found: dict[str, Any] = {}
    for step, label in enumerate(("ham", "spam")):
        progress(f"guessing the source of {label}", step, 2)
        chosen = _sample([row for row in rows if row.label == label], recipe.seed)
        names = sorted({row.source for row in chosen})
        if len(names) < 2:
            continue
        truth = np.array([names.index(row.source) for row in chosen])
        numbers: dict[str, int] = {}
        groups = np.array([numbers.setdefault(row.group, len(numbers)) for row in chosen])
        folds = np.array([fold_of(row.group, recipe.folds, recipe.seed) for row in chosen])
        texts = normalized([row.text for row in chosen])
        chances = np.zeros((len(chosen), len(names)))
        for fold in range(recipe.folds):
            seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if not len(unseen) or len(np.unique(truth[seen])) < 2:
                continue
            union = feature_union([msgspec.structs.replace(CHARS, longest=2)], None, recipe.least_groups)
            matrix = fit_features(union, [texts[i] for i in seen], groups[seen])
            model = LogisticRegression(C=10.0, max_iter=200, tol=1e-3).fit(matrix, truth[seen])
            chances[np.ix_(unseen, model.classes_)] = model.predict_proba(union.transform([texts[i] for i in unseen]))
        found[label] = {
            "rows": len(chosen),
            "accuracy": round(float(np.mean(chances.argmax(axis=1) == truth)), 4),
            "chance": round(float(np.bincount(truth).max() / len(truth)), 4),
            "auc": {name: round(auc(truth == place, chances[:, place]), 4) for place, name in enumerate(names)},
        }
    return found


def _sample(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return at most `GUESSED_ROWS` rows of each source, the same for the same seed."""
    by_source: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: hashlib.blake2b(f"{seed}:{row.id}".encode(), digest_size=8).digest()):
        by_source.setdefault(row.source, []).append(row)
    return [row for _, found in sorted(by_source.items()) if len(found) >= LEAST_ROWS for row in found[:GUESSED_ROWS]]


def other_domains(rows: Sequence[Row], guessed: Mapping[str, Any]) -> list[str]:
    """Return a warning for each source whose ham is recognised by its looks while it holds hardly any spam."""
    spam = Counter(row.source for row in rows if row.is_spam)
    return [
        f"The ham of {source} looks like another domain: its source is guessed with an AUC of {found:.3f}, and it "
        f"holds {spam[source] or 'no'} spam. A model can allow it by its looks; it shows little about "
        "good messages elsewhere."
        for source, found in guessed.get("ham", {}).get("auc", {}).items()
        if found > GIVEN_AWAY and spam[source] < LEAST_ROWS
    ]


def learning_curve(rows: Sequence[Row], recipe: Recipe, progress: Progress = lambda *_: None) -> list[dict[str, Any]]:
    """Return what models of ever more groups do on the headline rows of the one fold that none of them saw."""
    data = prepare(rows, recipe)
    headline = headline_sources(rows, recipe)
    test = np.array([i for i, row in enumerate(rows) if data.folds[i] == 0 and row.source in headline], dtype=np.int64)
    if not 0 < data.spam[test].sum() < len(test):
        return []
    place = np.array([fold_of(row.group, 1 << 20, recipe.seed + 1) / (1 << 20) for row in rows])
    found = []
    for step, size in enumerate(SIZES):
        progress(f"learning curve: {size:.0%} of the groups", step, len(SIZES))
        seen = np.flatnonzero((data.folds != 0) & (place < size))
        if len(set(data.spam[seen].tolist())) < 2:
            continue
        scores = score_unseen(data, seen, test, recipe)
        found.append(
            {
                "rows": len(seen),
                "auc": round(auc(data.spam[test], scores), 4),
                "recall": round(recall_at(data.spam[test], scores, RATE), 4),
            }
        )
    return found
