"""Where are a million rows and texts while a model is fitted on them?

In a temporary file without a name (`TMPDIR` says in which folder), read as a list is: in memory there is one number an
item. What is read is decoded anew each time, about a microsecond an item; a run of them is read at once.
"""

import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar, overload

Item = TypeVar("Item")
_RUN: Final = 1000  #: items read at once when all are read in turn


class Stored(Sequence[Item]):
    """Items on disk, in order; each is decoded when it is asked for, and equal to the one that was stored."""

    def __init__(self, items: Iterable[Item], encode: Callable[[Item], bytes], decode: Callable[[bytes], Item]) -> None:
        self._decode = decode
        self._ends = array("q", [0])
        self._file = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115 - it lives as long as this does
        weakref.finalize(self, self._file.close)
        for item in items:
            self._ends.append(self._ends[-1] + self._file.write(encode(item)))
        self._file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            first, last, step = place.indices(len(self))
            return self._run(first, last) if step == 1 else [self[at] for at in range(first, last, step)]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        [item] = self._run(place % len(self), place % len(self) + 1)
        return item

    def __iter__(self) -> Iterator[Item]:
        for first in range(0, len(self), _RUN):
            yield from self._run(first, min(first + _RUN, len(self)))

    def _run(self, first: int, last: int) -> list[Item]:
        if first >= last:
            return []
        ends = self._ends[first : last + 1]
        read = os.pread(self._file.fileno(), ends[-1] - ends[0], ends[0])
        return [self._decode(read[ends[i] - ends[0] : ends[i + 1] - ends[0]]) for i in range(last - first)]


def stored_texts(texts: Iterable[str]) -> Stored[str]:
    """Return texts on disk."""
    return Stored(texts, _bytes, _text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(read: bytes) -> str:
    return read.decode("utf-8", "surrogatepass")
