"""Does each message have one value a slot, its own in any batch, and does a slot mean what it says?"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.features import code_points
from spamguard.core.normalize import normalize_batch
from spamguard.core.shape import SLOTS, SYMBOLS, shapes

TEXTS = st.lists(
    st.text(max_size=40) | st.text(alphabet="[]您你免请退1 .!元%ab\n", max_size=30), min_size=1, max_size=6
)


def shape(text: str) -> list[int]:
    found: list[int] = shapes(code_points(normalize_batch([text])), 1)[0].tolist()
    return found


@given(TEXTS)
def test_a_message_has_one_symbol_a_slot_and_the_same_in_any_batch(texts: list[str]) -> None:
    texts = normalize_batch(texts)
    found = shapes(code_points(texts), len(texts))
    assert found.shape == (len(texts), SLOTS)
    for row, text in zip(found, texts, strict=True):
        np.testing.assert_array_equal(row, shapes(code_points([text]), 1)[0])
        assert (np.diff(row) > 0).all()  # no two slots share a symbol
        assert row[0] > 0
        assert row[-1] <= SYMBOLS


def test_what_is_built_alike_is_one_shape_and_what_is_not_is_another() -> None:
    notice = "【江河银行】您尾号3021的账户支出128.50元，余额2310.77元。"
    assert shape(notice) == shape("【远山银行】您尾号8842的账户存入907.20元，余额5100.00元。")
    advert = notice + "办卡享免费好礼，点击 t.cn/demo88 ，退订回T"
    changed = sum(a != b for a, b in zip(shape(notice), shape(advert), strict=True))
    assert changed >= 8  # longer, a link and its place, an offer, commas, another end, a way out at the end
