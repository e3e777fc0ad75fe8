"""How do two people agree on what goes on a list, and how does one take it away?"""

from starlette.responses import Response

from spamguard.errors import NotThere
from spamguard.review.values import EntryStatus
from spamguard.review.web.visit import Visit


def entries(visit: Visit) -> Response:
    """Return the entries for the lists, those waiting for a second person first."""
    found = visit.desk.entries.all(visit.who)
    order = {EntryStatus.WAITING: 0, EntryStatus.ACTIVE: 1, EntryStatus.REFUSED: 2, EntryStatus.WITHDRAWN: 2}
    return visit.page("entries.html", entries=sorted(found, key=lambda entry: order[entry.status]))


def approve(visit: Visit) -> Response:
    """Agree to an entry somebody else proposed."""
    visit.desk.entries.approve(visit.who, _id(visit.path("entry")))
    return visit.go("/entries", done="approved")


def refuse(visit: Visit) -> Response:
    """Refuse an entry."""
    visit.desk.entries.refuse(visit.who, _id(visit.path("entry")))
    return visit.go("/entries", done="refused")


def withdraw(visit: Visit) -> Response:
    """Take an entry away from the workers."""
    visit.desk.entries.withdraw(visit.who, _id(visit.path("entry")))
    return visit.go("/entries", done="withdrawn")


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotThere(what="entry")
    return int(text)
