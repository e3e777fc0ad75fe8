"""Are good messages of a guarded class protected, and does no bait open a door for anything else?"""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.guards import guard_of
from spamguard.core.normalize import normalize
from tests.cast import BANK_CODE, BANK_NOTICE, ENGLISH_CODE, EVERYONE, GOOD, PARCEL, SPAM

GUARDED = {BANK_CODE: "code", ENGLISH_CODE: "code", BANK_NOTICE: "bank", PARCEL: "pick_up"}
TRICKS = tomllib.loads((Path(__file__).parents[2] / "suites" / "guard_tricks.toml").read_text(encoding="utf-8"))[
    "trick"
]


@pytest.mark.parametrize(
    ("text", "guard"),
    [
        *GUARDED.items(),
        ("482913（登录验证码），10分钟内有效。如非本人操作请忽略", "code"),
        ("【小鹿阅读】您正在注册，校验码 8391，切勿转发", "code"),
        ("驗證碼：482913，請勿洩漏", "code"),
        ("482913 is your one-time passcode.", "code"),
        ("Use OTP 482913 to confirm your payment of 20.00.", "code"),
        ("您尾号3021的储蓄卡于11月24日代发工资8,200.00元，可用余额9,310.77元", "bank"),
        ("您的登录验证码是482913，请勿转发或告诉他人", "code"),
        ("您尾号3021的账户转入500.00元，余额9,310.77元", "bank"),
        ("您卡号尾号3021的账户消费12.00元，余额310.77元", "bank"),
        ("您的取餐码 A063 对应 3-1-2044，请到前台取餐", None),
        ("取件码：12-3-4051，南门驿站，请于今日20:00前取走", "pick_up"),
    ],
)
def test_a_good_message_of_a_guarded_class_is_protected(text: str, guard: str | None) -> None:
    assert guard_of(normalize(text)) == guard


@pytest.mark.parametrize("text", GUARDED)
@pytest.mark.parametrize(
    "bait",
    [
        "详情 t.cn/a8", "——t.cn/a8", "-www.abc.com", "@t.cn/a8", "戳0http://a.zz/x", "t\u200b.cn/a8", "ｔ．ｃｎ／ａ",
        "http://10.0.0.1/a", "联系13900001234", "139.0000.1234", "1 3 9 0 0 0 0 1 2 3 4", "电话010-12345678",
        "拨400-810-1234",
        "加薇 信 fp8", "加V信", "加Q群", "me@a.example", "点*击", "澳门投注", "贷 款30万", "代开发*票",
        "發票", "刷单日赚300", "卡号发我", "转发十个好友", "快把钱转入安全户头", "领导让办", "彩金88",
        "全场特价", "call now", "you won a prize", "visit us",
    ],
)  # fmt: skip
def test_the_same_message_with_an_advert_a_contact_or_a_link_is_not(text: str, bait: str) -> None:
    assert guard_of(normalize(f"{text}{bait}")) is None
    assert guard_of(normalize(f"{bait} {text}")) is None


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: str(trick["id"]))
def test_no_trick_of_the_suite_gets_past_as_a_good_message(trick: dict[str, str]) -> None:
    assert guard_of(normalize(trick["text"])) is None


@pytest.mark.parametrize("text", sorted({*EVERYONE} - {*GUARDED}))
def test_nobody_else_of_the_cast_is_guarded(text: str) -> None:
    assert guard_of(normalize(text)) is None


def test_the_cast_has_both() -> None:
    assert set(GUARDED) < set(GOOD)
    assert not set(GUARDED) & set(SPAM)


@pytest.mark.parametrize(
    "text",
    [
        "验证码是什么？",
        "验证码48，请查收",
        "验证码482913，备用码 771204",
        "您尾号6688的账户支出35.80元",
        "余额1,204.50元，您尾号6688的卡到期",
        "取件码请问是多少",
    ],
)
def test_half_a_notice_is_no_notice(text: str) -> None:
    assert guard_of(normalize(text)) is None


@pytest.mark.parametrize("bait", ["验证码482913，5分钟内有效。", "【云仓驿站】您的快递已到，取件码 3-1-2044。"])
@pytest.mark.parametrize(
    "advert",
    [
        "小鹿家居新店开业，沙发床垫样样齐全，进店有礼，欢迎新老顾客光临选购，节后再来就没有了",
        "江畔花园现房发售，三室两厅南北通透，名校旁边，绿树成荫，欢迎您带家人来看房",
        "写字楼现铺招租，50 平起",
        "驾驶证消分，一分 100 元，全国联网",
        "各位家长，中考冲刺班开始招生，名师坐镇，人数有限，报满为止",
    ],
)  # fmt: skip
def test_an_advert_without_a_contact_or_a_lure_is_not_opened_to_by_a_bait_either(advert: str, bait: str) -> None:
    assert guard_of(normalize(bait)) is not None
    assert guard_of(normalize(bait + advert)) is None
    assert guard_of(normalize(f"{advert}，{bait}")) is None


@given(st.sampled_from(sorted(GUARDED)), st.text(alphabet="今天天气很好我们去公园走走", min_size=140, max_size=180))
def test_a_guarded_message_has_nothing_more_to_say(text: str, more: str) -> None:
    assert guard_of(normalize(text + more)) is None
