"""How is a linear classifier fitted when its rows may not stand in memory twice, on all cores, to the same digits?

Newton's method: each step solves for the direction by conjugate gradients (Keerthi & DeCoste 2005 for the squared
hinge; Lin, Weng & Keerthi 2008 for the logistic loss) and then goes as far along it as pays. The rows are only ever
multiplied with a vector, a piece of them a thread. How many pieces there are does not depend on the cores and their
results are added in their order, so neither do the weights. The minimum is scikit-learn's own: `LinearSVC`'s and
`LogisticRegression`'s, whose solvers take one core and, for the former, copy the rows twice.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from threadpoolctl import threadpool_limits

from spamguard_training.cores import cores

Vector = NDArray[np.float64]
PIECES: Final = 4  #: of each block of rows
#: The gradient's length, as a share of its length at zero, at which the minimum is found. On a fold of the corpora
#: raw scores are then within 0.003 of the true minimum's, and their ranking is the same to the fourth digit.
TOLERANCE: Final = 1e-5
MOST_STEPS: Final = 100
MOST_PRODUCTS: Final = 100  #: conjugate gradients a step
#: Rows that say nothing in a step are left out of its products when at least this share of them does.
WORTH_LEAVING: Final = 0.3


class _Loss(NamedTuple):
    """A loss by how far a row is on its right side: value, slope and curvature."""

    of: Callable[[Vector], tuple[Vector, Vector, Vector]]
    bias_is_weight: bool  #: whether the intercept is held small as the weights are


def _squared_hinge(margin: Vector) -> tuple[Vector, Vector, Vector]:
    missing = np.maximum(0.0, 1.0 - margin)
    return missing**2, -2.0 * missing, 2.0 * (missing > 0).astype(np.float64)


def _logistic(margin: Vector) -> tuple[Vector, Vector, Vector]:
    wrong = expit(-margin)
    return np.logaddexp(0.0, -margin), -wrong, wrong * (1.0 - wrong)


LOSSES: Final = {"svm": _Loss(_squared_hinge, True), "logistic": _Loss(_logistic, False)}


class _Piece:
    """Some rows, by row and by column on the same arrays, and where in the block each one was."""

    def __init__(self, values: NDArray[np.float32], columns: NDArray[np.int32], starts: NDArray[np.int64], width: int):
        self._arrays = values, columns, starts
        self._width = width
        self.order = np.arange(len(starts) - 1)
        self.first(len(self.order))

    def first(self, many: int) -> None:
        """Multiply with so many rows at the front only."""
        values, columns, starts = self._arrays
        # Not given to the constructors: those copy what is a part of something larger.
        self.rows = sp.csr_matrix((many, self._width), dtype=np.float32)
        self.columns = sp.csc_matrix((self._width, many), dtype=np.float32)
        for form in (self.rows, self.columns):
            form.data, form.indices, form.indptr = values, columns, starts[: many + 1]

    def put(self, order: NDArray[np.int64]) -> None:
        """Put the rows into another order, where they are."""
        if np.array_equal(order, self.order):
            return
        place = np.empty(len(order), dtype=np.int64)
        place[self.order] = np.arange(len(order))
        self.first(len(order))
        found = self.rows[place[order]]
        values, columns, starts = self._arrays
        values[:], columns[:], starts[:] = found.data, found.indices, found.indptr
        self.order = order


class _Rows:
    """Rows in pieces, to be multiplied with; each ends in a one, for the intercept."""

    def __init__(self, pieces: Sequence[_Piece], width: int, pool: ThreadPoolExecutor) -> None:
        self._pieces, self._pool = pieces, pool
        self._ends = np.cumsum([0, *(len(piece.order) for piece in pieces)])
        self.shape = int(self._ends[-1]), width + 1

    def listen(self, which: NDArray[np.bool_]) -> None:
        """Multiply with these rows only. They come to the front, in order, for there is no memory to copy them to."""
        for piece, mine in self._mine(which):
            piece.put(np.concatenate((np.flatnonzero(mine), np.flatnonzero(~mine))))
            piece.first(int(mine.sum()))

    def _mine(self, values: NDArray[Any]) -> Iterator[tuple[_Piece, NDArray[Any]]]:
        for number, piece in enumerate(self._pieces):
            yield piece, values[self._ends[number] : self._ends[number + 1]]

    def times(self, weights: Vector) -> Vector:
        """Return the sum of weighted values of each row listened to."""
        single = weights[:-1].astype(np.float32)
        sums: Vector = (
            np.concatenate(list(self._pool.map(lambda piece: piece.rows @ single, self._pieces))) + weights[-1]
        )
        return sums

    def times_all(self, weights: Vector) -> Vector:
        """Return the sum of weighted values of every row."""
        for piece in self._pieces:
            piece.first(len(piece.order))
        sums = self.times(weights)
        for piece, mine in self._mine(sums):
            mine[piece.order] = mine.copy()
        return sums

    def back(self, amounts: Vector) -> Vector:
        """Return each column's sum of values, each times the amount of its row, of those listened to."""
        found, single = np.zeros(self.shape[1]), amounts.astype(np.float32)
        ends = np.cumsum([0, *(piece.rows.shape[0] for piece in self._pieces)])
        parts = zip(self._pieces, ends[:-1], ends[1:], strict=True)
        for part in self._pool.map(lambda part: part[0].columns @ single[part[1] : part[2]], parts):
            found[:-1] += part
        found[-1] = amounts.sum()
        return found


@contextmanager
def _in_pieces(blocks: Sequence[sp.csr_matrix]) -> Iterator[_Rows]:
    """Give the rows of all blocks, split into pieces of about as many values; afterwards they are as they were."""
    pieces = []
    for block in blocks:
        data = block.data.astype(np.float32, copy=False)
        ends = np.searchsorted(block.indptr, np.linspace(0, block.nnz, PIECES + 1)[1:-1])
        for first, last in zip([0, *ends], [*ends, block.shape[0]], strict=True):
            values = slice(block.indptr[first], block.indptr[last])
            starts = block.indptr[first : last + 1] - block.indptr[first]
            pieces.append(_Piece(data[values], block.indices[values], starts, block.shape[1]))
    with ThreadPoolExecutor(cores()) as pool, threadpool_limits(1, user_api="blas"):
        rows = _Rows(pieces, blocks[0].shape[1], pool)
        try:
            yield rows
        finally:
            rows.listen(np.ones(rows.shape[0], dtype=np.bool_))


class Linear(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear classifier of two classes: 'svm' (squared hinge) or 'logistic', with scikit-learn's C."""

    def __init__(self, loss: str = "svm", strength: float = 1.0) -> None:
        self.loss = loss
        self.strength = strength

    def fit(
        self,
        rows: sp.csr_matrix | Sequence[sp.csr_matrix],
        truth: NDArray[np.bool_],
        sample_weight: Vector | None = None,
    ) -> Self:
        """Fit on a matrix, or on several as if one stood on the other."""
        weights = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        with _in_pieces([rows] if sp.issparse(rows) else rows) as pieces:
            found, self.n_iter_, self.products_ = _minimum(
                pieces, np.where(truth, 1.0, -1.0), self.strength * weights, LOSSES[self.loss]
            )
        self.classes_ = np.array([False, True])
        self.coef_, self.intercept_ = found[None, :-1], found[-1:]
        self.n_features_in_ = len(found) - 1
        return self

    def decision_function(self, rows: sp.csr_matrix) -> Vector:
        """Return one score a row, above zero for spam."""
        scores: Vector = rows @ self.coef_[0] + self.intercept_[0]
        return scores

    def predict(self, rows: sp.csr_matrix) -> NDArray[np.bool_]:
        """Return which rows are spam."""
        return self.decision_function(rows) > 0


def _minimum(rows: _Rows, sides: Vector, costs: Vector, loss: _Loss) -> tuple[Vector, int, int]:
    """Return the weights, the steps taken and the products they took."""
    ridge = np.ones(rows.shape[1])
    ridge[-1] = loss.bias_is_weight
    weights, scores = np.zeros(rows.shape[1]), np.zeros(rows.shape[0])
    first, least, products = 0.0, np.inf, 0
    for step in range(MOST_STEPS):
        values, slopes, curves = loss.of(sides * scores)
        objective = 0.5 * float(ridge @ weights**2) + float(costs @ values)
        slopes, curves = costs * sides * slopes, costs * curves
        heard = slopes != 0
        if heard.mean() >= 1.0 - WORTH_LEAVING:
            heard[:] = True
        rows.listen(heard)
        slopes, curves = slopes[heard], curves[heard]
        gradient = ridge * weights + rows.back(slopes)
        size = float(np.linalg.norm(gradient))
        first = first or size
        if size <= TOLERANCE * first or objective >= least:  # the latter: single precision sees no further
            return weights, step, products
        least = objective
        direction, taken = _direction(rows, curves, ridge, gradient, min(0.1, (size / first) ** 0.5))
        products += taken
        along = rows.times_all(direction)
        far = _how_far(
            sides, costs, loss, scores, along, float((ridge * weights) @ direction), float(ridge @ direction**2)
        )
        weights, scores = weights + far * direction, scores + far * along
    return weights, MOST_STEPS, products


def _direction(rows: _Rows, curves: Vector, ridge: Vector, gradient: Vector, enough: float) -> tuple[Vector, int]:
    """Return about where Newton's step leads, by conjugate gradients, and the products that took."""
    found, left = np.zeros(len(gradient)), -gradient
    towards, size = left.copy(), float(left @ left)
    goal = size * enough**2
    for product in range(1, MOST_PRODUCTS + 1):
        bent = ridge * towards + rows.back(curves * rows.times(towards))
        far = size / float(towards @ bent)
        found += far * towards
        left -= far * bent
        last, size = size, float(left @ left)
        if size <= goal:
            return found, product
        towards = left + size / last * towards
    return found, MOST_PRODUCTS


def _how_far(
    sides: Vector, costs: Vector, loss: _Loss, scores: Vector, along: Vector, linear: float, square: float
) -> float:
    """Return how far along a direction the objective falls: Newton's method on a line, between bounds."""
    far, lower, upper = 1.0, 0.0, np.inf
    for _ in range(30):
        _, slopes, curves = loss.of(sides * (scores + far * along))
        slope = linear + far * square + float((costs * sides * slopes) @ along)
        after = far - slope / (square + float((costs * curves) @ along**2))
        if abs(after - far) <= 1e-6 * far:
            return after
        lower, upper = (lower, far) if slope > 0 else (far, upper)
        if not lower < after < upper:
            after = (lower + upper) / 2 if upper < np.inf else 2 * far
        far = after
    return far
