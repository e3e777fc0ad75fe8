"""On which databases do the review application's tests run? On both, each test on one of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge
from spamguard.review.desk import Desk
from spamguard.review.values import Person
from tests.components import PostgresNode
from tests.reviewing import MORNING_S, open_desk, staff


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/review.db"
    node: PostgresNode = request.getfixturevalue("postgres")
    return node.new_database()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still at a morning."""
    return ManualClock(MORNING_S)


@pytest.fixture
def desk(url: str, clock: ManualClock, judge: Judge) -> Iterator[Desk]:
    """An empty desk."""
    made = open_desk(url, clock=clock, judge=judge)
    yield made
    made.close()


@pytest.fixture
def people(desk: Desk) -> dict[str, Person]:
    """One person of each role, and a second reviewer."""
    return staff(desk)
