"""How does the call centre's own program open a case and ask after it? JSON in, JSON out, a token in the header."""

from typing import Any

import msgspec
from starlette.responses import Response

from spamguard.errors import NotThere, ReviewInvalid
from spamguard.review.values import CaseKind, CaseState
from spamguard.review.web.visit import Visit


class NewCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case to open: one of `message_id`, `number` with `at_ms`, or `text` says which message it is about."""

    kind: CaseKind
    message_id: str | None = None
    number: str | None = None
    at_ms: int | None = None  #: about when it came, epoch milliseconds
    text: str | None = None
    tenant: str = ""
    note: str = ""


class Stars(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How satisfied the subscriber was."""

    satisfaction: int  #: 1 to 5


def open_case(visit: Visit) -> Response:
    """Open a case; the answer holds its receipt number."""
    asked = _read(visit, NewCase)
    case = visit.desk.cases.open(
        visit.who,
        kind=asked.kind,
        message_id=asked.message_id,
        number=asked.number,
        at_ms=asked.at_ms,
        text=asked.text,
        tenant=asked.tenant,
        channel="api",
        note=asked.note,
    )
    return _json(_state(visit, case.receipt), status=201)


def state(visit: Visit) -> Response:
    """Tell where a case stands."""
    return _json(_state(visit, visit.path("receipt")))


def rate(visit: Visit) -> Response:
    """Keep how satisfied the subscriber was."""
    visit.desk.cases.rate(visit.who, visit.path("receipt"), _read(visit, Stars).satisfaction)
    return _json(_state(visit, visit.path("receipt")))


def _state(visit: Visit, receipt: str) -> CaseState:
    found: CaseState | None = visit.desk.cases.state(receipt)
    if found is None:
        raise NotThere(what="case")
    return found


def _read(visit: Visit, kind: Any) -> Any:
    """Return what a request holds. Raises ReviewInvalid with the place of the mistake."""
    try:
        return msgspec.json.decode(visit.body, type=kind)
    except msgspec.ValidationError as error:
        raise ReviewInvalid(detail=str(error), key="json") from None
    except msgspec.DecodeError:
        raise ReviewInvalid(detail="the body is no JSON", key="json") from None


def _json(value: Any, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
