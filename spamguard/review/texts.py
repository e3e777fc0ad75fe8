"""When are two texts near-identical, and by which words is a text found?

Near-identical: the normalised texts without figures, links and punctuation are equal (the skeleton), or most of their
four-character pieces are shared. Sixteen minimal hashes of the pieces, in four bands of four, find the candidates: two
texts that share 85 % of their pieces share a band with 95 %, two that share 30 % with 3 %; the candidate is then
compared piece by piece. Deterministic: the same text has the same sketch on every machine.

Found: by every pair of neighbouring Han characters, and by words of other scripts; of the text as it is and as the
normaliser reads it. Jieba's words were in the index too, and left it: whatever a word finds, its pairs find as well,
and a text that jieba cuts otherwise than the query is found by pairs alone.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np

from spamguard.core.normalize import clip, normalize

PIECE_CHARS: Final = 4
#: Share of pieces from which two texts are one item.
ALIKE: Final = 0.7
_BANDS: Final = 4
_ROWS: Final = 4
_PRIME: Final = (1 << 31) - 1
_DICE: Final = np.random.default_rng(20261124)
_FACTORS: Final = _DICE.integers(1, _PRIME, size=(_BANDS * _ROWS, 1), dtype=np.int64)
_SHIFTS: Final = _DICE.integers(0, _PRIME, size=(_BANDS * _ROWS, 1), dtype=np.int64)
_NOT_WORD: Final = re.compile(r"[\W\d_\ue000-\uf8ff]+")
_HAN: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUNS: Final = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")
_IS_HAN: Final = re.compile(rf"[{_HAN}]")
MAX_TERM_CHARS: Final = 40
MAX_TERMS: Final = 1500


@lru_cache(maxsize=4096)
def bare(text: str) -> str:
    """Return what is left of a text without figures, links, punctuation and the tricks that the normaliser undoes.

    >>> bare("代开发*票，加薇信 fp00061") == bare("代开发票 加微信 fp99")
    True
    """
    return _NOT_WORD.sub("", normalize(clip(text)))


def skeleton(tenant: str, text: str) -> str:
    """Return the key that equal messages of a tenant share; a text without words is its own."""
    inner = bare(text) or text
    return hashlib.blake2b(f"{tenant}\0{inner}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def pieces(text: str) -> frozenset[str]:
    """Return the pieces of four characters of a text's bare form; of a shorter one, the whole."""
    inner = bare(text)
    if len(inner) <= PIECE_CHARS:
        return frozenset((inner,)) if inner else frozenset()
    return frozenset(inner[place : place + PIECE_CHARS] for place in range(len(inner) - PIECE_CHARS + 1))


def bands_of(tenant: str, text: str) -> list[int]:
    """Return the four bands of a text's sketch; none for what is too short to be compared by pieces."""
    found = pieces(text)
    if len(found) < PIECE_CHARS:
        return []
    hashes = np.array([zlib.crc32(piece.encode(errors="surrogatepass")) % _PRIME for piece in found], dtype=np.int64)
    least = ((hashes * _FACTORS + _SHIFTS) % _PRIME).min(axis=1)
    bands = []
    for number in range(_BANDS):
        rows = least[number * _ROWS : (number + 1) * _ROWS].tobytes()
        digest = hashlib.blake2b(rows + f"{number}|{tenant}".encode(errors="surrogatepass"), digest_size=8).digest()
        bands.append(int.from_bytes(digest, "big", signed=True))
    return bands


def alike(one: str, other: str) -> float:
    """Return the share of pieces that two texts have in common."""
    first, second = pieces(one), pieces(other)
    return len(first & second) / len(first | second) if first or second else 1.0


def terms(text: str) -> list[str]:
    """Return the terms a text is found by, each once, in order.

    >>> terms("加微信 OK")
    ['加微', '微信', '信', 'ok']
    """
    found: dict[str, None] = {}
    for form in (text, normalize(clip(text))):
        for run in _RUNS.findall(form.casefold()):
            found |= dict.fromkeys(_terms_of(run))
    return list(found)[:MAX_TERMS]


def _terms_of(run: str) -> Iterable[str]:
    if not _IS_HAN.match(run):
        return (run[:MAX_TERM_CHARS],)
    return [run[place : place + 2] for place in range(len(run))]  # the last one is the last character alone


def query_terms(query: str) -> list[tuple[str, bool]]:
    """Return the terms that a text must have, each with whether a longer term that begins so will do.

    >>> query_terms("发票 inv")
    [('发票', False), ('inv', True)]
    """
    found: dict[tuple[str, bool], None] = {}
    for run in _RUNS.findall(query.casefold()[:200]):
        if not _IS_HAN.match(run):
            found[(run[:MAX_TERM_CHARS], True)] = None
        elif len(run) == 1:
            found[(run, True)] = None  # every Han character begins a pair, or ends the run
        else:
            found |= dict.fromkeys((run[place : place + 2], False) for place in range(len(run) - 1))
    return list(found)
