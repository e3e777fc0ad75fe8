"""`spamguard evaluate`: how good is a finished model on rows it has not seen?"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table

from spamguard import config
from spamguard.backends import artifacts, registry, signing
from spamguard.core import normalize
from spamguard.core.decide import SCORE_DIGITS, Judge
from spamguard.core.manifest import Manifest
from spamguard.core.scorer import LinearScorer
from spamguard.errors import DataError, ModelRejected
from spamguard_training import sheet
from spamguard_training.attacks import QUERIES, sample
from spamguard_training.command_attacks import attack
from spamguard_training.corpus import Row, corpus_paths
from spamguard_training.cross import cross_source, guess_sources, learning_curve, other_domains
from spamguard_training.cutoffs import Ledger, Refused, shown_budgets
from spamguard_training.evaluate import report, spared_by_decision
from spamguard_training.fit import headline_sources, kind_of, normalized
from spamguard_training.measure import Flags, Floats
from spamguard_training.recipe import DEFAULT_MIX, Recipe, read_recipe
from spamguard_training.scores import read_scores, scored_rows
from spamguard_training.train import gather


def evaluate(
    data: Annotated[
        list[Path],
        typer.Argument(help="labelled messages: JSON Lines files, folders of them, or CSV files", show_default=False),
    ],
    model: Annotated[str, typer.Option(help="alias, name, name/version or folder")] = registry.CHAMPION,
    models: Annotated[
        Path | None, typer.Option(help="folder of models; the shipped ones when left out", envvar="SPAMGUARD_MODELS")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="out-of-fold scores kept by spamguard train, for rows the model was trained on"),
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="readers' labels by id, laid over the rows")] = None,
    families: Annotated[
        list[Path] | None, typer.Option(help="hand-written families, as in training", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="recipe: names the headline sources, and trains for --cross, --learning-curve")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write one self-contained page here", show_default=False)] = None,
    plots: Annotated[
        Path | None, typer.Option(help="write the plots as PNG here: a folder", show_default=False)
    ] = None,
    cross: Annotated[
        bool, typer.Option("--cross", help="train on each source and try the others; guess sources (trains: minutes)")
    ] = False,
    curve: Annotated[
        bool, typer.Option("--learning-curve", help="train on five sizes of the rows (trains: minutes)")
    ] = False,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="write spam and ham in many ways, and count what is still decided alike")
    ] = False,
    variants: Annotated[
        Path | None, typer.Option(help="with --attacks: a folder of tables of variants; without it some are not run")
    ] = None,
    rows_at_most: Annotated[
        int, typer.Option("--rows", help="with --attacks: rows to attack, in whole near-duplicate groups", min=1)
    ] = 2000,
    queries: Annotated[
        int, typer.Option(help="with --attacks: scores a greedy attacker may ask for, a message", min=0)
    ] = QUERIES,
    seed: Annotated[int, typer.Option(help="with --attacks: seed of the sample and of the writings")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print every figure as JSON")] = False,
) -> None:
    """Measure a model on labelled messages it has not seen.

    Ranking, calibration, and what it would block. Rows the model was trained on flatter it: use messages kept back,
    or give its out-of-fold --scores.
    """
    root = models or registry.shipped_models()
    folder = registry.resolve(model, root)
    manifest = artifacts.read_manifest(folder)
    chosen = read_recipe(recipe)
    rows, _ = gather([path for given in data for path in corpus_paths(given)], families or [], chosen, overlay)
    if attacks:
        judge = Judge(_scorer(folder), manifest.full_name, manifest.ham_cutoff, manifest.spam_cutoff)
        attack(sample(rows, rows_at_most, seed), judge, variants, seed=seed, queries=queries, as_json=as_json)
        return
    screen = Console(stderr=True)
    if scores is not None:
        rows, log_odds = _kept(scores, rows, screen)
    scorer = _scorer(folder)
    found = _scored(scorer, rows)
    if scores is None:
        log_odds = found.log_odds
    figures = measured(rows, log_odds, manifest, chosen, found.spared)
    # The model saw the categories of rows it was trained on: what cross-validation said of them is the honest figure.
    figures["categories"] = _categories(scorer, rows) if scores is None else manifest.metrics.get("categories", {})

    def step(what: str, done: int, total: int) -> None:
        screen.print(f"[{done + 1}/{total}] {what}", highlight=False)

    if cross:
        figures["cross_source"] = cross_source(rows, chosen, step)
        figures["source_guessing"] = guess_sources(rows, chosen, step)
        figures["warnings"] += other_domains(rows, figures["source_guessing"])
    if curve:
        figures["learning_curve"] = learning_curve(rows, chosen, step)
    if html is not None or plots is not None:
        _draw(rows, log_odds, figures, manifest, html, plots)
    if as_json:
        json.dump(figures, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    out = Console()
    out.print(terminal(figures, manifest.full_name))
    for warning in figures["warnings"]:
        out.print(f"[yellow]{warning}[/]", highlight=False)
    for path in (html, plots):
        if path is not None:
            screen.print(f"written: {path}", highlight=False)


def _scorer(folder: Path) -> LinearScorer:
    """Return a model's scorer. Raises ModelRejected."""
    key = config.load().model_key
    manifest, arrays = artifacts.read(folder, signing.read_public(key) if key else ())
    if manifest.normalizer_version != normalize.VERSION:
        raise ModelRejected(path=manifest.full_name, detail="it was trained under another normaliser version")
    return LinearScorer(arrays)


class _Scored(NamedTuple):
    log_odds: Floats
    spared: Flags  #: allowed whatever they score


def _scored(scorer: LinearScorer, rows: Sequence[Row]) -> _Scored:
    """Return the model's log-odds of the rows, and which of them guards and the evidence floor let pass."""
    texts = normalized([row.text for row in rows])
    found = [scorer.score(texts[first : first + 1000]) for first in range(0, len(texts), 1000)]
    evidence = np.concatenate([part.evidence for part in found])
    return _Scored(np.concatenate([part.log_odds for part in found]), spared_by_decision(texts, evidence))


def _categories(scorer: LinearScorer, rows: Sequence[Row]) -> dict[str, Any]:
    """Return how often the model names the category of spam that a reader named, and what for what."""
    known = [(row.text, kind) for row in rows if row.is_spam and (kind := kind_of(row)) is not None]
    answers = [
        explanation.kind
        for first in range(0, len(known), 500)
        for explanation in scorer.explain_batch([text for text, _ in known[first : first + 500]], most=0)
    ]
    confusion: dict[str, dict[str, int]] = {}
    for (_, truth), answer in zip(known, answers, strict=True):
        if answer is not None:
            row = confusion.setdefault(truth, {})
            row[answer] = row.get(answer, 0) + 1
    right = sum(row.get(truth, 0) for truth, row in confusion.items())
    return {"accuracy": right / len(known), "confusion": confusion} if confusion else {}


def _kept(path: Path, rows: Sequence[Row], screen: Console) -> tuple[list[Row], Floats]:
    """Return the rows that have a kept score, with it. Raises DataError when none has."""
    found = {row.id: row.log_odds for row in read_scores(path)}
    known = [row for row in rows if row.id in found]
    if not known:
        raise DataError(detail=f"{path.name} holds no score of these rows; it is of another corpus")
    if len(known) < len(rows):
        screen.print(f"{len(rows) - len(known):,} rows have no score in {path.name} and are left out", highlight=False)
    return known, np.array([found[row.id] for row in known])


def measured(
    rows: Sequence[Row], log_odds: Floats, manifest: Manifest, recipe: Recipe, spared: Flags
) -> dict[str, Any]:
    """Return every figure that needs no training; `spared` rows are allowed whatever they score."""
    headline = headline_sources(rows, recipe)
    figures = report(
        rows,
        np.round(1.0 / (1.0 + np.exp(-log_odds)), SCORE_DIGITS),
        ham_cutoff=manifest.ham_cutoff,
        spam_cutoff=manifest.spam_cutoff,
        headline=headline,
        seed=0,
        spared=spared,
    )
    ledger = Ledger(scored_rows(rows, log_odds, headline), manifest.budget.mix or DEFAULT_MIX)
    shipped = ledger.at(manifest.spam_cutoff, manifest.ham_cutoff)
    figures["budgets"] = shown_budgets(ledger, manifest.spam_cutoff, manifest.ham_cutoff)
    figures["warnings"] = []
    asked = ledger.within(manifest.budget.false_positive_rate, manifest.ham_cutoff)
    if isinstance(asked, Refused):
        figures["warnings"].append(f"These rows cannot check the model's budget: {asked.reason}.")
    elif shipped.estimate > manifest.budget.false_positive_rate:
        figures["warnings"].append(
            f"The shipped cutoff blocks {shipped.estimate:.2%} of the good messages here, more than its budget of "
            f"{manifest.budget.false_positive_rate:.2%}."
        )
    return figures


def _draw(
    rows: Sequence[Row],
    log_odds: Floats,
    figures: dict[str, Any],
    manifest: Manifest,
    html: Path | None,
    folder: Path | None,
) -> None:
    """Draw the headline rows, or all when no source holds both labels, and write what was asked for."""
    from spamguard_training.plots import Sample, cjk_font, draw  # matplotlib takes a second to load

    headline = set(figures["headline_sources"])
    judged = np.array([row.source in headline for row in rows])
    if not judged.any():
        judged[:] = True
    spam = np.array([row.is_spam for row in rows])
    sample = Sample(spam[judged], log_odds[judged], manifest.ham_cutoff, manifest.spam_cutoff)
    pictures = draw(sample, figures.get("learning_curve", ()), cjk_font())
    figures["warnings"] += pictures.notes
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures.png.items():
            (folder / f"{name}.png").write_bytes(content)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        lead = f"{len(rows):,} rows, {int(spam.sum()):,} spam. Unsure from {manifest.ham_cutoff:.4f}, blocked from "
        lead += f"{manifest.spam_cutoff:.4f}. Pictures show the {int(judged.sum()):,} headline rows."
        html.write_text(
            sheet.page(manifest.full_name, lead, figures["warnings"], sheet.sections(figures), pictures.png),
            encoding="utf-8",
        )


def terminal(figures: Mapping[str, Any], title: str) -> Group:
    """Return what matters most, in tables of at most 80 columns."""
    shown = [sheet.headline(figures), sheet.budgets(figures) if "budgets" in figures else None]
    shown += [sheet.part(figures, name) for name in ("by_source", "by_category")]
    shown += [sheet.categories(figures), *sheet.crossed(figures)]
    tables: list[RenderableType] = []
    for section in shown:
        if section is None or not section.rows:
            continue
        table = Table(title=section.title, title_justify="left", box=None, pad_edge=False)
        for place, name in enumerate(section.head):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for row in section.rows:
            table.add_row(*row)
        tables += ["", table]
    return Group(f"[bold]{title}[/]", *tables)
