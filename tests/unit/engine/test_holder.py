"""What must a model show before it may decide?"""

from typing import Any

import msgspec
import numpy as np
import pytest

from spamguard.core import normalize
from spamguard.core.decide import Judge
from spamguard.core.manifest import SelfTest
from spamguard.core.scorer import LinearScorer
from spamguard.engine.holder import ModelHolder, ready_judge
from spamguard.errors import ModelRejected
from tests.cast import INVOICE
from tests.conftest import Trained, manifest_of


def test_an_honest_model_becomes_a_judge(trained: Trained, scorer: LinearScorer) -> None:
    judge = ready_judge(manifest_of(trained.arrays), trained.arrays)
    assert (judge.name, judge.ham_cutoff, judge.spam_cutoff) == ("small/1.0", 0.3, 0.7)
    text = normalize.normalize(INVOICE)
    assert judge.scorer.read([text]).scores.log_odds.tolist() == scorer.score([text]).log_odds.tolist()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"normalizer_version": "0"}, "trained under normaliser 0"),
        ({"ham_cutoff": 0.8}, "cutoffs"),
        ({"ham_cutoff": 0.0}, "cutoffs"),
        ({"spam_cutoff": 1.0}, "cutoffs"),
        ({"self_tests": (SelfTest(text=INVOICE, log_odds=0.0),)}, "self-test scores are off"),
        ({"kinds": ("fraud", "poetry")}, "poetry"),
        ({"created": "yesterday"}, "when it was made"),
        ({"created": "2026-11-24T10:00:00"}, "when it was made"),
    ],
)
def test_a_model_that_does_not_fit_this_release_is_refused_in_a_sentence(
    trained: Trained, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelRejected, match=said) as caught:
        ready_judge(manifest_of(trained.arrays, **changed), trained.arrays)
    assert "small/1.0" in str(caught.value)


def test_a_self_test_that_is_off_by_little_more_than_rounding_is_seen(trained: Trained) -> None:
    manifest = manifest_of(trained.arrays)
    last = manifest.self_tests[-1]
    for off, fits in ((1e-8, True), (1e-5, False)):
        moved = msgspec.structs.replace(last, log_odds=last.log_odds + off)
        tests = (*manifest.self_tests[:-1], moved)
        changed = msgspec.structs.replace(manifest, self_tests=tests)
        if fits:
            ready_judge(changed, trained.arrays)
        else:
            with pytest.raises(ModelRejected, match="self-test"):
                ready_judge(changed, trained.arrays)


def test_arrays_that_do_not_fit_together_are_refused_in_a_sentence(trained: Trained) -> None:
    arrays = trained.arrays
    doubled = arrays.views[0]._replace(keys=np.zeros_like(arrays.views[0].keys))
    for broken in (
        arrays._replace(views=[doubled, *arrays.views[1:]]),
        arrays._replace(symbols={}),
        arrays._replace(kind_weights={}),
        arrays._replace(kind_features={}),
        arrays._replace(kind_intercepts=np.zeros(1)),
        arrays._replace(intercept=float("nan")),
    ):
        with pytest.raises(ModelRejected):
            ready_judge(manifest_of(arrays), broken)


def test_a_swap_is_seen_by_the_next_reader(judge: Judge) -> None:
    holder = ModelHolder(judge)
    other = judge._replace(name="other/1")
    holder.swap(other)
    assert holder.judge is other
