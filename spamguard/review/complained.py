"""Which stored message is a complaint about?

By its id, by the subscriber's number around a time, or by a pasted text that is near-identical. One that answers alone
is the one; where several may be meant, whoever may read messages is shown the likeliest and chooses.
"""

from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from spamguard.review import search, texts
from spamguard.review.tables import bands, decisions, items
from spamguard.review.vault import Vault

MOST_CANDIDATES: Final = 5
#: How far from the stated time a message is looked for.
ABOUT_MS: Final = 6 * 3_600_000


class Complained:
    """Finds what a case is about; safe to be used from several threads."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def find(
        self, connection: Connection, *, message_id: str, number: str, at_ms: int | None, text: str
    ) -> tuple[str | None, Row[Any]] | None:
        """Return the decision and item that a case is about, where exactly one answers."""
        if message_id:
            query = select(decisions).where(decisions.c.message_id == message_id)
            found = connection.execute(query.order_by(decisions.c.decided_ms.desc())).first()
            return _with_item(connection, found) if found is not None else None
        if number and at_ms is not None:
            near = select(decisions).where(
                decisions.c.recipient_hash.in_(self._vault.lookups(number)),
                decisions.c.received_ms.between(at_ms - ABOUT_MS, at_ms + ABOUT_MS),
            )
            rows = list(connection.execute(near.limit(50)))
            if text:
                rows = [row for row in rows if _said(connection, row, text)]
            if len({row.item_seq for row in rows}) == 1:
                return _with_item(connection, min(rows, key=lambda row: abs(row.received_ms - at_ms)))
            return None
        alike = _alike(connection, text)
        return (None, alike[0]) if alike else None

    def candidates(self, connection: Connection, case: Row[Any]) -> list[Row[Any]]:
        """Return items an unlinked case may be about: of the number around the time, or with words of the text."""
        seqs: list[int] = []
        if case.number is not None and case.happened_ms is not None:
            number = self._vault.open(case.number, case.receipt)
            near = (
                select(decisions.c.item_seq)
                .where(decisions.c.recipient_hash.in_(self._vault.lookups(number)))
                .order_by(func.abs(decisions.c.received_ms - case.happened_ms))
            )
            seqs += connection.execute(near.limit(20)).scalars()
        if case.text:
            seqs += [found.seq for found in _alike(connection, case.text)[:MOST_CANDIDATES]]
            made = search.words(connection, case.text[:40])
            if made is not None:
                query = select(items.c.seq).where(made).order_by(items.c.seq.desc()).limit(MOST_CANDIDATES)
                seqs += connection.execute(query).scalars()
        wanted = list(dict.fromkeys(seqs))[:MOST_CANDIDATES]
        rows = {found.seq: found for found in connection.execute(select(items).where(items.c.seq.in_(wanted)))}
        return [rows[seq] for seq in wanted if seq in rows]


def _with_item(connection: Connection, row: Row[Any]) -> tuple[str, Row[Any]]:
    return row.decision_id, connection.execute(select(items).where(items.c.seq == row.item_seq)).one()


def _said(connection: Connection, row: Row[Any], text: str) -> bool:
    said = connection.execute(select(items.c.text).where(items.c.seq == row.item_seq)).scalar_one()
    return texts.alike(said, text) >= texts.ALIKE


def _alike(connection: Connection, text: str) -> list[Row[Any]]:
    """Return items whose text is near-identical to a pasted one, of any tenant, the most similar first."""
    tenants = list(connection.execute(select(items.c.tenant).distinct().limit(200)).scalars()) if text else []
    wanted = [band for tenant in tenants for band in texts.bands_of(tenant, text)]
    skeletons = [texts.skeleton(tenant, text) for tenant in tenants]
    seqs = set(connection.execute(select(items.c.seq).where(items.c.skeleton.in_(skeletons))).scalars())
    for first in range(0, len(wanted), 500):
        query = select(bands.c.item_seq).where(bands.c.band.in_(wanted[first : first + 500]))
        seqs |= set(connection.execute(query).scalars())
    rows = connection.execute(select(items).where(items.c.seq.in_(sorted(seqs)[-200:])))
    scored = [(texts.alike(row.text, text), row.seq, row) for row in rows]
    return [row for share, _, row in sorted(scored, key=lambda one: one[:2], reverse=True) if share >= texts.ALIKE]
