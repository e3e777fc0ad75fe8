"""Is a migrated database what the tables say, and do its errors keep quiet about what was in it?"""

import traceback
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Executable, insert, text
from sqlalchemy.exc import DBAPIError

from spamguard.review.desk import Desk
from spamguard.review.tables import METADATA, case_notes
from spamguard.review.tables import people as accounts
from tests.reviewing import SUBSCRIBER


def test_an_error_of_the_database_shows_no_value(desk: Desk) -> None:
    row = {"name": SUBSCRIBER, "role": "agent", "password": "argon2-of-a-secret", "active": True, "must_change": True,
           "language": "", "created_ms": 0}  # fmt: skip
    note = {"case_seq": 987654, "who": "ann", "at_ms": 0, "text": SUBSCRIBER}
    attempts: list[tuple[Executable, Any]] = [
        (insert(accounts), [row, row]),
        (insert(case_notes), [note]),
        (text("SELECT no_such_column FROM people WHERE name = :name"), {"name": SUBSCRIBER}),
    ]
    for statement, values in attempts:
        with pytest.raises(DBAPIError) as failed, desk.database.write() as connection:
            connection.execute(statement, values)
        told = "".join(traceback.format_exception(failed.value)) + repr(failed.value) + repr(failed.value.orig)
        assert SUBSCRIBER not in told and "a-secret" not in told and "987654" not in told


def test_the_migrated_tables_are_the_tables_of_the_code(desk: Desk) -> None:
    ours = set(METADATA.tables)
    options = {"compare_type": True, "include_name": lambda name, kind, _: kind != "table" or name in ours}
    with desk.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    now, head = desk.database.revision()
    assert now == head
