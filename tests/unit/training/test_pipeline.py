"""Does fitting learn exactly the n-grams that enough different groups share, and count them as serving does?"""

from collections import Counter
from collections.abc import Callable, Sequence

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer
from spamguard_training import cores, pipeline
from spamguard_training.corpus import Row
from spamguard_training.pipeline import ViewCounts, classifier, feature_union, fit_features, weigh

from spamguard.core.features import CHARS, CROSSED, SOUNDS, WORDS, View
from spamguard.core.normalize import normalize_batch
from spamguard.core.tokenizer import tokenize
from tests.conftest import SYLLABLES, Trained, train

PAIRS = View(name="chars", bits=16, shortest=1, longest=2)
LEAST = 2


@pytest.fixture(scope="module")
def canonical(rows: list[Row]) -> list[str]:
    """The labelled samples, normalised."""
    return normalize_batch([row.text for row in rows])


@pytest.fixture(scope="module")
def groups(rows: list[Row]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Their near-duplicate groups by number."""
    _, numbers = np.unique([row.group for row in rows], return_inverse=True)
    return numbers.astype(np.int64)


def plain(
    texts: Sequence[str], groups: Sequence[int], cut: Callable[[str], list[str]], view: View
) -> list[Counter[tuple[str, ...]]]:
    """Return each message's counts of the n-grams that enough groups share: the slow, obvious way."""
    cuts = [cut(text) for text in texts]
    symbols: dict[str, set[int]] = {}
    for row, group in zip(cuts, groups, strict=True):
        for symbol in row:
            symbols.setdefault(symbol, set()).add(group)
    known = {symbol for symbol, its in symbols.items() if len(its) >= LEAST}
    counts = [
        Counter(
            gram
            for length in range(view.shortest, view.longest + 1)
            for start in range(len(row) - length + 1)
            if known.issuperset(gram := tuple(row[start : start + length]))
        )
        for row in cuts
    ]
    grams: dict[tuple[str, ...], set[int]] = {}
    for counted, group in zip(counts, groups, strict=True):
        for gram in counted:
            grams.setdefault(gram, set()).add(group)
    return [Counter({gram: n for gram, n in counted.items() if len(grams[gram]) >= LEAST}) for counted in counts]


@pytest.mark.parametrize(
    ("view", "cut"),
    [(WORDS, lambda text: [word for word in tokenize(text) if word != " "]), (PAIRS, list)],
    ids=["words", "chars"],
)
def test_what_is_learnt_and_counted_is_what_the_plain_way_finds(
    canonical: list[str],
    groups: np.ndarray[tuple[int], np.dtype[np.int64]],
    view: View,
    cut: Callable[[str], list[str]],
) -> None:
    counts = ViewCounts(view, least_groups=LEAST).fit(canonical, groups=groups)
    matrix = counts.transform(canonical)
    expected = plain(canonical, groups.tolist(), cut, view)
    symbols = counts.words_ if view is WORDS else [chr(code) for code in counts.codes_.tolist()]
    mask = (1 << view.bits) - 1
    grams = [
        tuple(symbols[number - 1] for shift in (view.bits, 0) if (number := key >> shift & mask))
        for key in counts.keys_.tolist()
    ]
    assert set(grams) == {gram for counted in expected for gram in counted}
    for row, counted in zip(matrix, expected, strict=True):
        assert dict(zip((grams[column] for column in row.indices), row.data.tolist(), strict=True)) == counted


def test_one_mass_mailing_is_no_feature() -> None:
    texts = ["代办发票"] * 50 + ["晚上吃饭"] * 2
    one_mailing = np.array([0] * 50 + [1, 2])
    assert ViewCounts(WORDS, least_groups=2).fit(texts, groups=one_mailing).words_ == ["吃饭", "晚上"]
    assert ViewCounts(WORDS, least_groups=2).fit(texts).words_ == ["代办", "发票", "吃饭", "晚上"]


def test_characters_of_one_sound_are_one_symbol() -> None:
    texts = ["微信发票", "薇心法飘", "微心发飘"]
    counts = ViewCounts(SOUNDS, least_groups=3, sounds=SYLLABLES).fit(texts)
    first, second, third = counts.transform(texts).toarray()
    assert first.sum() == 5  # three pairs and two triples
    assert (first == second).all() and (second == third).all()


def test_chunks_do_not_show(
    canonical: list[str], groups: np.ndarray[tuple[int], np.dtype[np.int64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ViewCounts(CHARS, least_groups=LEAST).fit(canonical, groups=groups)
    matrix = whole.transform(canonical)
    monkeypatch.setattr(pipeline, "CHUNK", 7)
    parts = ViewCounts(CHARS, least_groups=LEAST).fit(canonical, groups=groups)
    assert parts.keys_.tolist() == whole.keys_.tolist()
    assert (parts.transform(canonical) != matrix).nnz == 0
    assert parts.transform([]).shape == (0, len(whole.keys_))


def test_the_features_are_scikit_learns_tfidf_at_stored_precision(
    canonical: list[str], groups: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> None:
    union = feature_union([WORDS], least_groups=LEAST)
    matrix = fit_features(union, canonical, groups)
    counts = ViewCounts(WORDS, least_groups=LEAST).fit(canonical, groups=groups).transform(canonical)
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    np.testing.assert_allclose(matrix.toarray(), expected.toarray(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(matrix.toarray(), union.transform(canonical).toarray().astype(np.float32))
    np.testing.assert_array_equal(matrix.toarray(), weigh(union, canonical).toarray())
    idf = union.transformer_list[0][1].named_steps["tfidf"].idf_
    assert (idf == idf.astype(np.float32)).all()


def test_one_core_and_two_give_the_matrix_of_scikit_learns_own_steps_in_single_precision(
    canonical: list[str], groups: np.ndarray[tuple[int], np.dtype[np.int64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [WORDS, CROSSED, CHARS]
    parts = []
    for view in views:
        counts = ViewCounts(view, least_groups=LEAST).fit(canonical, groups=groups).transform(canonical)
        tfidf = TfidfTransformer(sublinear_tf=True).fit(counts)
        tfidf.idf_ = tfidf.idf_.astype(np.float32).astype(np.float64)
        parts.append(tfidf.transform(counts))
    expected = sp.hstack(parts, format="csr")
    monkeypatch.setattr(pipeline, "CHUNK", 50)
    for many in (1, 2):
        monkeypatch.setattr(cores, "WORTH_IT", 1)
        monkeypatch.setattr(cores, "cores", lambda many=many: many)
        matrix = fit_features(feature_union(views, least_groups=LEAST), canonical, groups)
        for one, other in (
            (matrix.data, expected.data.astype(np.float32)),
            (matrix.indices, expected.indices),
            (matrix.indptr, expected.indptr),
        ):
            assert one.tobytes() == other.tobytes()


def test_a_fitted_pipeline_survives_joblib(
    trained: Trained, canonical: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pipeline") / "pipeline.joblib"
    joblib.dump((trained.union, trained.classifier), path)
    union, linear = joblib.load(path)
    assert linear.decision_function(union.transform(canonical)).tolist() == trained.log_odds(canonical).tolist()


def test_the_same_rows_give_the_same_model(rows: list[Row], trained: Trained) -> None:
    again = train(rows)
    for one, other in zip(trained.arrays.views, again.arrays.views, strict=True):
        assert one.keys.tolist() == other.keys.tolist()
        assert one.weights.tolist() == other.weights.tolist()


@pytest.mark.parametrize("name", ["logistic", "svm"])
def test_a_classifier_is_chosen_by_name(name: str) -> None:
    fitted = classifier(name, 1.0).fit(sp.csr_matrix(np.eye(4)), np.array([False, False, True, True]))
    assert fitted.predict(sp.csr_matrix(np.eye(4))).tolist() == [0, 0, 1, 1]


def test_a_classifier_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="forest"):
        classifier("forest", 1.0)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_features_are_the_same_in_chunks_of_any_size_and_no_group_is_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
    canonical: list[str],
    groups: np.ndarray[tuple[int], np.dtype[np.int64]],
    size: int,
) -> None:
    scattered = np.random.default_rng(5).permutation(groups)
    whole = ViewCounts(PAIRS, LEAST).fit(canonical, groups=scattered).keys_
    monkeypatch.setattr(pipeline, "CHUNK", size)
    assert ViewCounts(PAIRS, LEAST).fit(canonical, groups=scattered).keys_.tolist() == whole.tolist()
    assert len(whole) > 500
    empty = ViewCounts(WORDS, 10**6).fit(canonical, groups=scattered)
    assert empty.keys_.tolist() == []
