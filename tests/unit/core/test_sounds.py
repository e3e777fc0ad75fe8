"""Is a message heard alike whether it is written in characters, in others of the same sound, or in letters?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.features import code_points, heard
from spamguard.core.sounds import MOST_LETTERS, SYLLABLES, blurred, spelt

#: Each Han character here is a symbol of its own, and so are the figures; letters and the rest are not known.
TABLE = np.zeros(0x110000, dtype=np.uint16)
for number, char in enumerate(sorted({*SYLLABLES.values(), *"加群1"}), start=1):
    TABLE[ord(char)] = number
TABLE[ord("漂")] = TABLE[ord("票")]


def symbols(*texts: str) -> list[int]:
    found: list[int] = heard(texts, code_points(texts), TABLE).symbols.values.tolist()
    return found


@pytest.mark.parametrize("written", ["发漂", "fa票", "发piao", "发1票"])
def test_letters_beside_a_han_character_are_heard_as_the_syllables_they_spell(written: str) -> None:
    assert (symbols(written) == symbols("发票")) is (written != "发1票")


@pytest.mark.parametrize("written", ["加fapiao", "fapiao加"])
def test_a_run_of_letters_may_spell_several_syllables(written: str) -> None:
    assert symbols(written) == symbols(written.replace("fapiao", "发票"))


@pytest.mark.parametrize("text", ["invoice", "fapiao", "can you", "加kfc", "加" + "fa" * MOST_LETTERS])
def test_what_spells_nothing_or_stands_alone_is_not_heard(text: str) -> None:
    assert not any(symbols(text.replace("加", "\n")))


def test_of_several_ways_the_one_with_fewest_syllables_is_heard() -> None:
    assert spelt("xian") == SYLLABLES["xian"]
    assert spelt("fangan") in ("方安", "反干")
    assert spelt("") == ""


@given(st.lists(st.text(alphabet="发票加fapioxn 1\u4e00", max_size=20), min_size=1, max_size=5))
def test_a_batch_is_heard_as_its_messages_one_by_one_and_every_symbol_knows_its_place(texts: list[str]) -> None:
    found = heard(texts, code_points(texts), TABLE)
    alone = [heard([text], code_points([text]), TABLE) for text in texts]
    behind = 0
    values, rows, starts, ends = list[int](), list[int](), list[int](), list[int]()
    for row, (text, one) in enumerate(zip(texts, alone, strict=True)):
        if row:
            values, rows = [*values, 0], [*rows, row]
            starts, ends = [*starts, behind - 1], [*ends, behind]
        values += one.symbols.values.tolist()
        rows += [row] * len(one.symbols.values)
        starts += (one.starts + behind).tolist()
        ends += (one.ends + behind).tolist()
        behind += len(text) + 1
    assert found.symbols.values.tolist() == values
    assert found.symbols.rows.tolist() == rows
    assert found.starts.tolist() == starts
    assert found.ends.tolist() == ends
    assert all(0 <= first < last <= behind for first, last in zip(starts, ends, strict=True))


def test_sounds_that_many_do_not_tell_apart_are_one() -> None:
    assert blurred("zhang") == blurred("zan")
    assert blurred("ning") == blurred("lin")
    assert blurred("shi") == "si"
    assert len({blurred(syllable) for syllable in SYLLABLES}) > 200
    assert all(char for char in SYLLABLES.values())
