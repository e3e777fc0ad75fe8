"""Does nobody get in who should not, and does a login hold only as long as it should?"""

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.errors import Conflict, Forbidden, LoginRefused, NotThere, ReviewInvalid
from spamguard.review.access import PERMISSIONS
from spamguard.review.desk import Desk
from spamguard.review.people import IDLE_MS
from spamguard.review.values import Person, Role

HERE = "198.51.100.7"
WORDS = "four words are a password"


def account(desk: Desk, name: str = "lin", role: Role = Role.REVIEWER) -> Person:
    """Return an account whose password is WORDS."""
    person, _ = desk.people.add(name, role)
    desk.people.set_password(name, WORDS)
    return person


def test_a_login_makes_a_new_session_each_time(desk: Desk) -> None:
    account(desk)
    first = desk.people.login("Lin ", WORDS, address=HERE)
    second = desk.people.login("lin", WORDS, address=HERE)
    assert len({first.token, second.token, first.csrf, second.csrf}) == 4
    found = desk.people.session(first.token)
    assert found is not None and (found.person.name, found.csrf) == ("lin", first.csrf)
    desk.people.logout(first.token)
    assert desk.people.session(first.token) is None
    assert desk.people.session(second.token) is not None


@pytest.mark.parametrize("token", ["", "x", "' OR 1=1", "a" * 5000, "\ud800"])
def test_a_guessed_token_is_no_session(desk: Desk, token: str) -> None:
    account(desk)
    assert desk.people.session(token) is None
    assert desk.tokens.person(token) is None


def test_a_session_ends_by_silence_by_age_and_with_the_account(desk: Desk, clock: ManualClock) -> None:
    account(desk)
    idle = desk.people.login("lin", WORDS, address=HERE)
    clock.advance(IDLE_MS / 1000)
    assert desk.people.session(idle.token) is None
    busy = desk.people.login("lin", WORDS, address=HERE)
    for _ in range(15):
        clock.advance(1800)
        assert desk.people.session(busy.token) is not None
    clock.advance(1800)
    assert desk.people.session(busy.token) is None, "eight hours are over"
    last = desk.people.login("lin", WORDS, address=HERE)
    desk.people.set_active("lin", False)
    assert desk.people.session(last.token) is None
    with pytest.raises(LoginRefused):
        desk.people.login("lin", WORDS, address=HERE)


def test_guessing_is_slowed_down_and_a_right_password_does_not_help_meanwhile(desk: Desk, clock: ManualClock) -> None:
    account(desk)
    for _ in range(5):
        with pytest.raises(LoginRefused, match="name or password is wrong"):
            desk.people.login("lin", "wrong", address=HERE)
    with pytest.raises(LoginRefused, match="too many tries") as refused:
        desk.people.login("lin", WORDS, address=HERE)
    assert 0 < int(str(refused.value.fields["wait_s"])) <= 900
    assert desk.people.login("lin", WORDS, address="203.0.113.1"), "elsewhere it is still possible"
    clock.advance(901)
    assert desk.people.login("lin", WORDS, address=HERE)


def test_an_unknown_name_is_refused_in_the_same_words(desk: Desk) -> None:
    account(desk)
    said = []
    for name in ("lin", "nobody"):
        with pytest.raises(LoginRefused) as refused:
            desk.people.login(name, "wrong", address=HERE)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_first_password_must_be_changed(desk: Desk) -> None:
    _, password = desk.people.add("new", Role.AGENT)
    session = desk.people.login("new", password, address=HERE)
    assert session.person.must_change
    with pytest.raises(LoginRefused):
        desk.people.change_password(session.person, "not it", WORDS)
    desk.people.change_password(session.person, password, WORDS)
    assert desk.people.session(session.token) is None, "every session ends with the password"
    assert not desk.people.login("new", WORDS, address=HERE).person.must_change


@pytest.mark.parametrize("password", ["short", "linlinlinlinlin", "password1234", "aaaaaaaaaaaaaaaa", "x" * 500])
def test_a_weak_password_is_refused(desk: Desk, password: str) -> None:
    person = account(desk)
    with pytest.raises(ReviewInvalid):
        desk.people.change_password(person, WORDS, password)


def test_a_reset_ends_sessions_and_holds_for_one_login(desk: Desk) -> None:
    account(desk)
    session = desk.people.login("lin", WORDS, address=HERE)
    password = desk.people.reset_password("lin")
    assert desk.people.session(session.token) is None
    assert desk.people.login("lin", password, address=HERE).person.must_change
    with pytest.raises(NotThere):
        desk.people.reset_password("nobody")


def test_the_last_administrator_stays(desk: Desk, people: dict[str, Person]) -> None:
    with pytest.raises(Conflict, match="last administrator"):
        desk.people.set_role("ada", Role.AGENT)
    with pytest.raises(Conflict, match="last administrator"):
        desk.people.set_active("ada", False)
    desk.people.set_role("lee", Role.ADMIN, by=people["ada"])
    desk.people.set_active("ada", False)


def test_only_an_administrator_manages_accounts(desk: Desk, people: dict[str, Person]) -> None:
    for name in ("ann", "rui", "lee"):
        with pytest.raises(Forbidden):
            desk.people.add("friend", Role.ADMIN, by=people[name])
    with pytest.raises(Conflict):
        desk.people.add("ann", Role.ADMIN, by=people["ada"])
    for name in ("", "a b", "<script>", "x" * 100):
        with pytest.raises(ReviewInvalid):
            desk.people.add(name, Role.AGENT, by=people["ada"])


def test_a_higher_role_may_all_that_a_lower_one_may() -> None:
    order = list(Role)
    for permission, roles in PERMISSIONS.items():
        assert roles == set(order[min(order.index(role) for role in roles) :]), permission


def test_guessing_the_old_password_is_slowed_down_like_a_login(desk: Desk, clock: ManualClock) -> None:
    person = account(desk)
    session = desk.people.login("lin", WORDS, address=HERE)
    for _ in range(5):
        with pytest.raises(LoginRefused, match="another one"):
            desk.people.change_password(person, "wrong", "a new sentence of words")
    with pytest.raises(LoginRefused, match="too many tries") as refused:
        desk.people.change_password(person, WORDS, "a new sentence of words")
    assert 0 < int(str(refused.value.fields["wait_s"])) <= 900
    assert desk.people.session(session.token), "nobody is thrown out by somebody else's guesses"
    clock.advance(901)
    desk.people.change_password(person, WORDS, "a new sentence of words")
    assert desk.people.login("lin", "a new sentence of words", address=HERE)
