"""What did cross-validation say of every row, kept without the texts?

`spamguard train --scores FILE` writes it, `spamguard cutoffs` and `spamguard audit-labels` read it: no second training
for a second question. JSON Lines, or numpy's arrays when the file is named `.npz`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from spamguard.errors import DataError
from spamguard_training.corpus import Row
from spamguard_training.measure import Floats, ham_kinds

DIGITS: Final = 6  #: decimals of the log-odds that are kept


class Scored(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A row's place in the corpus and what a model that had not seen its group said of it."""

    id: str
    label: str
    source: str
    group: str
    log_odds: float  #: calibrated, out of fold
    set: str = ""  #: part of the source, where it has parts
    ham_kind: str = ""  #: for the budget; empty for spam and where nobody made sure
    headline: bool = False  #: of a source whose figures are headlines


_FIELDS: Final = ("id", "label", "source", "group", "log_odds", "set", "ham_kind", "headline")


def scored_rows(rows: Sequence[Row], log_odds: Floats, headline: frozenset[str]) -> list[Scored]:
    """Return the rows without their texts, with their scores."""
    return [
        Scored(
            id=row.id,
            label=row.label,
            source=row.source,
            group=row.group,
            log_odds=round(float(score), DIGITS),
            set=row.set or "",
            ham_kind=kind or "",
            headline=row.source in headline,
        )
        for row, score, kind in zip(rows, log_odds, ham_kinds(rows), strict=True)
    ]


def write_scores(path: Path, scored: Sequence[Scored]) -> None:
    """Write the scores as the file's name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        columns: dict[str, Any] = {name: np.array([getattr(row, name) for row in scored]) for name in _FIELDS}
        np.savez_compressed(path, **columns)
    else:
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in scored))


def read_scores(path: Path) -> list[Scored]:
    """Return what `write_scores` wrote. Raises DataError."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                columns = [arrays[name].tolist() for name in _FIELDS]
            rows = [Scored(**dict(zip(_FIELDS, values, strict=True))) for values in zip(*columns, strict=True)]
        else:
            decoder = msgspec.json.Decoder(Scored)
            rows = [decoder.decode(line) for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(detail=f"{path} cannot be read ({why}); write them with spamguard train --scores") from None
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        raise DataError(
            detail=f"{path} holds no scores ({type(error).__name__}); write them with spamguard train --scores"
        ) from None
    if not rows:
        raise DataError(detail=f"{path} holds no scores; write them with spamguard train --scores")
    return rows
