"""Does the fast tokenizer cut exactly as jieba does, and a joined batch exactly as its messages?"""

import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.normalize import normalize_batch
from spamguard.core.tokenizer import ENGINE, tokenize
from tests.cast import EVERYONE

ALPHABET = "发票微信加群一中国人民银行的了在你我贷款奖金abcxyz019 .-_+#%&@*/:，。！【】\t\ue000\ue010😀é㐀𠀀\ufffd"
CHINESE = st.lists(st.sampled_from([*ALPHABET, "中华人民共和国", "c++", "1.5", "a.b"]), max_size=20).map("".join)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    """Keep jieba from telling how long its dictionary took."""
    jieba.setLogLevel(60)


def by_jieba(text: str) -> list[str]:
    """Return jieba's own tokens."""
    return list(jieba.cut(text, HMM=False))


def test_the_engine_is_the_fast_one_here() -> None:
    assert ENGINE == "rjieba"


def test_the_sample_messages_are_cut_as_jieba_cuts_them(texts: list[str]) -> None:
    for text in (*texts, *normalize_batch(texts), *EVERYONE):
        assert tokenize(text) == by_jieba(text)


@given(CHINESE | st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_cut_as_jieba_cuts_it_and_nothing_is_lost(text: str) -> None:
    words = tokenize(text)
    assert words == by_jieba(text)
    assert "".join(words) == text


@given(st.lists(CHINESE | st.text(max_size=20), max_size=6))
def test_a_joined_batch_is_cut_as_its_messages_one_by_one(texts: list[str]) -> None:
    texts = normalize_batch(texts)
    one_by_one = [word for text in texts for word in (*tokenize(text), "\n")][:-1]
    assert tokenize("\n".join(texts)) == one_by_one


def test_no_new_word_is_guessed() -> None:
    assert tokenize("他来到了网易杭研大厦") == ["他", "来到", "了", "网易", "杭", "研", "大厦"]
