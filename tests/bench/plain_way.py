"""The plain way, frozen as a rival: jieba (warmed) and scikit-learn over the same features, one message a call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jieba
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from spamguard.backends import artifacts
from spamguard.core.features import View, code_points, heard
from spamguard.core.normalize import normalize
from spamguard.core.shape import shapes


def plain_way(folder: Path) -> Callable[[str], float]:
    jieba.initialize()
    _, model = artifacts.read(folder)
    tables = {name: np.zeros(0x110000, np.uint16) for name in model.symbols}
    for name, (codes, symbols) in model.symbols.items():
        tables[name][codes] = symbols

    def symbols_of(text: str, name: str) -> Any:
        codes = code_points([text])
        if name == "shape":
            return shapes(codes, 1)[0]
        return heard([text], codes, tables[name]).symbols.values if name == "sounds" else tables[name][codes]

    def features(text: str, v: View) -> list[str]:
        words = (
            list(map(str, symbols_of(text, v.name)))
            if v.bits == 16
            else [w for w in jieba.lcut(text, HMM=False) if w != " "]
        )
        if v.markers:
            return [f"{k}\0{w}" for k, m in enumerate(v.markers, 1) if set(m) & set(words) for w in words]
        return [
            "\0".join(words[i : i + n]) for n in range(v.shortest, v.longest + 1) for i in range(len(words) - n + 1)
        ]

    parts, linear = [], LogisticRegression()
    for v, keys, idf, _ in model.views:
        spell = str if v.bits == 16 else (lambda s: model.words[s - 1])
        cut = [[k >> v.bits * i & ((1 << v.bits) - 1) for i in reversed(range(v.longest))] for k in keys.tolist()]
        known = ["\0".join([str(c[0]), spell(c[1])] if v.markers else [spell(s) for s in c if s]) for c in cut]
        view = TfidfVectorizer(analyzer=lambda t, v=v: features(t, v), vocabulary=known, sublinear_tf=True)
        view.idf_ = idf.astype(float)
        parts += [(v.name, view)]
    linear.classes_, linear.intercept_ = np.array([False, True]), np.array([model.intercept])
    linear.coef_ = np.concatenate([weights for *_, weights in model.views]).astype(float).reshape(1, -1)
    pipeline = Pipeline([("features", FeatureUnion(parts)), ("classifier", linear)])
    return lambda text: float(pipeline.predict_proba([normalize(text)])[0, 1])
