"""Which Kafka may a test break? One of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.components import kafka_launcher, missing


@pytest.fixture
def node() -> Iterator[Any]:
    """A Kafka that the test may break."""
    launcher = kafka_launcher()
    reason = launcher.available()
    if reason is not None:
        missing("kafka", f"real Kafka: {reason.rstrip('.')}", enable="make kafka-jars")
    with launcher.KafkaNode() as node:
        yield node
