"""Does a decision come back for every message that is sent, once, in its place, and how long does it take?

The generator is a gateway in small: it sends messages at a pace, and reads the decisions topic without a group, from
the end it has when the generator starts. What it must remember of a message is a few numbers in arrays, some forty
bytes, so that millions do not fill its memory. Time runs from the moment a message is handed to the producer until its
decision is in the reader's hands.
"""

import asyncio
import math
from array import array
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Final, Literal, NamedTuple
from zlib import crc32

import msgspec

from spamguard.errors import PublishFailed, TopicUnfit
from spamguard.interfaces import Broker, Producer, Reader
from spamguard.load.traffic import Load, Traffic
from spamguard.types import Outgoing, Partition, Record

#: At a pace messages leave this often; a shorter tick costs more requests, a longer one more waiting.
TICK_S: Final = 0.01
#: Most messages made at once, about 5 ms.
CHUNK: Final = 500
#: Publications that may wait for their acknowledgement, so that a slow broker slows the generator and fills no memory.
IN_FLIGHT: Final = 8
#: After the last decision repeats may still come.
ENCORE_S: Final = 0.5
POLL_S: Final = 0.2
#: What a message's record is keyed by; without a key the records of a conversation go anywhere.
KeyBy = Literal["sender+recipient", "sender", "recipient", "none"]


class _Decided(msgspec.Struct, gc=False):
    """What is looked at of a decision."""

    message_id: str
    decision_id: str
    action: str
    late: bool = False
    degraded: bool = False


_DECODER: Final = msgspec.json.Decoder(_Decided)


class Plan(NamedTuple):
    """What is sent, and how long is waited."""

    inbound: str
    decisions: str
    rate: float  #: messages a second; 0 is as fast as possible
    messages: int | None  #: how many; None sends until the time is over
    seconds: float | None
    wait_s: float  #: patience: so long after the last message or decision, what is missing is lost
    key_by: KeyBy = "sender+recipient"


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from handing a message to the producer to its decision, over messages."""

    p50: float
    p95: float
    p99: float
    max: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent and what came back."""

    run: str
    sent: int  #: messages the broker acknowledged
    undecidable: int  #: of these without a readable id, so that no decision is due
    refused: int  #: messages whose publication failed
    decided: int  #: messages with a decision
    lost: int  #: messages that were due one and have none
    repeated: int  #: decisions that came again, with the same decision id
    conflicting: int  #: messages with decisions of different ids
    unexpected: int  #: decisions on messages of this run that could have none
    wrong_key: int
    wrong_partition: int
    late: int  #: decisions marked late
    degraded: int  #: decisions marked degraded
    blocked: int
    bytes_mean: float
    send_seconds: float
    seconds: float  #: from the first message to the last decision
    sent_per_second: float
    decided_per_second: float
    latency_ms: Latency | None  #: None when nothing was decided

    @property
    def whole(self) -> bool:
        """Return whether nothing was lost or refused."""
        return not self.lost and not self.refused


class Progress(NamedTuple):
    """How far it is."""

    sent: int
    decided: int
    missing: int
    seconds: float
    sent_per_second: float


class _Ledger:
    """What was sent and what came back, a few numbers a message."""

    def __init__(self, run: str) -> None:
        self._prefix = f"{run}-"
        self.sent_s = array("d")  #: NaN until it is handed over
        self.place = array("i")
        self.key = array("L")
        self.due = bytearray()
        self.seen = array("Q")  #: the first 8 bytes of its decision's id; 0 without one
        self.waits_s = array("d")
        self.sent = self.bytes = self.undecidable = self.refused = self.decided = 0
        self.repeated = self.conflicting = self.unexpected = self.wrong_key = self.wrong_partition = 0
        self.late = self.degraded = self.blocked = 0
        self.last_s = monotonic()  #: when something last happened

    @property
    def missing(self) -> int:
        """Return how many decisions are due."""
        return self.sent - self.undecidable - self.decided

    def add(self, load: Load, place: int, key: bytes | None, now_s: float) -> None:
        """Note a message that is handed to the producer."""
        self.sent_s.append(now_s)
        self.place.append(place)
        self.key.append(crc32(key or b""))
        self.due.append(load.decidable)
        self.seen.append(0)
        self.sent += 1
        self.bytes += len(load.value)
        self.undecidable += not load.decidable

    def refuse(self, loads: Sequence[Load]) -> None:
        """Note messages that the broker did not take; one that was decided nevertheless had arrived."""
        for load in loads:
            if load.decidable and self.seen[load.number]:
                continue
            self.due[load.number] = 0
            self.sent -= 1
            self.refused += 1
            self.undecidable -= not load.decidable

    def come(self, record: Record, now_s: float) -> None:
        """Note a decision; those on messages of others are passed over."""
        try:
            decision = _DECODER.decode(record.value or b"")
        except msgspec.MsgspecError:
            return
        if not decision.message_id.startswith(self._prefix):
            return
        self.last_s = now_s
        number = int(decision.message_id[len(self._prefix) :])
        identity = int(decision.decision_id[:16], 16) or 1
        if self.seen[number]:
            if self.seen[number] == identity:
                self.repeated += 1
            else:
                self.conflicting += 1
            return
        if not self.due[number]:
            self.unexpected += 1
            return
        self.seen[number] = identity
        self.decided += 1
        self.waits_s.append(now_s - self.sent_s[number])
        self.wrong_partition += record.partition.number != self.place[number]
        self.wrong_key += crc32(record.key or b"") != self.key[number]
        self.late += decision.late
        self.degraded += decision.degraded
        self.blocked += decision.action == "block"


class Generator:
    """Sends the messages of a plan and reports on their decisions."""

    def __init__(self, broker: Broker, traffic: Traffic, plan: Plan) -> None:
        self._broker = broker
        self._traffic = traffic
        self._plan = plan
        self._ledger = _Ledger(traffic.run)
        self._began_s = monotonic()
        self._send_s: float | None = None  #: how long sending took, once it is over

    def progress(self) -> Progress:
        """Return how far it is."""
        ledger, passed_s = self._ledger, monotonic() - self._began_s
        rate = ledger.sent / max(1e-9, self._send_s or passed_s)
        return Progress(ledger.sent, ledger.decided, ledger.missing, passed_s, rate)

    async def run(self) -> Report:
        """Send, wait, and report. Raises BrokerUnavailable or TopicUnfit before anything is sent."""
        plan = self._plan
        admin = self._broker.admin()
        try:
            partitions = (await admin.partitions([plan.inbound])).get(plan.inbound)
        finally:
            await admin.close()
        if partitions is None:
            raise TopicUnfit(detail=f"{plan.inbound} does not exist")
        reader, producer = self._broker.reader(plan.decisions), self._broker.producer()
        try:
            reader.seek({partition: end for partition, (_, end) in (await reader.start()).items()})
            await producer.start()
            reading = asyncio.create_task(self._read(reader))
            try:
                send_s = await self._send(producer, partitions)
                await self._await_decisions(reading)
            finally:
                reading.cancel()
                await asyncio.wait((reading,))
        finally:
            await producer.stop()
            await reader.stop()
        return self._report(send_s)

    async def _send(self, producer: Producer, partitions: int) -> float:
        """Send everything at its pace and return how long that took, acknowledgements included."""
        plan, ledger = self._plan, self._ledger
        flying: set[asyncio.Task[None]] = set()
        self._began_s = began_s = monotonic()
        most = math.inf if plan.messages is None else plan.messages
        made = 0
        while made < most:
            passed_s = monotonic() - began_s
            if plan.seconds is not None and passed_s >= plan.seconds:
                break
            due = most if not plan.rate else min(most, math.floor(passed_s * plan.rate) + 1)
            number = int(min(due - made, CHUNK))
            if number <= 0:
                await asyncio.sleep(max(TICK_S, (made - passed_s * plan.rate) / plan.rate))
                continue
            loads = self._traffic.take(number, now_ms=int(time() * 1000))
            made += number
            batches = self._batches(loads, partitions)
            flying.add(asyncio.create_task(self._publish(producer, batches)))
            while len(flying) >= IN_FLIGHT:
                _, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0 if not plan.rate or due - made >= CHUNK else TICK_S)
        if flying:
            await asyncio.wait(flying)
        ledger.last_s = monotonic()
        self._send_s = ledger.last_s - began_s
        return self._send_s

    def _batches(self, loads: Sequence[Load], partitions: int) -> dict[int, list[tuple[Load, Outgoing]]]:
        key_by, now_s = self._plan.key_by, monotonic()
        batches: dict[int, list[tuple[Load, Outgoing]]] = {}
        for load in loads:
            key = load.key if key_by == "sender+recipient" else _key(load, key_by)
            place = (load.number if key is None else crc32(key)) % partitions
            self._ledger.add(load, place, key, now_s)
            batches.setdefault(place, []).append((load, Outgoing(key=key, value=load.value)))
        return batches

    async def _publish(self, producer: Producer, batches: dict[int, list[tuple[Load, Outgoing]]]) -> None:
        async def one(place: int, batch: list[tuple[Load, Outgoing]]) -> None:
            try:
                await producer.publish(Partition(self._plan.inbound, place), [outgoing for _, outgoing in batch])
            except PublishFailed:
                self._ledger.refuse([load for load, _ in batch])

        await asyncio.gather(*(one(place, batch) for place, batch in batches.items()))

    async def _read(self, reader: Reader) -> None:
        while True:
            batch = await reader.poll(max_records=CHUNK, timeout_s=POLL_S)
            now_s = monotonic()
            for records in batch.values():
                for record in records:
                    self._ledger.come(record, now_s)
            if batch:
                await asyncio.sleep(0)

    async def _await_decisions(self, reading: asyncio.Task[None]) -> None:
        """Return when every decision is there, or none has come for as long as the plan waits."""
        ledger = self._ledger
        while ledger.missing > 0 and monotonic() - ledger.last_s < self._plan.wait_s and not reading.done():
            await asyncio.wait((reading,), timeout=0.02)
        if not reading.done():
            await asyncio.wait((reading,), timeout=ENCORE_S)
        if reading.done():
            reading.result()  # a reader ends only by an error

    def _report(self, send_s: float) -> Report:
        ledger = self._ledger
        waits = sorted(ledger.waits_s)
        whole_s = max(send_s, ledger.last_s - self._began_s)
        return Report(
            run=self._traffic.run,
            sent=ledger.sent,
            undecidable=ledger.undecidable,
            refused=ledger.refused,
            decided=ledger.decided,
            lost=ledger.missing,
            repeated=ledger.repeated,
            conflicting=ledger.conflicting,
            unexpected=ledger.unexpected,
            wrong_key=ledger.wrong_key,
            wrong_partition=ledger.wrong_partition,
            late=ledger.late,
            degraded=ledger.degraded,
            blocked=ledger.blocked,
            bytes_mean=round(ledger.bytes / max(1, ledger.sent), 1),
            send_seconds=round(send_s, 3),
            seconds=round(whole_s, 3),
            sent_per_second=round(ledger.sent / send_s if send_s else 0.0, 1),
            decided_per_second=round(ledger.decided / whole_s if whole_s else 0.0, 1),
            latency_ms=_latency(waits) if waits else None,
        )


def _latency(sorted_s: Sequence[float]) -> Latency:
    """Return percentiles that were measured (nearest rank), in milliseconds."""
    p50, p95, p99, most = (
        round(sorted_s[max(0, math.ceil(part / 100 * len(sorted_s)) - 1)] * 1000, 2) for part in (50, 95, 99, 100)
    )
    return Latency(p50=p50, p95=p95, p99=p99, max=most)


def _key(load: Load, key_by: KeyBy) -> bytes | None:
    if key_by == "none":
        return None
    sender, _, recipient = load.key.partition(b"|")
    return sender if key_by == "sender" else recipient


#: Called now and then with how far it is.
OnProgress = Callable[[Progress], None]


async def generate(generator: Generator, on_progress: OnProgress, *, every_s: float) -> Report:
    """Run a generator and say how far it is while it runs."""
    running = asyncio.create_task(generator.run())
    try:
        while not running.done():
            await asyncio.wait((running,), timeout=every_s)
            on_progress(generator.progress())
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait((running,))
    return running.result()
