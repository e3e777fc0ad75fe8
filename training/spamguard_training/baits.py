"""Does a code, a payment or a parcel added to an advert open the door for it?

The suite of guard tricks holds adverts as they are and with a bait: a piece of a good message put before, into or
behind them. Here the baits are taken out of the suite and put to other adverts. What counts is how many of those that
are blocked without a bait get through with one; good messages get baits too.
"""

import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from spamguard.core.decide import Judge
from spamguard.core.guards import guard_of
from spamguard.core.normalize import normalize
from spamguard.errors import DataError
from spamguard_training.corpus import Row
from spamguard_training.measure import RESAMPLES, Flags

BAITS_EACH: Final = 3  #: baits tried on each row
#: Where a bait may be pushed into a message: behind a pause.
_PAUSE: Final = re.compile("[。！？，；,.!?; ]")

JudgeTexts = Callable[[Sequence[str], Judge], Flags]


class Trick(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the suite."""

    id: str
    lang: str
    category: str
    plain: str
    text: str
    guard: str  #: the class of good message that the bait imitates


class Bait(NamedTuple):
    """A piece of a good message, and where the suite put it: before, into or behind an advert."""

    text: str
    lang: str
    guard: str
    where: str


def read_tricks(path: Path) -> list[Trick]:
    """Return the suite's tricks. Raises DataError naming what is wrong."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8"))["trick"], list[Trick])
    except (OSError, KeyError, ValueError, msgspec.ValidationError) as error:
        raise DataError(detail=f"{path} is no suite of tricks ({type(error).__name__})") from None


def baits_of(tricks: Sequence[Trick]) -> list[Bait]:
    """Return the bait of each trick that is its advert with one piece more."""
    baits = []
    for trick in tricks:
        plain, text = trick.plain, trick.text
        before = next((at for at in range(len(plain)) if plain[at] != text[at : at + 1]), len(plain))
        behind = len(plain) - before
        if text.endswith(plain[before:]) and len(text) > len(plain):
            where = "before" if not before else "into" if behind else "behind"
            baits.append(Bait(text[before : len(text) - behind], trick.lang[:2], trick.guard, where))
    return baits


def put(bait: Bait, text: str, rng: random.Random) -> str:
    """Return a text with a bait where the suite puts such a one."""
    if bait.where == "before":
        return bait.text + text
    if bait.where == "behind":
        return text + bait.text
    places = [found.end() for found in _PAUSE.finditer(text) if found.end() < len(text)] or [len(text) // 2]
    place = rng.choice(places)
    return text[:place] + bait.text + text[place:]


def bait_figures(
    rows: Sequence[Row], blocked: Flags, tricks: Sequence[Trick], judge: Judge, judge_texts: JudgeTexts, seed: int
) -> Mapping[str, Any]:
    """Return what baits let through of the spam that is `blocked`, and what they do to good messages.

    The suite's own adverts are a second line: plain ones that are blocked, and what of those passes with its bait.
    """
    by_lang: dict[str, list[Bait]] = {}
    for bait in baits_of(tricks):
        by_lang.setdefault(bait.lang, []).append(bait)
    texts, places, guards = [], [], []
    for place, row in enumerate(rows):
        known = by_lang.get(row.lang[:2])
        rng = random.Random(f"{seed}:bait:{row.text}")  # noqa: S311 - reproducible, not secret
        for bait in rng.sample(known, min(BAITS_EACH, len(known))) if known else ():
            texts.append(put(bait, row.text, rng))
            places.append(place)
            guards.append(bait.guard)
    rows_of = np.array(places, dtype=np.int64)
    passed = ~judge_texts(texts, judge)
    spam = np.array([row.is_spam for row in rows])[rows_of]
    asked = spam & blocked[rows_of]
    opened = np.array([guard_of(normalize(text)) is not None for text in texts], dtype=np.bool_)
    plain = judge_texts([trick.plain for trick in tricks], judge)
    tricked = judge_texts([trick.text for trick in tricks], judge)
    return {
        "baits": sum(map(len, by_lang.values())),
        "tried": int(asked.sum()),
        "let_through": _share(passed, asked, [rows[place].group for place in places], seed),
        "guarded": int((opened & asked).sum()),
        "by_guard": {
            guard: round(float(passed[asked & (np.array(guards) == guard)].mean()), 4)
            for guard in sorted(set(np.array(guards)[asked].tolist()))
        },
        "ham_tried": int((~spam).sum()),
        "ham_blocked": int((~passed & ~spam).sum()),
        "suite": {"tried": int(plain.sum()), "let_through": int((plain & ~tricked).sum())},
    }


def _share(passed: Flags, asked: Flags, groups: Sequence[str], seed: int) -> dict[str, float]:
    """Return the share of what was asked that passed, with its interval over resampled groups."""
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    count = int(members.max(initial=-1)) + 1
    hit, total = (np.bincount(members, weights=part, minlength=count) for part in (passed & asked, asked))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES if count else 0):
        drawn = rng.integers(count, size=count)
        found.append(hit[drawn].sum() / max(1.0, total[drawn].sum()))
    low, high = np.quantile(found or [0.0], (0.025, 0.975))
    value = hit.sum() / max(1.0, total.sum())
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
