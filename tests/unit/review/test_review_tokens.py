"""Does a call centre's token open what its role may, and nothing once it is revoked?"""

import pytest

from spamguard.errors import Conflict, Forbidden, ReviewInvalid
from spamguard.review.access import may
from spamguard.review.desk import Desk
from spamguard.review.values import Person, Role


def test_a_systems_token_may_what_its_role_may(desk: Desk, people: dict[str, Person]) -> None:
    token = desk.tokens.add("call centre", by=people["ada"])
    person = desk.tokens.person(token)
    assert person is not None and (person.name, person.role) == ("api:call centre", Role.AGENT)
    assert may(person, "case.open") and not may(person, "item.read")
    with pytest.raises(ReviewInvalid):
        desk.tokens.add("root", Role.ADMIN)
    desk.tokens.revoke("call centre")
    assert desk.tokens.person(token) is None


def test_a_token_is_known_by_name_only_and_made_by_an_administrator(desk: Desk, people: dict[str, Person]) -> None:
    desk.tokens.add("calls", Role.LEAD, by=people["ada"])
    [known] = desk.tokens.all(by=people["ada"])
    assert (known.label, known.role, known.used_ms) == ("calls", Role.LEAD, None)
    with pytest.raises(Conflict):
        desk.tokens.add("calls", by=people["ada"])
    with pytest.raises(Forbidden):
        desk.tokens.add("mine", by=people["lee"])
