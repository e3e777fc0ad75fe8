"""Does an explanation add up, and does it show what the model read?"""

import json
import math
import re
from pathlib import Path

import pytest

from spamguard.cli.explain import _pull_bar
from spamguard.cli.screen import INVISIBLE, printable, shortened
from tests.cast import BANK_CODE, EVERYONE, INVOICE, MUM, NASTY
from tests.unit.cli.conftest import Spamguard


@pytest.mark.parametrize("text", EVERYONE)
@pytest.mark.parametrize("clues", ["1", "10", "1000"])
def test_the_pulls_the_rest_and_the_intercept_are_the_score(text: str, clues: str, spamguard: Spamguard) -> None:
    told = json.loads(spamguard("explain", text, "--json", "--clues", clues).out)
    total = sum(clue["pull"] for clue in told["clues"]) + told["rest"] + told["intercept"]
    assert total == pytest.approx(told["log_odds"], abs=1e-9)
    assert 1 / (1 + math.exp(-told["log_odds"])) == pytest.approx(told["score"], abs=1e-6)
    assert len(told["clues"]) <= int(clues)


@pytest.mark.parametrize("text", [INVOICE, MUM, BANK_CODE])
def test_the_table_that_is_shown_adds_up(text: str, spamguard: Spamguard) -> None:
    table = spamguard("explain", text).out.partition("spam →")[2]
    *parts, total = [float(number) for number in re.findall(r"[+-]\d+\.\d{3}\b", table)]
    assert len(parts) > 3
    assert sum(parts) == pytest.approx(total, abs=0.0005 * (len(parts) + 1))


def test_clues_point_at_what_stands_in_the_text(spamguard: Spamguard) -> None:
    told = json.loads(spamguard("explain", INVOICE, "--json", "--clues", "100").out)
    pointed = {told["text"][clue["start"] : clue["end"]]: clue["feature"] for clue in told["clues"]}
    assert pointed["发*票"] == "发票"
    assert pointed["00061"] == "⟨number_5⟩"


def test_it_says_what_is_done_and_why(spamguard: Spamguard) -> None:
    ended = spamguard("explain", INVOICE)
    assert (ended.code, ended.err) == (0, "")
    for part in ("BLOCK", "spam_score", "score", "0.7000", "illegal", "small/1.0", "read as", "发票", "intercept"):
        assert part in ended.out


def test_a_guard_is_named_even_where_the_score_alone_would_do(spamguard: Spamguard) -> None:
    assert "code: such a message passes whatever its score" in spamguard("explain", BANK_CODE).out


def test_a_dash_reads_one_whole_message(spamguard: Spamguard) -> None:
    told = json.loads(spamguard("explain", "-", "--json", given=f"{MUM}\n{MUM}\n".encode()).out)
    assert told["text"] == f"{MUM}\n{MUM}"


@pytest.mark.parametrize("text", ["", " ", NASTY, "a" * 5000, "\x1b]0;owned\x07"])
def test_any_text_is_explained_and_none_reaches_the_terminal_raw(text: str, spamguard: Spamguard) -> None:
    ended = spamguard("explain", text)
    assert (ended.code, ended.err) == (0, "")
    assert not set(ended.out) & {"\x1b", "\x07", "\0", "\u200d"}


def test_a_long_text_says_how_much_of_it_was_judged(spamguard: Spamguard) -> None:
    assert "head and tail, 2,000 characters" in spamguard("explain", MUM * 200).out


def test_what_has_no_shape_is_given_one_and_offsets_stay() -> None:
    hidden = "加\u200b薇\u00ad信\x00\x7f\x85\ud800"
    assert printable(hidden) == f"加{INVISIBLE}薇{INVISIBLE}信␀␡��"
    assert len(printable(hidden)) == len(hidden)


@pytest.mark.parametrize("cells", range(1, 12))
def test_a_shortened_text_never_is_wider_than_it_may_be(cells: int) -> None:
    from rich.cells import cell_len

    for text in ("代开发票代开", "a代b开c发", "short", "🎉🎉🎉🎉🎉🎉🎉"):
        assert cell_len(shortened(text, cells)) <= cells


def test_pulls_stand_on_their_own_side_of_the_line() -> None:
    assert _pull_bar(2.0, 2.0).plain.split("│")[0].strip() == ""
    assert _pull_bar(-2.0, 2.0).plain.endswith("│")
    assert "▇" in _pull_bar(0.001, 2.0).plain


def test_the_explanation_needs_no_file_of_the_working_folder(spamguard: Spamguard, elsewhere: Path) -> None:
    spamguard("explain", MUM)
    assert list(elsewhere.iterdir()) == []
