"""How does a producer that publishes a batch at a time publish to several partitions at once?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

from spamguard.errors import PublishFailed
from spamguard.types import Outgoing, Partition


async def publish_beside(
    publish: Callable[[Partition, Sequence[Outgoing]], Awaitable[None]],
    batches: Mapping[Partition, Sequence[Outgoing]],
) -> Set[Partition]:
    """Publish all batches beside each other and return the partitions that did not take theirs."""
    failed = set[Partition]()

    async def one(place: Partition, batch: Sequence[Outgoing]) -> None:
        try:
            await publish(place, batch)
        except PublishFailed:
            failed.add(place)

    await asyncio.gather(*map(one, batches, batches.values()))
    return failed
