"""What does a model say of itself, and is it one we can use?

The manifest is the small JSON beside the arrays: where the model comes from, what it was measured at, which cutoffs it
was given, and the digest of every file. Unknown fields are ignored, so that this release reads its successors'.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from spamguard.core.ageing import Reference
from spamguard.core.features import View

FORMAT: Final = 1
FILE_NAME: Final = "manifest.json"
#: Self-test scores may differ by this much in log-odds between machines.
SELF_TEST_TOLERANCE: Final = 1e-6


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """A text and what it must score on every machine; texts are invented, never from a corpus."""

    text: str
    log_odds: float


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file the model was trained on."""

    name: str
    sha256: str
    rows: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many good messages the spam cutoff may cost, and how many were there to show it."""

    false_positive_rate: float  #: what was asked for
    mix: Mapping[str, float]  #: share of each kind of ham it was stated on
    ham_rows: int
    estimate: float  #: what was measured on that mix
    upper_bound: float  #: its 95 % upper bound


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to know of a model before its arrays are trusted."""

    format: int = FORMAT
    name: str
    version: str
    created: str
    code_version: str
    normalizer_version: str
    tokenizer: str
    libraries: Mapping[str, str]
    seed: int
    sources: tuple[Source, ...]
    counts: Mapping[str, int]
    views: tuple[View, ...]
    features: int
    classifier: str
    calibration: str
    prior: float  #: share of spam in the traffic that scores are calibrated to
    ham_cutoff: float
    spam_cutoff: float
    budget: Budget
    metrics: Mapping[str, Any]
    kinds: tuple[str, ...] = ()
    reference: Reference | None = None  #: the traffic it was made for; models made before 0.1.0 was released have none
    self_tests: tuple[SelfTest, ...]
    files: Mapping[str, str]  #: sha256 of each file

    @property
    def full_name(self) -> str:
        """Return name/version, as decisions carry it."""
        return f"{self.name}/{self.version}"


class Sighting(NamedTuple):
    """What a reference stands for at one moment, as far as can be told without reading the model itself."""

    digest: str  #: SHA-256 of its manifest; the same digest is the same model
    traces: tuple[tuple[str, int, int], ...]  #: name, size and change time of each file: does a copy still go on?
