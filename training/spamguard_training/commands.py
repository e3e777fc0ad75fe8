"""The training commands of the command line; they join it through the entry-point group `spamguard.commands`."""

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from spamguard.backends import registry
from spamguard.backends.login import who_am_i
from spamguard.errors import DataError
from spamguard_training.command_audit import audit_labels
from spamguard_training.command_compare import compare, gate
from spamguard_training.command_cutoffs import cutoffs
from spamguard_training.command_evaluate import evaluate, terminal
from spamguard_training.command_retrain import retrain
from spamguard_training.corpus import Row, corpus_paths
from spamguard_training.cutoffs import LARGEST_BUDGET
from spamguard_training.fit import headline_sources
from spamguard_training.measure import ANY
from spamguard_training.overlay import read_overlay, unknown_ids
from spamguard_training.recipe import Recipe, read_recipe
from spamguard_training.scores import scored_rows, write_scores
from spamguard_training.train import gather, suited
from spamguard_training.train import train as train_model

_PANEL = "Train and compare"
NAMED = 10  #: unknown ids named on a screen


def register(app: typer.Typer) -> None:
    """Add the training commands to the command line."""
    app.command(rich_help_panel=_PANEL)(train)
    app.command(rich_help_panel=_PANEL)(evaluate)
    app.command(rich_help_panel=_PANEL)(compare)
    app.command(rich_help_panel=_PANEL)(gate)
    app.command(rich_help_panel=_PANEL)(retrain)
    app.command(rich_help_panel=_PANEL)(cutoffs)
    app.command("audit-labels", rich_help_panel=_PANEL)(audit_labels)


def train(
    data: Annotated[
        list[Path],
        typer.Argument(help="labelled messages: JSON Lines files, folders of them, or CSV files", show_default=False),
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
        typer.Option(help="share of good messages the spam cutoff may block, e.g. 0.001", min=1e-6, max=LARGEST_BUDGET),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the split and of the families")] = None,
    sources: Annotated[Path | None, typer.Option(help="catalogue of sources, whose terms the card repeats")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="readers' labels by id (datasets/README.md), laid over the corpora")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="keep every row's out-of-fold score here, without texts (.jsonl or .npz)")
    ] = None,
    cross: Annotated[
        bool, typer.Option("--cross", help="also try each source on the others and guess sources (trains: minutes)")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="make it the champion at once, past the gate; the history says so")
    ] = False,
    keep_pipeline: Annotated[
        bool, typer.Option("--keep-pipeline", help="keep the scikit-learn pipeline (joblib) for inspection")
    ] = False,
) -> None:
    """Train a model from labelled messages, and write its card.

    It cross-validates, calibrates, sets the cutoffs and writes the artefact. The same data, recipe and seed give
    the same arrays. Nothing is promoted unless asked.
    """
    chosen = _with(read_recipe(recipe), name=name, budget=budget, seed=seed)
    rows, files = gather([path for given in data for path in corpus_paths(given)], families or [], chosen, overlay)
    screen = Console(stderr=True)
    _name_unknown(rows, overlay, screen)
    screen.print(f"{len(rows):,} rows from {len(files)} file{'' if len(files) == 1 else 's'}", highlight=False)
    chosen = suited(chosen, rows)
    if ANY in chosen.mix:
        screen.print(
            "No good message says its kind (category), so the budget is measured on all of them alike; with categories "
            "it is half private chat, half notices (datasets/README.md).",
            highlight=False,
        )
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
            cross=cross,
            progress=step,
        )
    if scores is not None:
        write_scores(scores, scored_rows(rows, trained.log_odds, headline_sources(rows, chosen)))
    screen.print(terminal(trained.manifest.metrics, trained.manifest.full_name))
    screen.print(
        f"cutoffs: unsure from {trained.manifest.ham_cutoff:.4f}, blocked from {trained.manifest.spam_cutoff:.4f} "
        f"({trained.manifest.budget.estimate:.3%} of good messages blocked, at most "
        f"{trained.manifest.budget.upper_bound:.3%}, of {trained.manifest.budget.false_positive_rate:.3%} allowed)"
    )
    if promote:
        registry.move_alias(
            out,
            registry.CHAMPION,
            trained.manifest.full_name,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            who=who_am_i(),
            reason="spamguard train --promote",
            kind="promote",
            override="trained with --promote, which compares nothing",
        )
        screen.print(f"{registry.CHAMPION} → {trained.manifest.full_name}")
    print(trained.folder)  # noqa: T201 - the one line of output a script may read


def _name_unknown(rows: Sequence[Row], overlay: Path | None, screen: Console) -> None:
    """Say which of an overlay's ids no row has: they change nothing."""
    if overlay is None:
        return
    readings = read_overlay(overlay)
    if unknown := unknown_ids(rows, readings):
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        screen.print(
            f"{overlay.name}: {len(unknown):,} of {len(readings):,} ids are of no row here: "
            f"{', '.join(unknown[:NAMED])}{more}",
            highlight=False,
        )


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
