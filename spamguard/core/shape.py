"""What does a message look like, whatever it says: how long, how many links and prices, how it begins and ends?

A bank notice with an advert at its end and an advert with a bank's name share their words; they differ in build. Each
*slot* of a message's shape (its length, its links, who is addressed …) holds exactly one value, a symbol; a slot's
symbols are numbered one after the other. All work is done on whole batches: one look-up a character, one count.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard.core.normalize import TOKENS


class Kind(NamedTuple):
    """Some characters of one kind; a slot counts them up to `most`."""

    chars: str
    most: int
    is_han: bool = False


#: Kinds of characters by what they do in a message; what is in none is Han, Latin or something else.
KINDS: Final = (
    Kind("\n", 0),
    Kind(" ", 3),
    Kind("".join(TOKENS[f"number_{digits}"] for digits in (1, 2, 3)), 4),
    Kind("".join(TOKENS[f"number_{digits}"] for digits in (4, 5, 6, 7, 8)), 3),
    Kind(TOKENS["decimal"], 3),
    Kind(TOKENS["time"], 2),
    Kind(TOKENS["url"], 2),
    Kind(TOKENS["url_rare"] + TOKENS["url_short"] + TOKENS["url_ip"], 2),
    Kind(TOKENS["mobile"] + TOKENS["landline"] + TOKENS["hotline"], 2),
    Kind(TOKENS["service_number"] + TOKENS["email"], 2),
    Kind("!", 3),
    Kind("?", 2),
    Kind(",、", 6),
    Kind(".", 4),
    Kind(":;", 3),
    Kind("[", 2),
    Kind("]", 2),
    Kind("()《》<>\"'", 3),
    Kind("元$¥£€", 3, is_han=True),
    Kind("%折", 2, is_han=True),
    Kind("您", 2, is_han=True),
    Kind("你我", 2, is_han=True),
    Kind("免送惠奖抢赠券", 4, is_han=True),  # what is on offer
    Kind("询击载登拨复点", 4, is_han=True),  # what one is asked to do
    Kind("退拒", 2, is_han=True),
    Kind("已", 2, is_han=True),  # what has been done
    Kind("请", 2, is_han=True),
)
_LINES: Final = 0
_HAN, _LATIN, _OTHER = len(KINDS), len(KINDS) + 1, len(KINDS) + 2
_WIDTH: Final = len(KINDS) + 3  #: kinds in all
LENGTHS: Final = np.array([0, 2, 4, 7, 11, 16, 23, 32, 45, 60, 70, 90, 120, 160, 220, 320])  #: last of each bucket
_TAIL: Final = 14  #: characters in which a message says how to opt out
_QUARTERS: Final = 4


def _kind_table() -> NDArray[np.uint8]:
    table = np.full(0x110000, _OTHER, dtype=np.uint8)
    for first, last in ((0x3400, 0x4DC0), (0x4E00, 0xA000)):
        table[first:last] = _HAN
    table[ord("a") : ord("z") + 1] = _LATIN
    for number, kind in enumerate(KINDS):
        table[[ord(char) for char in kind.chars]] = number
    return table


_KIND_OF: Final = _kind_table()
#: What a character of each kind adds to the shares of Han, Latin and tokens, in fifths, quarters and twelfths.
_SHARED: Final = np.array(
    [
        *((5 * kind.is_han, 0, 12 * ("\ue000" <= kind.chars[0] <= "\uf8ff")) for kind in KINDS),
        (5, 0, 0),
        (0, 4, 0),
        (0, 0, 0),
    ],
    dtype=np.int64,
)
_END: Final = np.array([_LINES], dtype=np.uint8)
_LINK, _PHONE, _OPT_OUT = 1, 2, 3
#: Places of the first link and phone stand in the columns behind the counts that so much more than their mark names.
_PLACES: Final = 5
#: Kinds whose place in the message is looked at.
_MARK_OF: Final = np.zeros(_WIDTH, dtype=np.uint8)
for _mark, _char in ((_LINK, TOKENS["url"]), (_LINK, TOKENS["url_rare"]), (_PHONE, TOKENS["mobile"]), (_OPT_OUT, "退")):
    _MARK_OF[_KIND_OF[ord(_char)]] = _mark
_MOST: Final = np.array([kind.most for kind in KINDS[1:]])
#: How many values each slot has: counts of kinds, length, shares of Han, Latin and tokens, first and last kind, places
#: of the first link and phone, opt-out at the end.
_SIZES: Final = np.array([*(_MOST + 1), len(LENGTHS) + 1, 6, 5, 6, _WIDTH, _WIDTH, 5, 5, 2])
SLOTS: Final = len(_SIZES)
SYMBOLS: Final = int(_SIZES.sum())
#: The number of each slot's first symbol; 0 is no symbol.
_FIRSTS: Final = 1 + np.concatenate(([0], np.cumsum(_SIZES)[:-1]))


def shapes(codes: NDArray[np.uint32], messages: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the symbols of a batch's messages, one row a message and one column a slot.

    `codes` are the code points of the messages joined by line breaks, `rows` the message of each of them, for those who
    have it already.
    """
    kinds = _KIND_OF.take(codes)
    is_break = kinds == _LINES
    rows = is_break.cumsum(dtype=np.int64) if rows is None else rows
    breaks = is_break.nonzero()[0]
    starts, ends = np.empty(messages, dtype=np.int64), np.empty(messages, dtype=np.int64)
    starts[0], ends[-1] = 0, len(codes)
    starts[1:], ends[:-1] = breaks + 1, breaks
    lengths = ends - starts
    counts = np.bincount(rows * _WIDTH + kinds, minlength=messages * _WIDTH).reshape(messages, _WIDTH)
    whole = np.maximum(lengths, 1)
    values = np.zeros((messages, SLOTS), dtype=np.int64)
    np.minimum(counts[:, 1 : len(KINDS)], _MOST, out=values[:, : len(_MOST)])
    rest = values[:, len(_MOST) :]
    rest[:, 0] = LENGTHS.searchsorted(lengths)
    rest[:, 1:4] = counts @ _SHARED // whole[:, None]
    np.minimum(rest[:, 3], 5, out=rest[:, 3])
    # A line break stands before and behind every message, at the ends of the batch as well: an empty one begins and
    # ends with it.
    ended = np.concatenate((kinds, _END))
    rest[:, 4] = ended.take(starts)
    rest[:, 5] = ended.take(ends - 1, mode="wrap")
    marks = _MARK_OF.take(kinds)
    places = marks.nonzero()[0]
    if len(places):
        marks, of = marks.take(places), rows.take(places)
        from_start = places - starts.take(of)
        first = (marks != _OPT_OUT).nonzero()[0][::-1]  # backwards: the first one of a message is written last
        its = of.take(first)
        rest[its, _PLACES + marks.take(first)] = 1 + _QUARTERS * from_start.take(first) // whole.take(its)
        late = (marks == _OPT_OUT) & (from_start >= lengths.take(of) - _TAIL)
        rest[of[late], 8] = 1
    values += _FIRSTS
    return values
