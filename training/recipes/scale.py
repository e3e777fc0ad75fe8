"""How do time and memory of one training fit grow with the number of messages?

    python training/recipes/scale.py [svm|logistic] [sizes …]  # measure, each size in a process of its own
    python training/recipes/scale.py --growth <corpora>       # does the invented vocabulary grow as the corpora's does?
    python training/recipes/scale.py --draw                   # docs/scale.svg from what was measured

Seeded messages, written to disk and read from there as a corpus is. They are made of phrases, and a phrase is either
one that was said before, the more often said the likelier, or a new one of jieba's words, of which some are names no
dictionary holds (a Pitman-Yor process for spam, one for ham, one for both): the vocabulary never stops growing, and
words stand beside each other as they stood before. Groups of near-duplicates share most of their phrases; one label in
fifty is wrong. One fit is: rows read, normalised, features learnt and weighed, the copies weighed that the shipped
recipe trains on as well, one classifier on all of it. Memory is that of all its processes together, looked at ten times
a second; the rows and texts in a temporary file are not in it.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import jieba
import numpy as np
from spamguard_training.corpus import corpus_paths, read_corpus
from spamguard_training.fit import normalized, prepare, teach
from spamguard_training.pipeline import CLASSIFIERS, classifier, feature_union, fit_features
from spamguard_training.recipe import read_recipe

ROOT: Final = Path(__file__).parents[2]
RECIPE: Final = ROOT / "training" / "recipes" / "shipped.toml"
#: What was measured last, a JSON object a size; not part of the project.
MEASURED: Final = Path(tempfile.gettempdir()) / "spamguard-scale.jsonl"
SIZES: Final = (1_000, 10_000, 100_000, 300_000, 800_000)
GROWTH: Final = (1_000, 3_000, 10_000, 30_000, 80_000)
#: The process of phrases: how eagerly new ones come at first, and how slowly that wears off. Set by `--growth`.
EAGER: Final = 1_000.0
DISCOUNT: Final = 0.72
NAMES: Final = 0.06  #: of the words of a new phrase
#: Messages a near-duplicate group has: a group of the corpora has 1.05, a mass mailing kept whole many more.
COPIES: Final = (1,) * 14 + (2, 4)
_ENDS: Final = ("", "", "", "加微信", "退订回T", "详情 t.cn/demo", "，谢谢", "。", "！", "请致电")
_MARKS: Final = ("，", "，", "", "", "。", " ")


class Phrases:
    """Says phrases, old ones and new ones."""

    def __init__(self, rng: random.Random, words: Sequence[str], ranks: Iterator[int]) -> None:
        self._rng, self._words, self._ranks = rng, words, ranks
        self._said: list[int] = []  # every phrase said, by number
        self._first: list[bool] = []  # whether it was then new
        self._phrases: list[str] = []

    def say(self) -> str:
        """Return the next phrase."""
        rng, said = self._rng, self._said
        if rng.random() * (EAGER + len(said)) < EAGER + DISCOUNT * len(self._phrases):
            words = [self._word() for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))]
            self._phrases.append("".join(words))
            number, new = len(self._phrases) - 1, True
        else:
            while True:  # each phrase weighs as often as it was said, less the discount
                place = int(rng.random() * len(said))
                if not self._first[place] or rng.random() >= DISCOUNT:
                    break
            number, new = said[place], False
        said.append(number)
        self._first.append(new)
        return self._phrases[number]

    def _word(self) -> str:
        if self._rng.random() < NAMES:
            return "".join(self._words[next(self._ranks)][0] for _ in range(self._rng.choice((2, 3))))
        return self._words[next(self._ranks)]


def _words() -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the dictionary's words of Han characters and, added up, how often each is used."""
    with jieba.get_dict_file() as file:
        entries = [line.split() for line in file.read().decode().splitlines()]
    found = [(entry[0], int(entry[1])) for entry in entries if all("\u4e00" <= char <= "\u9fa5" for char in entry[0])]
    return [word for word, _ in found], np.cumsum([float(times) for _, times in found])


def messages(size: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield labelled messages."""
    rng, draws = random.Random(seed), np.random.default_rng(seed)
    words, sums = _words()

    def drawn() -> Iterator[int]:
        while True:
            yield from np.searchsorted(sums, draws.random(100_000) * sums[-1], side="right").tolist()

    ranks = drawn()
    shared, ham, spam = (Phrases(rng, words, ranks) for _ in range(3))
    number = group = 0
    while number < size:
        group += 1
        is_spam = rng.random() < 0.5
        own = spam if is_spam else ham
        body = [(own if rng.random() < 0.6 else shared).say() for _ in range(rng.randint(2, 17))]
        label = "spam" if is_spam != (rng.random() < 0.02) else "ham"
        kind = "personal" if label == "ham" and not is_spam else None  # what padding is taken from
        for _ in range(min(rng.choice(COPIES), size - number)):
            if rng.random() < 0.5:
                body[rng.randrange(len(body))] = own.say()
            text = "".join(phrase + rng.choice(_MARKS) for phrase in body) + rng.choice(_ENDS)
            text += str(rng.randint(0, 10 ** rng.randint(1, 11))) if rng.random() < 0.6 else ""
            yield {"text": text, "label": label, "group": f"g{group}", "source": "scale", "category": kind}
            number += 1


def growth(texts: Sequence[str], groups: Sequence[str], size: int) -> str:
    """Return one line on the first so many messages: groups, length, n-grams, features, values."""
    recipe = read_recipe(RECIPE)
    union = feature_union(recipe.view_list(), None, recipe.least_groups)
    _, numbers = np.unique(groups[:size], return_inverse=True)
    matrix = fit_features(union, normalized(texts[:size]), numbers.astype(np.int64))
    distinct = sum(steps.named_steps["counts"].distinct_ for _, steps in union.transformer_list)
    chars = sum(map(len, texts[:size])) / size
    cells = (
        f"{numbers.max() + 1:,}",
        f"{chars:.0f}",
        f"{distinct:,}",
        f"{matrix.shape[1]:,}",
        f"{matrix.nnz / size:.0f}",
    )
    return " | ".join(cells)


def compare(folder: Path) -> None:
    """Print how the vocabulary grows in a folder of corpora, in random order, and in the invented messages."""
    rows, _ = read_corpus(corpus_paths(folder))
    groups = sorted({row.group for row in rows})
    random.Random(0).shuffle(groups)
    order = {group: place for place, group in enumerate(groups)}
    rows = sorted(rows, key=lambda row: order[row.group])
    real = [row.text for row in rows], [row.group for row in rows]
    made = list(messages(GROWTH[-1]))
    invented = [row["text"] for row in made], [row["group"] for row in made]
    print(
        "| messages | which | groups | characters | distinct n-grams | features | values a message |\n"
        + "|---" * 7
        + "|"
    )
    for size in GROWTH:
        print(f"| {size:,} | corpora | {growth(*real, size)} |", flush=True)
        print(f"| {size:,} | invented | {growth(*invented, size)} |", flush=True)


class Watch:
    """Times stages: seconds on the wall, and of processor in this process and those it waited for."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._last = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)

    def stage(self, name: str) -> None:
        """Note what has passed since the last stage."""
        now = self._now()
        self.found |= {f"{name}_s": round(now[0] - self._last[0], 1), f"{name}_cpu_s": round(now[1] - self._last[1], 1)}
        self._last = now
        print(name, self.found[f"{name}_s"], file=sys.stderr, flush=True)


def one(path: Path, name: str) -> None:
    """Fit the features and one classifier on a file's rows and print what it took."""
    recipe = read_recipe(RECIPE)
    watch = Watch()
    rows, _ = read_corpus([path])
    watch.stage("read")
    data = prepare(rows, recipe)
    watch.stage("normalise")
    union, taught = teach(data, np.arange(len(rows)), recipe)
    watch.stage("features")
    [chosen] = (one for one in recipe.candidates if one.classifier == name)
    model = classifier(name, chosen.strength).fit(taught.blocks, taught.spam, taught.weights)
    watch.stage("classifier")
    found = {
        "rows": len(data.rows),
        "groups": int(data.groups.max()) + 1,
        "distinct": sum(steps.named_steps["counts"].distinct_ for _, steps in union.transformer_list),
        "classifier": name,
        "taught": sum(block.shape[0] for block in taught.blocks),
        "features": taught.blocks[0].shape[1],
        "values": sum(int(block.nnz) for block in taught.blocks),
        "sweeps": int(np.max(model.n_iter_)),
        **watch.found,
        "own_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(found))


def _resident_mb(root: int) -> float:
    """Return what a process and everything below it hold together; what they share counts for each."""
    parents, resident = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)], resident[int(entry.name)] = int(fields[1]), int(fields[21])
    family = {root}
    for _ in range(3):
        family |= {process for process, parent in parents.items() if parent in family}
    return sum(resident.get(process, 0) for process in family) * resource.getpagesize() / 1024**2


def measure(size: int, name: str) -> dict[str, Any]:
    """Return what one fit on so many messages takes, in a fresh process."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in messages(size))
        load, began, peak = [os.getloadavg()[0]], time.perf_counter(), 0.0
        with subprocess.Popen(
            [sys.executable, __file__, "--one", str(path), name], stdout=subprocess.PIPE, text=True
        ) as ran:
            while ran.poll() is None:
                peak = max(peak, _resident_mb(ran.pid))
                time.sleep(0.1)
            assert ran.stdout is not None
            said = ran.stdout.read()
        if ran.returncode:
            raise SystemExit(f"the fit on {size:,} messages ended with {ran.returncode}")
        load.append(os.getloadavg()[0])
        found: dict[str, Any] = json.loads(said)
        total = round(time.perf_counter() - began, 1)
        return found | {"total_s": total, "peak_mb": max(round(peak), found["own_peak_mb"]), "load": load}


def draw() -> None:
    """Draw time and memory over messages, from what was measured."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    found = sorted((json.loads(line) for line in MEASURED.read_text().splitlines()), key=lambda one: one["rows"])
    rows = [one["rows"] for one in found]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = (
        ("seconds, all stages", [one["total_s"] for one in found], 600),
        ("peak MB, all processes", [one["peak_mb"] for one in found], 6 * 1024),
        ("distinct n-grams and features", [one["distinct"] for one in found], None),
    )
    for axes, (up, values, budget) in zip(figure.subplots(1, 3).flat, panels, strict=True):
        axes.loglog(rows, values, marker="o", color="#2a6fb0")
        if budget:
            axes.axhline(budget, color="#c2452d", linestyle="--", linewidth=1)
        else:
            axes.loglog(rows, [one["features"] for one in found], marker="o", color="#888888")
        axes.set(xlabel="messages", ylabel=up)
        axes.grid(alpha=0.3)
    FigureCanvasSVG(figure)
    figure.savefig(ROOT / "docs" / "scale.svg", format="svg", metadata={"Date": None})


def main(arguments: Sequence[str]) -> int:
    """Measure each size in a process of its own."""
    if arguments and arguments[0] == "--one":
        one(Path(arguments[1]), arguments[2])
        return 0
    if arguments and arguments[0] == "--growth":
        compare(Path(arguments[1]))
        return 0
    if arguments and arguments[0] == "--draw":
        draw()
        return 0
    name = "svm"
    if arguments and arguments[0] in CLASSIFIERS:
        name, *arguments = arguments
    print(
        "| messages | groups | with copies | distinct n-grams | features | values "
        f"| read | normalised | features learnt | {name} (sweeps) | all | processor | memory | load |\n"
        + "|---" * 14
        + "|"
    )
    for size in [int(argument) for argument in arguments] or SIZES:
        found = measure(size, name)
        with MEASURED.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        processor = sum(value for key, value in found.items() if key.endswith("_cpu_s"))
        print(
            f"| {found['rows']:,} | {found['groups']:,} | {found['taught']:,} | {found['distinct']:,} "
            f"| {found['features']:,} | {found['values']:,} | {found['read_s']} s | {found['normalise_s']} s "
            f"| {found['features_s']} s | {found['classifier_s']} s ({found['sweeps']}) | {found['total_s']} s "
            f"| {processor:.0f} s | {found['peak_mb']:,} MB | {found['load'][0]:.1f}–{found['load'][1]:.1f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
