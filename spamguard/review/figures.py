"""How often does the filter err, and how well is reviewing done?

Error rates are estimated from messages that were drawn by lot, each weighing one over its chance; what reviewers read
first is chosen because it is doubtful, and would make every rate look bad. Intervals are Wilson's, on the effective
number of messages (Kish), so that few heavy messages do not look like many.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, func, select

from spamguard.errors import ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.access import demand
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.tables import cases, decisions, entries, items, past_counts, past_drawn, releases, verdicts
from spamguard.review.values import (
    CaseStatus,
    FigureRow,
    Figures,
    Label,
    Person,
    Rate,
    Report,
    Status,
    WeekRow,
)
from spamguard.types import Action

Z: Final = 1.959964
BY: Final = ("week", "model", "category", "tenant")
NO_RATE: Final = Rate(estimate=None, low=None, high=None, read=0)


class Drawn(NamedTuple):
    """A message that was drawn by lot and whose item has a label."""

    key: str
    blocked: bool
    is_spam: bool
    weight: float


def rate(hits: Sequence[bool], weights: Sequence[float]) -> Rate:
    """Return the weighted share of hits with its 95 % interval.

    >>> found = rate([True] + [False] * 99, [1.0] * 100)
    >>> found.estimate, round(found.low or 0, 4), round(found.high or 0, 4)
    (0.01, 0.0018, 0.0545)
    """
    total = math.fsum(weights)
    if not total:
        return NO_RATE
    share = math.fsum(weight for hit, weight in zip(hits, weights, strict=True) if hit) / total
    effective = total**2 / math.fsum(weight**2 for weight in weights)
    middle = (share + Z**2 / (2 * effective)) / (1 + Z**2 / effective)
    half = Z / (1 + Z**2 / effective) * math.sqrt(share * (1 - share) / effective + Z**2 / (4 * effective**2))
    return Rate(
        estimate=round(share, 6),
        low=round(max(0.0, min(share, middle - half)), 6),
        high=round(min(1.0, max(share, middle + half)), 6),
        read=len(weights),
    )


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of two readers; None without pairs.

    >>> kappa([("spam", "spam"), ("ham", "ham"), ("spam", "ham"), ("ham", "ham")])
    0.5
    """
    if not pairs:
        return None
    observed = sum(one == other for one, other in pairs) / len(pairs)
    expected = sum(
        sum(one == label for one, _ in pairs) * sum(other == label for _, other in pairs) / len(pairs) ** 2
        for label in Label
    )
    return 1.0 if expected >= 1 else round((observed - expected) / (1 - expected), 6)


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which that share lies; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def week_of(ms: int) -> str:
    """Return the ISO week of a moment.

    >>> week_of(1795478400000)
    '2026-W48'
    """
    year, week, _ = datetime.fromtimestamp(ms / 1000, UTC).isocalendar()
    return f"{year}-W{week:02}"


class FigureBook:
    """The numbers of a database."""

    def __init__(self, database: Database, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def figures(
        self,
        who: Person,
        *,
        since_ms: int,
        until_ms: int,
        by: str = "week",
        model: str | None = None,
        category: str | None = None,
        tenant: str | None = None,
    ) -> Figures:
        """Return the numbers of a span, grouped by week, model, category or tenant. Raises ReviewInvalid."""
        demand(who, "figures.read")
        if by not in BY:
            raise ReviewInvalid(detail=f"figures are grouped by one of: {', '.join(BY)}", key="grouped")
        with self._database.read() as connection:
            span = _Span(since_ms, until_ms, {"model": model, "category": category, "tenant": tenant})
            return _figures(connection, span, by, int(self._clock.now() * 1000))

    def report(self, who: Person, month: str) -> Report:
        """Return a month's handling report. Raises ReviewInvalid."""
        demand(who, "report.read")
        try:
            begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            raise ReviewInvalid(detail="a month is written 2026-11", key="month") from None
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
        span = _Span(int(begin.timestamp() * 1000), int(end.timestamp() * 1000), {})
        now = int(self._clock.now() * 1000)
        with self._database.read() as connection:
            resolved = list(
                connection.execute(select(cases).where(cases.c.resolved_ms.between(span.since, span.until - 1)))
            )
            outcomes: dict[str, int] = defaultdict(int)
            for row in resolved:
                outcomes[row.outcome] += 1
            released = select(func.count()).select_from(releases)
            listed = select(func.count()).select_from(entries)
            return Report(
                month=month,
                figures=_figures(connection, span, "week", now),
                by_category=_figures(connection, span, "category", now).groups,
                by_tenant=_figures(connection, span, "tenant", now).groups,
                outcomes=dict(outcomes),
                handled_in_time=rate([row.resolved_ms <= row.due_ms for row in resolved], [1.0] * len(resolved)),
                releases=connection.execute(
                    released.where(releases.c.at_ms.between(span.since, span.until - 1))
                ).scalar_one(),
                entries=connection.execute(
                    listed.where(entries.c.at_ms.between(span.since, span.until - 1))
                ).scalar_one(),
            )

    def csv(self, who: Person, found: Figures) -> str:
        """Return figures as a table for a spreadsheet; no cell can be taken for a formula."""
        demand(who, "figures.export")
        self._audit.saw(who, "figures.export", found.by)
        out = io.StringIO()
        writer = csv.writer(out)
        rates = ("blocked_ham", "allowed_spam")
        head = ["blocked", "allowed_seen", "verdicts", "overturned"]
        writer.writerow(
            [found.by, *head, *(f"{name}_{part}" for name in rates for part in ("estimate", "low", "high", "read"))]
        )
        for row in (*found.groups, found.all):
            cells = [getattr(row, name) for name in head]
            for name in rates:
                one: Rate = getattr(row, name)
                cells += [one.estimate, one.low, one.high, one.read]
            writer.writerow([_harmless(row.key), *cells])
        return out.getvalue()


class _Span(NamedTuple):
    """A span of time, and what it is narrowed to."""

    since: int
    until: int
    only: dict[str, str | None]

    def holds(self, column: Any) -> Any:
        return column.between(self.since, self.until - 1)


def _figures(connection: Connection, span: _Span, by: str, now_ms: int) -> Figures:
    drawn = _drawn(connection, span, by)
    said = _verdicts(connection, span)
    key_of = _key_of_verdict(by)
    counts = _counts(connection, span, by)
    keys = sorted({*counts, *(key_of(row) for row in said), *(one.key for one in drawn)})
    resolved = list(connection.execute(select(cases).where(span.holds(cases.c.resolved_ms))))
    opened = list(connection.execute(select(cases.c.opened_ms).where(span.holds(cases.c.opened_ms))).scalars())
    waits = [row.waited_ms / 1000 for row in said if row.reading == "first"]
    answers = [(row.resolved_ms - row.opened_ms) / 1000 for row in resolved]
    rated = [row.satisfaction for row in resolved if row.satisfaction is not None]
    pairs = _pairs(connection, span)
    overturns = [row.label == Label.HAM for row in said if row.was_blocked]

    def count(query: Any) -> int:
        return int(connection.execute(query).scalar_one())

    number_of_items = select(func.count()).select_from(items)
    number_of_cases = select(func.count()).select_from(cases).where(cases.c.status != CaseStatus.RESOLVED)
    return Figures(
        since_ms=span.since,
        until_ms=span.until,
        all=_row("all", counts.values(), said, drawn),
        groups=tuple(
            _row(
                key,
                [counts[key]] if key in counts else [],
                [row for row in said if key_of(row) == key],
                [one for one in drawn if one.key == key],
            )
            for key in keys
        ),
        by=by,
        false_positive_rate=_share_of(drawn, of_spam=False),
        false_negative_rate=_share_of(drawn, of_spam=True),
        overturn=rate(overturns, [1.0] * len(overturns)),
        verdict_p50_s=quantile(waits, 0.5),
        verdict_p90_s=quantile(waits, 0.9),
        resolution_p50_s=quantile(answers, 0.5),
        resolution_p90_s=quantile(answers, 0.9),
        backlog=count(number_of_items.where(items.c.status == Status.OPEN)),
        second=count(number_of_items.where(items.c.status.in_((Status.SECOND, Status.DISPUTED)))),
        cases_opened=len(opened),
        cases_resolved=len(resolved),
        cases_open=count(number_of_cases),
        cases_overdue=count(number_of_cases.where(cases.c.due_ms < now_ms)),
        satisfaction=round(sum(rated) / len(rated), 2) if rated else None,
        satisfaction_count=len(rated),
        kappa=kappa(pairs),
        kappa_count=len(pairs),
        agreed=sum(one == other for one, other in pairs),
        weeks=_weeks(span, _counts(connection, span, "week"), said, opened, [row.resolved_ms for row in resolved]),
    )


def _drawn(connection: Connection, span: _Span, by: str) -> list[Drawn]:
    """Return the messages of a span that were drawn by lot and are read."""
    query = (
        select(decisions, items.c.label)
        .join(items, items.c.seq == decisions.c.item_seq)
        .where(
            decisions.c.chance.is_not(None),
            span.holds(decisions.c.decided_ms),
            items.c.label.is_not(None),
            items.c.status == Status.DONE,
        )
    )
    past = select(past_drawn).where(span.holds(past_drawn.c.decided_ms))
    found = [
        *connection.execute(_narrowed(query, decisions, span)),
        *connection.execute(_narrowed(past, past_drawn, span)),
    ]
    return [
        Drawn(
            week_of(row.decided_ms) if by == "week" else str(row._mapping[by] or ""),
            row.action == Action.BLOCK,
            row.label == Label.SPAM,
            1.0 / row.chance,
        )
        for row in found
    ]


def _narrowed(query: Any, table: Any, span: _Span, **renamed: str) -> Any:
    for name, value in span.only.items():
        if value is not None:
            query = query.where(table.c[renamed.get(name, name)] == value)
    return query


def _verdicts(connection: Connection, span: _Span) -> list[Row[Any]]:
    query = select(verdicts).where(span.holds(verdicts.c.at_ms), verdicts.c.undone_ms.is_(None))
    return list(connection.execute(_narrowed(query, verdicts, span, category="machine_category")))


def _key_of_verdict(by: str) -> Callable[[Row[Any]], str]:
    if by == "week":
        return lambda row: week_of(row.at_ms)
    name = {"category": "machine_category"}.get(by, by)
    return lambda row: str(row._mapping[name] or "")


def _counts(connection: Connection, span: _Span, by: str) -> dict[str, dict[str, int]]:
    """Return how many messages were blocked and allowed, by key."""
    day = decisions.c.decided_ms // 86_400_000
    key = day if by == "week" else decisions.c[by]
    query = select(key, decisions.c.action, func.count()).where(span.holds(decisions.c.decided_ms))
    found: dict[str, dict[str, int]] = defaultdict(lambda: {Action.BLOCK: 0, Action.ALLOW: 0})
    for value, action, number in connection.execute(
        _narrowed(query, decisions, span).group_by(key, decisions.c.action)
    ):
        found[week_of(int(value) * 86_400_000) if by == "week" else str(value or "")][action] += number
    past = select(past_counts).where(span.holds(past_counts.c.day_ms))
    for row in connection.execute(_narrowed(past, past_counts, span)):
        found[week_of(row.day_ms) if by == "week" else str(row._mapping[by] or "")][row.action] += row.number
    return dict(found)


def _pairs(connection: Connection, span: _Span) -> list[tuple[str, str]]:
    """Return first and second label of every item that was read twice."""
    first, second = verdicts.alias("first"), verdicts.alias("second")
    query = (
        select(first.c.label, second.c.label)
        .join(second, second.c.item_seq == first.c.item_seq)
        .where(
            first.c.reading == "first",
            second.c.reading == "second",
            first.c.undone_ms.is_(None),
            second.c.undone_ms.is_(None),
            span.holds(second.c.at_ms),
        )
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def _row(key: str, counts: Iterable[dict[str, int]], said: Sequence[Row[Any]], drawn: Sequence[Drawn]) -> FigureRow:
    found = list(counts)
    blocked = [one for one in drawn if one.blocked]
    allowed = [one for one in drawn if not one.blocked]
    return FigureRow(
        key=key,
        blocked=sum(count[Action.BLOCK] for count in found),
        allowed_seen=sum(count[Action.ALLOW] for count in found),
        verdicts=len(said),
        overturned=sum(row.was_blocked and row.label == Label.HAM for row in said),
        blocked_ham=rate([not one.is_spam for one in blocked], [one.weight for one in blocked]),
        allowed_spam=rate([one.is_spam for one in allowed], [one.weight for one in allowed]),
    )


def _share_of(drawn: Sequence[Drawn], *, of_spam: bool) -> Rate:
    """Return the share of wrong decisions among all spam, or all ham; None without a sample of allowed traffic."""
    kind = [one for one in drawn if one.is_spam is of_spam]
    if not any(not one.blocked for one in drawn):
        return NO_RATE
    return rate([one.blocked is not one.is_spam for one in kind], [one.weight for one in kind])


def _weeks(
    span: _Span,
    counts: dict[str, dict[str, int]],
    said: Sequence[Row[Any]],
    opened: Sequence[int],
    resolved: Sequence[int],
) -> tuple[WeekRow, ...]:
    rows: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for moment in range(max(span.since, span.until - 60 * 7 * 86_400_000), span.until, 7 * 86_400_000):
        rows[week_of(moment)]["blocked"] += 0
    for week, count in counts.items():
        rows[week]["blocked"] += count[Action.BLOCK]
    for row in said:
        rows[week_of(row.at_ms)]["verdicts"] += 1
        rows[week_of(row.at_ms)]["overturned"] += bool(row.was_blocked and row.label == Label.HAM)
    for moment in opened:
        rows[week_of(moment)]["cases_opened"] += 1
    for moment in resolved:
        rows[week_of(moment)]["cases_resolved"] += 1
    names = ("blocked", "verdicts", "overturned", "cases_opened", "cases_resolved")
    return tuple(WeekRow(week=week, **{name: found[name] for name in names}) for week, found in sorted(rows.items()))


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet runs.

    >>> _harmless("=1+1")
    "'=1+1"
    """
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
