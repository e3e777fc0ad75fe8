"""Which of two models does better on the same messages, where, and are we sure?

Both are judged as the service judges: guards, evidence floor and each one's own cutoffs included. Differences get
their 95 % interval from resampling whole near-duplicate groups, the same groups for both; McNemar's test counts a
group once, since copies of one mailing are one piece of evidence. The first model is the one that decides now.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import binomtest

from spamguard import config
from spamguard.backends import artifacts, signing
from spamguard.core import normalize
from spamguard.core.changes import ORDER, Turn, masked, turn_of
from spamguard.core.decide import Judge
from spamguard.core.gate import Measure, ModelRef
from spamguard.core.manifest import Manifest
from spamguard.core.scorer import LinearScorer
from spamguard.errors import ModelRejected
from spamguard_training.attacks import CLEAN, Judged, available, judge_texts, sample, write_all
from spamguard_training.corpus import CorpusFile, Row
from spamguard_training.fit import headline_sources
from spamguard_training.measure import RESAMPLES, Flags, Floats, auc, ham_kind, recall_at
from spamguard_training.recipe import Recipe

#: Called with what is being done, how many steps are done and how many there are.
Progress = Callable[[str, int, int], None]
#: Speed is measured in so many rounds, both models in turn, so that a machine that slows down slows both.
ROUNDS: Final = 9
SPEED_ROWS: Final = 1000
SHOWN: Final = 200  #: most messages that change sides in a report


class Contender(NamedTuple):
    """A model that takes part."""

    ref: ModelRef
    manifest: Manifest
    judge: Judge
    size_bytes: int


class Compared(NamedTuple):
    """What came out."""

    figures: dict[str, Any]  #: plain values, ready for JSON
    measures: dict[str, Measure]  #: what the gate looks at
    spam: Flags  #: of the headline rows
    scores: list[Floats]  #: of the headline rows, by each model


class _Seen(NamedTuple):
    """What both models made of one set of texts."""

    first: Judged
    second: Judged


def contender(folder: Path) -> Contender:
    """Return a model, ready to judge. Raises ModelNotFound or ModelRejected."""
    key = config.load().model_key
    digest, manifest, arrays = artifacts.read_known(folder, signing.read_public(key) if key else ())
    if manifest.normalizer_version != normalize.VERSION:
        raise ModelRejected(path=manifest.full_name, detail="it was trained under another normaliser version")
    judge = Judge(LinearScorer(arrays), manifest.full_name, manifest.ham_cutoff, manifest.spam_cutoff)
    size = sum((folder / name).stat().st_size for name in artifacts.NEEDED)
    return Contender(ModelRef(name=manifest.full_name, digest=digest), manifest, judge, size)


def compare(
    rows: Sequence[Row],
    files: Sequence[CorpusFile],
    first: Contender | None,
    second: Contender,
    suite: Sequence[Row],
    *,
    recipe: Recipe,
    variants: Path | None = None,
    attack_rows: int = 1000,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> Compared:
    """Return what two models do on the same rows; `suite` holds good messages of which none may be blocked.

    Without a first model the second one is measured alone.
    """
    models = [second] if first is None else [first, second]
    writings, missing = available(variants)
    steps = len(writings) + 4
    progress("judging", 0, steps)
    spam = np.array([row.is_spam for row in rows])
    texts = [row.text for row in rows]
    judged = [judge_texts(texts, model.judge) for model in models]
    resamples = Resamples([row.group for row in rows], seed)
    headline = headline_sources(rows, recipe)
    part = np.array([row.source in headline for row in rows])
    if not part.any():
        part[:] = True
    budget = shown_budget((first or second).manifest.budget.false_positive_rate, int((~spam & part).sum()))
    progress("resampling", 1, steps)
    measures = _clean_measures(rows, spam, part, judged, resamples, models, budget)
    progress("suite", 2, steps)
    suite_blocked = [judge_texts([row.text for row in suite], model.judge).blocked for model in models]
    measures["suite_blocked"] = _count([int(blocked.sum()) for blocked in suite_blocked])
    attacked = sample(rows, attack_rows, seed)
    attacks, under_attack = _attacks(attacked, models, writings, seed, lambda what, at: progress(what, 3 + at, steps))
    measures |= under_attack
    progress("speed", steps - 1, steps)
    measures["messages_per_s"] = _speed(texts, models, seed)
    figures: dict[str, Any] = {
        "models": [model.ref.name for model in models],
        "rows": {"spam": int(spam.sum()), "ham": int((~spam).sum()), "groups": resamples.groups},
        "headline_sources": sorted(headline),
        "budget": budget,
        "size_bytes": [model.size_bytes for model in models],
        "features": [model.manifest.features for model in models],
        "cutoffs": [[model.manifest.ham_cutoff, model.manifest.spam_cutoff] for model in models],
        "suite": {"messages": len(suite), "blocked": [int(blocked.sum()) for blocked in suite_blocked]},
        "not_run": missing,
        "warnings": _warnings(files, models),
    }
    if first is not None:
        seen = _Seen(*judged)
        figures["mcnemar"] = mcnemar(rows, spam, seen)
        figures["differences"] = _differences(spam, part, seen, resamples)
        for name, part_of in (
            ("by_source", lambda row: row.source),
            ("by_category", lambda row: row.category),
            ("by_ham_kind", ham_kind),
        ):
            figures[name] = won_tied_lost(rows, spam, seen, part_of)
        figures["by_attack"] = attacks
        figures["changes"] = turns(rows, seen)
    progress("done", steps, steps)
    return Compared(figures, measures, spam[part], [one.scores[part] for one in judged])


def shown_budget(asked: float, ham: int) -> float:
    """Return the share of good messages to state recall at: what was asked for, as far as there are rows to show it."""
    return max(asked, 1.0 / max(1, ham))


class Resamples:
    """Weights of rows when whole near-duplicate groups are drawn again; the same for everything that is measured."""

    def __init__(self, groups: Sequence[str], seed: int) -> None:
        _, self._members = np.unique(np.asarray(groups), return_inverse=True)
        self.groups = int(self._members.max(initial=-1)) + 1
        self._seed = seed

    def weights(self) -> Any:
        """Yield one array of weights a resample."""
        rng = np.random.default_rng(self._seed)
        for _ in range(RESAMPLES):
            drawn = np.bincount(rng.integers(self.groups, size=self.groups), minlength=self.groups)
            yield drawn[self._members].astype(float)


def paired(
    measure: Callable[[int, Floats], float], models: int, resamples: Resamples, rows: int
) -> tuple[list[float], float, float]:
    """Return a measure's value of each model, and the 95 % interval of second - first over the resamples."""
    whole = np.ones(rows)
    values = [measure(model, whole) for model in range(models)]
    if models < 2:
        return values, 0.0, 0.0
    found = [measure(1, weights) - measure(0, weights) for weights in resamples.weights()]
    found = [difference for difference in found if np.isfinite(difference)]
    if not found:
        return values, values[1] - values[0], values[1] - values[0]
    return values, float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def _measure(found: tuple[list[float], float, float]) -> Measure:
    values, low, high = found
    return Measure(
        challenger=round(values[-1], 6),
        champion=round(values[0], 6) if len(values) > 1 else None,
        low=round(low, 6),
        high=round(high, 6),
    )


def _count(counts: Sequence[int]) -> Measure:
    difference = float(counts[-1] - counts[0])
    return Measure(
        challenger=counts[-1], champion=counts[0] if len(counts) > 1 else None, low=difference, high=difference
    )


def _clean_measures(
    rows: Sequence[Row],
    spam: Flags,
    part: Flags,
    judged: Sequence[Judged],
    resamples: Resamples,
    models: Sequence[Contender],
    budget: float,
) -> dict[str, Measure]:
    """Return recall at the budget, good messages blocked and calibration."""
    mix = models[0].manifest.budget.mix or {"personal": 0.5, "notice": 0.5}
    kinds = np.array([ham_kind(row) or "" for row in rows])
    sure = [(kinds == kind, share) for kind, share in mix.items() if (kinds == kind).any()] or [(~spam, 1.0)]
    prior = models[0].manifest.prior

    def recall(model: int, weights: Floats) -> float:
        chosen = part & (weights > 0)
        if not spam[chosen].any() or spam[chosen].all():
            return float("nan")
        return recall_at(spam[chosen], judged[model].scores[chosen], budget, weights[chosen])

    def good_blocked(model: int, weights: Floats) -> float:
        shares = [
            (share, float(np.average(judged[model].blocked[kind], weights=weights[kind])))
            for kind, share in sure
            if weights[kind].sum() > 0
        ]
        return sum(share * blocked for share, blocked in shares) / sum(share for share, _ in shares) if shares else 0.0

    def calibration(model: int, weights: Floats) -> float:
        return weighted_calibration_error(spam[part], judged[model].scores[part], weights[part], prior)

    measures = (("recall_at_budget", recall), ("good_blocked", good_blocked), ("calibration_error", calibration))
    return {name: _measure(paired(measure, len(models), resamples, len(rows))) for name, measure in measures}


def weighted_calibration_error(
    spam: Flags, probability: Floats, weights: Floats, prior: float, bins: int = 15
) -> float:
    """Return the expected calibration error at a stated share of spam, which the rows need not have."""
    mass = weights.copy()
    for label, share in ((spam, prior), (~spam, 1.0 - prior)):
        if mass[label].sum() <= 0:
            return float("nan")
        mass[label] *= share / mass[label].sum()
    place = np.minimum((probability * bins).astype(int), bins - 1)
    stated = np.bincount(place, weights=mass * probability, minlength=bins)
    found = np.bincount(place, weights=mass * spam, minlength=bins)
    return float(np.abs(stated - found).sum())


def _differences(spam: Flags, part: Flags, seen: _Seen, resamples: Resamples) -> dict[str, Any]:
    """Return what a reader wants beside the gate's measures, with the intervals of the differences."""

    def caught(model: int, weights: Floats) -> float:
        return float(np.average(seen[model].blocked[spam], weights=weights[spam])) if weights[spam].sum() else 0.0

    def blocked(model: int, weights: Floats) -> float:
        return float(np.average(seen[model].blocked[~spam], weights=weights[~spam])) if weights[~spam].sum() else 0.0

    def area(model: int, weights: Floats) -> float:
        chosen = part & (weights > 0)
        if not spam[chosen].any() or spam[chosen].all():
            return float("nan")
        return auc(spam[chosen], seen[model].scores[chosen], weights[chosen])

    found = {}
    for name, measure in (
        ("spam caught, all rows", caught),
        ("rows labelled ham blocked", blocked),
        ("AUC, headline rows", area),
    ):
        values, low, high = paired(measure, 2, resamples, len(spam))
        found[name] = {"first": round(values[0], 4), "second": round(values[1], 4)}
        found[name] |= {"low": round(low, 4), "high": round(high, 4)}
    return found


def won_tied_lost(
    rows: Sequence[Row], spam: Flags, seen: _Seen, part_of: Callable[[Row], str | None]
) -> dict[str, dict[str, int]]:
    """Return, by part of the rows, how often the second model alone is right (won), both agree, the first alone is."""
    parts: dict[str, dict[str, int]] = {}
    right = [(seen.first.blocked == spam).tolist(), (seen.second.blocked == spam).tolist()]
    for row, first, second in zip(rows, *right, strict=True):
        if (part := part_of(row)) is not None:
            counts = parts.setdefault(part, {"won": 0, "tied": 0, "lost": 0})
            counts["tied" if first == second else "won" if second else "lost"] += 1
    return dict(sorted(parts.items(), key=lambda item: (item[1]["won"] - item[1]["lost"], item[0])))


def mcnemar(rows: Sequence[Row], spam: Flags, seen: _Seen) -> dict[str, Any]:
    """Return McNemar's exact test over near-duplicate groups: who alone is right in how many, and the chance of it."""
    balance: dict[str, int] = {}
    first, second = seen.first.blocked == spam, seen.second.blocked == spam
    for place in np.flatnonzero(first != second).tolist():
        balance[rows[place].group] = balance.get(rows[place].group, 0) + (1 if second[place] else -1)
    won, lost = sum(n > 0 for n in balance.values()), sum(n < 0 for n in balance.values())
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return {"groups_won": won, "groups_lost": lost, "p": round(p, 6)}


def turns(rows: Sequence[Row], seen: _Seen) -> dict[str, Any]:
    """Return the messages that change sides, most consequential first, masked, one a near-duplicate group."""
    found: list[tuple[Turn, float, int]] = []
    for place in np.flatnonzero(seen.first.blocked != seen.second.blocked).tolist():
        turn = turn_of(bool(seen.first.blocked[place]), bool(seen.second.blocked[place]), rows[place].label)
        assert turn is not None  # noqa: S101 - they differ
        found.append((turn, -abs(float(seen.second.scores[place] - seen.first.scores[place])), place))
    found.sort(key=lambda one: (ORDER[one[0]], one[1], one[2]))
    counts = {str(turn): sum(one[0] is turn for one in found) for turn in Turn}
    shown: list[dict[str, Any]] = []
    known: dict[tuple[str, Turn], int] = {}
    for turn, _, place in found:
        row = rows[place]
        if (at := known.get((row.group, turn))) is not None:
            shown[at]["alike"] += 1
            continue
        known[row.group, turn] = len(shown)
        shown.append(
            {
                "turn": str(turn),
                "id": row.id,
                "source": row.source,
                "category": row.category or row.public_category or "",
                "read": row.read,
                "scores": [round(float(one.scores[place]), 4) for one in seen],
                "alike": 0,
                "text": masked(row.text),
            }
        )
    return {"counts": {name: count for name, count in counts.items() if count}, "messages": shown[:SHOWN]}


def _attacks(
    rows: Sequence[Row],
    models: Sequence[Contender],
    writings: Sequence[Any],
    seed: int,
    progress: Callable[[str, int], None],
) -> tuple[dict[str, Any], dict[str, Measure]]:
    """Return won, tied and lost of each writing, and the gate's two measures over all of them."""
    spam = np.array([row.is_spam for row in rows])
    texts = [row.text for row in rows]
    blocked: list[list[Flags]] = [[] for _ in models]
    table: dict[str, Any] = {}
    for number, writing in enumerate(writings):
        progress(writing.name, number)
        written = write_all(texts, writing, seed)
        judged = [judge_texts(written, model.judge) for model in models]
        for found, one in zip(blocked, judged, strict=True):
            found.append(one.blocked)
        if len(models) == 2:
            table[writing.name] = won_tied_lost(rows, spam, _Seen(*judged), lambda _: CLEAN)[CLEAN] | {
                "caught": [round(float(one.blocked[spam].mean()), 4) if spam.any() else 0.0 for one in judged]
            }
    shares = [np.mean(found, axis=0) for found in blocked]  # of the writings in which a row is blocked
    resamples = Resamples([row.group for row in rows], seed)

    def share(label: Flags) -> Callable[[int, Floats], float]:
        def of(model: int, weights: Floats) -> float:
            total = weights[label].sum()
            return float(np.average(shares[model][label], weights=weights[label])) if total > 0 else float("nan")

        return of

    return table, {
        "attack_recall": _measure(paired(share(spam), len(models), resamples, len(rows))),
        "attack_good_blocked": _measure(paired(share(~spam), len(models), resamples, len(rows))),
    }


def _speed(texts: Sequence[str], models: Sequence[Contender], seed: int) -> Measure:
    """Return how many messages a second each model judges on one core, and the interval of the ratio less 1."""
    chosen = np.random.default_rng(seed).permutation(len(texts))[:SPEED_ROWS].tolist()
    tried = [texts[place] for place in chosen]
    took = np.zeros((ROUNDS, len(models)))
    for model in models:
        judge_texts(tried, model.judge)
    for round_ in range(ROUNDS):
        for place, model in enumerate(models):
            began_s = time.perf_counter()
            judge_texts(tried, model.judge)
            took[round_, place] = time.perf_counter() - began_s
    speed = len(tried) / np.median(took, axis=0)
    ratio = took[:, 0] / took[:, -1] - 1.0
    rng = np.random.default_rng(seed)
    medians = np.median(ratio[rng.integers(ROUNDS, size=(RESAMPLES, ROUNDS))], axis=1)
    return Measure(
        challenger=round(float(speed[-1]), 1),
        champion=round(float(speed[0]), 1) if len(models) > 1 else None,
        low=round(float(np.quantile(medians, 0.025)), 4),
        high=round(float(np.quantile(medians, 0.975)), 4),
    )


def _warnings(files: Sequence[CorpusFile], models: Sequence[Contender]) -> list[str]:
    """Return who is flattered by rows it was trained on."""
    found = []
    for model in models:
        known = {source.sha256 for source in model.manifest.sources}
        if names := [file.name for file in files if file.sha256 in known and file.rows and "overlay" not in file.name]:
            found.append(
                f"{model.ref.name} was trained on {', '.join(names)}, which flatters it; better are messages that "
                "neither model has seen."
            )
    return found
