"""How do time and memory of one training fit grow with the number of messages?

    python training/recipes/scale.py [sizes …]

Seeded messages with a vocabulary that grows as a real one does: most words come from a fixed stock drawn by rank
(Zipf), and a share of every message is new (names, places, shops: Han characters never joined before). Each size is
fitted in a process of its own, features and classifier on all rows once; what is printed are rows, distinct features,
seconds of processor and the largest memory. Rows are written to disk first and read from there, as a corpus is.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from spamguard_training.corpus import read_rows
from spamguard_training.fit import prepare
from spamguard_training.pipeline import classifier, feature_union, fit_features
from spamguard_training.recipe import Recipe

SIZES: Final = (1_000, 3_000, 10_000, 30_000)
STOCK: Final = 20_000
COPIES: Final = 4  #: messages a near-duplicate group has on average
_ENDS: Final = ("", "", "加微信", "退订回T", "详情 t.cn/demo", "，谢谢")
_HAN: Final = [chr(code) for code in range(0x4E00, 0x5E00)]


def messages(size: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield labelled messages."""
    rng = random.Random(seed)
    stock = ["".join(rng.choice(_HAN[:2000]) for _ in range(rng.choice((1, 2, 2, 2, 3)))) for _ in range(STOCK)]
    weights = np.cumsum(1.0 / np.arange(1, STOCK + 1))
    draws = np.random.default_rng(seed)

    def words(count: int, first: int) -> list[str]:
        places = np.searchsorted(weights, draws.random(count) * weights[-1])
        return [stock[(place + first) % STOCK] for place in places.tolist()]

    number = group = 0
    while number < size:
        group += 1
        spam = rng.random() < 0.5
        body = words(rng.randint(6, 22), 300 if spam else 0)
        for _ in range(min(rng.choice((1, 1, 2, 4, 12)), size - number)):
            new = ["".join(rng.choice(_HAN) for _ in range(2)) for _ in range(rng.randint(0, 2))]
            text = "".join(body + new) + rng.choice(_ENDS) + str(rng.randint(0, 10**6))
            yield {"text": text, "label": "spam" if spam else "ham", "group": f"g{group}", "source": "scale"}
            number += 1


def one(path: Path) -> None:
    """Fit on a file's rows once and print what it took."""
    recipe = Recipe()
    began = time.process_time()
    data = prepare(read_rows(path), recipe)
    read = time.process_time()
    matrix = fit_features(feature_union(recipe.view_list(), None, recipe.least_groups), data.texts, data.groups)
    featured = time.process_time()
    classifier("logistic", 10.0).fit(matrix, data.spam, sample_weight=data.weights)
    found = {
        "rows": len(data.rows),
        "features": matrix.shape[1],
        "values": int(matrix.nnz),
        "read_s": round(read - began, 1),
        "features_s": round(featured - read, 1),
        "classifier_s": round(time.process_time() - featured, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(found))


def main(arguments: Sequence[str]) -> int:
    """Measure each size in a process of its own."""
    if arguments and arguments[0] == "--one":
        one(Path(arguments[1]))
        return 0
    print("| messages | features | values | reading | features fitted | classifier | memory |\n" + "|---" * 7 + "|")
    for size in [int(argument) for argument in arguments] or SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "rows.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for row in messages(size):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            ran = subprocess.run(
                [sys.executable, __file__, "--one", str(path)], stdout=subprocess.PIPE, text=True, check=True
            )
        found = json.loads(ran.stdout)
        print(
            f"| {found['rows']:,} | {found['features']:,} | {found['values']:,} | {found['read_s']} s "
            f"| {found['features_s']} s | {found['classifier_s']} s | {found['peak_mb']:,} MB |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
