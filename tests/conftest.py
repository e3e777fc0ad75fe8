"""What do many tests share? The sample texts, and a small model trained on them by the training package's pipeline."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from spamguard_training.corpus import Row, read_rows
from spamguard_training.descent import Logistic, Svm
from spamguard_training.pipeline import classifier, feature_union, fit_features

from spamguard.backends import artifacts, registry
from spamguard.core import normalize
from spamguard.core.decide import Judge
from spamguard.core.features import CHARS, CROSSED, SHAPE, SOUNDS, WORDS, View
from spamguard.core.manifest import Budget, Manifest, SelfTest, Source
from spamguard.core.scorer import LinearScorer, ModelArrays, ViewArrays
from tests.cast import BANK_CODE, INVOICE, LOTTERY, MUM

pytest_plugins = ["tests.components"]

SAMPLES: Final = Path(__file__).parents[1] / "datasets" / "samples"
#: Syllables of a few characters that spam swaps for each other.
SYLLABLES: Final = {
    "发": "fa", "法": "fa", "票": "piao", "飘": "piao", "微": "wei", "薇": "wei", "信": "xin", "心": "xin",
    "贷": "dai", "代": "dai", "款": "kuan", "奖": "jiang", "金": "jin", "银": "yin", "行": "hang", "码": "ma",
}  # fmt: skip
#: What the label policy calls a kind of spam, as the service groups it.
CATEGORIES: Final = {"adult": "illegal", "harassment": "other"}

settings.register_profile(
    "house", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


class Trained(NamedTuple):
    """A small model in both its lives: the fitted scikit-learn objects, and the arrays the service loads."""

    union: FeatureUnion
    classifier: Svm | Logistic
    kinds: LogisticRegression
    arrays: ModelArrays

    def log_odds(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return what scikit-learn says of normalised texts."""
        log_odds: NDArray[np.float64] = self.classifier.decision_function(self.union.transform(texts))
        return log_odds


def rounded(fitted: Any) -> Any:
    """Return a classifier with its weights at stored precision."""
    fitted.coef_ = fitted.coef_.astype(np.float32).astype(np.float64)
    return fitted


def train(rows: Sequence[Row], views: Sequence[View] = (WORDS, CROSSED, CHARS, SOUNDS, SHAPE)) -> Trained:
    """Return a model fitted on the rows as the training package fits one."""
    texts = normalize.normalize_batch([row.text for row in rows])
    numbers = {group: number for number, group in enumerate(dict.fromkeys(row.group for row in rows))}
    groups = np.array([numbers[row.group] for row in rows])
    union = feature_union(views, SYLLABLES, least_groups=2)
    matrix = fit_features(union, texts, groups)
    spam = np.array([row.is_spam for row in rows])
    linear = rounded(classifier("logistic", 30.0).fit(matrix, spam))
    kinds = rounded(
        LogisticRegression(C=30.0, max_iter=400, tol=1e-5).fit(
            matrix[spam].astype(np.float64),
            [CATEGORIES.get(row.category or "", row.category) for row in rows if row.is_spam],
        )
    )
    return Trained(union, linear, kinds, export(union, linear, kinds))


def export(union: FeatureUnion, linear: Svm | Logistic, kinds: LogisticRegression) -> ModelArrays:
    """Return the arrays of fitted scikit-learn objects."""
    words: Sequence[str] = ()
    symbols, views, kind_weights = {}, [], {}
    first = 0
    for name, steps in union.transformer_list:
        counts, idf = steps.named_steps["counts"], steps.named_steps["tfidf"].idf_
        last = first + len(counts.keys_)
        if name in ("words", "crossed"):
            words = counts.words_
        elif counts.view.reads_chars:
            symbols[name] = (counts.codes_, counts.symbols_)
        weights = linear.coef_[0, first:last].astype(np.float32)
        views.append(ViewArrays(counts.view, counts.keys_, idf.astype(np.float32), weights))
        kind_weights[name] = kinds.coef_[:, first:last].astype(np.float32)
        first = last
    return ModelArrays(
        words=words,
        symbols=symbols,
        views=views,
        intercept=float(linear.intercept_[0]),
        kinds=[str(kind) for kind in kinds.classes_],
        kind_features={name: np.arange(weights.shape[1], dtype=np.int64) for name, weights in kind_weights.items()},
        kind_weights=kind_weights,
        kind_intercepts=kinds.intercept_,
    )


def manifest_of(arrays: ModelArrays, **changed: Any) -> Manifest:
    """Return an honest manifest of a model's arrays, with some fields changed."""
    scorer = LinearScorer(arrays)
    tried = (MUM, BANK_CODE, INVOICE, LOTTERY)
    scores = scorer.score(normalize.normalize_batch(tried)).log_odds.tolist()
    manifest = Manifest(
        name="small",
        version="1.0",
        created="2026-11-24T10:00:00+00:00",
        code_version="0.1.0",
        normalizer_version=normalize.VERSION,
        tokenizer="jieba",
        libraries={},
        seed=0,
        sources=(Source(name="labelled.jsonl", sha256="0" * 64, rows=400),),
        counts={"ham": 200, "spam": 200},
        views=tuple(view.view for view in arrays.views),
        features=sum(len(view.keys) for view in arrays.views),
        classifier="logistic",
        calibration="none",
        prior=0.5,
        ham_cutoff=0.3,
        spam_cutoff=0.7,
        budget=Budget(false_positive_rate=0.001, mix={}, ham_rows=200, estimate=0.0, upper_bound=0.015),
        metrics={},
        kinds=tuple(arrays.kinds),
        self_tests=tuple(SelfTest(text=text, log_odds=score) for text, score in zip(tried, scores, strict=True)),
        files={},
    )
    return msgspec.structs.replace(manifest, **changed)


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """The labelled samples."""
    return read_rows(SAMPLES / "labelled.jsonl")


@pytest.fixture(scope="session")
def texts(rows: list[Row]) -> list[str]:
    """The texts of all samples, as they came."""
    messages = [msgspec.json.decode(line) for line in (SAMPLES / "messages.jsonl").read_bytes().splitlines()]
    return [row.text for row in rows] + [message["text"] for message in messages if message.get("text")]


@pytest.fixture(scope="session")
def trained(rows: list[Row]) -> Trained:
    """A model fitted on the labelled samples."""
    return train(rows)


@pytest.fixture(scope="session")
def scorer(trained: Trained) -> LinearScorer:
    """The small model as the service scores with it."""
    return LinearScorer(trained.arrays)


@pytest.fixture(scope="session")
def judge(scorer: LinearScorer) -> Judge:
    """The small model ready to decide."""
    return Judge(scorer, "small/1.0", 0.3, 0.7)


@pytest.fixture(scope="session")
def tiny_model(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small model, written as `spamguard train` writes one."""
    folder = tmp_path_factory.mktemp("models") / "small" / "1.0"
    artifacts.write(folder, manifest_of(trained.arrays), artifacts.pack(trained.arrays))
    return folder


@pytest.fixture(scope="session")
def second_model(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another small model: fewer rows and views, so other scores, and stricter cutoffs."""
    arrays = train(rows[::2], views=(WORDS, CHARS)).arrays
    folder = tmp_path_factory.mktemp("models") / "small" / "2.0"
    manifest = manifest_of(arrays, version="2.0", ham_cutoff=0.5, spam_cutoff=0.95)
    artifacts.write(folder, manifest, artifacts.pack(arrays))
    return folder


@pytest.fixture
def two_models(tmp_path: Path, tiny_model: Path, second_model: Path) -> Path:
    """A folder of both small models, of which small/1.0 is the champion."""
    root = tmp_path / "registry"
    for folder in (tiny_model, second_model):
        shutil.copytree(folder, root / "small" / folder.name)
    registry.write_alias(root, registry.CHAMPION, "small/1.0")
    return root
