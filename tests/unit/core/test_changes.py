"""Is what would change told in the order of consequence, without a number?"""

import msgspec

from spamguard.core.changes import Turn, changes, counted, masked
from spamguard.types import Action, Decision, Reason

BASE = Decision(
    decision_id="", message_id="m", action=Action.ALLOW, would_be=Action.ALLOW, reason=Reason.HAM_SCORE, score=0.1,
    ham_cutoff=0.3, spam_cutoff=0.7, model="m/1", policy="standard", code_version="1", decided_at="now",
)  # fmt: skip


def decision(score: float) -> Decision:
    blocked = score >= 0.7
    return msgspec.structs.replace(
        BASE,
        score=score,
        would_be=Action.BLOCK if blocked else Action.ALLOW,
        reason=Reason.SPAM_SCORE if blocked else Reason.HAM_SCORE,
    )


def test_a_good_message_that_is_newly_blocked_comes_first_and_the_surest_of_them_before_it() -> None:
    before = [decision(score) for score in (0.9, 0.1, 0.6, 0.9, 0.1, 0.2)]
    after = [decision(score) for score in (0.1, 0.1, 0.8, 0.2, 0.9, 0.9)]
    labels = ["spam", "ham", "ham", None, "ham", "spam"]
    found = changes(before, after, labels)
    assert [(change.turn, change.place) for change in found] == [
        (Turn.GOOD_BLOCKED, 4),
        (Turn.GOOD_BLOCKED, 2),
        (Turn.SPAM_PASSED, 0),
        (Turn.PASSED, 3),
        (Turn.SPAM_BLOCKED, 5),
    ]
    assert counted(found)[Turn.GOOD_BLOCKED] == 2
    assert changes(before, before) == []


def test_another_reason_with_the_same_action_is_a_change_that_comes_last() -> None:
    guarded = msgspec.structs.replace(decision(0.9), would_be=Action.ALLOW, reason=Reason.GUARD)
    assert [change.turn for change in changes([decision(0.1)], [guarded])] == [Turn.REVIEW]


def test_no_figure_of_a_longer_number_is_left() -> None:
    assert masked("取件码 8-2-1044，电话139 0000 1234，¥99，卡号6200-0000-0000-7781") == (
        "取件码 *-*-****，电话*** **** ****，¥99，卡号****-****-****-****"
    )
    assert masked("１３９００００１２３４") == "***********"
