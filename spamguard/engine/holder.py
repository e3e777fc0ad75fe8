"""Which model decides now, and what must a model show before it may?

A model is checked aside (normaliser version, self-test vectors) and then swapped in by one reference between batches;
a batch in flight keeps the one it began with. What fails a check changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from spamguard.core import normalize
from spamguard.core.decide import Judge
from spamguard.core.manifest import SELF_TEST_TOLERANCE, Manifest, SelfTest
from spamguard.core.scorer import LinearScorer, ModelArrays
from spamguard.errors import ModelRejected
from spamguard.types import Category


def ready_judge(manifest: Manifest, arrays: ModelArrays) -> Judge:
    """Return a judge for a model that passed every check. Raises ModelRejected."""
    if manifest.normalizer_version != normalize.VERSION:
        detail = (
            f"it was trained under normaliser {manifest.normalizer_version}, this release has {normalize.VERSION}; "
            "train it again with this release"
        )
        raise ModelRejected(path=manifest.full_name, detail=detail)
    if not 0.0 < manifest.ham_cutoff <= manifest.spam_cutoff < 1.0:
        raise ModelRejected(path=manifest.full_name, detail="its cutoffs are not in order between 0 and 1")
    if unknown := set(manifest.kinds).difference(Category):
        detail = f"it names categories this release does not know ({', '.join(sorted(unknown))})"
        raise ModelRejected(path=manifest.full_name, detail=detail)
    if not _is_moment(manifest.created):
        detail = "it does not say when it was made, as RFC 3339 with an offset; its age could not be watched"
        raise ModelRejected(path=manifest.full_name, detail=detail)
    try:
        scorer = LinearScorer(arrays)
        worst = _self_test(scorer, manifest.self_tests)
    except Exception as error:  # noqa: BLE001 - arrays that do not fit together fail anywhere in numpy
        detail = f"its arrays do not fit together ({type(error).__name__}: {error})"
        raise ModelRejected(path=manifest.full_name, detail=detail) from None
    if not worst <= SELF_TEST_TOLERANCE:
        detail = f"its self-test scores are off by {worst:.3g} in log-odds"
        raise ModelRejected(path=manifest.full_name, detail=detail)
    return Judge(scorer, manifest.full_name, manifest.ham_cutoff, manifest.spam_cutoff)


def _is_moment(stated: str) -> bool:
    try:
        return datetime.fromisoformat(stated).tzinfo is not None
    except ValueError:
        return False


def _self_test(scorer: LinearScorer, tests: Sequence[SelfTest]) -> float:
    """Return how far the scores are off at most, in log-odds, after every way into the scorer was gone once."""
    texts = normalize.normalize_batch([test.text for test in tests])
    scorer.explain_batch([test.text for test in tests[:1]])
    expected = np.array([test.log_odds for test in tests])
    return float(np.abs(scorer.score(texts).log_odds - expected).max(initial=0.0))


class ModelHolder:
    """Holds the judge that decides now."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @property
    def judge(self) -> Judge:
        """Return the judge for the next batch."""
        return self._judge

    def swap(self, judge: Judge) -> None:
        """Let another judge decide from the next batch on."""
        self._judge = judge
