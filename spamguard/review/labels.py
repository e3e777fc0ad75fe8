"""How do verdicts become training rows?

Corpus rows (datasets/README.md): one an item, with its near-duplicate group, so that copies never cross a split, and
with who read it, when, and how far it is to be trusted. Or an overlay: ids and labels without texts. An item that
waits for its second reader, or about which readers differ, is no row; a complaint never is.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Row, select

from spamguard.review.access import demand
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.tables import items, verdicts
from spamguard.review.values import Person, Status

_CHUNK: Final = 1000
#: How sure a label is, by the reading that gave it last; `confidence` of a corpus row.
TRUST: Final = {"first": "one", "second": "two", "settled": "settled"}


class Labels:
    """The labels of a database."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def export(self, who: Person | None, form: Literal["corpus", "overlay"] = "corpus") -> Iterator[bytes]:
        """Yield a JSON line for each item whose label is settled; None stands for the command line."""
        if who is not None:
            demand(who, "labels.export")
        self._audit.saw(who or "command line", "labels.export", form)
        last = 0
        while True:
            with self._database.read() as connection:
                query = select(items).where(
                    items.c.seq > last, items.c.status == Status.DONE, items.c.label.is_not(None)
                )
                rows = list(connection.execute(query.order_by(items.c.seq).limit(_CHUNK)))
                read = select(verdicts).where(
                    verdicts.c.item_seq.in_([row.seq for row in rows]), verdicts.c.undone_ms.is_(None)
                )
                by_item = {row.item_seq: row for row in connection.execute(read.order_by(verdicts.c.id))}
            for row in rows:
                verdict = by_item.get(row.seq)
                if verdict is not None and row.text.strip():
                    made = _corpus_row(row, verdict) if form == "corpus" else _overlay_row(row, verdict)
                    yield msgspec.json.encode(made) + b"\n"
            if len(rows) < _CHUNK:
                return
            last = rows[-1].seq


def _corpus_row(row: Row[Any], verdict: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "text": row.text,
        "label": row.label,
        "source": "review",
        "id": _identity(row.text),
        "group": f"review-{row.skeleton}",
        "lang": "zh" if any("\u3400" <= char <= "\u9fff" for char in row.text) else "en",
        "copies": row.copies,
        "read": True,
        "category": row.label_category,
        "label_source": "reviewer",
        "reader": verdict.who,
        "labelled_at": datetime.fromtimestamp(verdict.at_ms / 1000, UTC).isoformat(timespec="seconds"),
        "trust": TRUST[verdict.reading],
    }
    return {name: value for name, value in found.items() if value is not None}


def _overlay_row(row: Row[Any], verdict: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": _identity(row.text),
        "label": row.label,
        "category": row.label_category,
        "who": verdict.who,
        "why": "verdict of review",
        "trust": TRUST[verdict.reading],
    }
    return {name: value for name, value in found.items() if value is not None}


def _identity(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
