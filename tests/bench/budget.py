"""Where does a worker's time go: how many microseconds a message in each stage?

    python tests/bench/budget.py             # on a real Kafka; part of `make bench`

The real worker runs in this process on a filled topic, with a stopwatch around each stage. Fetching goes on beside the
rest, ahead of the batch in hand, and so do commits, behind it: both mostly wait. Decode, judge, build, produce and
metrics follow one another and add up to about the wall time. Work of the Kafka client in the background (fetching,
heartbeats) falls into whatever stage waits at that moment. Judging is timed inside, on its own thread.
"""

import asyncio
import functools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from service import PARTITIONS, Bench, end_well, launcher

from spamguard import logs
from spamguard.backends.kafka.consumer import KafkaConsumer
from spamguard.config import load
from spamguard.core import decide, features
from spamguard.core.scorer import LinearReading, LinearScorer
from spamguard.engine.filter import LiveFilter
from spamguard.service import process
from spamguard.service.worker import Worker
from spamguard.stream import deciding

MESSAGES: Final = 40_000
ROUNDS: Final = 3
#: Stages that stand inside another one, whose time they are taken out of.
INSIDE: Final = {
    "normalise": "judge",
    "features and score": "judge",
    "tokenise": "features and score",
    "clues and category": "judge",
    "guards": "judge",
    "policy": "judge",
    "encode": "build",
}
ORDER: Final = (
    "fetch, beside the others", "decode", "judge", "normalise", "tokenise", "features and score", "guards",
    "clues and category", "policy", "build", "encode", "produce: wait for acknowledgements", "metrics",
    "commit, beside the others",
)  # fmt: skip


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and is timed."""

        @functools.wraps(call)
        def timing(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*given, **more)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return timing

    def awaited(self, stage: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return a coroutine function that does the same and is timed."""

        @functools.wraps(call)
        async def timing(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            try:
                return await call(*given, **more)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return timing

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time every stage as long as the block runs."""
        handler = deciding.DecidingHandler
        plain: list[tuple[Any, str, str]] = [
            (handler, "_decode", "decode"),
            (handler, "_copies", "build"),
            (handler, "_decisions", "build"),
            (handler, "_report", "metrics"),
            (deciding, "encode", "encode"),
            (decide, "normalize_batch", "normalise"),
            (decide, "guard_of", "guards"),
            (features, "tokenize", "tokenise"),
            (LinearScorer, "read", "features and score"),
            (LinearReading, "explain", "clues and category"),
            (decide, "rule", "policy"),
        ]
        waiting: list[tuple[Any, str, str]] = [
            (KafkaConsumer, "poll", "fetch, beside the others"),
            (KafkaConsumer, "commit", "commit, beside the others"),
            (LiveFilter, "judge", "judge"),
            (handler, "_published", "produce: wait for acknowledgements"),
        ]
        with ExitStack() as stack:
            for owner, name, stage in plain:
                stack.enter_context(patch.object(owner, name, self.timed(stage, getattr(owner, name))))
            for owner, name, stage in waiting:
                stack.enter_context(patch.object(owner, name, self.awaited(stage, getattr(owner, name))))
            yield

    def own(self) -> dict[str, float]:
        """Return the seconds of each stage without those of the stages inside it."""
        found = dict(self.seconds)
        for inner, outer in INSIDE.items():
            if inner in found and outer in found:
                found[outer] -= self.seconds[inner]
        return found


async def one_round(bench: Bench, count: int) -> tuple[dict[str, float], float, float]:
    """Return microseconds a message by stage, of the wall, and of the processor."""
    decisions, group = bench.unique("budget.decisions"), bench.unique("budget.group")
    await bench.topics(decisions)
    environment = bench.environment("budget.inbound", decisions, group)
    settings = load(environ={name: value for name, value in environment.items() if name.startswith("SPAMGUARD_")})
    worker = Worker(settings.model_copy(update={"log_level": "error"}))
    stopwatch = Stopwatch()
    metric = worker.metrics.registry
    with stopwatch.watching():
        running = asyncio.create_task(worker.run())

        def done() -> float:
            total = metric.get_sample_value("spamguard_consume_to_publish_seconds_count")
            return total or 0.0

        while done() < count / 10 and not running.done():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.05)
        first, started, spent = done(), time.perf_counter(), time.process_time()
        stopwatch.seconds.clear()
        while done() < count and not running.done():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
        share = 1e6 / max(1.0, done() - first)
        wall_us, processor_us = (time.perf_counter() - started) * share, (time.process_time() - spent) * share
        stages = {stage: seconds * share for stage, seconds in stopwatch.own().items()}
        worker.stop()
        await running
    return stages, wall_us, processor_us


async def rounds(brokers: str, folder: Path, count: int, number: int) -> list[str]:
    """Return the section of the report."""
    bench = Bench(brokers, folder)
    await bench.topics("bench.review", "bench.dead-letter")
    await bench.fill("budget.inbound", count, seed=3)
    found = [await one_round(bench, count) for _ in range(number)]
    wall_us = statistics.median(wall for _, wall, _ in found)
    lines = ["| stage | µs a message, median | spread | share of the wall time |", "|---|---|---|---|"]
    for stage in ORDER:
        figures = [stages.get(stage, 0.0) for stages, _, _ in found]
        name = f"{stage}: the rest" if stage in INSIDE.values() else stage
        name = f"· {name}" if stage in INSIDE else name
        middle = statistics.median(figures)
        lines.append(f"| {name} | {middle:.1f} | {min(figures):.1f}–{max(figures):.1f} | {middle / wall_us:.0%} |")
    processor = statistics.median(spent for _, _, spent in found)
    lines.append(
        f"| **wall time** | {wall_us:.1f} | {min(w for _, w, _ in found):.1f}–{max(w for _, w, _ in found):.1f} | |"
    )
    return [
        "## Where a worker's time goes",
        f"The real worker on a real Kafka with {PARTITIONS} partitions, {count:,} messages of the load generator "
        f"waiting, {number} rounds, a stopwatch around every stage (`tests/bench/budget.py`). The processor's own time "
        f"is {processor:.1f} µs a message; the client's background work falls into the stage that waits.",
        "\n".join(lines),
    ]


def sections(*, quick: bool = False) -> list[str]:
    """Return the section of the report, or one that says why nothing could be measured."""
    kafka = launcher()
    reason = kafka.available()
    if reason is not None:
        return ["## Where a worker's time goes", f"Not measured: {reason}"]
    logs.configure("error", "json")
    sys.setswitchinterval(process.SWITCH_INTERVAL_S)
    process.keep_working_memory()
    count, number = (MESSAGES // 4, 1) if quick else (MESSAGES, ROUNDS)
    with (
        kafka.KafkaNode(heap="512m") as node,
        tempfile.TemporaryDirectory(prefix="spamguard-bench-") as folder,
        asyncio.Runner(loop_factory=process.loop_factory()) as runner,
    ):
        return runner.run(rounds(node.bootstrap, Path(folder), count, number))


if __name__ == "__main__":
    end_well()
    print("\n\n".join(sections(quick="--quick" in sys.argv)))
