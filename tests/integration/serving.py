"""How is the real service run in a test: a process of its own, its own topics, and messages like a gateway's?"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

from prometheus_client.parser import text_string_to_metric_families

from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.errors import BrokerUnavailable
from spamguard.interfaces import Broker
from spamguard.types import Outgoing, Partition, Record

SAMPLES: Final = Path(__file__).parents[2] / "datasets" / "samples" / "messages.jsonl"
START_S: Final = 30.0
#: How long SIGTERM may take.
STOP_S: Final = 15.0
BATCH: Final = 500


class Names(NamedTuple):
    """The topics and the group of one test."""

    inbound: str
    decisions: str
    review: str
    dead_letter: str
    control: str
    lists: str
    optout: str
    group: str

    @classmethod
    def of(cls, unique: str) -> "Names":
        """Return names that nobody else uses."""
        return cls(*(f"{unique}.{part.replace('_', '-')}" for part in cls._fields))

    def environment(self) -> dict[str, str]:
        """Return the settings that name them."""
        return {
            "SPAMGUARD_INBOUND_TOPIC": self.inbound,
            "SPAMGUARD_DECISIONS_TOPIC": self.decisions,
            "SPAMGUARD_REVIEW_TOPIC": self.review,
            "SPAMGUARD_DEAD_LETTER_TOPIC": self.dead_letter,
            "SPAMGUARD_CONTROL_TOPIC": self.control,
            "SPAMGUARD_LISTS_TOPIC": self.lists,
            "SPAMGUARD_OPTOUT_TOPIC": self.optout,
            "SPAMGUARD_GROUP": self.group,
        }


class Serving:
    """A `spamguard` process with a clean environment; its standard error goes to a file.

    `program` is run instead of the module spamguard, and `under` is put before the interpreter.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        *arguments: str,
        program: Sequence[str] = ("-m", "spamguard"),
        under: Sequence[str] = (),
    ) -> None:
        self._log = folder / "stderr.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")}
        environment |= {
            "SPAMGUARD_METRICS_PORT": "0",
            "SPAMGUARD_CONTROL_FILE": str(folder / "allow-all"),
            **settings,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*under, sys.executable, *program, *(arguments or ("serve",))],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def __enter__(self) -> "Serving":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """Return what the process has written to its standard error so far."""
        return self._log.read_text(encoding="utf-8")

    def events(self) -> list[dict[str, Any]]:
        """Return its log lines, which are JSON."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def sentences(self) -> list[str]:
        """Return what it wrote beside its log."""
        return [line for line in self.log.splitlines() if not line.startswith("{")]

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of one of its pages."""
        port = next(event["metrics_port"] for event in self.events() if event["event"] == "serving")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def await_ready(self) -> None:
        """Return when it says that it is ready."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if any(event["event"] == "serving" for event in self.events()) and self.get("/readyz")[0] == 200:
                return
            time.sleep(0.05)
        raise AssertionError(f"it did not become ready:\n{self.log}")

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return every sample by its name and labels."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over the samples with these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.metrics().items() if found == name and wanted <= has)

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code; a process that takes too long is an error."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def kafka_broker(address: str) -> KafkaBroker:
    """Return the broker at an address."""
    return KafkaBroker(KafkaConfig(brokers=address))


def texts_of(value: bytes) -> Iterator[str]:
    """Yield what a message's value says that no log may repeat."""
    try:
        found = json.loads(value)
    except ValueError:
        return
    if isinstance(found, dict):
        for name in ("text", "sender", "recipient"):
            if isinstance(found.get(name), str):
                yield found[name]


def varied(count: int, *, seed: int = 20261124) -> list[Outgoing]:
    """Return messages shaped like a gateway's: the samples with edits, keyed by sender and recipient."""
    dice = random.Random(seed)
    samples = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
    messages = []
    for number in range(count):
        message = dict(dice.choice(samples))
        message["message_id"] = f"m-{number:05}"
        message["recipient"] = f"+86139{dice.randrange(10**8):08}"
        if message.get("text"):
            message["text"] = _edited(message["text"], dice)
        if dice.random() < 0.05:
            message["received_at"] = int(time.time() * 1000)
        messages.append(_keyed(message))
    return messages


def _edited(text: str, dice: random.Random) -> str:
    for _ in range(dice.randrange(4)):
        place = dice.randrange(len(text) + 1)
        edit = dice.randrange(5)
        if edit == 0:
            text = text[:place] + dice.choice("\u200b\u00ad*· ") + text[place:]
        elif edit == 1:
            text = text[:place] + text[place + 1 :]
        elif edit == 2:
            text += f" {dice.randrange(10**6)}"
        elif edit == 3:
            text = text.replace(str(dice.randrange(10)), str(dice.randrange(10)))
        else:
            text = text.upper()
        text = text or "。"
    return text


def _keyed(message: Mapping[str, Any]) -> Outgoing:
    key = f"{message.get('sender')}|{message.get('recipient')}".encode()
    return Outgoing(key=key, value=json.dumps(message, ensure_ascii=False).encode())


def hostile(rounds: int = 7) -> list[Outgoing]:
    """Return records that no gateway should send; each is one line, so that `score --jsonl` can read it too."""
    found: list[bytes | None] = []
    for n in range(rounds):
        ok = f'"message_id": "h-{n}-'
        found += [
            b'{"message_id": "broken", "text": "' + b"x" * n,  # JSON that ends half-way
            b"\xff\xfe\x00not json",
            b"[1, 2, 3]",
            b'{"text": "no id", "sender": "+8613912345678"}',
            b'{"message_id": "", "text": "an empty id"}',
            b'{"message_id": "' + b"i" * 2000 + b'", "text": "an endless id"}',
            None,
            b"null",
            f'{{{ok}types", "text": 7, "direction": ["MT"], "received_at": {{}}, "sender": 86}}'.encode(),
            f'{{{ok}surrogate", "text": "\\ud83d \\udc00 lone", "sender": "\\ud800"}}'.encode(),
            f'{{{ok}bytes", "text": "'.encode() + b'\xc3\x28 broken utf-8"}',
            f'{{{ok}empty", "text": ""}}'.encode(),
            f'{{{ok}long", "text": "{"恭喜您中奖了，点击领取 " * 1600}"}}'.encode(),
            f'{{{ok}version", "schema_version": 99, "text": "from the future"}}'.encode(),
            f'{{{ok}hex", "payload_hex": "zz", "encoding": "ucs2"}}'.encode(),
            b'{"message_id": ' + str(9000 + n).encode() + b', "text": "a number for an id"}',
        ]
    return [
        Outgoing(key=None if value is None else b"hostile", value=value) for value in found if value is not None
    ] + [Outgoing(key=b"hostile", value=None) for value in found if value is None]


def spread(messages: Sequence[Outgoing], partitions: int) -> dict[int, list[Outgoing]]:
    """Return messages by partition: those of one key share one, and the order stays."""
    places: dict[int, list[Outgoing]] = {number: [] for number in range(partitions)}
    for number, message in enumerate(messages):
        hashed = number if message.key in (None, b"hostile") else crc32(message.key or b"")
        places[hashed % partitions].append(message)
    return places


async def create(broker: Broker, names: Names, *, partitions: int, **fewer: int) -> None:
    """Create the topics, some with another number of partitions."""
    admin = broker.admin()
    try:
        fewer = {"control": 1, "lists": 1, "optout": 1, **fewer}
        topics = {name: fewer.get(field, partitions) for field, name in names._asdict().items() if field != "group"}
        compacted = {"cleanup.policy": "compact"}
        await admin.create(topics, configs=dict.fromkeys((names.control, names.lists, names.optout), compacted))
    finally:
        await admin.close()


async def publish(broker: Broker, topic: str, places: Mapping[int, Sequence[Outgoing]]) -> None:
    """Publish messages to their partitions."""
    producer = broker.producer()
    await producer.start()
    try:
        for number, messages in places.items():
            for first in range(0, len(messages), BATCH):
                await producer.publish(Partition(topic, number), messages[first : first + BATCH])
    finally:
        await producer.stop()


#: How long records may go on coming after the last one that was waited for.
A_MOMENT_S: Final = 2.0


async def read(broker: Broker, topic: str, count: int, *, patience_s: float = 60.0) -> list[Record]:
    """Return a topic's records once there are `count`, and whatever else comes within a moment."""
    consumer = broker.consumer([topic], group=f"{topic}.reader-{time.monotonic_ns()}")
    await consumer.start(on_assigned=_nothing, on_revoked=_nothing)
    found: list[Record] = []
    try:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            batch = await consumer.poll(max_records=5000, timeout_s=0.5)
            found += [record for records in batch.values() for record in records]
            if len(found) >= count:
                if not batch:
                    break
                deadline = min(deadline, time.monotonic() + A_MOMENT_S)  # where traffic goes on, it never ends
    finally:
        await consumer.stop()
    return found


async def _nothing(_: frozenset[Partition]) -> None:
    """Do nothing about a rebalance."""


async def awake(broker: Broker, names: Names) -> None:
    """Return when a broker that was just started or thawed answers every kind of question; at first it refuses some."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            await lag(broker, names)
            admin = broker.admin()
            try:
                found = await admin.partitions((names.inbound, names.decisions, names.control))
            finally:
                await admin.close()
            if len(found) == 3:
                return
        except BrokerUnavailable:
            pass
        assert time.monotonic() < deadline, "the broker does not answer"
        await asyncio.sleep(0.1)


async def lag(broker: Broker, names: Names) -> int:
    """Return how many inbound records the group has not committed."""
    admin = broker.admin()
    try:
        return sum((await admin.group_lag(names.group, names.inbound)).values())
    finally:
        await admin.close()
