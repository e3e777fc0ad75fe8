"""When does a tenant's breaker open and close, and what does it learn?"""

from typing import Final

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge, Request
from spamguard.engine.breaker import MOST_TENANTS, OTHERS, WARM_UP_S, Breaker, Breakers, Limits
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder
from spamguard.types import Action, Decision, Message, Reason
from tests.cast import LOTTERY, MUM

LIMITS: Final = Limits()


def lived(minutes: float, rate: float, *, breaker: Breaker | None = None, a_second: int = 20) -> tuple[Breaker, float]:
    """Return a breaker after so many minutes of steady traffic, and the time."""
    breaker = breaker or Breaker(began_s=0.0)
    now_s = max(breaker.window[-1][0] if breaker.window else 0.0, breaker.learned_s)
    for _ in range(int(minutes * 30)):
        now_s += 2.0
        breaker = breaker.fed(LIMITS, now_s, 2 * a_second, round(2 * a_second * rate))
    return breaker, now_s


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_a_steady_rate_never_opens_once_it_is_the_baseline(rate: float) -> None:
    settled, now_s = lived(10, rate=min(rate, 0.5))
    assert settled.opened_s is None
    assert settled.baseline == pytest.approx(min(rate, 0.5), abs=0.03)
    vouched = Breaker(began_s=now_s, window=((now_s, 1000, round(1000 * rate)),)).closed(LIMITS, now_s)
    after, _ = lived(120, rate, breaker=vouched)
    assert after.opened_s is None


def test_a_jump_far_above_the_baseline_opens_within_a_minute_and_is_not_learned() -> None:
    calm, before_s = lived(60, 0.05)
    assert calm.threshold(LIMITS, before_s) == pytest.approx(0.21, abs=0.01)
    jumped, _ = lived(1, 0.6, breaker=calm)
    assert jumped.opened_s is not None
    assert jumped.opened_s - before_s < 60
    assert lived(30, 0.6, breaker=jumped)[0].baseline == pytest.approx(0.05, abs=0.03)


def test_below_the_floor_even_a_large_ratio_opens_nothing() -> None:
    calm, _ = lived(30, 0.0)
    assert lived(30, 0.15, breaker=calm)[0].opened_s is None
    assert lived(2, 0.3, breaker=calm)[0].opened_s is not None


def test_without_a_baseline_only_the_ceiling_opens() -> None:
    assert lived(4, 0.75)[0].opened_s is None
    assert lived(1, 0.9)[0].opened_s is not None


def test_a_quiet_tenant_opens_nothing_whatever_its_rate() -> None:
    assert lived(30, 1.0, a_second=3)[0].opened_s is None


def test_an_open_breaker_closes_when_the_cool_down_is_over_and_the_rate_is_back() -> None:
    calm, _ = lived(30, 0.05)
    opened, _ = lived(1, 0.8, breaker=calm)
    assert lived(9, 0.05, breaker=opened)[0].opened_s is not None
    assert lived(11, 0.05, breaker=opened)[0].opened_s is None
    assert lived(60, 0.8, breaker=opened)[0].opened_s is not None


def test_a_tenant_that_falls_silent_closes_too() -> None:
    opened, now_s = lived(1, 0.9)
    assert opened.fed(LIMITS, now_s + LIMITS.cool_down_s).opened_s is None


def test_who_closes_it_by_hand_vouches_for_the_rate() -> None:
    opened, now_s = lived(1, 0.9)
    closed = opened.closed(LIMITS, now_s)
    assert closed.opened_s is None
    assert lived(60, 0.9, breaker=closed)[0].opened_s is None
    assert closed.threshold(LIMITS, now_s) == pytest.approx(0.978, abs=0.01)


def test_a_baseline_forgets_with_the_hours() -> None:
    spammy, _ = lived(60, 0.3)
    assert lived(240, 0.01, breaker=spammy)[0].baseline < 0.05


def decisions(tenant: str, spam: int, ham: int, reason: Reason = Reason.SPAM_SCORE) -> list[tuple[str, Decision]]:
    def one(would_be: Action) -> Decision:
        return Decision(
            decision_id="d",
            message_id="m",
            action=would_be,
            would_be=would_be,
            reason=reason,
            ham_cutoff=0.3,
            spam_cutoff=0.7,
            model="m/1",
            policy="standard",
            code_version="0",
            decided_at="",
        )

    return [(tenant, one(Action.BLOCK))] * spam + [(tenant, one(Action.ALLOW))] * ham


def test_one_tenant_opens_and_the_others_do_not() -> None:
    turns: list[tuple[str, bool]] = []
    breakers = Breakers(LIMITS, on_turn=lambda tenant, breaker: turns.append((tenant, breaker.opened_s is not None)))
    breakers.feed(1.0, [*decisions("acme", 300, 0), *decisions("calm", 3, 300)])
    assert breakers.open == {"acme"}
    assert breakers.holds("acme") and not breakers.holds("calm") and not breakers.holds("new")
    breakers.close("calm", 2.0)
    breakers.close("acme", 2.0)
    assert (breakers.open, turns) == (frozenset(), [("acme", True), ("acme", False)])


def test_what_is_no_text_says_nothing_of_the_rate() -> None:
    breakers = Breakers(LIMITS)
    breakers.feed(1.0, [*decisions("acme", 300, 0), *decisions("acme", 0, 3000, Reason.NOT_TEXT)])
    assert breakers.open == {"acme"}


def test_turned_off_they_close_and_open_no_more_but_go_on_learning() -> None:
    breakers = Breakers(LIMITS)
    breakers.feed(1.0, decisions("acme", 300, 0))
    breakers.enable(False, 2.0)
    breakers.feed(3.0, decisions("other", 300, 0))
    assert breakers.open == frozenset()
    breakers.enable(True, 4.0)
    breakers.feed(5.0, decisions("other", 300, 0))
    assert breakers.open == {"other"}


def test_memory_is_bounded_however_many_tenants_come() -> None:
    breakers = Breakers(LIMITS)
    breakers.feed(1.0, [pair for n in range(MOST_TENANTS + 500) for pair in decisions(f"t{n}", 1, 0)])
    assert len(breakers._breakers) <= MOST_TENANTS + 1
    assert breakers.open == {OTHERS}
    assert breakers.holds("somebody new") and not breakers.holds("t0")


async def test_the_filter_observes_a_tenant_whose_breaker_is_open_and_nobody_else(judge: Judge) -> None:
    engine = LiveFilter(
        ModelHolder(judge), clock=ManualClock(1000.0), code_version="0", breakers=Breakers(Limits(min_messages=3))
    )

    async def judged(tenant: str, *texts: str) -> list[Decision]:
        messages = [Message(message_id=str(n), text=text, tenant=tenant) for n, text in enumerate(texts)]
        return await engine.judge([Request(message, "d", 0) for message in messages])

    try:
        first = await judged("acme", LOTTERY, LOTTERY, LOTTERY)
        assert {(one.action, one.breaker) for one in first} == {(Action.BLOCK, False)}
        spam, ham = await judged("acme", LOTTERY, MUM)
        assert (spam.action, spam.would_be, spam.reason) == (Action.ALLOW, Action.BLOCK, Reason.OBSERVED)
        assert spam.breaker and not ham.breaker
        assert (await judged("calm", LOTTERY))[0].action is Action.BLOCK
    finally:
        engine.close()


def test_a_warm_up_is_longer_than_the_window() -> None:
    assert Breaker(began_s=0.0, judged=1e6).threshold(LIMITS, WARM_UP_S - 1) == LIMITS.ceiling
