"""How does a command work at the review desk: over which database, with which key, and without making one by chance?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

from spamguard import config, logs
from spamguard.cli.options import setting
from spamguard.errors import DatabaseUnfit
from spamguard.review.desk import Desk
from spamguard.service import review

PAGES: Final = "Pages and database"
Database = Annotated[str | None, setting("review_database", PAGES)]
KeyFile = Annotated[Path | None, setting("review_key_file", PAGES)]


@contextmanager
def opened_desk(database: str | None, keys: Path | None, *, create: bool = False) -> Iterator[Desk]:
    """Yield the desk a command works at; its library's log lines would only be in the way.

    Looking makes no database: a new one in the wrong folder has a whole audit log, and no labels to export.
    """
    logs.configure("error", "text")
    settings = config.load({"review_database": database, "review_key_file": keys})
    file = review.database_file(settings)
    if not create and file is not None and not file.exists():
        raise DatabaseUnfit(
            detail=f"there is no file {file}; --review-database names another one, and "
            "`spamguard review users add NAME --role admin` makes it"
        )
    desk = review.open_desk(settings)
    try:
        yield desk
    finally:
        desk.close()


def rows_said(number: int) -> str:
    """Return a number of rows in words."""
    return f"{number:,} row{'' if number == 1 else 's'}"
