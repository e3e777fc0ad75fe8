"""How good are the scores, and how sure are we?

Everything is measured on scores of rows the scorer did not see (grouped out-of-fold, or a held-out file). Intervals
come from resampling whole near-duplicate groups: copies of one mailing are one piece of evidence. A false-positive
rate on a stated mix of ham kinds gets its upper bound from Fay and Feuer (1997), which holds for weighted sums of rare
events.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from spamguard_training.corpus import Row
from spamguard_training.families import SOURCE as INVENTED

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATES: Final = (0.01, 0.005, 0.001)
RESAMPLES: Final = 200


def auc(spam: Flags, scores: Floats, weights: Floats | None = None) -> float:
    """Return the area under the ROC curve."""
    return float(roc_auc_score(spam, scores, sample_weight=weights))


def threshold_at(spam: Flags, scores: Floats, rate: float, weights: Floats | None = None) -> float:
    """Return the smallest score above which at most `rate` of the ham lies."""
    ham = scores[~spam]
    weight = np.ones(len(ham)) if weights is None else weights[~spam]
    order = np.argsort(-ham, kind="stable")
    blocked = np.cumsum(weight[order])
    allowed = int(np.searchsorted(blocked, rate * blocked[-1], side="right"))
    return float(np.inf) if not len(ham) else float(ham[order][min(allowed, len(ham) - 1)])


def recall_at(spam: Flags, scores: Floats, rate: float, weights: Floats | None = None) -> float:
    """Return the share of spam scored above the threshold that blocks at most `rate` of the ham."""
    caught = scores[spam] > threshold_at(spam, scores, rate, weights)
    return float(np.average(caught, weights=None if weights is None else weights[spam]))


def brier(spam: Flags, probability: Floats) -> float:
    """Return the mean squared difference of probability and truth."""
    return float(np.mean((probability - spam) ** 2))


def expected_calibration_error(spam: Flags, probability: Floats, bins: int = 15) -> float:
    """Return the mean distance of stated and found share of spam over bins of equal width, weighted by their size."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    size = np.bincount(place, minlength=bins)
    stated = np.bincount(place, weights=probability, minlength=bins)
    found = np.bincount(place, weights=spam.astype(float), minlength=bins)
    return float(np.abs(stated - found).sum() / size.sum())


def interval(
    measure: Callable[[Flags, Floats, Floats], float], spam: Flags, scores: Floats, groups: Sequence[str], seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of a weighted measure over resampled groups."""
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    count = int(members.max()) + 1
    found = []
    for _ in range(RESAMPLES):
        weights = np.bincount(rng.integers(count, size=count), minlength=count)[members].astype(float)
        present = weights > 0
        if spam[present].all() or not spam[present].any():
            continue
        found.append(measure(spam[present], scores[present], weights[present]))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


#: The one kind of ham of a corpus in which no row says its kind.
ANY: Final = "any"


def ham_kind(row: Row) -> str | None:
    """Return which kind of ham a row is for the budget, or None when nobody made sure.

    Any row with a category counts, and private chat or codes by their source: a category stands on rows that were read
    by the policy and on recent templates. Of rows that were read only the sure ones count; invented ones never do,
    however many are written.
    """
    if row.is_spam or row.source == INVENTED or (row.read and row.confidence == "low"):
        return None
    if row.category == "personal" or (row.public_category == "personal_chat"):
        return "personal"
    if row.category in ("otp", "transaction", "service", "public") or (row.public_category or "").endswith("OTP"):
        return "notice"
    return None


def ham_kinds(rows: Sequence[Row]) -> list[str | None]:
    """Return each row's kind of ham for the budget: `any` of every sure good row when no row says its kind."""
    kinds = [ham_kind(row) for row in rows]
    if any(kinds):
        return kinds
    return [
        None if row.is_spam or row.source == INVENTED or (row.read and row.confidence == "low") else ANY for row in rows
    ]


def mixed_rate(blocked: Flags, kinds: Sequence[str | None], groups: Sequence[str], mix: Mapping[str, float]) -> Any:
    """Return (estimate, 95 % upper bound, groups) of the share of ham blocked on a mix of kinds.

    The unit is the near-duplicate group: a group of which half is blocked counts as half an error.
    """
    shares: dict[str, dict[str, list[bool]]] = {kind: {} for kind in mix}
    for hit, kind, group in zip(blocked.tolist(), kinds, groups, strict=True):
        if kind in shares:
            shares[kind].setdefault(group, []).append(hit)
    estimate = variance = heaviest = 0.0
    total = sum(mix.values())
    for kind, by_group in shares.items():
        if not by_group:
            return float("nan"), 1.0, 0
        weight = mix[kind] / total / len(by_group)
        errors = [sum(hits) / len(hits) for hits in by_group.values()]
        estimate += weight * sum(errors)
        variance += weight * weight * sum(errors)
        heaviest = max(heaviest, weight)
    centre, spread = estimate + heaviest, variance + heaviest**2
    upper = spread / (2 * centre) * float(chi2.ppf(0.95, 2 * centre**2 / spread))
    return estimate, min(1.0, upper), sum(map(len, shares.values()))


def summary(spam: Flags, scores: Floats, groups: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Return the headline figures of one set of rows, with intervals."""
    figures: dict[str, Any] = {"spam": int(spam.sum()), "ham": int((~spam).sum())}
    if not spam.any() or spam.all():
        return figures
    figures["auc"] = _with_interval(lambda s, x, w: auc(s, x, w), spam, scores, groups, seed)
    for rate in RATES:
        if (~spam).sum() * rate < 1:  # not one ham row may be blocked: nothing to measure
            continue
        figures[f"recall_at_{rate:g}"] = _with_interval(
            lambda s, x, w, r=rate: recall_at(s, x, r, w), spam, scores, groups, seed
        )
    return figures


def _with_interval(
    measure: Callable[..., float], spam: Flags, scores: Floats, groups: Sequence[str], seed: int
) -> dict[str, float]:
    low, high = interval(measure, spam, scores, groups, seed)
    value = measure(spam, scores, np.ones(len(spam)))
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}
