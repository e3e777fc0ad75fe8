"""How fast is the whole against the plain way, in one run on one machine?

    make bench            # prints a table; --write puts it into docs/benchmarks.md

Rivals take turns (A B A B …), so that a noisy neighbour hits both; medians and the spread over rounds are printed. Only
ratios are worth quoting.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import budget
import service
from plain_way import plain_way

from spamguard.backends import registry
from spamguard.config import load
from spamguard.core.codec import decode_message
from spamguard.core.decide import Request
from spamguard.service.catalogue import load_judge
from spamguard.service.judging import offline_filter
from spamguard.types import Message

ROOT = Path(__file__).parents[2]
ROUNDS = 7
BATCH = 512


class Result(NamedTuple):
    """Microseconds a message, one a round."""

    name: str
    microseconds: list[float]

    @property
    def median(self) -> float:
        """Return the median round."""
        return statistics.median(self.microseconds)


def messages() -> list[Message]:
    """Return the sample messages that are text."""
    lines = (ROOT / "datasets" / "samples" / "messages.jsonl").read_bytes().splitlines()
    found = [message for message in map(decode_message, lines) if isinstance(message, Message)]
    return [message for message in found if message.kind == "text" and message.text]


def timed(job: Callable[[], object], count: int) -> float:
    """Return microseconds a message."""
    start = time.perf_counter()
    job()
    return (time.perf_counter() - start) / count * 1e6


def scoring() -> list[Result]:
    """Measure judging (normaliser, features, clues, guards, policy) against the plain way."""
    samples = messages()
    texts = [message.text or "" for message in samples]
    settings = load(environ={})
    plain = plain_way(registry.resolve(settings.model, registry.shipped_models()))
    engine = offline_filter(settings)
    requests = [Request(message, f"{place:032x}", 0) for place, message in enumerate(samples * 20)]

    def batches(size: int) -> Callable[[], object]:
        return lambda: [engine.judge_now(requests[at : at + size]) for at in range(0, len(requests), size)]

    results = [Result("the plain way, one message a call", []), Result("spamguard, slices of 64", [])]
    results.append(Result(f"spamguard, batches of {BATCH}", []))
    jobs = [lambda: [plain(text) for text in texts], batches(64), batches(BATCH)]
    for _ in range(ROUNDS):
        for result, job, count in zip(results, jobs, (len(texts), len(requests), len(requests)), strict=True):
            result.microseconds.append(timed(job, count))
    return results


_WARM = (
    "from spamguard.config import load; from spamguard.service.catalogue import load_judge; "
    "load_judge(load(environ={})); "
    "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
)


def warm_up() -> tuple[list[float], int]:
    """Measure fresh processes from start to a verified, warm model: seconds each, and the peak memory in MB."""
    seconds, memory_mb = [], 0
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", _WARM], check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        memory_mb = max(memory_mb, int(done.stdout) // 1024)
    return seconds, memory_mb


def table(results: list[Result]) -> str:
    """Return the results as Markdown."""
    base = results[0].median
    lines = ["| what | µs a message, median | spread | times the plain way |", "|---|---|---|---|"]
    for result in results:
        spread = f"{min(result.microseconds):.1f}–{max(result.microseconds):.1f}"
        lines.append(f"| {result.name} | {result.median:.1f} | {spread} | {base / result.median:.1f}× |")
    return "\n".join(lines)


def main() -> None:
    """Run everything and print, or write, the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--quick", action="store_true", help="fewer messages and rounds on Kafka: to see that it runs")
    options = parser.parse_args()
    service.end_well()
    results = scoring()
    _, manifest = load_judge(load(environ={}))
    starts, memory_mb = warm_up()
    report = "\n\n".join(
        [
            "# Benchmarks",
            "Written by `make bench`. Ratios come from one run on one machine; absolute figures are for scale only. "
            "The rival is a frozen file, `tests/bench/plain_way.py`: jieba, scikit-learn, same features.",
            f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; model "
            f"{manifest.full_name} with {manifest.features:,} features; {ROUNDS} rounds, rivals taking turns; sample "
            "messages, of which about four in ten are blocked or unsure and so get clues.",
            "## Judging: normaliser, features, score, guards, clues, policy; one core",
            table(results),
            "## Start and memory",
            f"A fresh process to a verified, warm model: {statistics.median(starts):.2f} s "
            f"({min(starts):.2f}–{max(starts):.2f}); its peak memory {memory_mb} MB.",
            *service.sections(quick=options.quick),
            *budget.sections(quick=options.quick),
        ]
    )
    print(report)
    if options.write:
        (ROOT / "docs" / "benchmarks.md").write_text(report + "\n", encoding="utf-8")
    print(json.dumps({result.name: round(result.median, 1) for result in results}), file=sys.stderr)


if __name__ == "__main__":
    main()
