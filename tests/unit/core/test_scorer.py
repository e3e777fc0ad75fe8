"""Is the fast scorer the scikit-learn pipeline to 1e-9, in any batch, and do its clues add up to the score?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.normalize import normalize, normalize_batch
from spamguard.core.scorer import LinearScorer
from tests.cast import CASINO, EVERYONE, GOOD, INVOICE, LOAN, NASTY, PHISHING, SPAM
from tests.conftest import Trained

PIECES = (
    "发票", "代开", "验证码", "贷款", "微信", "薇心", "加", "群", "恭喜", "中奖", "请", "点击", "您", "的", "元", " ",
    "。", "，", "482913", "13900001234", "t.cn/a", "http://a.example", "now", "free", "your", "code",
    "发", "票", "\u200b", "*", "\n", "fa", "piao", "weixin",
)  # fmt: skip
WRITTEN = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.sampled_from(EVERYONE) | st.text(max_size=20)


@given(st.lists(WRITTEN, max_size=6))
def test_the_fast_scorer_says_what_scikit_learn_says(scorer: LinearScorer, trained: Trained, texts: list[str]) -> None:
    texts = normalize_batch(texts)
    scores = scorer.score(texts)
    assert len(scores.log_odds) == len(texts)
    if texts:
        np.testing.assert_allclose(scores.log_odds, trained.log_odds(texts), rtol=0, atol=1e-9)
        np.testing.assert_allclose(scores.probability, 1 / (1 + np.exp(-scores.log_odds)), rtol=0, atol=1e-12)


def test_the_fast_scorer_says_what_scikit_learn_says_of_every_sample(
    scorer: LinearScorer, trained: Trained, texts: list[str]
) -> None:
    canonical = normalize_batch(texts)
    scores = scorer.score(canonical)
    np.testing.assert_allclose(scores.log_odds, trained.log_odds(canonical), rtol=0, atol=1e-9)
    matrix = trained.union.transform(canonical)
    assert [one.kind for one in scorer.explain_batch(texts)] == trained.kinds.predict(matrix).tolist()


@given(st.lists(WRITTEN, min_size=1, max_size=8), st.data())
def test_a_score_does_not_depend_on_the_batch_it_is_in(
    scorer: LinearScorer, texts: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(texts) - 1))
    assert scorer.explain_batch(texts)[place].kind == scorer.explain(texts[place]).kind
    texts = normalize_batch(texts)
    together, alone = scorer.score(texts), scorer.score([texts[place]])
    assert abs(together.log_odds[place] - alone.log_odds[0]) <= 1e-12
    assert together.evidence[place] == alone.evidence[0]


def test_the_good_and_the_bad_of_the_cast_are_told_apart(scorer: LinearScorer) -> None:
    assert scorer.score(normalize_batch(GOOD)).probability.max() < scorer.score(normalize_batch(SPAM)).probability.min()


def test_unknown_text_is_no_evidence_and_scores_the_intercept_but_for_its_shape(trained: Trained) -> None:
    kept = [view for view in trained.arrays.views if view.view.name != "shape"]
    scorer = LinearScorer(trained.arrays._replace(views=kept))
    texts = normalize_batch(["", " ", "\U00013000\U00013001", "\ud800"])
    scores = scorer.score(texts)
    np.testing.assert_allclose(scores.log_odds[[0, 2]], trained.arrays.intercept, atol=1e-12)
    for evidence in (scores.evidence, LinearScorer(trained.arrays).score(texts).evidence):
        assert evidence.tolist() == [0, 0, 0, 0]


def test_shape_is_said_of_a_message_and_of_no_word_in_it(trained: Trained) -> None:
    kept = [view for view in trained.arrays.views if view.view.name == "shape"]
    explained = LinearScorer(trained.arrays._replace(views=kept)).explain(INVOICE)
    assert explained.clues == ()
    assert explained.rest != 0
    assert explained.log_odds == pytest.approx(explained.intercept + explained.rest, abs=1e-12)


def test_evidence_counts_distinct_known_pieces_of_two_symbols_or_three_sounds(
    scorer: LinearScorer, trained: Trained, texts: list[str]
) -> None:
    canonical = normalize_batch([*texts, *EVERYONE])
    least = {"words": 2, "chars": 2, "sounds": 3}
    is_long = np.array(
        [
            len(f"{key:b}") > arrays.view.bits * (least.get(arrays.view.name, 99) - 1)
            for arrays in trained.arrays.views
            for key in arrays.keys.tolist()
        ]
    )
    expected = (trained.union.transform(canonical) > 0) @ is_long.astype(np.int64)
    assert scorer.score(canonical).evidence.tolist() == expected.tolist()


@given(WRITTEN)
def test_clues_and_rest_and_intercept_add_up_to_the_log_odds(scorer: LinearScorer, text: str) -> None:
    explained = scorer.explain(text)
    assert len(explained.clues) <= 5
    total = explained.intercept + explained.rest + sum(clue.pull for clue in explained.clues)
    assert total == pytest.approx(explained.log_odds, abs=1e-9)
    assert scorer.score([normalize(text)]).log_odds[0] == pytest.approx(explained.log_odds, abs=1e-9)
    assert all(0 <= clue.start < clue.end <= len(text) for clue in explained.clues)
    strengths = [abs(clue.pull) for clue in explained.clues]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize(
    ("text", "feature", "written"),
    [
        (INVOICE, "发票", "发*票"),
        (INVOICE, "代", "代"),
        (PHISHING, "⟨url⟩", "http://qingxisafe.example/v"),
        (LOAN, "⟨mobile⟩", "13900001234"),
        (CASINO, "注册", "註冊"),
        ("验\u200b证\u200b码", "验证码", "验\u200b证\u200b码"),
    ],
)
def test_each_clue_cuts_its_piece_out_of_what_the_sender_wrote(
    scorer: LinearScorer, text: str, feature: str, written: str
) -> None:
    clues = {clue.feature: clue for clue in scorer.explain(text, most=50).clues}
    assert text[clues[feature].start : clues[feature].end] == written


def test_every_clue_reads_as_its_own_span_reads(scorer: LinearScorer, texts: list[str]) -> None:
    for text in texts:
        for clue in scorer.explain(text, most=50).clues:
            if clue.feature.isalpha() and not clue.feature.isascii():  # an x is a number where it stands alone
                assert clue.feature in normalize(text[clue.start : clue.end])


@given(st.lists(WRITTEN | st.sampled_from(["", " ", "发票 ", "\n发票\n", "x "]), max_size=6))
def test_clues_are_the_same_in_any_batch(scorer: LinearScorer, texts: list[str]) -> None:
    for text, together in zip(texts, scorer.explain_batch(texts, most=50), strict=True):
        alone = scorer.explain(text, most=50)
        assert together.log_odds == pytest.approx(alone.log_odds, abs=1e-9)
        assert together.rest == pytest.approx(alone.rest, abs=1e-9)
        found = sorted((clue.start, clue.end, clue.feature, clue.pull) for clue in together.clues)
        expected = sorted((clue.start, clue.end, clue.feature, clue.pull) for clue in alone.clues)
        assert [clue[:3] for clue in found] == [clue[:3] for clue in expected]
        assert [clue[3] for clue in found] == pytest.approx([clue[3] for clue in expected], abs=1e-9)


def test_words_of_equal_pull_keep_their_order_in_any_batch(scorer: LinearScorer) -> None:
    text = "发票，发票，发票，发票，发票，发票，发票"
    alone = scorer.explain(text).clues
    for before in EVERYONE:
        assert scorer.explain_batch([before, text])[1].clues == alone


def test_a_nasty_text_is_explained_like_any_other(scorer: LinearScorer) -> None:
    assert scorer.explain(NASTY).log_odds == pytest.approx(scorer.score([normalize(NASTY)]).log_odds[0], abs=1e-9)
    assert scorer.explain("").clues == ()


def test_a_model_without_categories_names_none(trained: Trained) -> None:
    without = trained.arrays._replace(kinds=(), kind_features={}, kind_weights={}, kind_intercepts=np.zeros(0))
    assert LinearScorer(without).explain(INVOICE).kind is None


def test_a_model_that_knows_the_line_break_still_joins_no_messages(trained: Trained) -> None:
    codes, symbols = trained.arrays.symbols["chars"]
    stranger = next(code for code in codes.tolist() if chr(code) == "票")
    with_break = np.array([0x0A if code == stranger else code for code in codes.tolist()], dtype=np.uint32)
    scorer = LinearScorer(trained.arrays._replace(symbols={**trained.arrays.symbols, "chars": (with_break, symbols)}))
    together, [first], [second] = (
        scorer.score(texts).log_odds for texts in (["代开发", "点数低"], ["代开发"], ["点数低"])
    )
    np.testing.assert_allclose(together, [first, second], rtol=0, atol=1e-12)
    assert scorer.score(["代开发", "点"]).evidence[0] == scorer.score(["代开发"]).evidence[0]
