"""Who may do what? One table, which the pages, the API and the commands use; what is not in it nobody may.

A page's route names the permission it needs; a test holds every route to this table.
"""

from collections.abc import Mapping
from typing import Final

from spamguard.errors import Forbidden
from spamguard.review.values import Person, Role

_AGENTS: Final = frozenset(Role)
_REVIEWERS: Final = frozenset((Role.REVIEWER, Role.LEAD, Role.ADMIN))
_LEADS: Final = frozenset((Role.LEAD, Role.ADMIN))
_ADMINS: Final = frozenset((Role.ADMIN,))

#: Every permission with the roles that have it.
PERMISSIONS: Final[Mapping[str, frozenset[Role]]] = {
    "self": _AGENTS,  # one's own account: password, language, logout
    "case.open": _AGENTS,
    "case.read": _AGENTS,
    "case.note": _AGENTS,
    "case.rate": _AGENTS,
    "case.assign": _REVIEWERS,
    "case.link": _REVIEWERS,
    "case.resolve": _REVIEWERS,
    "entry.propose": _REVIEWERS,
    "entry.approve": _LEADS,
    "entry.withdraw": _LEADS,
    "queue.read": _REVIEWERS,
    "item.read": _REVIEWERS,
    "item.verdict": _REVIEWERS,
    "item.release": _REVIEWERS,
    "item.undo": _REVIEWERS,
    "item.replay": _REVIEWERS,
    "item.settle": _LEADS,
    "figures.read": _REVIEWERS,
    "figures.export": _LEADS,
    "report.read": _LEADS,
    "labels.export": _LEADS,
    "people.manage": _ADMINS,
    "audit.read": _ADMINS,
    "subject.manage": _ADMINS,
}


def may(person: Person, permission: str) -> bool:
    """Return whether a person may; an unknown permission is an error of the caller.

    >>> may(Person(id=1, name="lin", role=Role.AGENT), "item.release")
    False
    """
    return person.active and person.role in PERMISSIONS[permission]


def demand(person: Person, permission: str) -> None:
    """Return when a person may. Raises Forbidden."""
    if not may(person, permission):
        raise Forbidden(role=person.role, permission=permission)


def demand_management(by: Person | None) -> None:
    """Return when the caller may manage accounts: an administrator, or None, the command line with the key file."""
    if by is not None:
        demand(by, "people.manage")


def name_of(by: Person | None) -> str:
    """Return who stands in the audit log for a caller."""
    return "command line" if by is None else by.name
