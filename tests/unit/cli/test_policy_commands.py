"""Do the commands around a policy file say what is wrong, what holds, and what would change, with an exit code?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cast import BANK_CODE, INVOICE, LOAN, LOTTERY, MUM, SALE
from tests.unit.cli.conftest import Spamguard


@pytest.fixture
def lenient(tmp_path: Path) -> Path:
    path = tmp_path / "lenient.toml"
    path.write_text('name = "lenient"\n[categories]\nfraud = "review"\n', encoding="utf-8")
    return path


def recording(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_check_names_every_fault_like_a_compiler_does(spamguard: Spamguard, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('mode = "observ"\n[tenant.acme]\npresset = "strict"\n', encoding="utf-8")
    ended = spamguard("policy", "check", str(path))
    assert ended.code == 3
    assert ended.lines[0] == f"{path}:1: mode is 'observ'; write one of enforce, observe (did you mean observe?)"
    assert ended.lines[1].startswith(f"{path}:3: nothing is called 'presset' in [tenant.acme]")
    path.write_text('mode = "observe"\n', encoding="utf-8")
    assert spamguard("policy", "check", str(path)).code == 0


def test_without_a_file_or_with_one_that_is_away_the_next_step_is_said(spamguard: Spamguard) -> None:
    ended = spamguard("policy", "check")
    assert ended.code == 3 and "SPAMGUARD_POLICY" in ended.err
    ended = spamguard("policy", "check", "nowhere.toml")
    assert ended.code == 3 and "cannot be read" in ended.err


def test_show_and_diff_say_for_whom_something_holds(
    spamguard: Spamguard, lenient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = spamguard("policy", "show", str(lenient), "--json")
    [others, opted_in] = sorted(json.loads(shown.out)["rules"], key=lambda row: str(row["marketing"]), reverse=True)
    assert (others["where"], others["fraud"], others["marketing"]) == ("all: opt_out unknown", "review", "block")
    assert opted_in["where"] == "all: opt_in"
    monkeypatch.setenv("COLUMNS", "80")
    narrow = spamguard("policy", "show", str(lenient)).lines
    assert "any other tenant; all: opt_out unknown; enforce, cutoffs the model's" in narrow
    assert "  review fraud" in narrow
    differing = spamguard("policy", "diff", str(lenient), "--json")
    [change] = json.loads(differing.out)["changes"]
    assert differing.code == 1
    assert (change["what"], change["from"], change["to"]) == ("fraud", "block", "review")
    assert spamguard("policy", "diff", str(lenient), str(lenient)).code == 0


def test_newly_blocked_good_messages_come_first_with_their_numbers_covered(
    spamguard: Spamguard, tmp_path: Path, lenient: Path
) -> None:
    recorded = recording(
        tmp_path / "recorded.jsonl",
        [
            {"message_id": "m1", "text": MUM, "label": "ham"},
            {"message_id": "m2", "text": LOTTERY, "label": "spam"},
            {"message_id": "m3-13900001234", "text": "代开发票请联系 13900001234 点数低可验", "label": "ham"},
            {"decision": {"broken": True}, "message": {"message_id": "m4", "text": INVOICE}},
            {"nothing": "of use"},
        ],
    )
    strict = tmp_path / "strict.toml"
    strict.write_text('name = "all"\ncutoffs = { ham = 0.00001, spam = 0.00002 }\n', encoding="utf-8")
    ended = spamguard("policy", "test", str(strict), "--base", str(lenient), "--against", str(recorded), "--json")
    found = json.loads(ended.out)
    assert ended.code == 1
    assert (found["lines"], found["unreadable"], found["labelled"]) == (5, 1, 3)
    assert found["changes"][0]["label"] == "ham" and found["changes"][0]["change"] == "newly blocked"
    assert found["counts"]["newly blocked ham"] >= 1
    assert (
        "13900001234"
        not in spamguard("policy", "test", str(strict), "--base", str(lenient), "--against", str(recorded)).out
    )
    back = spamguard("policy", "test", str(lenient), "--against", str(recorded), "--fail-on", "any")
    assert back.code == 1 and "newly passed" in back.out
    assert spamguard("policy", "test", str(lenient), "--against", str(recorded)).code == 0
    same = spamguard("policy", "test", str(lenient), "--base", str(lenient), "--against", str(recorded))
    assert "Nothing would change." in same.out


def test_recorded_decisions_and_review_copies_are_ruled_again_from_what_they_hold(
    spamguard: Spamguard, tmp_path: Path, lenient: Path
) -> None:
    messages = [{"message_id": f"m{n}", "text": text} for n, text in enumerate((LOTTERY, LOAN, SALE, BANK_CODE, MUM))]
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    decisions = spamguard("score", "--jsonl", given=lines.encode()).out
    ended = spamguard("policy", "test", str(lenient), "--against", "-", "--json", given=decisions.encode())
    found = json.loads(ended.out)
    frauds = sum(json.loads(line).get("category") == "fraud" for line in decisions.splitlines())
    assert frauds >= 1
    assert found["counts"]["newly passed"] == frauds == len(found["changes"])
    assert all(change["text"] == "" for change in found["changes"])
