"""Do the review application's commands say what they did, and refuse in a sentence what they cannot do?"""

import json
import socket
from pathlib import Path

import pytest

from spamguard import config
from spamguard.review.desk import Desk
from spamguard.review.values import Label, Role
from spamguard.service.review import open_desk
from tests.cast import BANK_CODE, LOTTERY, MUM
from tests.reviewing import SUBSCRIBER, copy_of
from tests.unit.cli.conftest import Spamguard


@pytest.fixture
def worked(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database in which a reviewer has read two messages of three."""
    monkeypatch.setenv("SPAMGUARD_REVIEW_SECOND_SHARE", "0")
    desk: Desk = open_desk(config.load({}), in_earnest=False)
    rui, _ = desk.people.add("rui", Role.REVIEWER)
    desk.intake.take([copy_of(LOTTERY), copy_of(BANK_CODE), copy_of(MUM, recipient="+8613900009999")])
    for item in desk.store.queue(rui).items:
        if item.text != MUM:
            desk.store.verdict(rui, item.id, Label.SPAM if item.text == LOTTERY else Label.HAM)
    desk.close()
    return elsewhere


def test_an_account_is_made_listed_reset_and_switched_off(spamguard: Spamguard) -> None:
    made = spamguard("review", "users", "add", "Lin", "--role", "admin")
    assert made.code == 0 and made.lines[0].startswith("lin (admin) can log in with this password")
    assert len(made.lines[1]) >= 20
    reset = spamguard("review", "users", "reset-password", "lin")
    assert reset.lines[1] != made.lines[1]
    assert "must choose a password" in spamguard("review", "users", "list").out
    refused = spamguard("review", "users", "disable", "lin")
    assert (refused.code, refused.out) == (10, "") and "last administrator" in refused.err
    assert spamguard("review", "users", "add", "ann", "--role", "agent").code == 0
    assert spamguard("review", "users", "disable", "ann").code == 0
    assert "disabled" in spamguard("review", "users", "list").out


def test_what_is_not_there_is_said_in_a_sentence(spamguard: Spamguard) -> None:
    for arguments in (("users", "reset-password", "nobody"), ("tokens", "revoke", "nothing"), ("users", "add", "A B")):
        ended = spamguard("review", *arguments)
        assert (ended.code, ended.out) == (10, ""), arguments
        assert ended.err.startswith("error: ") and "Traceback" not in ended.err


def test_looking_makes_no_database_and_says_how_to_get_one(spamguard: Spamguard, elsewhere: Path) -> None:
    for arguments in (("labels", "export"), ("audit", "verify"), ("review", "check"), ("review", "users", "list")):
        ended = spamguard(*arguments)
        assert (ended.code, ended.out) == (10, ""), arguments
        assert "there is no file spamguard-review.db" in ended.err and "spamguard review users add" in ended.err
    assert not any(elsewhere.iterdir())


def test_a_port_that_is_taken_is_said_with_the_option_that_chooses_another(spamguard: Spamguard, worked: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = spamguard("review", "--no-stream", "--review-port", port, "--metrics-port", "0", "--log-level", "error")
    assert (ended.code, ended.out) == (3, "")
    assert f"cannot be served on 127.0.0.1:{port}" in ended.err and "--review-port" in ended.err
    assert "Traceback" not in ended.err and "bind" not in ended.err


def test_a_database_that_cannot_be_used_is_named_without_its_password(spamguard: Spamguard) -> None:
    for url, code in (("mysql://u:hunter2@h/d", 10), ("postgresql://u:hunter2@127.0.0.1:1/d", 3), ("nonsense", 10)):
        ended = spamguard("review", "users", "list", "--review-database", url)
        assert ended.code == code, ended.err
        assert "hunter2" not in ended.err + ended.out


def test_a_token_is_shown_once_and_never_again(spamguard: Spamguard, worked: Path) -> None:
    token = spamguard("review", "tokens", "add", "call-centre").out.strip()
    listed = spamguard("review", "tokens", "list").out
    assert token.startswith("sgr_") and "call-centre" in listed and token not in listed
    assert spamguard("review", "tokens", "revoke", "call-centre").code == 0


def test_labels_are_exported_as_rows_and_as_an_overlay(spamguard: Spamguard, worked: Path) -> None:
    rows = [json.loads(line) for line in spamguard("labels", "export").lines]
    assert {row["text"]: row["label"] for row in rows} == {LOTTERY: "spam", BANK_CODE: "ham"}
    ended = spamguard("labels", "export", "-o", "labels.jsonl", "--format", "overlay")
    assert "2 rows in labels.jsonl" in ended.err
    assert "text" not in json.loads((worked / "labels.jsonl").read_text(encoding="utf-8").splitlines()[0])


def test_the_audit_log_is_verified_and_its_head_can_be_kept(spamguard: Spamguard, worked: Path) -> None:
    head = spamguard("audit", "head").out.split()[1]
    assert spamguard("audit", "verify", "--head", head).out.startswith("whole: ")
    lost = spamguard("audit", "verify", "--head", "f" * 64)
    assert (lost.code, lost.out.startswith("BROKEN at row ")) == (1, True)


def test_a_subscriber_is_given_their_data_and_erased(spamguard: Spamguard, worked: Path) -> None:
    found = json.loads(spamguard("review", "subject", "export", "--number", SUBSCRIBER).out)
    assert {one["message"]["text"] for one in found["messages"]} == {LOTTERY, BANK_CODE}
    erased = spamguard("review", "subject", "erase", "--number", SUBSCRIBER, "--yes")
    assert erased.lines == ["Deleted: 2 messages, 2 items; 0 cases and 0 list entries emptied; covered in 0 notes."]
    assert spamguard("labels", "export").out == ""


def test_check_says_where_the_database_stands(spamguard: Spamguard, worked: Path) -> None:
    ended = spamguard("review", "check")
    assert ended.code == 0
    assert "1 items nobody has read" in ended.out and "2 records to publish" in ended.out and "whole" in ended.out
    assert (worked / "spamguard-review.key").stat().st_mode & 0o777 == 0o600
    (worked / "spamguard-review.key").chmod(0o644)
    assert "chmod 600" in spamguard("review", "check").err


def test_serving_without_a_broker_ends_with_its_exit_code(spamguard: Spamguard, worked: Path) -> None:
    ended = spamguard("review", "--brokers", "127.0.0.1:1", "--review-port", "0", "--metrics-port", "0")
    assert (ended.code, ended.out) == (5, "")
    assert "No Kafka broker answers" in ended.err
