"""Who is let in, how much may they ask, and what becomes of those who guess?"""

import pytest

from spamguard.core.keys import ApiKey, holder_of, new_key
from spamguard.gateway import access
from spamguard.gateway.access import Access, Refused

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
