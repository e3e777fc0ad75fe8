"""Does a cutoff stay inside its budget, is an unprovable budget refused with what is lacking, and what is cheapest?"""

import itertools

import msgspec
import numpy as np
import pytest
from spamguard_training.cutoffs import Choice, Ledger, Refused, cutoff_for
from spamguard_training.measure import mixed_rate
from spamguard_training.scores import Scored

from spamguard.errors import DataError

MIX = {"personal": 0.5, "notice": 0.5}


def corpus(ham_each: int = 2000, spam: int = 1000, seed: int = 3) -> list[Scored]:
    """Return rows whose ham lies around -4 and whose spam lies around 4, in log-odds."""
    rng = np.random.default_rng(seed)
    found = []
    for kind, number in itertools.product(MIX, range(ham_each)):
        log_odds = float(rng.normal(-4, 1.5))
        found.append(
            Scored(
                id=f"{kind}{number}", label="ham", source="s", group=f"{kind}{number // 2}", log_odds=log_odds,
                ham_kind=kind, headline=True,
            )
        )  # fmt: skip
    for number in range(spam):
        source = ("s", "modern", "families")[number % 3]
        found.append(
            Scored(
                id=f"spam{number}", label="spam", source=source, group=f"spam{number}",
                log_odds=float(rng.normal(4, 2)), headline=source == "s",
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("budget", [0.004, 0.01, 0.03])
def test_the_cutoff_is_the_lowest_one_inside_the_budget(budget: float) -> None:
    rows = [row for row in corpus() if row.label == "ham"]
    scores = np.array([row.log_odds for row in rows])
    kinds, groups = [row.ham_kind for row in rows], [row.group for row in rows]
    cutoff, estimate, bound, count = cutoff_for(scores, kinds, groups, budget=budget, mix=MIX)
    assert mixed_rate(scores >= cutoff, kinds, groups, MIX) == (estimate, bound, count)
    assert bound <= budget
    further = np.sort(scores)[::-1][int((scores >= cutoff).sum() * 1.1) + 2]
    assert mixed_rate(scores >= further, kinds, groups, MIX)[1] > budget


def test_a_budget_the_rows_cannot_show_says_how_many_groups_of_each_kind_it_takes() -> None:
    rows = corpus()
    answer = Ledger(rows, MIX).within(0.001, 0.3)
    assert isinstance(answer, Refused)
    assert "personal 1,000 of 1,498, notice 1,000 of 1,498" in answer.reason
    enough = Ledger(corpus(ham_each=2 * 1498), MIX).within(0.001, 0.3)
    assert isinstance(enough, Choice)


def test_a_larger_budget_catches_more_and_loses_more() -> None:
    ledger = Ledger(corpus(), MIX)
    choices = [ledger.within(budget, 0.2) for budget in (0.005, 0.01, 0.05)]
    for tight, loose in itertools.pairwise(choices):
        assert isinstance(tight, Choice)
        assert isinstance(loose, Choice)
        assert loose.cutoff < tight.cutoff
        assert loose.estimate > tight.estimate
        assert list(loose.caught) == ["headline", "modern", "families"]
        assert all(loose.caught[part] >= share for part, share in tight.caught.items())
        assert loose.unsure_ham <= tight.unsure_ham


@pytest.mark.parametrize("cost_ham", [1.0, 30.0, 1000.0])
def test_no_other_cutoff_is_cheaper_than_the_cheapest(cost_ham: float) -> None:
    rows = corpus(ham_each=300, spam=300)
    ledger = Ledger(rows, MIX)

    def cost(cutoff: float) -> float:
        found = ledger.at(cutoff, 0.2)
        return 1000 * (0.9 * cost_ham * found.estimate + 0.1 * (1 - found.caught["headline"]))

    best, stated = ledger.cheapest(cost_ham=cost_ham, cost_spam=1.0, prior=0.1, ham_cutoff=0.2)
    assert stated == pytest.approx(cost(best.cutoff))
    assert stated <= min(cost(cutoff) for cutoff in np.quantile(ledger.probability, np.linspace(0, 1, 200))) + 1e-9


def test_costs_without_spam_of_a_two_class_source_are_refused() -> None:
    rows = [msgspec.structs.replace(row, headline=False) for row in corpus(ham_each=10, spam=10)]
    with pytest.raises(DataError, match="both classes"):
        Ledger(rows, MIX).cheapest(cost_ham=1, cost_spam=1, prior=0.1, ham_cutoff=0.2)
