"""What does a gateway's traffic look like, when it may hold no real message?

Invented messages from templates and from the samples that ship with spamguard: people chatting, codes, notices,
campaigns whose copies differ in small edits, payloads in hex, binary messages, and records that no gateway should send.
Everything but the times follows from the seed and the name of the run; numbers are of the ranges that belong to nobody.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Final, NamedTuple

from spamguard.core.codec import decode_message
from spamguard.errors import DataError
from spamguard.types import DeadReason

#: How many of a hundred messages are of each kind, unless something else is asked for.
MIX: Final[Mapping[str, float]] = {
    "chat": 52,
    "codes": 15,
    "notices": 15,
    "campaigns": 10,
    "samples": 4,
    "payload_hex": 2,
    "binary": 1,
    "malformed": 1,
}
#: What no gateway should send; `without_malformed` leaves it out.
MALFORMED: Final = "malformed"
CAMPAIGNS: Final = 12
TENANT: Final = "loadgen"

_OPENINGS: Final = (
    "",
    "",
    "在吗？",
    "哈哈，",
    "对了，",
    "妈，",
    "老师好，",
    "亲爱的，",
    "刚到家，",
    "不好意思，",
    "早上好，",
)
_OPENINGS_EN: Final = ("", "", "Hi, ", "Hey, ", "Mum, ", "Sorry, ", "Ok, ", "By the way, ")
_CHATS: Final = (
    "晚上一起吃饭吗，我{hour}点下班",
    "我已经到地铁站了，你在哪个口？",
    "快递放门口就行，谢谢",
    "明天{hour}点开会别忘了带电脑",
    "孩子作业写完了没有，老师说要签字",
    "周末去爬山吧，天气预报说不下雨",
    "牛奶和鸡蛋买了{small}个，还要别的吗",
    "车晚点了，大概{minute}分钟以后到",
    "昨天的照片发我一份好不好",
    "生日快乐！祝你天天开心，身体健康",
    "我妈问你国庆回不回来，想吃什么",
    "会议改到{hour}点了，{small}楼那间",
    "药吃了吗？记得多喝热水",
    "刚才在开车没听见，有事吗",
    "see you at {hour}, the usual place",
    "running {minute} min late, start without me",
    "did you feed the cat this morning?",
    "can you pick up the kids at {hour} today",
    "the match was great, {small}-{small2}!",
    "call me when you are home please",
    "happy birthday! hope you have a lovely day",
    "the plumber comes between {hour} and {hour2}",
    "thanks for dinner last night",
)
_CLOSINGS: Final = ("", "", "", "。", "！", "～", " 😂", "，等你回复", "，好吗")
_CLOSINGS_EN: Final = ("", "", ".", "!", " :)", " xx", " thx")
_CODES: Final = (
    "【{brand}】您的验证码是{code}，{minute}分钟内有效，请勿泄露给他人。",
    "【{brand}】验证码{code}，您正在登录，如非本人操作请忽略本短信。",
    "{code}（动态验证码），用于修改支付密码，切勿告知任何人【{brand}】",
    "Your {name} verification code is {code}. It expires in {minute} minutes. Do not share it.",
    "{code} is your {name} login code. We will never ask you for it.",
)
_NOTICES: Final = (
    "【{brand}】您尾号{tail}的账户{month}月{day}日{hour}:{minute}支出人民币{amount}元，余额{amount2}元。",
    "【{brand}】您的快递已到{small}号柜，取件码{pick}，请于{hour}点前领取。",
    "【{brand}】您预约的{month}月{day}日{hour}点门诊已确认，请提前{minute}分钟到{small}楼取号。",
    "【{brand}】尊敬的用户，您本月已使用流量{small}.{small2}GB，剩余{amount}MB，详情请登录营业厅查询。",
    "{name}: your parcel {tail}{pick} will be delivered on {day}/{month} between {hour}:00 and {hour2}:00.",
    "{name} Clinic reminder: your appointment is on {day}/{month} at {hour}:{minute}. Reply C to confirm.",
    "{name}: payment of {amount} received on {day}/{month}, card ending {tail}. Balance {amount2}.",
)
_SPAM: Final = (
    "【{brand}】恭喜您获得{amount}元现金大奖，点击 http://win{pick}.example/ 立即领取，{hour}点前有效",
    "代开各类发票，税率低，验真后付款，加薇信 fp{pick} 咨询",
    "无抵押贷款，额度{amount}元，当天放款，联系 QQ {pick}{tail}",
    "您的银行卡积分即将清零，请登录 http://bank{pick}.example/ 兑换{amount}元现金",
    "真人在线，首充送{amount}，提款秒到，访问 http://bet{pick}.example/",
    "刷单兼职，日结{amount}元，一部手机即可，加V {pick}job",
    "全场{small}折，{month}月{day}日当天有效，凭此短信到店再减{amount}元，退订回T",
    "URGENT! You have won {amount} pounds. Claim now at http://prize{pick}.example/ code {tail}",
    "Your parcel is held, pay the fee of {small}.{small2}0 at http://post{pick}.example/ today",
    "Get a loan of {amount} today, no credit check, call 5550101{tail}",
    "80% OFF everything this week at http://sale{pick}.example/ STOP to end",
)
_BRANDS: Final = ("小鹿阅读", "云上银行", "青禾商城", "蓝鲸出行", "安心医院", "星桥快递", "木棉电信", "四海旅行")
_NAMES: Final = ("Lakeside Bank", "BlueWhale", "Millbridge Post", "Greenfield", "Starbridge", "Oak & Elm")
_EDITS: Final = ("", "", "", "！", "。", " ", "\u200b", "*", "~", " 1", "退订回N", " ok")
_OPERATORS: Final = ("north", "south", "east")

#: What may stand in a template's blanks, from one draw of 48 bits.
_BLANKS: Final[Mapping[str, Callable[[int], object]]] = {
    "code": lambda draw: f"{draw % 1_000_000:06}",
    "tail": lambda draw: f"{(draw >> 3) % 10_000:04}",
    "pick": lambda draw: 1000 + (draw >> 7) % 9000,
    "amount": lambda draw: 100 + (draw >> 11) % 9900,
    "amount2": lambda draw: 1000 + (draw >> 17) % 90_000,
    "hour": lambda draw: 8 + (draw >> 5) % 12,
    "hour2": lambda draw: 20 + (draw >> 13) % 3,
    "minute": lambda draw: 10 + (draw >> 9) % 50,
    "day": lambda draw: 1 + (draw >> 15) % 28,
    "month": lambda draw: 1 + (draw >> 19) % 12,
    "small": lambda draw: 1 + (draw >> 21) % 8,
    "small2": lambda draw: 1 + (draw >> 24) % 8,
    "brand": lambda draw: _BRANDS[(draw >> 27) % len(_BRANDS)],
    "name": lambda draw: _NAMES[(draw >> 31) % len(_NAMES)],
}


class Template(NamedTuple):
    """A text with blanks, ready to be filled: `str.format` with every blank made costs four times as much."""

    form: str
    blanks: tuple[Callable[[int], object], ...]

    @classmethod
    def of(cls, text: str) -> "Template":
        """Return the template of a text like `call at {hour}`."""
        pieces = [(literal.replace("%", "%%"), blank) for literal, blank, *_ in Formatter().parse(text)]
        form = "".join(literal + ("%s" if blank else "") for literal, blank in pieces)
        return cls(form, tuple(_BLANKS[blank] for _, blank in pieces if blank))

    def filled(self, draw: int) -> str:
        """Return the text.

        >>> Template.of("at {hour}, 80% off").filled(0)
        'at 8, 80% off'
        """
        return self.form % tuple([blank(draw) for blank in self.blanks])


_CHAT_PARTS: Final = tuple(
    (Template.of(chat), *((_OPENINGS_EN, _CLOSINGS_EN) if chat.isascii() else (_OPENINGS, _CLOSINGS)))
    for chat in _CHATS
)
_CODE_TEMPLATES: Final = tuple(map(Template.of, _CODES))
_NOTICE_TEMPLATES: Final = tuple(map(Template.of, _NOTICES))
_SPAM_TEMPLATES: Final = tuple(map(Template.of, _SPAM))
_PLAIN_TEMPLATES: Final = (*(part[0] for part in _CHAT_PARTS), *_NOTICE_TEMPLATES)


class Load(NamedTuple):
    """A message to send."""

    number: int
    key: bytes
    value: bytes
    kind: str
    decidable: bool  #: whether it has a readable message id, so that a decision must come


class Traffic:
    """Invents messages one after the other; the same seed, run and times give the same bytes."""

    def __init__(self, *, seed: int, run: str, samples: Sequence[bytes] = (), mix: Mapping[str, float] = MIX) -> None:
        self.run = run
        self._dice = dice = random.Random(seed)  # noqa: S311 - invented messages, no secret
        self._number = 0
        self._samples = [found for line in samples if isinstance(found := _loads(line), dict)]
        makers = self._makers()
        kinds = [kind for kind, weight in mix.items() if weight > 0 and (kind != "samples" or self._samples)]
        if not kinds:
            raise DataError(detail=f"no kind of message has a share; known are {', '.join(MIX)}")
        weights = [mix[kind] for kind in kinds]
        self._drawn = [
            (kind, makers[kind])
            for kind, weight in zip(kinds, weights, strict=True)
            for _ in range(round(weight * 1000 / sum(weights)) or 1)
        ]
        self._campaigns = [
            (f"106900{dice.randrange(10**6):06}", _SPAM_TEMPLATES[place % len(_SPAM)].filled(dice.getrandbits(48)))
            for place in range(CAMPAIGNS)
        ]

    def take(self, count: int, *, now_ms: int) -> list[Load]:
        """Return the next messages, received now."""
        dice, drawn, last = self._dice, self._drawn, len(self._drawn)
        loads = []
        for number in range(self._number, self._number + count):
            kind, make = drawn[int(dice.random() * last)]
            loads.append(make(number, kind, now_ms))
        self._number += count
        return loads

    def _makers(self) -> dict[str, Callable[[int, str, int], Load]]:
        return {
            "chat": self._chat,
            "codes": self._code,
            "notices": self._notice,
            "campaigns": self._campaign,
            "samples": self._sample,
            "payload_hex": self._payload,
            "binary": self._binary,
            MALFORMED: self._malformed,
        }

    def _one_of(self, choices: Sequence[str]) -> str:
        return choices[int(self._dice.random() * len(choices))]

    def _person(self) -> str:
        return f"+861390000{int(self._dice.random() * 10_000):04}"

    def _filled(self, templates: Sequence[Template]) -> str:
        """Return one of the templates with its blanks filled."""
        dice = self._dice
        return templates[int(dice.random() * len(templates))].filled(dice.getrandbits(48))

    def _load(
        self, number: int, kind: str, now_ms: int, sender: str, recipient: str, body: str, direction: str
    ) -> Load:
        """Return a message; `body` is JSON, its texts hold nothing that JSON would have to escape."""
        value = (
            f'{{"message_id":"{self.run}-{number:09}","sender":"{sender}","recipient":"{recipient}",{body},'
            f'"direction":"{direction}","received_at":{now_ms},"operator":"{_OPERATORS[number % 3]}",'
            f'"tenant":"{TENANT}","schema_version":1}}'
        )
        return Load(number, f"{sender}|{recipient}".encode(), value.encode(), kind, decidable=True)

    def _chat(self, number: int, kind: str, now_ms: int) -> Load:
        template, openings, closings = _CHAT_PARTS[int(self._dice.random() * len(_CHAT_PARTS))]
        filled = template.filled(self._dice.getrandbits(48))
        text = f"{self._one_of(openings)}{filled}{self._one_of(closings)}"
        return self._load(number, kind, now_ms, self._person(), self._person(), f'"text":"{text}"', "MO")

    def _code(self, number: int, kind: str, now_ms: int) -> Load:
        text = self._filled(_CODE_TEMPLATES)
        return self._load(number, kind, now_ms, "1069000011", self._person(), f'"text":"{text}"', "AO")

    def _notice(self, number: int, kind: str, now_ms: int) -> Load:
        text = self._filled(_NOTICE_TEMPLATES)
        return self._load(number, kind, now_ms, "1069000022", self._person(), f'"text":"{text}"', "AO")

    def _campaign(self, number: int, kind: str, now_ms: int) -> Load:
        """Return a campaign's copy: a character or two put in or left out, as senders do to look different."""
        sender, text = self._campaigns[int(self._dice.random() * CAMPAIGNS)]
        place = int(self._dice.random() * len(text))
        text = f"{text[:place]}{self._one_of(_EDITS)}{text[place + (self._dice.random() < 0.2) :]}"
        return self._load(number, kind, now_ms, sender, self._person(), f'"text":"{text}"', "MT")

    def _sample(self, number: int, kind: str, now_ms: int) -> Load:
        found = dict(self._samples[int(self._dice.random() * len(self._samples))])
        found |= {"message_id": f"{self.run}-{number:09}", "recipient": self._person(), "received_at": now_ms}
        found["tenant"] = TENANT
        value = json.dumps(found, ensure_ascii=False).encode()
        return Load(number, f"{found.get('sender', '')}|{found['recipient']}".encode(), value, kind, decidable=True)

    def _payload(self, number: int, kind: str, now_ms: int) -> Load:
        text = self._filled(_PLAIN_TEMPLATES)
        if text.isascii():
            body = f'"payload_hex":"{text.encode().hex()}","encoding":"latin1"'
        elif number % 2:
            body = f'"payload_hex":"{text.encode("utf-16-be").hex()}","protocol":"smpp","data_coding":8'
        else:
            body = f'"payload_hex":"{text.encode("gb18030").hex()}","protocol":"cmpp","data_coding":15'
        return self._load(number, kind, now_ms, self._person(), self._person(), body, "MO")

    def _binary(self, number: int, kind: str, now_ms: int) -> Load:
        body = f'"kind":"binary","payload_hex":"{self._dice.getrandbits(560):0140x}"'
        return self._load(number, kind, now_ms, "1069000033", self._person(), body, "MT")

    def _malformed(self, number: int, kind: str, now_ms: int) -> Load:
        """Return what is broken: two of three still have a readable id, and so must get a decision."""
        text = self._filled(_PLAIN_TEMPLATES)
        load = self._load(number, kind, now_ms, self._person(), self._person(), f'"text":"{text}"', "MO")
        value = load.value
        broken = (
            value.replace(b'"direction":"MO"', b'"direction":["MO"]').replace(b'"tenant":"', b'"consent":7,"tenant":"'),
            value.replace(b'"text":"', b'"text":"\xc3\x28'),
            value[: len(value) // 2],
            value.replace(b'"received_at":', b'"received_at":{},"was":'),
            value.replace(b'"message_id"', b'"id"'),
            value.replace(b'"text":"', b'"text":"\\ud83d'),
        )[int(self._dice.random() * 6)]
        decidable = not isinstance(decode_message(broken), DeadReason)
        return load._replace(value=broken, decidable=decidable)


def _loads(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def parse_mix(given: str) -> dict[str, float]:
    """Return a mix from words like `chat=80,codes=20`; kinds that are left out have no share. Raises DataError.

    >>> parse_mix("chat=80,codes=20")
    {'chat': 80.0, 'codes': 20.0}
    """
    mix = {}
    for part in given.split(","):
        kind, _, share = part.partition("=")
        try:
            mix[kind.strip()] = float(share)
        except ValueError:
            mix[kind.strip()] = -1.0
        if kind.strip() not in MIX or not 0 <= mix[kind.strip()] < 1e9:
            raise DataError(detail=f"the mix {part.strip()!r} is not like chat=80; known are {', '.join(MIX)}")
    return mix


def without_malformed(mix: Mapping[str, float]) -> dict[str, float]:
    """Return the mix with only what a gateway should send."""
    return {kind: share for kind, share in mix.items() if kind != MALFORMED}
