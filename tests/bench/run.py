"""How fast is the whole against the plain way, in one run on one machine?

    make bench            # prints a table; --write puts it into docs/benchmarks.md

Rivals take turns (A B A B …), so that a noisy neighbour hits both; medians and the spread over rounds are printed. Only
ratios are worth quoting.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import budget
import growth
import service
from plain_way import plain_way

from spamguard.backends import registry
from spamguard.config import load
from spamguard.core.codec import decode_message
from spamguard.core.decide import Request
from spamguard.core.normalize import _REWRITES as REWRITES
from spamguard.core.normalize import normalize_batch
from spamguard.core.tokenizer import tokenize
from spamguard.engine.filter import SLICE, SLICE_CHARS
from spamguard.service import process
from spamguard.service.catalogue import load_judge
from spamguard.service.judging import offline_filter
from spamguard.types import Message

ROOT = Path(__file__).parents[2]
STEPS = Path(__file__).parent / "steps.md"
TRAINING = Path(__file__).parent / "training.md"
ROUNDS = 7
FASTTEXT = "fastText over the same tokens (a score, no clues, guards or category)"
#: What must be reached: its figure, in words, the limit, whether that is the least, and how it is written.
BUDGETS = (
    ("judging", "judging against the plain way", 20.0, True, "{:.1f}×"),
    ("judging", "… goal", 40.0, True, "{:.1f}×"),
    ("service", "whole service, one worker, against the plain service", 20.0, True, "{:.1f}×"),
    ("share of the copy", "… share of the bare copy, goal", 0.15, True, "{:.0%}"),
    ("p50", "latency at a steady 1,000 messages/s, p50", 5.0, False, "{:.1f} ms"),
    ("p99", "… p99", 25.0, False, "{:.1f} ms"),
    ("longest call", "interpreter lock held by one call in a slice", 2.0, False, "{:.2f} ms"),
    ("memory", "memory of one worker", 400.0, False, "{:.0f} MB"),
    ("memory growth", "… growth from the first thousand to a million messages", 20.0, False, "{:.0f} MB"),
    ("swap growth", f"… growth from the third to swap {growth.SWAPS}", 40.0, False, "{:.0f} MB"),
    ("two processes", "two scoring processes against one", 1.8, True, "{:.2f}×"),
    ("start", "start to model-warm", 3.0, False, "{:.2f} s"),
)

#: fastText is compiled where it is installed, so it is in no lock file.
HAS_FASTTEXT = importlib.util.find_spec("fasttext") is not None

T = TypeVar("T")


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


def slices(found: Sequence[T], size: int) -> list[list[T]]:
    """Return them in slices."""
    return [list(found[at : at + size]) for at in range(0, len(found), size)]


def unlike(part: Sequence[Request]) -> list[Request]:
    """Return those of a slice whose text no earlier one has: texts that a slice holds twice are read once."""
    return list({request.message.text: request for request in reversed(part)}.values())


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
    requests = [Request(message, f"{place:032x}", 0) for place, message in enumerate(samples)]
    traffic = growth.traffic(5000)
    whole = slices(traffic, SLICE)
    repeated = 1 - sum(len({request.message.text for request in part}) for part in whole) / len(traffic)

    def judged(parts: list[list[Request]]) -> tuple[Callable[[], object], int]:
        return lambda: [engine.judge_now(part) for part in parts], sum(map(len, parts))

    jobs: list[tuple[str, Callable[[], object], int]] = [
        ("the plain way, one message a call", lambda: [plain(text) for text in texts], len(texts)),
        ("spamguard, batches of 16", *judged(slices(requests, 16) * 20)),
        (f"spamguard, slices of up to {SLICE}, as the service judges", *judged(slices(requests, SLICE) * 20)),
        ("spamguard, the same, load generator's traffic, no text twice", *judged([unlike(part) for part in whole])),
        (f"spamguard, the same as it comes, {repeated:.0%} read once with others", *judged(whole)),
    ]
    if HAS_FASTTEXT:
        from fasttext_way import fasttext_way

        rival = fasttext_way(ROOT / "datasets" / "samples" / "labelled.jsonl")

        def asked(size: int) -> Callable[[], object]:
            return lambda: [rival(part) for part in slices(texts, size)]

        jobs += [(f"{FASTTEXT}, {size} a call", asked(size), len(texts)) for size in (1, SLICE)]
    results = [Result(name, []) for name, _, _ in jobs]
    for _ in range(ROUNDS):
        for result, (_, job, count) in zip(results, jobs, strict=True):
            result.microseconds.append(timed(job, count))
    return results


def longest_call_ms() -> float:
    """Return how long the longest single call into compiled code keeps the lock in a full slice, at its best."""
    text = "\n".join(message.text or "" for message in messages())
    joined = normalize_batch([(text * (SLICE_CHARS // len(text) + 1))[:SLICE_CHARS].replace("\n", " ")])[0]
    # An expression without a match is one call; with matches it is several, and the lock may change hands at each.
    calls: list[Callable[[], object]] = [lambda: tokenize(joined)]
    calls += [partial(pattern.search, joined) for pattern, _ in REWRITES]
    return max(min(timed(call, 1) for _ in range(9)) for call in calls) / 1000


def budgets(figures: dict[str, float]) -> str:
    """Return what must be reached beside what was, as Markdown."""
    lines = ["| budget | must reach | measured | |", "|---|---|---|---|"]
    for name, what, limit, at_least, form in BUDGETS:
        if name not in figures:
            lines.append(f"| {what} | {'≥' if at_least else '≤'} {form.format(limit)} | not measured | – |")
            continue
        met = figures[name] >= limit if at_least else figures[name] <= limit
        lines.append(
            f"| {what} | {'≥' if at_least else '≤'} {form.format(limit)} | {form.format(figures[name])} | "
            f"{'met' if met else '**not met**'} |"
        )
    return "\n".join(lines)


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
    process.keep_working_memory()
    service.progress("judging")
    results = scoring()
    figures = {"judging": results[0].median / results[2].median, "longest call": longest_call_ms()}
    _, manifest = load_judge(load(environ={}))
    starts, memory_mb = warm_up()
    figures["start"] = statistics.median(starts)
    service.progress("how cost grows")
    grown = growth.sections(figures, quick=options.quick)
    served = service.sections(figures, quick=options.quick)
    service.progress("where a worker's time goes")
    spent = budget.sections(quick=options.quick)
    report = "\n\n".join(
        [
            "# Benchmarks",
            "Written by `make bench`. Ratios come from one run on one machine; absolute figures are for scale only. "
            "The rival is a frozen file, `tests/bench/plain_way.py`: jieba, scikit-learn, same features.",
            f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; model "
            f"{manifest.full_name} with {manifest.features:,} features; {ROUNDS} rounds, rivals taking turns; sample "
            "messages, of which about four in ten are blocked or unsure and so get clues.",
            "## Budgets",
            budgets(figures),
            "One training fit on 800,000 grouped messages is measured apart, see below.",
            "## Judging: normaliser, features, score, guards, clues, policy; one core",
            table(results),
            *(
                []
                if HAS_FASTTEXT
                else ["fastText was not measured: `pip install fasttext-wheel` compiles it, then run again."]
            ),
            "## Start and memory",
            f"A fresh process to a verified, warm model: {statistics.median(starts):.2f} s "
            f"({min(starts):.2f}–{max(starts):.2f}); its peak memory {memory_mb} MB.",
            *served,
            *spent,
            *grown,
            TRAINING.read_text(encoding="utf-8").strip(),
            STEPS.read_text(encoding="utf-8").strip(),
        ]
    )
    print(report)
    if options.write:
        (ROOT / "docs" / "benchmarks.md").write_text(report + "\n", encoding="utf-8")
    print(json.dumps({result.name: round(result.median, 1) for result in results}), file=sys.stderr)


if __name__ == "__main__":
    main()
