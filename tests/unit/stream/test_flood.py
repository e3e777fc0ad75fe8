"""When are dead letters a flood, how often is it said, and when is it over?"""

from typing import Any

import pytest
from structlog.testing import capture_logs

from spamguard.backends.clock import ManualClock
from spamguard.stream.flood import DeadLetterFlood

LIMIT = 100


class Watched:
    """A flood's watch with its clock and what it says of the worker."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.degraded: dict[str, str] = {}
        self.flood = DeadLetterFlood(LIMIT, clock=self.clock, degraded=self.degraded)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def alarms(logged: list[Any]) -> list[int]:
    return [line["in_last_minute"] for line in logged if line["event"] == "dead_letter_flood"]


def test_as_many_as_the_limit_are_no_flood_and_one_more_is(watched: Watched) -> None:
    with capture_logs() as logged:
        watched.flood.wrote(LIMIT)
        assert not watched.flood.look()
        assert watched.degraded == {}
        watched.flood.wrote(1)
    assert watched.flood.look()
    assert watched.degraded == {"dead_letter_flood": "101 dead letters within a minute; the limit is 100"}
    assert alarms(logged) == [101]


def test_a_steady_trickle_below_the_limit_never_adds_up_to_a_flood(watched: Watched) -> None:
    for _ in range(600):
        watched.clock.advance(1.0)
        watched.flood.wrote(1)
        assert not watched.flood.look()


def test_the_alarm_is_raised_once_a_minute_as_long_as_the_flood_lasts(watched: Watched) -> None:
    with capture_logs() as logged:
        for _ in range(150):
            watched.clock.advance(1.0)
            watched.flood.wrote(10)
    assert len(alarms(logged)) == 3


def test_a_minute_after_the_last_dead_letter_it_is_over_even_when_nothing_else_comes(watched: Watched) -> None:
    watched.flood.wrote(LIMIT * 5)
    watched.clock.advance(59.0)
    assert watched.flood.look()
    watched.clock.advance(2.0)
    assert not watched.flood.look()
    assert watched.degraded == {}


def test_other_reasons_to_be_degraded_are_left_alone(watched: Watched) -> None:
    watched.degraded["review"] = "no copies"
    watched.flood.wrote(LIMIT + 1)
    watched.clock.advance(100.0)
    watched.flood.wrote(0)
    assert watched.degraded == {"review": "no copies"}
