"""Does the service decide what the slow and obvious reference decides, on every kind of text there is?

What a second engine has to pass too: whatever has the `read` of `spamguard.core.decide.Scorer` can stand in its place.
"""

import gzip
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.decide import MAX_CLUES, Conditions, Judge, Request, decide
from spamguard.core.normalize import MAX_TEXT_CHARS
from spamguard.core.policy import STANDARD
from spamguard.types import Decision, Message
from tests.cast import EVERYONE, NASTY
from tests.conftest import Trained
from tests.slow_judge import SlowDecision, slow_decision

#: Corpora are not part of the project; where they lie beside it, some of each is judged as well.
CORPORA = Path(os.environ.get("SPAMGUARD_CORPORA", Path(__file__).parents[4] / "shared" / "datasets"))
OF_EACH_CORPUS = 150
PIECES = (
    "发*票", "扌甲", "代.开.发.票", "r e f u n d", "pr1ze", "1OO", "壹叁捌零零", "加薇 信", "+v", "扣扣", "abc点com",
    "http://a.example/x", "t.cn/a8", "a@b.example", "13900001234", "400-800-1234", "010-12345678", "95588", "12:30",
    "1,234.50", "482913", "xxxx1234", "ＣＡＬＬ", "發", "㈱", "ﬁ", "①", "\u200b", "\ue001", "\ud800", "\x00", "\n",
    " ", "  ", "验证码", "尾号", "支出", "余额", "取件码", "退订", "恭喜", "中奖", "贷款", "您", "的", "code", "free",
    "。", "!",
)  # fmt: skip
WRITTEN = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=14).map("".join)


def decisions(judge: Judge, texts: list[str]) -> list[Decision]:
    """Return the service's decisions on texts, in one batch."""
    requests = [Request(Message(message_id="m", text=text), "d", 0) for text in texts]
    return decide(requests, judge, Conditions(STANDARD, False, "0", 1_795_485_600.0, lambda: 0.0))


def same(decision: Decision, slow: SlowDecision) -> None:
    """Check that a decision is the reference's, clues and all."""
    assert (decision.reason, decision.guard, decision.category) == (slow.reason, slow.guard, slow.category)
    assert decision.score == pytest.approx(slow.score, abs=1.5e-6)
    found = {(clue.start, clue.end, clue.feature): clue.pull for clue in decision.clues}
    for place, pull in found.items():
        assert pull == pytest.approx(slow.pulls[place], abs=2e-6)
    strongest = sorted((abs(pull) for pull in slow.pulls.values()), reverse=True)[: len(found)]
    assert sorted(map(abs, found.values()), reverse=True) == pytest.approx(strongest, abs=2e-6)
    if slow.category is not None:
        assert len(found) == min(MAX_CLUES, sum(round(pull, 9) != 0 for pull in slow.pulls.values()))


@pytest.mark.parametrize("cutoffs", [(0.3, 0.7), (1e-9, 1e-8), (1e-9, 0.999_999)])
def test_every_sample_and_every_odd_one_is_decided_as_the_reference_decides(
    judge: Judge, trained: Trained, texts: list[str], cutoffs: tuple[float, float]
) -> None:
    odd = [*EVERYONE, NASTY, *PIECES, "", "".join(PIECES), "".join(PIECES) * (MAX_TEXT_CHARS // 100)]
    every = [*odd, *texts[:: 1 if cutoffs[0] > 0.1 else 9]]
    ham, spam = cutoffs
    for decision, text in zip(decisions(judge._replace(ham_cutoff=ham, spam_cutoff=spam), every), every, strict=True):
        same(decision, slow_decision(Message(message_id="m", text=text), trained.arrays, ham, spam))


@given(st.lists(WRITTEN, max_size=5))
def test_what_somebody_may_write_is_decided_as_the_reference_decides(
    judge: Judge, trained: Trained, texts: list[str]
) -> None:
    suspicious = judge._replace(ham_cutoff=1e-9)
    for decision, text in zip(decisions(suspicious, texts), texts, strict=True):
        same(decision, slow_decision(Message(message_id="m", text=text), trained.arrays, 1e-9, judge.spam_cutoff))


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not beside the project")
def test_some_of_each_corpus_is_decided_as_the_reference_decides(judge: Judge, trained: Trained) -> None:
    for corpus in sorted(CORPORA.glob("*.jsonl.gz")):
        with gzip.open(corpus) as lines:
            texts = [msgspec.json.decode(line)["text"] for line, _ in zip(lines, range(OF_EACH_CORPUS), strict=False)]
        for decision, text in zip(decisions(judge, texts), texts, strict=True):
            same(decision, slow_decision(Message(message_id="m", text=text), trained.arrays, 0.3, 0.7))
