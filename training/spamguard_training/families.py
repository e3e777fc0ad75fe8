"""What do messages look like that no public corpus holds: this year's fraud, and the honest notices beside it?

Families are hand-written (`datasets/families/*.toml`): one purpose, several wordings, slots. This module fills the
slots from a seed. The rows train and test a model; they are invented, named as such in every report (source
`families`), and never counted as real messages.
"""

import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from spamguard.errors import DataError
from spamguard_training.corpus import Row

SOURCE: Final = "families"
_SLOT: Final = re.compile(r"\{([a-z_0-9]+)\}")
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz"
_MIXED: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"

Fill = Callable[[random.Random], str]


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One purpose in several wordings."""

    id: str
    category: str
    texts: tuple[str, ...]
    label: str = "ham"
    kind: str = ""
    lang: str = "zh"
    twin: str | None = None  #: the honest (or the false) family beside it; both stay in one fold
    slots: dict[str, tuple[str, ...]] = {}


def _digits(count: int) -> Fill:
    return lambda rng: str(rng.randint(1, 9)) + "".join(str(rng.randint(0, 9)) for _ in range(count - 1))


def _one_of(*choices: str) -> Fill:
    return lambda rng: rng.choice(choices)


def _code(rng: random.Random, length: int, alphabet: str = _MIXED) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


def _amount(rng: random.Random) -> str:
    value = rng.choice((rng.uniform(1, 100), rng.uniform(100, 9999)))
    return rng.choice((f"{value:.2f}", f"{value:,.2f}", f"{value:.0f}"))


def _url_short(rng: random.Random) -> str:
    host = rng.choice(
        ("t.cn", "dwz.cn", "url.cn", "suo.im", "bit.ly", "u6.gg", "dwz.mk", "sourl.cn", "c.tb.cn", "3.cn")
    )
    return rng.choice(("", "", "https://", "http://")) + f"{host}/{_code(rng, rng.randint(4, 7))}"


def _url_phish(rng: random.Random) -> str:
    brand = rng.choice(("etc", "icbc", "ccb", "abc", "gov", "social", "bank", "post", "pay", "jd", "tax", "hmrc", "usps",
                        "evri", "toll", "sf", "mail", "car", "card", "service"))  # fmt: skip
    suffix = rng.choice(
        ("top", "xyz", "vip", "cc", "icu", "club", "com", "cn", "info", "ltd", "site", "online", "shop")
    )
    middle = rng.choice(("", "-", "")) + _code(rng, rng.randint(2, 4), _LETTERS + "0123456789")
    path = rng.choice(("", "", "/", f"/{_code(rng, 4)}"))
    return rng.choice(("", "https://", "http://", "www.")) + f"{brand}{middle}.{suffix}{path}"


def _url_site(rng: random.Random) -> str:
    name = _code(rng, rng.randint(4, 9), _LETTERS)
    suffix = rng.choice(("com", "cn", "com.cn", "net", "com", "co.uk", "com.hk", "org", "gov.cn", "top", "shop"))
    path = rng.choice(("", "", "/", f"/{_code(rng, 5, _LETTERS)}", f"/{_code(rng, 3, _LETTERS)}/{_code(rng, 6)}"))
    return rng.choice(("", "https://", "www.", "https://m.")) + f"{name}.{suffix}{path}"


_SYLLABLES: Final = ("yun", "tong", "che", "yi", "lv", "jia", "bao", "fu", "hui", "shun", "an", "kang", "xue", "wu", "you", "pei",
                     "da", "hao", "xin", "zhi", "le", "mai", "piao", "yuan", "sheng", "ding")  # fmt: skip
_ENGLISH_STEMS: Final = ("book", "track", "care", "my", "pay", "go", "fleet", "home", "clinic", "learn", "rent", "join", "desk",
                         "ride", "tix", "post", "visit", "club", "north", "river", "oak", "green", "quick", "bright")  # fmt: skip


def _host_path(rng: random.Random) -> str:
    return rng.choice((f"/{_code(rng, rng.randint(4, 8))}", f"/{rng.choice('sdtrcpo')}/{_code(rng, rng.randint(5, 9))}",
                       f"/{_code(rng, 3, _LETTERS)}?id={rng.randint(1000, 99999999)}", f"/{_code(rng, 4, _LETTERS)}", ""))  # fmt: skip


def _chinese_host(rng: random.Random) -> str:
    stem = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 3)))
    return stem + rng.choice(("", "", "-" + rng.choice(_SYLLABLES), "-yun", str(rng.randint(1, 99)), "365"))


def _url_firm(rng: random.Random) -> str:
    """Return the link an honest small Chinese sender uses: a short or hyphenated host of its own, seldom an odd ending."""
    front = rng.choice(("", "", "m.", "s.", "d.", "t.", "h5.", "wx.", "u.", "app.", "fw-", "q.", "sms."))
    suffix = rng.choice(("cn", "cn", "com", "com", "com.cn", "net")) if rng.random() < 0.85 else _odd_ending(rng)
    return rng.choice(("", "", "https://", "http://")) + f"{front}{_chinese_host(rng)}.{suffix}{_host_path(rng)}"


def _odd_ending(rng: random.Random) -> str:
    return rng.choice(("cc", "vip", "top", "work", "ltd", "co", "link", "shop"))


def _url_corp(rng: random.Random) -> str:
    """Return the link of a larger company: a plain host and a path."""
    front, suffix = rng.choice(("", "m.", "www.", "s.", "e.", "dx.")), rng.choice(("cn", "com", "com", "com.cn"))
    return rng.choice(("", "https://")) + f"{front}{_chinese_host(rng)}.{suffix}/{_code(rng, rng.randint(4, 8))}"


def _url_gov(rng: random.Random) -> str:
    """Return the link of an authority of the mainland."""
    place = "".join(rng.choice(_SYLLABLES) for _ in range(2))
    office = rng.choice(("rsj", "ybj", "gjj", "zwfw", "tax", "court", "gaj", "mzj", "jtj", "wsjk"))
    host = rng.choice((f"{office}.{place}.gov.cn", f"{place}{office}.gov.cn", f"www.{place}.gov.cn"))
    return rng.choice(("", "https://", "http://")) + host + rng.choice(("", f"/{_code(rng, rng.randint(4, 7))}"))


def _url_firm_en(rng: random.Random) -> str:
    """Return the same of an English-speaking sender."""
    stem = (
        rng.choice(_ENGLISH_STEMS)
        + rng.choice(("", "-", ""))
        + rng.choice(_ENGLISH_STEMS)
        + rng.choice(("", "", "-hq", "24", "app"))
    )
    front = rng.choice(("", "", "", "m.", "sms.", "go.", "link.", "t.", "my.", "e."))
    suffix = rng.choice(
        ("com", "com", "co.uk", "co", "io", "app", "me", "link", "org", "net", "com.au", "in", "sg", "us", "ie")
    )
    return rng.choice(("", "", "https://", "https://", "http://")) + f"{front}{stem}.{suffix}{_host_path(rng)}"


def _url_corp_en(rng: random.Random) -> str:
    """Return the link of a larger English-speaking company: a plain host and a path."""
    stem = rng.choice(_ENGLISH_STEMS) + rng.choice(_ENGLISH_STEMS)
    front, suffix = rng.choice(("", "www.", "my.", "m.")), rng.choice(("com", "com", "co.uk", "com.au", "in", "com.sg"))
    return rng.choice(("", "https://")) + f"{front}{stem}.{suffix}/{_code(rng, rng.randint(4, 8), _LETTERS)}"


def _url_hant(rng: random.Random) -> str:
    """Return the link of a sender in Hong Kong or Taiwan."""
    front = rng.choice(("", "", "www.", "m.", "go.", "s.", "link.", "my."))
    stem = rng.choice(
        (
            _code(rng, rng.randint(3, 6), _LETTERS),
            _chinese_host(rng),
            rng.choice(_ENGLISH_STEMS) + _code(rng, 2, _LETTERS),
        )
    )
    suffix = rng.choice(("com.tw", "tw", "com.hk", "hk", "com", "com", "org.tw", "net", "cc", "io"))
    return rng.choice(("", "https://", "https://")) + f"{front}{stem}.{suffix}{_host_path(rng)}"


def _url_short_world(rng: random.Random) -> str:
    """Return a short link as senders outside the mainland use them."""
    host = rng.choice(("bit.ly", "tinyurl.com", "reurl.cc", "lihi.cc", "rb.gy", "t.ly", "ow.ly", "is.gd", "pse.is"))
    return rng.choice(("", "https://")) + f"{host}/{_code(rng, rng.randint(5, 7))}"


def _express(rng: random.Random) -> str:
    return rng.choice(("SF", "YT", "ZT", "JT", "JD", "")) + _digits(rng.choice((10, 12, 13)))(rng)


def _plate(rng: random.Random) -> str:
    return (
        rng.choice("京沪粤浙苏川鲁豫闽湘") + rng.choice("ABCDEF") + _code(rng, 5, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789")
    )


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SURNAMES: Final = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
_GIVEN: Final = ("伟", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "娟", "涛", "明", "超", "霞", "平", "刚", "桂英", "建国", "子涵", "浩然",
                 "欣怡", "梓轩", "雨桐", "晓东", "志强", "海燕", "文博", "佳琪")  # fmt: skip
_OPT_OUT: Final = ("回T退订", "拒收请回复R", "退订回TD", "回TD退订", "拒收回R", "退订回T", "回复TD退订", "回N退订", "拒收请回复R ", "退回T", "回QX退订",
                   "不再接收请回复R", "退订请回T")  # fmt: skip

SLOTS: Final[dict[str, Fill]] = {
    "code4": _digits(4), "code6": _digits(6), "tail4": _digits(4), "amount": _amount,
    "n1": _digits(1), "n2": _digits(2), "n3": _digits(3), "n4": _digits(4), "n6": _digits(6), "n8": _digits(8),
    "n12": _digits(12),
    "amount_big": lambda rng: rng.choice((f"{rng.randint(5, 500) * 1000:,}", str(rng.randint(5, 500) * 1000))),
    "wan": lambda rng: str(rng.randint(1, 9)), "days": lambda rng: str(rng.randint(1, 30)),
    "month_day": lambda rng: f"{rng.randint(1, 12)}月{rng.randint(1, 28)}日",
    "md": lambda rng: f"{rng.randint(1, 12)}月{rng.randint(1, 28)}日",
    "date": lambda rng: f"{rng.randint(2021, 2026)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
    "date_en": lambda rng: f"{rng.randint(1, 28)} {rng.choice(_MONTHS)}",
    "time": lambda rng: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
    "percent": lambda rng: str(rng.randint(1, 99)), "count": lambda rng: str(rng.randint(1, 20)),
    "hour": lambda rng: str(rng.randint(1, 24)), "year": lambda rng: str(rng.randint(2019, 2026)),
    "points": lambda rng: str(rng.randint(200, 30000)), "discount": lambda rng: f"{rng.randint(10, 98) / 10:g}",
    "gb": lambda rng: rng.choice((str(rng.randint(1, 100)), f"{rng.uniform(0.1, 60):.2f}")),
    "minutes": lambda rng: str(rng.randint(1, 60)),
    "mobile": lambda rng: "1" + rng.choice("3456789") + "".join(str(rng.randint(0, 9)) for _ in range(9)),
    "phone_intl": lambda rng: rng.choice(("+44 7", "+1 ", "+91 9", "+65 8", "+61 4")) + _digits(9)(rng),
    "phone_hk": lambda rng: rng.choice("569") + _digits(7)(rng), "phone_tw": lambda rng: "09" + _digits(8)(rng),
    "hotline": lambda rng: f"400{rng.choice(('-', '', ' '))}{_digits(3)(rng)}{rng.choice(('-', '', ' '))}{_digits(4)(rng)}",
    "short_no": _one_of("95588", "95533", "95599", "95566", "95555", "10086", "10010", "10000", "12306", "95338", "1065"),
    "url_firm": _url_firm, "url_corp": _url_corp, "url_gov": _url_gov, "url_hant": _url_hant, "url_corp_en": _url_corp_en, "url_firm_en": _url_firm_en,
    "app_hash": lambda rng: _code(rng, 11, _MIXED + "+/"), "ref": lambda rng: _code(rng, rng.randint(6, 8), "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"),
    "url_short": _url_short, "url_short_world": _url_short_world, "url_phish": _url_phish, "url_site": _url_site,
    "url": lambda rng: f"https://{_code(rng, 7, _LETTERS)}.{rng.choice(('com', 'cn', 'net', 'org'))}/{_code(rng, 5)}",
    "order_no": _digits(12), "express_no": _express, "plate": _plate,
    "surname": lambda rng: rng.choice(_SURNAMES),
    "name": lambda rng: rng.choice(_SURNAMES) + rng.choice(_GIVEN),
    "name_en": _one_of("Anna", "James", "Priya", "Wei Ling", "Tom", "Sarah", "Omar", "Grace", "Daniel", "Mei", "Ravi", "Kate"),
    "city": _one_of("北京", "上海", "广州", "深圳", "杭州", "成都", "武汉", "西安", "南京", "长沙", "青岛", "厦门", "昆明", "郑州"),
    "city_en": _one_of("London", "Leeds", "Boston", "Dallas", "Mumbai", "Singapore", "Sydney", "Toronto", "Dublin"),
    "district": _one_of("朝阳区", "浦东新区", "天河区", "南山区", "西湖区", "武侯区", "江汉区", "雁塔区", "鼓楼区", "岳麓区"),
    "wechat": lambda rng: _code(rng, rng.randint(2, 5), _LETTERS) + _digits(rng.randint(3, 6))(rng),
    "qq": lambda rng: _digits(rng.randint(8, 10))(rng), "optout": _one_of(*_OPT_OUT),
    "optout_en": _one_of("Reply STOP to opt out", "Txt STOP to end", "Opt out: STOP", "STOP to 60001 to unsubscribe",
                         "To stop reply STOP", "OptOut? txt STOP"),
    "bank": _one_of("工商银行", "建设银行", "农业银行", "中国银行", "招商银行", "交通银行", "邮储银行", "中信银行", "浦发银行", "民生银行",
                    "光大银行", "平安银行", "兴业银行", "广发银行", "江河银行", "华夏银行"),
    "bank_en": _one_of("HSBC", "Barclays", "Lloyds", "Chase", "Citi", "DBS", "HDFC Bank", "Northfield Bank", "Santander"),
    "bank_hant": _one_of("滙豐銀行", "恒生銀行", "中國信託", "國泰世華銀行", "玉山銀行", "渣打銀行", "東亞銀行", "富邦銀行"),
    "carrier": _one_of("中国移动", "中国联通", "中国电信", "中国广电"),
    "courier": _one_of("顺丰速运", "中通快递", "圆通速递", "申通快递", "韵达快递", "京东快递", "极兔速递", "邮政EMS", "菜鸟驿站", "德邦快递"),
    "courier_en": _one_of("Royal Mail", "DHL", "FedEx", "UPS", "Evri", "DPD", "USPS", "SingPost", "Ninja Van"),
    "platform": _one_of("淘宝", "京东", "拼多多", "天猫", "唯品会", "抖音商城", "苏宁易购", "美团", "快手小店", "得物"),
}  # fmt: skip


def family_paths(given: Sequence[Path]) -> list[Path]:
    """Return the files themselves, and the TOML files of the folders, in name order."""
    return [found for path in given for found in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]


def read_families(paths: Sequence[Path]) -> list[Family]:
    """Return the families of TOML files or of folders of them. Raises DataError naming file and family."""
    families: dict[str, Family] = {}
    for path in family_paths(paths):
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            found = msgspec.convert(content["family"], list[Family])
        except (OSError, KeyError, ValueError, msgspec.ValidationError) as error:
            raise DataError(detail=f"{path} does not hold families ({error})") from None
        for family in found:
            missing = (
                {slot for text in family.texts for slot in _SLOT.findall(text)} - family.slots.keys() - SLOTS.keys()
            )
            if missing or family.id in families:
                why = f"unknown slots {sorted(missing)}" if missing else "its id stands twice"
                raise DataError(detail=f"{path.name}: family {family.id}: {why}")
            families[family.id] = family
    if not families:
        raise DataError(detail="no family was found; families are [[family]] tables in .toml files")
    return list(families.values())


def fill(text: str, family: Family, rng: random.Random) -> str:
    """Return a wording with every slot filled, each occurrence drawn anew; a slot's value may hold slots itself."""

    def choose(match: re.Match[str]) -> str:
        name = match.group(1)
        return rng.choice(family.slots[name]) if name in family.slots else SLOTS[name](rng)

    return _SLOT.sub(choose, _SLOT.sub(choose, text))


def _twin_groups(families: Sequence[Family]) -> dict[str, str]:
    """Return for each family the first of all the families that are twins, or twins of twins, of it."""
    first = {family.id: family.id for family in families}
    for family in families:
        if family.twin in first:
            ours, theirs = first[family.id], first[family.twin]
            merged = min(ours, theirs)
            first = {one: merged if root in (ours, theirs) else root for one, root in first.items()}
    return first


def generate(families: Sequence[Family], *, each: int, seed: int) -> Iterator[Row]:
    """Yield up to `each` distinct rows a family, drawn evenly over its wordings; the same seed gives the same rows."""
    groups = _twin_groups(families)
    for family in families:
        rng = random.Random(f"{seed}:{family.id}")  # noqa: S311 - reproducible, not secret
        group = hashlib.sha256(groups[family.id].encode()).hexdigest()[:12]
        seen: set[str] = set()
        for attempt in range(each * 3):
            if len(seen) == each:
                break
            text = fill(family.texts[attempt % len(family.texts)], family, rng)
            if text in seen:
                continue
            seen.add(text)
            yield Row(
                id=hashlib.sha256(text.encode()).hexdigest()[:16],
                text=text,
                label=family.label,
                lang="en" if family.lang == "en" else "zh",
                source=SOURCE,
                group=group,
                read=True,
                category=family.category,
                confidence="high",
                kind=family.kind or family.id,
                set=family.id,
            )
