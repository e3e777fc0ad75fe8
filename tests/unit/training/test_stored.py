"""Is what lies on disk read as a list is, and never kept in memory?"""

import gc
import weakref

import msgspec
import pytest
from spamguard_training.corpus import Row, stored_rows
from spamguard_training.stored import Stored, stored_texts

TEXTS = ["晚上吃饭", "", "line\nbreak", "\ud800 alone", "🎁" * 300] * 300


def test_texts_on_disk_are_read_as_a_list_is() -> None:
    found = stored_texts(iter(TEXTS))
    assert len(found) == len(TEXTS)
    assert list(found) == TEXTS
    assert found[3:700:7] == TEXTS[3:700:7] and found[-2:] == TEXTS[-2:] and found[5:5] == []
    assert (found[0], found[-1], found[1234]) == (TEXTS[0], TEXTS[-1], TEXTS[1234])
    assert TEXTS[2] in found
    for place in (len(TEXTS), -len(TEXTS) - 1):
        with pytest.raises(IndexError):
            found[place]
    assert list(stored_texts([])) == []


def test_rows_on_disk_are_equal_and_let_go(rows: list[Row]) -> None:
    found = stored_rows(msgspec.structs.replace(row, trust="two", read=True) for row in rows)
    assert list(found) == [msgspec.structs.replace(row, trust="two", read=True) for row in rows]

    class Thing:
        pass

    kept: list[weakref.ref[Thing]] = []

    def things() -> Thing:
        thing = Thing()
        kept.append(weakref.ref(thing))
        return thing

    stored = Stored((things() for _ in range(3)), lambda _: b"1", lambda _: Thing())
    gc.collect()
    assert len(stored) == 3 and not any(ref() for ref in kept)
