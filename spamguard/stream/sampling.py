"""Where do sampled disagreements of champion and challenger go?

To a topic of their own, through a producer of their own: whatever happens to it, the one that publishes decisions does
not notice. Records carry the decision's id as key, since the inbound key is made of numbers.
"""

from collections.abc import Sequence
from zlib import crc32

from spamguard.core.codec import encode
from spamguard.interfaces import Producer
from spamguard.types import Outgoing, Partition, ShadowReport


class ShadowSamples:
    """Publishes samples; the producer is connected with the first one."""

    def __init__(self, producer: Producer, *, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._started = False

    async def publish(self, reports: Sequence[ShadowReport]) -> None:
        """Publish reports, those of one decision always to the same partition. Raises what the producer raises."""
        if not self._started:
            await self._producer.start()
            self._started = True
        batches: dict[Partition, list[Outgoing]] = {}
        for report in reports:
            key = report.decision_id.encode()
            place = Partition(self._topic, crc32(key) % self._partitions)
            batches.setdefault(place, []).append(Outgoing(key=key, value=encode(report)))
        for place, batch in batches.items():
            await self._producer.publish(place, batch)

    async def close(self) -> None:
        """Close the producer."""
        await self._producer.stop()
