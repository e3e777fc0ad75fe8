"""Does the log stay short while a library repeats itself, and does it keep what matters?"""

import io
import json
import logging
from collections.abc import Iterator
from typing import Final

import pytest
import structlog

from spamguard import logs
from spamguard.backends.clock import ManualClock
from spamguard.logs import KEEP_EVERY_S, OneOfAKind

UNREACHABLE: Final = "Unable connect to node with id %s: %s"
REBALANCING: Final = "Heartbeat failed for group %s because it is rebalancing"
NO_COORDINATOR: Final = "Group Coordinator Request failed: %s"


def record(template: str, *arguments: object, name: str = "aiokafka.client") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, template, arguments, None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sieve(clock: ManualClock) -> OneOfAKind:
    return OneOfAKind(clock.monotonic)


@pytest.fixture
def clean() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    structlog.reset_defaults()


def test_of_each_kind_one_line_is_kept_every_half_minute(sieve: OneOfAKind, clock: ManualClock) -> None:
    assert sieve.filter(record(UNREACHABLE, 1, "refused"))
    assert not any(sieve.filter(record(UNREACHABLE, number, "refused")) for number in range(100))
    clock.advance(KEEP_EVERY_S)
    assert sieve.filter(record(UNREACHABLE, 1, "refused"))


def test_another_kind_or_another_logger_is_kept(sieve: OneOfAKind) -> None:
    assert sieve.filter(record(UNREACHABLE, 1, "refused"))
    assert sieve.filter(record("Unable to update metadata from %s", [1]))
    assert sieve.filter(record(UNREACHABLE, 1, "refused", name="aiokafka.consumer"))


def test_what_asyncio_says_is_told_apart_by_its_first_line(sieve: OneOfAKind) -> None:
    assert sieve.filter(record("Task exception was never retrieved\nfuture: <Task 1>", name="asyncio"))
    assert not sieve.filter(record("Task exception was never retrieved\nfuture: <Task 2>", name="asyncio"))


def test_our_own_and_other_libraries_lines_are_all_kept(sieve: OneOfAKind) -> None:
    for name in ("spamguard.stream", "prometheus_client", "aiokafkaesque"):
        assert all(sieve.filter(record("poll_failed", name=name)) for _ in range(3))


def test_a_rebalance_is_nothing_to_worry_about(sieve: OneOfAKind) -> None:
    assert not sieve.filter(record(REBALANCING, "spamguard"))


def test_a_missing_coordinator_is_harmless_at_the_start_and_worth_a_line_later(
    sieve: OneOfAKind, clock: ManualClock
) -> None:
    error = "[Error 15] GroupCoordinatorNotAvailableError"
    assert not sieve.filter(record(NO_COORDINATOR, error))
    clock.advance(KEEP_EVERY_S)
    assert sieve.filter(record(NO_COORDINATOR, error))


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("level", "kept"), [("info", 1), ("debug", 4)])
def test_at_level_debug_everything_passes(level: str, kept: int) -> None:
    stream = io.StringIO()
    logs.configure(level, stream=stream)
    for number in range(3):
        logging.getLogger("aiokafka.client").error(UNREACHABLE, number, "refused")
    logging.getLogger("aiokafka.client").debug("Sending metadata request")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["library_log"] * kept
