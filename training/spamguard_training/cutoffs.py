"""From which score on is a message blocked?

From a budget of good messages, not from 0.5 or F1: the lowest cutoff whose share of blocked ham, on a stated mix of
kinds, has a 95 % upper bound inside the budget. A budget the rows cannot show is refused, with the number they lack.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from spamguard.errors import DataError
from spamguard_training.measure import Floats, mixed_rate

#: Cutoffs are looked for among this many quantiles of the ham scores' upper tail.
STEPS = 400


def cutoff_for(
    scores: Floats, kinds: Sequence[str | None], groups: Sequence[str], *, budget: float, mix: Mapping[str, float]
) -> tuple[float, float, float, int]:
    """Return (cutoff, estimate, upper bound, ham groups) for a false-positive budget. Raises DataError.

    The scores may be probabilities or log-odds; the cutoff is one of the same.
    """
    none_blocked = np.zeros(len(scores), dtype=bool)
    _, bound, count = mixed_rate(none_blocked, kinds, groups, mix)
    if bound > budget:
        needed = max(1, int(np.ceil(3.0 / budget)))
        raise DataError(
            detail=f"{count} groups of sure ham cannot show a false-positive rate of {budget:.3%}: with none of them "
            f"blocked the upper bound is {bound:.3%}. About {needed} groups are needed, spread over the kinds "
            f"{', '.join(mix)}; or allow a larger --budget"
        )
    ham = np.sort(scores[[kind in mix for kind in kinds]])[::-1]
    places = np.unique(np.geomspace(1, len(ham), STEPS).astype(int)) - 1
    best = (float(np.nextafter(ham[0], np.inf)), 0.0, bound, count)
    for place in places:
        cutoff = float(ham[place])
        estimate, upper, count = mixed_rate(scores >= cutoff, kinds, groups, mix)
        if upper > budget:
            break
        best = (cutoff, estimate, upper, count)
    return best
