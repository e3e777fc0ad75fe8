"""How does a corpus become a fitted model, its out-of-fold scores, and the arrays the service loads?

Rows are split by near-duplicate group. Every candidate is cross-validated on the same features; the one that catches
most spam at 1 % of the headline sources' ham is fitted on everything. One Platt calibration, fitted on out-of-fold
scores at the stated prior, is folded into the weights; then weights are rounded to their stored precision, so that what
is measured is what is served. BLAS has one thread: two of them add in another order, and wait for each other.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_selection import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from spamguard.core.features import View
from spamguard.core.normalize import normalize_batch
from spamguard.core.scorer import ModelArrays, ViewArrays
from spamguard.core.sounds import blurred
from spamguard.types import Category
from spamguard_training import variant_table
from spamguard_training.cores import spread
from spamguard_training.corpus import Row
from spamguard_training.measure import Floats, recall_at
from spamguard_training.padding import LEAST_WEIGHT, padded, with_notices
from spamguard_training.pipeline import classifier, feature_union, fit_features, weigh
from spamguard_training.recipe import Candidate, Recipe
from spamguard_training.rewriting import rewritten
from spamguard_training.stored import stored_texts

#: Called with what is being done, how many steps are done and how many there are.
Progress = Callable[[str, int, int], None]
CHOICE_RATE: Final = 0.01  #: the false-positive rate at which candidates are compared
#: Share of its rows that the rarer label of a source must exceed: a reader finds a few adverts in any chat corpus.
STRAYS: Final = 0.01
_CHUNK: Final = 1000

#: What the corpora's categories and the sources' own are, in the categories decisions carry.
KINDS: Final = {
    "fraud": Category.FRAUD, "illegal": Category.ILLEGAL, "adult": Category.ILLEGAL, "gambling": Category.GAMBLING,
    "loan": Category.LOAN, "marketing": Category.MARKETING, "harassment": Category.OTHER,
    "AD": Category.MARKETING, "AD:Retail": Category.MARKETING, "AD:Network_service": Category.MARKETING,
    "AD:Real_estate": Category.MARKETING, "AD:Other": Category.MARKETING, "AD:Loan": Category.LOAN,
    "IL:Gambling": Category.GAMBLING, "IL:Fake_ID_and_invoice": Category.ILLEGAL, "IL:Escort_service": Category.ILLEGAL,
    "IL:Political_propaganda": Category.ILLEGAL, "FR:Phishing(Bank)": Category.FRAUD, "FR:Other": Category.FRAUD,
    "FR:Financial": Category.FRAUD, "FR:Phishing(Other)": Category.FRAUD, "FRAUD": Category.FRAUD,
    "smishing": Category.FRAUD, "HARASS": Category.OTHER,
}  # fmt: skip


class Data(NamedTuple):
    """Rows as arrays, in the rows' order."""

    rows: Sequence[Row]
    texts: Sequence[str]  #: normalised
    spam: NDArray[np.bool_]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    weights: Floats


class Fitted(NamedTuple):
    """A model with the evidence for it."""

    arrays: ModelArrays
    pipeline: Pipeline  #: the same model in scikit-learn's words, from raw text to probability
    chosen: Candidate
    tried: list[tuple[Candidate, list[float]]]  #: recall at `CHOICE_RATE` on the headline sources, by seed of the folds
    log_odds: Floats  #: calibrated, out of fold, one a row
    calibration: str
    kind_accuracy: float | None
    kind_confusion: dict[str, dict[str, int]]


def normalized(texts: Sequence[str]) -> list[str]:
    """Return all texts normalised, in order."""
    return list(_normalized(_chunks(texts), len(texts)))


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[first : first + _CHUNK] for first in range(0, len(texts), _CHUNK))


def _normalized(chunks: Iterable[Sequence[str]], messages: int) -> Iterator[str]:
    return (text for part in spread(_normalize, None, chunks, messages=messages) for text in part)


def _normalize(_: None, texts: Sequence[str]) -> list[str]:
    return normalize_batch(texts)


def fold_of(group: str, folds: int, seed: int) -> int:
    """Return the fold of a group: the same for the same seed, whatever else is in the corpus."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()) % folds


def headline_sources(rows: Sequence[Row], recipe: Recipe) -> frozenset[str]:
    """Return the sources the figures are stated on: those that hold both classes, not just a few strays of one."""
    if recipe.headline:
        return frozenset(recipe.headline)
    labels: dict[str, list[int]] = {}
    for row in rows:
        labels.setdefault(row.source, [0, 0])[row.is_spam] += 1
    return frozenset(source for source, counts in labels.items() if min(counts) and min(counts) >= STRAYS * sum(counts))


def prepare(rows: Sequence[Row], recipe: Recipe) -> Data:
    """Return the rows as arrays."""
    numbers: dict[str, int] = {}
    headline = headline_sources(rows, recipe)

    def weight(row: Row) -> float:
        base = recipe.weights.get(row.source, 1.0)
        if row.source in headline:
            base *= recipe.read_weight if row.read else recipe.unread_weight
        base *= recipe.label_weights.get(row.label_source or "", 1.0)
        return base * recipe.trust_weights.get(row.trust or "", 1.0)

    groups = np.array([numbers.setdefault(row.group, len(numbers)) for row in rows])
    chunks = ([row.text for row in rows[first : first + _CHUNK]] for first in range(0, len(rows), _CHUNK))
    return Data(
        rows=rows,
        texts=stored_texts(_normalized(chunks, len(rows))),
        spam=np.array([row.is_spam for row in rows]),
        groups=groups,
        folds=np.array([fold_of(row.group, recipe.folds, recipe.seed) for row in rows]),
        weights=capped(np.array([weight(row) for row in rows]), groups, recipe.group_cap),
    )


def capped(weights: Floats, groups: NDArray[np.int64], cap: float) -> Floats:
    """Return the weights with no group heavier than the cap, so that one mass mailing cannot own the model."""
    if cap <= 0:
        return weights
    totals = np.bincount(groups, weights=weights)
    return weights * np.minimum(1.0, cap / np.maximum(totals, 1e-12))[groups]


@threadpool_limits.wrap(limits=1, user_api="blas")  # type: ignore[untyped-decorator]
def fit(data: Data, recipe: Recipe, progress: Progress = lambda *_: None, checkpoints: Path | None = None) -> Fitted:
    """Return the model fitted on all rows, chosen and calibrated out of fold.

    In a folder of checkpoints each finished fold leaves its scores, so that the same fit can go on after a stop.
    """
    rounds = 1 + len(recipe.more_seeds)  # how far a recall moves with the split is worth knowing without a choice too
    steps = recipe.folds * (1 + len(recipe.candidates)) * rounds + 3
    headline = headline_sources(data.rows, recipe)
    judged = np.array([row.source in headline for row in data.rows])
    scores: list[Floats] = []
    recalls: list[list[float]] = [[] for _ in recipe.candidates]
    for number, seed in enumerate((recipe.seed, *recipe.more_seeds)):
        folds = np.array([fold_of(row.group, recipe.folds, seed) for row in data.rows])
        done = number * (steps - 3) // rounds
        folder = checkpoints if number == 0 or checkpoints is None else checkpoints / f"seed-{seed}"
        found = _out_of_fold(data._replace(folds=folds), recipe, progress, done, steps, folder)
        scores = scores or found  # what is reported comes from the recipe's own seed
        for place, one in enumerate(found):
            recalls[place].append(recall_at(data.spam[judged], one[judged], CHOICE_RATE))
    best = int(np.argmax([np.mean(of_one) for of_one in recalls]))
    slope, offset = _platt(scores[best], data, recipe.prior)
    progress("features of all rows", steps - 3, steps)
    union, taught = teach(data, np.arange(len(data.rows)), recipe)
    progress("final fit", steps - 2, steps)
    chosen = recipe.candidates[best]
    model = classifier(chosen.classifier, chosen.strength)
    model.fit(taught.blocks, taught.spam, sample_weight=taught.weights)
    weights = (model.coef_[0] * slope).astype(np.float32)
    intercept = float(model.intercept_[0] * slope + offset)
    progress("categories", steps - 1, steps)
    kinds, accuracy, confusion = _fit_kinds(data, taught.blocks[0], recipe)
    arrays = _arrays(union, recipe.view_list(), weights, intercept, kinds)
    progress("done", steps, steps)
    return Fitted(
        arrays=arrays,
        pipeline=_pipeline(union, weights, intercept),
        chosen=chosen,
        tried=list(zip(recipe.candidates, recalls, strict=True)),
        log_odds=scores[best] * slope + offset,
        calibration=f"Platt on out-of-fold scores at a prior of {recipe.prior:g}: {slope:.6g} x + {offset:.6g}",
        kind_accuracy=accuracy,
        kind_confusion=confusion,
    )


def _out_of_fold(
    data: Data, recipe: Recipe, progress: Progress, step: int, steps: int, checkpoints: Path | None = None
) -> list[Floats]:
    """Return each candidate's scores of all rows, each by a model that saw nothing of the row's group."""
    scores = [np.zeros(len(data.rows)) for _ in recipe.candidates]
    for fold in range(recipe.folds):
        progress(f"fold {fold + 1} of {recipe.folds}: features", step, steps)
        seen, unseen = np.flatnonzero(data.folds != fold), np.flatnonzero(data.folds == fold)
        kept = None if checkpoints is None else checkpoints / f"fold-{fold}.npy"
        if kept is not None and kept.is_file():
            for place, found in enumerate(np.load(kept, allow_pickle=False)):
                scores[place][unseen] = found
            step += 1 + len(recipe.candidates)
            continue
        union, taught = teach(data, seen, recipe)
        held_out = union.transform([data.texts[i] for i in unseen.tolist()])
        step += 1
        for place, candidate in enumerate(recipe.candidates):
            progress(f"fold {fold + 1} of {recipe.folds}: {candidate.classifier} C={candidate.strength:g}", step, steps)
            model = classifier(candidate.classifier, candidate.strength)
            model.fit(taught.blocks, taught.spam, sample_weight=taught.weights)
            scores[place][unseen] = model.decision_function(held_out)
            step += 1
        if kept is not None:
            _keep(kept, np.stack([found[unseen] for found in scores]))
    return scores


class _Taught(NamedTuple):
    """What a classifier is fitted on."""

    blocks: Sequence[sp.csr_matrix]  #: one above the other: the rows themselves, then copies of some
    spam: NDArray[np.bool_]
    weights: Floats


def teach(data: Data, seen: NDArray[np.int64], recipe: Recipe) -> tuple[FeatureUnion, _Taught]:
    """Return the features learnt from the rows at `seen`, and what they give a classifier to be fitted on."""
    union = feature_union(recipe.view_list(), sounds_of(recipe), recipe.least_groups)
    texts = data.texts if len(seen) == len(data.texts) else stored_texts(data.texts[i] for i in seen.tolist())
    matrix = fit_features(union, texts, data.groups[seen])
    return union, _taught(union, matrix, data, seen, recipe)


def _taught(union: FeatureUnion, matrix: sp.csr_matrix, data: Data, seen: NDArray[np.int64], recipe: Recipe) -> _Taught:
    """Return the rows at `seen`, whose features `matrix` holds, and copies written otherwise where the recipe says."""
    blocks, spam, weights = [matrix], [data.spam[seen]], [data.weights[seen]]
    few = min(1.0, recipe.copied_rows / max(1, int((data.weights[seen] >= LEAST_WEIGHT).sum())))
    for copies, factor in (
        (padded(data.rows, data.weights, seen, recipe.padding * few, recipe.seed), recipe.padding_weight),
        (with_notices(data.rows, data.weights, seen, recipe.notices * few, recipe.seed), recipe.notices_weight),
        (rewritten(data.rows, data.weights, seen, recipe.rewriting * few, recipe.seed), recipe.rewriting_weight),
    ):
        if copies.texts:
            blocks.append(weigh(union, stored_texts(_normalized(_chunks(copies.texts), len(copies.texts)))))
            spam.append(data.spam[copies.places])
            weights.append(data.weights[copies.places] * factor)
    return _Taught(blocks, np.concatenate(spam), np.concatenate(weights))


def _keep(path: Path, scores: Floats) -> None:
    """Write a fold's scores, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        np.save(file, scores)
    draft.replace(path)


@threadpool_limits.wrap(limits=1, user_api="blas")  # type: ignore[untyped-decorator]
def out_of_fold(rows: Sequence[Row], recipe: Recipe, progress: Progress = lambda *_: None) -> Floats:
    """Return the first candidate's calibrated log-odds of all rows, out of fold, and fit nothing else."""
    recipe = msgspec.structs.replace(recipe, candidates=recipe.candidates[:1])
    data = prepare(rows, recipe)
    scores = _out_of_fold(data, recipe, progress, 0, 2 * recipe.folds)[0]
    slope, offset = _platt(scores, data, recipe.prior)
    return scores * slope + offset


def score_unseen(data: Data, seen: NDArray[np.int64], unseen: NDArray[np.int64], recipe: Recipe) -> Floats:
    """Return what the recipe's first candidate, fitted on some rows alone, says of others: not calibrated."""
    union, taught = teach(data, seen, recipe)
    first = recipe.candidates[0]
    model = classifier(first.classifier, first.strength)
    model.fit(taught.blocks, taught.spam, sample_weight=taught.weights)
    found: Floats = model.decision_function(union.transform([data.texts[i] for i in unseen.tolist()]))
    return found


def _platt(scores: Floats, data: Data, prior: float) -> tuple[float, float]:
    """Return slope and offset that make scores calibrated log-odds at the stated share of spam."""
    weights = data.weights.copy()
    weights[data.spam] *= prior / weights[data.spam].sum()
    weights[~data.spam] *= (1 - prior) / weights[~data.spam].sum()
    model = LogisticRegression(C=1e6, max_iter=1000)
    model.fit(scores.reshape(-1, 1), data.spam, sample_weight=weights * len(scores))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def kind_of(row: Row) -> Category | None:
    """Return the category of spam a reader, or else the source, put a row in; None when nobody did."""
    return KINDS.get(row.category or "") or KINDS.get(row.public_category or "")


class _Kinds(NamedTuple):
    """The category head on the columns it looks at."""

    names: tuple[str, ...]
    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    intercepts: Floats


def _fit_kinds(
    data: Data, matrix: sp.csr_matrix, recipe: Recipe
) -> tuple[_Kinds | None, float | None, dict[str, dict[str, int]]]:
    """Return the category head, its out-of-fold accuracy and confusion; nothing when the rows name no categories."""
    known = [kind_of(row) for row in data.rows]
    rows = np.array([i for i, kind in enumerate(known) if kind is not None and data.spam[i]], dtype=np.int64)
    kinds = np.array([str(known[i]) for i in rows])
    if len(set(kinds)) < 2:
        return None, None, {}
    part = matrix[rows]
    strength = np.nan_to_num(chi2(part, kinds)[0])
    columns = np.sort(np.argsort(-strength, kind="stable")[: recipe.kind_features])
    part = part[:, columns].astype(np.float64)
    folds = data.folds[rows]
    found = kinds.copy()
    for fold in range(recipe.folds):
        unseen = folds == fold
        if unseen.any() and len(set(kinds[~unseen])) > 1:
            model = LogisticRegression(C=10.0, max_iter=300).fit(part[~unseen], kinds[~unseen])
            found[unseen] = model.predict(part[unseen])
    confusion: dict[str, dict[str, int]] = {}
    for truth, answer in zip(kinds.tolist(), found.tolist(), strict=True):
        confusion.setdefault(truth, {})[answer] = confusion.setdefault(truth, {}).get(answer, 0) + 1
    model = LogisticRegression(C=10.0, max_iter=300).fit(part, kinds)
    if len(model.classes_) == 2:  # scikit-learn keeps one row of weights for two classes
        coefficients = np.vstack([-model.coef_, model.coef_])
        intercepts = np.hstack([-model.intercept_, model.intercept_])
    else:
        coefficients, intercepts = model.coef_, model.intercept_
    head = _Kinds(tuple(map(str, model.classes_)), columns, coefficients.astype(np.float32), intercepts)
    return head, float(np.mean(found == kinds)), confusion


def _arrays(
    union: FeatureUnion, views: Sequence[View], weights: NDArray[np.float32], intercept: float, kinds: _Kinds | None
) -> ModelArrays:
    """Return everything the service needs, out of the fitted features."""
    words: Sequence[str] = ()
    symbols, parts = {}, []
    kind_features: dict[str, NDArray[np.int64]] = {}
    kind_weights: dict[str, NDArray[np.float32]] = {}
    first = 0
    for view, (name, steps) in zip(views, union.transformer_list, strict=True):
        counts, tfidf = steps.named_steps["counts"], steps.named_steps["tfidf"]
        last = first + len(counts.keys_)
        parts.append(ViewArrays(view, counts.keys_, tfidf.idf_.astype(np.float32), weights[first:last]))
        if view.reads_words:
            words = counts.words_  # both learn the same words from the same texts
        elif view.reads_chars:
            symbols[name] = (counts.codes_, counts.symbols_)
        if kinds is not None:
            mine = (kinds.columns >= first) & (kinds.columns < last)
            kind_features[name] = kinds.columns[mine] - first
            kind_weights[name] = kinds.weights[:, mine]
        first = last
    return ModelArrays(
        words=words,
        symbols=symbols,
        views=parts,
        intercept=intercept,
        kinds=() if kinds is None else kinds.names,
        kind_features=kind_features,
        kind_weights=kind_weights,
        kind_intercepts=np.zeros(0) if kinds is None else kinds.intercepts,
    )


def _pipeline(union: FeatureUnion, weights: NDArray[np.float32], intercept: float) -> Pipeline:
    """Return the whole model as one scikit-learn pipeline over raw texts, with the served (rounded) weights."""
    model = LogisticRegression()
    model.classes_ = np.array([False, True])
    model.coef_ = weights.astype(np.float64).reshape(1, -1)
    model.intercept_ = np.array([intercept])
    model.n_features_in_ = len(weights)
    return Pipeline([("normalize", FunctionTransformer(normalized)), ("features", union), ("classifier", model)])


def sounds_of(recipe: Recipe) -> dict[str, str] | None:
    """Return the syllable of each Han character, when the recipe asks for the view of sounds."""
    if "sounds" not in recipe.views:
        return None
    return {char: blurred(syllable) for syllable, chars in variant_table.SOUNDS.items() for char in chars}
