"""`spamguard retrain`: corpora, exported labels and overlay in; a measured challenger out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from spamguard.backends import artifacts, registry
from spamguard.backends.login import who_am_i
from spamguard.core.gate import findings, refusals
from spamguard.errors import GateClosed
from spamguard_training import retrain as runs
from spamguard_training.command_compare import champion_of, evidence_of, keep, measured, tell
from spamguard_training.compare import contender
from spamguard_training.corpus import CorpusFile, corpus_paths, read_corpus, stored_rows
from spamguard_training.families import family_paths, generate, read_families
from spamguard_training.overlay import lay_over, overlay_file, read_overlay
from spamguard_training.recipe import Recipe, read_recipe
from spamguard_training.train import file_of
from spamguard_training.train import train as train_model


def retrain(
    data: Annotated[
        list[Path],
        typer.Argument(help="labelled messages: JSON Lines files, folders of them, or CSV files", show_default=False),
    ],
    models: Annotated[Path, typer.Option(help="folder of models: read and written", envvar="SPAMGUARD_MODELS")],
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="exported labels, in the corpus format with reader, labelled_at, trust", show_default=False),
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="readers' labels by id, laid over the corpora")] = None,
    families: Annotated[
        list[Path] | None, typer.Option(help="hand-written families: files or folders", show_default=False)
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="recipe in TOML; the default recipe when left out")] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(help="labelled messages to compare on, never trained on, beside --holdout", show_default=False),
    ] = None,
    holdout: Annotated[
        float, typer.Option(help="share of the near-duplicate groups that is never trained on", min=0.0, max=0.5)
    ] = 0.1,
    group_cap: Annotated[
        float, typer.Option(help="most weight of one near-duplicate group, in rows; 0 is no cap", min=0.0)
    ] = 20.0,
    secret: Annotated[
        Path | None, typer.Option(help="secret key to sign the candidate with", envvar="SPAMGUARD_MODEL_SECRET")
    ] = None,
    suite: Annotated[
        Path | None, typer.Option(help="families of good messages; the shipped ones when left out")
    ] = None,
    attack_rows: Annotated[int, typer.Option(help="rows written in every evasive way", min=1)] = 1000,
    again: Annotated[bool, typer.Option("--again", help="run even when nothing that goes in has changed")] = False,
    html: Annotated[Path | None, typer.Option(help="write the comparison as a page here", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the comparison as JSON")] = False,
) -> None:
    """Train again, measure, make it the challenger: for cron.

    It trains on corpora and exported labels. A part of the near-duplicate groups is never trained on; candidate and
    champion are compared on what neither has seen, the evidence is kept for [bold]spamguard models promote[/], and
    a candidate that passes the gate becomes the challenger, which scores along and decides nothing. A reader's
    label of a text replaces the corpus's; labels weigh by their trust (one reader 0.7, two who agree 1), and one
    mass mailing never more than --group-cap rows.

    A run that was stopped goes on where it was: call it again with the same inputs. One runs at a time.

      $ spamguard retrain corpora/ --labels labels.jsonl --overlay overlay.jsonl --recipe shipped.toml --models models

    Exit codes: 0 there is a new challenger, or nothing new went in · 4 a model is not fit · 6 data · 8 the candidate
    is worse than the champion and stays a file · 9 another retrain is running.
    """
    screen = Console(stderr=True, highlight=False, markup=False)

    def step(what: str, done: int, total: int) -> None:
        screen.print(f"[{done}/{total}] {what}")

    chosen = _recipe(recipe, group_cap)
    with runs.locked(models) as work:
        champion = champion_of(models)
        rows, files = read_corpus([path for given in data for path in corpus_paths(given)])
        if overlay is not None:
            readings = read_overlay(overlay)
            rows = stored_rows(lay_over(rows, readings))
            files.append(overlay_file(overlay, readings))
        said, label_files, contradictions = runs.read_labels(labels or [])
        extra, test_files, _ = runs.read_labels(test or [])
        invented = (
            list(generate(read_families(families), each=chosen.families_each, seed=chosen.seed)) if families else []
        )
        family_files = [file_of(path, 0, name=f"families/{path.name}") for path in family_paths(families or [])]
        inputs = runs.fingerprint([*files, *label_files, *test_files, *family_files], chosen, holdout)
        against = champion and champion.ref.digest
        state = runs.read_state(work)
        if state is None or state.inputs != inputs or again:
            runs.forget_folds(work)
            state = runs.State(inputs=inputs)
        elif state.done and (state.against == against or (champion and champion.ref.name == state.candidate)):
            screen.print(f"nothing new since {state.candidate}; --again runs all the same")
            return
        else:
            screen.print("going on where the last run stopped")
        merged = runs.merged(rows, said, extra)
        parts = runs.split(merged, extra, holdout, champion and champion.manifest, invented)
        screen.print(
            f"{len(parts.train):,} rows to train on, {len(parts.test):,} of {parts.kept_back:,} kept back to compare; "
            f"{len(said):,} exported labels, {contradictions:,} contradicted another"
        )
        test_files.append(CorpusFile(name=f"{holdout:g} of the groups, kept back", sha256=inputs, rows=len(parts.test)))
        runs.require_test(parts.test, champion and champion.ref.name)
        runs.write_state(work, state)
        if state.candidate is None or not (models / state.candidate).is_dir():
            trained = train_model(
                parts.train,
                [*files, *label_files, *family_files],
                models,
                chosen,
                checkpoints=work,
                noted={"holdout": holdout},
                progress=step,
            )
            state = msgspec.structs.replace(state, candidate=trained.manifest.full_name)
            runs.write_state(work, state)
            runs.forget_folds(work)
        assert state.candidate is not None  # noqa: S101 - trained just now, or before
        folder = models / state.candidate
        if secret is not None:
            artifacts.sign(folder, secret)
        candidate = contender(folder)
        compared = measured(parts.test, test_files, champion, candidate, recipe, suite, None, attack_rows, 0)
        evidence = evidence_of(compared, test_files, champion, candidate)
        found = findings(evidence)
        tell(compared, found, html, as_json)
        keep(models, compared, test_files, champion, candidate)
        closed = refusals(found)
        if not closed:
            _make_challenger(models, state.candidate, screen)
        runs.write_state(work, msgspec.structs.replace(state, against=against, closed=tuple(closed), done=True))
        print(folder) if not as_json else None  # noqa: T201 - the one line of output a script may read
        if closed:
            raise GateClosed(model=state.candidate, detail="; ".join(closed))


def _recipe(path: Path | None, group_cap: float) -> Recipe:
    """Return the recipe with what retraining adds where it says nothing."""
    found = read_recipe(path)
    changes: dict[str, Any] = {"group_cap": found.group_cap or group_cap}
    if not found.trust_weights:
        changes["trust_weights"] = runs.TRUST_WEIGHTS
    return msgspec.structs.replace(found, **changes)


def _make_challenger(root: Path, name: str, screen: Console) -> None:
    if registry.read_aliases(root).get(registry.CHALLENGER) == name:
        return
    registry.move_alias(
        root,
        registry.CHALLENGER,
        name,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        who=who_am_i(),
        reason="spamguard retrain",
        kind="promote",
    )
    screen.print(f"{registry.CHALLENGER} → {name}")
