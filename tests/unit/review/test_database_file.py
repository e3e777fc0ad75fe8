"""Is the database there for its owner alone, and does it say when it is not there at all?"""

import stat
from pathlib import Path

import pytest

from spamguard.errors import DatabaseUnfit
from spamguard.review.database import Database


def test_the_file_of_people_s_words_is_its_owner_s_alone_and_so_is_its_log(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/review.db")
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO attempts (what, at_ms) VALUES ('x', 1)")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "deep").iterdir()}
    assert {"review.db", "review.db-wal"} <= modes.keys() and set(modes.values()) == {0o600}
    database.close()


def test_a_database_answers_until_it_is_no_database_any_more(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/review.db")
    assert database.answers()
    database.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "review.db").mkdir()
    assert not database.answers()
    with pytest.raises(DatabaseUnfit):
        Database(f"sqlite:///{tmp_path}/review.db")
