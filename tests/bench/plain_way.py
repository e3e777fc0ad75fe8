"""The plain way to score an SMS, as one would write it first; frozen, so that benchmarks have a fixed rival.

jieba (warmed), scikit-learn's TfidfVectorizer over the same normaliser and the same features, one message a call.
"""

from collections.abc import Callable
from pathlib import Path

import jieba
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from spamguard.backends import artifacts
from spamguard.core.normalize import normalize


def grams(tokens: list[str], shortest: int, longest: int) -> list[str]:
    return ["\0".join(tokens[i : i + n]) for n in range(shortest, longest + 1) for i in range(len(tokens) - n + 1)]


def plain_way(folder: Path) -> Callable[[str], float]:
    """Return a function that gives the probability of spam of one text."""
    jieba.initialize()
    _, model = artifacts.read(folder)
    parts, classifier = [], LogisticRegression()
    for view, keys, idf, _ in model.views:
        codes, symbols = model.symbols.get(view.name, ((), ()))
        names = dict(enumerate(model.words, 1)) | dict(zip(map(int, symbols), map(chr, codes), strict=True))
        shifts = [view.bits * n for n in reversed(range(view.longest))]
        read = lambda k, s=shifts, b=view.bits, m=names: "\0".join(m[v] for i in s if (v := k >> i & ((1 << b) - 1)))
        split = (lambda t: [w for w in jieba.lcut(t, HMM=False) if w != " "]) if view.name == "words" else list
        analyzer = lambda t, f=split, v=view: grams(f(t), v.shortest, v.longest)
        part = TfidfVectorizer(analyzer=analyzer, vocabulary=list(map(read, keys.tolist())), sublinear_tf=True)
        part.idf_ = idf.astype(float)
        parts.append((view.name, part))
    classifier.classes_, classifier.intercept_ = np.array([False, True]), np.array([model.intercept])
    classifier.coef_ = np.concatenate([weights for *_, weights in model.views]).astype(float).reshape(1, -1)
    pipeline = Pipeline([("features", FeatureUnion(parts)), ("classifier", classifier)])
    return lambda text: float(pipeline.predict_proba([normalize(text)])[0, 1])
