"""Are the figures honest: weighted by the lot, with intervals, and the same by hand?"""

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.review.desk import Desk
from spamguard.review.figures import kappa, quantile, rate
from spamguard.review.values import CaseKind, Filters, Label, Outcome, Person, Status
from spamguard.types import Action, Category
from tests.cast import BANK_CODE, CASINO, EVERYONE, INVOICE, LOAN, LOTTERY, MUM, PHISHING, SALE
from tests.reviewing import EVERYTHING_TWICE, MORNING_S, copy_of, open_desk, staff

SINCE = int((MORNING_S - 86_400) * 1000)
UNTIL = int((MORNING_S + 86_400) * 1000)


def test_an_interval_holds_the_truth_and_heavy_messages_count_for_few() -> None:
    even = rate([True] * 5 + [False] * 95, [1.0] * 100)
    uneven = rate([True] * 5 + [False] * 95, [100.0] + [1.0] * 99)
    assert even.estimate == 0.05 and even.low is not None and even.low < 0.05 < (even.high or 0)
    assert (uneven.high or 0) - (uneven.low or 0) > 3 * ((even.high or 0) - even.low)
    assert rate([], []).estimate is None
    nothing_wrong = rate([False] * 300, [1.0] * 300)
    assert (nothing_wrong.estimate, nothing_wrong.low) == (0.0, 0.0)
    assert 0.009 < (nothing_wrong.high or 0) < 0.014, "the rule of three, and a little more"


def test_kappa_is_cohens() -> None:
    pairs = [("spam", "spam")] * 20 + [("spam", "ham")] * 5 + [("ham", "spam")] * 10 + [("ham", "ham")] * 15
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa([]) is None
    assert quantile([], 0.5) is None


def test_error_rates_rest_on_the_lot_alone(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take(
        [
            copy_of(BANK_CODE, chance=0.5),  # blocked and good: weighs two
            copy_of(LOTTERY, chance=0.5),
            copy_of(CASINO, chance=0.5),
            copy_of(MUM),  # blocked and good, but not drawn
            copy_of(SALE, action=Action.ALLOW, chance=0.01, score=0.1),  # spam that passed: weighs a hundred
            *(
                copy_of(f"{MUM} {word}", action=Action.ALLOW, chance=0.01, score=0.1)
                for word in ("早点回来", "别忘了带伞出门", "外婆也在家等你")
            ),
        ]
    )
    good = {BANK_CODE, MUM}
    for item in desk.store.queue(people["rui"]).items:
        label = Label.HAM if item.text in good or item.text.startswith(MUM) else Label.SPAM
        desk.store.verdict(people["rui"], item.id, label)
    found = desk.figures.figures(people["lee"], since_ms=SINCE, until_ms=UNTIL, by="category")
    assert found.all.blocked_ham.estimate == pytest.approx(2 / 6)
    assert found.all.blocked_ham.read == 3
    assert found.false_negative_rate.estimate == pytest.approx(100 / 104, abs=1e-5)
    assert found.false_positive_rate.estimate == pytest.approx(2 / (2 + 300), abs=1e-5)
    assert found.overturn.estimate == pytest.approx(2 / 4)
    assert (found.all.blocked, found.all.overturned) == (4, 2)
    assert found.verdict_p50_s == 600


def test_figures_are_told_apart_by_what_is_asked(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take(
        [
            copy_of(LOTTERY, tenant="acme", category=Category.FRAUD),
            copy_of(CASINO, tenant="other", category=Category.GAMBLING, model="small/2.0"),
            copy_of(LOAN, tenant="other", category=Category.LOAN),
        ]
    )
    for item in desk.store.queue(people["rui"]).items:
        desk.store.verdict(people["rui"], item.id, Label.SPAM)
    for by, keys in (
        ("tenant", {"acme": 1, "other": 2}),
        ("category", {"fraud": 1, "gambling": 1, "loan": 1}),
        ("model", {"small/1.0": 2, "small/2.0": 1}),
        ("week", {"2026-W48": 3}),
    ):
        found = desk.figures.figures(people["rui"], since_ms=SINCE, until_ms=UNTIL, by=by)
        assert {row.key: row.blocked for row in found.groups} == keys
        assert {row.key: row.verdicts for row in found.groups} == keys
    only = desk.figures.figures(people["rui"], since_ms=SINCE, until_ms=UNTIL, tenant="other")
    assert only.all.blocked == 2


def test_agreement_is_of_items_that_were_read_twice(url: str) -> None:
    desk = open_desk(url, rules=EVERYTHING_TWICE)
    people = staff(desk)
    desk.intake.take([copy_of(text) for text in (LOTTERY, CASINO, INVOICE, BANK_CODE)])
    for item in desk.store.queue(people["rui"]).items:
        desk.store.verdict(people["rui"], item.id, Label.HAM if item.text == BANK_CODE else Label.SPAM)
    for item in desk.store.queue(people["ren"], Filters(status=Status.SECOND)).items:
        desk.store.verdict(people["ren"], item.id, Label.HAM if item.text in (BANK_CODE, INVOICE) else Label.SPAM)
    found = desk.figures.figures(people["lee"], since_ms=SINCE, until_ms=UNTIL)
    assert (found.kappa, found.kappa_count, found.agreed, found.second) == (0.5, 4, 3, 1)
    desk.close()


def test_a_months_report_counts_its_cases(desk: Desk, people: dict[str, Person], clock: ManualClock) -> None:
    for hours in (1, 30):
        case = desk.cases.open(people["ann"], kind=CaseKind.QUESTION, text=PHISHING)
        clock.advance(hours * 3600)
        desk.cases.resolve(people["rui"], case.receipt, Outcome.EXPLANATION, "it was phishing")
        desk.cases.rate_by_receipt(case.receipt, 4)
    report = desk.figures.report(people["lee"], "2026-11")
    assert report.outcomes == {"explanation": 2}
    assert report.handled_in_time.estimate == 0.5
    assert (report.figures.satisfaction, report.figures.cases_resolved) == (4.0, 2)
    assert desk.figures.report(people["lee"], "2026-12").figures.cases_opened == 0


def test_a_spreadsheet_runs_nothing_of_it(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(text, tenant='=HYPERLINK("http://evil.example")') for text in EVERYONE])
    found = desk.figures.figures(people["lee"], since_ms=SINCE, until_ms=UNTIL, by="tenant")
    table = desk.figures.csv(people["lee"], found)
    assert table.splitlines()[1].startswith("\"'=HYPERLINK")
    assert table.splitlines()[0].startswith("tenant,blocked,")
