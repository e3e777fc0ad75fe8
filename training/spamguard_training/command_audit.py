"""`spamguard audit-labels`: which labels should a person look at, and what did the person say?"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from spamguard_training.audit import filled_in, suspects, write_suspects
from spamguard_training.corpus import corpus_paths
from spamguard_training.fit import out_of_fold
from spamguard_training.overlay import append_readings
from spamguard_training.recipe import Candidate, read_recipe
from spamguard_training.scores import read_scores
from spamguard_training.train import gather


def audit_labels(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="labelled messages: JSON Lines files, folders of them, or CSV files", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="file to write the suspicious rows into; it holds texts", show_default=False)
    ] = None,
    collect: Annotated[
        Path | None,
        typer.Option(help="an edited file, whose filled-in rows go into --overlay, without texts", show_default=False),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="readers' labels so far, laid over the corpora; --collect adds to it")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="out-of-fold scores kept by spamguard train; trained anew when left out")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="recipe in TOML; the default recipe when left out")] = None,
    families: Annotated[
        list[Path] | None, typer.Option(help="hand-written families to train with", show_default=False)
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="only rows of this source; may be repeated", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="rows to write at most", min=1)] = 500,
    least: Annotated[
        float, typer.Option(help="evidence against a label, in log-odds; negative lists doubtful rows too")
    ] = 0.0,
    everything: Annotated[bool, typer.Option("--all", help="rows that were read by the policy too")] = False,
) -> None:
    """Find the labels most likely wrong, for a person to read.

    A row is suspicious when a model that never saw its near-duplicates disagrees, or when they are labelled otherwise.
    Without --scores this cross-validates one classifier: minutes for 100,000 rows.

    Fill in label, category, who and why of the rows you judged, then collect them into an overlay:

      spamguard audit-labels corpora --out suspicious.jsonl
      spamguard audit-labels --collect suspicious.jsonl --overlay overlay.jsonl
    """
    screen = Console(stderr=True)
    if collect is not None:
        if overlay is None:
            raise typer.BadParameter("it needs the --overlay that the readings go into", param_hint="--collect")
        added, whole = append_readings(overlay, filled_in(collect))
        screen.print(f"{overlay}: {added:,} readings added, {whole:,} in all")
        return
    if not data or out is None:
        raise typer.BadParameter("name corpora and --out, or --collect and --overlay", param_hint="DATA")
    chosen = read_recipe(recipe)
    rows, _ = gather([path for given in data for path in corpus_paths(given)], families or [], chosen, overlay)
    if scores is not None:
        log_odds = {row.id: row.log_odds for row in read_scores(scores)}
    else:
        one = next(
            (c for c in chosen.candidates if c.classifier == "logistic"),
            Candidate(classifier="logistic", strength=30.0),
        )
        found = out_of_fold(
            rows,
            msgspec.structs.replace(chosen, candidates=(one,)),
            lambda what, done, total: screen.print(f"[{done}/{total}] {what}", highlight=False),
        )
        log_odds = {row.id: float(score) for row, score in zip(rows, found, strict=True)}
    listed = [
        suspect
        for suspect in suspects(rows, log_odds, prior=chosen.prior, read_too=everything, least=least)
        if not source or suspect.source in source
    ]
    write_suspects(out, listed[:limit])
    screen.print(f"{len(listed[:limit]):,} of {len(listed):,} suspicious rows are in {out}", highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("source", "ham now", "spam now"):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    counts = Counter((suspect.source, suspect.label_now) for suspect in listed[:limit])
    for name in sorted({name for name, _ in counts}):
        table.add_row(name, f"{counts[name, 'ham']:,}", f"{counts[name, 'spam']:,}")
    screen.print(table)
    screen.print(
        "Fill in label, category, who and why of the rows you judge; then: "
        f"spamguard audit-labels --collect {out} --overlay overlay.jsonl",
        highlight=False,
    )
