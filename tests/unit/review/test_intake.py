"""Does a review copy come in once, encrypted, and beside its near-identical ones?"""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from spamguard.backends.metrics import MemoryMetrics
from spamguard.core.codec import encode
from spamguard.review.desk import Desk
from spamguard.review.intake import IntakeHandler
from spamguard.review.tables import METADATA, decisions
from spamguard.review.values import Filters, Label, Person, Rules, Status, Why
from spamguard.types import Action, Partition, Record, ShadowOpinion, ShadowReport
from tests.cast import BANK_CODE, INVOICE, LOTTERY, MUM, NASTY, PHISHING
from tests.reviewing import SENDER, SUBSCRIBER, copy_of, open_desk, staff


def test_a_copy_that_comes_again_changes_nothing(desk: Desk, people: dict[str, Person]) -> None:
    copies = [copy_of(LOTTERY), copy_of(PHISHING)]
    assert desk.intake.take([*copies, copies[0]]) == 2
    assert desk.intake.take(copies) == 0
    assert [item.count for item in desk.store.queue(people["rui"]).items] == [1, 1]


def test_near_identical_messages_are_one_item_with_a_count(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of("代开发票，各行业均可，验真后付款，加微信 fp00061")])
    desk.intake.take(
        [
            copy_of("代开发*票，各行业均可，验真后付款，加薇信 fp998"),  # tricks and figures
            copy_of("张先生，代开发票，各行业均可，验真后付款，加微信 fp7"),  # a name before it
            copy_of(MUM, action=Action.ALLOW, score=0.5),
        ]
    )
    assert sorted(item.count for item in desk.store.queue(people["rui"]).items) == [1, 3]


def test_the_same_text_of_two_tenants_is_two_items(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY, tenant="acme"), copy_of(LOTTERY, tenant="other")])
    assert len(desk.store.queue(people["rui"]).items) == 2


def test_what_teaches_most_comes_first(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take(
        [
            copy_of(LOTTERY, score=0.999999),
            copy_of(PHISHING, score=0.71),
            copy_of(MUM, action=Action.ALLOW, score=0.000001, chance=0.01),
            *(copy_of(INVOICE, score=0.999999) for _ in range(5)),
        ]
    )
    found = desk.store.queue(people["rui"]).items
    assert [item.why for item in found] == [Why.CUTOFF, Why.RANDOM, Why.KIND, Why.BLOCKED]


def test_what_the_challenger_would_do_otherwise_is_read_earlier(desk: Desk, people: dict[str, Person]) -> None:
    copies = [copy_of(LOTTERY), copy_of(PHISHING)]
    desk.intake.take(copies)
    opinion = ShadowOpinion(
        model="small/2.0", score=0.1, ham_cutoff=0.3, spam_cutoff=0.7, would_be=Action.ALLOW,
        reason=copies[0].decision.reason, category=None,
    )  # fmt: skip
    report = ShadowReport(
        decision_id=copies[1].decision.decision_id, message_id="m", outcome="would_allow", champion=opinion,
        challenger=opinion, decided_at="2026-11-24T00:00:00+00:00",
    )  # fmt: skip
    desk.intake.shadow([report])
    assert desk.store.queue(people["rui"]).items[0].text == PHISHING
    assert desk.store.queue(people["rui"], Filters(why=Why.SHADOW)).total == 1


def test_a_good_text_that_is_blocked_again_comes_back(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(BANK_CODE)])
    [item] = desk.store.queue(people["rui"]).items
    desk.store.release(people["rui"], item.id)
    assert desk.store.queue(people["rui"]).items == ()
    desk.intake.take([copy_of(BANK_CODE)])
    [again] = desk.store.queue(people["rui"]).items
    assert (again.id, again.why, again.count, again.status) == (item.id, Why.AGAIN, 2, Status.OPEN)
    desk.store.release(people["ren"], again.id)
    assert [copy.released_ms is not None for copy in desk.store.item(people["rui"], item.id).copies] == [True, True]


def test_spam_that_goes_on_stays_read(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    desk.store.verdict(people["rui"], desk.store.queue(people["rui"]).items[0].id, Label.SPAM)
    desk.intake.take([copy_of(LOTTERY)])
    assert desk.store.queue(people["rui"]).items == ()


def test_no_whole_number_lies_in_the_database(desk: Desk) -> None:
    desk.intake.take([copy_of(MUM)])
    desk.cases.open(staff(desk)["ann"], kind="missing", number=SUBSCRIBER, at_ms=1)  # type: ignore[arg-type]
    with desk.database.read() as connection:
        stored = repr([list(connection.execute(select(table))) for table in METADATA.sorted_tables])
    for number in (SENDER, SUBSCRIBER):
        assert number not in stored
        assert number.removeprefix("+86") not in stored


def test_no_whole_number_lies_in_sqlites_file(tmp_path: Path) -> None:
    desk = open_desk(f"sqlite:///{tmp_path}/plain.db")
    desk.intake.take([copy_of(MUM)])
    desk.close()
    for file in tmp_path.iterdir():
        assert SUBSCRIBER.removeprefix("+86").encode() not in file.read_bytes()


@pytest.mark.parametrize("text", [NASTY, "", "\0", "1", "一", "x" * 40_000, "发" * 5000])
def test_no_text_keeps_others_out(desk: Desk, people: dict[str, Person], text: str) -> None:
    desk.intake.take([copy_of(text.encode("utf-8", "replace").decode()), copy_of(LOTTERY)])
    assert desk.store.queue(people["rui"]).total == 2


def test_the_lots_share_is_drawn(url: str) -> None:
    desk = open_desk(url, rules=Rules(lot_share=0.5))
    desk.intake.take([copy_of(LOTTERY) for _ in range(200)])
    with desk.database.read() as connection:
        drawn = [row.chance for row in connection.execute(select(decisions)) if row.chance is not None]
    assert 60 < len(drawn) < 140
    assert set(drawn) == {0.5}
    desk.close()


def test_an_unreadable_record_is_counted_and_the_rest_is_stored(desk: Desk, people: dict[str, Person]) -> None:
    metrics = MemoryMetrics()
    place = Partition("sms.review", 0)
    values = [b"not json", encode(copy_of(LOTTERY)), None]
    records = [
        Record(partition=place, offset=offset, key=None, value=value, timestamp_ms=0)
        for offset, value in enumerate(values)
    ]
    handler = IntakeHandler(desk.intake, shadow_topic="sms.shadow", metrics=metrics)
    asyncio.run(handler.handle({place: records}))
    assert metrics.values[("spamguard_review_unreadable_total", ())] == 2
    assert desk.store.queue(people["rui"]).total == 1
