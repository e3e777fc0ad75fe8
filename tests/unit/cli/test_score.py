"""Does each line in give exactly one line out, in order, whatever the line is?"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.cli import score
from spamguard.cli.score import lines_of
from spamguard.core.codec import decision_id
from spamguard.types import Decision, Partition
from tests.cast import BANK_CODE, EVERYONE, INVOICE, LOTTERY, MUM, NASTY
from tests.unit.cli.conftest import Spamguard

#: Lines that are no message, with what is said of them.
HOSTILE = {
    b"": "empty",
    b"  \t": "not_json",
    b"not json": "not_json",
    b"\xff\xfe\x00": "not_json",
    b'{"message_id": "cut off': "not_json",
    b"[" * 5000: "not_json",
    b'["message_id"]': "not_an_object",
    b"null": "not_an_object",
    b'{"text": "who am I"}': "no_message_id",
    b'{"message_id": "", "text": "x"}': "no_message_id",
    b'{"message_id": ["m"], "text": "x"}': "no_message_id",
}
#: Lines that are odd, and messages all the same.
ODD = (
    b'{"message_id": "odd-1"}',
    b'{"message_id": 7, "text": "\\ud800"}',
    b'{"message_id": "odd-2", "text": "\xff\xfe", "direction": 9}',
    b'{"message_id": "odd-3", "kind": "receipt"}',
    b'{"message_id": "odd-4", "text": "' + b"\\u0000" * 100 + b'"}',
    b'{"message_id": "odd-5", "text": "' + b"a" * 100_000 + b'"}\r',
)


def line(number: int, text: str, **more: Any) -> bytes:
    return json.dumps({"message_id": f"m{number}", "text": text, **more}).encode()


def lasting(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name not in ("timings", "decided_at")}


def test_each_line_gives_one_line_in_order_and_only_errors_have_no_decision(spamguard: Spamguard) -> None:
    lines = [*(line(number, text) for number, text in enumerate(EVERYONE)), *HOSTILE, *ODD, line(99, MUM)]
    ended = spamguard("score", "--jsonl", given=b"\n".join(lines) + b"\n")
    assert ended.code == 1
    assert len(ended.lines) == len(lines)
    for number, (put, got) in enumerate(zip(lines, ended.lines, strict=True)):
        answer = json.loads(got)
        if put in HOSTILE:
            assert answer == {"error": {"reason": HOSTILE[put], "line": number + 1}}
        else:
            decision = msgspec.json.decode(got, type=Decision)
            assert decision.decision_id == decision_id(Partition("offline", 0), number)
            if put not in ODD:
                assert decision.message_id == json.loads(put)["message_id"]
    assert ended.err.endswith(f"{len(HOSTILE)} of {len(lines)} lines hold no message; the output says why.\n")


def test_without_errors_the_exit_code_is_0_and_nothing_is_said(spamguard: Spamguard) -> None:
    ended = spamguard("score", "--jsonl", given=line(1, INVOICE) + b"\n" + line(2, MUM))
    assert (ended.code, ended.err) == (0, "")
    assert [json.loads(one)["action"] for one in ended.lines] == ["block", "allow"]


def test_nothing_in_gives_nothing_out(spamguard: Spamguard) -> None:
    assert spamguard("score", "--jsonl") == (0, "", "")


def test_a_file_gives_what_standard_input_gives(spamguard: Spamguard, elsewhere: Path) -> None:
    lines = b"\n".join(line(number, text) for number, text in enumerate(EVERYONE))
    (elsewhere / "messages.jsonl").write_bytes(lines)
    outputs = [
        spamguard("score", "--jsonl", "messages.jsonl").lines,
        spamguard("score", "--jsonl", "-", given=lines).lines,
        spamguard("score", "messages.jsonl", "--jsonl").lines,
    ]
    first, *others = [[lasting(json.loads(one)) for one in output] for output in outputs]
    assert len(first) == len(EVERYONE)
    assert all(other == first for other in others)


def test_the_place_that_is_given_makes_the_decisions_ids(spamguard: Spamguard) -> None:
    arguments = ("score", "--jsonl", "--topic", "sms.inbound", "--partition", "3")
    ended = spamguard(*arguments, given=line(1, MUM) + b"\n\n" + line(2, MUM))
    place = Partition("sms.inbound", 3)
    assert json.loads(ended.lines[0])["decision_id"] == decision_id(place, 0)
    assert json.loads(ended.lines[2])["decision_id"] == decision_id(place, 2)


def test_nothing_is_late_offline_and_nothing_depends_on_the_hour(spamguard: Spamguard) -> None:
    [decision] = spamguard("score", "--jsonl", given=line(1, MUM, received_at="2001-01-01T00:00:00Z")).lines
    assert "late" not in json.loads(decision)


def test_a_byte_order_mark_does_not_cost_the_first_message(spamguard: Spamguard) -> None:
    ended = spamguard("score", "--jsonl", given=b"\xef\xbb\xbf" + line(1, MUM) + b"\r\n" + line(2, MUM) + b"\r\n")
    assert (ended.code, len(ended.lines)) == (0, 2)


def test_a_file_in_another_encoding_is_judged_and_told_of(spamguard: Spamguard) -> None:
    given = line(1, "see you") + b"\n" + f'{{"message_id": "m2", "text": "{MUM}"}}'.encode("gb18030")
    ended = spamguard("score", "--jsonl", given=given)
    assert (ended.code, len(ended.lines)) == (0, 2)
    assert json.loads(ended.lines[1])["defects"] == ["encoding"]
    assert ended.err.startswith("1 of 2 lines holds a field") and "UTF-8" in ended.err and "defects" in ended.err


def test_the_mode_and_the_preset_are_the_settings(spamguard: Spamguard) -> None:
    [decision] = spamguard("score", "--jsonl", "--mode", "observe", given=line(1, INVOICE)).lines
    answer = json.loads(decision)
    assert (answer["action"], answer["would_be"], answer["reason"]) == ("allow", "block", "observed")


def test_what_could_not_be_judged_is_told_of(spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr("spamguard.engine.filter.decide", fail)
    ended = spamguard("score", "--jsonl", given=line(1, MUM))
    assert ended.code == 0
    assert json.loads(ended.out)["reason"] == "scoring_failed"
    assert ended.err == "1 of 1 lines could not be judged; they pass, marked as degraded.\n"


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_cannot_be_read_is_said_in_a_sentence(name: str, spamguard: Spamguard) -> None:
    ended = spamguard("score", "--jsonl", name)
    assert (ended.code, ended.out) == (6, "")
    assert name in ended.err


@pytest.mark.parametrize("arguments", [["score"], ["score", "--jsonl", "one", "two"]])
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], spamguard: Spamguard) -> None:
    ended = spamguard(*arguments)
    assert (ended.code, ended.out) == (2, "")


def test_answers_come_before_the_input_has_ended(tiny_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "spamguard", "score", "--jsonl", "--model", str(tiny_model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")},
    )
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        for number in range(3):
            process.stdin.write(line(number, MUM) + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["message_id"] == f"m{number}"
    assert process.wait() == 0


class Dripping(io.BytesIO):
    """A stream of which each read brings a few bytes."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read1(self, size: int | None = -1, /) -> bytes:
        """Read as many as the next size says."""
        return super().read1(self._sizes.pop() if self._sizes else size)


@given(content=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"\n\n"])), sizes=st.lists(st.integers(1, 4)))
def test_lines_are_whole_however_they_arrive(content: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(content)
    found = [one for lines in lines_of(Dripping(whole, sizes)) for one in lines]
    assert found == whole.removesuffix(b"\n").split(b"\n") if whole else found == []


def test_a_line_without_end_takes_bounded_memory_and_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "MAX_LINE_BYTES", 1000)
    endless = b'{"message_id": "m", "text": "' + b"a" * 5_000_000
    found = [one for lines in lines_of(io.BytesIO(endless + b"\nnext\n")) for one in lines]
    assert len(found) == 2
    assert len(found[0]) <= 1000 + score.CHUNK_BYTES
    assert found[1] == b"next"


def test_texts_get_a_row_each(spamguard: Spamguard) -> None:
    ended = spamguard("score", INVOICE, MUM, BANK_CODE)
    assert ended.code == 0
    heading, *rows = ended.lines
    assert heading.split() == ["score", "action", "reason", "category", "text"]
    assert [row.split()[1] for row in rows] == ["block", "allow", "allow"]
    assert rows[1].endswith(MUM)


def test_a_dash_reads_one_text_a_line(spamguard: Spamguard) -> None:
    ended = spamguard("score", "-", given=f"{LOTTERY}\n{MUM}\n".encode() + b"\xff\n")
    assert (ended.code, len(ended.lines)) == (0, 4)


def test_a_text_cannot_move_the_cursor(spamguard: Spamguard) -> None:
    ended = spamguard("score", f"\x1b[2J\u202e{MUM}", NASTY)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert "\u202e" not in ended.out
    assert "␛[2J·" in ended.out
