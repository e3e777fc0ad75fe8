"""How small a foreign share of the traffic does the drift watch see, and how often does it cry wolf?

    python training/recipes/drift_sensitivity.py <folder of corpora> [messages a window]

Calm traffic is drawn from the corpora as a model's reference is (recipe's mix and share of spam), near-duplicate groups
split in two: one half is the reference, windows are drawn from the other. A foreign source takes the place of 1 to
20 % of a window. A feature's alarm is its index above a limit; 100 calm windows say how often that is nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from spamguard_training.attacks import judge_texts
from spamguard_training.corpus import Row, corpus_paths, read_corpus
from spamguard_training.fit import fold_of, normalized
from spamguard_training.recipe import read_recipe
from spamguard_training.reference import traffic_weights

from spamguard.backends import artifacts, registry
from spamguard.core.ageing import CALM, FEATURES, LEAST, MOVED, Observed, Tally, observe_normalized, psi
from spamguard.core.decide import Judge
from spamguard.core.scorer import LinearScorer
from spamguard.types import Category

ROOT = Path(__file__).parents[2]
DOSES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
REPLAYS = 100
WINDOWS = 20  #: windows of each dose
MOST = 4000  #: rows of a foreign source that are looked at


def main() -> int:
    """Measure and print a table."""
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    data = Path(sys.argv[1])
    recipe = read_recipe(ROOT / "training" / "recipes" / "shipped.toml")
    rows, _ = read_corpus([*corpus_paths(data), data / "modern.jsonl.gz"])
    weights = traffic_weights(rows, recipe)
    rng = np.random.default_rng(20261124)
    calm = np.flatnonzero(weights > 0)
    sources = {row.source for row in rows}
    foreign = {
        source: [place for place, row in enumerate(rows) if row.source == source and weights[place] == 0][:MOST]
        for source in sorted(sources)
    }
    foreign = {source: places for source, places in foreign.items() if len(places) >= 100}
    wanted = sorted({*calm.tolist(), *(place for places in foreign.values() for place in places)})
    seen = Features([rows[place] for place in wanted])
    at = {place: number for number, place in enumerate(wanted)}
    half = np.array([fold_of(rows[place].group, 2, 7) == 0 for place in calm.tolist()])
    then, later = calm[half], calm[~half]
    reference = seen.tally([at[p] for p in rng.choice(then, size=20_000, p=_share(weights[then])).tolist()])

    def window(dose: float, places: Sequence[int]) -> dict[str, float]:
        strange = round(dose * size)
        chosen = rng.choice(later, size=size - strange, p=_share(weights[later])).tolist()
        chosen += rng.choice(places, size=strange).tolist() if strange else []
        now = seen.tally([at[place] for place in chosen])
        return {
            name: psi(now.counts[name], reference.counts[name]) if now.messages(name) >= LEAST[name] else 0.0
            for name in FEATURES
        }

    quiet = [window(0.0, ()) for _ in range(REPLAYS)]
    print(f"calm windows of {size:,} messages, {REPLAYS} of them: the largest index of each feature, and alarms")
    for name in FEATURES:
        found = [one[name] for one in quiet]
        alarms = [sum(value > limit for value in found) for limit in (0.05, CALM, MOVED)]
        print(f"  {name:14s} median {np.median(found):.4f}  largest {max(found):.4f}  > 0.05, 0.1, 0.25: {alarms}")
    print(f"windows with any feature above 0.1: {sum(max(one.values()) > CALM for one in quiet)}, "
          f"above 0.25: {sum(max(one.values()) > MOVED for one in quiet)}")  # fmt: skip
    print("share of a foreign source: median of the largest index (its feature), windows above 0.1 of", WINDOWS)
    for source, places in foreign.items():
        cells = []
        for dose in DOSES:
            found_windows = [window(dose, places) for _ in range(WINDOWS)]
            largest = [max(one, key=lambda name: one[name]) for one in found_windows]
            values = [one[name] for one, name in zip(found_windows, largest, strict=True)]
            most = max(set(largest), key=largest.count)
            cells.append(f"{dose:.0%} {np.median(values):.3f} {most} {sum(value > CALM for value in values)}")
        print(f"  {source:24s} " + " | ".join(cells))
    return 0


def _share(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights / weights.sum())


class Features:
    """What every row says of every feature, looked at once."""

    def __init__(self, rows: Sequence[Row]) -> None:
        folder = registry.resolve(registry.CHAMPION, registry.shipped_models())
        manifest, arrays = artifacts.read(folder)
        scorer = LinearScorer(arrays)
        texts = [row.text for row in rows]
        done = normalized(texts)
        self._texts = observe_normalized(texts, done, scorer.words)
        judged = judge_texts(texts, Judge(scorer, "m", manifest.ham_cutoff, manifest.spam_cutoff))
        self._scores, self._blocked = judged.scores, judged.blocked.astype(np.int64)
        self._suspect = self._scores >= manifest.ham_cutoff
        names = [*map(str, Category)]
        self._kinds = np.zeros(len(rows), dtype=np.int64)
        suspects = np.flatnonzero(self._suspect).tolist()
        for first in range(0, len(suspects), 1000):
            part = suspects[first : first + 1000]
            for place, found in zip(part, scorer.explain_batch([texts[p] for p in part], most=1), strict=True):
                self._kinds[place] = names.index(found.kind) if found.kind else len(names)

    def tally(self, places: Sequence[int]) -> Tally:
        """Return the counts of some rows, texts of one row in eight alone, as far as a worker looks."""
        chosen = np.array(places)
        looked = chosen[:: max(1, len(chosen) // 2000)]
        tally = Tally()
        tally.add(Observed({name: values[looked] for name, values in self._texts.values.items()}, {}))
        suspects = chosen[self._suspect[chosen]]
        names = {"category": self._kinds[suspects], "blocked": self._blocked[chosen]}
        tally.add(Observed({"score": self._scores[chosen]}, names))
        return tally


if __name__ == "__main__":
    sys.exit(main())
