"""Does the demonstration run the main job on any machine, and end with what it did?"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spamguard.cli import demo
from spamguard.service import judging
from tests.cast import INVOICE
from tests.unit.cli.conftest import Spamguard

SAMPLES = 240


def test_without_a_terminal_it_prints_a_line_a_decision_and_ends_with_the_totals(tiny_model: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "spamguard", "demo", "--rate", "400"],
        env={**os.environ, "SPAMGUARD_MODEL": str(tiny_model)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[2].split() == ["action", "score", "reason", "category", "sender", "clues", "text"]
    decided = [line for line in lines if line.startswith(("allow ", "block "))]
    assert len(decided) == SAMPLES
    for reason in ("spam_score", "ham_score", "consented", "no_evidence", "not_text"):
        assert any(reason in line for line in decided)
    allowed, blocked = (
        int(re.search(rf"^(\d+) {word}", ended.stdout, re.MULTILINE)[1])  # type: ignore[index]
        for word in ("allowed", "blocked")
    )
    assert allowed + blocked == SAMPLES
    assert blocked == sum(line.startswith("block") for line in decided)
    assert "240 decisions on 240 messages" in ended.stdout
    assert re.search(r"latency +p50 \d+ ms · p95 \d+ ms · p99 \d+ ms", ended.stdout)
    assert re.search(r"metrics +http://127\.0\.0\.1:\d+/metrics while it ran: 240 decisions", ended.stdout)
    assert re.search(r"^  \S*spamguard explain '", ended.stdout, re.MULTILINE)
    assert lines[-1] == "  spamguard check"


def test_no_senders_number_is_shown_whole(spamguard: Spamguard) -> None:
    ended = spamguard("demo", "--rate", "0")
    senders = [line.split("  ") for line in ended.lines if line.startswith(("allow ", "block "))]
    assert senders
    for parts in senders:
        assert not any(re.fullmatch(r"\+?\d{8,}", part.strip()) for part in parts)


def test_a_message_without_a_decision_makes_it_fail(
    spamguard: Spamguard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(f'{{"message_id": "one", "text": "{INVOICE}"}}\nno message\n')
    monkeypatch.setattr(judging, "sample_messages", lambda: path)
    monkeypatch.setattr(demo, "PATIENCE_S", 0.5)
    ended = spamguard("demo", "--rate", "0")
    assert ended.code == 1
    assert "1 decisions on 2 messages" in ended.out
    assert "1 messages got no decision" in ended.out


def test_what_keeps_the_worker_from_starting_is_said_in_a_sentence(spamguard: Spamguard) -> None:
    ended = spamguard("demo", "--model", "nobody")
    assert ended.code == 4
    assert len(ended.err.splitlines()) == 1


def test_a_percentile_is_a_time_that_was_measured() -> None:
    times = list(range(1, 101))
    assert [demo._percentile(times, part) for part in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert demo._percentile([7], 50) == demo._percentile([7], 99) == 7
