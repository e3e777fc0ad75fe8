"""Is the minimum scikit-learn's, whatever the number of blocks, and are the rows left as they were?"""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from spamguard_training import descent
from spamguard_training.descent import Svm
from spamguard_training.pipeline import classifier

RNG = np.random.default_rng(5)
ROWS = sp.random(400, 900, density=0.02, format="csr", random_state=7, dtype=np.float32)
SPAM = np.asarray(ROWS @ RNG.normal(size=900) + RNG.normal(size=400) > 0.3)
WEIGHTS = RNG.choice([0.0, 0.03, 1.0, 2.0], size=400)
BLOCKS = [ROWS[:1], ROWS[1:300], ROWS[300:]]


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("rows", [ROWS, BLOCKS], ids=["one matrix", "three blocks"])
def test_the_minimum_is_scikit_learns(
    rows: sp.csr_matrix | list[sp.csr_matrix], strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descent, "TOLERANCE", 1e-7)
    double = ROWS.astype(np.float64)
    known = LinearSVC(C=strength, dual=True, tol=1e-8, max_iter=100_000, random_state=0)
    expected = known.fit(double, SPAM, sample_weight=WEIGHTS).decision_function(double)
    found = Svm(strength).fit(rows, SPAM, WEIGHTS)
    np.testing.assert_allclose(found.decision_function(double), expected, rtol=0, atol=1e-5)


def test_the_same_rows_give_the_same_digits_and_stay_as_they_were() -> None:
    before = [array.tobytes() for array in (ROWS.data, ROWS.indices, ROWS.indptr)]
    one, other = (Svm(1.0).fit(ROWS, SPAM, WEIGHTS) for _ in range(2))
    assert one.coef_.tobytes() + one.intercept_.tobytes() == other.coef_.tobytes() + other.intercept_.tobytes()
    assert [array.tobytes() for array in (ROWS.data, ROWS.indices, ROWS.indptr)] == before


def test_a_row_of_no_weight_says_nothing() -> None:
    known = WEIGHTS > 0
    without = Svm(1.0).fit(ROWS[known], SPAM[known], WEIGHTS[known])
    twisted = Svm(1.0).fit(ROWS, np.where(known, SPAM, ~SPAM), WEIGHTS)
    np.testing.assert_allclose(twisted.decision_function(ROWS), without.decision_function(ROWS), atol=5e-3)


def test_a_minimum_that_was_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "MOST_SWEEPS", 2)
    with pytest.warns(ConvergenceWarning, match="not found in 2 sweeps"):
        Svm(30.0).fit(ROWS, SPAM, WEIGHTS)


def test_a_logistic_classifier_takes_blocks_too() -> None:
    whole, blocks = (classifier("logistic", 1.0).fit(rows, SPAM, WEIGHTS) for rows in (ROWS, BLOCKS))
    np.testing.assert_allclose(whole.decision_function(ROWS), blocks.decision_function(ROWS), atol=1e-6)
