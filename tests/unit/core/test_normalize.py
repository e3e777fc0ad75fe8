"""Is there one canonical text behind the many writings of a message, and does each piece know where it stood?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core import fold_table, normalize
from spamguard.core.normalize import TOKENS, align, clip, normalize_batch, readable
from tests.cast import EVERYONE, INVOICE, LOAN, NASTY

#: Pieces of messages and of evasions; joined at random they meet in every way that matters to the rewrites.
PIECES = (
    "发", "票", "發", "微", "信", "薇", "國", "㈠", "一", " ", " ", "\u3000", "\t", "\n", "\r\n", "\u2028",
    "０", "１", "ｘ", "Ａ", "．", "＠", "①", "⑩", "➊", "ⅷ", "ﬁ", "№", "℡", "а", "е", "É", "e\u0301", "İ", "ß",
    "\u200b", "\u200d", "\ufe0f", "\xad", "\0", "\ud800", "\udfff", "\U0001f600", "\U000e0041",
    "1", "2", "8", "0", "86", "+86", "1390000", "1234", "400", "010", "95588", "x", "xx", "xxxx", "*", "**", "X",
    ".", "..", "@", "-", "--", "+", ":", ",", "/", "|", "_", "~", "'", '"', "`", "#", "=", "&", "^", "·", "•",
    "a", "b", "w", "e i", "com", ".com", ".top", ".cn", "t.cn", "www.", "http://", "https://", "a@b.co", "x.x",
    "扌", "氵", "甲", "去", "攵", "正", "亻", "言", "加", "v", "q", "扣", "点", "3", "$", "壹",
    "〇", "八", "，", "。", "！", "🎉", "★", "椖",
    "1" * 64, "a" * 64, TOKENS["number_4"], TOKENS["url"], "\ue03f",
)  # fmt: skip
MESSY = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(st.lists(MESSY | st.text(max_size=30), max_size=6))
def test_a_batch_is_normalised_exactly_as_its_messages_one_by_one(texts: list[str]) -> None:
    assert normalize_batch(texts) == [normalize.normalize(text) for text in texts]


@given(MESSY | st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert is_canonical(normalize.normalize(text))


def is_canonical(text: str) -> bool:
    """Whether neither the fold nor a rewrite finds anything to do; our own tokens are put in after the fold."""
    plain = "".join(char for char in text if char not in TOKENS.values())
    again = text
    for pattern, replacement in normalize._REWRITES:
        again = pattern.sub(replacement, again)
    return again == text and normalize._fold(plain) == plain


def test_a_token_of_ours_written_by_a_sender_vanishes_like_any_private_character() -> None:
    assert normalize.normalize("发\ue010票\ue03f加\ue000微信") == "发票加微信"


@given(MESSY | st.text())
def test_alignment_gives_the_same_text_and_points_into_the_original(text: str) -> None:
    aligned = align(text)
    assert aligned.text == normalize.normalize(text)
    assert len(aligned.starts) == len(aligned.ends) == len(aligned.text)
    assert all(0 <= start < end <= len(text) for start, end in zip(aligned.starts, aligned.ends, strict=True))
    assert list(aligned.starts) == sorted(aligned.starts)
    assert list(aligned.ends) == sorted(aligned.ends)


def test_the_sample_messages_normalise_alike_alone_together_and_aligned(texts: list[str]) -> None:
    together = normalize_batch(texts)
    assert together == [normalize.normalize(text) for text in texts] == [align(text).text for text in texts]
    assert all(is_canonical(text) for text in together)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("發票", "发票"),
        ("ＣＡＬＬ　ＭＥ", "call me"),
        ("加Ｖ①③⑨", "加微信⟨number_3⟩"),
        ("➊➋➌➍", "⟨number_4⟩"),
        ("微\u200b信\u2060号\ufeff", "微信号"),
        ("微\xad信\ufe0f", "微信"),
        ("раураl", "paypal"),
        ("Сasinо", "casino"),
        ("𝐛𝐨𝐧𝐮𝐬", "bonus"),
        ("café", "cafe"),
        ("cafe\u0301", "cafe"),
        ("🅰🅱", "ab"),
        ("r e f u n d now", "refund now"),
        ("i am at a b", "i am at a b"),
        ("发*票 微-信 代_开", "发票微信代开"),
        ("发*&票", "发票"),
        ("好的，明天见。到了说", "好的,明天见.到了说"),
        ("【青溪银行】", "[青溪银行]"),
        ("发*****票", "发票"),
        ("发🎉票★来", "发票来"),
        ("代.开.发.票", "代开发票"),
        ("好,是的.可以", "好,是的.可以"),
        ("您.好100", "您好⟨number_3⟩"),
        ("扌甲金 氵 去院 正*攵府", "押金法院政府"),
        ("亻们", "亻们"),
        ("薇信 徽芯 wei信 ＋VX Ｖ信", "微信微信微信加微信微信"),
        ("加威信 威信号 他很有威信", "加微信微信号他很有威信"),
        ("扣扣 企鹅号 Q Q", "qqqq qq"),
        ("vxa vx.b 1vx", "vxa vx.b ⟨number_1⟩vx"),
        ("pr1ze m0ney a1b2", "prize money a⟨number_1⟩b⟨number_1⟩"),
        ("r.e.f.u.n.d e.g. u.s.", "refund e.g. u.s."),
        ("ωin", "win"),
        ("椖款", "房款"),
        ("一\r\n二\u2028三", "一二三"),
        ("one\r\ntwo\u2028three", "one two three"),
        ("a \t \u3000 b", "a b"),
        ("", ""),
        ("\n", " "),
        ("\0\x01", ""),
        ("\ud800", "\ufffd"),
    ],
)
def test_every_writing_of_a_text_becomes_the_canonical_one(written: str, canonical: str) -> None:
    assert readable(normalize.normalize(written)) == canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("www.prize-demo.top/a?b=1 领", "⟨url_rare⟩ 领"),
        ("http://qingxi.example/v 点", "⟨url⟩ 点"),
        ("HTTPS://T.CN/xyz", "⟨url_short⟩"),
        ("ｔ．ｃｎ／ａ", "⟨url_short⟩"),
        ("点t.cn/a8领", "点⟨url_short⟩领"),
        ("win888.vip", "⟨url_rare⟩"),
        ("http://10.0.0.1/a", "⟨url_ip⟩"),
        ("写信给 service@qingxi.example", "写信给 ⟨email⟩"),
        ("e.g. this is not one...at all", "e.g. this is not one...at all"),
        ("awww... so cute", "awww... so cute"),
        ("abc点com 登", "⟨url⟩ 登"),
        ("登abc .com/a", "登⟨url⟩"),
        ("abc。top", "⟨url_rare⟩"),
        ("彩票点com 彩票.com/a", "彩票⟨url⟩ 彩票⟨url⟩"),
        ("http://彩票.com/a", "⟨url⟩"),
        ("10.0.0.1:80/a", "⟨url_ip⟩"),
        ("1.2.3.4.5", "⟨decimal⟩"),
        ("xn--fiqs8s.xyz", "⟨url_rare⟩"),
        ("pay at post.qingxi.cyou/a", "pay at ⟨url_rare⟩"),
        ("https://qingxi.museum/a", "⟨url_rare⟩"),
        ("qingxi-helpdesk.com", "⟨url_rare⟩"),
        ("https://qingxi.example/a-b", "⟨url⟩"),
        ("http://qingxi.com.cn:80", "⟨url⟩"),
        ("see you. Me too", "see you. me too"),
        ("version v1.beta", "version v⟨number_1⟩.beta"),
    ],
)
def test_links_become_tokens_by_the_kind_of_their_host(written: str, canonical: str) -> None:
    assert readable(normalize.normalize(written)) == canonical


@pytest.mark.parametrize("before", ["—", "——", "-", ".", "..", "@", "a..", "点-", "码1", "0", "x\u200b."])
@pytest.mark.parametrize("link", ["www.prizedemo.com/a", "http://prizedemo.example/a"])
@pytest.mark.parametrize("after", ["", "-领", "，", "。领", " x"])
def test_a_link_is_a_link_whatever_stands_before_and_behind_it(before: str, link: str, after: str) -> None:
    assert TOKENS["url"] in normalize.normalize(before + link + after)


def test_a_link_hidden_by_zero_width_spaces_is_still_a_link() -> None:
    hidden = "\u200b".join("t.cn/a8")
    assert normalize.normalize(f"点击{hidden}") == f"点击{TOKENS['url_short']}"


def test_a_bare_short_link_keeps_its_kind_behind_hyphens() -> None:
    assert normalize.normalize("——t.cn/a8") == TOKENS["url_short"]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("13900001234", "⟨mobile⟩"),
        ("139-0000-1234", "⟨mobile⟩"),
        ("139 0000 1234", "⟨mobile⟩"),
        ("139.0000.1234", "⟨mobile⟩"),
        ("+86 139 0000 1234", "⟨mobile⟩"),
        ("8613900001234", "⟨mobile⟩"),
        ("１３９０００01234", "⟨mobile⟩"),
        ("1 3 9 0 0 0 0 1 2 3 4", "⟨mobile⟩"),
        ("+44 7700 900123", "⟨mobile⟩"),
        ("139000012345", "⟨number_8⟩"),
        ("400-810-1234", "⟨hotline⟩"),
        ("010-12345678", "⟨landline⟩"),
        ("95588", "⟨service_number⟩"),
        ("10086", "⟨service_number⟩"),
        ("106900001234", "⟨service_number⟩"),
        ("482913", "⟨number_6⟩"),
        ("尾号**88", "尾号⟨number_4⟩"),
        ("尾号xxxx元", "尾号⟨number_4⟩元"),
        ("xXx", "⟨number_3⟩"),
        ("extra box", "extra box"),
        ("14:20", "⟨time⟩"),
        ("1,204.50", "⟨decimal⟩"),
        ("x.x元", "⟨decimal⟩元"),
        ("12,345,678元", "⟨decimal⟩元"),
        ("482913，5分钟内有效", "⟨number_6⟩,⟨number_1⟩分钟内有效"),
        ("482913，100元", "⟨number_6⟩,⟨number_3⟩元"),
        ("尾号xxxx，123元", "尾号⟨number_4⟩,⟨number_3⟩元"),
        ("8:30，20人", "⟨time⟩,⟨number_2⟩人"),
        ("123456789012", "⟨number_8⟩"),
        ("一三八零零一三八零零零", "⟨mobile⟩"),
        ("壹叁捌〇0001二三四", "⟨mobile⟩"),
        ("捌折 壹零元 伍先生", "⟨number_1⟩折⟨number_2⟩元伍先生"),
        ("I35 1OO2", "i⟨number_2⟩ ⟨number_4⟩"),
        ("二〇一六年壹佰贰拾元", "二〇一六年壹佰贰拾元"),
        ("5️⃣2️⃣3️⃣🔟", "⟨number_5⟩"),
    ],
)
def test_numbers_become_tokens_by_their_kind_and_length_alone(written: str, canonical: str) -> None:
    assert readable(normalize.normalize(written)) == canonical


@given(st.integers(0, 9999), st.integers(0, 9999))
def test_two_codes_of_one_length_cannot_be_told_apart(one: int, other: int) -> None:
    assert normalize.normalize(f"码{one:04d}。") == normalize.normalize(f"码{other:04d}。")


def test_folding_a_folded_character_changes_nothing_anywhere_in_unicode() -> None:
    everything = "".join(map(chr, range(0x110000)))
    folded = normalize._fold(everything)
    assert normalize._fold(folded) == folded
    assert len(folded) > 500_000


def test_no_character_folds_to_a_line_break_or_a_token_of_ours() -> None:
    folded = fold_table.SINGLE_TO + "".join(fold_table.SEVERAL.values())
    assert "\n" not in folded
    assert not set(folded) & set(TOKENS.values())


@given(st.lists(st.text(alphabet="a1.-*@\r\n\x0b\x0c\x85\u2028\u2029 发", max_size=8), min_size=1, max_size=5))
def test_line_breaks_inside_a_message_never_split_a_batch(texts: list[str]) -> None:
    found = normalize_batch(texts)
    assert len(found) == len(texts)
    assert not any("\n" in text for text in found)


@pytest.mark.parametrize(
    "unit",
    ["a.", "1", "x", "-1", "a@", "a-", "www.", "http", "http://", "1.", "1.x", "x.", "x ", " ", "*", "+", "+1-", "a+",
     "a.-", "a--", "8 6 1 3", "发*", "0-", "@", "a b ", "\ud800", "\0", "e\u0301", "ﷺ", "a@" + "b" * 63 + ".",
     "a" * 63 + ".b@", "1." + "x" * 300 + "a", "发.", "扌*", "扌",
     "v ", "加v", "一", "点com", "a.b", "q ", "发★", "1.1.", "a3", "正*", "微",
     "http://发", "威信 "],
)  # fmt: skip
def test_a_hundred_thousand_hostile_characters_are_normalised_at_once(unit: str) -> None:
    hostile = (unit * 100_000)[:100_000]
    assert normalize_batch([hostile, "发*票"])[1] == "发票"
    assert align(hostile).text == normalize.normalize(hostile)


def test_a_nasty_text_goes_through_like_any_other() -> None:
    assert normalize.normalize(NASTY) == align(NASTY).text
    normalize.normalize(NASTY).encode()


@pytest.mark.parametrize("text", EVERYONE)
def test_nobody_of_the_cast_keeps_a_number_or_an_address(text: str) -> None:
    canonical = normalize.normalize(text)
    assert not any(char.isdecimal() for char in canonical)
    assert "example" not in canonical and "t.cn" not in canonical


def test_a_clue_finds_its_way_back_to_what_the_sender_wrote() -> None:
    aligned = align(INVOICE)
    start = aligned.text.index("微信")
    first, last = aligned.span(start, start + 2)
    assert INVOICE[first:last] == "薇 信"
    phone = align(LOAN).text.index(TOKENS["mobile"])
    first, last = align(LOAN).span(phone, phone + 1)
    assert LOAN[first:last] == "13900001234"


def test_a_long_text_is_judged_on_its_head_and_tail() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(5000))
    clipped = clip(text)
    assert clipped == text[:1500] + text[-500:]
    assert clip(clipped) == clipped
