"""How does a model learn that the words of an advert may be written otherwise, by honest people too?

Whoever writes 发漂 for 发票 breaks every n-gram through the character, and what is left of the message decides. Here a
share of the rows, spam and ham alike, trains once more, rewritten: by characters of the same sound or with a part in
common, in two parts, in Latin letters, or with pauses pushed in. That there is rewriting says nothing then, and what
still tells the two apart is what is heard. The vocabulary and the document frequencies stay those of the rows as they
were sent, and the tables share nothing with those of the attacks (`writings.py`).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard_training import variant_table
from spamguard_training.corpus import Row
from spamguard_training.padding import LEAST_WEIGHT, Copies

Rewrite = Callable[[str, random.Random], str]

#: How much of a message is rewritten: a little, or most of it.
SHARES: Final = (0.1, 0.2, 0.3, 0.5, 0.7)
PAUSES: Final = ("，", "、", ",", " ", ".", "。", "-", "·")


class _Tables(NamedTuple):
    """What may be written for a character."""

    sound_of: Mapping[str, str]
    same_sound: Mapping[str, str]
    alike: Mapping[str, str]
    rare: Mapping[str, str]
    parts: Mapping[str, str]


def _is_common(char: str) -> bool:
    try:
        return 0xB0 <= char.encode("gb2312")[0] <= 0xD7
    except UnicodeEncodeError:
        return False


@cache
def tables() -> _Tables:
    """Return the tables, built once."""
    sound_of = {char: sound for sound, chars in variant_table.SOUNDS.items() for char in chars}
    usual = {sound: "".join(filter(_is_common, chars)) for sound, chars in variant_table.SOUNDS.items()}
    odd = {sound: "".join(c for c in chars if not _is_common(c)) for sound, chars in variant_table.SOUNDS.items()}
    alike: dict[str, str] = {}
    rare: dict[str, str] = {}
    for chars in variant_table.ALIKE.values():
        common = "".join(filter(_is_common, chars))
        others = "".join(char for char in chars if not _is_common(char))
        for char in common:
            alike[char] = alike.get(char, "") + common.replace(char, "")
            rare[char] = rare.get(char, "") + others
    for char, sound in sound_of.items():
        if _is_common(char):
            rare[char] = rare.get(char, "") + odd[sound][:8]
    same_sound = {char: usual[sound].replace(char, "") for char, sound in sound_of.items() if _is_common(char)}
    pairs = variant_table.SPLIT_TO
    parts = {char: pairs[2 * place : 2 * place + 2] for place, char in enumerate(variant_table.SPLIT_FROM)}
    return _Tables(sound_of, same_sound, alike, rare, parts)


def _swapped(text: str, rng: random.Random, table: Mapping[str, str], share: float) -> str:
    return "".join(
        rng.choice(variants) if (variants := table.get(char)) and rng.random() < share else char for char in text
    )


def by_sound(text: str, rng: random.Random) -> str:
    """Write characters of the same sound: 发票 as 发漂."""
    return _swapped(text, rng, tables().same_sound, rng.choice(SHARES))


def by_looks(text: str, rng: random.Random) -> str:
    """Write characters with a part in common: 发票 as 发漂, 款 as 歀."""
    return _swapped(text, rng, tables().alike, rng.choice(SHARES))


def by_rarity(text: str, rng: random.Random) -> str:
    """Write characters that hardly anybody writes, with the sound or a part of the usual ones."""
    return _swapped(text, rng, tables().rare, rng.choice((0.3, 0.6, 1.0)))


def in_parts(text: str, rng: random.Random) -> str:
    """Write characters as the two parts they are made of: 码 as 石马."""
    found, share = tables().parts, rng.choice((0.2, 0.4, 0.8))
    return "".join(found[char] if char in found and rng.random() < share else char for char in text)


def in_letters(text: str, rng: random.Random) -> str:
    """Write the syllables of characters in Latin letters: 发票 as fa票."""
    found, share = tables().sound_of, rng.choice((0.1, 0.2, 0.3, 0.5))
    return "".join(found[char] if char in found and rng.random() < share else char for char in text)


def with_pauses(text: str, rng: random.Random) -> str:
    """Push pauses between characters."""
    share, pause = rng.choice((0.1, 0.2, 0.4, 0.6)), rng.sample(PAUSES, 2)
    pieces = []
    for char, after in zip(text, text[1:] + " ", strict=True):
        pieces.append(char)
        if "\u4e00" <= char <= "\u9fff" and "\u4e00" <= after <= "\u9fff" and rng.random() < share:
            pieces.append(rng.choice(pause))
    return "".join(pieces)


REWRITES: Final[Mapping[str, Rewrite]] = {
    "sound": by_sound,
    "looks": by_looks,
    "rarity": by_rarity,
    "parts": in_parts,
    "letters": in_letters,
    "pauses": with_pauses,
}


def rewritten(
    rows: Sequence[Row], weights: NDArray[np.float64], seen: NDArray[np.int64], share: float, seed: int
) -> Copies:
    """Return copies of the rows at `seen`, rewritten in each way with a chance of `share`."""
    texts, places = [], []
    for place in seen.tolist():
        row = rows[place]
        if weights[place] < LEAST_WEIGHT or not share:
            continue
        for name, rewrite in REWRITES.items():
            rng = random.Random(f"{seed}:rewriting:{name}:{row.id}")  # noqa: S311 - reproducible, not secret
            if rng.random() < share and (text := rewrite(row.text, rng)) != row.text:
                texts.append(text)
                places.append(place)
    return Copies(texts, np.array(places, dtype=np.int64))
