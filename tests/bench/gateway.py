"""How long does a caller of the HTTP gateway wait, at 1, 16 and 256 connections?

    python tests/bench/gateway.py            # prints its part of docs/benchmarks.md; --write puts it there

The real `spamguard gateway` with the shipped model, asked by a bare client over kept-alive connections: each connection
asks, waits for the answer, asks again, so that what is measured is the time an answer takes under that many callers.
Client, gateway and Kafka share this machine's cores; with cores of its own the gateway is faster.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from service import launcher, padded

from spamguard.backends import registry
from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.config import load
from spamguard.load.traffic import MIX, Traffic, without_malformed
from spamguard.service import api_keys, process
from spamguard.service.judging import sample_messages

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "benchmarks.md"
HEADING: Final = "## The HTTP gateway"
CONNECTIONS: Final = (1, 16, 256)
SECONDS: Final = 8.0
WARM_UP_S: Final = 2.0
LIST: Final = 100
START_S: Final = 60.0


class Outcome(NamedTuple):
    """What one level of load gave."""

    name: str
    connections: int
    answers: int
    messages: int
    seconds: float
    waits_ms: list[float]
    statuses: Mapping[int, int]
    unanswered: int

    def row(self) -> str:
        """Return its line of the table."""
        sorted_ms = sorted(self.waits_ms)
        points = [sorted_ms[min(len(sorted_ms) - 1, int(len(sorted_ms) * share))] for share in (0.5, 0.9, 0.99)]
        others = sum(number for status, number in self.statuses.items() if status != 200)
        told = " | ".join(f"{point:.1f}" for point in (*points, sorted_ms[-1]))
        return (
            f"| {self.name} | {self.connections} | {self.messages / self.seconds:,.0f} | {told} | "
            f"{self.unanswered} | {others} |"
        )


def bodies(number: int, together: int) -> list[bytes]:
    """Return request bodies of invented traffic, one in ten spam."""
    traffic = Traffic(
        seed=20261124,
        run="bench",
        samples=sample_messages().read_bytes().splitlines(),
        mix=without_malformed(MIX),
    )
    loads = traffic.take(number * together, now_ms=int(time.time() * 1000))
    values = [json.loads(padded(load.value)) for load in loads]
    for value in values:
        value.pop("tenant", None)
    if together == 1:
        return [json.dumps(value, ensure_ascii=False).encode() for value in values]
    lists = [values[at : at + together] for at in range(0, len(values), together)]
    return [json.dumps(value, ensure_ascii=False).encode() for value in lists]


@contextmanager
def gateway(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Run the real gateway; yield its port and a key."""
    settings = load({"gateway_keys": folder / "keys.json"}, environ={})
    key, _ = api_keys.add_key(settings, "bench", tenants=["bench"], messages_per_s=1e9, who="bench")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")}
    running = subprocess.Popen(
        [sys.executable, "-m", "spamguard", "gateway"],
        env={
            **clean,
            "SPAMGUARD_GATEWAY_PORT": str(port),
            "SPAMGUARD_GATEWAY_KEYS": str(folder / "keys.json"),
            "SPAMGUARD_METRICS_PORT": "0",
            "SPAMGUARD_CONTROL_FILE": str(folder / "allow-all"),
            "SPAMGUARD_BREAKER": "false",
            "SPAMGUARD_LOG_LEVEL": "error",
            **environment,
        },
        cwd=folder,
    )
    try:
        deadline = time.monotonic() + START_S
        while not _ready(port):
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.1)
        yield port, key
    finally:
        running.terminate()
        running.wait(30)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except OSError:
        return False


async def ask(name: str, port: int, key: str, connections: int, asked: list[bytes], together: int = 1) -> Outcome:
    """Ask over so many connections at once, and return what came."""
    waits_ms: list[float] = []
    statuses: dict[int, int] = {}
    unanswered = 0
    begins = time.perf_counter() + WARM_UP_S
    ends = begins + SECONDS
    head = (
        "POST /v1/decisions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nSpamguard-Deadline-Ms: 2000\r\nContent-Length: "
    )

    async def caller(number: int) -> None:
        nonlocal unanswered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = number
        while (started := time.perf_counter()) < ends:
            body = asked[place % len(asked)]
            place += connections
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer)
            await reader.readexactly(int(length[1]) if length else 0)
            took = time.perf_counter() - started
            if started >= begins:
                waits_ms.append(took * 1000)
                status = int(answer[9:12])
                statuses[status] = statuses.get(status, 0) + 1
                unanswered += b"spamguard-unanswered" in answer
        writer.close()

    await asyncio.gather(*(caller(number) for number in range(connections)))
    return Outcome(name, connections, len(waits_ms), len(waits_ms) * together, SECONDS, waits_ms, statuses, unanswered)


async def levels(name: str, port: int, key: str) -> list[Outcome]:
    """Return the outcome of every level, and of lists."""
    ones, lists = bodies(4000, 1), bodies(60, LIST)
    found = [await ask(f"{name}, one message", port, key, connections, ones) for connections in CONNECTIONS]
    found.append(await ask(f"{name}, lists of {LIST}", port, key, 4, lists, LIST))
    return found


async def create_topics(address: str) -> None:
    """Create what the gateway needs."""
    admin = KafkaBroker(KafkaConfig(brokers=address)).admin()
    await admin.create({"sms.decisions": 4, "sms.review": 4, "sms.control": 1}, configs={})
    await admin.close()


def measure() -> str:
    """Run everything and return the section of the page."""
    outcomes: list[Outcome] = []

    def run(job: Any) -> Any:
        with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
            return runner.run(job)

    with tempfile.TemporaryDirectory() as folder:
        alone = {"SPAMGUARD_GATEWAY_KAFKA": "false", "SPAMGUARD_GATEWAY_KEEPS_BLOCKED": "true"}
        with gateway(Path(folder), alone) as (port, key):
            outcomes += run(levels("without Kafka", port, key))
    kafka = launcher()
    missing = kafka.available()
    if missing is None:
        with ExitStack() as stack:
            node = stack.enter_context(kafka.KafkaNode())
            asyncio.run(create_topics(node.bootstrap))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            port, key = stack.enter_context(gateway(Path(folder), {"SPAMGUARD_BROKERS": node.bootstrap}))
            outcomes += run(levels("with Kafka", port, key))
    return _section(outcomes, missing)


def _section(outcomes: list[Outcome], missing: str | None) -> str:
    settings = load(environ={})
    model = registry.resolve(settings.model, registry.shipped_models())
    load_average = os.getloadavg()[0]
    lines = [
        HEADING,
        "",
        f"`spamguard gateway`, one process, measured on {datetime.now(UTC):%Y-%m-%d} by `tests/bench/gateway.py`: "
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, model "
        f"{model.parent.name}/{model.name}; load average {load_average:.1f} at the end. Each connection asks, waits "
        f"and asks again for {SECONDS:g} s after {WARM_UP_S:g} s of warming up, with messages of the load generator, "
        "one in ten spam. Client, gateway and Kafka share the cores. With Kafka a block waits for its review copy.",
        "",
        "| what | connections | messages/s | p50 ms | p90 ms | p99 ms | longest ms | unanswered | other statuses |",
        "|---|---|---|---|---|---|---|---|---|",
        *(outcome.row() for outcome in outcomes),
    ]
    if missing is not None:
        lines += ["", f"Not measured with Kafka: {missing}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the section, or put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    section = measure()
    print(section)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        before, found, after = page.partition(f"\n{HEADING}\n")
        rest = after[after.index("\n## ") :] if found and "\n## " in after else ""
        PAGE.write_text(f"{before.rstrip()}\n\n{section}{rest}", encoding="utf-8")


if __name__ == "__main__":
    main()
