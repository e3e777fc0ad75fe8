"""Do verdicts reach training, with who read them and how far they are to be trusted, and nothing else?"""

import json
from pathlib import Path

from spamguard_training.corpus import read_corpus
from spamguard_training.retrain import read_labels

from spamguard.review.desk import Desk
from spamguard.review.values import Filters, Label, Person, Status
from tests.cast import BANK_CODE, CASINO, LOTTERY, MUM, SALE
from tests.reviewing import EVERYTHING_TWICE, copy_of, open_desk, staff


def test_the_training_package_reads_what_is_exported(desk: Desk, people: dict[str, Person], tmp_path: Path) -> None:
    desk.intake.take([copy_of(LOTTERY), copy_of(LOTTERY), copy_of(BANK_CODE), copy_of(MUM)])
    for item in desk.store.queue(people["rui"]).items:
        if item.text != MUM:
            spam = item.text == LOTTERY
            desk.store.verdict(
                people["rui"], item.id, Label.SPAM if spam else Label.HAM, category="fraud" if spam else "otp"
            )
    path = tmp_path / "train-review.jsonl"
    path.write_bytes(b"".join(desk.labels.export(people["lee"])))
    rows, _ = read_corpus([path])
    found = {row.text: row for row in rows}
    assert found.keys() == {LOTTERY, BANK_CODE}, "what nobody has read is no row"
    lottery = found[LOTTERY]
    assert (lottery.label, lottery.category, lottery.copies, lottery.read, lottery.lang) == (
        "spam",
        "fraud",
        2,
        True,
        "zh",
    )
    assert len({row.group for row in rows}) == 2
    raw = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    labels, _, contradictions = read_labels([path])
    assert ({row.reader for row in labels}, {row.trust for row in labels}, contradictions) == ({"rui"}, {"one"}, 0)
    assert (raw["reader"], raw["trust"], raw["labelled_at"]) == ("rui", "one", "2026-11-24T00:00:00+00:00")


def test_an_overlay_has_ids_and_labels_and_no_text(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(CASINO)])
    desk.store.verdict(people["rui"], desk.store.queue(people["rui"]).items[0].id, Label.SPAM, category="gambling")
    [line] = desk.labels.export(people["lee"], "overlay")
    assert json.loads(line).keys() == {"id", "label", "category", "who", "why", "trust"}


def test_what_waits_for_a_second_reader_or_is_disputed_is_no_row(url: str) -> None:
    desk = open_desk(url, rules=EVERYTHING_TWICE)
    people = staff(desk)
    desk.intake.take([copy_of(text) for text in (LOTTERY, SALE, CASINO)])
    for item in desk.store.queue(people["rui"]).items:
        desk.store.verdict(people["rui"], item.id, Label.SPAM)
    for item in desk.store.queue(people["ren"], Filters(status=Status.SECOND)).items:
        if item.text != CASINO:
            desk.store.verdict(people["ren"], item.id, Label.HAM if item.text == SALE else Label.SPAM)
    exported = [json.loads(line) for line in desk.labels.export(people["lee"])]
    assert [(row["text"], row["trust"], row["reader"]) for row in exported] == [(LOTTERY, "two", "ren")]
    desk.close()
