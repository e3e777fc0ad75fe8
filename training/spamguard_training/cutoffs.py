"""From which score on is a message blocked, and what would another choice have done?

From a budget of good messages, not from 0.5 or F1: the lowest cutoff whose share of blocked ham, on a stated mix of
kinds, has a 95 % upper bound inside the budget. A budget the rows cannot show is refused, with the number they lack.
Beside it stands the choice by cost: what a lost good message costs against a spam that passes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from spamguard.core.decide import SCORE_DIGITS
from spamguard.errors import DataError
from spamguard_training.measure import ANY, Flags, Floats, mixed_rate
from spamguard_training.scores import Scored

#: The budgets that `spamguard cutoffs` shows beside each other.
BUDGETS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01)

#: A budget above this would be none: half of the good messages.
LARGEST_BUDGET: Final = 0.5

#: Cutoffs are looked for among this many quantiles of the ham scores' upper tail.
STEPS = 400


def cutoff_for(
    scores: Floats, kinds: Sequence[str | None], groups: Sequence[str], *, budget: float, mix: Mapping[str, float]
) -> tuple[float, float, float, int]:
    """Return (cutoff, estimate, upper bound, ham groups) for a false-positive budget. Raises DataError.

    The scores may be probabilities or log-odds; the cutoff is one of the same.
    """
    bound, count = require_support(kinds, groups, budget=budget, mix=mix)
    ham = np.sort(scores[[kind in mix for kind in kinds]])[::-1]
    places = np.unique(np.geomspace(1, len(ham), STEPS).astype(int)) - 1
    best = (float(np.nextafter(ham[0], np.inf)), 0.0, bound, count)
    low, high = 0, len(places)
    while low < high:  # the bound grows as the cutoff falls
        middle = (low + high) // 2
        cutoff = float(ham[places[middle]])
        estimate, upper, count = mixed_rate(scores >= cutoff, kinds, groups, mix)
        if upper > budget:
            high = middle
        else:
            low = middle + 1
            best = (cutoff, estimate, upper, count)
    return best


def require_support(
    kinds: Sequence[str | None], groups: Sequence[str], *, budget: float, mix: Mapping[str, float]
) -> tuple[float, int]:
    """Return the upper bound and the groups of a cutoff that blocks no ham. Raises DataError above the budget."""
    _, bound, count = mixed_rate(np.zeros(len(kinds), dtype=bool), kinds, groups, mix)
    if bound > budget:
        absent = " and ".join(kind for kind in mix if kind not in kinds)
        way_out = "bring more"
        if absent and absent != ANY:
            way_out = f"bring {absent} by their category (datasets/README.md), or no category at all"
        elif bound <= LARGEST_BUDGET:
            way_out += f", or allow more with --budget {math.ceil(bound * 10_000) / 10_000:g}"
        raise DataError(
            detail=f"a false-positive rate of {budget:.3%} cannot be shown: with no good message blocked the "
            f"upper bound is still {bound:.3%}. Near-duplicate groups of sure ham, had and needed: "
            f"{_lacking(kinds, groups, budget, mix)}; {way_out}"
        )
    return bound, count


def _lacking(kinds: Sequence[str | None], groups: Sequence[str], budget: float, mix: Mapping[str, float]) -> str:
    """Return how many groups of each kind there are and how many show the budget when none is blocked."""
    had = Counter(kind for kind, _ in set(zip(kinds, groups, strict=True)))
    per_share = -math.log(0.05) / budget / sum(mix.values())  # the rule of three, for a kind's share of the mix
    return ", ".join(f"{kind} {had[kind]:,} of {math.ceil(share * per_share):,}" for kind, share in mix.items())


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a cutoff would have done to the rows it was looked for on."""

    cutoff: float
    estimate: float  #: share of good messages blocked, on the mix of kinds
    upper_bound: float  #: its 95 % upper bound
    caught: Mapping[str, float]  #: share of spam blocked, by part: headline, modern, families
    unsure_ham: float  #: share of good messages that would be unsure, on the mix
    unsure_spam: float  #: share of the headline sources' spam that would be unsure
    budget: float | None = None  #: what was asked for; None for a cutoff that was given


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that the rows cannot show."""

    budget: float
    reason: str


class Ledger:
    """Out-of-fold scores of a corpus, ready to be asked about cutoffs."""

    def __init__(self, scored: Sequence[Scored], mix: Mapping[str, float]) -> None:
        log_odds = np.array([row.log_odds for row in scored])
        #: as decisions state them, so that a cutoff means the same here and there
        self.probability: Floats = np.round(1.0 / (1.0 + np.exp(-log_odds)), SCORE_DIGITS)
        self._mix = mix
        places = [place for place, row in enumerate(scored) if row.label == "ham" and row.ham_kind in mix]
        self._ham = self.probability[places]
        self._kinds: list[str | None] = [scored[place].ham_kind for place in places]
        self._groups = [scored[place].group for place in places]
        spam = np.array([row.label == "spam" for row in scored])
        sources = np.array([row.source for row in scored])
        parts = {
            "headline": spam & np.array([row.headline for row in scored]),
            "modern": spam & (sources == "modern"),
            "families": spam & (sources == "families"),
        }
        self._parts: dict[str, Flags] = {name: part for name, part in parts.items() if part.any()}

    def within(self, budget: float, ham_cutoff: float) -> Choice | Refused:
        """Return what the lowest cutoff inside a budget would have done, or why there is none."""
        try:
            cutoff, *_ = cutoff_for(self._ham, self._kinds, self._groups, budget=budget, mix=self._mix)
        except DataError as error:
            return Refused(budget=budget, reason=str(error.fields["detail"]))
        return msgspec.structs.replace(self.at(cutoff, ham_cutoff), budget=budget)

    def at(self, cutoff: float, ham_cutoff: float) -> Choice:
        """Return what a cutoff would have done."""
        estimate, bound, _ = mixed_rate(self._ham >= cutoff, self._kinds, self._groups, self._mix)
        unsure, *_ = mixed_rate((self._ham >= ham_cutoff) & (self._ham < cutoff), self._kinds, self._groups, self._mix)
        doubtful = (self.probability >= ham_cutoff) & (self.probability < cutoff)
        return Choice(
            cutoff=cutoff,
            estimate=estimate,
            upper_bound=bound,
            caught={name: float(np.mean(self.probability[part] >= cutoff)) for name, part in self._parts.items()},
            unsure_ham=unsure,
            unsure_spam=float(np.mean(doubtful[self._parts["headline"]])) if "headline" in self._parts else 0.0,
        )

    def cheapest(self, *, cost_ham: float, cost_spam: float, prior: float, ham_cutoff: float) -> tuple[Choice, float]:
        """Return the cutoff that costs least, and its cost per 1,000 messages of which a share `prior` is spam.

        Raises DataError when there are no rows to weigh: spam of the headline sources, sure ham of every kind.
        """
        if "headline" not in self._parts or set(self._kinds) != set(self._mix):
            raise DataError(
                detail=f"costs need spam of a source with both classes and sure ham of the kinds {', '.join(self._mix)}"
            )
        sizes, total = Counter(zip(self._kinds, self._groups, strict=True)), sum(self._mix.values())
        groups = Counter(kind for kind, _ in sizes)
        weights = np.array(
            [
                self._mix[kind or ""] / total / groups[kind] / sizes[kind, group]
                for kind, group in zip(self._kinds, self._groups, strict=True)
            ]
        )
        spam = np.sort(self.probability[self._parts["headline"]])
        order = np.argsort(-self._ham, kind="stable")
        lost = np.concatenate(([0.0], np.cumsum(weights[order])))
        tried = np.unique(np.concatenate((self._ham, spam, [1.0])))
        blocked = lost[np.searchsorted(-self._ham[order], -tried, side="right")]
        passed = np.searchsorted(spam, tried, side="left") / len(spam)
        costs = 1000 * ((1 - prior) * cost_ham * blocked + prior * cost_spam * passed)
        best = int(np.argmin(costs))
        return self.at(float(tried[best]), ham_cutoff), float(costs[best])


def shown_budgets(ledger: Ledger, spam_cutoff: float, ham_cutoff: float) -> list[dict[str, Any]]:
    """Return what every budget of `BUDGETS` and then the shipped cutoff would have done, as plain values."""
    choices = [ledger.within(budget, ham_cutoff) for budget in BUDGETS]
    shipped = ledger.at(spam_cutoff, ham_cutoff)
    known = [shipped] if np.isfinite(shipped.estimate) else []  # there may be no sure ham of some kind
    return [msgspec.to_builtins(choice) for choice in (*choices, *known)]
