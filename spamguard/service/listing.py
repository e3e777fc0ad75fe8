"""How do lists get into a service, and how are they read and changed by commands: on the topic, or in a file?"""

import asyncio
import csv
import io
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from spamguard.backends import list_files
from spamguard.backends.clock import SystemClock
from spamguard.config import Settings
from spamguard.core.codec import encode
from spamguard.core.entries import Fault, Key, expires_s, key_of
from spamguard.core.list_file import COLUMNS, ListReading, Row, read_lists, rows_in
from spamguard.core.lists import NO_LISTS, Lists
from spamguard.engine.filter import LiveFilter
from spamguard.engine.following import FileWatch
from spamguard.errors import BrokerUnavailable, ListRejected, TopicUnfit
from spamguard.interfaces import Broker, Clock
from spamguard.service import streams
from spamguard.stream.compacted import pieces
from spamguard.types import ListChange, ListEntry, Outgoing, Partition

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.5
#: Records a publication: far below what a broker takes at once.
BATCH: Final = 500
#: Letters and figures of an id that nobody takes for each other.
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"

_DECODER: Final = msgspec.json.Decoder(ListChange)


def new_id() -> str:
    """Return an id for a new entry; it says nothing of the entry, whose value may be somebody's number."""
    return "L" + "".join(secrets.choice(_ALPHABET) for _ in range(11))


def read_file(path: Path, *, now_s: float) -> ListReading:
    """Return what a file of entries says, and every fault. Raises ListRejected when it cannot be read at all."""
    return read_lists(list_files.lines(path), path.name, now_s=now_s)


def load_file(path: Path, *, now_s: float) -> Lists:
    """Return the lists of a file. Raises ListRejected, which names the first fault's line."""
    reading = read_file(path, now_s=now_s)
    if reading.lists is None:
        first, *more = reading.faults
        rest = f" (and {len(more)} more)" if more else ""
        raise ListRejected(detail=f"{path}:{first.line}: {first.sentence}{rest}")
    return reading.lists


class ListFile:
    """A file of entries as something to follow."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def look(self) -> object:
        """Return what tells its content from another."""
        return list_files.look(self._path)

    def load(self) -> tuple[object, Lists]:
        """Return the same and the lists."""
        seen = list_files.look(self._path)
        return seen, load_file(self._path, now_s=self._clock.now())


def first_lists(settings: Settings, clock: Clock) -> Lists:
    """Return the lists to start with: those of the file, where the settings name one. Raises ListRejected."""
    return NO_LISTS if settings.lists is None else load_file(settings.lists, now_s=clock.now())


async def follow_file(settings: Settings, engine: LiveFilter, clock: Clock, *, superseded: Callable[[], bool]) -> None:
    """Keep a live filter's lists as the file says, until the topic takes over; a file with a fault changes nothing."""
    if settings.lists is None:
        return
    source = ListFile(settings.lists, clock)

    def take(lists: Lists) -> None:
        if not superseded():
            engine.lists = lists
            log.info("lists_swapped", entries=len(lists))

    watch = FileWatch(
        source,
        in_use=await asyncio.to_thread(source.look),
        on_ready=take,
        on_refused=lambda why: log.error("lists_rejected", why=why),
    )
    while not superseded():
        await asyncio.sleep(LOOK_EVERY_S)
        await watch.look()


class Ledger(NamedTuple):
    """Every entry with what is known of its last change, for commands."""

    changes: Mapping[str, ListChange]  #: by id; those that are there

    def entries(self) -> Iterable[tuple[str, ListEntry]]:
        """Return the entries by id."""
        return [(identity, change.entry) for identity, change in self.changes.items() if change.entry is not None]

    def by_key(self) -> dict[Key, str]:
        """Return the id of each key; entries that break a rule are left out."""
        found = {}
        for identity, entry in self.entries():
            try:
                found[key_of(entry)] = identity
            except Fault:
                continue
        return found


async def read_topic(settings: Settings, *, broker: Broker | None = None) -> Ledger:
    """Return what the lists topic says now. Raises TopicUnfit or BrokerUnavailable."""
    reader = (broker or streams.kafka(settings)).reader(settings.lists_topic)
    changes: dict[str, ListChange] = {}
    async with aclosing(pieces(reader, clock=SystemClock(), topic=settings.lists_topic)) as found:
        async for piece in found:
            for record in piece.records:
                identity = (record.key or b"").decode("utf-8", "replace")
                changes.pop(identity, None)
                try:
                    change = None if record.value is None else _DECODER.decode(record.value)
                except (msgspec.MsgspecError, UnicodeError):
                    continue
                if change is not None and change.entry is not None:
                    changes[identity] = change
            if piece.whole:
                break
    return Ledger(changes)


async def write_topic(
    settings: Settings, changes: Sequence[tuple[str, ListChange]], *, broker: Broker | None = None
) -> None:
    """Write changes to the lists topic and return when all are acknowledged.

    Raises TopicUnfit, BrokerUnavailable or PublishFailed; then some of them may have been written.
    """
    broker = broker or streams.kafka(settings)
    admin, producer = broker.admin(), broker.producer()
    try:
        if settings.lists_topic not in await admin.partitions([settings.lists_topic]):
            raise TopicUnfit(detail=f"{settings.lists_topic} does not exist")
        await producer.start()
        for first in range(0, len(changes), BATCH):
            batch = [
                Outgoing(key=identity.encode(), value=encode(change))
                for identity, change in changes[first : first + BATCH]
            ]
            async with asyncio.timeout(settings.request_timeout_s):
                await producer.publish(Partition(settings.lists_topic, 0), batch)
    except TimeoutError:
        detail = f"no acknowledgement within {settings.request_timeout_s:g} s; some changes may still arrive"
        raise BrokerUnavailable(address=settings.brokers, detail=detail) from None
    finally:
        await producer.stop()
        await admin.close()


class Plan(NamedTuple):
    """What an import would write."""

    added: Sequence[tuple[str, ListEntry]]
    changed: Sequence[tuple[str, ListEntry]]
    removed: Sequence[str]
    same: int
    expired: int

    def changes(self, *, who: str, why: str, at: str) -> list[tuple[str, ListChange]]:
        """Return the records of the topic."""
        written = [
            (identity, ListChange(entry=entry, who=who, why=why, at=at))
            for identity, entry in (*self.added, *self.changed)
        ]
        return written + [(identity, ListChange(who=who, why=why, at=at)) for identity in self.removed]


def plan_import(path: Path, ledger: Ledger, *, now_s: float, replace: bool) -> Plan:
    """Return what importing a file would change; with `replace`, what the file does not name is taken away.

    An entry that is known by what it matches keeps its id. Raises ListRejected when the file has a fault, or says the
    contrary of an entry that is there and stays.
    """
    load_file(path, now_s=now_s)
    known = ledger.by_key()
    added, changed, named = [], [], set()
    same = expired = 0
    for row in rows_in(list_files.lines(path), path.name):
        if not isinstance(row, Row):
            continue
        if 0 < expires_s(row.entry) <= now_s:
            expired += 1
            continue
        own = not row.identity.endswith(f":{row.line}")
        held = known.get(key_of(row.entry))
        identity = held or (row.identity if own else new_id())
        named.add(identity)
        before = ledger.changes.get(identity)
        if before is None:
            added.append((identity, row.entry))
        elif before.entry == row.entry:
            same += 1
        else:
            changed.append((identity, row.entry))
    removed = sorted(ledger.changes.keys() - named) if replace else []
    return Plan(added, changed, removed, same, expired)


def csv_of(entries: Iterable[tuple[str, ListEntry]]) -> str:
    """Return entries as a file."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for identity, entry in entries:
        writer.writerow([identity, *(str(getattr(entry, column)) for column in COLUMNS[1:])])
    return written.getvalue()
