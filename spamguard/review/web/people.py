"""Who has an account, which programs have a token, and who did or saw what?"""

from typing import Any

from starlette.responses import Response

from spamguard.errors import Conflict, ReviewInvalid
from spamguard.review.values import Role
from spamguard.review.web.visit import Visit


def people(visit: Visit) -> Response:
    """Return all accounts and tokens."""
    return _people(visit)


def add(visit: Visit) -> Response:
    """Make an account and show its first password, once."""
    try:
        person, password = visit.desk.people.add(visit.given("name"), _role(visit.given("role")), by=visit.who)
    except (ReviewInvalid, Conflict) as refused:
        return _people(visit, status=400, refused=visit.told(refused))
    return _people(visit, secret=password, secret_of=person.name)


def set_role(visit: Visit) -> Response:
    """Change what somebody is here for."""
    return _change(
        visit, lambda: visit.desk.people.set_role(visit.path("name"), _role(visit.given("role")), by=visit.who)
    )


def set_active(visit: Visit) -> Response:
    """Close an account, or open it again."""
    active = visit.given("active") == "1"
    return _change(visit, lambda: visit.desk.people.set_active(visit.path("name"), active, by=visit.who))


def reset_password(visit: Visit) -> Response:
    """Give somebody a new password for one login, and show it once."""
    name = visit.path("name")
    password = visit.desk.people.reset_password(name, by=visit.who)
    return _people(visit, secret=password, secret_of=name)


def add_token(visit: Visit) -> Response:
    """Make a token for a program, and show it once."""
    label = visit.given("label")
    try:
        token = visit.desk.tokens.add(label, _role(visit.given("role") or "agent"), by=visit.who)
    except (ReviewInvalid, Conflict) as refused:
        return _people(visit, status=400, refused=visit.told(refused))
    return _people(visit, secret=token, secret_of=label)


def revoke_token(visit: Visit) -> Response:
    """Take a program's token away."""
    visit.desk.tokens.revoke(visit.given("label"), by=visit.who)
    return visit.go("/people", done="saved")


def audit(visit: Visit) -> Response:
    """Return what was done and seen, the newest first."""
    before = visit.asked("before")
    rows = visit.desk.audit.rows(visit.who, before=int(before) if before.isascii() and before.isdigit() else None)
    return visit.page("audit.html", rows=rows, head=visit.desk.audit.head(), verified=None)


def verify(visit: Visit) -> Response:
    """Check the whole audit log, link by link."""
    verified = visit.desk.audit.verify()
    return visit.page(
        "audit.html", rows=visit.desk.audit.rows(visit.who), head=visit.desk.audit.head(), verified=verified
    )


def _people(visit: Visit, *, status: int = 200, refused: str = "", secret: str = "", secret_of: str = "") -> Response:
    return visit.page(
        "people.html",
        status=status,
        people=visit.desk.people.list(by=visit.who),
        tokens=visit.desk.tokens.all(by=visit.who),
        roles=list(Role),
        refused=refused,
        secret=secret,
        secret_of=secret_of,
    )


def _change(visit: Visit, change: Any) -> Response:
    try:
        change()
    except (ReviewInvalid, Conflict) as refused:
        return _people(visit, status=400, refused=visit.told(refused))
    return visit.go("/people", done="saved")


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise ReviewInvalid(detail="there is no such role", key="role") from None
