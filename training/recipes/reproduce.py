"""Does `make model` still give the shipped model? Trains it again beside it and compares.

    python training/recipes/reproduce.py <folder of corpora>

Vocabulary, features and cutoffs must be the same; weights may differ in their last digits between processors, so the
self-test scores are compared within a hundredth in log-odds. Exits with 1 and says what differs.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from spamguard.backends import artifacts, registry

ROOT = Path(__file__).parents[2]
TOLERANCE = 0.01


def main() -> int:
    """Train, compare, report."""
    shipped_folder = registry.resolve(registry.CHAMPION, registry.shipped_models())
    shipped = artifacts.read_manifest(shipped_folder)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "models").mkdir()
        made = subprocess.run(
            [shutil.which("make") or "make", "model", f"DATA={sys.argv[1]}", f"MODELS={scratch}/models"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        again = artifacts.read_manifest(Path(made.stdout.strip().splitlines()[-1]))
    off = max(abs(a.log_odds - b.log_odds) for a, b in zip(shipped.self_tests, again.self_tests, strict=True))
    faults = [
        f"{name} differs"
        for name, same in (
            ("the training data", shipped.sources == again.sources),
            ("the vocabulary", shipped.files[artifacts.VOCABULARY] == again.files[artifacts.VOCABULARY]),
            ("the number of features", shipped.features == again.features),
            ("the classifier", shipped.classifier == again.classifier),
            ("whether it keeps a reference", (shipped.reference is None) == (again.reference is None)),
            ("the spam cutoff", abs(shipped.spam_cutoff - again.spam_cutoff) < TOLERANCE),
            (f"a self-test score (by {off:.4f})", off < TOLERANCE),
        )
        if not same
    ]
    same_bytes = shipped.files[artifacts.WEIGHTS] == again.files[artifacts.WEIGHTS]
    exact = "to the byte" if same_bytes else f"within {off:.1e}"
    print("; ".join(faults) or f"{shipped.full_name} is reproduced, weights {exact}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
