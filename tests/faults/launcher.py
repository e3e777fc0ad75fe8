"""How does the real service run with one thing in it replaced?

    python tests/faults/launcher.py PART serve

PART names what is replaced; everything else is the service as it ships. The first parts are faults, the last two take a
protection away, so that a run of the fault table shows that it would see.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from spamguard.backends.clock import SystemClock
from spamguard.cli import main
from spamguard.core.scorer import LinearReading, LinearScorer
from spamguard.service import worker
from spamguard.stream.loop import StreamLoop

#: Texts with these words make the scorer hang, once a process, and raise, each time.
HANGS: Final = "qzhangs"
RAISES: Final = "qzraises"
HANG_S: Final = 8.0
#: The clock of the process jumps forth and back so often, by so much.
JUMP_EVERY_S: Final = 1.5
JUMPS_S: Final = (0.0, 3600.0, -7200.0, 86_400.0, -86_400.0)
#: Calls after which the scorer begins to lie; the self-tests of a model are scored before.
HONEST_CALLS: Final = 20
#: How long a batch stays committed and undecided where the order is turned round: a kill must fall into it.
COMMITTED_S: Final = 0.2


def scorer_hangs_and_raises() -> None:
    """Let the scorer hang and raise at marked texts."""
    honest, hung = LinearScorer.read, itertools.count()

    def read(self: LinearScorer, texts: Sequence[str]) -> LinearReading:
        if any(RAISES in text for text in texts):
            raise ZeroDivisionError
        if any(HANGS in text for text in texts) and not next(hung):
            time.sleep(HANG_S)
        return honest(self, texts)

    LinearScorer.read = read  # type: ignore[method-assign]


def clock_jumps() -> None:
    """Let the wall clock jump forth and back; the stopwatch never does, on any machine."""

    class JumpingClock(SystemClock):
        """A clock that somebody sets again and again."""

        def now(self) -> float:
            """Return a time that jumps."""
            turn = int(self.monotonic() / JUMP_EVERY_S)
            return time.time() + JUMPS_S[turn % len(JUMPS_S)]

    worker.SystemClock = JumpingClock  # type: ignore[attr-defined]


def scorer_lies() -> None:
    """Let the scorer call good what is spam, and spam what is good."""
    honest, called = LinearScorer.read, itertools.count()

    def read(self: LinearScorer, texts: Sequence[str]) -> LinearReading:
        reading = honest(self, texts)
        if next(called) >= HONEST_CALLS:
            scores = reading.scores
            reading.scores = scores._replace(probability=1 - scores.probability, log_odds=-scores.log_odds)
        return reading

    LinearScorer.read = read  # type: ignore[method-assign]


def commits_first() -> None:
    """Commit a batch before its decisions are published."""
    handled = StreamLoop._handled

    async def commit_and_handle(self: StreamLoop, batch: Any) -> bool:
        self._commits.due(batch)
        await self._commits.settled()
        await asyncio.sleep(COMMITTED_S)
        return await handled(self, batch)

    StreamLoop._handled = commit_and_handle  # type: ignore[method-assign]


PARTS: Final[dict[str, Callable[[], None]]] = {
    "scorer-hangs-and-raises": scorer_hangs_and_raises,
    "clock-jumps": clock_jumps,
    "scorer-lies": scorer_lies,
    "commits-first": commits_first,
}

if __name__ == "__main__":
    PARTS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
