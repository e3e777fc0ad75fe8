"""What should be read first? That from which most is learnt, whoever may be waiting at the head.

Contributions are added up, and the largest gives the reason that is shown. The lot's share is read although it teaches
the model little: without it every figure about errors would be a guess.
"""

import math
from typing import Final

from spamguard.review.values import Why

REPORTED: Final = 8.0
AGAIN: Final = 6.0
SHADOW: Final = 4.0
CUTOFF: Final = 3.0  #: at the cutoff itself; nothing from `NEAR` log-odds away
LOT: Final = 2.5
KIND: Final = 1.5  #: from `KIND_COPIES` near-identical messages on; more with their number
NEAR: Final = 2.0
KIND_COPIES: Final = 3
#: Less than this is no reason.
LEAST: Final = 0.5


def priority(
    *,
    score: float | None,
    ham_cutoff: float,
    spam_cutoff: float,
    copies: int,
    reported: bool = False,
    again: bool = False,
    shadow: bool = False,
    lot: bool = False,
) -> tuple[float, Why]:
    """Return how early an item should be read, and the main reason.

    >>> priority(score=0.9, ham_cutoff=0.3, spam_cutoff=0.9, copies=1)
    (3.0, <Why.CUTOFF: 'cutoff'>)
    >>> priority(score=0.999999, ham_cutoff=0.3, spam_cutoff=0.9, copies=100)
    (2.5, <Why.KIND: 'kind'>)
    """
    parts = {
        Why.REPORTED: REPORTED if reported else 0.0,
        Why.AGAIN: AGAIN if again else 0.0,
        Why.SHADOW: SHADOW if shadow else 0.0,
        Why.CUTOFF: CUTOFF * _closeness(score, ham_cutoff, spam_cutoff),
        Why.RANDOM: LOT if lot else 0.0,
        Why.KIND: KIND - 1.0 + math.log10(min(copies, 100_000)) if copies >= KIND_COPIES else 0.0,
    }
    why = max(parts, key=lambda name: parts[name])
    return round(sum(parts.values()), 6), why if parts[why] >= LEAST else Why.BLOCKED


def _closeness(score: float | None, *cutoffs: float) -> float:
    if score is None:
        return 0.0
    here = _log_odds(score)
    return max(0.0, 1.0 - min(abs(here - _log_odds(cutoff)) for cutoff in cutoffs) / NEAR)


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
