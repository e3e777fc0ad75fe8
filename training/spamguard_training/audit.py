"""Which labels should a person look at first?

Two witnesses speak against a label: the score of a model that saw nothing of the row's near-duplicate group, and
near-duplicates with the other label. Both are counted in log-odds and added; the most suspicious rows come first. What
a reader fills in becomes an overlay, which keeps no texts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from spamguard.errors import DataError
from spamguard_training.corpus import Row
from spamguard_training.overlay import Reading

#: How much a near-duplicate that was read by the policy weighs against one that was not.
READ_WEIGHT: Final = 5.0


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A row to be read: what is known of it, then four blanks for the reader, then the text."""

    id: str
    source: str
    label_now: str
    suggested: str
    score: float  #: probability of spam, out of fold, both labels held equally likely
    suspicion: float  #: log-odds against the label
    reason: str
    label: str = ""  #: the reader's
    category: str = ""  #: the reader's, of the label policy
    who: str = ""  #: the reader
    why: str = ""  #: a few words, quoting nothing
    confidence: str = "high"  #: low when two readers could fairly differ
    text: str = ""


def suspects(
    rows: Sequence[Row], log_odds: Mapping[str, float], *, prior: float, read_too: bool = False, least: float = 0.0
) -> list[Suspect]:
    """Return the rows whose label has more than `least` (log-odds) against it, most suspicious first.

    `log_odds` holds out-of-fold scores by id, calibrated to a share of spam of `prior`; rows it does not know are left
    out, and rows that were read by the policy too unless asked for.
    """
    votes: dict[str, dict[str, float]] = {}
    for row in rows:
        votes.setdefault(row.group, {"ham": 0.0, "spam": 0.0})[row.label] += READ_WEIGHT if row.read else 1
    found = []
    shift = math.log(prior / (1 - prior))
    for row in rows:
        if row.id not in log_odds or (row.read and not read_too):
            continue
        odds = log_odds[row.id] - shift
        other = "ham" if row.is_spam else "spam"
        against = votes[row.group][other]
        agreeing = votes[row.group][row.label] - (READ_WEIGHT if row.read else 1)
        neighbours = math.log((against + 1) / (agreeing + 1)) if against else 0.0
        suspicion = (-odds if row.is_spam else odds) + neighbours
        if suspicion <= least:
            continue
        reasons = []
        if (odds < 0) == row.is_spam:
            reasons.append("the score says otherwise")
        if against:
            reasons.append("near-duplicates are labelled otherwise")
        found.append(
            Suspect(
                id=row.id,
                source=row.source,
                label_now=row.label,
                suggested=other,
                score=round(1 / (1 + math.exp(-odds)), 4),
                suspicion=round(suspicion, 3),
                reason=" and ".join(reasons),
                text=row.text,
            )
        )
    return sorted(found, key=lambda suspect: (-suspect.suspicion, suspect.id))


def write_suspects(path: Path, found: Iterable[Suspect]) -> None:
    """Write the file that a person edits. Raises DataError rather than overwrite a reader's work."""
    if path.exists():
        raise DataError(detail=f"{path} exists and may hold a reader's work; name another file or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(suspect) + b"\n" for suspect in found))


def filled_in(path: Path) -> list[Reading]:
    """Return what a reader filled in, without texts; untouched rows are left out. Raises DataError."""
    try:
        lines = path.read_bytes().splitlines()
        edited = [msgspec.json.decode(line, type=Suspect) for line in lines if line.strip()]
        return [
            msgspec.convert(
                {name: getattr(row, name) for name in ("id", "label", "category", "who", "why", "confidence")}, Reading
            )
            for row in edited
            if row.label
        ]
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise DataError(detail=f"{path} is no edited audit ({type(error).__name__})") from None
