"""How is a large compacted topic read whole, in pieces that fit into memory, and then followed?

`Broker.follow` gives everything that was there in one batch, which is right for a handful of orders and wrong for a
million entries. Here a reader without a group is asked piece by piece. A silent broker looks like a silent topic, so
after some seconds of silence it is asked where the topic ends.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from spamguard.errors import BrokerUnavailable
from spamguard.interfaces import Clock, Reader
from spamguard.types import Offsets, Record

MAX_RECORDS: Final = 5000
#: How long one question waits for records: also how long a change may take to be asked for.
POLL_S: Final = 0.5
PROBE_EVERY_S: Final = 5.0
#: Where compaction took the last offsets away, nothing comes any more: so long is waited for them.
GIVE_UP_S: Final = 3.0
#: Further ahead than any record's moment: a reader answers with the topic's end.
NEVER_MS: Final = 1 << 52


class Piece(NamedTuple):
    """Some records, and whether they end what was there when the reading began."""

    records: Sequence[Record]
    whole: bool


async def pieces(reader: Reader, *, clock: Clock, topic: str) -> AsyncGenerator[Piece]:
    """Yield a topic's records from the beginning, and then what comes, without an end.

    Pieces are empty while nothing comes. Raises TopicUnfit when there is no such topic, and BrokerUnavailable when it
    cannot be read (any more), or was made anew: whoever goes on then begins anew.
    """
    try:
        spans = await reader.start()
        positions = {partition: start for partition, (start, _) in spans.items()}
        ends: Offsets = {partition: end for partition, (_, end) in spans.items()}
        reader.seek(positions)
        whole = _reached(positions, ends)
        if whole:
            yield Piece((), True)
        heard_s = probed_s = clock.monotonic()
        while True:
            found = await reader.poll(max_records=MAX_RECORDS, timeout_s=POLL_S)
            records = [record for place in found.values() for record in place]
            now_s = clock.monotonic()
            for record in records:
                heard_s = probed_s = now_s
                positions[record.partition] = record.offset + 1
            if not records and now_s - probed_s > PROBE_EVERY_S:
                probed_s, before, ends = now_s, ends, await reader.offsets_at(NEVER_MS)
                if any(ends.get(place, 0) < position for place, position in positions.items()):
                    raise BrokerUnavailable(address=topic, detail=f"{topic} was made anew")
                if whole and not _reached(positions, before):
                    raise BrokerUnavailable(address=topic, detail=f"{topic} has records it does not give")
            whole = whole or _reached(positions, ends) or now_s - heard_s > GIVE_UP_S
            yield Piece(records, whole)
    finally:
        await reader.stop()


def _reached(positions: Offsets, ends: Offsets) -> bool:
    return all(positions.get(place, 0) >= end for place, end in ends.items())
