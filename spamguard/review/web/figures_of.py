"""How does a number, a moment or a span of time read on a page? And where on a drawing does it lie?

Drawings are SVG from templates; here is their geometry, in units of the drawing.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from spamguard.errors import ReviewInvalid
from spamguard.review.values import Rate, WeekRow

#: Log-odds at both ends of the score's drawing: beyond it one looks like the other.
_REACH: Final = 7.0
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


def moment(at_ms: int) -> str:
    """Return a time as the server's clock on the wall shows it."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


def epoch_ms(local: str, *, end_of_day: bool = False) -> int:
    """Return a form's date or date and time, on the server's clock, in epoch milliseconds. Raises ReviewInvalid."""
    try:
        moment = datetime.fromisoformat(local)
    except ValueError:
        raise ReviewInvalid(detail="the date or time cannot be read", key="moment") from None
    if end_of_day and len(local) <= len("2026-11-24"):
        moment += timedelta(days=1, milliseconds=-1)
    return int(moment.astimezone(UTC).timestamp() * 1000)


def stamp(at_ms: int) -> str:
    """Return a time for machines.

    >>> stamp(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> tuple[str, str]:
    """Return a span of time as a number and the key of its unit.

    >>> span(95), span(7200), span(400_000)
    (('2', 'unit.min'), ('2.0', 'unit.h'), ('4.6', 'unit.d'))
    """
    seconds = abs(seconds)
    if seconds < _MINUTE_S:
        return f"{seconds:.0f}", "unit.s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f}", "unit.min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f}", "unit.h"
    return f"{seconds / _DAY_S:.1f}", "unit.d"


def score_text(score: float | None) -> str:
    """Return a score with three digits; never one that looks certain.

    >>> score_text(0.93), score_text(0.99999), score_text(None)
    ('0.930', '> 0.999', '–')
    """
    if score is None:
        return "–"
    if score > 0.9995:
        return "> 0.999"
    if score < 0.0005:
        return "< 0.001"
    return f"{score:.3f}"


def percent(share: float | None) -> str:
    """Return a share in percent, with two digits that matter.

    >>> percent(0.0123), percent(0.00042), percent(0.5), percent(0.0)
    ('1.2 %', '0.042 %', '50 %', '0 %')
    """
    if share is None:
        return "–"
    value = share * 100
    if value >= 10 or value == 0:
        return f"{value:.0f} %"
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{value:.{min(digits, 4)}f} %"


def interval(rate: Rate) -> str:
    """Return a rate's 95 % interval, empty while there is none."""
    if rate.low is None or rate.high is None:
        return ""
    return f"{percent(rate.low).removesuffix(' %')} – {percent(rate.high)}"


def place(score: float) -> float:
    """Return where a score lies between 0 and 100 on the score's drawing, which is even in log-odds.

    >>> place(0.5), place(0.0), round(place(0.9), 1)
    (50.0, 0.0, 65.7)
    """
    if score <= 0 or score >= 1:
        return 0.0 if score <= 0 else 100.0
    log_odds = max(-_REACH, min(_REACH, math.log(score / (1 - score))))
    return (log_odds + _REACH) / (2 * _REACH) * 100


class Bar(NamedTuple):
    """A bar of a drawing."""

    x: float
    y: float
    width: float
    height: float
    kind: str  #: what it counts
    amount: int


class Chart(NamedTuple):
    """A drawing of counts by week: bars in groups, with a few round heights to read them by."""

    width: float
    height: float
    base: float  #: where the bars stand
    bars: tuple[Bar, ...]
    lines: tuple[tuple[float, int], ...]  #: height and the count it stands for
    ticks: tuple[tuple[float, str], ...]  #: middle of a group and its week


def weekly(weeks: Sequence[WeekRow], kinds: Sequence[str], *, width: float = 640, height: float = 220) -> Chart:
    """Return the drawing of some counts a week."""
    left, top, base = 44.0, 12.0, height - 26.0
    most = max((getattr(week, kind) for week in weeks for kind in kinds), default=0)
    step = _round_step(most)
    lines = range(0, max(most, 1) + step, step)
    scale = (base - top) / lines[-1]
    room = (width - left - 8) / max(1, len(weeks))
    thick = min(26.0, room * 0.72 / len(kinds))
    bars, ticks = [], []
    every = max(1, math.ceil(len(weeks) / 9))
    for index, week in enumerate(weeks):
        middle = left + room * (index + 0.5)
        first = middle - thick * len(kinds) / 2
        for number, kind in enumerate(kinds):
            count = int(getattr(week, kind))
            tall = count * scale
            bars.append(Bar(first + number * thick, base - tall, thick - 1.5, tall, kind, count))
        if index % every == 0:
            ticks.append((middle, week.week.partition("-")[2] or week.week))
    return Chart(width, height, base, tuple(bars), tuple((base - line * scale, line) for line in lines), tuple(ticks))


def _round_step(most: int) -> int:
    """Return 1, 2 or 5 times a power of ten that takes at most five steps to the most."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if factor * size * 5 >= most:
                return factor * size
        size *= 10


def _round_end(share: float) -> float:
    """Return the next share above that a reader can divide by four in the head, at most the whole.

    >>> _round_end(0.013), _round_end(0.79), _round_end(0.0)
    (0.02, 1.0, 1.0)
    """
    return next((end for end in (0.001, 0.002, 0.004, 0.01, 0.02, 0.04, 0.1, 0.2, 0.4) if 0 < share <= end), 1.0)


class Whisker(NamedTuple):
    """A rate with its interval on a common scale, 0 to 100."""

    key: str
    low: float
    at: float
    high: float


def whiskers(rates: Sequence[tuple[str, Rate]]) -> tuple[list[Whisker], float]:
    """Return rates on a common scale, and the share at its end; those of which nothing is known are left out."""
    known = [(key, rate) for key, rate in rates if rate.estimate is not None]
    end = _round_end(max((rate.high or rate.estimate or 0 for _, rate in known), default=0))
    found = [
        Whisker(key, (rate.low or 0) / end * 100, (rate.estimate or 0) / end * 100, (rate.high or 0) / end * 100)
        for key, rate in known
    ]
    return found, end
