"""How does the stream run without a broker: in the demo, in tests, and to try a failure on purpose?

Topics, partitions and consumer groups in this process's memory, with Kafka's meaning: committed offsets, an awaited
rebalance when members come and go, records redelivered from the committed offset. `refuse` makes the next calls fail
the way a broker does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from time import time
from typing import Final

from spamguard.backends.each import publish_beside
from spamguard.errors import BrokerUnavailable, CommitRefused, PublishFailed, TopicUnfit
from spamguard.interfaces import OnAssigned, OnRevoked
from spamguard.types import Offsets, Outgoing, Partition, Record

#: What Kafka's default `message.max.bytes` leaves for one record.
MAX_RECORD_BYTES: Final = 1_048_500


class _Group:
    """The members of one group and what they committed."""

    def __init__(self) -> None:
        self.members: list[MemoryConsumer] = []
        self.committed: dict[Partition, int] = {}
        self.lock = asyncio.Lock()


class MemoryBroker:
    """A broker in memory; create one a process and hand it to whoever needs a `Broker`."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self.logs: dict[str, list[list[Record]]] = {}
        self.arrived = asyncio.Event()
        self.deleted: dict[Partition, int] = {}  #: the oldest offset kept, where a reader is to find records deleted
        self.policies: dict[str, str] = {}  #: cleanup policies, where one was given
        self._groups: dict[str, _Group] = {}
        self._refusals: dict[str, int] = {}
        for topic, partitions in (topics or {}).items():
            self.add_topic(topic, partitions)

    def add_topic(self, topic: str, partitions: int) -> None:
        """Create a topic; one that exists is left as it is."""
        self.logs.setdefault(topic, [[] for _ in range(partitions)])

    def group(self, name: str) -> _Group:
        """Return a group, made at its first mention."""
        return self._groups.setdefault(name, _Group())

    def refuse(self, what: str, times: int = 1) -> None:
        """Let the next `times` calls fail: publishing to the topic `what`, or 'commit', 'poll' or 'follow'."""
        self._refusals[what] = times

    async def waited(
        self, take: Callable[[], dict[Partition, Sequence[Record]]], timeout_s: float
    ) -> dict[Partition, Sequence[Record]]:
        """Return what is there, or what there is once something has arrived; nothing when that takes too long."""
        if found := take():
            return found
        self.arrived.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self.arrived.wait()
        except TimeoutError:
            return {}
        return take()

    def refuses(self, what: str) -> bool:
        """Return whether this call is to fail, and count it."""
        left = self._refusals.get(what, 0)
        self._refusals[what] = max(0, left - 1)
        return left > 0

    def append(self, partition: Partition, batch: Sequence[Outgoing], timestamp_ms: int | None = None) -> None:
        """Write records as a producer would."""
        log = self.logs[partition.topic][partition.number]
        stamp = int(time() * 1000) if timestamp_ms is None else timestamp_ms
        for outgoing in batch:
            log.append(
                Record(
                    partition=partition,
                    offset=len(log),
                    key=outgoing.key,
                    value=outgoing.value,
                    timestamp_ms=stamp,
                )
            )
        self.arrived.set()

    def records(self, topic: str) -> list[Record]:
        """Return everything in a topic, by partition."""
        return [record for log in self.logs[topic] for record in log]

    def consumer(self, topics: Sequence[str], *, group: str, member: str | None = None) -> "MemoryConsumer":
        """Return a consumer that is not yet started."""
        return MemoryConsumer(self, topics, self.group(group), member)

    def reader(self, topic: str) -> "MemoryReader":
        """Return a reader that is not yet started."""
        return MemoryReader(self, topic)

    def producer(self, *, patience_s: float | None = None) -> "MemoryProducer":
        """Return a producer; memory acknowledges or refuses at once."""
        return MemoryProducer(self)

    def admin(self) -> "MemoryAdmin":
        """Return an admin."""
        return MemoryAdmin(self)

    async def follow(self, topic: str) -> AsyncGenerator[Sequence[Record]]:
        """Yield everything, and then what comes."""
        if self.refuses("follow"):
            raise BrokerUnavailable(address="memory", detail="refused on purpose")
        if topic not in self.logs:
            raise TopicUnfit(detail=f"{topic} does not exist")
        positions = [0] * len(self.logs[topic])
        first = True
        while True:
            found = [record for log, at in zip(self.logs[topic], positions, strict=True) for record in log[at:]]
            positions = [len(log) for log in self.logs[topic]]
            if found or first:
                first = False
                yield found
            else:
                self.arrived.clear()
                await self.arrived.wait()


class MemoryConsumer:
    """A member of a group."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], group: _Group, member: str | None) -> None:
        self._broker = broker
        self._topics = tuple(topics)
        self._group = group
        self._member = member
        self._positions: dict[Partition, int] = {}
        self._paused: frozenset[Partition] = frozenset()
        self._joined = False
        self._moving = False  #: a rebalance goes on, and nothing is delivered

    async def start(self, *, on_assigned: OnAssigned, on_revoked: OnRevoked) -> None:
        """Join the group."""
        for topic in self._topics:
            if topic not in self._broker.logs:
                raise TopicUnfit(detail=f"{topic} does not exist")
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        await self._rebalance(joining=True)

    async def _rebalance(self, *, joining: bool) -> None:
        async with self._group.lock:
            members = self._group.members
            for member in members:
                member._moving = True
                await member._on_revoked(frozenset(member._positions))
                member._positions, member._paused = {}, frozenset()
            if joining:
                members.append(self)
            else:
                members.remove(self)
            partitions = [Partition(t, n) for t in self._topics for n in range(len(self._broker.logs[t]))]
            for place, member in enumerate(members):
                mine = partitions[place :: len(members)]
                member._positions = {partition: self._group.committed.get(partition, 0) for partition in mine}
                member._joined, member._moving = True, False
                await member._on_assigned(frozenset(mine))
        self._broker.arrived.set()

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what is there, or wait."""
        if self._broker.refuses("poll"):
            raise BrokerUnavailable(address="memory", detail="refused on purpose")
        await asyncio.sleep(0)  # before anything is taken: what is returned belongs to the assignment of this moment
        return await self._broker.waited(lambda: self._take(max_records), timeout_s)

    def _take(self, most: int) -> dict[Partition, Sequence[Record]]:
        found: dict[Partition, Sequence[Record]] = {}
        for partition, position in self._positions.items():
            if self._moving or partition in self._paused or most <= 0:
                continue
            records = self._broker.logs[partition.topic][partition.number][position : position + most]
            if records:
                found[partition] = records
                self._positions[partition] = position + len(records)
                most -= len(records)
        for partition in found:  # what was served now is served last next time
            self._positions[partition] = self._positions.pop(partition)
        return found

    async def commit(self, offsets: Offsets, *, timeout_s: float) -> None:
        """Commit."""
        if self._broker.refuses("commit"):
            raise CommitRefused(detail="refused on purpose")
        lost = offsets.keys() - self._positions.keys()
        self._group.committed.update({place: offset for place, offset in offsets.items() if place not in lost})
        if lost:
            raise CommitRefused(detail=f"lost in a rebalance: {', '.join(str(place.number) for place in sorted(lost))}")

    async def committed(self, partition: Partition) -> int | None:
        """Return the committed next offset."""
        return self._group.committed.get(partition)

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Stop delivering these."""
        self._paused |= partitions

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Deliver these again."""
        self._paused -= partitions
        self._broker.arrived.set()

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions held."""
        return frozenset(self._positions)

    def joined(self) -> bool:
        """Return whether it belongs to the group."""
        return self._joined

    def lag(self) -> Mapping[Partition, int]:
        """Return what is still to read."""
        return {p: len(self._broker.logs[p.topic][p.number]) - at for p, at in self._positions.items()}

    async def stop(self) -> None:
        """Leave the group."""
        if self in self._group.members:
            await self._rebalance(joining=False)
        self._positions = {}
        self._joined = False


class MemoryReader:
    """Reads a topic without a group."""

    def __init__(self, broker: MemoryBroker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._positions: dict[Partition, int] = {}

    def _logs(self) -> dict[Partition, list[Record]]:
        return {Partition(self._topic, number): log for number, log in enumerate(self._broker.logs[self._topic])}

    async def start(self) -> Mapping[Partition, tuple[int, int]]:
        """Return where the topic begins and ends; memory forgets the oldest records only where a test deletes them."""
        if self._topic not in self._broker.logs:
            raise TopicUnfit(detail=f"{self._topic} does not exist")
        return {
            partition: (self._broker.deleted.get(partition, 0), len(log)) for partition, log in self._logs().items()
        }

    async def offsets_at(self, timestamp_ms: int) -> Offsets:
        """Return the first offsets of a moment."""
        return {
            partition: next((record.offset for record in log if record.timestamp_ms >= timestamp_ms), len(log))
            for partition, log in self._logs().items()
        }

    def seek(self, offsets: Offsets) -> None:
        """Read from these offsets on."""
        self._positions = dict(offsets)

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what is there, or wait."""
        await asyncio.sleep(0)
        return await self._broker.waited(lambda: self._take(max_records), timeout_s)

    def _take(self, most: int) -> dict[Partition, Sequence[Record]]:
        found: dict[Partition, Sequence[Record]] = {}
        for partition, position in self._positions.items():
            first = max(position, self._broker.deleted.get(partition, 0))
            records = self._broker.logs[partition.topic][partition.number][first : first + max(0, most)]
            if records:
                found[partition] = records
                self._positions[partition] = first + len(records)
                most -= len(records)
        return found

    async def stop(self) -> None:
        """Nothing to close."""


class MemoryProducer:
    """Writes into the broker's memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        """Nothing to connect."""

    async def publish(self, partition: Partition, batch: Sequence[Outgoing]) -> None:
        """Write a batch."""
        if self._broker.refuses(partition.topic):
            raise PublishFailed(topic=partition.topic, detail="refused on purpose")
        if partition.number >= len(self._broker.logs.get(partition.topic, ())):
            raise PublishFailed(topic=partition.topic, detail=f"there is no partition {partition.number}")
        if any(len(outgoing.key or b"") + len(outgoing.value or b"") > MAX_RECORD_BYTES for outgoing in batch):
            raise PublishFailed(topic=partition.topic, detail="a record is too large")
        self._broker.append(partition, batch)

    async def publish_each(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> Set[Partition]:
        """Write several batches."""
        return await publish_beside(self.publish, batches)

    async def stop(self) -> None:
        """Nothing to close."""


class MemoryAdmin:
    """Looks into the broker's memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return how many partitions each topic has."""
        return {topic: len(self._broker.logs[topic]) for topic in topics if topic in self._broker.logs}

    async def create(self, topics: Mapping[str, int], *, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Create topics; memory keeps everything, whatever the cleanup policy says."""
        for topic, partitions in topics.items():
            if topic not in self._broker.logs and (policy := configs.get(topic, {}).get("cleanup.policy")):
                self._broker.policies[topic] = policy
            self._broker.add_topic(topic, partitions)

    async def cleanup_policies(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Return what the topics were created with."""
        return {topic: self._broker.policies.get(topic, "delete") for topic in topics if topic in self._broker.logs}

    async def group_lag(self, group: str, topic: str) -> Mapping[Partition, int]:
        """Return how far a group is behind."""
        committed = self._broker.group(group).committed
        logs = self._broker.logs.get(topic, [])
        return {
            Partition(topic, number): len(log) - committed.get(Partition(topic, number), 0)
            for number, log in enumerate(logs)
        }

    async def newest_timestamp_ms(self, topic: str) -> int | None:
        """Return the newest timestamp."""
        return max((log[-1].timestamp_ms for log in self._broker.logs.get(topic, []) if log), default=None)

    async def close(self) -> None:
        """Nothing to close."""
