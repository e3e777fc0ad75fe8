"""How do spammers write the same message so that a filter may not know it?

Each writing is a function of a text and a seeded random source; it is applied to good messages too, because honest
people also write Traditional, leave spaces or add emoji. The small tables here were written by hand for this purpose
and share nothing with those of the normaliser; the large ones (sound-alike, glyph-similar, Martian, junk symbols) are
read at run time from a folder of variants, and are not part of this repository.
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from spamguard.errors import DataError

Write = Callable[[str, random.Random], str]
Table = Mapping[str, tuple[str, ...]]


class Writing(NamedTuple):
    """One way of writing, with the table it swaps characters by, if it has one."""

    name: str
    write: Write
    table: Table = MappingProxyType({})


def is_han(char: str) -> bool:
    """Return whether a character is a common Han character."""
    return "\u4e00" <= char <= "\u9fff"


# -- hand-written tables ----------------------------------------------------------------------------------------------

_SIMPLIFIED: Final = (
    "万与专业东丝两严个丰临为丽举么义乌乐习书买乱争亏云产亲亿仅从仓们价众优会伞传伤伦伪体余"
    "侠侣债倾偿储儿兑党兰关兴养兽冲决况冻净凉减凑几凤凭凯击划刘则刚创删别剂剑剧劝办务动励劲劳势勋匀匹区"
    "医华协单卖卢卫却厂厅历厉压厌县参双发变叙叠台叶号叹吓吗听启吴员呜响哑唤喷嘱团园围图圆圣场坏块坚坛坝"
    "坟坠垒垦声处备复够头夸夺奋奖妆妇妈娱婴孙学宁宝实宠审宪宽宾对寻导寿将尔尘尝层属岁岂岗岛币师帐带帮"
    "广庄庆应库庙废开异弃张弹强归当录彻径忆忧怀态怜总恋恶恳恼悦悬惊惧惩惯愤愿戏战户执扩扫扬扰抚抢护报"
    "担拟拥择挂挡挤挥损换据掷携摆摇摊敌数斗断无旧时旷显晋晒晓暂术朴机杀杂权条来杨极构枪柜标栋栏树样桥"
    "检楼欢欧残毁毕气汇汉汤沟没沪泪泻泼泽洁浅浆浇测济浏浓涂涨润涩渐温游湾湿满滚滞滨灭灯灵灾炉点炼烂烦"
    "烧热爱爷牵状犹独狭狱猎猪献环现玛珑电画畅疗疯盏盐监盖盘矿码砖础确碍礼祸离种积称稳穷窃竞笔笼筑签简"
    "类粮紧纠红约级纪纯纲纳纵纷纸纹线练组细织终绍经结绕绘给络绝统继绩绪续维绵综绿缓编缘缩网罗罚罢义职"
    "联聪肃肠肤肾胀胁胜胶脑脱脸舰艺节芦苏苹茧荐荡荣药莲获莹营萧萨蓝虏虑虽蚀补衬装见规视览觉订认讨让训"
    "议讯记讲许论设访证评识诉词译试诗话该详语误说请诸读课谁调谈谋谢贝负贡财责贤败货质贩贪购贯贱贴贵贷贸"
    "费贺资赋赌赏赔赖赚赛赞赠赢赶趋跃践车轨转轮软轻载较辅辆辈输边达迁过迈运还这进远违连迟适选递邮邻郑"
    "酱释里鉴针钓钟钢钥钱铁银铜铺链销锁锅错锦键镇长门闪闭问闯间闲闷闻阅队阳阴阵阶际陆陈险随隐难雾静"
    "韩页顶项顺须顾顿预领频题颜额风飘飞饭饮饰饱馆马驾验骗鱼鲁鲜鸟鸡鸣麦黄齐齿龙龟码兑滤洗浴"
)
_TRADITIONAL: Final = (
    "萬與專業東絲兩嚴個豐臨為麗舉麼義烏樂習書買亂爭虧雲產親億僅從倉們價眾優會傘傳傷倫偽體餘"
    "俠侶債傾償儲兒兌黨蘭關興養獸沖決況凍淨涼減湊幾鳳憑凱擊劃劉則剛創刪別劑劍劇勸辦務動勵勁勞勢勳勻匹區"
    "醫華協單賣盧衛卻廠廳歷厲壓厭縣參雙發變敘疊臺葉號嘆嚇嗎聽啟吳員嗚響啞喚噴囑團園圍圖圓聖場壞塊堅壇壩"
    "墳墜壘墾聲處備復夠頭誇奪奮獎妝婦媽娛嬰孫學寧寶實寵審憲寬賓對尋導壽將爾塵嘗層屬歲豈崗島幣師帳帶幫"
    "廣莊慶應庫廟廢開異棄張彈強歸當錄徹徑憶憂懷態憐總戀惡懇惱悅懸驚懼懲慣憤願戲戰戶執擴掃揚擾撫搶護報"
    "擔擬擁擇掛擋擠揮損換據擲攜擺搖攤敵數鬥斷無舊時曠顯晉曬曉暫術樸機殺雜權條來楊極構槍櫃標棟欄樹樣橋"
    "檢樓歡歐殘毀畢氣匯漢湯溝沒滬淚瀉潑澤潔淺漿澆測濟瀏濃塗漲潤澀漸溫遊灣濕滿滾滯濱滅燈靈災爐點煉爛煩"
    "燒熱愛爺牽狀猶獨狹獄獵豬獻環現瑪瓏電畫暢療瘋盞鹽監蓋盤礦碼磚礎確礙禮禍離種積稱穩窮竊競筆籠築簽簡"
    "類糧緊糾紅約級紀純綱納縱紛紙紋線練組細織終紹經結繞繪給絡絕統繼績緒續維綿綜綠緩編緣縮網羅罰罷義職"
    "聯聰肅腸膚腎脹脅勝膠腦脫臉艦藝節蘆蘇蘋繭薦蕩榮藥蓮獲瑩營蕭薩藍虜慮雖蝕補襯裝見規視覽覺訂認討讓訓"
    "議訊記講許論設訪證評識訴詞譯試詩話該詳語誤說請諸讀課誰調談謀謝貝負貢財責賢敗貨質販貪購貫賤貼貴貸貿"
    "費賀資賦賭賞賠賴賺賽贊贈贏趕趨躍踐車軌轉輪軟輕載較輔輛輩輸邊達遷過邁運還這進遠違連遲適選遞郵鄰鄭"
    "醬釋裡鑒針釣鐘鋼鑰錢鐵銀銅鋪鏈銷鎖鍋錯錦鍵鎮長門閃閉問闖間閒悶聞閱隊陽陰陣階際陸陳險隨隱難霧靜"
    "韓頁頂項順須顧頓預領頻題顏額風飄飛飯飲飾飽館馬駕驗騙魚魯鮮鳥雞鳴麥黃齊齒龍龜碼兌濾洗浴"
)
TRADITIONAL: Final = {s: (t,) for s, t in zip(_SIMPLIFIED, _TRADITIONAL, strict=True) if s != t}
ALIKE: Final[Table] = {
    "a": ("а", "α"), "b": ("Ь", "ь"), "c": ("с", "ϲ"), "e": ("е",), "i": ("і", "ι"), "j": ("ј",), "k": ("к", "κ"),
    "o": ("о", "ο"), "p": ("р", "ρ"), "s": ("ѕ",), "v": ("ν", "ѵ"), "w": ("ԝ",), "x": ("х", "χ"), "y": ("у", "γ"),
    "A": ("А", "Α"), "B": ("В", "Β"), "C": ("С",), "E": ("Е", "Ε"), "H": ("Н", "Η"), "I": ("І", "Ι"), "K": ("К", "Κ"),
    "M": ("М", "Μ"), "N": ("Ν",), "O": ("О", "Ο"), "P": ("Р", "Ρ"), "Q": ("Ԛ",), "S": ("Ѕ",), "T": ("Т", "Τ"),
    "V": ("Ѵ",), "X": ("Х", "Χ"), "Y": ("У", "Υ"), "Z": ("Ζ",),
}  # fmt: skip
ACCENTED: Final[Table] = {
    "a": ("á", "à", "ä", "ã"), "c": ("ç", "č"), "e": ("é", "ê", "ë"), "i": ("í", "ï"), "n": ("ñ", "ń"),
    "o": ("ó", "ö", "õ"), "s": ("š", "ś"), "u": ("ú", "ü"), "y": ("ý",), "z": ("ž",), "v": ("ṽ",), "x": ("ẋ",),
}  # fmt: skip
LEET: Final[Table] = {"a": ("4", "@"), "e": ("3",), "i": ("1",), "o": ("0",), "s": ("5", "$"), "t": ("7",)}
CIRCLED: Final = {str(n): (c,) for n, c in enumerate("⓪①②③④⑤⑥⑦⑧⑨")}
CAPITALS: Final = {str(n): (c,) for n, c in enumerate("零壹贰叁肆伍陆柒捌玖")}
NUMERALS: Final = {str(n): (c,) for n, c in enumerate("〇一二三四五六七八九")}
KEYCAPS: Final = {str(n): (f"{n}\ufe0f\u20e3",) for n in range(10)}
_SPLIT_PAIRS: Final = (
    "法=氵去 活=氵舌 汇=氵匚 海=氵每 油=氵由 注=氵主 满=氵㒼 游=氵斿 溪=氵奚 清=氵青 汽=氵气 酒=氵酉 押=扌甲 担=扌旦 招=扌召 抽=扌由 投=扌殳 折=扌斤 "
    "报=扌艮 拉=扌立 提=扌是 按=扌安 挂=扌圭 换=扌奂 接=扌妾 拨=扌发 扣=扌口 打=扌丁 抵=扌氐 授=扌受 信=亻言 们=亻门 代=亻弋 他=亻也 你=亻尔 做=亻故 "
    "优=亻尤 价=亻介 债=亻责 值=亻直 保=亻呆 住=亻主 位=亻立 件=亻牛 仅=亻又 低=亻氐 使=亻吏 供=亻共 佣=亻用 借=亻昔 证=讠正 请=讠青 话=讠舌 认=讠人 "
    "订=讠丁 记=讠己 课=讠果 详=讠羊 说=讠兑 让=讠上 询=讠旬 该=讠亥 谈=讠炎 试=讠式 语=讠吾 钱=钅戋 银=钅艮 销=钅肖 铺=钅甫 铁=钅失 针=钅十 钟=钅中 "
    "红=纟工 级=纟及 给=纟合 经=纟圣 组=纟且 约=纟勺 结=纟吉 绝=纟色 饭=饣反 馆=饣官 饮=饣欠 快=忄夬 情=忄青 性=忄生 惊=忄京 怀=忄不 独=犭虫 狂=犭王 "
    "猫=犭苗 神=礻申 福=礻畐 礼=礻乚 祝=礻兄 社=礻土 被=衤皮 补=衤卜 裤=衤库 行=彳亍 得=彳㝵 往=彳主 很=彳艮 "
    "码=石马 赌=贝者 购=贝勾 财=贝才 贷=代贝 货=化贝 款=士示欠 好=女子 票=覀示 加=力口 吧=口巴 明=日月 期=其月 的=白勺 城=土成 场=土扬 股=月殳 "
    "利=禾刂 种=禾中 税=禾兑 秘=禾必 额=客页 领=令页 预=予页 颗=果页 精=米青 粉=米分 欢=又欠 收=丩攵 放=方攵 政=正攵 新=亲斤 都=者阝 部=咅阝 时=日寸 "
    "如=女口 妈=女马 奶=女乃 特=牛寺 物=牛勿 博=十尃 彩=采彡 功=工力 动=云力 助=且力 机=木几 相=木目 林=木木 棋=木其 牌=片卑 炒=火少 短=矢豆 "
    "费=弗贝 贵=中一贝 资=次贝 息=自心 急=刍心 想=相心 您=你心 点=占灬 热=执灬"
)
SPLIT: Final = {whole: (parts,) for whole, _, parts in (pair.partition("=") for pair in _SPLIT_PAIRS.split())}
INITIALS: Final = {
    "微信": ("v信", "wx"), "加微": ("+v",), "发票": ("fp", "发p"), "贷款": ("dk", "贷k"), "信用卡": ("xyk",), "澳门": ("am",), "赌场": ("dc",),
    "娱乐": ("yl",), "彩票": ("cp",), "代开": ("dk", "dai开"), "联系": ("lx",), "电话": ("dh",), "优惠": ("yh",), "活动": ("hd",), "免费": ("mf",),
    "注册": ("zc",), "办理": ("bl",), "公司": ("gs",), "银行": ("yh",), "客服": ("kf",), "您好": ("nh",), "小姐": ("xj",), "兼职": ("jz",),
    "点击": ("dj",), "退订": ("td",), "咨询": ("zx",), "详情": ("xq",), "手机": ("sj",), "服务": ("fw",),
}  # fmt: skip
HANDLES: Final = {
    "微信": ("薇信", "威信", "徽信", "V信", "v芯", "VX", "wei信", "W信"), "加微": ("＋vx", "加V", "+薇"), "qq": ("扣扣", "企鹅号", "抠抠", "q q"),
    "QQ": ("扣扣", "企鹅", "Q.Q", "蔻蔻"), "电话": ("☎", "电話", "電话"), "wechat": ("w3chat", "we chat"),
}  # fmt: skip
#: Honest sentences of no purpose, invented; padding with them is the oldest trick against word counts.
GOOD_WORDS: Final = (
    "晚上早点回来吃饭，妈妈炖了汤。", "会议改到明天下午三点，请带上资料。", "昨天的照片我发给你了，记得看。", "路上堵车，我晚十分钟到。",
    "作业写完了吗？老师说明天要检查。", "周末我们去爬山吧，天气不错。", "谢谢你昨天帮我搬东西。",
)  # fmt: skip
_EMOJI: Final = "😀😂🎉🔥❤👍🌹🎁💰✨⭐🍀"


# -- kinds of writing -------------------------------------------------------------------------------------------------


def swap(table: Table, share: float = 1.0) -> Write:
    """Return a writing that swaps a share of the keys of a table (characters or words) for one of their variants."""
    longest = max(map(len, table), default=1)

    def write(text: str, rng: random.Random) -> str:
        pieces, place = [], 0
        while place < len(text):
            for length in range(longest, 0, -1):
                found = text[place : place + length]
                if found in table and rng.random() < share:
                    pieces.append(rng.choice(table[found]))
                    place += length
                    break
            else:
                pieces.append(text[place])
                place += 1
        return "".join(pieces)

    return write


def between(
    symbols: str | tuple[str, ...], share: float = 1.0, *, every: int = 1, where: Callable[[str], bool] = is_han
) -> Write:
    """Return a writing that puts a symbol between neighbouring characters of one kind."""

    def write(text: str, rng: random.Random) -> str:
        pieces = []
        count = 0
        for char, after in zip(text, text[1:] + " ", strict=True):
            pieces.append(char)
            if where(char) and where(after):
                count += 1
                if count % every == 0 and rng.random() < share:
                    pieces.append(rng.choice(symbols))
        return "".join(pieces)

    return write


def after_each_other(*writes: Write) -> Write:
    """Return a writing that does several, in order."""

    def write(text: str, rng: random.Random) -> str:
        for step in writes:
            text = step(text, rng)
        return text

    return write


def _full_width(text: str, rng: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)


def _visible(char: str) -> bool:
    return not char.isspace()


def _latin(char: str) -> bool:
    return char.isascii() and char.isalnum()


def _shuffled(text: str, rng: random.Random) -> str:
    for stop in ("。", "！", ". ", "，", ", "):
        if len(sentences := text.split(stop)) > 2:
            rng.shuffle(sentences)
            return stop.join(sentences)
    return text


def _padded(text: str, rng: random.Random) -> str:
    return text + "".join(rng.sample(GOOD_WORDS, 2))


def _dotted_links(text: str, rng: random.Random) -> str:
    for suffix in ("com", "cn", "net", "top", "xyz", "vip", "cc"):
        text = text.replace(f".{suffix}", rng.choice(("点{}", "。{}", " .{}", ". {}", "．{}")).format(suffix))
    return text.replace("https://", "").replace("http://", "").replace("www.", "")


def _struck(text: str, rng: random.Random) -> str:
    return "".join(char + "\u0336" if is_han(char) else char for char in text)


def own_writings() -> list[Writing]:
    """Return every writing that needs no outside table."""
    space, emoji = between(" "), between(tuple(_EMOJI))
    return [
        Writing("Traditional, whole text", swap(TRADITIONAL), TRADITIONAL),
        Writing("full-width", _full_width),
        Writing("zero-width between all", between("\u200b\u200c\u2060\ufeff", where=_visible)),
        Writing("zero-width between some", between("\u200b\u200d", 0.3, where=_visible)),
        Writing("strike-through marks", _struck),
        Writing("space between all", space),
        Writing("* every 2", between("*", every=2)),
        Writing("five to eight symbols between some", between(("*****", "~~~~~~~", "#@#@#@", "--------"), 0.3)),
        Writing("dots between all", between(".")),
        Writing("commas between some", between("，、", 0.4)),
        Writing("emoji between all", emoji),
        Writing("emoji between some", between(tuple(_EMOJI), 0.3)),
        Writing("line breaks", between(("\n", "\r\n"), 0.4)),
        Writing("circled digits", swap(CIRCLED), CIRCLED),
        Writing("keycap digits", swap(KEYCAPS), KEYCAPS),
        Writing("capitals 壹贰叁", swap(CAPITALS), CAPITALS),
        Writing("Chinese numerals", swap(NUMERALS), NUMERALS),
        Writing("Cyrillic and Greek look-alikes", swap(ALIKE), ALIKE),
        Writing("split characters", swap(SPLIT), SPLIT),
        Writing("split characters with spaces", after_each_other(swap(SPLIT), space), SPLIT),
        Writing("leet", swap(LEET, 0.5), LEET),
        Writing("spaced Latin letters", between(" ", where=_latin)),
        Writing("Latin accents", swap(ACCENTED), ACCENTED),
        Writing("initials", swap(INITIALS), INITIALS),
        Writing("contact handles", swap(HANDLES), HANDLES),
        Writing("dotted links", _dotted_links),
        Writing("sentences shuffled", _shuffled),
        Writing("good words added", _padded),
        Writing("combined: Traditional, emoji, handles", after_each_other(swap(HANDLES), swap(TRADITIONAL), emoji)),
        Writing(
            "combined: capitals, split, * every 2",
            after_each_other(swap(CAPITALS), swap(SPLIT, 0.5), between("*", every=2)),
        ),
    ]


# -- writings by the tables of a folder -------------------------------------------------------------------------------

_FILES: Final = {
    "sound": "音近字语料库.txt",
    "glyph": "形近字语料库.txt",
    "martian": "简体-火星文词典.txt",
    "junk": "无意义符号.txt",
}
#: What is left out when nobody says where the tables are.
BY_TABLE: Final = (
    "homophones 15 %", "homophones 30 %", "homophones 50 %", "similar glyphs 15 %", "similar glyphs 30 %", "Martian",
    "junk symbols between some", "combined: Traditional, space, homophones 15 %", "combined: glyphs, homophones, junk",
)  # fmt: skip
BY_PINYIN: Final = "pinyin for 20 %"


def _common(char: str) -> bool:
    """Return whether a character is of the 3,755 that everyone writes (GB 2312, level 1)."""
    try:
        return char.encode("gb2312")[0] < 0xD8
    except UnicodeEncodeError:
        return False


def _read_table(path: Path) -> dict[str, tuple[str, ...]]:
    """Return a table of one character and its variants a line; only common variants, where there are any."""
    table = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(detail=f"{path} is no table of variants ({type(error).__name__})") from None
    for line in lines:
        source, _, variants = (part.strip() for part in line.partition(" "))
        kept = [char for char in variants if char != source and not char.isspace()]
        common = [char for char in kept if _common(char)]
        if len(source) == 1 and kept:
            table[source] = tuple(common or kept)
    return table


def variant_writings(folder: Path) -> list[Writing]:
    """Return the writings by the tables of a folder. Raises DataError naming the file that is wrong."""
    sound, glyph, martian = (_read_table(folder / _FILES[name]) for name in ("sound", "glyph", "martian"))
    sound = {char: variants for char, variants in sound.items() if is_han(char)}
    try:
        junk = tuple((folder / _FILES["junk"]).read_text(encoding="utf-8").split())
    except (OSError, UnicodeError) as error:
        raise DataError(detail=f"{folder / _FILES['junk']} is no table ({type(error).__name__})") from None
    traditional = swap(TRADITIONAL)
    mixed = after_each_other(swap(glyph, 0.1), swap(sound, 0.1), between(junk, 0.2))
    return [
        *(Writing(f"homophones {share} %", swap(sound, share / 100), sound) for share in (15, 30, 50)),
        *(Writing(f"similar glyphs {share} %", swap(glyph, share / 100), glyph) for share in (15, 30)),
        Writing("Martian", swap(martian), martian),
        Writing("junk symbols between some", between(junk, 0.4)),
        Writing(
            "combined: Traditional, space, homophones 15 %",
            after_each_other(swap(sound, 0.15), traditional, between(" ")),
        ),
        Writing("combined: glyphs, homophones, junk", mixed),
    ]


def pinyin_writing() -> Writing | None:
    """Return the writing that puts syllables for characters, or None where pypinyin is not installed."""
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError:
        return None

    def write(text: str, rng: random.Random) -> str:
        return "".join(
            lazy_pinyin(char, style=Style.NORMAL)[0] if is_han(char) and rng.random() < 0.2 else char for char in text
        )

    return Writing(BY_PINYIN, write)
