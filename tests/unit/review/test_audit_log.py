"""Does the audit log show every change of itself, and does it hold no text and no number?"""

import threading

import pytest
from sqlalchemy import delete, insert, select, update
from structlog.testing import capture_logs

from spamguard.review.desk import Desk
from spamguard.review.tables import audit
from spamguard.review.values import CaseKind, Label, Person
from tests.cast import BANK_CODE, EVERYONE, LOTTERY
from tests.reviewing import SENDER, SUBSCRIBER, copy_of


def work(desk: Desk, people: dict[str, Person]) -> None:
    """Do and see a little of everything."""
    desk.intake.take([copy_of(text) for text in EVERYONE])
    page = desk.store.queue(people["rui"])
    for item in page.items[:4]:
        desk.store.item(people["rui"], item.id)
        desk.store.verdict(people["rui"], item.id, Label.SPAM, note="a note with words")
    desk.store.release(people["rui"], page.items[5].id)
    copy = desk.store.item(people["rui"], page.items[5].id).copies[0]
    desk.store.number(people["rui"], page.items[5].id, copy.decision_id)
    desk.cases.open(people["ann"], kind=CaseKind.MISSING, number=SUBSCRIBER, at_ms=0, text=BANK_CODE, note="please")
    desk.retention.export(SUBSCRIBER)


def test_every_action_and_every_view_is_a_row_without_text_or_number(desk: Desk, people: dict[str, Person]) -> None:
    work(desk, people)
    rows = desk.audit.rows(people["ada"], limit=1000)
    assert {
        "queue.view",
        "item.view",
        "item.verdict",
        "item.release",
        "number.view",
        "case.open",
        "subject.export",
    } <= {row.action for row in rows}
    stored = repr(rows)
    for secret in (*EVERYONE, SENDER[3:], SUBSCRIBER[3:], "a note with words", "please", "公证费"):
        assert secret not in stored


def test_a_whole_log_is_whole(desk: Desk, people: dict[str, Person]) -> None:
    work(desk, people)
    verified = desk.audit.verify()
    assert (verified.broken_at, verified.rows) == (None, desk.audit.count())
    assert (verified.rows, verified.head) == desk.audit.head()
    assert desk.audit.verify(head=verified.head).broken_at is None


@pytest.mark.parametrize("deed", ["changed", "taken out", "put in", "cut off", "begun anew"])
def test_a_log_that_was_meddled_with_is_broken(desk: Desk, people: dict[str, Person], deed: str) -> None:
    work(desk, people)
    _, head = desk.audit.head()
    last = desk.audit.count()
    with desk.database.write() as connection:
        if deed == "changed":
            connection.execute(update(audit).where(audit.c.seq == 3).values(who="somebody else"))
        elif deed == "taken out":
            connection.execute(delete(audit).where(audit.c.seq == 3))
        elif deed == "put in":
            row = dict(connection.execute(select(audit).where(audit.c.seq == last)).one()._mapping)
            connection.execute(insert(audit).values(row | {"seq": last + 1, "previous": row["hash"]}))
        elif deed == "cut off":
            connection.execute(delete(audit).where(audit.c.seq == last))
        else:
            connection.execute(delete(audit))
    assert desk.audit.verify(head=head).broken_at is not None


def test_many_at_once_write_one_chain(desk: Desk, people: dict[str, Person]) -> None:
    def see() -> None:
        for number in range(10):
            desk.audit.saw(people["rui"], "test", str(number))

    threads = [threading.Thread(target=see) for _ in range(6)]
    before = desk.audit.count()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (desk.audit.verify().broken_at, desk.audit.count()) == (None, before + 60)


def test_the_head_is_logged_outside_the_database(desk: Desk, people: dict[str, Person]) -> None:
    work(desk, people)
    with capture_logs() as logged:
        desk.audit.publish_head()
    [line] = logged
    assert (line["event"], line["rows"], line["head"]) == ("audit_head", *desk.audit.head())
    assert LOTTERY not in repr(line)
