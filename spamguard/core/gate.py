"""May this model decide?

A challenger is refused when it is worse than the champion beyond the interval of the difference on any measure; a
first model must reach absolute floors. What was measured stands in the evidence, a small file that `spamguard gate` and
`spamguard compare` write with the training package; reading and judging it needs nothing of that. It is bound to the
digests of both manifests, so evidence on other models opens nothing.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from spamguard.core.manifest import Source

FORMAT: Final = 1


class Check(NamedTuple):
    """A measure that the gate looks at."""

    title: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "count", "per_s"]
    tolerance: float  #: how much worse does not matter
    floor: float | None  #: what a first model must reach; None where only a comparison says something


#: In the order they are shown. Tolerances: half a point of calibration changes no decision that a cutoff does not
#: change too, and speed is told apart from noise from a tenth on. Floors are what the way
#: needs to make sense at all, not what a good model reaches; the first shipped model's figures are in docs/why.md.
CHECKS: Final = {
    "recall_at_budget": Check("spam caught at the budget", "higher", "share", 0.0, 0.5),
    "good_blocked": Check("good messages blocked", "lower", "share", 0.0, 0.02),
    "suite_blocked": Check("zero-blocked suite: messages blocked", "lower", "count", 0.0, 0.0),
    "attack_recall": Check("spam caught in evasive writing", "higher", "share", 0.0, 0.3),
    "attack_good_blocked": Check("good messages in such writing blocked", "lower", "share", 0.0, None),
    "calibration_error": Check("calibration error", "lower", "share", 0.005, 0.1),
    "messages_per_s": Check("messages judged a second", "higher", "per_s", 0.1, 1000.0),
}


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """A model, told by its manifest."""

    name: str  #: name/version
    digest: str  #: SHA-256 of its manifest


class Measure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured of both models on the same rows."""

    challenger: float
    champion: float | None = None
    #: 95 % interval of challenger - champion over resampled near-duplicate groups; for speed, of the ratio less 1
    low: float = 0.0
    high: float = 0.0


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gate decides by."""

    format: int = FORMAT
    made_at: str  #: RFC 3339, UTC
    code_version: str
    challenger: ModelRef
    champion: ModelRef | None = None  #: None for a first model
    budget: float  #: share of good messages that recall is stated at
    data: tuple[Source, ...]
    measures: dict[str, Measure]


class Finding(NamedTuple):
    """What the gate says of one measure."""

    check: Check
    measure: Measure | None  #: None: it was not measured
    passed: bool
    sentence: str


def findings(evidence: Evidence) -> list[Finding]:
    """Return what the gate says, one finding a check."""
    return [_finding(key, check, evidence) for key, check in CHECKS.items()]


def refusals(found: Sequence[Finding]) -> list[str]:
    """Return what keeps the gate closed, each with by how much; nothing when it is open."""
    return [one.sentence for one in found if not one.passed]


def _finding(key: str, check: Check, evidence: Evidence) -> Finding:
    measure = evidence.measures.get(key)
    if measure is None:
        return Finding(check, None, False, f"{check.title}: not measured")
    if evidence.champion is None or measure.champion is None:
        return _against_floor(check, measure)
    gain = (measure.low, measure.high) if check.better == "higher" else (-measure.high, -measure.low)
    passed = gain[1] >= -check.tolerance  # worse only when the whole interval lies on the wrong side
    by = f"{shown(check, measure.champion)} → {shown(check, measure.challenger)}"
    if check.unit == "count":
        return Finding(check, measure, passed, f"{check.title}: {by}")
    between = f"{measure.low:+.2%} to {measure.high:+.2%}" if check.unit == "per_s" else _points(measure)
    return Finding(check, measure, passed, f"{check.title}: {by} ({between})")


def _points(measure: Measure) -> str:
    return f"{100 * measure.low:+.2f} to {100 * measure.high:+.2f} points"


def _against_floor(check: Check, measure: Measure) -> Finding:
    value = measure.challenger
    if check.floor is None:
        return Finding(check, measure, True, f"{check.title}: {shown(check, value)}")
    passed = value >= check.floor if check.better == "higher" else value <= check.floor
    side = "at least" if check.better == "higher" else "at most"
    return Finding(
        check, measure, passed, f"{check.title}: {shown(check, value)}, needed {side} {shown(check, check.floor)}"
    )


def shown(check: Check, value: float) -> str:
    """Return a value as people read it."""
    return f"{value:.2%}" if check.unit == "share" else f"{value:,.0f}"
