"""Are baits taken out of the suite whole, put where the suite puts them, and counted on what was blocked without?"""

import random
from pathlib import Path

import numpy as np
import pytest
from spamguard_training.attacks import judge_texts
from spamguard_training.baits import BAITS_EACH, Bait, Trick, bait_figures, baits_of, put, read_tricks
from spamguard_training.corpus import Row

from spamguard.backends.samples import guard_tricks_suite
from spamguard.core.decide import Judge
from spamguard.errors import DataError


def trick(plain: str, text: str) -> Trick:
    return Trick(id="t", lang="zh", category="loan", plain=plain, text=text, guard="otp")


@pytest.mark.parametrize(
    ("text", "bait", "where"),
    [
        ("验证码1234。贷款找我，快", "验证码1234。", "before"),
        ("贷款找我，快（验证码1234）", "（验证码1234）", "behind"),
        ("贷款找我，验证码1234，快", "验证码1234，", "into"),
    ],
)
def test_a_bait_is_what_the_trick_has_more_than_its_advert(text: str, bait: str, where: str) -> None:
    assert baits_of([trick("贷款找我，快", text)]) == [Bait(bait, "zh", "otp", where)]


def test_a_trick_that_is_written_anew_has_no_bait() -> None:
    assert baits_of([trick("贷款找我", "验证码贷找我1234"), trick("贷款找我", "贷款找我")]) == []


def test_nearly_every_trick_of_the_suite_gives_a_bait_and_putting_it_back_gives_the_trick() -> None:
    tricks = read_tricks(guard_tricks_suite())
    baits = baits_of(tricks)
    assert len(baits) > 0.95 * len(tricks)
    assert {bait.where for bait in baits} == {"before", "into", "behind"}
    texts = {one.text for one in tricks}
    whole = [one for one in tricks for bait in baits_of([one]) if bait.where != "into"]
    assert whole and all(put(bait, one.plain, random.Random(0)) in texts for one in whole for bait in baits_of([one]))


def test_a_bait_goes_into_a_message_behind_a_pause() -> None:
    bait = Bait("验证码1234。", "zh", "otp", "into")
    assert put(bait, "贷款找我，快", random.Random(0)) == "贷款找我，验证码1234。快"
    assert put(bait, "贷款找我", random.Random(0)) == "贷款验证码1234。找我"


def test_what_is_no_suite_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tricks.toml").write_text("trick = 1", encoding="utf-8")
    for name in ("tricks.toml", "missing.toml"):
        with pytest.raises(DataError, match=name):
            read_tricks(tmp_path / name)


def test_only_spam_that_is_blocked_without_a_bait_is_counted(rows: list[Row], judge: Judge) -> None:
    texts = [row.text for row in rows]
    blocked = judge_texts(texts, judge).blocked
    tricks = read_tricks(guard_tricks_suite())

    def verdicts(asked: list[str], _: Judge) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array(["验证码" not in text for text in asked], dtype=np.bool_)

    found = bait_figures(rows, blocked, tricks, judge, verdicts, seed=0)  # type: ignore[arg-type]
    spam = sum(row.is_spam and hit for row, hit in zip(rows, blocked.tolist(), strict=True))
    assert found["tried"] == spam * BAITS_EACH
    assert found["let_through"]["low"] <= found["let_through"]["value"] <= found["let_through"]["high"]
    assert 0 < found["let_through"]["value"] < 1
    assert found["by_guard"]["otp"] > found["by_guard"]["public"]
    assert found == bait_figures(rows, blocked, tricks, judge, verdicts, seed=0)  # type: ignore[arg-type]
