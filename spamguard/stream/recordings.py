"""What was recorded, in files or in a topic, and what was decided on it then?

A record is a message, a review copy (a message with its decision) or a decision alone, which holds no text; all are
told apart by what stands in them. Files are read line by line and a topic in batches, so that any size takes the same
memory. Nothing is published and no group is joined.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from spamguard.core.codec import decode_message
from spamguard.errors import DataError
from spamguard.interfaces import Reader
from spamguard.stream.dead_letters import between
from spamguard.types import DeadReason, Decision, Message, Offsets

BATCH: Final = 512


class Recorded(NamedTuple):
    """One record."""

    message: Message | None  #: None for a decision alone
    decision: Decision | None  #: what was decided then, where it is known
    label: str | None = None  #: spam or ham, where somebody said so


class _Kind(msgspec.Struct):
    """What tells the kinds of records apart."""

    message: Any = None
    decision: Any = None
    action: Any = None
    message_id: Any = None
    id: Any = None
    text: Any = None
    label: Any = None


_KIND: Final = msgspec.json.Decoder(_Kind)
_DECISION: Final = msgspec.json.Decoder(Decision)


def read_record(value: bytes | None) -> Recorded | None:
    """Return what a record holds, None for nothing that can be read."""
    try:
        kind = _KIND.decode(value or b"")
        if kind.message is not None and kind.decision is not None:
            message = decode_message(msgspec.json.encode(kind.message))
            decision = msgspec.convert(kind.decision, Decision)
            return None if isinstance(message, DeadReason) else Recorded(message, decision)
        if kind.action is not None:
            return Recorded(None, _DECISION.decode(value or b""))
        if kind.message_id is None and isinstance(kind.text, str):  # a row of a corpus
            identity = kind.id if isinstance(kind.id, str) and kind.id else "row"
            return Recorded(Message(message_id=identity, text=kind.text), None, _label(kind.label))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        kind = _Kind()
    message = decode_message(value)
    return None if isinstance(message, DeadReason) else Recorded(message, None, _label(kind.label))


def _label(stated: Any) -> str | None:
    return stated if stated in ("spam", "ham") else None


class Recordings:
    """What files or a topic hold, in batches; counts what holds nothing readable."""

    def __init__(self) -> None:
        self.unreadable = 0

    def of_files(self, paths: Sequence[Path]) -> Iterator[list[Recorded]]:
        """Yield the records as they stand. Raises DataError for a file that cannot be read."""
        for path in paths:
            batch: list[Recorded] = []
            try:
                with path.open("rb") as stream:
                    for line in stream:
                        self._take(line, batch)
                        if len(batch) >= BATCH:
                            yield batch
                            batch = []
            except OSError as error:
                raise DataError(detail=f"{path} cannot be read ({error.strerror})") from None
            if batch:
                yield batch

    async def of_topic(
        self, reader: Reader, *, since_ms: int | None = None, until_ms: int | None = None
    ) -> AsyncIterator[list[Recorded]]:
        """Yield what a topic holds between two moments, up to the end it has now.

        Raises TopicUnfit, BrokerUnavailable, and DataError when the broker falls silent.
        """
        bounds = await reader.start()
        first: Offsets = {partition: start for partition, (start, _) in bounds.items()}
        ends = {partition: end for partition, (_, end) in bounds.items()}
        if since_ms is not None:
            first = await reader.offsets_at(since_ms)
        if until_ms is not None:
            last = await reader.offsets_at(until_ms)
            ends = {partition: min(end, last.get(partition, end)) for partition, end in ends.items()}
        batch: list[Recorded] = []
        async for record in between(reader, first, ends):
            self._take(record.value or b"", batch)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _take(self, value: bytes, batch: list[Recorded]) -> None:
        if not value.strip():
            return
        found = read_record(value)
        if found is None:
            self.unreadable += 1
        else:
            batch.append(found)
