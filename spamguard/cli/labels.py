"""How do reviewers' verdicts become training rows?"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from spamguard.cli.desk import Database, KeyFile, opened_desk, rows_said
from spamguard.cli.screen import Screen


def register(app: typer.Typer) -> None:
    """Add `labels export`."""
    labels = typer.Typer(no_args_is_help=True, help="Write reviewers' verdicts as training rows.")
    labels.command("export")(export_labels)
    app.add_typer(labels, name="labels")


def export_labels(
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="file to write; standard output when left out")
    ] = None,
    form: Annotated[
        Literal["corpus", "overlay"],
        typer.Option("--format", help="corpus: rows with texts, for train; overlay: ids and labels alone"),
    ] = "corpus",
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Write a JSON line for each item whose verdict holds: label, category, reader, time, trust.

    What waits for a second reader, or is disputed, is left out; a complaint is never a label.

      $ spamguard labels export -o verdicts.jsonl && spamguard train verdicts.jsonl …
    """
    count = 0
    with opened_desk(review_database, review_key_file) as desk:
        stream = sys.stdout.buffer if output is None else output.open("wb")
        try:
            for line in desk.labels.export(None, form):
                stream.write(line)
                count += 1
        finally:
            if output is not None:
                stream.close()
    if output is not None:
        Screen(stderr=True).say(f"{rows_said(count)} in {output}")
    elif not count:
        Screen(stderr=True).say("no verdict holds yet: nothing to write")
