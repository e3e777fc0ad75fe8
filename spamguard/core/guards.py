"""Which good messages must pass whatever the score says?

A guard is narrow: it describes a whole class of good message by what it must have *and* by what it may not have.
None relies on a signature or a sender (both are forgeable), and none is a door: a message that gives the reader
anything to call, click, add or join is left to the score. Guards look at normalised text, and only at messages that
would otherwise be blocked or unsure.
"""

import re
from typing import Final

from spamguard.core.normalize import TOKENS

_CODE_NUMBER: Final = f"[{TOKENS['number_4']}-{TOKENS['number_8']}]"
_MONEY: Final = f"[{TOKENS['decimal']}{TOKENS['number_1']}-{TOKENS['number_8']}]"

#: Ways to reach or be reached: a message with one of these is never guarded.
_REACHABLE: Final = re.compile(
    "[" + "".join(TOKENS[name] for name in ("url", "url_short", "url_rare", "url_ip", "email", "mobile", "landline",
                                            "hotline")) + "]"
    "|微信|薇信|威信|v信|[+加]v|vx|wx|weixin|wechat|qq|扣扣|企鹅|telegram|飞机|纸飞机|whatsapp|line|电报|群|加我|联系我|私聊|公众号|小程序"
    "|点击|搜索|下载|app|click|join|call|visit"
)  # fmt: skip
#: What a good notice of these classes never speaks of.
_LURES: Final = re.compile(
    "发票|代开|办证|贷|额度|下款|放款|抵押|担保|货到付款|名额|明牌|中奖|大奖|彩金|彩票|投注|博彩|赌|棋牌|首充|返利|返现|佣金|兼职|刷单|日赚|月入|稳赚|荐股|牛股|涨停|内幕"
    "|优惠|促销|抢购|充.送|特价|折扣|打折|红包|礼金|彩礼|免费|抽奖|小姐|上门|按摩|一夜|约炮|迷药|枪|窃听|答案|包过|文凭|退税|补贴|解冻|安全账户"
    # A code that is to be told, money that is to be moved, a message that is to be passed on: no notice asks for these.
    "|告诉我|发给我|报给我|念给我|回复给我|转给我|钱转入|打款|卡号发|监管账户|洗钱|(?<![勿别])转发|领导"
    "|loan|casino|bet|prize|winner|won|bonus|free|offer|discount|sale|earn|profit|invest|crypto|bitcoin|sex|escort"
)

_CODE: Final = re.compile(
    rf"(?:验证码|校验码|动态码|动态密码|登录码|确认码|安全码|短信码|激活码)[^{_CODE_NUMBER[1:-1]}]{{0,16}}{_CODE_NUMBER}"
    rf"|{_CODE_NUMBER}[^.!?]{{0,24}}(?:验证码|校验码|动态码|动态密码|登录码|确认码|安全码|短信码|激活码)"
    rf"|(?:verification|security|login|access|confirmation|one[- ]time|authentication)\s?(?:code|password|passcode|pin)"
    rf"[^{_CODE_NUMBER[1:-1]}]{{0,24}}{_CODE_NUMBER}"
    rf"|{_CODE_NUMBER}[^!?]{{0,32}}(?:verification|security|login|one[- ]time|otp|passcode)"
    rf"|otp[^{_CODE_NUMBER[1:-1]}]{{0,24}}{_CODE_NUMBER}"
)
_BANK: Final = re.compile(
    rf"尾号.{{0,6}}{_CODE_NUMBER}.{{0,60}}(?:支出|收入|转出|转入|入账|消费|支取|存入|扣款|还款|工资|代发).{{0,30}}{_MONEY}"
)
_BANK_BALANCE: Final = re.compile(rf"余额.{{0,8}}{_MONEY}")
_PICK_UP: Final = re.compile(rf"(?:取件码|取货码|提货码|开柜码|取餐码)[^a-z]{{0,6}}{_MONEY}")

#: What a notice of each class talks of, clause by clause.
_TALKS_OF: Final = {
    "code": re.compile(
        "验证|校验|(?<!数)码|密码|有效|失效|过期|分钟|勿|不要|切莫|泄|告[诉知]|提供|转发|本人|忽略|登[录陆]|注册|绑定|修改|重置|认证|输入"
        "|[账帐][号户]|用于|客服|人员|确认|申请|开通|冻结"
        "|code|otp|pass|pin|share|valid|minute|log ?in|account|verif|ignore|request|confirm"
    ),
    "bank": re.compile(
        "尾号|[账帐][号户]|支出|收入|转[出入]|入账|消费|支取|存入|扣款|还款|工资|代发|余额|摘要|交易|银行|本人|对方"
    ),
    "pick_up": re.compile(
        "取件|取货|提货|开柜|取餐|快[递件]|包裹|邮件|驿站|柜|领取|取[走出]|签收|代收|保管|存放|退回|超时|逾期|出示|店员|前台|门卫"
    ),
}
_CLAUSE_END: Final = re.compile(r"[.,;!?\[\]()]")
#: Columns of clauses that talk of something else: a name, a place, a greeting; an advert needs more, or a price.
_MOST_ELSE: Final = 20.0
_LATIN_COLUMNS: Final = 0.4
_FIGURE: Final = re.compile(_MONEY)
#: A figure that stands alone, in brackets perhaps, is the code itself.
_BARE_FIGURE: Final = 2

#: A guarded class is short; whatever is longer has something else to say.
_CODE_MAX_CHARS: Final = 110
_BANK_MAX_CHARS: Final = 160
_PICK_UP_MAX_CHARS: Final = 120


def guard_of(text: str) -> str | None:
    """Return the name of the guard that protects a normalised text, or None.

    >>> from spamguard.core.normalize import normalize
    >>> guard_of(normalize("您的验证码为 482913，5 分钟内有效，请勿告诉他人。"))
    'code'
    >>> guard_of(normalize("验证码482913 加微信领红包"))
    """
    if _REACHABLE.search(text) or _LURES.search(text):
        return None
    long_numbers = len(re.findall(_CODE_NUMBER, text))
    guard = None
    if len(text) <= _CODE_MAX_CHARS and long_numbers == 1 and _CODE.search(text):
        guard = "code"
    elif len(text) <= _BANK_MAX_CHARS and _BANK.search(text) and _BANK_BALANCE.search(text):
        guard = "bank"
    elif len(text) <= _PICK_UP_MAX_CHARS and long_numbers <= 2 and _PICK_UP.search(text):
        guard = "pick_up"
    return guard if guard is not None and _keeps_to(text, guard) else None


def _keeps_to(text: str, guard: str) -> bool:
    """Return whether hardly anything is said, and no figure named, but what a notice of this class talks of."""
    talks_of = _TALKS_OF[guard]
    rest = [clause.strip() for clause in _CLAUSE_END.split(text) if not talks_of.search(clause)]
    if any(len(clause) > _BARE_FIGURE and _FIGURE.search(clause) for clause in rest):
        return False
    latin = sum(char.isascii() for clause in rest for char in clause)
    columns: float = sum(map(len, rest)) - latin + latin * _LATIN_COLUMNS
    return columns <= _MOST_ELSE
