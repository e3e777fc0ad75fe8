"""What do the orders on the control topic make of the kill switch and of a policy?"""

import msgspec
import pytest

from spamguard.core.policy import Policy
from spamguard.engine.control import ALLOW_ALL, Controls, mode_key, place_of
from spamguard.types import Message, Mode, Order


def told(controls: Controls, key: str, order: Order | None) -> Controls:
    return controls.told(key, None if order is None else msgspec.json.encode(order))


def mode(controls: Controls, policy: Policy, tenant: str, direction: str = "MT") -> Mode:
    return controls.over(policy).mode_of(Message(message_id="m", tenant=tenant, direction=direction))


def test_the_last_order_holds_and_a_tombstone_takes_it_back() -> None:
    on = told(Controls(), ALLOW_ALL, Order(on=True, reason="a bad model"))
    assert on.allow_all
    assert not told(on, ALLOW_ALL, Order(on=False)).allow_all
    assert not told(on, ALLOW_ALL, None).allow_all
    assert told(told(on, ALLOW_ALL, None), ALLOW_ALL, Order(on=True)).allow_all


def test_the_file_is_obeyed_whatever_the_topic_says() -> None:
    assert Controls(file="").allow_all
    assert told(Controls(file="Kafka is broken"), ALLOW_ALL, Order(on=False)).allow_all


@pytest.mark.parametrize(
    "value",
    [b"", b"on", b"[true]", b'{"on": "yes"}', b'{"mode": "observe"}', b'{"on": true, "mode": "sleep"}', b"\xff"],
)
def test_what_cannot_be_read_raises_and_changes_nothing(value: bytes) -> None:
    controls = told(Controls(), ALLOW_ALL, Order(on=True))
    with pytest.raises(ValueError, match=r".*"):
        controls.told(ALLOW_ALL, value)
    assert controls.allow_all


def test_what_others_write_to_the_topic_is_no_concern() -> None:
    assert Controls().told("champion", b"whatever").told("", None) == Controls()


def test_fields_of_a_later_version_are_ignored() -> None:
    assert Controls().told(ALLOW_ALL, b'{"on": true, "until": "morning", "schema_version": 2}').allow_all


def test_ordered_modes_go_before_the_settings_and_the_narrowest_wins() -> None:
    policy = Policy(mode=Mode.ENFORCE, modes={"old": Mode.OBSERVE})
    controls = Controls()
    for place, ordered in (
        (place_of("acme", None), Mode.OBSERVE),
        (place_of("acme", "MO"), Mode.ENFORCE),
        (place_of(None, "AO"), Mode.OBSERVE),
    ):
        controls = told(controls, mode_key(place), Order(on=True, mode=ordered))
    assert mode(controls, policy, "acme") is Mode.OBSERVE
    assert mode(controls, policy, "acme", "MO") is Mode.ENFORCE
    assert mode(controls, policy, "other", "AO") is Mode.OBSERVE
    assert mode(controls, policy, "other") is Mode.ENFORCE
    assert mode(controls, policy, "old") is Mode.OBSERVE
    everybody = told(controls, mode_key(None), Order(on=True, mode=Mode.OBSERVE))
    assert mode(everybody, policy, "other") is Mode.OBSERVE
    assert mode(everybody, policy, "acme", "MO") is Mode.ENFORCE
    taken_back = told(everybody, mode_key("acme"), Order(on=False))
    assert mode(told(taken_back, mode_key(None), None), policy, "acme") is Mode.ENFORCE


def test_without_orders_a_policy_is_what_it_was() -> None:
    policy = Policy()
    assert Controls().over(policy) is policy
