"""Can a decision be shown again as it was?"""

import msgspec
import pytest

from spamguard.core.decide import Conditions, Judge, Request, decide
from spamguard.core.policy import STANDARD
from spamguard.core.scorer import LinearScorer
from spamguard.errors import NotThere
from spamguard.review.desk import Desk
from spamguard.review.values import Person
from spamguard.types import ReviewCopy
from tests.cast import INVOICE, LOTTERY, NASTY, PHISHING
from tests.reviewing import copy_of


def judged(text: str, judge: Judge) -> ReviewCopy:
    """Return a copy with the decision of a model."""
    copy = copy_of(text)
    conditions = Conditions(policy=STANDARD, allow_all=False, code_version="0.1.0", now_s=0.0, stopwatch=lambda: 0.0)
    [decision] = decide([Request(copy.message, copy.decision.decision_id, 0)], judge, conditions)
    return msgspec.structs.replace(copy, decision=decision)


@pytest.mark.parametrize("text", [LOTTERY, INVOICE, PHISHING, NASTY.encode("utf-8", "replace").decode()])
def test_the_same_model_gives_the_same_score(desk: Desk, people: dict[str, Person], judge: Judge, text: str) -> None:
    copy = judged(text, judge)
    desk.intake.take([copy])
    found = desk.replay(people["rui"], copy.decision.decision_id)
    assert (found.same, found.again, found.difference) == (True, copy.decision.score, 0.0)
    assert (found.model, found.current_model) == ("small/1.0", "small/1.0")


def test_a_model_that_is_gone_is_said_to_be_and_the_current_one_differs(
    desk: Desk, people: dict[str, Person], scorer: LinearScorer
) -> None:
    old = Judge(scorer, "old/0.9", 0.3, 0.7)
    copy = judged(LOTTERY, old)
    copy = msgspec.structs.replace(copy, decision=msgspec.structs.replace(copy.decision, score=0.5))
    desk.intake.take([copy])
    found = desk.replay(people["rui"], copy.decision.decision_id)
    assert (found.same, found.again) == (None, None)
    assert found.current is not None and found.difference == pytest.approx(found.current - 0.5)


def test_a_decision_that_is_not_kept_cannot_be_replayed(desk: Desk, people: dict[str, Person]) -> None:
    with pytest.raises(NotThere):
        desk.replay(people["rui"], "nothing")
