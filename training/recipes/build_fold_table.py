"""Which characters fold to which? Builds `spamguard/core/fold_table.py` from open data.

Sources: Unicode (NFKD, categories, numeric values, through Python's unicodedata; Unicode licence), OpenCC's
TSCharacters (Apache-2.0, through opencc-python-reimplemented), Unicode TR39 confusables (Unicode licence, through
confusable-homoglyphs). The table is generated once and committed, so that normalisation does not change with the
Python that runs it. Run it after changing a rule, and raise `VERSION` in `spamguard/core/normalize.py`:

    python training/recipes/build_fold_table.py
"""

import json
import sys
import unicodedata
from pathlib import Path

import confusable_homoglyphs
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
        f"From Unicode {unicodedata.unidata_version} (Unicode licence), OpenCC's TSCharacters (Apache-2.0) and",
        "TR39 confusables (Unicode licence).",
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
    ]
    TARGET.write_text("\n".join(lines), encoding="utf-8")
    print(
        f"{len(dropped)} dropped in {len(ranges)} ranges, {len(single)} single, {len(several)} several, "
        f"{TARGET.stat().st_size // 1024} KiB"
    )


if __name__ == "__main__":
    main()
