"""Does a complaint get a receipt at once and an answer in time, without ever becoming a label by itself?"""

from collections.abc import Callable
from typing import Any

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.errors import Conflict, Forbidden, NotThere, ReviewInvalid
from spamguard.review.desk import Desk
from spamguard.review.receipts import new_receipt, read_receipt, spoken_receipt
from spamguard.review.values import (
    CaseKind,
    CaseStatus,
    Filters,
    Label,
    Outcome,
    Person,
    Status,
    Why,
)
from spamguard.types import Action
from tests.cast import BANK_CODE, CASINO, LOTTERY, MUM, SALE
from tests.reviewing import MORNING_S, SUBSCRIBER, copy_of, missing


def test_a_receipt_is_speakable_unguessable_and_finds_a_slip_of_the_tongue() -> None:
    receipts = {new_receipt() for _ in range(500)}
    assert len(receipts) == 500
    for receipt in receipts:
        assert read_receipt(spoken_receipt(receipt)) == receipt
        assert read_receipt(receipt[:-1] + str((int(receipt[-1]) + 1) % 10)) is None


@pytest.mark.parametrize(
    "about",
    [
        {"message_id": "m-lost"},
        {"number": "139 0000 1234", "at_ms": int((MORNING_S - 600) * 1000)},
        {"text": LOTTERY.replace("5000", "8000")},
    ],
    ids=["message id", "number and time", "pasted text"],
)
def test_a_case_finds_its_message(desk: Desk, people: dict[str, Person], about: dict[str, Any]) -> None:
    desk.intake.take(
        [copy_of(LOTTERY, message_id="m-lost"), copy_of(CASINO, recipient="+8613900009999"), copy_of(MUM, at_s=1.0)]
    )
    case = missing(desk, people["ann"], **about)
    detail = desk.store.item(people["rui"], case.item or "")
    assert detail.item.text == LOTTERY
    assert (detail.item.why, detail.cases) == (Why.REPORTED, (case.receipt,))
    assert case.due_ms - case.opened_ms == 24 * 3_600_000


def test_a_complaint_is_no_label(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(MUM, message_id="m-1", action=Action.ALLOW)])
    desk.cases.open(people["ann"], kind=CaseKind.UNWANTED, message_id="m-1")
    assert list(desk.labels.export(people["lee"])) == []
    assert desk.outbox.waiting() == 0
    assert desk.store.queue(people["rui"], Filters(status=Status.OPEN)).total == 1


def test_a_case_says_what_it_is_about(desk: Desk, people: dict[str, Person]) -> None:
    for nothing in ({}, {"number": SUBSCRIBER}, {"text": "  "}):
        with pytest.raises(ReviewInvalid):
            missing(desk, people["ann"], **nothing)


def test_a_case_goes_from_receipt_to_answer(desk: Desk, people: dict[str, Person], clock: ManualClock) -> None:
    desk.intake.take([copy_of(BANK_CODE, message_id="m-code")])
    case = missing(desk, people["ann"], message_id="m-code", number=SUBSCRIBER, note="waits for a code")
    state = desk.cases.state(spoken_receipt(case.receipt))
    assert state is not None and state.status is CaseStatus.RECEIVED
    desk.cases.assign(people["lee"], case.receipt, "rui")
    assert desk.cases.state(case.receipt).status is CaseStatus.IN_REVIEW  # type: ignore[union-attr]
    clock.advance(25 * 3600)
    page = desk.cases.queue(people["rui"], mine=True)
    assert (page.overdue, page.cases[0].overdue, desk.cases.overdue()) == (1, True, 1)
    with pytest.raises(Conflict, match="not resolved yet"):
        desk.cases.rate_by_receipt(case.receipt, 5)
    desk.cases.resolve(people["rui"], case.receipt, Outcome.RELEASE, "已重新下发")
    state = desk.cases.state(case.receipt)
    assert state is not None
    assert (state.status, state.outcome, state.answer) == (CaseStatus.RESOLVED, Outcome.RELEASE, "已重新下发")
    desk.cases.rate_by_receipt(case.receipt, 5)
    with pytest.raises(ReviewInvalid):
        desk.cases.rate_by_receipt(case.receipt, 6)
    detail = desk.cases.case(people["ann"], case.receipt)
    assert (detail.case.satisfaction, detail.case.number, detail.notes[0].text) == (
        5,
        "+8613*******34",
        "waits for a code",
    )
    assert [one.kind for one in desk.outbox.take()] == ["label", "release"]
    with pytest.raises(Conflict, match="resolved already"):
        desk.cases.resolve(people["rui"], case.receipt, Outcome.EXPLANATION, "again")


def test_a_resolution_that_cannot_be_carried_out_changes_nothing(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(SALE, message_id="m-ok", action=Action.ALLOW)])
    case = missing(desk, people["ann"], message_id="m-ok")
    with pytest.raises(Conflict, match="no blocked message"):
        desk.cases.resolve(people["rui"], case.receipt, Outcome.RELEASE, "sent again")
    assert desk.cases.case(people["rui"], case.receipt).case.status is CaseStatus.RECEIVED
    assert desk.store.queue(people["rui"]).items[0].status is Status.OPEN


def test_a_case_without_a_message_is_linked_by_hand(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY), copy_of(CASINO)])
    case = missing(desk, people["ann"], number=SUBSCRIBER, at_ms=int((MORNING_S - 600) * 1000))
    assert case.item is None, "two messages came at that time"
    candidates = desk.cases.case(people["rui"], case.receipt).candidates
    assert {item.text for item in candidates} == {LOTTERY, CASINO}
    assert desk.cases.case(people["ann"], case.receipt).candidates == (), "an agent reads no other messages"
    chosen = next(item for item in candidates if item.text == CASINO)
    linked = desk.cases.link(people["rui"], case.receipt, chosen.id)
    assert (linked.item, linked.status) == (chosen.id, CaseStatus.IN_REVIEW)
    desk.cases.resolve(people["rui"], case.receipt, Outcome.LABEL, "thanks", label=Label.SPAM, category="gambling")
    assert desk.store.item(people["rui"], chosen.id).item.verdict is not None


def test_pages_of_cases_begin_with_those_due_first(desk: Desk, people: dict[str, Person], clock: ManualClock) -> None:
    receipts = []
    for number in range(5):
        receipts.append(missing(desk, people["ann"], message_id=f"m-{number}", number=SUBSCRIBER).receipt)
        clock.advance(60)
    first = desk.cases.queue(people["ann"], limit=3)
    second = desk.cases.queue(people["ann"], limit=3, after=first.next)
    assert [case.receipt for case in (*first.cases, *second.cases)] == receipts
    assert (first.total, second.next) == (5, None)
    desk.cases.resolve(people["rui"], receipts[4], Outcome.EXPLANATION, "said")
    assert desk.cases.queue(people["ann"], about=" 139 0000 1234").total == 5, "a number, however it is written"
    assert desk.cases.queue(people["ann"], about="13900001235").total == 0
    [found] = desk.cases.queue(people["ann"], about="m-4").cases
    assert found.receipt == receipts[4], "one that is resolved is found too"


@pytest.mark.parametrize("receipt", ["", "1", "4111111111111111", "' OR 1=1 --", "9" * 400])
def test_a_guessed_receipt_tells_nothing(desk: Desk, people: dict[str, Person], receipt: str) -> None:
    missing(desk, people["ann"], message_id="m-1")
    assert desk.cases.state(receipt) is None
    with pytest.raises(NotThere):
        desk.cases.case(people["ann"], receipt)


def test_an_agent_neither_resolves_nor_assigns(desk: Desk, people: dict[str, Person]) -> None:
    case = missing(desk, people["ann"], message_id="m-1")
    attempts: list[Callable[[], object]] = [
        lambda: desk.cases.resolve(people["ann"], case.receipt, Outcome.EXPLANATION, "no"),
        lambda: desk.cases.assign(people["ann"], case.receipt, "rui"),
        lambda: desk.cases.link(people["ann"], case.receipt, "x"),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()
