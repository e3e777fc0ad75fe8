"""Does what goes on a list out of a case have an owner, an end and, where it stands for many, two people?"""

from typing import Any

import pytest
from sqlalchemy import select, update

from spamguard.errors import Conflict, Forbidden, ReviewInvalid
from spamguard.review.desk import Desk
from spamguard.review.entries import NewEntry
from spamguard.review.tables import entries
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


def test_what_is_compared_lies_encrypted_and_entries_from_before_are_read_and_then_sealed(
    desk: Desk, people: dict[str, Person]
) -> None:
    given = {"kind": ListKind.BLOCK, "what": "sender", "bulk": False}
    cases = [missing(desk, people["ann"], message_id=f"m-{number}").receipt for number in range(2)]
    for receipt, value in zip(cases, ("13900005555", "13900006666"), strict=True):
        desk.cases.resolve(people["rui"], receipt, Outcome.LIST_ENTRY, "listed", entry=entry(value=value, **given))

    def stored() -> str:
        with desk.database.read() as connection:
            return repr(list(connection.execute(select(entries))))

    assert "13900005555" not in stored() and "13900006666" not in stored()
    with desk.database.write() as connection:  # as it lay before step 0003
        before = {"value": "13900005555", "sealed": None, "number_hash": ""}
        connection.execute(update(entries).where(entries.c.receipt == cases[0]).values(**before))
    values = {found.value for found in desk.entries.all(people["lee"])}
    published = b"".join(one.outgoing.value or b"" for one in desk.outbox.take(kinds=("list",)))
    assert values == {"13900005555", "13900006666"} and all(value.encode() in published for value in values)
    third = missing(desk, people["ann"], message_id="m-3").receipt
    with pytest.raises(Conflict, match="the same already"):
        desk.cases.resolve(people["rui"], third, Outcome.LIST_ENTRY, "x", entry=entry(value="+8613900005555", **given))
    desk.retention.sweep()
    assert "13900005555" not in stored()
    assert {found.value for found in desk.entries.all(people["lee"])} == values
    assert len(desk.retention.export("+8613900005555")["list_entries"]) == 1
