"""When is a worker ready, when is it only waiting, and when is it dead?"""

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.stream.health import STALE_POLL_S, STUCK_BATCH_S, Health


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> Health:
    """A worker that has all it needs."""
    health = Health(clock)
    health.model_warm = health.joined = True
    return health


def test_a_worker_is_ready_once_its_model_is_warm_and_its_group_joined(clock: ManualClock) -> None:
    health = Health(clock)
    assert len(health.waiting_for()) == 2
    health.model_warm = health.joined = True
    assert health.waiting_for() == []


def test_a_worker_that_stops_is_not_ready(health: Health) -> None:
    health.stopping = True
    assert health.waiting_for() == ["the worker is stopping"]
    assert health.alive()


def test_a_loop_that_does_not_poll_is_dead(health: Health, clock: ManualClock) -> None:
    clock.advance(STALE_POLL_S)
    assert not health.alive()
    assert health.waiting_for() == ["no poll came back for 10 s"]
    health.polled()
    assert health.alive()


def test_a_batch_that_waits_for_its_broker_makes_a_worker_unready_but_not_dead(
    health: Health, clock: ManualClock
) -> None:
    with health.batch_in_hand():
        clock.advance(STALE_POLL_S)
        health.polled()
        assert health.alive()
        (reason,) = health.waiting_for()
        assert "do the brokers answer?" in reason
    assert health.alive()
    assert health.waiting_for() == []


def test_a_batch_that_never_ends_is_dead(health: Health, clock: ManualClock) -> None:
    with health.batch_in_hand():
        clock.advance(STUCK_BATCH_S)
        health.polled()
        assert not health.alive()


def test_a_loop_that_does_not_poll_is_dead_with_a_batch_in_hand_too(health: Health, clock: ManualClock) -> None:
    with health.batch_in_hand():
        clock.advance(STALE_POLL_S)
        assert not health.alive()
