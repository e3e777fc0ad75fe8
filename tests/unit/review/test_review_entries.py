"""Does what goes on a list out of a case have an owner, an end and, where it stands for many, two people?"""

from typing import Any

import pytest

from spamguard.errors import Conflict, Forbidden, ReviewInvalid
from spamguard.review.desk import Desk
from spamguard.review.entries import NewEntry
from spamguard.review.values import EntryStatus, ListKind, Outcome, Person
from tests.reviewing import MORNING_S, missing

NOON_MS = int(MORNING_S * 1000) + 12 * 3_600_000


def entry(**changed: Any) -> NewEntry:
    """Return a list entry that is in order."""
    fields: dict[str, Any] = {
        "kind": ListKind.ALLOW, "what": "link", "value": "acc-7/10690001", "owner": "ops", "reason": "contract 118",
        "expires_ms": NOON_MS + 86_400_000, "bulk": True,
    }  # fmt: skip
    return NewEntry(**fields | changed)


def test_two_people_agree_on_a_sender_that_writes_to_many(desk: Desk, people: dict[str, Person]) -> None:
    case = missing(desk, people["ann"], message_id="m-9")
    desk.cases.resolve(people["lee"], case.receipt, Outcome.LIST_ENTRY, "listed", entry=entry())
    [waiting] = desk.entries.all(people["lee"], status=EntryStatus.WAITING)
    with pytest.raises(Conflict, match="somebody else"):
        desk.entries.approve(people["lee"], waiting.id)
    with pytest.raises(Forbidden):
        desk.entries.approve(people["rui"], waiting.id)
    approved = desk.entries.approve(people["ada"], waiting.id)
    assert (approved.status, approved.approved_by) == (EntryStatus.ACTIVE, "ada")
    with pytest.raises(Conflict):
        desk.entries.refuse(people["ada"], waiting.id)


@pytest.mark.parametrize(
    "changed",
    [
        {"owner": " "},
        {"reason": ""},
        {"expires_ms": 1},
        {"expires_ms": 10**15},
        {"what": "sender"},
        {"value": ""},
        {"value": "acc-7"},
        {"kind": ListKind.BLOCK, "what": "host", "value": "example"},
        {"kind": ListKind.BLOCK, "what": "pattern", "value": "."},
    ],
    ids=str,
)
def test_an_entry_has_owner_reason_and_end_and_allows_nothing_that_can_be_forged(
    desk: Desk, people: dict[str, Person], changed: dict[str, Any]
) -> None:
    case = missing(desk, people["ann"], message_id="m-9")
    with pytest.raises(ReviewInvalid):
        desk.cases.resolve(people["lee"], case.receipt, Outcome.LIST_ENTRY, "listed", entry=entry(**changed))
    assert desk.entries.all(people["lee"]) == []


def test_what_stands_for_many_waits_for_two_people_whatever_the_form_says(
    desk: Desk, people: dict[str, Person]
) -> None:
    for number, (changed, status) in enumerate(
        (
            ({"value": "acc-7/10690001", "bulk": False}, EntryStatus.WAITING),
            ({"kind": ListKind.BLOCK, "what": "sender", "value": "10690077*", "bulk": False}, EntryStatus.WAITING),
            ({"kind": ListKind.BLOCK, "what": "sender", "value": "13900005555", "bulk": False}, EntryStatus.ACTIVE),
        )
    ):
        case = missing(desk, people["ann"], message_id=f"m-{number}", tenant="acme")
        desk.cases.resolve(people["rui"], case.receipt, Outcome.LIST_ENTRY, "listed", entry=entry(**changed))
        newest = desk.entries.all(people["rui"])[0]
        assert (newest.status, newest.tenant) == (status, "acme" if newest.kind is ListKind.ALLOW else "")


def test_the_same_is_not_listed_twice(desk: Desk, people: dict[str, Person]) -> None:
    given = {"kind": ListKind.BLOCK, "what": "sender", "bulk": False}
    first, second = (missing(desk, people["ann"], message_id=f"m-{number}").receipt for number in range(2))
    one, same = entry(value="+86 139-0000-5555", **given), entry(value="13900005555", **given)
    desk.cases.resolve(people["rui"], first, Outcome.LIST_ENTRY, "listed", entry=one)
    with pytest.raises(Conflict, match="the same already"):
        desk.cases.resolve(people["rui"], second, Outcome.LIST_ENTRY, "listed", entry=same)
    [held] = desk.entries.all(people["lee"])
    with pytest.raises(Forbidden):
        desk.entries.withdraw(people["rui"], held.id)
    assert desk.entries.withdraw(people["lee"], held.id).status is EntryStatus.WITHDRAWN
    with pytest.raises(Conflict):
        desk.entries.withdraw(people["lee"], held.id)
    desk.cases.resolve(people["rui"], second, Outcome.LIST_ENTRY, "listed", entry=same)
