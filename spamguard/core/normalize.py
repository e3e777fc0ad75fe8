"""What is the one canonical text behind the many writings of a message, and where did each piece stand?

`normalize_batch` is the hot path: one array look-up folds every character of a whole batch, then a few regular
expressions run once over the joined batch. `align` gives the same text for one message with a map back to the
original; it costs more and runs only where a clue is to be shown. Both use the same table and the same rewrites.

Folding happens per character (Unicode NFKD without marks, lower case, Traditional → Simplified, TR39 look-alikes,
enclosed figures; invisible and private-use characters vanish), so it is total, linear and has exact offsets.
The rewrites join Han characters that were pushed or split apart, join l e t t e r s, give contact handles and
spelt-out figures their usual form, and replace links, phones and numbers by one private-use character each: a model can
neither learn nor leak a number.
"""

import re
from array import array
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from spamguard.core import fold_table

#: Part of every manifest; a model trained under another version is refused. Raise it with every change of meaning.
VERSION: Final = "3"

#: Longer texts are judged on their head and tail; ten parts of a long SMS are 670 characters.
MAX_TEXT_CHARS: Final = 2000
HEAD_CHARS: Final = 1500

#: What the private-use characters of a normalised text stand for, and how to show them to people.
TOKENS: Final = {
    "url": "\ue000",
    "url_short": "\ue001",
    "url_rare": "\ue002",
    "url_ip": "\ue003",
    "email": "\ue004",
    "mobile": "\ue005",
    "landline": "\ue006",
    "hotline": "\ue007",
    "service_number": "\ue008",
    "time": "\ue00a",
    "decimal": "\ue00b",
} | {f"number_{n}": chr(0xE010 + n - 1) for n in range(1, 9)}
_SHOWN: Final = {ord(char): f"⟨{name}⟩" for name, char in TOKENS.items()}

_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff"
_OURS = "\ue000-\ue03f"  # our tokens
_IS_OURS = re.compile(f"[{_OURS}]")
_COMMON_TLD = "com|example|cn|net|org|gov|edu|hk|tw|uk|in|sg|my|au|us|de|jp"
_RARE_TLD = (
    "top|xyz|vip|cc|icu|club|shop|site|online|live|work|info|biz|fun|ltd|link|buzz|life|world|wang|store|app|ink|me|io"
    "|co|tv|la|tk|ml|ga|cf|gq|pw|ws|mobi|asia|pro|win|loan|bid|men|date|space|website|tech|press|today|run|ly|gl|gd"
    "|cyou|sbs|cfd|pics|bond|quest|autos|monster|beauty|cloud|finance"
)
#: Endings that say nothing of a host; one of two letters is a country and says nothing either.
_PLAIN_TLD = "com|net|org|gov|edu|int|mil|example"
_SHORTENERS = (
    "t.cn|dwz.cn|url.cn|suo.im|bit.ly|goo.gl|tinyurl.com|is.gd|t.co|ow.ly|u6.gg|dwz.mk|sourl.cn|c.tb.cn|m.tb.cn"
)

#: Symbols of no meaning between Han characters: pushed in to split words; sentence punctuation stays.
_SYMBOLS = (
    " *&^~_|+=#@/\\\\·•'\"`<>$%\\-\u00a1-\u00bf\u00d7\u00f7\u2000-\u2bff\u3004\u3012\u3013\u3020-\u3030"
    "\U0001f000-\U0001faff"
)
_PAUSES = ".,;:!?"
_EDGE = r"[ -@\[-`{-~]"  # ASCII but letters
#: Symbols between Han characters; more than these make a line that separates.
_APART = re.compile(rf"[{_SYMBOLS}](?<=[{_HAN}].)[{_SYMBOLS}]{{0,15}}+(?=[{_HAN}])")
#: Pauses on both sides of a single Han character: 代.开.发.票; nobody pauses so often.
_PAUSED = re.compile(
    rf"[{_PAUSES}](?<=[{_HAN}].)(?=[{_HAN}])(?:(?<=[{_PAUSES}][{_HAN}].)|(?=[{_HAN}][{_PAUSES}][{_HAN}])"
    rf"|(?:(?<=^[{_HAN}].)|(?<={_EDGE}[{_HAN}].))(?=[{_HAN}](?:{_EDGE}|$)))",
    re.MULTILINE,
)
#: Characters written as their two parts: 扌甲 for 押, with or without something between.
_SPLIT_TO = dict(
    zip(
        (fold_table.SPLIT_FROM[place : place + 2] for place in range(0, len(fold_table.SPLIT_FROM), 2)),
        fold_table.SPLIT_TO,
        strict=True,
    )
)
_WITH_LEFT = "".join(sorted({pair[1] for pair in _SPLIT_TO if pair[0] in fold_table.LEFT_PARTS}))
_WITH_RIGHT = "".join(sorted({pair[0] for pair in _SPLIT_TO if pair[1] in fold_table.RIGHT_PARTS}))
_SPLIT = re.compile(
    rf"[{fold_table.LEFT_PARTS}][{_SYMBOLS}{_PAUSES}]{{0,16}}+[{_WITH_LEFT}]"
    rf"|[{_WITH_RIGHT}][{_SYMBOLS}{_PAUSES}]{{0,16}}+[{fold_table.RIGHT_PARTS}]"
)
#: A token counts as the figures it stands for, so that normalising twice is normalising once.
_LETTERS_APART = re.compile(
    rf"[a-z0-9](?<![a-z0-9{_OURS}].)(?:(?: [a-z0-9]){{2,}}|([.*_\-])[a-z](?:\1[a-z]){{2,}})(?![a-z0-9{_OURS}])"
)
#: A figure for a letter inside a word, pr1ze, or letters for figures, 1OO; not where it may be a mask (x) or one of
#: many (a1b2).
_LEET = re.compile(
    r"[013457oil](?:(?<=[0-9][oil])[oil]{0,7}(?=[0-9])"
    r"|(?<![oil])(?<=[a-wyz].)(?=[a-wyz])(?:(?<=[a-z]{2}.)|(?=[a-z]{2})))"
)
_LEET_TO = str.maketrans("013457oil", "oieast011")
#: Five and more Chinese numerals in a row are a number spelt out: years have four. Capitals (壹贰叁) mean a figure even
#: alone, where they are no surname and no amount in 拾 and 佰.
_NUMERALS = re.compile(
    r"[〇零幺一二三四五六七八九壹贰叁肆伍陆柒捌玖](?:[〇零幺一二三四五六七八九壹贰叁肆伍陆柒捌玖0-9]{4,}"
    r"|(?<=[零壹贰叁肆伍陆柒捌玖])[零壹贰叁肆伍陆柒捌玖0-9]+(?![拾佰仟])"
    r"|(?<=[壹贰叁柒捌玖])(?![拾佰仟])|(?<=[肆伍陆])(?=[元折月日年号点分时万倍千百%]))"
)
_NUMERALS_TO = str.maketrans("〇零幺一二三四五六七八九壹贰叁肆伍陆柒捌玖", "001123456789123456789")
#: Where to write to, in Latin letters: v信, vx, +v, weixin; not inside a word or a link.
_LATIN_HANDLE = re.compile(
    rf"[+vwq](?:(?<=\+)(?<![!-~{_OURS}].)[vw]x?信?(?![a-z{_OURS}])"
    rf"|(?<=加v)x?(?![a-z信芯 .\-{_OURS}])"
    rf"|(?<=[vw])(?<![a-z{_OURS}].)(?:x|ei)?[ .\-]?[信芯]"
    rf"|(?<=[vw])(?<![!-~{_OURS}].)(?:x|e ?chat|ei ?xin)(?![a-z.\-/@_{_OURS}])"
    rf"|(?<=q)(?<![a-z0-9{_OURS}].)[ .\-]q(?![a-z0-9{_OURS}]))"
)
#: … and in Han: 薇信, 扣扣; what is a word of its own only before or behind what shows it.
_HAN_HANDLE = re.compile(
    rf"[薇徽威维葳微扣抠蔻企](?:(?<=[薇徽葳])[信芯]|(?<=[威维微])(?:(?<=加.)[信芯]|[信芯](?= ?[a-z0-9:*+号\-{_OURS}]))"
    r"|(?<=扣)扣|(?<=抠)抠|(?<=蔻)蔻|(?<=企)鹅号?)"
)
_TLD_END = "(?!(?!https?://|xxxx)[a-z])"  # where a link's host ends
#: The dot of a link, spelt out, pushed apart or behind Han characters: abc点com, abc .com, 彩票.com.
_DOTTED = re.compile(
    rf"[点 .,(\[](?:(?<=[{_HAN}][点.])(?=(?:com|cn|net){_TLD_END})"
    rf"|(?<=[a-z0-9].)(?:(?<=点)(?=(?:com|cn|net|org|top|xyz|vip|cc|icu|info){_TLD_END})"
    rf"|(?<! )[.,点]? (?=(?:com|cn|xyz|vip){_TLD_END})|(?<= )[.点] ?(?=(?:com|cn|net|top|xyz|vip|cc){_TLD_END})"
    rf"|(?<=,)(?=(?:com|cn){_TLD_END})|(?<=[(\[])[.点][)\]](?=[a-z])))"
)
_SPACES = re.compile(r" {2,}")
#: Each expression consumes its first character before it looks around: the engine then skips ahead to it, which makes
#: a batch of Chinese text three times as fast as lookarounds first.
#: A host or address begins where a run of letters, figures and hyphens begins, whatever stands before the run
#: (--t.cn, .t.cn and @t.cn are links), and ends before whatever is no letter; http:// and www. begin one even behind a
#: figure. Labels and local parts are bounded, so that no text takes quadratic time.
_LINKS = re.compile(
    r"[a-z0-9\-](?:"
    r"(?P<email>(?<![a-z0-9\-\ue000-\ue03f][a-z0-9\-])"
    r"[a-z0-9._+\-]{0,63}@[a-z0-9\-]{1,63}(?:\.[a-z0-9\-]+){1,4})"
    rf"|(?P<url>(?<=h)ttps?://(?:[{_HAN}][{_HAN}a-z0-9\-]{{0,20}}\.)?[!-~]+"
    r"|(?<=w)(?<![a-vyz]w)ww\.[a-z0-9][!-~]*"
    r"|(?<=\d)(?<![a-z0-9.\-].)\d{0,2}(?:\.\d{1,3}){3}(?!\.?\d)(?:[:/][!-~]*)?"
    r"|(?<![a-z0-9\-][a-z0-9\-])[a-z0-9\-]*\.(?:[a-z0-9][a-z0-9\-]*\.){0,8}"
    rf"(?:{_COMMON_TLD}|{_RARE_TLD}){_TLD_END}(?:[:/?][!-~]*)?))"
)
_NUMBERS = re.compile(
    r"[0-9+*x](?:"
    r"(?P<mobile>(?:(?<=\+)86[ \-]?1|(?<=8)(?<!\d8)6[ \-]?1|(?<=1)(?<!\d1))[3-9]\d[ \-.]?\d{4}[ \-.]?\d{4}(?!\d)"
    r"|(?<=\+)\d[\d \-]{6,15}\d)"
    r"|(?P<hotline>(?<=[48])(?<!\d[48])00[ \-]?\d{3,4}[ \-]?\d{3,4}(?!\d))"
    r"|(?P<landline>(?<=0)(?<!\d0)\d{2,3}[ \-]?\d{7,8}(?!\d))"
    r"|(?P<service_number>(?<!\d[19])(?:(?<=9)[56]\d{3,4}|(?<=1)(?:00\d{2}|01\d{2}|2[13]\d{2}|06\d{5,}))(?!\d))"
    r"|(?P<number>(?:(?<=\d)|(?<=\*)\*|(?<=x)(?:x{3}|(?<![a-z ]x)(?=x*(?![a-z]))))"
    # A comma belongs to a number only before three figures and behind at most three: not in 482913，5分钟内有效.
    r"(?:[\d*]|x(?![a-wyz])|(?:[.:]|(?<![\dx*]{4}),(?=[\dx]{3}(?![\dx])))(?=\d|x+(?![a-z])))*))"
)
_URL_HOST = re.compile(r"(?:https?://)?(?:[^/@]*@)?([^/:?#]*)")
_SHORT_HOST = re.compile(rf"(?:www\.)?(?:{_SHORTENERS.replace('.', chr(92) + '.')})$")
#: A host that honest senders hardly have: a cheap ending, or one that is not plain; a name put together with hyphens.
_RARE_HOST = re.compile(rf"\.(?:{_RARE_TLD})$|\.(?!(?:{_PLAIN_TLD})$)[a-z]{{3,}}$|[^.]-[^.]")
_IP_HOST = re.compile(r"[\d.]+$")


def _url_token(url: str) -> str:
    """Return the token of a link by the kind of its host."""
    matched = _URL_HOST.match(url)
    host = matched.group(1).lstrip("-") if matched else ""
    if _SHORT_HOST.match(host):
        return TOKENS["url_short"]
    if _IP_HOST.match(host):
        return TOKENS["url_ip"]
    return TOKENS["url_rare"] if _RARE_HOST.search(host) else TOKENS["url"]


def _thing_token(match: re.Match[str]) -> str:
    """Return the one character that stands for a link, a phone or a number."""
    kind = match.lastgroup or ""
    if kind == "number":
        found = match.group()
        if ":" in found:
            return TOKENS["time"]
        if "." in found or "," in found:
            return TOKENS["decimal"]
        return chr(0xE010 + min(len(found), 8) - 1)
    if kind == "url":
        return _url_token(match.group())
    return TOKENS[kind]


def _joined(match: re.Match[str]) -> str:
    """Return letters that stood apart, together."""
    return "".join(char for char in match.group() if char.isalnum())


def _recombined(match: re.Match[str]) -> str:
    """Return the character that two parts make, or what was there."""
    found = match.group()
    return _SPLIT_TO.get(found[0] + found[-1], found)


def _letter(match: re.Match[str]) -> str:
    """Return the letter that a figure looks like, or the figures that letters look like."""
    return match.group().translate(_LEET_TO)


def _dot(match: re.Match[str]) -> str:
    """Return a link's dot; behind Han characters with a hyphen, where the link's token is to stand."""
    before = match.string[match.start() - 1]
    return "-." if before > "\x7f" else "."


def _figures(match: re.Match[str]) -> str:
    """Return Chinese numerals as figures."""
    return match.group().translate(_NUMERALS_TO)


def _handle(match: re.Match[str]) -> str:
    """Return the usual name of a way to write to somebody."""
    first = match.group()[0]
    return "qq" if first in "q扣抠蔻企" else "加微信" if first == "+" else "微信"


_Replacement = str | Callable[[re.Match[str]], str]
#: In this order: what is joined first can be recognised as a word, a link or a number afterwards.
_REWRITES: Final[tuple[tuple[re.Pattern[str], _Replacement], ...]] = (
    (_SPACES, " "),
    (_SPLIT, _recombined),
    (_LETTERS_APART, _joined),
    (_LEET, _letter),
    (_LATIN_HANDLE, _handle),
    (_APART, ""),
    (_PAUSED, ""),
    (_HAN_HANDLE, _handle),
    (_NUMERALS, _figures),
    (_DOTTED, _dot),
    (_LINKS, _thing_token),
    (_NUMBERS, _thing_token),
)


def _fold_codes() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Return the code point each code point folds to; 0 where it vanishes, itself where it becomes several."""
    codes = np.arange(0x110000, dtype=np.uint32)
    for first, last in fold_table.DROPPED:
        codes[first : last + 1] = 0
    for source, target in zip(fold_table.SINGLE_FROM, fold_table.SINGLE_TO, strict=True):
        codes[ord(source)] = ord(target)
    codes[0xD800:0xE000] = 0xFFFD
    codes[0xE000:0xE040] = 0  # our own tokens, which no sender may write: they would split words like any other symbol
    codes[0] = 0
    codes[0x0A] = 0x0A  # joins the messages of a batch; a message's own line breaks became spaces before
    return codes


_FOLD: Final = _fold_codes()
_END: Final = (1 << 32) - 1  # the part of a span that is its end
_SEVERAL: Final = str.maketrans(fold_table.SEVERAL)
_HAS_SEVERAL: Final = re.compile("[" + re.escape("".join(fold_table.SEVERAL)) + "]")


def _spread(match: re.Match[str]) -> str:
    """Return the characters that one folds to; few do, and to look at each in a table would cost a tenth of a fold."""
    return match.group().translate(_SEVERAL)


def _fold(text: str) -> str:
    """Return the text with every character folded; line breaks stay."""
    codes = _FOLD[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)]
    folded: str = codes[codes != 0].tobytes().decode("utf-32-le")
    return _HAS_SEVERAL.sub(_spread, folded)


def clip(text: str) -> str:
    """Return head and tail of a text that is longer than `MAX_TEXT_CHARS`, else the text."""
    if len(text) <= MAX_TEXT_CHARS:
        return text
    return text[:HEAD_CHARS] + text[HEAD_CHARS - MAX_TEXT_CHARS :]


def normalize_batch(texts: Sequence[str]) -> list[str]:
    """Return the canonical text of each message, in order; total on any string, lone surrogates included.

    >>> normalize_batch(["發*票 ＣＡＬＬ", "r e f u n d"])
    ['发票 call', 'refund']
    """
    if not texts:
        return []
    joined = _fold("\n".join([text.replace("\n", " ") for text in texts]))
    for pattern, replacement in _REWRITES:
        joined = pattern.sub(replacement, joined)
    return joined.split("\n")


def fold(text: str) -> str:
    """Return a text with every character folded and no word joined: for names and numbers that stand alone.

    >>> fold("ＡＣＭＥ銀行")
    'acme银行'
    """
    return _fold(text.replace("\n", " "))


def spelt_batch(texts: Sequence[str]) -> list[str]:
    """Return the canonical text of each message with its links and numbers still spelt out.

    >>> spelt_batch(["看 evil点com 或 1 3 9 0 0 0 0 1 2 3 4"])
    ['看 evil.com 或 13900001234']
    """
    if not texts:
        return []
    joined = _fold("\n".join([text.replace("\n", " ") for text in texts]))
    for pattern, replacement in _REWRITES:
        if pattern not in (_LINKS, _NUMBERS):
            joined = pattern.sub(replacement, joined)
    return joined.split("\n")


def things_in(spelt: str) -> list[tuple[str, str]]:
    """Return the links, mail addresses and numbers of a spelt-out text, by kind.

    >>> things_in("看 http://a.evil.example/x 或 13900001234")
    [('url', 'http://a.evil.example/x'), ('mobile', '13900001234')]
    """
    found: list[tuple[str, str]] = []

    def keep(match: re.Match[str]) -> str:
        found.append((match.lastgroup or "", match.group()))
        return _thing_token(match)

    _NUMBERS.sub(keep, _LINKS.sub(keep, spelt))
    return found


def normalize(text: str) -> str:
    """Return the canonical text of one message.

    >>> normalize("微\u200b信") == normalize("微信")
    True
    """
    return normalize_batch((text,))[0]


class Aligned(NamedTuple):
    """A normalised text with the span of the original that each of its characters came from.

    A span is one number, its start above its end, counted from `base` on: several messages are aligned together.
    """

    text: str
    spans: Sequence[int]
    base: int = 0

    @property
    def starts(self) -> list[int]:
        """Return the first character of the original under each character."""
        return [(span >> 32) - self.base for span in self.spans]

    @property
    def ends(self) -> list[int]:
        """Return the first character of the original behind what is under each character."""
        return [(span & _END) - self.base for span in self.spans]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original span of a non-empty span of the normalised text."""
        return (self.spans[start] >> 32) - self.base, (self.spans[end - 1] & _END) - self.base


def align(text: str) -> Aligned:
    """Return the same canonical text as `normalize`, with the map back to the original.

    >>> align("加薇 信").span(1, 3)
    (1, 4)
    """
    return align_batch((text,))[0]


def align_batch(texts: Sequence[str]) -> list[Aligned]:
    """Return the same canonical texts as `normalize_batch`, each with its map back to the original."""
    if not texts:
        return []
    codes = np.frombuffer(
        "\n".join([text.replace("\n", " ") for text in texts]).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    )
    folded = _FOLD[codes]
    kept = np.flatnonzero(folded)
    current: str = folded[kept].tobytes().decode("utf-32-le")
    if _HAS_SEVERAL.search(current):
        sizes = np.ones(len(kept), dtype=np.int64)
        for match in _HAS_SEVERAL.finditer(current):
            sizes[match.start()] = len(match.group().translate(_SEVERAL))
        kept = kept.repeat(sizes)
        current = current.translate(_SEVERAL)
    spans = array("q", (kept << 32 | kept + 1).tobytes())
    for pattern, replacement in _REWRITES:
        current, spans = _rewrite(current, spans, pattern, replacement)
    aligned = []
    behind = base = 0
    for original, text in zip(texts, current.split("\n"), strict=True):
        until = behind + len(text)
        aligned.append(Aligned(text, spans[behind:until], base))
        behind, base = until + 1, base + len(original) + 1
    return aligned


def _rewrite(
    text: str, spans: "array[int]", pattern: re.Pattern[str], replacement: _Replacement
) -> "tuple[str, array[int]]":
    """Return text and spans after one rewrite; a replacement covers all that it replaced."""
    pieces: list[str] = []
    moved = array("q")
    behind = 0
    own_places = replacement in (_joined, _figures, _letter)  # the characters keep their own
    for match in pattern.finditer(text):
        first, last = match.span()
        put = replacement if isinstance(replacement, str) else replacement(match)
        pieces += (text[behind:first], put)
        moved += spans[behind:first]
        if own_places:
            for index in range(first, last):
                if replacement is not _joined or text[index].isalnum():
                    moved.append(spans[index])
        elif put:
            moved.extend([spans[first] >> 32 << 32 | spans[last - 1] & _END] * len(put))
        behind = last
    if not behind:
        return text, spans
    pieces.append(text[behind:])
    return "".join(pieces), moved + spans[behind:]


def readable(text: str) -> str:
    """Return a normalised text with its tokens spelt out for people.

    >>> readable("转账" + TOKENS["mobile"])
    '转账⟨mobile⟩'
    """
    return text.translate(_SHOWN) if _IS_OURS.search(text) else text
