"""Is the log of who did and saw what still whole?"""

from typing import Annotated

import typer
from rich.text import Text

from spamguard.cli.desk import Database, KeyFile, opened_desk, rows_said
from spamguard.cli.screen import Screen


def register(app: typer.Typer) -> None:
    """Add `audit verify` and `audit head`."""
    audit = typer.Typer(no_args_is_help=True, help="Check the log of who did and saw what in the review pages.")
    audit.command("verify")(verify)
    audit.command("head")(head)
    app.add_typer(audit, name="audit")


def verify(
    head_hash: Annotated[
        str | None, typer.Option("--head", help="a head that was logged: it must still be there", metavar="HASH")
    ] = None,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Check that no row of the audit log was changed, taken out or put in; exit code 1 when one was."""
    with opened_desk(review_database, review_key_file) as desk:
        found = desk.audit.verify(head=head_hash)
    screen = Screen()
    if found.broken_at is None:
        screen.say(Text.assemble(("whole", "green"), f": {rows_said(found.rows)}, head {found.head}"))
        return
    screen.say(Text.assemble(("BROKEN", "bold red"), f" at row {found.broken_at}: {found.why}"))
    raise typer.Exit(1)


def head(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Print the number and hash of the last row; keep it elsewhere, and `verify --head` shows it later."""
    with opened_desk(review_database, review_key_file) as desk:
        seq, last = desk.audit.head()
    Screen().say(f"{seq} {last}")
