"""Is a wrong label found, does a reader's answer come back without the text, and is no reader's work lost?"""

import json
from pathlib import Path

import msgspec
import pytest
from spamguard_training.audit import filled_in, suspects, write_suspects
from spamguard_training.corpus import Row
from spamguard_training.overlay import append_readings, read_overlay

from spamguard.errors import DataError
from tests.cast import INVOICE, LOTTERY, MUM, PARCEL


def row(identity: str, label: str, text: str, **more: object) -> Row:
    return msgspec.convert({"id": identity, "label": label, "text": text, "group": identity} | more, Row)


def test_the_most_suspicious_label_comes_first_and_read_rows_are_left_alone() -> None:
    rows = [
        row("good", "ham", MUM),
        row("doubtful", "ham", PARCEL),
        row("wrong", "ham", INVOICE),
        row("read", "ham", LOTTERY, read=True),
    ]
    log_odds = {"good": -5.0, "doubtful": 0.5, "wrong": 4.0, "read": 6.0}
    found = suspects(rows, log_odds, prior=0.5)
    assert [(suspect.id, suspect.suggested) for suspect in found] == [("wrong", "spam"), ("doubtful", "spam")]
    assert suspects(rows, log_odds, prior=0.5, read_too=True)[0].id == "read"
    assert suspects(rows, log_odds, prior=0.5, least=-9)[-1].id == "good"


def test_a_label_against_its_read_near_duplicates_is_suspicious() -> None:
    rows = [
        row("odd", "ham", INVOICE, group="g"),
        *(row(f"r{number}", "spam", f"{INVOICE}{number}", group="g", read=True) for number in range(3)),
    ]
    found = suspects(rows, {"odd": -1.0, "r0": 1.0}, prior=0.5)
    assert [(suspect.id, suspect.reason) for suspect in found] == [("odd", "near-duplicates are labelled otherwise")]


def test_the_prior_of_the_calibration_takes_no_side() -> None:
    rows = [row("a", "spam", INVOICE), row("b", "ham", MUM)]
    even = -2.1972246  # log-odds of a share of 0.1
    assert suspects(rows, {"a": even + 0.1, "b": even - 0.1}, prior=0.1) == []
    assert len(suspects(rows, {"a": even - 0.1, "b": even + 0.1}, prior=0.1)) == 2


def test_what_a_reader_fills_in_becomes_an_overlay_without_texts(tmp_path: Path) -> None:
    found = suspects([row("a", "ham", INVOICE), row("b", "ham", LOTTERY)], {"a": 5.0, "b": 4.0}, prior=0.5)
    path, overlay = tmp_path / "suspicious.jsonl", tmp_path / "overlay.jsonl"
    write_suspects(path, found)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[0] |= {"label": "spam", "category": "illegal", "who": "me", "why": "sells invoices", "confidence": "low"}
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    assert append_readings(overlay, filled_in(path)) == (1, 1)
    assert append_readings(overlay, filled_in(path)) == (0, 1)
    [reading] = read_overlay(overlay)
    assert (reading.id, reading.label, reading.category, reading.confidence) == ("a", "spam", "illegal", "low")
    assert INVOICE not in overlay.read_text(encoding="utf-8")
    before = overlay.read_bytes()
    lines[0] |= {"label": "ham", "category": "service"}
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    with pytest.raises(DataError, match="contradicts line 1"):
        append_readings(overlay, filled_in(path))
    assert overlay.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "draft" in file.name] == []


def test_a_readers_work_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "suspicious.jsonl"
    path.write_text("{}")
    with pytest.raises(DataError, match="may hold a reader's work"):
        write_suspects(path, [])
