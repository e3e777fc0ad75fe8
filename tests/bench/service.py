"""What does the whole service do on a real Kafka: how many messages a second, how fast, in how much memory?

    python tests/bench/service.py            # part of `make bench`; alone, it prints its part of the report

One Kafka node on this machine shares its cores, so absolute figures are low; rivals take turns on the same filled
topic, each with a group of its own, and ratios are what counts. A rate is measured between two decisions, the first
tenth (with two workers, the first half) and the last one, so that no start and no joining is in the figures.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from spamguard.backends import registry
from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.backends.kafka.reader import KafkaReader
from spamguard.load.traffic import MIX, Traffic, without_malformed
from spamguard.service.judging import sample_messages
from spamguard.types import Outgoing, Partition

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PARTITIONS: Final = 4
ROUNDS: Final = 3
#: Messages for a worker and for the copy, and for the plain service, which is slower by an order.
MANY: Final = 60_000
FEW: Final = 1_500
MEMORY_MESSAGES: Final = 300_000
MESSAGE_BYTES: Final = 300
STEADY_RATE: Final = 1000
STEADY_S: Final = 10
#: So long may one measurement take.
PATIENCE_S: Final = 600.0
SWITCH_INTERVALS_S: Final = (0.0005, 0.005)

_SERVE: Final = "import sys; from spamguard.cli import main; sys.exit(main(['serve']))"
_SERVE_SWITCHING: Final = (
    "import sys; from spamguard.service import process; process.SWITCH_INTERVAL_S = {}; "
    "from spamguard.cli import main; sys.exit(main(['serve']))"
)


class Rates(NamedTuple):
    """A rival with its messages a second, one a round."""

    name: str
    per_second: list[float]

    @property
    def median(self) -> float:
        """Return the median round."""
        return statistics.median(self.per_second)


def launcher() -> ModuleType:
    """Return deploy/kafka/kafka.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("kafka_launcher", ROOT / "deploy" / "kafka" / "kafka.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bench:
    """One Kafka node with a filled topic, and the processes that are measured on it."""

    def __init__(self, brokers: str, folder: Path) -> None:
        self.brokers = brokers
        self.folder = folder
        self.broker = KafkaBroker(KafkaConfig(brokers=brokers))
        self._names = 0
        self._ends: KafkaReader | None = None
        self._ends_of = ""

    async def topics(self, *names: str) -> None:
        """Create topics."""
        admin = self.broker.admin()
        await admin.create(dict.fromkeys(names, PARTITIONS), configs={})
        await admin.close()

    async def fill(self, topic: str, count: int, *, seed: int) -> None:
        """Fill a topic with messages of 300 bytes, whole ones only."""
        await self.topics(topic)
        traffic = Traffic(
            seed=seed,
            run=f"bench-{seed}",
            samples=sample_messages().read_bytes().splitlines(),
            mix=without_malformed(MIX),
        )
        producer = self.broker.producer()
        await producer.start()
        for first in range(0, count, 1000):
            places: dict[int, list[Outgoing]] = {}
            for load in traffic.take(min(1000, count - first), now_ms=int(time.time() * 1000)):
                places.setdefault(load.number % PARTITIONS, []).append(Outgoing(key=load.key, value=padded(load.value)))
            await asyncio.gather(*(producer.publish(Partition(topic, n), batch) for n, batch in places.items()))
        await producer.stop()

    def unique(self, what: str) -> str:
        """Return a name that was not used yet."""
        self._names += 1
        return f"{what}-{self._names}"

    def environment(self, inbound: str, decisions: str, group: str) -> dict[str, str]:
        """Return the settings of a worker."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")}
        return clean | {
            "SPAMGUARD_BROKERS": self.brokers,
            "SPAMGUARD_INBOUND_TOPIC": inbound,
            "SPAMGUARD_DECISIONS_TOPIC": decisions,
            "SPAMGUARD_REVIEW_TOPIC": "bench.review",
            "SPAMGUARD_DEAD_LETTER_TOPIC": "bench.dead-letter",
            "SPAMGUARD_GROUP": group,
            "SPAMGUARD_METRICS_PORT": "0",
            "SPAMGUARD_LOG_LEVEL": "info",
        }

    @contextmanager
    def running(self, command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process as long as the block runs."""
        log = self.folder / f"{self.unique('process')}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            yield process
            if process.poll() is not None:
                raise RuntimeError(f"it ended by itself: {log.read_text()[-2000:]}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def rate(self, topic: str, count: int, *, start: float = 0.1) -> float:
        """Return how many records a second come into a topic, between a share of `count` and the last."""
        first = int(count * start)
        began: tuple[float, int] | None = None
        deadline = time.monotonic() + PATIENCE_S
        done = 0
        while time.monotonic() < deadline:
            now, done = await self._written(topic)
            if began is None and done >= first:
                began = now, done
            if done >= count and began is not None:
                return (done - began[1]) / max(now - began[0], 1e-9)
            await asyncio.sleep(0.02)
        raise RuntimeError(f"{topic} has {done} of {count} records after {PATIENCE_S:.0f} s")

    async def _written(self, topic: str) -> tuple[float, int]:
        if self._ends is None or self._ends_of != topic:
            await self.close()
            self._ends, self._ends_of = self.broker.reader(topic), topic
            await self._ends.start()
        done = sum((await self._ends.offsets_at(1 << 42)).values())
        return time.perf_counter(), done

    async def close(self) -> None:
        """Close the reader of ends."""
        if self._ends is not None:
            await self._ends.stop()

    async def worker(self, inbound: str, count: int, *, workers: int = 1, code: str = _SERVE) -> tuple[float, int]:
        """Return a real worker's rate and its resident memory at the end, in MB (of the largest)."""
        decisions, group = self.unique("bench.decisions"), self.unique("group")
        await self.topics(decisions)
        environment = self.environment(inbound, decisions, group)
        if workers == 1:
            with self.running(["-c", code], environment) as process:
                return await self.rate(decisions, count), resident_mb(process.pid)
        with self.running(["-c", code], environment) as first, self.running(["-c", code], environment) as second:
            # By half of the messages the second one has joined: a rebalance is in none of the figures.
            found = await self.rate(decisions, count, start=0.5)
            return found, max(resident_mb(first.pid), resident_mb(second.pid))

    async def plain(self, inbound: str, count: int) -> float:
        """Return the plain service's rate."""
        decisions = self.unique("bench.decisions")
        await self.topics(decisions)
        model = str(registry.resolve("champion", registry.shipped_models()))
        command = [str(HERE / "plain_service.py"), self.brokers, inbound, decisions, model, self.unique("group")]
        with self.running(command, dict(os.environ)):
            return await self.rate(decisions, count)

    async def copy(self, inbound: str, count: int) -> float:
        """Return the bare copy's rate."""
        decisions = self.unique("bench.decisions")
        await self.topics(decisions)
        command = [str(HERE / "bare_copy.py"), self.brokers, inbound, decisions, self.unique("group")]
        with self.running(command, dict(os.environ)):
            return await self.rate(decisions, count)

    async def bare_answers(self, rate: float, seconds: float) -> dict[str, Any]:
        """Return what the load generator reports at a pace of a service that reads and judges nothing."""
        inbound, decisions = self.unique("bench.inbound"), self.unique("bench.decisions")
        await self.topics(inbound, decisions)
        environment = self.environment(inbound, decisions, self.unique("group"))
        log = self.folder / f"process-{self._names + 1}.log"
        with self.running([str(HERE / "bare_answers.py")], environment):
            await serving(log)
            await self._loadgen(environment, rate, 3.0)
            return await self._loadgen(environment, rate, seconds)

    async def steady(self, rate: float, seconds: float, *, code: str = _SERVE) -> dict[str, Any]:
        """Return what the load generator reports of a worker at a pace, and the worker's own histogram."""
        inbound, decisions = self.unique("bench.inbound"), self.unique("bench.decisions")
        await self.topics(inbound, decisions)
        environment = self.environment(inbound, decisions, self.unique("group"))
        log = self.folder / f"process-{self._names + 1}.log"
        with self.running(["-c", code], environment):
            port = await serving(log)
            await self._loadgen(environment, rate, 3.0)
            before = await asyncio.to_thread(histogram, port)
            report = await self._loadgen(environment, rate, seconds)
            after = await asyncio.to_thread(histogram, port)
            spent = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
            report["worker_ms"] = {part: quantile(spent, part / 100) * 1000 for part in (50, 99)}
            return report

    async def _loadgen(self, environment: dict[str, str], rate: float, seconds: float) -> dict[str, Any]:
        command = [sys.executable, "-m", "spamguard", "loadgen", "--json", "--no-malformed", "--rate", f"{rate:g}"]
        command += ["--seconds", f"{seconds:g}"]
        ran = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, env=environment, capture_output=True, check=False
        )
        found: dict[str, Any] = json.loads(ran.stdout)
        return found


def padded(value: bytes) -> bytes:
    """Return a message of 300 bytes; a longer one stays as it is."""
    missing = MESSAGE_BYTES - len(value) - len(b',"trace_id":""')
    return value if missing <= 0 else value[:-1] + b',"trace_id":"' + b"t" * missing + b'"}'


def resident_mb(pid: int) -> int:
    """Return a process's resident memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


async def serving(log: Path) -> int:
    """Return a worker's port once it has its partitions."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in (await asyncio.to_thread(log.read_text)).splitlines() if line[:1] == "{"]
        if any(line["event"] == "partitions_assigned" for line in lines):
            return int(next(line["metrics_port"] for line in lines if line["event"] == "serving"))
        await asyncio.sleep(0.1)
    raise RuntimeError(f"no worker began to serve; see {log}")


def histogram(port: int) -> dict[float, float]:
    """Return the cumulative counts of a worker's latency histogram by upper bound."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    pattern = r'^spamguard_consume_to_publish_seconds_bucket\{le="([^"]+)"\} (\S+)$'
    return {float(bound): float(count) for bound, count in re.findall(pattern, text, re.MULTILINE)}


def quantile(cumulative: dict[float, float], part: float) -> float:
    """Return a quantile of a histogram, straight lines within buckets, as Prometheus draws them."""
    bounds = sorted(cumulative)
    wanted = part * cumulative[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        if cumulative[bound] >= wanted and cumulative[bound] > below:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (cumulative[bound] - below)
        low, below = bound, cumulative[bound]
    return low


def progress(words: str) -> None:
    """Say what is measured now: it takes a quarter of an hour."""
    print(f"… {words}", file=sys.stderr, flush=True)


def end_well() -> None:
    """Let SIGTERM end the run in good order, so that Kafka and the measured processes end with it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def spread(figures: Sequence[float], form: str = ",.0f") -> str:
    """Return the range of figures."""
    return f"{min(figures):{form}}–{max(figures):{form}}"


async def measured(bench: Bench, figures: dict[str, float], *, quick: bool) -> list[str]:
    """Return the sections of the report."""
    shrink = 10 if quick else 1
    many, few, rounds = MANY // shrink, FEW // shrink, 1 if quick else ROUNDS
    await bench.topics("bench.review", "bench.dead-letter")
    await bench.fill("bench.many", many, seed=1)
    one, plain, copy = Rates("spamguard serve, one worker", []), Rates("the plain service", []), Rates("bare copy", [])
    two = Rates("spamguard serve, two workers", [])
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        one.per_second.append((await bench.worker("bench.many", many))[0])
        plain.per_second.append(await bench.plain("bench.many", few))
        copy.per_second.append(await bench.copy("bench.many", many))
        two.per_second.append((await bench.worker("bench.many", many, workers=2))[0])
    table = [
        "| what | messages/s, median | spread | times the plain service | share of the bare copy |",
        "|---|---|---|---|---|",
    ]
    table += [
        f"| {rival.name} | {rival.median:,.0f} | {spread(rival.per_second)} | {rival.median / plain.median:.1f}× | "
        f"{rival.median / copy.median:.0%} |"
        for rival in (plain, one, two, copy)
    ]
    figures |= {"service": one.median / plain.median, "share of the copy": one.median / copy.median}
    sections = [
        "## The whole service, on a real Kafka",
        f"Apache Kafka on the same machine, {PARTITIONS} partitions, {MESSAGE_BYTES}-byte messages from the load "
        f"generator (one in ten spam), {rounds} rounds, rivals taking turns; {many:,} messages a round, {few:,} for "
        f"the plain service. Two workers against one: {two.median / one.median:.2f}×, on {os.cpu_count()} cores of "
        "which Kafka takes its part.",
        "\n".join(table),
    ]
    sections += await latency(bench, one.median, figures, quick=quick)
    sections += await memory(bench, figures, quick=quick)
    return sections


async def latency(bench: Bench, most: float, figures: dict[str, float], *, quick: bool) -> list[str]:
    """Return the section on latency at a steady pace, under both switch intervals."""
    seconds, rounds = (4.0, 1) if quick else (STEADY_S, ROUNDS)
    rows = [
        "| pace | switch interval | load generator p50 / p99 ms | worker's histogram p50 / p99 ms | lost |",
        "|---|---|---|---|---|",
    ]
    for pace in (float(STEADY_RATE), most / 2):
        progress(f"latency at {pace:,.0f} messages a second")
        reports: dict[float, list[dict[str, Any]]] = {interval: [] for interval in SWITCH_INTERVALS_S}
        bare: list[dict[str, Any]] = []
        for _ in range(rounds):
            if pace == STEADY_RATE:
                bare.append(await bench.bare_answers(pace, seconds))
            for interval in SWITCH_INTERVALS_S:
                code = _SERVE_SWITCHING.format(interval)
                reports[interval].append(await bench.steady(pace, seconds, code=code))
        for interval, found in reports.items():
            seen = [[report["latency_ms"][part] for report in found] for part in ("p50", "p99")]
            own = [[report["worker_ms"][part] for report in found] for part in (50, 99)]
            if (pace, interval) == (STEADY_RATE, SWITCH_INTERVALS_S[0]):
                figures |= {"p50": statistics.median(seen[0]), "p99": statistics.median(seen[1])}
            cells = [" / ".join(f"{statistics.median(part):.1f}" for part in pair) for pair in (seen, own)]
            cells[0] += f" ({spread(seen[0], '.1f')} / {spread(seen[1], '.1f')})"
            lost = sum(report["lost"] for report in found)
            rows.append(f"| {pace:,.0f}/s | {interval * 1000:g} ms | {cells[0]} | {cells[1]} | {lost} |")
        if bare:
            seen = [[report["latency_ms"][part] for report in bare] for part in ("p50", "p99")]
            cell = " / ".join(f"{statistics.median(part):.1f}" for part in seen)
            cell += f" ({spread(seen[0], '.1f')} / {spread(seen[1], '.1f')})"
            lost = sum(report["lost"] for report in bare)
            rows.append(f"| {pace:,.0f}/s | nothing is judged | {cell} | – | {lost} |")
    return [
        "## Latency at a steady pace",
        f"One worker, {seconds:g} s a round, {rounds} rounds, taking turns. The load generator measures from handing a "
        "message to its producer until its decision is read by its own consumer; the worker's histogram "
        "(`spamguard_consume_to_publish_seconds`, within its buckets) from the inbound record's timestamp to the "
        "acknowledged decision. What Kafka, its clients and the generator take by themselves is in the row in which "
        "nothing is judged: bare aiokafka that answers each batch with allows. The second pace is half of what one "
        "worker did above.",
        "\n".join(rows),
    ]


async def memory(bench: Bench, figures: dict[str, float], *, quick: bool) -> list[str]:
    """Return the section on a worker's memory over many messages."""
    count = MEMORY_MESSAGES // (10 if quick else 1)
    progress(f"memory over {count:,} messages")
    await bench.fill("bench.memory", count, seed=2)
    decisions = bench.unique("bench.decisions")
    await bench.topics(decisions)
    found = []
    with bench.running(["-c", _SERVE], bench.environment("bench.memory", decisions, bench.unique("group"))) as process:
        for part in range(1, 7):
            await bench.rate(decisions, count * part // 6)
            found.append(resident_mb(process.pid))
    figures["memory"] = max(found)
    return [
        "## Memory of one worker",
        f"Resident, at each sixth of {count:,} messages: {', '.join(f'{mb} MB' for mb in found)}.",
    ]


def sections(figures: dict[str, float], *, quick: bool = False) -> list[str]:
    """Return the sections of the report, or one that says why nothing could be measured; add what budgets ask for."""
    kafka = launcher()
    reason = kafka.available()
    if reason is not None:
        return ["## The whole service, on a real Kafka", f"Not measured: {reason}"]

    async def run(brokers: str, folder: Path) -> list[str]:
        bench = Bench(brokers, folder)
        try:
            return await measured(bench, figures, quick=quick)
        finally:
            await bench.close()

    with kafka.KafkaNode(heap="512m") as node, tempfile.TemporaryDirectory(prefix="spamguard-bench-") as folder:
        return asyncio.run(run(node.bootstrap, Path(folder)))


def main() -> None:
    """Print this part of the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, one round: to see that it runs")
    end_well()
    print("\n\n".join(sections({}, quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
