"""How does a review copy come into the database: once, encrypted, beside its near-identical ones?

A batch is one transaction, and its offsets are committed afterwards, so a copy is never lost; one that comes again is
known by its decision's id and changes nothing. A message whose text is near-identical to an item's joins it.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError

from spamguard.core.codec import encode, received_ms
from spamguard.core.sms import text_of
from spamguard.errors import PublishFailed
from spamguard.interfaces import Metrics
from spamguard.review import search, texts
from spamguard.review.database import Database
from spamguard.review.priority import priority
from spamguard.review.tables import bands, decisions, items
from spamguard.review.values import Label, Rules, Status
from spamguard.review.vault import Vault, masked
from spamguard.types import Action, Partition, Record, ReviewCopy, ShadowReport

log = structlog.get_logger()

#: SQL statements name at most this many values.
CHUNK: Final = 500
_COPY: Final = msgspec.json.Decoder(ReviewCopy)
_SHADOW: Final = msgspec.json.Decoder(ShadowReport)


class _Read(NamedTuple):
    """A copy with what is made of its text."""

    copy: ReviewCopy
    text: str
    skeleton: str
    bands: list[int]
    chance: float | None


class Intake:
    """Takes review copies and shadow reports into the database."""

    def __init__(self, database: Database, vault: Vault, rules: Rules) -> None:
        self._database = database
        self._vault = vault
        self._rules = rules

    def take(self, copies: Sequence[ReviewCopy]) -> int:
        """Store copies and return how many were new."""
        unique = {copy.decision.decision_id: copy for copy in copies}
        with self._database.read() as connection:
            for repeated in self._known(connection, list(unique)):
                del unique[repeated]
        read = [self._read(copy) for copy in unique.values()]  # the expensive part, while nothing is locked
        if not read:
            return 0
        with self._database.write() as connection:
            known = self._known(connection, list(unique))
            fresh = [one for one in read if one.copy.decision.decision_id not in known]
            _Grouping(connection, self._vault).take(fresh)
        return len(fresh)

    def shadow(self, reports: Sequence[ShadowReport]) -> None:
        """Let items on which the challenger would differ be read earlier."""
        with self._database.write() as connection:
            ids = [report.decision_id for report in reports]
            query = select(items).join(decisions, decisions.c.item_seq == items.c.seq)
            for first in range(0, len(ids), CHUNK):
                for row in connection.execute(query.where(decisions.c.decision_id.in_(ids[first : first + CHUNK]))):
                    requeue(connection, dict(row._mapping) | {"shadow": True})

    def _known(self, connection: Connection, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for first in range(0, len(ids), CHUNK):
            query = select(decisions.c.decision_id).where(decisions.c.decision_id.in_(ids[first : first + CHUNK]))
            found |= set(connection.execute(query).scalars())
        return found

    def _read(self, copy: ReviewCopy) -> _Read:
        text = storable(text_of(copy.message) or "")
        tenant = storable(copy.message.tenant)
        chance = copy.chance
        if chance is None and drawn(copy.decision.decision_id, self._rules.lot_share):
            chance = self._rules.lot_share
        return _Read(copy, text, texts.skeleton(tenant, text), texts.bands_of(tenant, text), chance)


def drawn(identity: str, share: float) -> bool:
    """Return whether a lot falls on an id: always the same answer, and about that share of them."""
    digest = hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=8, person=b"lot").digest()
    return int.from_bytes(digest, "big") < share * 2**64


def storable(text: str) -> str:
    """Return a text as both databases keep it: PostgreSQL knows no NUL, and neither knows half a surrogate."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class _Grouping:
    """Puts a batch of copies beside their near-identical ones."""

    def __init__(self, connection: Connection, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault
        self._items: dict[int, dict[str, Any]] = {}  # by seq, as they stand
        self._by_skeleton: dict[str, int] = {}
        self._by_band: dict[int, set[int]] = {}
        self._changed: set[int] = set()

    def take(self, fresh: Sequence[_Read]) -> None:
        """Store new copies."""
        self._load(fresh)
        new_rows, new_words = [], []
        for one in fresh:
            seq = self._alike(one)
            if seq is None:
                seq = self._add(one)
                new_words.append((seq, one.text))
            else:
                self._join(seq, one)
            new_rows.append(self._decision(seq, one))
        if new_rows:
            self._connection.execute(insert(decisions), new_rows)
        search.add(self._connection, new_words)
        for seq in sorted(self._changed):
            requeue(self._connection, self._items[seq])

    def _load(self, fresh: Sequence[_Read]) -> None:
        """Read the items that copies may join."""
        skeletons = list({one.skeleton for one in fresh})
        wanted = list({band for one in fresh for band in one.bands})
        for first in range(0, len(skeletons), CHUNK):
            query = select(items).where(items.c.skeleton.in_(skeletons[first : first + CHUNK]))
            for row in self._connection.execute(query):
                self._items[row.seq] = dict(row._mapping)
                self._by_skeleton[row.skeleton] = row.seq
        unread: set[int] = set()
        for first in range(0, len(wanted), CHUNK):
            found = select(bands).where(bands.c.band.in_(wanted[first : first + CHUNK]))
            for row in self._connection.execute(found):
                self._by_band.setdefault(row.band, set()).add(row.item_seq)
                unread.add(row.item_seq)
        missing = sorted(unread - self._items.keys())
        for first in range(0, len(missing), CHUNK):
            for row in self._connection.execute(select(items).where(items.c.seq.in_(missing[first : first + CHUNK]))):
                self._items[row.seq] = dict(row._mapping)

    def _alike(self, one: _Read) -> int | None:
        """Return the item a copy belongs to: the one with the same skeleton, else the most similar one."""
        seq = self._by_skeleton.get(one.skeleton)
        if seq is not None:
            return seq
        candidates = {seq for band in one.bands for seq in self._by_band.get(band, ())}
        best = max(((texts.alike(one.text, self._items[seq]["text"]), -seq) for seq in candidates), default=(0.0, 0))
        return -best[1] if best[0] >= texts.ALIKE else None

    def _add(self, one: _Read) -> int:
        decision, message = one.copy.decision, one.copy.message
        blocked = int(decision.action is Action.BLOCK)
        moment = decided_ms(decision.decided_at)
        row: dict[str, Any] = {
            "id": secrets.token_urlsafe(12),
            "status": Status.OPEN,
            "version": 1,
            "copies": 1,
            "blocked": blocked,
            "released": 0,
            "reported": False,
            "shadow": False,
            "lot": one.chance is not None,
            "skeleton": one.skeleton,
            "text": one.text,
            "sender_shown": masked(storable(message.sender)),
            "tenant": storable(message.tenant)[:200],
            "direction": message.direction,
            "first_ms": moment,
            "last_ms": moment,
            "label": None,
            "label_category": None,
            "decided_ms": None,
            **_machine(one),
        }
        row["priority"], row["why"] = priority_of(row)
        result = self._connection.execute(insert(items).values(row))
        [seq] = result.inserted_primary_key or (0,)
        self._items[seq] = row | {"seq": seq}
        self._by_skeleton[one.skeleton] = seq
        if one.bands:
            self._connection.execute(
                insert(bands), [{"band": band, "item_seq": seq} for band in dict.fromkeys(one.bands)]
            )
            for band in one.bands:
                self._by_band.setdefault(band, set()).add(seq)
        return seq

    def _join(self, seq: int, one: _Read) -> None:
        row = self._items[seq]
        decision = one.copy.decision
        blocked = decision.action is Action.BLOCK
        row["copies"] += 1
        row["blocked"] += blocked
        row["lot"] = row["lot"] or one.chance is not None
        row["last_ms"] = max(row["last_ms"], decided_ms(decision.decided_at))
        if blocked and row["action"] != Action.BLOCK:
            row |= _machine(one)  # what was blocked is what must be read
        if blocked and row["status"] == Status.DONE and row["label"] == Label.HAM:
            row["status"] = Status.OPEN
            row["version"] += 1
        self._changed.add(seq)

    def _decision(self, seq: int, one: _Read) -> dict[str, Any]:
        decision, message = one.copy.decision, one.copy.message
        numbers = {"sender": message.sender, "recipient": message.recipient, "account": message.account}
        received = received_ms(message)
        decided = decided_ms(decision.decided_at)
        return {
            "decision_id": decision.decision_id,
            "item_seq": seq,
            "message_id": storable(message.message_id),
            "tenant": storable(message.tenant)[:200],
            "sender_hash": self._vault.lookup(message.sender),
            "recipient_hash": self._vault.lookup(message.recipient),
            "numbers": self._vault.seal(msgspec.json.encode(numbers).decode(), decision.decision_id),
            "decision": encode(decision).decode(),
            "message": encode(msgspec.structs.replace(message, sender="", recipient="", account=None)).decode(),
            "action": decision.action,
            "reason": decision.reason,
            "category": decision.category,
            "model": decision.model,
            "score": decision.score,
            "chance": one.chance,
            "received_ms": decided if received is None else received,
            "decided_ms": decided,
            "source": one.copy.source[:300],
        }


def _machine(one: _Read) -> dict[str, Any]:
    """Return what an item shows of the machine's decision."""
    decision = one.copy.decision
    return {
        "text": one.text,
        "action": decision.action,
        "would_be": decision.would_be,
        "reason": decision.reason,
        "guard": decision.guard,
        "score": decision.score,
        "ham_cutoff": decision.ham_cutoff,
        "spam_cutoff": decision.spam_cutoff,
        "category": decision.category,
        "model": decision.model,
        "policy": decision.policy,
        "clues": msgspec.json.encode(decision.clues).decode(),
    }


def priority_of(row: Mapping[str, Any]) -> tuple[float, str]:
    """Return an item's place in the queue, and the reason."""
    return priority(
        score=row["score"],
        ham_cutoff=row["ham_cutoff"],
        spam_cutoff=row["spam_cutoff"],
        copies=row["copies"],
        reported=row["reported"],
        again=row["status"] == Status.OPEN and row["label"] == Label.HAM,
        shadow=row["shadow"],
        lot=row["lot"],
    )


def requeue(connection: Connection, row: dict[str, Any]) -> None:
    """Store an item that changed, with its new place in the queue."""
    row["priority"], row["why"] = priority_of(row)
    values = {name: value for name, value in row.items() if name not in ("seq", "id", "first_ms")}
    connection.execute(update(items).where(items.c.seq == row["seq"]).values(values))


def decided_ms(moment: str) -> int:
    """Return an RFC 3339 moment in epoch milliseconds.

    >>> decided_ms("2026-11-24T00:00:00.500+00:00")
    1795478400500
    """
    return round(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000)


class IntakeHandler:
    """What the stream's loop does with records of the review topic, and of the shadow topic."""

    def __init__(self, intake: Intake, *, shadow_topic: str | None, metrics: Metrics) -> None:
        self._intake = intake
        self._shadow_topic = shadow_topic
        self._metrics = metrics

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        """Store a batch. Raises PublishFailed when the database does not take it: the loop then tries again."""
        copies, reports = [], []
        for partition, records in batch.items():
            for record in records:
                try:
                    if partition.topic == self._shadow_topic:
                        reports.append(_SHADOW.decode(record.value or b""))
                    else:
                        copies.append(_COPY.decode(record.value or b""))
                except (msgspec.MsgspecError, UnicodeError):
                    self._metrics.count("spamguard_review_unreadable_total")
                    log.error(
                        "review_copy_unreadable",
                        topic=partition.topic,
                        partition=partition.number,
                        offset=record.offset,
                    )
        try:
            new = await asyncio.to_thread(self._take, copies)
            if reports:
                await asyncio.to_thread(self._intake.shadow, reports)
        except DBAPIError as error:
            raise PublishFailed(topic="the review database", detail=type(error.orig).__name__) from None
        self._metrics.count("spamguard_review_copies_total", new)

    def _take(self, copies: Sequence[ReviewCopy]) -> int:
        """Store copies; one that the database cannot hold must not keep the others out for ever."""
        try:
            return self._intake.take(copies)
        except (DataError, ValueError):
            if len(copies) > 1:
                return sum(self._take([copy]) for copy in copies)
            self._metrics.count("spamguard_review_unreadable_total")
            log.error("review_copy_refused", source=copies[0].source)
            return 0
