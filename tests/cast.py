"""Who plays in the tests? Messages with names, all invented, so that cases read as stories."""

from typing import Final

# Good messages
MUM: Final = "晚上回来吃饭吗？妈给你炖了排骨汤，路上小心，到家了给我打个电话"
FRIEND: Final = "Running ten minutes late, sorry! Save me a seat near the window"
BANK_CODE: Final = "【青溪银行】您的验证码为482913，5分钟内有效，请勿告诉他人。"
ENGLISH_CODE: Final = "Your Brightleaf verification code is 482913. It expires in 10 minutes. Never share it."
BANK_NOTICE: Final = "【青溪银行】您尾号6688的账户11月24日14:20支出人民币35.80元，余额1,204.50元。"
PARCEL: Final = "【云驿】您的快递已到南门驿站，取件码 8-2-1008，请凭码领取。"

# Spam
INVOICE: Final = "代开各行业发*票，点数低，可先验后付，加薇 信 fp00061"
LOTTERY: Final = "恭喜！您的手机号已抽中二等奖，奖金98000元，领奖请先交公证费，登录 www.prize-demo.top 办理"
PHISHING: Final = "【青溪银行】您的账户存在异常，请立即点击 http://qingxisafe.example/v 验证身份，否则冻结"
LOAN: Final = "急用钱？无抵押贷款，当天放款，额度30万，回复1咨询，电话13900001234"
CASINO: Final = "澳門線上娛樂城，註冊即送彩金88元，首存1000送500，詳情 jsv8.example"
SALE: Final = "【云杉百货】周年庆全场5折，会员再减50元，详情 t.cn/demo88 退订回T"

GOOD: Final = (MUM, FRIEND, BANK_CODE, ENGLISH_CODE, BANK_NOTICE, PARCEL)
SPAM: Final = (INVOICE, LOTTERY, PHISHING, LOAN, CASINO, SALE)
EVERYONE: Final = (*GOOD, *SPAM)

#: A text that no reader of text may choke on: a lone surrogate, a NUL, an emoji of several code points, a line break.
NASTY: Final = "\ud800 \0 👩\u200d👩\u200d👧 \r\n \x85 \u2028 e\u0301 ﬀ №"
