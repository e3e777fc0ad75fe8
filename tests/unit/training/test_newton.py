"""Is the minimum scikit-learn's, whatever the cores, the BLAS and the number of blocks?"""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from spamguard_training import newton
from spamguard_training.newton import Linear
from threadpoolctl import threadpool_limits

RNG = np.random.default_rng(5)
ROWS = sp.random(400, 900, density=0.02, format="csr", random_state=7, dtype=np.float32)
SPAM = np.asarray(ROWS @ RNG.normal(size=900) + RNG.normal(size=400) > 0.3)
WEIGHTS = RNG.choice([0.0, 0.03, 1.0, 2.0], size=400)


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", ["svm", "logistic"])
def test_the_minimum_is_scikit_learns(name: str, strength: float) -> None:
    double = ROWS.astype(np.float64)
    known = (
        LinearSVC(C=strength, dual=True, tol=1e-8, max_iter=100_000, random_state=0)
        if name == "svm"
        else LogisticRegression(C=strength, tol=1e-9, max_iter=10_000)
    ).fit(double, SPAM, sample_weight=WEIGHTS)
    found = Linear(name, strength).fit(ROWS, SPAM, WEIGHTS)
    expected = known.decision_function(double)
    np.testing.assert_allclose(found.decision_function(double), expected, rtol=0, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["svm", "logistic"])
def test_the_digits_depend_on_no_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for many in (1, 2, 5):
        monkeypatch.setattr(newton, "cores", lambda many=many: many)
        with threadpool_limits(many, user_api="blas"):
            found.append(Linear(name, 1.0).fit(ROWS, SPAM, WEIGHTS))
    assert len({one.coef_.tobytes() + one.intercept_.tobytes() for one in found}) == 1


def test_blocks_are_as_one_matrix() -> None:
    whole = Linear("svm", 1.0).fit(ROWS, SPAM, WEIGHTS)
    parts = Linear("svm", 1.0).fit([ROWS[:1], ROWS[1:300], ROWS[300:]], SPAM, WEIGHTS)
    np.testing.assert_allclose(whole.decision_function(ROWS), parts.decision_function(ROWS), atol=2e-3)


def test_the_rows_stand_in_memory_once_and_are_as_they_were_afterwards() -> None:
    rows = ROWS.copy()
    with newton._in_pieces([rows]) as pieces:
        for piece in pieces._pieces:
            for form in (piece.rows, piece.columns):
                assert np.shares_memory(form.data, rows.data) and np.shares_memory(form.indices, rows.indices)
        some = SPAM | (WEIGHTS == 0.03)
        pieces.listen(some)
        weights = RNG.normal(size=901)
        every = ROWS @ weights[:-1] + weights[-1]
        np.testing.assert_allclose(pieces.times(weights), every[some], atol=1e-5)
        np.testing.assert_allclose(pieces.back(every[some])[:-1], ROWS[some].T @ every[some], atol=1e-4)
        np.testing.assert_allclose(pieces.times_all(weights), every, atol=1e-5)
    Linear("svm", 1.0).fit(rows, SPAM, WEIGHTS)
    for one, other in zip((rows.data, rows.indices, rows.indptr), (ROWS.data, ROWS.indices, ROWS.indptr), strict=True):
        assert one.tobytes() == other.tobytes()
