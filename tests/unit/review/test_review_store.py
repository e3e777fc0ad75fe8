"""Do verdicts, releases and their undoing do what reviewers mean, whoever else is at work?"""

import threading

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge
from spamguard.errors import Conflict, Forbidden, NotThere, ReviewInvalid
from spamguard.review.desk import Desk
from spamguard.review.values import Filters, Item, Label, Person, Status, Undone, Verdict
from spamguard.types import Action, Category
from tests.cast import BANK_CODE, CASINO, EVERYONE, INVOICE, LOAN, LOTTERY, MUM, PHISHING, SALE
from tests.reviewing import EVERYTHING_TWICE, SENDER, SUBSCRIBER, copy_of, open_desk, staff


def only(desk: Desk, who: Person, status: Status | None = Status.OPEN) -> Item:
    """Return the one item there is."""
    [item] = desk.store.queue(who, Filters(status=status)).items
    return item


def test_pages_show_every_item_once_in_order(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(text, score=0.3 + place / 20) for place, text in enumerate(EVERYONE)])
    found: list[Item] = []
    after = None
    while True:
        page = desk.store.queue(people["rui"], after=after, limit=5)
        found += page.items
        after = page.next
        if after is None:
            break
    assert page.total == len(EVERYONE)
    assert sorted(item.text for item in found) == sorted(EVERYONE)
    assert [item.priority for item in found] == sorted((item.priority for item in found), reverse=True)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("发票", INVOICE),
        ("彩金", CASINO),
        ("贷款", LOAN),
        ("周年", SALE),
        ("bonus OR 1=1", ""),
        ("验证 身份", PHISHING),
        ("票", INVOICE),
    ],
)
def test_two_chinese_characters_find_a_text(desk: Desk, people: dict[str, Person], query: str, text: str) -> None:
    desk.intake.take([copy_of(said) for said in EVERYONE])
    found = desk.store.queue(people["rui"], Filters(query=query)).items
    assert [item.text for item in found] == ([text] if text else [])


@pytest.mark.parametrize(
    "query", ["'; DROP TABLE items; --", '" OR words MATCH "', "发票' | '", "*", "NEAR(", "\\", "%", "\0", "'':*&!("]
)
def test_no_search_is_read_as_a_command(desk: Desk, people: dict[str, Person], query: str) -> None:
    desk.intake.take([copy_of(INVOICE)])
    desk.store.queue(people["rui"], Filters(query=query, tenant=query, category=query, sender=query))
    assert desk.store.queue(people["rui"]).total == 1


def test_a_hidden_word_is_found_by_its_usual_form(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of("代开发*票，加薇信 fp00061")])
    assert desk.store.queue(people["rui"], Filters(query="微信")).total == 1


def test_filters_narrow_the_queue(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take(
        [
            copy_of(LOTTERY, tenant="acme", category=Category.FRAUD, model="small/1.0", sender="+8613900007777"),
            copy_of(CASINO, tenant="other", category=Category.GAMBLING, model="small/2.0", action=Action.ALLOW),
        ]
    )
    rui = people["rui"]
    for filters, text in (
        (Filters(tenant="acme"), LOTTERY),
        (Filters(category="gambling"), CASINO),
        (Filters(model="small/2.0"), CASINO),
        (Filters(action=Action.BLOCK), LOTTERY),
        (Filters(reason="unsure"), CASINO),
        (Filters(sender="139 0000 7777"), LOTTERY),
    ):
        assert [item.text for item in desk.store.queue(rui, filters).items] == [text], filters
    assert (desk.store.tenants(), desk.store.models()) == (["acme", "other"], ["small/1.0", "small/2.0"])
    assert desk.store.categories() == ["fraud", "gambling"]


def test_an_item_shows_its_messages_masked_and_the_senders_others(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY), copy_of(CASINO), copy_of(MUM, sender="+8613900008888")])
    item = desk.store.queue(people["rui"], Filters(query="公证费")).items[0]
    detail = desk.store.item(people["rui"], item.id)
    [copy] = detail.copies
    assert (copy.sender, copy.recipient) == ("+8613*******55", "+8613*******34")
    assert [other.text for other in detail.same_sender] == [CASINO]
    assert desk.store.number(people["rui"], item.id, copy.decision_id) == (SENDER, SUBSCRIBER)


def test_the_first_of_two_reviewers_decides_and_the_other_is_told(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    done: list[Verdict] = []
    refused: list[Conflict] = []

    def say(name: str) -> None:
        try:
            done.append(desk.store.verdict(people[name], item.id, Label.SPAM, version=item.version))
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=say, args=(name,)) for name in ("rui", "ren", "lee", "ada") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (1, 11)
    assert len(desk.store.item(people["lee"], item.id).verdicts) == 1


def test_a_verdict_on_what_changed_meanwhile_is_refused(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    desk.store.verdict(people["ren"], item.id, Label.SPAM)
    desk.store.undo(people["ren"])
    with pytest.raises(Conflict, match="changed while it was on the screen"):
        desk.store.verdict(people["rui"], item.id, Label.SPAM, version=item.version)


def test_a_second_reader_is_not_told_what_the_first_said(url: str, judge: Judge) -> None:
    desk = open_desk(url, rules=EVERYTHING_TWICE, judge=judge)
    people = staff(desk)
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    desk.store.verdict(people["rui"], item.id, Label.SPAM, category="fraud")
    assert desk.store.queue(people["rui"], Filters(status=Status.SECOND)).items == ()
    second = only(desk, people["ren"], Status.SECOND)
    blind = desk.store.item(people["ren"], item.id)
    assert (second.verdict, blind.verdicts, blind.item.verdict) == (None, (), None)
    with pytest.raises(Conflict, match="somebody else"):
        desk.store.verdict(people["rui"], item.id, Label.SPAM)
    desk.store.verdict(people["ren"], item.id, Label.SPAM, category="fraud")
    assert only(desk, people["ren"], Status.DONE).verdict is not None
    assert desk.outbox.waiting() == 1, "one label, after the second reader"
    desk.close()


def test_a_lead_settles_what_two_readers_see_differently(url: str) -> None:
    desk = open_desk(url, rules=EVERYTHING_TWICE)
    people = staff(desk)
    desk.intake.take([copy_of(SALE)])
    item = only(desk, people["rui"])
    desk.store.verdict(people["rui"], item.id, Label.SPAM)
    assert desk.store.release(people["ren"], item.id).status is Status.DISPUTED
    assert desk.outbox.waiting() == 0, "nothing is released that one of two readers calls spam"
    with pytest.raises(Forbidden):
        desk.store.settle(people["ren"], item.id, Label.HAM)
    with pytest.raises(Conflict):
        desk.store.verdict(people["ren"], item.id, Label.HAM)
    desk.store.settle(people["lee"], item.id, Label.HAM, category="service")
    assert desk.store.release(people["lee"], item.id).released == 1
    desk.close()


def test_a_release_goes_once_for_every_blocked_message(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(BANK_CODE), copy_of(BANK_CODE), copy_of(BANK_CODE, action=Action.ALLOW)])
    item = only(desk, people["rui"])
    shown = desk.store.release(people["rui"], item.id)
    assert (shown.released, shown.status, desk.outbox.waiting()) == (2, Status.DONE, 3)
    desk.store.release(people["rui"], item.id)
    assert desk.outbox.waiting() == 3


def test_what_was_called_spam_is_not_released(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    desk.store.verdict(people["rui"], item.id, Label.SPAM)
    with pytest.raises(Conflict, match="called spam"):
        desk.store.release(people["rui"], item.id)


def test_undo_takes_back_verdict_release_and_label(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(BANK_CODE)])
    item = only(desk, people["rui"])
    desk.store.release(people["rui"], item.id)
    undone = desk.store.undo(people["rui"])
    assert (undone.recalled, undone.gone, desk.outbox.waiting()) == (1, 0, 0)
    again = only(desk, people["rui"])
    assert (again.released, again.verdict) == (0, None)
    with pytest.raises(NotThere):
        desk.store.undo(people["rui"])


def test_undo_says_what_the_broker_already_had_and_withdraws_the_label(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(BANK_CODE)])
    item = only(desk, people["rui"])
    desk.store.release(people["rui"], item.id)
    desk.outbox.done(desk.outbox.take())
    undone: Undone = desk.store.undo(people["rui"], item.id)
    assert (undone.recalled, undone.gone) == (0, 1)
    [withdrawal] = desk.outbox.take()
    assert b'"withdrawn":true' in (withdrawal.outgoing.value or b"")


def test_nobody_undoes_what_another_has_read_since(url: str) -> None:
    desk = open_desk(url, rules=EVERYTHING_TWICE)
    people = staff(desk)
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    desk.store.verdict(people["rui"], item.id, Label.SPAM)
    desk.store.verdict(people["ren"], item.id, Label.SPAM)
    with pytest.raises(Conflict, match="ren has read it since"):
        desk.store.undo(people["rui"])
    desk.close()


def test_a_bulk_verdict_names_those_that_others_had(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(text) for text in (LOTTERY, CASINO, LOAN)])
    ids = [item.id for item in desk.store.queue(people["rui"]).items]
    desk.store.verdict(people["ren"], ids[1], Label.HAM)
    found = desk.store.bulk(people["rui"], [*ids, "no-such-item"], Label.SPAM)
    assert (set(found.done), set(found.conflicts)) == ({ids[0], ids[2]}, {ids[1], "no-such-item"})


def test_a_category_belongs_to_its_label(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    with pytest.raises(ReviewInvalid):
        desk.store.verdict(people["rui"], item.id, Label.SPAM, category="otp")
    with pytest.raises(ReviewInvalid):
        desk.store.verdict(people["rui"], item.id, "maybe")  # type: ignore[arg-type]


def test_a_guessed_id_is_not_there(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    for guess in ("1", "0", "' OR 1=1", "x" * 5000):
        with pytest.raises(NotThere):
            desk.store.item(people["rui"], guess)


def test_an_agent_sees_and_decides_nothing_of_the_queue(
    desk: Desk, people: dict[str, Person], clock: ManualClock
) -> None:
    desk.intake.take([copy_of(LOTTERY)])
    item = only(desk, people["rui"])
    ann = people["ann"]
    for attempt in (
        lambda: desk.store.queue(ann),
        lambda: desk.store.item(ann, item.id),
        lambda: desk.store.number(ann, item.id, "x"),
        lambda: desk.store.verdict(ann, item.id, Label.SPAM),
        lambda: desk.store.settle(ann, item.id, Label.SPAM),
        lambda: desk.store.bulk(ann, [item.id], Label.SPAM),
        lambda: desk.store.release(ann, item.id),
        lambda: desk.store.undo(ann),
        lambda: desk.replay(ann, "x"),
        lambda: desk.audit.rows(ann),
        lambda: list(desk.labels.export(ann)),
        lambda: desk.figures.figures(ann, since_ms=0, until_ms=1),
        lambda: desk.retention.export(SUBSCRIBER, by=ann),
        lambda: desk.people.list(by=ann),
    ):
        with pytest.raises(Forbidden):
            attempt()
