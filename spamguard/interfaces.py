"""What do we need from the world outside, and what may we not assume of it?

Written for the person who implements one of these. Each has a real life in `backends` and a second, in-memory one
that ships beside it; one contract suite (tests/contracts) is run by both.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence, Set
from typing import Protocol

from spamguard.types import Offsets, Outgoing, Partition, Record

#: Called with the partitions that are being taken away, before they are gone; it may await the batch in flight.
OnRevoked = Callable[[frozenset[Partition]], Awaitable[None]]
#: Called with the whole assignment after a rebalance; it may be empty.
OnAssigned = Callable[[frozenset[Partition]], Awaitable[None]]


class Consumer(Protocol):
    """A member of a consumer group over one set of topics; offsets are committed by the caller, never by itself."""

    async def start(self, *, on_assigned: OnAssigned, on_revoked: OnRevoked) -> None:
        """Connect and begin to join the group; `joined` tells when it has. Raises BrokerUnavailable or TopicUnfit."""

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what is there, in offset order per partition, or an empty mapping after `timeout_s`.

        No partition waits for the whole backlog of another. Records of paused partitions are not returned, nor any that
        were fetched for an assignment that `on_revoked` was told of since: what was not committed then comes again. May
        raise BrokerUnavailable, which is retriable.
        """

    async def commit(self, offsets: Offsets, *, timeout_s: float) -> None:
        """Commit the next offset to read, per partition.

        Raises CommitRefused when the group has moved on, which must not be retried, and BrokerUnavailable when no
        answer comes within `timeout_s`.
        """

    async def committed(self, partition: Partition) -> int | None:
        """Return the committed next offset of a partition, or None."""

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Stop delivering these partitions, until resumed or rebalanced, without giving them up; others are ignored."""

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Deliver these partitions again."""

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions this member holds now."""

    def joined(self) -> bool:
        """Return whether the member belongs to the group, even with no partition."""

    def lag(self) -> Mapping[Partition, int]:
        """Return how many records each held partition has beyond the position, as far as is known."""

    async def stop(self) -> None:
        """Leave the group and close. Never raises."""


class Reader(Protocol):
    """Reads one topic without a group, from wherever the caller says; it commits nothing and disturbs nobody."""

    async def start(self) -> Mapping[Partition, tuple[int, int]]:
        """Connect and return, per partition, the oldest offset that is kept and the next one to be written.

        Raises BrokerUnavailable, and TopicUnfit when there is no such topic.
        """

    async def offsets_at(self, timestamp_ms: int) -> Offsets:
        """Return the offset of each partition's first record of that moment or later, or of its end."""

    def seek(self, offsets: Offsets) -> None:
        """Read these partitions, and no others, from these offsets on; one no longer kept moves to the oldest kept."""

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what is there, in offset order per partition, or an empty mapping after `timeout_s`.

        Nothing is read before the first `seek`. May raise BrokerUnavailable.
        """

    async def stop(self) -> None:
        """Close. Never raises."""


class Producer(Protocol):
    """An idempotent publisher: a batch is acknowledged by all in-sync replicas or raises."""

    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable."""

    async def publish(self, partition: Partition, batch: Sequence[Outgoing]) -> None:
        """Publish in order to one partition and return when all are acknowledged. Raises PublishFailed."""

    async def publish_each(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> Set[Partition]:
        """Publish to several partitions together, and return those of which not all was acknowledged."""

    async def stop(self) -> None:
        """Flush and close. Never raises."""


class Admin(Protocol):
    """What the preflight and the start-up checks ask of a broker."""

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return the number of partitions of each topic that exists. Raises BrokerUnavailable."""

    async def create(self, topics: Mapping[str, int], *, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Create the topics with that many partitions and those settings; one that exists is left as it is.

        They can be used when this returns. Raises BrokerUnavailable, and TopicUnfit when one cannot be created.
        """

    async def cleanup_policies(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Return the `cleanup.policy` of each topic that exists. Raises BrokerUnavailable, also when it may not ask."""

    async def group_lag(self, group: str, topic: str) -> Mapping[Partition, int]:
        """Return how far the group's committed offsets are behind the end of the topic."""

    async def newest_timestamp_ms(self, topic: str) -> int | None:
        """Return the newest record's timestamp in epoch milliseconds, or None when the topic is empty."""

    async def close(self) -> None:
        """Close. Never raises."""


class Broker(Protocol):
    """Where consumers, producers and admins come from."""

    def consumer(self, topics: Sequence[str], *, group: str, member: str | None = None) -> Consumer:
        """Return a consumer that is not yet started; `member` makes the membership static."""

    def reader(self, topic: str) -> Reader:
        """Return a reader without a group that is not yet started."""

    def producer(self, *, patience_s: float | None = None) -> Producer:
        """Return a producer that is not yet started.

        It waits for acknowledgements without a limit; with `patience_s` it gives up, with PublishFailed, a batch that
        the brokers have not acknowledged for so long although they answer other questions: too few replicas, say. What
        was given up may still arrive.
        """

    def admin(self) -> Admin:
        """Return an admin; it connects at its first call."""

    def follow(self, topic: str) -> AsyncGenerator[Sequence[Record]]:
        """Yield a topic's records from the beginning, without a group, and then what comes, without an end.

        The first batch is all that was there when it began, and may be empty; later ones come within moments of their
        record. Of a compacted topic, a key's older records may be missing. Raises TopicUnfit when there is no such
        topic, and BrokerUnavailable when it cannot be read (any more): whoever goes on then begins anew.
        """


class Metrics(Protocol):
    """Counts and times for operators; every name stands in the table of `backends.metrics`."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""

    def observe(self, name: str, values: Sequence[float]) -> None:
        """Add observations to a histogram."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""

    def forget(self, name: str, **labels: str) -> None:
        """Take a gauge's label set away, so that it is no longer shown; one that was never set is none."""


class Clock(Protocol):
    """Wall time and a monotonic stopwatch, so that tests can hold them."""

    def now(self) -> float:
        """Return the wall time in seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
