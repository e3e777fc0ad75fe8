"""What does a policy make of a score, for this tenant, direction, consent and category?"""

from typing import Any

import pytest

from spamguard.core.policy import HARMFUL, PRESETS, STANDARD, Policy, preset, rule
from spamguard.types import Action, Category, Message, Mode, Reason, Treatment

ALLOW, BLOCK = Action.ALLOW, Action.BLOCK


def ruled(policy: Policy = STANDARD, *, message: Message | None = None, **given: Any) -> tuple[Any, ...]:
    """Return a ruling on spam, unless given otherwise, as a plain tuple."""
    facts = {"spam": True, "guard": None, "category": Category.FRAUD, "allow_all": False} | given
    ruling = rule(policy, message or Message(message_id="m"), **facts)
    return ruling.action, ruling.would_be, ruling.reason, ruling.review


def test_spam_is_blocked_and_offered_for_review() -> None:
    assert ruled() == (BLOCK, BLOCK, Reason.SPAM_SCORE, True)


def test_spam_of_no_known_category_is_blocked_under_every_preset() -> None:
    for name in PRESETS:
        assert ruled(preset(name), category=None)[0] is BLOCK


def test_the_unsure_is_allowed_and_offered_for_review() -> None:
    assert ruled(spam=False) == (ALLOW, ALLOW, Reason.UNSURE, True)


def test_a_guard_goes_before_the_score_and_asks_for_review_only_against_a_spam_score() -> None:
    assert ruled(guard="code") == (ALLOW, ALLOW, Reason.GUARD, True)
    assert ruled(guard="code", spam=False) == (ALLOW, ALLOW, Reason.GUARD, False)


@pytest.mark.parametrize("category", Category)
@pytest.mark.parametrize("consent", ["opt_in", "opt_out", "unknown"])
def test_consent_allows_marketing_and_nothing_else(category: Category, consent: str) -> None:
    found = ruled(category=category, message=Message(message_id="m", consent=consent))
    if category is Category.MARKETING and consent == "opt_in":
        assert found == (ALLOW, ALLOW, Reason.CONSENTED, False)
    else:
        assert found == (BLOCK, BLOCK, Reason.SPAM_SCORE, True)


@pytest.mark.parametrize("category", Category)
def test_fraud_only_blocks_what_harms_people_and_leaves_the_rest(category: Category) -> None:
    found = ruled(preset("fraud-only"), category=category)
    if category in HARMFUL:
        assert found == (BLOCK, BLOCK, Reason.SPAM_SCORE, True)
    else:
        assert found == (ALLOW, ALLOW, Reason.CATEGORY_ALLOWED, False)


def test_an_open_breaker_observes_and_says_that_it_was_the_breaker() -> None:
    ruling = rule(
        STANDARD,
        Message(message_id="m"),
        spam=True,
        guard=None,
        category=Category.FRAUD,
        allow_all=False,
        tripped=True,
    )
    assert (ruling.action, ruling.would_be, ruling.reason, ruling.breaker) == (ALLOW, BLOCK, Reason.OBSERVED, True)
    assert ruled(tripped=True, allow_all=True) == (ALLOW, BLOCK, Reason.ALLOW_ALL, True)


def test_observe_allows_and_says_what_it_would_have_done() -> None:
    assert ruled(Policy(mode=Mode.OBSERVE)) == (ALLOW, BLOCK, Reason.OBSERVED, True)


def test_the_kill_switch_allows_and_goes_before_the_mode() -> None:
    assert ruled(Policy(mode=Mode.OBSERVE), allow_all=True) == (ALLOW, BLOCK, Reason.ALLOW_ALL, True)
    assert ruled(allow_all=True, spam=False) == (ALLOW, ALLOW, Reason.UNSURE, True)


@pytest.mark.parametrize(
    ("tenant", "direction", "mode"),
    [
        ("qingxi", "MT", Mode.OBSERVE),
        ("qingxi", "MO", Mode.ENFORCE),
        ("yunshan", "MT", Mode.ENFORCE),
        ("yunshan", "AO", Mode.OBSERVE),
        ("yunshan", "MO", Mode.ENFORCE),
        ("stranger", "AO", Mode.OBSERVE),
        ("stranger", "MT", Mode.ENFORCE),
        ("", "transit", Mode.ENFORCE),
    ],
)
def test_the_narrowest_mode_wins(tenant: str, direction: str, mode: Mode) -> None:
    policy = Policy(
        modes={
            "qingxi": Mode.OBSERVE,
            "qingxi/MO": Mode.ENFORCE,
            "yunshan/MT": Mode.ENFORCE,
            "/AO": Mode.OBSERVE,
        }
    )
    message = Message(message_id="m", tenant=tenant, direction=direction)
    assert policy.mode_of(message) is mode
    assert ruled(policy, message=message)[0] is (BLOCK if mode is Mode.ENFORCE else ALLOW)


def test_an_entry_that_allows_goes_before_all_and_one_that_blocks_before_guard_and_score() -> None:
    assert ruled(listed=Treatment.ALLOW, guard="code", muted=True) == (ALLOW, ALLOW, Reason.LIST_ALLOW, False)
    assert ruled(listed=Treatment.BLOCK, guard="code", spam=False) == (BLOCK, BLOCK, Reason.LIST_BLOCK, True)
    observing = Policy(mode=Mode.OBSERVE)
    assert ruled(observing, listed=Treatment.BLOCK) == (ALLOW, BLOCK, Reason.OBSERVED, True)


def test_an_entry_that_asks_for_review_saves_no_spam() -> None:
    assert ruled(listed=Treatment.REVIEW) == (BLOCK, BLOCK, Reason.SPAM_SCORE, True)
    found = ruled(preset("fraud-only"), listed=Treatment.REVIEW, category=Category.MARKETING)
    assert found == (ALLOW, ALLOW, Reason.CATEGORY_ALLOWED, True)


def test_who_opted_out_is_left_alone_but_never_without_a_code() -> None:
    assert ruled(muted=True, spam=False, category=Category.MARKETING) == (BLOCK, BLOCK, Reason.OPTED_OUT, True)
    assert ruled(muted=True, guard="code") == (ALLOW, ALLOW, Reason.GUARD, True)
