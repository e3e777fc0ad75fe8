"""Do readers' labels reach training, and does a quarrel between them say where it is?"""

import json
from pathlib import Path
from typing import Any

import pytest
from spamguard_training.corpus import Row
from spamguard_training.overlay import CATEGORIES, lay_over, read_overlay, unknown_ids
from spamguard_training.recipe import Recipe
from spamguard_training.train import gather

from spamguard.errors import DataError
from tests.conftest import SAMPLES

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "datasets" / "overlay.jsonl"


def reading(identity: str, label: str = "ham", category: str = "service", **more: Any) -> str:
    return json.dumps({"id": identity, "label": label, "category": category, "who": "r", "why": "notice"} | more)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_row_takes_the_readers_label_and_counts_as_read(rows: list[Row], tmp_path: Path) -> None:
    spam = next(row for row in rows if row.is_spam)
    overlay = write(tmp_path / "overlay.jsonl", reading(spam.id, confidence="low"), reading("0" * 16))
    found, files = gather([SAMPLES / "labelled.jsonl"], [], Recipe(), overlay)
    changed = {row.id: row for row in found}[spam.id]
    assert (changed.label, changed.category, changed.read, changed.confidence) == ("ham", "service", True, "low")
    assert changed.text == spam.text
    assert [row for row in found if row.id != spam.id] == [row for row in rows if row.id != spam.id]
    assert (files[-1].name, files[-1].rows) == ("overlay.jsonl", 2)
    assert unknown_ids(rows, read_overlay(overlay)) == ["0" * 16]


def test_readers_who_agree_are_one_reading(tmp_path: Path) -> None:
    overlay = write(tmp_path / "o.jsonl", reading("a"), "", reading("a", who="s", why="another reason"))
    assert [found.who for found in read_overlay(overlay)] == ["r"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (reading("a", "spam", "marketing"), "line 3 contradicts line 1"),
        (reading("a", category="personal"), "line 3 contradicts line 1"),
        (reading("b", "spam"), "line 3: the label policy"),
        (reading("b", "maybe"), "line 3 is no reading"),
        (reading("b", who=" "), "line 3 does not say who"),
        ('{"id": "b"}', "line 3 is no reading"),
        ("晚上吃饭", "line 3 is no reading"),
    ],
)
def test_a_bad_reading_names_its_line_and_not_what_it_holds(tmp_path: Path, bad: str, said: str) -> None:
    overlay = write(tmp_path / "o.jsonl", reading("a"), "", bad)
    with pytest.raises(DataError, match=rf"o\.jsonl {said}") as caught:
        read_overlay(overlay)
    assert "晚上" not in str(caught.value)


def test_without_readings_nothing_changes(rows: list[Row]) -> None:
    assert list(lay_over(rows, [])) == rows


def test_the_shipped_overlay_can_be_read_and_holds_no_texts() -> None:
    assert read_overlay(SHIPPED)
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        assert set(entry) <= {"id", "label", "category", "who", "why", "confidence"}
        assert entry["why"].isascii()
        assert len(entry["why"]) <= 60


def test_the_categories_are_the_label_policys() -> None:
    policy = (ROOT / "datasets" / "LABEL_POLICY.md").read_text(encoding="utf-8")
    assert all(f"| {category} |" in policy for category in CATEGORIES)
