"""Does what is old go, and does a subscriber get what is kept of them, and have it deleted?"""

import pytest
from sqlalchemy import func, select, text

from spamguard.backends.clock import ManualClock
from spamguard.errors import Forbidden
from spamguard.review.desk import Desk
from spamguard.review.entries import NewEntry
from spamguard.review.tables import bands, cases, decisions, items, releases, verdicts
from spamguard.review.values import CaseKind, EntryStatus, Figures, Filters, Label, ListKind, Outcome, Person
from spamguard.types import Action
from tests.cast import BANK_CODE, CASINO, LOTTERY, MUM
from tests.reviewing import MORNING_S, SUBSCRIBER, copy_of

OTHER = "+8613900009999"


def rows(desk: Desk) -> dict[str, int]:
    """Return how many rows the tables with texts have."""
    with desk.database.read() as connection:
        found = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (items, decisions, bands, releases)
        }
        found["words"] = connection.execute(text("SELECT count(*) FROM item_words")).scalar_one()
        return found


def test_what_is_older_than_the_retention_goes_with_its_words(
    desk: Desk, people: dict[str, Person], clock: ManualClock
) -> None:
    desk.intake.take([copy_of(LOTTERY), copy_of(BANK_CODE)])
    for item in desk.store.queue(people["rui"]).items:
        desk.store.release(people["rui"], item.id)
    case = desk.cases.open(people["ann"], kind=CaseKind.QUESTION, text=LOTTERY, number=SUBSCRIBER, note="pasted")
    desk.cases.resolve(people["rui"], case.receipt, Outcome.EXPLANATION, "it was spam")
    clock.advance(29 * 86_400)
    desk.intake.take([copy_of(CASINO, at_s=MORNING_S + 29 * 86_400)])
    assert desk.retention.sweep().decisions == 0
    clock.advance(2 * 86_400)
    swept = desk.retention.sweep()
    assert (swept.decisions, swept.items, swept.cases) == (2, 2, 1)
    assert [item.text for item in desk.store.queue(people["rui"], Filters(status=None)).items] == [CASINO]
    assert desk.store.queue(people["rui"], Filters(status=None, query="公证")).total == 0
    assert rows(desk) == {"items": 1, "decisions": 1, "item_bands": 4, "releases": 0, "words": 1}
    detail = desk.cases.case(people["rui"], case.receipt)
    assert (detail.case.text, detail.case.number, detail.notes, detail.case.answer) == ("", "", (), "it was spam")
    with desk.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(verdicts)).scalar_one() == 2
    assert desk.retention.sweep().decisions == 0


def test_figures_outlive_the_texts(desk: Desk, people: dict[str, Person], clock: ManualClock) -> None:
    desk.intake.take(
        [
            copy_of(LOTTERY, chance=0.1),
            copy_of(LOTTERY),
            copy_of(BANK_CODE, chance=0.1),
            copy_of(MUM, action=Action.ALLOW, chance=0.01, category=None),
        ]
    )
    for item in desk.store.queue(people["rui"]).items:
        desk.store.verdict(people["rui"], item.id, Label.SPAM if item.text == LOTTERY else Label.HAM)

    def figures(by: str) -> Figures:
        since_ms, until_ms = (int((MORNING_S + days * 86_400) * 1000) for days in (-1, 1))
        return desk.figures.figures(people["lee"], by=by, since_ms=since_ms, until_ms=until_ms)

    before = {by: figures(by) for by in ("week", "category", "model")}
    clock.advance(40 * 86_400)
    assert desk.retention.sweep().decisions == 4
    for by, found in before.items():
        after = figures(by)
        assert (after.all, after.groups, after.weeks) == (found.all, found.groups, found.weeks)
        assert after.false_positive_rate == found.false_positive_rate


def test_a_subscriber_gets_everything_and_only_theirs(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take(
        [copy_of(LOTTERY), copy_of(CASINO, recipient=OTHER), copy_of(MUM, sender=SUBSCRIBER, recipient=OTHER)]
    )
    desk.cases.open(people["ann"], kind=CaseKind.MISSING, number="139 0000 1234", at_ms=5, text=BANK_CODE)
    found = desk.retention.export("13900001234")
    assert {one["message"]["text"] for one in found["messages"]} == {LOTTERY, MUM}
    assert [one["text"] for one in found["cases"]] == [BANK_CODE]


def test_a_subscriber_is_erased_and_others_are_not(desk: Desk, people: dict[str, Person]) -> None:
    mine, theirs = f"{LOTTERY}，张三先生", f"{LOTTERY}，李四女士"
    desk.intake.take([copy_of(mine), copy_of(theirs, recipient=OTHER), copy_of(CASINO)])
    case = desk.cases.open(people["ann"], kind=CaseKind.MISSING, number=SUBSCRIBER, at_ms=5, text=MUM, note="a note")
    for item in desk.store.queue(people["rui"], Filters(query="彩金")).items:
        desk.store.verdict(people["rui"], item.id, Label.SPAM)
    gone = desk.retention.erase(SUBSCRIBER)
    assert (gone.decisions, gone.items, gone.cases) == (2, 1, 1)
    [left] = desk.store.queue(people["rui"], Filters(status=None)).items
    assert (left.text, left.count) == (theirs, 1)
    assert desk.store.queue(people["rui"], Filters(status=None, query="张三")).total == 0
    assert desk.store.queue(people["rui"], Filters(status=None, query="李四")).total == 1
    with desk.database.read() as connection:
        stored = repr([list(connection.execute(select(table))) for table in (items, decisions, cases)])
    assert MUM not in stored and "张三" not in stored
    assert desk.cases.case(people["rui"], case.receipt).notes == ()
    assert desk.retention.export(SUBSCRIBER) == {"messages": [], "cases": [], "list_entries": [], "notes": []}


def test_a_number_that_somebody_typed_is_covered_however_it_was_written(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY, recipient=OTHER)])
    [item] = desk.store.queue(people["rui"]).items
    desk.store.verdict(people["rui"], item.id, Label.SPAM, note="回访(139)0000-1234，另有 1390000123")
    text = "她的号码是１３９ ００００ １２３４，不是139000012345"
    case = desk.cases.open(people["ann"], kind=CaseKind.UNWANTED, number=OTHER, at_ms=5, text=text)
    for note in ("call +86 139 0000 1234", "0086-139-0000-1234!", "order 913900001234", f"{OTHER} is another"):
        desk.cases.note(people["ann"], case.receipt, note)
    desk.cases.resolve(people["rui"], case.receipt, Outcome.EXPLANATION, "we told 13900001234")
    assert len(desk.retention.export(SUBSCRIBER)["notes"]) == 5
    gone = desk.retention.erase(SUBSCRIBER)
    assert (gone.notes, gone.decisions, gone.cases) == (5, 0, 0)
    detail = desk.cases.case(people["rui"], case.receipt)
    assert (detail.case.text, detail.case.answer) == ("她的号码是***，不是139000012345", "we told ***")
    assert [note.text for note in detail.notes] == [
        "call ***", "***!", "order 913900001234", f"{OTHER} is another",
    ]  # fmt: skip
    [verdict] = desk.store.item(people["rui"], item.id).verdicts
    assert verdict.note == "回访(***，另有 1390000123"
    row = next(row for row in desk.audit.rows(people["ada"]) if row.action == "subject.erase")
    assert row.detail["notes"] == 5 and SUBSCRIBER[3:] not in repr(row)
    assert desk.retention.erase(SUBSCRIBER).notes == 0


def test_list_entries_that_name_a_number_go_when_they_no_longer_act(
    desk: Desk, people: dict[str, Person], clock: ManualClock
) -> None:
    def listed(days: int) -> int:
        case = desk.cases.open(people["ann"], kind=CaseKind.UNWANTED, text=f"{CASINO}{days}")
        entry = NewEntry(
            kind=ListKind.BLOCK, what="sender", value="139 0000 1234", owner="ops", reason="13900001234 sends it",
            expires_ms=int(clock.now() * 1000) + days * 86_400_000,
        )  # fmt: skip
        desk.cases.resolve(people["rui"], case.receipt, Outcome.LIST_ENTRY, "listed", entry=entry)
        return desk.entries.all(people["rui"])[0].id

    ended = listed(1)
    clock.advance(2 * 86_400)
    acting = listed(90)
    assert [entry["value"] for entry in desk.retention.export(SUBSCRIBER)["list_entries"]] == ["139 0000 1234"] * 2
    gone = desk.retention.erase(SUBSCRIBER)
    assert (gone.entries, gone.held, gone.notes) == (1, 1, 2)
    found = {entry.id: entry for entry in desk.entries.all(people["rui"])}
    assert (found[ended].value, found[ended].status) == ("", EntryStatus.WITHDRAWN)
    assert (found[acting].value, found[acting].status) == ("139 0000 1234", EntryStatus.ACTIVE)
    assert {entry.reason for entry in found.values()} == {"*** sends it"}
    desk.entries.withdraw(people["lee"], acting)
    again = desk.retention.erase(SUBSCRIBER)
    assert (again.entries, again.held) == (1, 0)


def test_only_an_administrator_handles_a_subscribers_data(desk: Desk, people: dict[str, Person]) -> None:
    for name in ("ann", "rui", "lee"):
        with pytest.raises(Forbidden):
            desk.retention.erase(SUBSCRIBER, by=people[name])
