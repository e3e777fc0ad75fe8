"""How does front-line staff follow a complaint from the first call to the answer, and what can its receipt tell?"""

from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from spamguard.errors import NotThere, ReviewInvalid
from spamguard.review.access import may
from spamguard.review.entries import MATCHES, NewEntry
from spamguard.review.values import CaseKind, CaseStatus, Label, ListKind, Outcome, Role
from spamguard.review.web.figures_of import epoch_ms
from spamguard.review.web.queue import category_of, label_of
from spamguard.review.web.visit import Visit
from spamguard.types import Category

PAGE_SIZE = 50
#: What is searched for is shown on one page: it stays out of the address, so there is none to go on with.
MOST_FOUND = 200


def cases(visit: Visit) -> Response:
    """Return the cases, those due first at the head."""
    status = visit.asked("status")
    page = visit.desk.cases.queue(
        visit.who,
        status=_one(CaseStatus, status, "status") if status else None,
        mine=visit.asked("mine") == "1",
        overdue=visit.asked("overdue") == "1",
        after=visit.asked("after") or None,
        limit=PAGE_SIZE,
    )
    return visit.page("cases.html", page=page, statuses=list(CaseStatus), chosen=status, about="")


def new(visit: Visit) -> Response:
    """Return the form that opens a case."""
    return _form(visit)


def open_case(visit: Visit) -> Response:
    """Open a case; its receipt number is on the next page at once."""
    at = visit.given("at")
    try:
        case = visit.desk.cases.open(
            visit.who,
            kind=_one(CaseKind, visit.given("kind"), "kind"),
            tenant=visit.given("tenant"),
            channel=visit.given("channel") or "desk",
            note=visit.given("note"),
            **_about(visit, at),
        )
    except (ReviewInvalid, NotThere) as refused:
        return _form(visit, status=400, refused=visit.told(refused))
    return visit.go(f"/cases/{case.receipt}", done="opened")


def find(visit: Visit) -> Response:
    """Go to the case with a receipt number, or show those about a subscriber's number or a message id."""
    asked = visit.given("about")
    state = visit.desk.cases.state(asked)
    if state is not None:
        return visit.go(f"/cases/{state.receipt}")
    if not asked:
        return visit.go("/cases")
    page = visit.desk.cases.queue(visit.who, about=asked, limit=MOST_FOUND)
    return visit.page("cases.html", page=page, statuses=list(CaseStatus), chosen="", about=asked)


def case(visit: Visit) -> Response:
    """Return one case with all that belongs to it."""
    return _case(visit)


def note(visit: Visit) -> Response:
    """Add a line to a case."""
    visit.desk.cases.note(visit.who, visit.path("receipt"), visit.given("text"))
    return visit.go(f"/cases/{visit.path('receipt')}", done="noted")


def assign(visit: Visit) -> Response:
    """Give a case to somebody, or to nobody."""
    visit.desk.cases.assign(visit.who, visit.path("receipt"), visit.given("name") or None)
    return visit.go(f"/cases/{visit.path('receipt')}", done="assigned")


def link(visit: Visit) -> Response:
    """Say which item a case is about."""
    visit.desk.cases.link(visit.who, visit.path("receipt"), visit.given("item"))
    return visit.go(f"/cases/{visit.path('receipt')}", done="linked")


def resolve(visit: Visit) -> Response:
    """End a case with an outcome and the answer the subscriber hears."""
    receipt = visit.path("receipt")
    try:
        outcome = _one(Outcome, visit.given("outcome"), "outcome")
        label = label_of(visit.given("label")) if outcome is Outcome.LABEL else None
        visit.desk.cases.resolve(
            visit.who,
            receipt,
            outcome,
            visit.given("answer"),
            label=label,
            category=category_of(visit.given("category"), label),
            entry=_entry(visit) if outcome is Outcome.LIST_ENTRY else None,
        )
    except ReviewInvalid as refused:
        return _case(visit, status=400, refused=visit.told(refused))
    return visit.go(f"/cases/{receipt}", done="resolved")


def rate(visit: Visit) -> Response:
    """Keep how satisfied the subscriber was."""
    visit.desk.cases.rate(visit.who, visit.path("receipt"), _stars(visit.given("stars")))
    return visit.go(f"/cases/{visit.path('receipt')}", done="rated")


def receipt_page(visit: Visit) -> Response:
    """Return the page where a subscriber asks after a case."""
    return visit.page("receipt.html", state=None, asked="", problem="")


def receipt(visit: Visit) -> Response:
    """Tell whoever holds a receipt number where the case stands; guessing is slow and finds nothing."""
    asked = visit.given("receipt")
    if not visit.desk.attempts.allow("receipt", visit.address):
        return visit.page("receipt.html", status=429, state=None, asked=asked, problem="receipt.slow")
    state = visit.desk.cases.state(asked)
    if state is None:
        return visit.page("receipt.html", status=404, state=None, asked=asked, problem="receipt.unknown")
    return visit.page("receipt.html", state=state, asked=asked, problem="")


def rate_by_receipt(visit: Visit) -> Response:
    """Keep the subscriber's own word on how it went."""
    if not visit.desk.attempts.allow("receipt", visit.address):
        return visit.page("receipt.html", status=429, state=None, asked="", problem="receipt.slow")
    visit.desk.cases.rate_by_receipt(visit.given("receipt"), _stars(visit.given("stars")))
    return visit.go("/receipt", done="rated")


def _about(visit: Visit, at: str) -> dict[str, Any]:
    """Return which message a form means: one of three ways to name it."""
    way = visit.given("way")
    if way == "id":
        return {"message_id": visit.given("message_id")}
    if way == "number":
        return {"number": visit.given("number"), "at_ms": epoch_ms(at)}
    return {"text": visit.given("text")}


def _entry(visit: Visit) -> NewEntry:
    kind, _, what = visit.given("what").partition(":")
    return NewEntry(
        kind=_one(ListKind, kind, "list"),
        what=what,
        value=visit.given("value"),
        owner=visit.given("owner"),
        reason=visit.given("reason"),
        expires_ms=epoch_ms(visit.given("expires"), end_of_day=True),
        bulk=visit.given("bulk") == "1",
        only_tenant=visit.given("only_tenant") == "1",
    )


def _form(visit: Visit, *, status: int = 200, refused: str = "") -> Response:
    return visit.page(
        "case_new.html", status=status, refused=refused, kinds=list(CaseKind), tenants=visit.desk.store.tenants()
    )


def _case(visit: Visit, *, status: int = 200, refused: str = "") -> Response:
    detail = visit.desk.cases.case(visit.who, visit.path("receipt"))
    item = None
    if detail.case.item and may(visit.who, "item.read"):
        item = visit.desk.store.item(visit.who, detail.case.item).item
    soon = datetime.fromtimestamp(visit.desk.now_ms() / 1000).astimezone() + timedelta(days=90)
    return visit.page(
        "case.html",
        status=status,
        refused=refused,
        detail=detail,
        case=detail.case,
        item=item,
        outcomes=list(Outcome),
        labels=list(Label),
        categories=list(Category),
        matches=MATCHES,
        statuses=list(CaseStatus),
        colleagues=visit.desk.people.names(Role.REVIEWER, Role.LEAD, Role.ADMIN),
        in_90_days=soon.strftime("%Y-%m-%d"),
    )


def _one(kind: Any, text: str, name: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ReviewInvalid(
            detail=f"the field {name} has a value that does not exist", key="field", name=name
        ) from None


def _stars(text: str) -> int:
    if text not in ("1", "2", "3", "4", "5"):
        raise ReviewInvalid(detail="satisfaction is a number from 1 to 5", key="satisfaction")
    return int(text)
