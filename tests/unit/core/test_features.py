"""Do the batch-wise integer features say exactly what a plain reference with strings and dictionaries says?"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.features import (
    CHARS,
    SOUNDS,
    WORDS,
    KeyTable,
    KeyTables,
    Symbols,
    View,
    char_symbols,
    code_points,
    count,
    crossed,
    grams,
    last_alike,
    marker_ids,
    word_numbers,
    word_symbols,
)
from spamguard.core.normalize import TOKENS, normalize_batch
from spamguard.core.tokenizer import tokenize

KEYS = st.lists(
    st.integers(1, 2**64 - 1) | st.integers(1, 40).map(lambda n: n << 32) | st.integers(1, 40), max_size=60, unique=True
)
BATCHES = st.lists(st.text(alphabet="发票微信加群的你 ab1.", max_size=12), max_size=5).map(normalize_batch)


@given(KEYS, st.lists(st.integers(1, 2**64 - 1) | st.integers(1, 40), max_size=60))
def test_the_key_table_finds_exactly_what_a_dictionary_finds(known: list[int], asked: list[int]) -> None:
    table = KeyTable(np.array(known, dtype=np.uint64))
    dictionary = {key: position for position, key in enumerate(known)}
    asked = asked + known
    found = table.find(np.array(asked, dtype=np.uint64))
    assert found.tolist() == [dictionary.get(key, -1) for key in asked]


def test_the_key_table_finds_its_way_through_crowded_slots() -> None:
    rng = np.random.default_rng(0)
    known = np.unique(rng.integers(1, 2**63, 20_000, dtype=np.uint64))
    rng.shuffle(known)
    table = KeyTable(known)
    assert (table.find(known) == np.arange(len(known))).all()
    strangers = np.setdiff1d(rng.integers(1, 2**63, 20_000, dtype=np.uint64), known)
    assert (table.find(strangers) == -1).all()


@given(
    st.lists(
        st.tuples(KEYS, st.lists(st.integers(1, 2**64 - 1) | st.integers(1, 40), max_size=20)), min_size=1, max_size=5
    )
)
def test_the_tables_of_several_views_find_what_each_finds_alone(views: list[tuple[list[int], list[int]]]) -> None:
    tables = [KeyTable(np.array(known, dtype=np.uint64)) for known, _ in views]
    asked = [np.array(own + [key for known, _ in views for key in known], dtype=np.uint64) for _, own in views]
    expected, first = [], 0
    for table, keys in zip(tables, asked, strict=True):
        found = table.find(keys)
        expected += np.where(found >= 0, found + first, -1).tolist()
        first += table.size
    known, positions = KeyTables(tables).find(asked)
    assert known.tolist() == [number for number, position in enumerate(expected) if position >= 0]
    assert positions.tolist() == [position for position in expected if position >= 0]


def test_a_key_that_found_its_slots_taken_is_found_by_its_own_view_alone() -> None:
    rng = np.random.default_rng(1)
    shared = np.unique(rng.integers(1, 2**63, 16_000, dtype=np.uint64))
    tables = [KeyTable(shared), KeyTable(shared[::-1]), KeyTable(shared[:1])]
    assert all(len(table._aside) > 100 for table in tables[:2])
    known, positions = KeyTables(tables).find([shared, shared[:2], shared])
    count = len(shared)
    assert known.tolist() == [*range(count + 3)]
    assert positions.tolist() == [*range(count), 2 * count - 1, 2 * count - 2, 2 * count]


@pytest.mark.parametrize("keys", [[7, 7], [0, 1]])
def test_a_vocabulary_that_says_a_key_twice_or_says_zero_is_refused(keys: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        KeyTable(np.array(keys, dtype=np.uint64))


@pytest.mark.parametrize(("bits", "shortest", "longest"), [(32, 1, 3), (16, 2, 1), (16, 0, 2), (0, 1, 1), (-1, 1, 1)])
def test_a_view_whose_ngrams_do_not_fit_a_key_is_refused(bits: int, shortest: int, longest: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        View(name="chars", bits=bits, shortest=shortest, longest=longest)


def plain_counts(rows: Sequence[Sequence[str]], known: Mapping[str, int], view: View) -> list[Counter[tuple[int, ...]]]:
    """Return each message's n-grams of known symbols with how often they occur: the slow, obvious way."""
    counts = []
    for row in rows:
        numbers = [known.get(symbol, 0) for symbol in row]
        counts.append(
            Counter(
                tuple(numbers[start : start + length])
                for length in range(view.shortest, view.longest + 1)
                for start in range(len(numbers) - length + 1)
                if 0 not in numbers[start : start + length]
            )
        )
    return counts


def fast_counts(symbols: Symbols, view: View, messages: int) -> list[Counter[tuple[int, ...]]]:
    """Return the same out of `grams`, keys unpacked."""
    found = grams(symbols, view)
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(messages)]
    mask = (1 << view.bits) - 1
    _, lengths = found.spans(np.arange(len(found.keys)))
    for row, key, length in zip(found.rows.tolist(), found.keys.tolist(), lengths.tolist(), strict=True):
        counts[row][tuple(key >> (view.bits * place) & mask for place in reversed(range(length)))] += 1
    return counts


@given(BATCHES)
def test_words_and_their_pairs_are_counted_as_the_plain_way_counts_them(texts: list[str]) -> None:
    known = {"发票": 1, "微": 2, "信": 3, "的": 4, "你": 5, "ab": 6, ".": 7}
    plain = plain_counts([[word for word in tokenize(text) if word != " "] for text in texts], known, WORDS)
    assert fast_counts(word_symbols(texts, word_numbers(known)), WORDS, len(texts)) == plain


@given(BATCHES, st.sampled_from([CHARS, SOUNDS, View(name="chars", bits=16, shortest=3, longest=3)]))
def test_characters_are_counted_as_the_plain_way_counts_them(texts: list[str], view: View) -> None:
    known = {"发": 1, "票": 2, "微": 65535, "薇": 65535, "信": 4, " ": 5, "a": 6}
    table = np.zeros(0x110000, dtype=np.uint16)
    for char, symbol in known.items():
        table[ord(char)] = symbol
    plain = plain_counts(texts, known, view)
    assert fast_counts(char_symbols(code_points(texts), table), view, len(texts)) == plain


@given(BATCHES)
def test_a_message_that_holds_a_marker_pairs_it_with_each_of_its_known_words(texts: list[str]) -> None:
    words = ("发票", "微", "群", "的", "你", "ab", TOKENS["number_1"])
    known = {word: number for number, word in enumerate(words, start=1)}
    markers = (("微", "群"), (TOKENS["number_1"], "nowhere"), ("ab",))
    view = View(name="crossed", bits=32, shortest=2, longest=2, markers=markers)
    expected = Counter(
        (row, marker, known[word])
        for row, text in enumerate(texts)
        for marker, its in enumerate(view.markers, start=1)
        if {word for word in tokenize(text) if word in known} & set(its)
        for word in tokenize(text)
        if word in known
    )
    found = crossed(word_symbols(texts, word_numbers(known)), marker_ids(view, known), view.bits)
    pairs = zip(found.rows.tolist(), found.keys.tolist(), strict=True)
    assert Counter((row, key >> view.bits, key & 0xFFFFFFFF) for row, key in pairs) == expected
    assert (found.spans(np.arange(len(found.keys)))[1] == 1).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 6)), max_size=40))
def test_occurrences_are_counted_per_message_and_the_unknown_left_out(pairs: list[tuple[int, int]]) -> None:
    rows, features = (np.array([pair[part] for pair in pairs], dtype=np.int64) for part in (0, 1))
    counted = count(rows, features, 7)
    expected = Counter(pair for pair in pairs if pair[1] >= 0)
    found = list(zip(counted.rows.tolist(), counted.features.tolist(), strict=True))
    assert found == sorted(expected)
    assert dict(zip(found, counted.counts.tolist(), strict=True)) == expected


@given(st.lists(st.integers(0, 2**62) | st.integers(0, 9), max_size=300))
def test_equals_name_the_last_of_them(values: list[int]) -> None:
    last = {value: place for place, value in enumerate(values)}
    assert last_alike(np.array(values, dtype=np.int64)).tolist() == [last[value] for value in values]


def test_a_vocabulary_that_knows_the_line_break_still_joins_no_messages() -> None:
    symbols = word_symbols(["发票", "贷款"], word_numbers({"发票": 1, "\n": 2, "贷款": 3}))
    assert grams(symbols, WORDS).keys.tolist() == [1, 3]
    assert symbols.rows[symbols.values == 3].tolist() == [1]
