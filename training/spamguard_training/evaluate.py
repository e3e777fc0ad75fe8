"""What would this model do to these rows?

One report for two users: `spamguard train` fills it from out-of-fold scores and keeps it in the manifest and the card;
`spamguard evaluate` fills it for a finished model and a labelled file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spamguard.core.guards import guard_of
from spamguard.core.policy import EVIDENCE_FLOOR
from spamguard_training.corpus import Row
from spamguard_training.measure import Flags, Floats, brier, expected_calibration_error, ham_kind, summary


def report(
    rows: Sequence[Row],
    probability: Floats,
    *,
    ham_cutoff: float,
    spam_cutoff: float,
    headline: frozenset[str],
    seed: int,
    spared: Flags | None = None,
) -> dict[str, Any]:
    """Return every figure of the report as plain values, ready for JSON.

    `spared` rows are allowed whatever they score; they count as such at the cutoffs, and not in what ranks scores.
    """
    spam = np.array([row.is_spam for row in rows])
    judged = np.array([row.source in headline for row in rows])
    sure = judged & np.array([row.read and row.confidence != "low" for row in rows])
    groups = np.array([row.group for row in rows])
    figures: dict[str, Any] = {"headline_sources": sorted(headline)}
    for name, part in (("headline", judged), ("headline_read_and_sure", sure)):
        if part.any():
            figures[name] = summary(spam[part], probability[part], groups[part].tolist(), seed=seed)
    if judged.any():
        figures["calibration"] = {
            "brier": round(brier(spam[judged], probability[judged]), 4),
            "ece": round(expected_calibration_error(spam[judged], probability[judged]), 4),
        }
    at = _Counter(spam, probability, ham_cutoff, spam_cutoff, np.zeros_like(spam) if spared is None else spared)
    figures["by_source"] = at.by(rows, lambda row: row.source + (f" {row.set}" if row.source == "modern" else ""))
    figures["by_category"] = at.by(rows, lambda row: row.category)
    figures["by_ham_kind"] = at.by(rows, ham_kind)
    figures["by_length"] = at.by(rows, lambda row: _length(row.text))
    figures["by_language"] = at.by(rows, lambda row: row.lang.lower())
    return figures


def spared_by_decision(texts: Sequence[str], evidence: NDArray[np.int64]) -> Flags:
    """Return which normalised texts are allowed whatever they score: too little evidence, or a guard protects them."""
    return (evidence < EVIDENCE_FLOOR) | np.array([guard_of(text) is not None for text in texts], dtype=np.bool_)


def _length(text: str) -> str:
    """Return a message's length class."""
    for limit in (20, 70, 140):
        if len(text) <= limit:
            return f"up to {limit} characters"
    return "over 140 characters"


class _Counter:
    """Counts blocked, unsure and all rows of any part."""

    def __init__(self, spam: Flags, probability: Floats, ham_cutoff: float, spam_cutoff: float, spared: Flags) -> None:
        self._spam = spam
        self._blocked = (probability >= spam_cutoff) & ~spared
        self._unsure = (probability >= ham_cutoff) & ~self._blocked & ~spared

    def by(self, rows: Sequence[Row], part_of: Callable[[Row], str | None]) -> dict[str, Any]:
        """Return the counts of each part, by label; rows without a part are left out."""
        parts: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            if (part := part_of(row)) is not None:
                parts.setdefault(part, []).append(place)
        return {part: self._counts(np.array(places)) for part, places in sorted(parts.items())}

    def _counts(self, places: Any) -> Mapping[str, Any]:
        counts = {}
        for label, wanted in (("spam", True), ("ham", False)):
            chosen = places[self._spam[places] == wanted]
            if len(chosen):
                counts[label] = {
                    "rows": len(chosen),
                    "blocked": int(self._blocked[chosen].sum()),
                    "unsure": int(self._unsure[chosen].sum()),
                }
        return counts
