"""How good is the filter and how fast is the desk, drawn and as tables, for a screen, a spreadsheet and a printer?"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from starlette.responses import Response, StreamingResponse

from spamguard.errors import ReviewInvalid
from spamguard.review.values import Figures
from spamguard.review.web import figures_of
from spamguard.review.web.visit import Visit
from spamguard.types import Category

BYS: Final = ("week", "model", "category", "tenant")
#: What is shown when nobody says from when.
DAYS: Final = 42


def figures(visit: Visit) -> Response:
    """Return the numbers of a span of time."""
    found, since, until = _figures(visit)
    rates, end = figures_of.whiskers([(row.key, row.blocked_ham) for row in found.groups])
    return visit.page(
        "figures.html",
        figures=found,
        since=since,
        until=until,
        by=found.by,
        bys=BYS,
        asked={name: visit.asked(name) for name in ("model", "category", "tenant")},
        models=visit.desk.store.models(),
        tenants=visit.desk.store.tenants(),
        categories=list(Category),
        decisions=figures_of.weekly(found.weeks, ("verdicts", "overturned")),
        cases_chart=figures_of.weekly(found.weeks, ("cases_opened", "cases_resolved")),
        whiskers=rates,
        whisker_end=end,
        month=_local(visit).strftime("%Y-%m"),
    )


def csv(visit: Visit) -> Response:
    """Return the same numbers for a spreadsheet."""
    found, since, until = _figures(visit)
    name = f"spamguard-figures-{since}-{until}-{found.by}.csv"
    # The mark at the head tells spreadsheets that this is UTF-8.
    text = "\ufeff" + visit.desk.figures.csv(visit.who, found)
    return Response(
        text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def labels(visit: Visit) -> Response:
    """Return the labels for training."""
    form = visit.asked("format") or "corpus"
    if form not in ("corpus", "overlay"):
        raise ReviewInvalid(detail="the format is corpus or overlay", key="label_format")
    lines: Iterator[bytes] = iter(visit.desk.labels.export(visit.who, "overlay" if form == "overlay" else "corpus"))
    return StreamingResponse(
        lines,
        media_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="labels-{form}.jsonl"'},
    )


def report(visit: Visit) -> Response:
    """Return a month's handling, for the printer."""
    month = visit.asked("month") or _local(visit).strftime("%Y-%m")
    if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", month):
        raise ReviewInvalid(detail="a month is written 2026-11", key="month")
    found = visit.desk.figures.report(visit.who, month)
    return visit.page(
        "report.html",
        report=found,
        figures=found.figures,
        month=month,
        decisions=figures_of.weekly(found.figures.weeks, ("verdicts", "overturned")),
        cases_chart=figures_of.weekly(found.figures.weeks, ("cases_opened", "cases_resolved")),
    )


def _figures(visit: Visit) -> tuple[Figures, str, str]:
    """Return the numbers a page asks for, with the first and the last day."""
    today = _local(visit)
    since = visit.asked("since") or (today - timedelta(days=DAYS)).strftime("%Y-%m-%d")
    until = visit.asked("until") or today.strftime("%Y-%m-%d")
    by = visit.asked("by") or "week"
    if by not in BYS:
        raise ReviewInvalid(detail="numbers are grouped by week, model, category or tenant", key="grouped")
    since_ms, until_ms = figures_of.epoch_ms(since), figures_of.epoch_ms(until, end_of_day=True)
    if since_ms >= until_ms:
        raise ReviewInvalid(detail="the first day lies behind the last one", key="days")
    found = visit.desk.figures.figures(
        visit.who,
        since_ms=since_ms,
        until_ms=until_ms,
        by=by,
        model=visit.asked("model") or None,
        category=visit.asked("category") or None,
        tenant=visit.asked("tenant") or None,
    )
    return found, since[:10], until[:10]


def _local(visit: Visit) -> datetime:
    return datetime.fromtimestamp(visit.desk.now_ms() / 1000).astimezone()
