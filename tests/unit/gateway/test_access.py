"""Who is let in, how much may they ask, and what becomes of those who guess?"""

import pytest

from spamguard.core.keys import ApiKey, holder_of, new_key
from spamguard.gateway import access
from spamguard.gateway.access import Access, Refused, of_accounts
from spamguard.types import DefectiveMessage, Message

GOOD = new_key(bytes(range(38)))
KEPT = ApiKey(id=GOOD.id, name="good", digest=GOOD.digest, tenants=("acme",), messages_per_s=10.0)


class HeldClock:
    """A clock that a test turns."""

    at_s = 1000.0

    def now(self) -> float:
        return self.at_s

    def monotonic(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def door(clock: HeldClock) -> Access:
    door = Access(clock)
    door.let_in([KEPT])
    return door


def refusal(door: Access, presented: str, address: str = "10.0.0.1") -> Refused:
    with pytest.raises(Refused) as caught:
        door.holder(f"Bearer {presented}", address)
    return caught.value


def test_what_is_kept_of_a_key_does_not_open_anything() -> None:
    kept = {GOOD.id: KEPT}
    assert holder_of(GOOD.key, kept) is KEPT
    assert GOOD.key.rpartition("_")[2] not in repr(KEPT)
    for wrong in (f"sg_{GOOD.id}_{GOOD.digest}", GOOD.key[:-1], GOOD.key + "0", f"xx{GOOD.key[2:]}", "", "sg__", "é"):
        assert holder_of(wrong, kept) is None
    assert holder_of(GOOD.key, {GOOD.id: ApiKey(id=GOOD.id, name="", digest=GOOD.digest, revoked="2026")}) is None


def test_an_address_that_guesses_is_refused_unread_for_a_minute(door: Access, clock: HeldClock) -> None:
    for number in range(access.MOST_GUESSES):
        assert refusal(door, f"sg_{number:012x}_00").kind == "no-key"
    refused = refusal(door, GOOD.key)
    assert (refused.kind, refused.retry_after_s) == ("too-many-guesses", 60.0)
    assert door.holder(f"Bearer {GOOD.key}", "10.0.0.2") is KEPT, "others are not its fault"
    clock.at_s += access.GUESSES_FORGOTTEN_S
    assert door.holder(f"Bearer {GOOD.key}", "10.0.0.1") is KEPT


def test_behind_one_proxy_the_mistakes_of_one_do_not_lock_out_the_others(door: Access, clock: HeldClock) -> None:
    door.holder(f"Bearer {GOOD.key}", "10.0.0.1")
    for _ in range(3 * access.MOST_GUESSES):
        assert refusal(door, "sg_wrong_00").kind == "no-key"
    assert door.holder(f"Bearer {GOOD.key}", "10.0.0.1") is KEPT


def test_addresses_are_forgotten_before_they_fill_the_memory(door: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_ADDRESSES", 5)
    for number in range(50):
        refusal(door, "sg_wrong_00", f"10.0.1.{number}")
    assert len(door._addresses) == 5


def test_a_key_has_a_second_of_messages_at_once_and_then_its_rate(door: Access, clock: HeldClock) -> None:
    door.take(KEPT, 10)
    with pytest.raises(Refused) as caught:
        door.take(KEPT, 1)
    assert caught.value.retry_after_s == pytest.approx(0.1)
    clock.at_s += 0.1
    door.take(KEPT, 5)  # a list may overdraw it, and is paid off before the next
    clock.at_s += 0.4
    with pytest.raises(Refused):
        door.take(KEPT, 1)
    door.let_in([KEPT])
    with pytest.raises(Refused):
        door.take(KEPT, 1)
    clock.at_s += 0.2
    door.take(KEPT, 1)


CLAIMS = [
    Message(message_id="codes", account="acme-codes"),
    Message(message_id="none"),
    Message(message_id="empty", account=""),
]
FORGED = DefectiveMessage(message_id="forged", account="the-bank", defects=("text",))


def bound(*accounts: str, any_account: bool = False) -> ApiKey:
    return ApiKey(id="1", name="n", digest="", accounts=accounts, any_account=any_account)


def test_a_key_states_the_accounts_it_was_made_for_and_no_others() -> None:
    assert [one.account for one in of_accounts(CLAIMS, bound("acme-codes"))] == ["acme-codes"] * 3
    two = of_accounts(CLAIMS, bound("acme-news", "acme-codes"))
    assert [one.account for one in two] == ["acme-codes", None, None], "of several none is meant by saying nothing"
    for claim in ("the-bank", "ACME-CODES", " acme-codes", "acme-codes/10690001"):
        with pytest.raises(Refused) as caught:
            of_accounts([*CLAIMS, Message(message_id="m", account=claim)], bound("acme-codes"))
        assert (caught.value.kind, caught.value.places) == ("other-account", (3,))


def test_a_key_without_accounts_vouches_for_none_and_loses_no_message() -> None:
    judged = of_accounts([*CLAIMS, FORGED], bound())
    assert [one.account or None for one in judged] == [None] * 4
    assert [getattr(one, "defects", ()) for one in judged] == [("account",), (), (), ("account", "text")]
    assert [one.message_id for one in judged] == ["codes", "none", "empty", "forged"]


def test_a_key_whose_holder_authenticates_accounts_itself_is_believed() -> None:
    assert of_accounts([*CLAIMS, FORGED], bound(any_account=True)) == [*CLAIMS, FORGED]
