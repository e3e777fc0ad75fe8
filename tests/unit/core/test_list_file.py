"""Is a file of entries taken as a whole or not at all, with every fault under its line?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.list_file import MAX_FAULTS, ListReading, read_lists

HEAD = "kind,value,action,tenant,owner,reason,created,expires"


def read(*lines: str, now_s: float = 0.0) -> ListReading:
    return read_lists([f"{line}\n" for line in lines], "lists.csv", now_s=now_s)


def test_a_sound_file_with_comments_blank_lines_and_commas_in_quotes() -> None:
    reading = read(
        "# who: abuse desk", HEAD, "", 'sender,10690001,block,,desk,"calls, many",2026-11-01,2026-12-31',
        "# a comment, with commas", "host,evil.example,block,,,,,", "host,evil.example,block,,,,,",
    )  # fmt: skip
    assert reading.faults == ()
    assert (reading.entries, reading.repeated, reading.expired) == (3, 1, 0)
    assert reading.lists is not None and len(reading.lists) == 3


def test_expired_entries_are_counted_and_not_held_nor_a_reason_to_refuse() -> None:
    reading = read(HEAD, "sender,10690001,block,,,,,2020-01-01", "sender,10690001,review,,,,,", now_s=1_795_500_000)
    assert (reading.entries, reading.expired) == (1, 1)
    assert reading.lists is not None


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        (["kind,value"], 1, "no column action"),
        (["kind,value,action,expiry"], 1, "did you mean expires?"),
        (["kind,value,action,kind"], 1, "named twice"),
        ([], 1, "the file is empty"),
        ([HEAD, "sendr,1,block"], 2, "did you mean sender?"),
        ([HEAD, "sender,10690001,blok"], 2, "did you mean block?"),
        ([HEAD, "# x", "sender,10690001,allow"], 3, "can be forged"),
        ([HEAD, "sender,10690001,block", "", "sender,+10690001,review"], 4, "line 2 says the contrary"),
        ([HEAD, "link,acme/10690001,allow", "link,acme/10690001,block"], 3, "line 2 says the contrary"),
        (["id," + HEAD, "A,sender,10690001,block", "A,sender,10690002,block"], 3, "line 2 has the same id"),
        ([HEAD, "host,a.example,block,t,o,r,,,,more"], 2, "10 fields for 8 columns"),
        ([HEAD, 'sender,"10690001,block', "host,a.example,block"], 3, "this is no CSV"),
        ([HEAD, "sender,1069\x1b[2J0001,block"], 2, "cannot be printed"),
        ([HEAD, "sender,10690001,block,,,,soon,"], 2, "created is no date"),
    ],
)
def test_a_fault_names_its_line_and_what_to_write_instead(lines: list[str], line: int, said: str) -> None:
    reading = read(*lines)
    assert reading.lists is None
    assert reading.faults[0].line == line
    assert said in reading.faults[0].sentence
    assert not any("10690001" in fault.sentence for fault in reading.faults)


def test_a_wrong_file_is_given_up_after_enough_faults() -> None:
    reading = read(HEAD, *["what is this"] * 10_000)
    assert len(reading.faults) == MAX_FAULTS + 1
    assert "right file" in reading.faults[-1].sentence


@given(st.lists(st.text(max_size=60) | st.sampled_from([HEAD, "sender,10690001,block", '"', "host,a.b,allow"])))
def test_any_lines_are_lists_or_faults_and_never_an_exception(lines: list[str]) -> None:
    reading = read(*lines)
    assert (reading.lists is None) == bool(reading.faults)
