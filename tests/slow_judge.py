"""What should a message's decision be, computed the slow and obvious way: one message, one character, one feature?

The reference of the parity suite, and of any faster engine. It shares with the service only what defines a meaning:
the tables and expressions of the normaliser, jieba's words, the guards' expressions and the policy. Whatever the
service does with arrays of whole batches is done here with strings, dictionaries and loops.
"""

import math
import re
from collections import Counter
from typing import NamedTuple

from spamguard.core import fold_table, normalize, shape, sounds
from spamguard.core.features import View
from spamguard.core.guards import guard_of
from spamguard.core.normalize import TOKENS
from spamguard.core.policy import EVIDENCE_FLOOR, STANDARD, rule
from spamguard.core.scorer import ModelArrays
from spamguard.core.tokenizer import tokenize
from spamguard.types import Category, Message, Reason

FOLDS = dict(zip(fold_table.SINGLE_FROM, fold_table.SINGLE_TO, strict=True))


class Cell(NamedTuple):
    """A character of a normalised text with the span of the original it came from."""

    char: str
    start: int
    end: int


class SlowDecision(NamedTuple):
    """What the parity suite compares."""

    reason: Reason
    score: float
    guard: str | None
    category: str | None
    pulls: dict[tuple[int, int, str], float]  #: of every word that pulls: its span of the original, as it is shown


def folded(char: str) -> str:
    """Return what one character of a message becomes."""
    code = ord(char)
    if char == "\n":
        return " "
    if char in FOLDS:
        return FOLDS[char]
    if char in fold_table.SEVERAL:
        return fold_table.SEVERAL[char]
    if 0xD800 <= code < 0xE000:
        return "\ufffd"
    dropped = any(first <= code <= last for first, last in fold_table.DROPPED)
    return "" if dropped or code == 0 or 0xE000 <= code < 0xE040 else char


def normalised(text: str) -> list[Cell]:
    """Return the canonical text of a message, a cell a character."""
    cells = [Cell(char, place, place + 1) for place, given in enumerate(text) for char in folded(given)]
    for pattern, replacement in normalize._REWRITES:
        written = "".join(cell.char for cell in cells)
        behind, rewritten = 0, []
        for match in pattern.finditer(written):
            rewritten += cells[behind : match.start()]
            under = cells[match.start() : match.end()]
            put = replacement if isinstance(replacement, str) else replacement(match)
            if replacement is normalize._joined:
                under = [cell for cell in under if cell.char.isalnum()]
            if replacement in (normalize._joined, normalize._figures, normalize._letter):
                rewritten += [cell._replace(char=char) for cell, char in zip(under, put, strict=True)]
            else:
                rewritten += [Cell(char, under[0].start, under[-1].end) for char in put]
            behind = match.end()
        cells = rewritten + cells[behind:]
    return cells


def said(text: str) -> list[tuple[str, int, int]]:
    """Return a text's characters with letters beside Han as what they spell, and which characters each covers."""
    heard, at = [], 0
    for run in re.findall("[a-z]+|[^a-z]", text):
        end = at + len(run)
        beside = [char for char in text[max(0, at - 1) : at] + text[end : end + 1] if "\u4e00" <= char < "\ua000"]
        letters = "a" <= run[0] <= "z"
        chars = sounds.spelt(run) if letters and beside and len(run) <= sounds.MOST_LETTERS else None
        if chars is None:
            heard += [(char, place, place + 1) for place, char in enumerate(run, start=at)]
        else:
            heard += [(char, at, end) for char in chars]
        at = end
    return heard


def built(text: str) -> list[int]:
    """Return the symbols of a message's shape, a slot each."""
    names = {char: number for number, kind in enumerate(shape.KINDS) for char in kind.chars}
    han, latin, other = (len(shape.KINDS) + place for place in range(3))

    def kind_of(char: str) -> int:
        is_han = "\u3400" <= char < "\u4dc0" or "\u4e00" <= char < "\ua000"
        return names.get(char, han if is_han else latin if "a" <= char <= "z" else other)

    def place_of(*chars: str) -> int:
        first = min((text.index(char) for char in chars if char in text), default=None)
        return 0 if first is None else 1 + 4 * first // len(text)

    kinds = [kind_of(char) for char in text]
    length = max(1, len(text))
    token = sum(kind < han and "\ue000" <= shape.KINDS[kind].chars[0] <= "\uf8ff" for kind in kinds)
    in_han = sum(kind == han or (kind < han and shape.KINDS[kind].is_han) for kind in kinds)
    slots = [(min(kinds.count(number), kind.most), kind.most) for number, kind in enumerate(shape.KINDS) if number]
    slots += [
        (sum(len(text) > last for last in shape.LENGTHS.tolist()), len(shape.LENGTHS)),
        (5 * in_han // length, 5),
        (4 * kinds.count(latin) // length, 4),
        (min(12 * token // length, 5), 5),
        (kinds[0] if kinds else 0, other),
        (kinds[-1] if kinds else 0, other),
        (place_of(*(TOKENS[name] for name in ("url", "url_rare", "url_short", "url_ip"))), 4),
        (place_of(*(TOKENS[name] for name in ("mobile", "landline", "hotline"))), 4),
        (int(any(char in "退拒" for char in text[-14:])), 1),
    ]
    symbols, behind = [], 1
    for value, most in slots:
        symbols.append(behind + value)
        behind += most + 1
    return symbols


def occurrences(text: str, view: View, arrays: ModelArrays) -> list[tuple[int, bool, int, int]]:
    """Return the key of each n-gram of known symbols, whether it is evidence, and the characters it covers."""
    if view.name == "shape":
        return [(symbol, False, 0, 0) for symbol in built(text)]
    words, at = [], 0
    for word in tokenize(text):
        if word != " ":
            words.append((word, at, at + len(word)))
        at += len(word)
    numbers = {word: number for number, word in enumerate(arrays.words, start=1)}
    if view.markers:
        held = {word for word, _, _ in words if word in numbers}
        return [
            (marker << view.bits | numbers[word], False, start, end)
            for marker, group in enumerate(view.markers, start=1)
            if held & set(group)
            for word, start, end in words
            if word in numbers
        ]
    if view.reads_words:
        symbols = [(numbers.get(word, 0), start, end) for word, start, end in words]
    else:
        codes, known = arrays.symbols[view.name]
        table = dict(zip(codes.tolist(), known.tolist(), strict=True))
        read = said(text) if view.name == "sounds" else [(char, at, at + 1) for at, char in enumerate(text)]
        symbols = [(table.get(ord(char), 0), start, end) for char, start, end in read]
    found = []
    for length in range(view.shortest, view.longest + 1):
        for first in range(len(symbols) - length + 1):
            row = symbols[first : first + length]
            if all(symbol for symbol, _, _ in row):
                key = 0
                for symbol, _, _ in row:
                    key = key << view.bits | symbol
                found.append((key, length > (2 if view.name == "sounds" else 1), row[0][1], row[-1][2]))
    return found


def slow_decision(message: Message, arrays: ModelArrays, ham_cutoff: float, spam_cutoff: float) -> SlowDecision:
    """Return the decision on a message with a text, under the standard policy."""
    original = normalize.clip(message.text or "")
    cells = normalised(original)
    text = "".join(cell.char for cell in cells)
    log_odds, evidence = arrays.intercept, 0
    kinds = [float(value) for value in arrays.kind_intercepts]
    by_char = [0.0] * len(text)
    for view, keys, idf, weights in arrays.views:
        position = {key: place for place, key in enumerate(keys.tolist())}
        found = [one for one in occurrences(text, view, arrays) if one[0] in position]
        counts = Counter(key for key, _, _, _ in found)
        tfidf = {key: (1 + math.log(count)) * float(idf[position[key]]) for key, count in counts.items()}
        norm = math.sqrt(sum(value**2 for value in tfidf.values()))
        evidence += len({key for key, is_long, _, _ in found if is_long})
        looked_at = {feature: column for column, feature in enumerate(arrays.kind_features[view.name].tolist())}
        for key, value in tfidf.items():
            log_odds += value / norm * float(weights[position[key]])
            if position[key] in looked_at:
                column = arrays.kind_weights[view.name][:, looked_at[position[key]]]
                kinds = [total + value / norm * float(weight) for total, weight in zip(kinds, column, strict=True)]
        for key, _, start, end in found:
            pull = tfidf[key] / norm * float(weights[position[key]]) / counts[key]
            for place in range(start, end):
                by_char[place] += pull / (end - start)
    score = round(1 / (1 + math.exp(-log_odds)), 6)
    if evidence < EVIDENCE_FLOOR:
        return SlowDecision(Reason.NO_EVIDENCE, score, None, None, {})
    if score < ham_cutoff:
        return SlowDecision(Reason.HAM_SCORE, score, None, None, {})
    category = arrays.kinds[max(range(len(kinds)), key=kinds.__getitem__)]
    guard = guard_of(text)
    spam = score >= spam_cutoff
    ruling = rule(STANDARD, message, spam=spam, guard=guard, category=Category(category), allow_all=False)
    moved = len(message.text or "") - len(original)
    pulls: dict[tuple[int, int, str], float] = {}
    at = 0
    for word in tokenize(text):
        start, end = cells[at].start, cells[at + len(word) - 1].end
        if word != " ":
            shown = (
                start if start < normalize.HEAD_CHARS else start + moved,
                end if end <= normalize.HEAD_CHARS else end + moved,
                normalize.readable(word),
            )
            pulls[shown] = sum(by_char[at : at + len(word)])
        at += len(word)
    return SlowDecision(ruling.reason, score, guard, category, pulls)
