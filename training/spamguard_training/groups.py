"""Which messages are near-duplicates of each other, when nobody has said?

Exported labels come without a group, and a mass mailing with small edits would stand on both sides of a split.
Character 3-grams of the normalised text with its figures masked are sketched (MinHash, 64 values in 16 bands of 4);
rows that share a band and at least 0.7 of their 3-grams (Jaccard) belong together, as in datasets/README.md.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from spamguard.core.features import code_points
from spamguard.core.normalize import normalize_batch
from spamguard_training.corpus import Row

LEAST_ALIKE: Final = 0.7
_BANDS, _EACH = 16, 4
_CHUNK: Final = 2000
_FIGURES: Final = re.compile(r"\d+")
_RNG = np.random.default_rng(20261124)
_FACTORS: Final = _RNG.integers(1, 1 << 63, size=_BANDS * _EACH, dtype=np.uint64) | np.uint64(1)
_OFFSETS: Final = _RNG.integers(0, 1 << 63, size=_BANDS * _EACH, dtype=np.uint64)


def joined(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, those without a group of their own put into the group of the first row they are alike.

    A row has no group of its own when its group is its id, or when it is an exported label, whose group is known to
    the review application alone: it moves where it is alike, and else stays. Other rows keep theirs.
    """
    loose = [row.group == row.id or row.label_source is not None for row in rows]
    if not any(loose):
        return list(rows)
    grams = _grams([row.text for row in rows])
    bands = _bands(grams)
    places: dict[tuple[int, int], list[int]] = {}
    found = list(rows)
    order = sorted(range(len(rows)), key=lambda place: loose[place])  # those that have one first
    for place in order:
        keys = [(band, value) for band, value in enumerate(bands[place].tolist())]
        if loose[place]:
            met = dict.fromkeys(other for key in keys for other in places.get(key, ()))
            alike = next((other for other in met if _alike(grams[place], grams[other])), None)
            if alike is not None:
                found[place] = msgspec.structs.replace(rows[place], group=found[alike].group)
        for key in keys:
            bucket = places.setdefault(key, [])
            if len(bucket) < 20:  # more copies of one mailing tell nothing new
                bucket.append(place)
    return found


def _alike(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> bool:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both >= LEAST_ALIKE * (len(one) + len(other) - both)


def _grams(texts: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Return the distinct 3-grams of each text as numbers; a text shorter than that is one 3-gram."""
    found = []
    for first in range(0, len(texts), _CHUNK):
        for text in normalize_batch(texts[first : first + _CHUNK]):
            codes = code_points([_FIGURES.sub("0", text)]).astype(np.uint64)
            codes = np.concatenate((codes, np.zeros(max(0, 3 - len(codes)), dtype=np.uint64)))
            found.append(np.unique(codes[:-2] << np.uint64(42) | codes[1:-1] << np.uint64(21) | codes[2:]))
    return found


def _bands(grams: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return each row's sketch as one number a band."""
    sketches = np.zeros((len(grams), _BANDS * _EACH), dtype=np.uint64)
    for first in range(0, len(grams), _CHUNK):
        part = grams[first : first + _CHUNK]
        starts = np.concatenate(([0], np.cumsum([len(one) for one in part])[:-1]))
        every = np.concatenate(part)
        every ^= every >> np.uint64(31)
        for place, (factor, offset) in enumerate(zip(_FACTORS, _OFFSETS, strict=True)):
            mixed = every * factor + offset
            mixed ^= mixed >> np.uint64(29)
            sketches[first : first + len(part), place] = np.minimum.reduceat(mixed * factor, starts)
    bands = np.zeros((len(grams), _BANDS), dtype=np.uint64)
    for place in range(_EACH):
        bands = bands * np.uint64(0x9E3779B97F4A7C15) + sketches[:, place::_EACH]
    return bands
