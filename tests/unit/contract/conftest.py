"""What do these tests share? An engine with the small model."""

from collections.abc import Iterator

import pytest

from spamguard.backends.clock import SystemClock
from spamguard.core.decide import Judge
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder


@pytest.fixture
def live(judge: Judge) -> Iterator[LiveFilter]:
    engine = LiveFilter(ModelHolder(judge), clock=SystemClock(), code_version="0.1.0")
    yield engine
    engine.close()
