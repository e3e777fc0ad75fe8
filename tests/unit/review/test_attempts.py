"""Is guessing slowed down, for whoever guesses and nobody else?"""

from spamguard.backends.clock import ManualClock
from spamguard.review.desk import Desk

HERE = "198.51.100.7"


def test_what_may_be_tried_is_limited(desk: Desk, clock: ManualClock) -> None:
    assert [desk.attempts.allow("receipt", HERE) for _ in range(21)] == [True] * 20 + [False]
    assert desk.attempts.allow("receipt", "203.0.113.1")
    clock.advance(601)
    assert desk.attempts.allow("receipt", HERE)
