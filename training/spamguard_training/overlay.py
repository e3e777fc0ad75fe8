"""What did a reader say of single rows, and how does training hear of it?

An overlay is JSON Lines: `id`, `label`, `category`, `who`, `why` and, when two readers could differ, `confidence:
"low"`. It holds no texts, so it may be kept where corpora may not. It is laid over a corpus by id: the row takes the
reader's label and category and counts as read by the policy. Corpora stay as their sources made them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from spamguard.errors import DataError
from spamguard_training.corpus import CorpusFile, Row

#: The label policy's categories, and the label each belongs to.
CATEGORIES: Final = {
    **dict.fromkeys(("marketing", "loan", "gambling", "adult", "fraud", "illegal", "harassment"), "spam"),
    **dict.fromkeys(("personal", "otp", "transaction", "service", "public", "fragment"), "ham"),
}


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a reader said of one row; a `text` beside it is ignored."""

    id: str  #: first 16 hexadecimal digits of the SHA-256 of the row's text
    label: Literal["spam", "ham"]
    category: str  #: the policy's
    who: str  #: a name or a role; readers of one name agree with each other
    why: str = ""  #: a few words, quoting nothing of the message
    confidence: Literal["high", "low"] = "high"  #: low when two readers could fairly differ


def read_overlay(path: Path) -> list[Reading]:
    """Return an overlay's readings, one an id. Raises DataError naming file and line.

    Readings of one row must agree on label and category: training does not choose between readers.
    """
    decoder = msgspec.json.Decoder(Reading)
    readings: dict[str, tuple[int, Reading]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(detail=f"{path} cannot be read ({type(error).__name__})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path.name} line {number}"
        try:
            reading = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeError):
            raise DataError(
                detail=f"{place} is no reading; it needs id, label (spam or ham), category and who"
            ) from None
        if CATEGORIES.get(reading.category) != reading.label:
            raise DataError(detail=f"{place}: the label policy has no such category of {reading.label}")
        if not reading.who.strip():
            raise DataError(detail=f"{place} does not say who read the row")
        before, known = readings.setdefault(reading.id, (number, reading))
        if (known.label, known.category) != (reading.label, reading.category):
            raise DataError(
                detail=f"{place} contradicts line {before} about the row {reading.id}; let the readers agree and keep "
                "one of them"
            )
    return [reading for _, reading in readings.values()]


def overlay_file(path: Path, readings: Sequence[Reading]) -> CorpusFile:
    """Return how the manifest names an overlay."""
    return CorpusFile(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), rows=len(readings))


def lay_over(rows: Iterable[Row], readings: Iterable[Reading]) -> Iterator[Row]:
    """Yield the rows with the readers' labels; rows nobody read stay as they are."""
    said = {reading.id: reading for reading in readings}
    return (
        msgspec.structs.replace(row, label=found.label, category=found.category, confidence=found.confidence, read=True)
        if (found := said.get(row.id))
        else row
        for row in rows
    )


def unknown_ids(rows: Iterable[Row], readings: Iterable[Reading]) -> list[str]:
    """Return the ids that no row has: of another corpus, or of a text that was changed."""
    known = {row.id for row in rows}
    return [reading.id for reading in readings if reading.id not in known]


def append_readings(path: Path, readings: Sequence[Reading]) -> tuple[int, int]:
    """Add readings to an overlay, new or old, and return how many were new and how many it holds.

    Raises DataError, the overlay untouched, when the readings contradict it or each other.
    """
    before = path.read_bytes() if path.exists() else b""
    known = {reading.id for reading in read_overlay(path)} if before else set[str]()
    draft = path.with_name(f".{path.name}.draft")
    lines = before.splitlines() + [msgspec.json.encode(reading) for reading in readings]
    draft.write_bytes(b"".join(line + b"\n" for line in lines))
    try:
        together = read_overlay(draft)
        fresh = [reading for reading in together if reading.id not in known]
        draft.write_bytes(
            b"".join(line + b"\n" for line in before.splitlines() + [msgspec.json.encode(new) for new in fresh])
        )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return len(fresh), len(together)
