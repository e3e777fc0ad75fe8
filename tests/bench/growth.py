"""How does the cost grow: with messages, their length, the model's features, processes and swaps of the model?

    python tests/bench/growth.py             # part of `make bench`; draws docs/growth.svg

Processor time of judging on one core, the way the service does it; every point is the median of a few rounds. Traffic
is the load generator's. Models of other sizes are the shipped one, with some of its features or with strange ones more.
"""

import gc
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from spamguard.backends import artifacts, registry
from spamguard.config import load
from spamguard.core.codec import decode_message
from spamguard.core.decide import Judge, Request
from spamguard.core.scorer import LinearScorer, ModelArrays, ViewArrays
from spamguard.engine.filter import SLICE, LiveFilter
from spamguard.engine.holder import ready_judge
from spamguard.load.traffic import MIX, Traffic, without_malformed
from spamguard.service import process
from spamguard.service.judging import offline_filter, sample_messages
from spamguard.types import Message

ROOT: Final = Path(__file__).parents[2]
MESSAGES: Final = (1_000, 10_000, 100_000, 1_000_000)
CHARS: Final = (20, 50, 100, 200, 400, 800, 1600)
FEATURES: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000)
SWAPS: Final = 50
ROUNDS: Final = 3
#: What a process judges when two of them are compared with one.
SHARE: Final = 40_000


def traffic(count: int, *, seed: int = 7) -> list[Request]:
    """Return requests of the load generator."""
    source = Traffic(
        seed=seed, run="growth", samples=sample_messages().read_bytes().splitlines(), mix=without_malformed(MIX)
    )
    found = [decode_message(load.value) for load in source.take(count, now_ms=1)]
    return [Request(message, "0" * 32, 0) for message in found if isinstance(message, Message)]


def judge_all(engine: LiveFilter, requests: Sequence[Request]) -> None:
    """Judge in slices, as the service does."""
    for first in range(0, len(requests), SLICE):
        engine.judge_now(requests[first : first + SLICE])


def cost_us(engine: LiveFilter, requests: Sequence[Request]) -> float:
    """Return microseconds of processor time a message."""
    figures = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        judge_all(engine, requests)
        figures.append((time.thread_time() - start) / len(requests) * 1e6)
    return statistics.median(figures)


def resident_mb() -> int:
    """Return this process's resident memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def resized(arrays: ModelArrays, features: int) -> ModelArrays:
    """Return a model of about so many features: cut, or filled up with keys that no text has."""
    total = sum(len(view.keys) for view in arrays.views)
    dice = np.random.default_rng(0)
    views = []
    for view in arrays.views:
        size = max(1, len(view.keys) * features // total)
        kept = np.sort(dice.permutation(len(view.keys))[:size])
        strange = size - len(kept)
        keys = (np.uint64(0xFFFF) << np.uint64(48)) + np.arange(strange, dtype=np.uint64)
        more = np.ones(strange, dtype=np.float32)
        views.append(
            ViewArrays(
                view.view,
                np.concatenate((view.keys[kept], keys)),
                np.concatenate((view.idf[kept], more)),
                np.concatenate((view.weights[kept], more)),
            )
        )
    return arrays._replace(views=views, kinds=(), kind_features={}, kind_weights={}, kind_intercepts=np.zeros(0))


def over_messages(engine: LiveFilter, counts: Sequence[int]) -> tuple[list[float], list[int]]:
    """Return the cost a message, and the memory, by number of messages judged in one go."""
    stock = traffic(20_000)
    costs, memory = [], []
    for count in counts:
        start = time.thread_time()
        done = 0
        while done < count:
            part = stock[: min(len(stock), count - done)]
            judge_all(engine, part)
            done += len(part)
        costs.append((time.thread_time() - start) / count * 1e6)
        memory.append(resident_mb())
    return costs, memory


def over_length(engine: LiveFilter, lengths: Sequence[int]) -> list[float]:
    """Return the cost a message by its length."""
    text = "。".join(request.message.text or "" for request in traffic(2000))
    found = []
    for length in lengths:
        number = max(64, 60_000 // length)
        cut = [text[place * 37 : place * 37 + length] for place in range(number)]
        found.append(cost_us(engine, [Request(Message(message_id="m", text=one), "0" * 32, 0) for one in cut]))
    return found


def over_features(sizes: Sequence[int]) -> list[float]:
    """Return the cost of reading a message by the number of the model's features; without categories and clues."""
    settings = load(environ={})
    _, arrays = artifacts.read(registry.resolve(settings.model, registry.shipped_models()))
    requests = traffic(3000)
    engine = offline_filter(settings)
    found = []
    for size in sizes:
        engine.holder.swap(Judge(LinearScorer(resized(arrays, size)), "resized", 0.999_998, 0.999_999))
        found.append(cost_us(engine, requests))
    return found


def over_swaps(swaps: int) -> list[int]:
    """Return the memory after each of so many loads of a model into a filter that is in use."""
    settings = load(environ={})
    engine = offline_filter(settings)
    requests = traffic(500)
    memory = []
    for _ in range(swaps):
        engine.holder.swap(ready_judge(*artifacts.read(registry.resolve(settings.model, registry.shipped_models()))))
        judge_all(engine, requests)
        gc.collect()
        memory.append(resident_mb())
    return memory


_PROCESS: Final = """
import sys, time; sys.path.insert(0, {here!r})
import growth
engine, requests = growth.offline_filter(growth.load(environ={{}})), growth.traffic(4000)
growth.judge_all(engine, requests)
print("ready", flush=True); sys.stdin.readline()
for _ in range({times}): growth.judge_all(engine, requests)
print("done", flush=True)
"""


def together(number: int, share: int) -> float:
    """Return how many messages a second so many processes judge at the same time."""
    code = _PROCESS.format(here=str(Path(__file__).parent), times=max(1, share // 4000))
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()
    start = time.perf_counter()
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()
    spent = time.perf_counter() - start
    for one in running:
        one.communicate()
    return number * max(1, share // 4000) * 4000 / spent


def draw(path: Path, panels: Sequence[tuple[str, str, Sequence[float], Sequence[float]]]) -> None:
    """Draw one panel a question: name of the axis, of the values, and both."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (across, up, values, costs) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        axes.plot(values, costs, marker="o", color="#2a6fb0")
        if max(values) > 100 * min(values):
            axes.set_xscale("log")
        axes.set(xlabel=across, ylabel=up, ylim=(0, max(costs) * 1.2))
        axes.grid(alpha=0.3)
    FigureCanvasSVG(figure)
    figure.savefig(path, format="svg", metadata={"Date": None})


def sections(figures: dict[str, float], *, quick: bool = False) -> list[str]:
    """Return the section of the report, draw its plots, and add what budgets ask for."""
    process.keep_working_memory()
    counts = MESSAGES[:2] if quick else MESSAGES
    swaps = 5 if quick else SWAPS
    engine = offline_filter(load(environ={}))
    judge_all(engine, traffic(1000))
    costs, memory = over_messages(engine, counts)
    lengths, features, swapped = over_length(engine, CHARS), over_features(FEATURES), over_swaps(swaps)
    share = SHARE // 10 if quick else SHARE
    pairs = [(together(1, share), together(2, share)) for _ in range(ROUNDS)]
    ratio = statistics.median(two / one for one, two in pairs)
    figures |= {
        "two processes": ratio,
        "memory growth": memory[-1] - memory[0],
        "swap growth": swapped[-1] - swapped[2],
    }
    draw(
        ROOT / "docs" / "growth.svg",
        [
            ("messages judged", "µs a message", counts, costs),
            ("characters a message", "µs a message", CHARS, lengths),
            ("features of the model", "µs a message, scores alone", FEATURES, features),
            ("swaps of the model", "resident MB", range(1, swaps + 1), swapped),
        ],
    )
    rows = [
        (
            "messages judged in one go",
            counts,
            [f"{cost:.1f} µs, {mb} MB" for cost, mb in zip(costs, memory, strict=True)],
        ),
        ("characters a message", CHARS, [f"{cost:.1f} µs" for cost in lengths]),
        ("features of the model, scores alone", FEATURES, [f"{cost:.1f} µs" for cost in features]),
        ("swaps of the model", (1, 3, swaps), [f"{swapped[place]} MB" for place in (0, 2, -1)]),
    ]
    lines = ["| what grows | cost a message, or memory |", "|---|---|"]
    for what, values, said in rows:
        lines.append(f"| {what} | {'; '.join(f'{one:,}: {cost}' for one, cost in zip(values, said, strict=True))} |")
    spread = f"{min(two / one for one, two in pairs):.2f}–{max(two / one for one, two in pairs):.2f}"
    lines.append(f"| processes | 2 judge {ratio:.2f}× as much as 1 ({spread}) |")
    return [
        "## How cost grows",
        f"Processor time of judging, one core, slices of {SLICE}, the load generator's traffic "
        "(`tests/bench/growth.py`). Features beyond the shipped model's are ones that no text has: what grows is the "
        "table that is looked up.",
        "![Cost by messages, length, features; memory by swaps](growth.svg)",
        "\n".join(lines),
    ]


if __name__ == "__main__":
    print("\n\n".join(sections({}, quick="--quick" in sys.argv)))
