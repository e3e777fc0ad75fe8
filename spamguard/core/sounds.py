"""Which syllables does a run of Latin letters spell, and which sound does a Han character have?

Whoever writes 发漂 or fa票 for 发票 is understood by ear. The view of sounds (`features.SOUNDS`) reads syllables
without tones; those that many speakers do not tell apart (z and zh, n and l, an and ang, …) are one. Here letters
become characters of the same syllable; which characters sound alike is decided in training and part of the model.
"""

from functools import lru_cache
from typing import Final

#: Every syllable that may be spelt in letters, with a common character that has its sound.
_PAIRS: Final = (
    "ai=爱 an=安 ang=昂 ao=奥 ba=把 bai=白 ban=半 bang=邦 bao=报 bei=北 ben=本 beng=崩 bi=比 bian=变 "
    "biao=表 bie=别 bin=宾 bing=并 bo=波 bu=不 ca=擦 cai=才 can=参 cang=藏 cao=草 ce=策 cen=涔 ceng=曾 "
    "cha=察 chai=柴 chan=产 chang=常 chao=朝 che=车 chen=陈 cheng=成 chi=持 chong=冲 chou=抽 chu=出 "
    "chua=欻 chuai=揣 chuan=传 chuang=创 chui=吹 chun=春 chuo=戳 ci=此 cong=从 cou=凑 cu=促 cuan=窜 "
    "cui=催 cun=存 cuo=错 da=大 dai=代 dan=但 dang=当 dao=到 de=的 den=扥 deng=等 di=地 dian=点 diao=调 "
    "die=爹 ding=定 diu=丢 dong=动 dou=都 du=度 duan=段 dui=对 dun=顿 duo=多 en=恩 er=而 fa=发 fan=反 "
    "fang=方 fei=非 fen=分 feng=风 fo=仏 fou=否 fu=府 ga=尬 gai=改 gan=干 gang=刚 gao=高 ge=个 gei=给 "
    "gen=根 geng=更 gong=工 gou=构 gu=古 gua=挂 guai=怪 guan=关 guang=光 gui=规 gun=滚 guo=国 ha=哈 "
    "hai=还 han=汉 hang=航 hao=好 he=和 hei=黑 hen=很 heng=横 hong=红 hou=后 hu=湖 hua=化 huai=怀 huan=环 "
    "huang=黄 hui=会 hun=婚 huo=或 ji=机 jia=家 jian=建 jiang=将 jiao=教 jie=解 jin=进 jing=经 jiong=炯 "
    "jiu=就 ju=据 juan=卷 jue=决 jun=军 ka=卡 kai=开 kan=看 kang=抗 kao=考 ke=可 ken=肯 keng=坑 kong=空 "
    "kou=口 ku=苦 kua=跨 kuai=快 kuan=宽 kuang=况 kui=亏 kun=困 kuo=括 la=拉 lai=来 lan=兰 lang=朗 lao=老 "
    "le=了 lei=类 leng=冷 li=里 lia=俩 lian=联 liang=两 liao=料 lie=列 lin=林 ling=领 liu=流 long=龙 "
    "lou=楼 lu=路 luan=乱 lun=论 luo=落 lv=律 lve=略 ma=马 mai=买 man=满 mang=忙 mao=毛 me=么 mei=没 "
    "men=们 meng=蒙 mi=米 mian=面 miao=庙 mie=灭 min=民 ming=明 miu=谬 mo=模 mou=某 mu=目 na=那 nai=奶 "
    "nan=南 nang=囊 nao=脑 ne=呢 nei=内 nen=嫩 neng=能 ni=你 nian=年 niang=娘 niao=鸟 nie=捏 nin=您 "
    "ning=宁 niu=牛 nong=农 nou=鐞 nu=怒 nuan=暖 nun=黁 nuo=诺 nv=女 nve=虐 ou=欧 pa=怕 pai=派 pan=判 "
    "pang=旁 pao=炮 pei=配 pen=盆 peng=朋 pi=批 pian=片 piao=票 pie=撇 pin=品 ping=平 po=破 pou=剖 pu=普 "
    "qi=其 qia=恰 qian=前 qiang=强 qiao=桥 qie=且 qin=亲 qing=情 qiong=穷 qiu=求 qu=区 quan=全 que=却 "
    "qun=群 ran=然 rang=让 rao=绕 re=热 ren=人 reng=仍 ri=日 rong=容 rou=肉 ru=如 ruan=软 rui=瑞 run=润 "
    "ruo=若 sa=萨 sai=赛 san=三 sang=丧 sao=扫 se=色 sen=森 seng=僧 sha=杀 shai=晒 shan=山 shang=上 "
    "shao=少 she=设 shen=身 sheng=生 shi=是 shou=手 shu=数 shua=刷 shuai=衰 shuan=拴 shuang=双 shui=水 "
    "shun=顺 shuo=说 si=四 song=送 sou=搜 su=速 suan=算 sui=随 sun=孙 suo=所 ta=他 tai=太 tan=谈 tang=堂 "
    "tao=讨 te=特 teng=腾 ti=体 tian=天 tiao=条 tie=铁 ting=听 tong=同 tou=头 tu=土 tuan=团 tui=推 tun=吞 "
    "tuo=托 wa=瓦 wai=外 wan=万 wang=王 wei=为 wen=文 weng=翁 wo=我 wu=无 xi=西 xia=下 xian=现 xiang=相 "
    "xiao=小 xie=些 xin=心 xing=行 xiong=兄 xiu=修 xu=许 xuan=选 xue=学 xun=训 ya=亚 yan=眼 yang=样 "
    "yao=要 ye=也 yi=一 yin=因 ying=应 yo=哟 yong=用 you=有 yu=于 yuan=员 yue=月 yun=运 za=杂 zai=在 "
    "zan=咱 zang=葬 zao=造 ze=则 zei=贼 zen=怎 zeng=增 zha=炸 zhai=寨 zhan=战 zhang=长 zhao=照 zhe=这 "
    "zhen=真 zheng=政 zhi=之 zhong=中 zhou=州 zhu=主 zhua=抓 zhuai=拽 zhuan=专 zhuang=装 zhui=追 "
    "zhun=准 zhuo=桌 zi=子 zong=总 zou=走 zu=族 zuan=钻 zui=最 zun=尊 zuo=作"
)
SYLLABLES: Final[dict[str, str]] = dict(pair.split("=") for pair in _PAIRS.split())
_LONGEST: Final = max(map(len, SYLLABLES))
#: Longer runs of letters are no Chinese: names and idioms have four syllables.
MOST_LETTERS: Final = 24


@lru_cache(maxsize=1 << 14)
def spelt(letters: str) -> str | None:
    """Return characters that sound as the letters do, of several ways the one with fewest syllables, or None.

    >>> spelt("fapiao"), spelt("invoice")
    ('发票', None)
    """
    ways: list[str | None] = ["", *(None for _ in letters)]
    for end in range(1, len(letters) + 1):
        for start in range(max(0, end - _LONGEST), end):
            before, char = ways[start], SYLLABLES.get(letters[start:end])
            if (
                before is not None
                and char is not None
                and (ways[end] is None or len(before) + 1 < len(ways[end] or ""))
            ):
                ways[end] = before + char
    return ways[-1]


#: Sounds that many speakers do not tell apart, as the beginning or the end of a syllable.
_BEGINNINGS: Final = (("zh", "z"), ("ch", "c"), ("sh", "s"))


def blurred(syllable: str) -> str:
    """Return a syllable as those say it who do not tell z from zh, n from l, and an from ang.

    >>> blurred("zhang"), blurred("lian")
    ('zan', 'nian')
    """
    for clear, plain in _BEGINNINGS:
        if syllable.startswith(clear):
            syllable = plain + syllable[2:]
    if syllable.endswith("ng") and len(syllable) > 2:
        syllable = syllable[:-1]
    return "n" + syllable[1:] if syllable[0] == "l" and len(syllable) > 1 else syllable
