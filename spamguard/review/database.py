"""Which database is it, are its tables of today, and how are reads and writes kept apart?

SQLite in a file (write-ahead log: readers never wait for the writer) or PostgreSQL, by URL. Every change is one
transaction that holds the write from its first statement, so that nothing is decided on what another has just changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, Engine, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from spamguard.errors import DatabaseUnfit

MIGRATIONS: Final = Path(__file__).parent / "migrations"
#: How long a writer waits for the one before, in seconds.
BUSY_S: Final = 30.0
#: PostgreSQL's advisory lock that makes one migration, and one line of audit, at a time.
MIGRATING: Final = 0x5350414D


#: What a database that is away for a moment raises.
Unavailable: Final = DBAPIError


class Database:
    """A database that is up to date. Raises DatabaseUnfit when it cannot be opened.

    `durable` waits for the disk at every change; without it a machine that loses power may lose the last ones.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        try:
            parsed = _address(url)
            if parsed.drivername in ("postgresql", "postgres"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.is_sqlite = parsed.drivername.startswith("sqlite")
            if self.is_sqlite and parsed.database and parsed.database != ":memory:":
                Path(parsed.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
                if not parsed.database.startswith("file:"):
                    Path(parsed.database).touch(mode=0o600)  # people's words; SQLite gives its log the same mode
            options: dict[str, Any] = {"connect_args": {"timeout": BUSY_S}} if self.is_sqlite else {"pool_size": 10}
            self.engine: Engine = create_engine(
                parsed, pool_pre_ping=not self.is_sqlite, hide_parameters=True, **options
            )
        except (ArgumentError, NoSuchModuleError, OSError) as error:
            raise DatabaseUnfit(detail=f"its address cannot be used ({type(error).__name__})") from None
        event.listen(self.engine, "handle_error", _say_no_value)
        if self.is_sqlite:
            event.listen(self.engine, "connect", lambda connection, _: _prepare_sqlite(connection, durable=durable))
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection to look at things."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection whose changes hold together, or not at all."""
        with self.engine.connect() as connection, connection.begin():
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def answers(self) -> bool:
        """Return whether the database can be read now."""
        try:
            with self.read() as connection:
                connection.exec_driver_sql("SELECT 1")
        except DBAPIError:
            return False
        return True

    def revision(self) -> tuple[str | None, str | None]:
        """Return the step the database is at, and the last one there is."""
        with self.engine.connect() as connection:
            now = MigrationContext.configure(connection).get_current_revision()
        return now, ScriptDirectory(str(MIGRATIONS)).get_current_head()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        try:
            now, head = self.revision()
            if now == head:
                return
            with self.engine.connect() as connection, connection.begin():
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except DBAPIError as error:
            raise DatabaseUnfit(detail=f"it does not answer ({type(error.orig).__name__})") from None


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database; None for one that is no file. Raises DatabaseUnfit."""
    parsed = _address(url)
    is_file = parsed.drivername.startswith("sqlite") and parsed.database not in (None, "", ":memory:")
    return Path(parsed.database or "") if is_file else None


def _address(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseUnfit(detail="its address cannot be read") from None
    if parsed.drivername.partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
        raise DatabaseUnfit(detail="its address must begin with sqlite:/// or postgresql://")
    return parsed


def _say_no_value(context: ExceptionContext) -> None:
    """Take the values out of a PostgreSQL error, which quotes the row; code, table and constraint say enough."""
    error = context.original_exception
    diag = getattr(error, "diag", None)
    if diag is None or diag.sqlstate is None:
        return
    told = ", ".join(name for name in (diag.table_name, diag.constraint_name) if name)
    said = f"SQLSTATE {diag.sqlstate}" + (f" ({told})" if told else "")
    error.args = (said,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {said}",)


def _prepare_sqlite(connection: Any, *, durable: bool) -> None:
    """Let SQLite keep its promises: our own transactions, a log that readers need not wait for, foreign keys."""
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={'FULL' if durable else 'OFF'}",
        "foreign_keys=ON",
        "cache_size=-65536",
        "mmap_size=268435456",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")
