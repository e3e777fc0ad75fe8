"""The training commands of the command line; they join it through the entry-point group `spamguard.commands`."""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spamguard.backends import artifacts, registry
from spamguard.core import normalize
from spamguard.core.decide import SCORE_DIGITS, Judge
from spamguard.core.scorer import LinearScorer
from spamguard.errors import DataError, ModelRejected
from spamguard_training.attacks import QUERIES, matrix, sample
from spamguard_training.corpus import Row, corpus_paths, read_corpus
from spamguard_training.evaluate import report
from spamguard_training.fit import headline_sources, normalized
from spamguard_training.recipe import Recipe, read_recipe
from spamguard_training.train import gather
from spamguard_training.train import train as train_model

_PANEL = "Train and compare"


def register(app: typer.Typer) -> None:
    """Add the training commands to the command line."""
    app.command(rich_help_panel=_PANEL)(train)
    app.command(rich_help_panel=_PANEL)(evaluate)


def train(
    data: Annotated[
        list[Path],
        typer.Argument(help="corpora: JSON Lines files, or folders of them", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="folder of models to write into")] = Path("models"),
    families: Annotated[
        list[Path] | None, typer.Option(help="hand-written families: TOML files or folders of them", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="recipe in TOML (see training/recipes); the default recipe when left out")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the model; the recipe's when left out")] = None,
    model_version: Annotated[str | None, typer.Option("--version", help="its version; the date when left out")] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="share of good messages the spam cutoff may block, e.g. 0.001", min=1e-6, max=0.5),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the split and of the families")] = None,
    sources: Annotated[Path | None, typer.Option(help="catalogue of sources, whose terms the card repeats")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="make it the champion of the folder")] = False,
    keep_pipeline: Annotated[
        bool, typer.Option("--keep-pipeline", help="keep the scikit-learn pipeline (joblib) for inspection")
    ] = False,
) -> None:
    """Train a model from labelled messages: cross-validate, calibrate, set cutoffs, write the artefact and its card.

    The same data, recipe and seed give the same arrays. Nothing is promoted unless asked.
    """
    chosen = _with(read_recipe(recipe), name=name, budget=budget, seed=seed)
    rows, files = gather([path for given in data for path in corpus_paths(given)], families or [], chosen)
    screen = Console(stderr=True)
    screen.print(f"{len(rows):,} rows from {len(files)} files")
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=screen, transient=True
    ) as bar:
        task = bar.add_task("normalising", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)
            if not screen.is_terminal:
                screen.print(f"[{done}/{total}] {what}", highlight=False)

        trained = train_model(
            rows,
            files,
            out,
            chosen,
            model_version=model_version,
            keep_pipeline=keep_pipeline,
            terms=_terms(sources),
            progress=step,
        )
    screen.print(_report_table(trained.manifest.metrics, trained.manifest.full_name))
    screen.print(
        f"cutoffs: unsure from {trained.manifest.ham_cutoff:.4f}, blocked from {trained.manifest.spam_cutoff:.4f} "
        f"({trained.manifest.budget.estimate:.3%} of good messages blocked, at most "
        f"{trained.manifest.budget.upper_bound:.3%}, of {trained.manifest.budget.false_positive_rate:.3%} allowed)"
    )
    if promote:
        registry.write_alias(out, registry.CHAMPION, trained.manifest.full_name)
        screen.print(f"{registry.CHAMPION} → {trained.manifest.full_name}")
    print(trained.folder)  # noqa: T201 - the one line of output a script may read


def evaluate(
    data: Annotated[
        list[Path], typer.Argument(help="labelled messages: JSON Lines files or folders", show_default=False)
    ],
    model: Annotated[str, typer.Option(help="alias, name, name/version or folder")] = registry.CHAMPION,
    models: Annotated[
        Path | None, typer.Option(help="folder of models; the shipped ones when left out", envvar="SPAMGUARD_MODELS")
    ] = None,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="write spam and ham in many ways, and count what is still decided alike")
    ] = False,
    variants: Annotated[
        Path | None,
        typer.Option(
            help="folder of tables of variants for --attacks; without it some are not run", show_default=False
        ),
    ] = None,
    rows_at_most: Annotated[
        int, typer.Option("--rows", help="rows to attack, in whole near-duplicate groups", min=1)
    ] = 2000,
    queries: Annotated[int, typer.Option(help="scores a greedy attacker may ask for, a message", min=0)] = QUERIES,
    seed: Annotated[int, typer.Option(help="seed of the sample and of the attacks")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print every figure as JSON")] = False,
) -> None:
    """Measure a finished model on labelled messages it has not seen: ranking, calibration, and what it would block.

    Rows the model was trained on flatter it: use messages kept back, or read the out-of-fold figures on its card.
    """
    root = models or registry.shipped_models()
    manifest, arrays = artifacts.read(registry.resolve(model, root))
    if manifest.normalizer_version != normalize.VERSION:
        raise ModelRejected(path=manifest.full_name, detail="it was trained under another normaliser version")
    rows, _ = read_corpus([path for given in data for path in corpus_paths(given)])
    scorer = LinearScorer(arrays)
    if attacks:
        judge = Judge(scorer, manifest.full_name, manifest.ham_cutoff, manifest.spam_cutoff)
        _attack(sample(rows, rows_at_most, seed), judge, variants, seed=seed, queries=queries, as_json=as_json)
        return
    texts = normalized([row.text for row in rows])
    probability = np.zeros(len(texts))
    for first in range(0, len(texts), 1000):
        probability[first : first + 1000] = scorer.score(texts[first : first + 1000]).probability
    figures: dict[str, Any] = report(
        rows,
        np.round(probability, SCORE_DIGITS),
        ham_cutoff=manifest.ham_cutoff,
        spam_cutoff=manifest.spam_cutoff,
        headline=headline_sources(rows, Recipe()),
        seed=0,
    )
    if as_json:
        json.dump(figures, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    screen = Console()
    screen.print(_report_table(figures, manifest.full_name))
    screen.print(f"calibration: {figures.get('calibration')}" if "calibration" in figures else "")


def _attack(rows: list[Row], judge: Judge, variants: Path | None, *, seed: int, queries: int, as_json: bool) -> None:
    """Print the matrix of writings."""
    screen = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=screen, transient=True
    ) as bar:
        task = bar.add_task("attacking", total=None)
        figures = matrix(
            rows,
            judge,
            variants=variants,
            seed=seed,
            queries=queries,
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    if as_json:
        json.dump(figures, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    screen = Console()
    screen.print(_matrix_table(figures), crop=False)
    for name, why in figures["not_run"].items():
        screen.print(f"not run: {name} ({why})", markup=False)


def _matrix_table(figures: Mapping[str, Any]) -> Table:
    """Return the matrix for a terminal."""
    title = f"{figures['model']}: {figures['spam']:,} spam, {figures['ham']:,} ham, {figures['groups']:,} groups"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("writing")
    for heading in ("changed", "recall", "kept", "95 %", "ham blocked", "more than clean", "95 %", "table undone"):
        table.add_column(heading, justify="right")
    for name, found in {"clean": figures["clean"], **figures["writings"], **figures["attackers"]}.items():
        kept, cells = found["recall_kept"], ["", "", ""]
        if "ham_blocked" in found:
            more = found["ham_difference"]
            cells = [
                f"{found['ham_blocked']['value']:.2%}",
                f"{more['value']:+.2%}",
                f"{more['low']:+.2%} – {more['high']:+.2%}",
            ]
        table.add_row(
            name,
            f"{found['changed']:.0%}" if "changed" in found else "",
            f"{found['recall']['value']:.1%}",
            f"{kept['value']:.1%}",
            f"{kept['low']:.1%} – {kept['high']:.1%}",
            *cells,
            f"{figures['overlap'][name]['share']:.0%}" if name in figures["overlap"] else "",
        )
    return table


def _with(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with what the command line changed."""
    return msgspec.structs.replace(recipe, **{key: value for key, value in changes.items() if value is not None})


def _terms(path: Path | None) -> dict[str, str]:
    """Return each source's terms from the catalogue. Raises DataError."""
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return {source["name"]: source["terms"] for source in found["source"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(detail=f"{path} is no catalogue of sources ({error})") from None


def _report_table(figures: Mapping[str, Any], title: str) -> Table:
    """Return the report for a terminal."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("rows")
    for heading in ("spam", "caught", "unsure", "ham", "blocked", "unsure"):
        table.add_column(heading, justify="right")
    for part in ("by_source", "by_category", "by_language"):
        table.add_section()
        for name, counts in figures[part].items():
            cells = []
            for label in ("spam", "ham"):
                found = counts.get(label)
                cells += (
                    [
                        f"{found['rows']:,}",
                        f"{found['blocked'] / found['rows']:.2%}",
                        f"{found['unsure'] / found['rows']:.2%}",
                    ]
                    if found
                    else ["", "", ""]
                )
            table.add_row(name, *cells)
    table.add_section()
    for name in ("headline", "headline_read_and_sure"):
        for measure, value in figures.get(name, {}).items():
            if isinstance(value, dict):
                table.add_row(
                    f"{name} {measure}", "", f"{value['value']:.4f}", f"{value['low']:.3f}–{value['high']:.3f}"
                )
    return table
