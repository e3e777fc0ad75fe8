"""Does the lot fall where it should: by chance, the same for repeats, and not on what people write to each other?"""

from typing import Any

import msgspec
import pytest

from spamguard.stream.lot import NO_LOT, Lot
from spamguard.types import Action, Decision, Message, Reason

DECISION = Decision(
    decision_id="d",
    message_id="m",
    action=Action.ALLOW,
    would_be=Action.ALLOW,
    reason=Reason.HAM_SCORE,
    score=0.01,
    ham_cutoff=0.3,
    spam_cutoff=0.7,
    model="m/1",
    policy="standard",
    code_version="0",
    decided_at="2026-11-24T00:00:00Z",
)


def drawn(lot: Lot, count: int = 4000, *, direction: str = "AO", **changed: Any) -> int:
    """Return on how many of so many messages the lot falls."""
    message = Message(message_id="m", text="…", direction=direction)
    decisions = (msgspec.structs.replace(DECISION, decision_id=f"{n:032x}", **changed) for n in range(count))
    return sum(lot.draws(message, decision) for decision in decisions)


def test_about_the_share_is_drawn_and_repeats_are_drawn_alike() -> None:
    assert 300 < drawn(Lot(0.1)) < 500
    assert drawn(Lot(0.1)) == drawn(Lot(0.1))
    assert (drawn(Lot(1.0)), drawn(NO_LOT)) == (4000, 0)


@pytest.mark.parametrize("direction", ["MO", "MT", "transit"])
def test_what_people_write_to_each_other_is_drawn_only_where_that_is_switched_on(direction: str) -> None:
    assert drawn(Lot(1.0), direction=direction) == 0
    assert drawn(Lot(1.0, person_to_person=True), direction=direction) == 4000


@pytest.mark.parametrize(
    "changed",
    [{"action": Action.BLOCK}, {"review": True}, {"score": None}],
    ids=["blocked", "offered anyhow", "no text"],
)
def test_what_is_not_plain_allowed_text_is_not_drawn(changed: dict[str, Any]) -> None:
    assert drawn(Lot(1.0), **changed) == 0
