"""How does what a reviewer decided reach the stream, whatever dies in between?

The transaction that decides also writes what must be published. A relay reads that, publishes, and takes it off the
list when the broker has acknowledged. Killed before the acknowledgement, it publishes again after its start, under the
same id: repeats are possible, losses are not. A release is put together from the encrypted message when it is
published, so no number lies in the outbox. A list entry is published as it stands at that moment, under an id made of
its own: the compacted topic keeps the last.
"""

import asyncio
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zlib import crc32

import structlog
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from spamguard.core.codec import encode
from spamguard.errors import BrokerUnavailable, PublishFailed
from spamguard.interfaces import Clock, Metrics, Producer
from spamguard.review.database import Database
from spamguard.review.shown import entry_value, message_of
from spamguard.review.tables import decisions, entries, outbox, releases, verdicts
from spamguard.review.values import EntryStatus
from spamguard.review.vault import Vault
from spamguard.types import Label, ListChange, ListEntry, ListKind, Outgoing, Partition, Release, Treatment

log = structlog.get_logger()

RELEASE: Final = "release"
LABEL: Final = "label"
LIST: Final = "list"
BATCH: Final = 200
#: How often the outbox is looked at while nothing is in it, and how long a failed publish waits.
LOOK_S: Final = 0.25
RETRY_S: Final = 1.0


def release_id(decision_id: str) -> str:
    """Return the id of a decision's release: the same for every order and every repeat."""
    return hashlib.blake2b(f"release\0{decision_id}".encode(), digest_size=16).hexdigest()


def label_id(item_id: str, verdict_id: int) -> str:
    """Return the id of a verdict's label."""
    return hashlib.blake2b(f"label\0{item_id}\0{verdict_id}".encode(), digest_size=16).hexdigest()


def list_id(receipt: str, entry_id: int) -> str:
    """Return the id that workers know a list entry by; it tells nobody the receipt number."""
    return "R" + hashlib.blake2b(f"list\0{receipt}\0{entry_id}".encode(), digest_size=8).hexdigest()


def put_entry(connection: Connection, entry_id: int, *, now_ms: int, withdrawn_by: str = "") -> None:
    """Publish a list entry as it stands, in the transaction that changes it; the body says who took it away."""
    connection.execute(insert(outbox).values(kind=LIST, ref=str(entry_id), body=withdrawn_by, at_ms=now_ms))


def put_releases(
    connection: Connection,
    decision_ids: Sequence[str],
    item_seq: int,
    verdict_id: int | None,
    *,
    who: str,
    reason: str,
    now_ms: int,
) -> None:
    """Order releases, in the transaction of the verdict."""
    rows = [
        {
            "release_id": release_id(decision_id),
            "decision_id": decision_id,
            "item_seq": item_seq,
            "verdict_id": verdict_id,
            "who": who,
            "reason": reason,
            "at_ms": now_ms,
        }
        for decision_id in decision_ids
    ]
    if rows:
        connection.execute(insert(releases), rows)
        ordered = [{"kind": RELEASE, "ref": row["release_id"], "body": "", "at_ms": now_ms} for row in rows]
        connection.execute(insert(outbox), ordered)


def recall_releases(connection: Connection, verdict_id: int) -> tuple[int, int]:
    """Call back the releases of a verdict; return how many were in time, and how many were being published already."""
    ordered = set(
        connection.execute(select(releases.c.release_id).where(releases.c.verdict_id == verdict_id)).scalars()
    )
    if not ordered:
        return 0, 0
    waiting = select(outbox.c.ref).where(
        outbox.c.kind == RELEASE, outbox.c.ref.in_(ordered), outbox.c.taken_ms.is_(None)
    )
    recalled = list(connection.execute(waiting.with_for_update()).scalars())
    connection.execute(delete(outbox).where(outbox.c.ref.in_(recalled)))
    connection.execute(delete(releases).where(releases.c.release_id.in_(recalled)))
    return len(recalled), len(ordered) - len(recalled)


def put_label(
    connection: Connection, item: Mapping[str, Any], verdict_id: int, *, who: str, trust: str, now_ms: int
) -> None:
    """Publish what an item is, in the transaction of the verdict that says so."""
    oldest = (
        select(decisions.c.decision_id, decisions.c.message_id)
        .where(decisions.c.item_seq == item["seq"])
        .order_by(decisions.c.decided_ms)
        .limit(1)
    )
    found = connection.execute(oldest).first()
    if found is None:
        return
    body = Label(
        label_id=label_id(item["id"], verdict_id),
        decision_id=found.decision_id,
        message_id=found.message_id,
        label=str(item["label"]),
        category=item["label_category"],
        reader=who,
        trust=trust,
        copies=item["copies"],
        model=item["model"],
        score=item["score"],
        labelled_at=_moment(now_ms),
    )
    connection.execute(insert(outbox).values(kind=LABEL, ref=str(verdict_id), body=encode(body).decode(), at_ms=now_ms))


def withdraw_label(connection: Connection, verdict_id: int, *, now_ms: int) -> None:
    """Take a verdict's label back: from the outbox while it waits there, else by a label that says so."""
    mine = (outbox.c.kind == LABEL) & (outbox.c.ref == str(verdict_id))
    waiting = connection.execute(select(outbox).where(mine).with_for_update()).first()
    if waiting is not None and waiting.taken_ms is None:
        connection.execute(delete(outbox).where(mine))
        return
    verdict = connection.execute(select(verdicts).where(verdicts.c.id == verdict_id)).one()
    oldest = (
        select(decisions.c.decision_id, decisions.c.message_id)
        .where(decisions.c.item_seq == verdict.item_seq)
        .order_by(decisions.c.decided_ms)
        .limit(1)
    )
    found = connection.execute(oldest).first()
    if found is None:
        return
    body = Label(
        label_id=label_id(verdict.item_id, verdict_id),
        decision_id=found.decision_id,
        message_id=found.message_id,
        label=verdict.label,
        category=verdict.category,
        reader=verdict.who,
        trust={"first": "one", "second": "two"}.get(verdict.reading, "settled"),
        model=verdict.model,
        labelled_at=_moment(now_ms),
        withdrawn=True,
    )
    connection.execute(
        insert(outbox).values(kind=LABEL, ref=f"{verdict_id}-withdrawn", body=encode(body).decode(), at_ms=now_ms)
    )


class Pending(NamedTuple):
    """A record that is to be published."""

    seq: int
    kind: str
    outgoing: Outgoing
    entry: tuple[int, str] | None = None  #: of a list entry its id and the status that is published


class Outbox:
    """The list of what is to be published."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    def take(self, limit: int = BATCH, *, kinds: Collection[str] = (RELEASE, LABEL, LIST)) -> list[Pending]:
        """Return what is to be published next, oldest first; from now on it cannot be called back."""
        now = int(self._clock.now() * 1000)
        query = select(outbox).where(outbox.c.kind.in_(kinds)).order_by(outbox.c.seq).limit(limit)
        with self._database.write() as connection:
            rows = list(connection.execute(query.with_for_update()))
            if rows:
                seqs = [row.seq for row in rows]
                connection.execute(update(outbox).where(outbox.c.seq.in_(seqs)).values(taken_ms=now))
            return [self._pending(connection, row) for row in rows]

    def done(self, pending: Sequence[Pending]) -> None:
        """Take off the list what the broker has acknowledged."""
        now = int(self._clock.now() * 1000)
        seqs = [one.seq for one in pending]
        with self._database.write() as connection:
            refs = select(outbox.c.ref).where(outbox.c.seq.in_(seqs), outbox.c.kind == RELEASE)
            connection.execute(
                update(releases)
                .where(releases.c.release_id.in_(list(connection.execute(refs).scalars())))
                .values(published_ms=now)
            )
            connection.execute(delete(outbox).where(outbox.c.seq.in_(seqs)))
            for entry_id, status in dict(one.entry for one in pending if one.entry).items():
                as_it_is = (entries.c.id == entry_id) & (entries.c.status == status)
                if not connection.execute(update(entries).where(as_it_is).values(published_ms=now)).rowcount:
                    # It changed meanwhile, and another process may have said so before this one: say it once more.
                    put_entry(connection, entry_id, now_ms=now)

    def waiting(self) -> int:
        """Return how much is to be published."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(outbox)).scalar_one())

    def _pending(self, connection: Connection, row: Any) -> Pending:
        if row.kind != LIST:
            return Pending(row.seq, row.kind, self._outgoing(connection, row))
        entry = connection.execute(select(entries).where(entries.c.id == int(row.ref))).one()
        return Pending(
            row.seq, row.kind, _list_change(entry, row, entry_value(entry, self._vault)), (entry.id, entry.status)
        )

    def _outgoing(self, connection: Connection, row: Any) -> Outgoing:
        if row.kind == LABEL:
            return Outgoing(key=json.loads(row.body)["decision_id"].encode(), value=row.body.encode())
        query = (
            select(decisions, releases.c.who, releases.c.reason.label("why"), releases.c.at_ms)
            .join(releases, releases.c.decision_id == decisions.c.decision_id)
            .where(releases.c.release_id == row.ref)
        )
        found = connection.execute(query).one()
        body = Release(
            release_id=row.ref,
            decision_id=found.decision_id,
            message=message_of(found, self._vault),
            reason=found.why,
            released_by=found.who,
            released_at=_moment(found.at_ms),
        )
        return Outgoing(key=found.decision_id.encode(), value=encode(body))


class Relay:
    """Publishes what is in the outbox until it is stopped."""

    def __init__(
        self,
        box: Outbox,
        producer: Producer,
        *,
        released_topic: str,
        labels_topic: str,
        lists_topic: str,
        partitions: Mapping[str, int],
        metrics: Metrics,
    ) -> None:
        self._box = box
        self._producer = producer
        topics = {RELEASE: released_topic, LABEL: labels_topic, LIST: lists_topic}
        #: What has no topic stays in the outbox until there is one.
        self._topics = {kind: topic for kind, topic in topics.items() if topic in partitions}
        self._partitions = partitions
        self._metrics = metrics

    async def run(self) -> None:
        """Publish until cancelled; a broker that is away is waited for."""
        while True:
            try:
                published = await self.turn()
            except (PublishFailed, BrokerUnavailable) as error:
                self._metrics.count("spamguard_broker_errors_total", operation="publish")
                log.warning("review_publish_failed", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            except DBAPIError as error:  # the database is away for a moment; what is ordered stays ordered
                log.warning("review_publish_failed", error=type(error.orig).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            if not published:
                await asyncio.sleep(LOOK_S)

    async def turn(self) -> int:
        """Publish what is there and return how much it was. Raises PublishFailed; it is then published again."""
        pending = await asyncio.to_thread(self._box.take, kinds=tuple(self._topics))
        batches: dict[Partition, list[Pending]] = {}
        for one in pending:
            topic = self._topics[one.kind]
            place = Partition(
                topic, 0 if one.kind == LIST else crc32(one.outgoing.key or b"") % self._partitions[topic]
            )
            batches.setdefault(place, []).append(one)
        for place, batch in batches.items():
            await self._producer.publish(place, [one.outgoing for one in batch])
            await asyncio.to_thread(self._box.done, batch)
        if pending:
            log.info("review_published", records=len(pending))
        return len(pending)


def _list_change(row: Any, ordered: Any, value: str) -> Outgoing:
    entry = None
    if row.status == EntryStatus.ACTIVE:
        entry = ListEntry(
            kind=ListKind(row.what),
            value=value,
            action=Treatment(row.kind),
            tenant=row.tenant,
            owner=row.owner,
            reason=row.reason,
            created=_moment(row.at_ms),
            expires=_moment(row.expires_ms),
        )
    who = ordered.body or row.approved_by or row.proposed_by
    change = ListChange(entry=entry, who=who, why=row.reason if entry else "withdrawn", at=_moment(ordered.at_ms))
    return Outgoing(key=list_id(row.receipt, row.id).encode(), value=encode(change))


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
