"""How does a CSV file become lists, and what is wrong with it where it does not?

The columns are kind, value and action, and tenant, owner, reason, created, expires and id where somebody wants them;
the first line names them. Lines that begin with # are comments. Every fault names its line; none repeats a value.
"""

import csv
import difflib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from spamguard.core.entries import Fault, expires_s
from spamguard.core.lists import ListBuilder, Lists
from spamguard.types import ListEntry, ListKind, Treatment

COLUMNS: Final = ("id", "kind", "value", "action", "tenant", "owner", "reason", "created", "expires")
NEEDED: Final = ("kind", "value", "action")
#: So many faults are told; more of them are one fault of the file.
MAX_FAULTS: Final = 100
MAX_FIELD_CHARS: Final = 1000
#: Looked up a million times; calling the enumeration takes three times as long.
_KINDS: Final = {kind.value: kind for kind in ListKind}
_TREATMENTS: Final = {action.value: action for action in Treatment}


class Row(NamedTuple):
    """An entry of a file."""

    line: int
    identity: str  #: its own, else the file's name and line
    entry: ListEntry


class FileFault(NamedTuple):
    """What is wrong, and on which line."""

    line: int
    sentence: str


class ListReading(NamedTuple):
    """The lists of a file, or what keeps them from being any."""

    lists: Lists | None
    faults: Sequence[FileFault]
    entries: int
    expired: int
    repeated: int  #: lines that say what an earlier one said


def read_lists(lines: Iterable[str], name: str, *, now_s: float) -> ListReading:
    r"""Return the lists in a file's lines; `name` goes before the line in ids. Expired entries are counted, not held.

    >>> read_lists(["kind,value,action\n", "sender,10690001,allow\n"], "x", now_s=0).faults[0].line
    2
    """
    builder, numbers = ListBuilder(), array("L")
    faults: list[FileFault] = []
    entries = expired = 0
    for found in rows_in(lines, name):
        if isinstance(found, Row):
            before = len(builder)
            try:
                if 0 < expires_s(found.entry) <= now_s:
                    expired += 1
                    continue
                builder.add(found.identity, found.entry)
            except Fault as fault:
                found = FileFault(found.line, str(fault))
            except ValueError:
                found = FileFault(found.line, "expires is no date; write 2026-12-31")
            else:
                entries += 1
                numbers.extend([found.line] * (len(builder) - before))
                continue
        faults.append(found)
        if len(faults) >= MAX_FAULTS:
            faults.append(FileFault(found.line, f"there are more than {MAX_FAULTS} faults; is this the right file?"))
            break
    repeated = 0
    for one, other, alike in builder.same_keys():
        repeated += alike
        if not alike and len(faults) < MAX_FAULTS:
            said = f"line {numbers[one]} says the contrary of the same thing; keep one of both"
            faults.append(FileFault(numbers[other], said))
    for one, other in builder.same_ids()[: MAX_FAULTS - len(faults)]:
        faults.append(FileFault(numbers[other], f"line {numbers[one]} has the same id; leave it out, or write another"))
    if not faults:
        try:
            return ListReading(builder.build(), (), entries, expired, repeated)
        except Fault as fault:
            faults.append(FileFault(0, str(fault)))
    return ListReading(None, sorted(faults), entries, expired, repeated)


def rows_in(lines: Iterable[str], name: str) -> Iterator[Row | FileFault]:
    """Yield the entries of a file, and what is no entry."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:24] or "list"
    reader = csv.reader(("\n" if line.startswith("#") else line for line in lines), strict=True)
    columns: list[str] | None = None
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield FileFault(reader.line_num, f"this is no CSV ({error}); quotes stand around a whole field")
            return
        if not any(field.strip() for field in fields):
            continue
        if columns is None:
            columns = [field.strip().lstrip("\ufeff").lower() for field in fields]
            if wrong := _head_fault(columns):
                yield FileFault(reader.line_num, wrong)
                return
            continue
        yield _row(fields, columns, reader.line_num, stem)
    if columns is None:
        yield FileFault(1, f"the file is empty; the first line names the columns: {','.join(COLUMNS[1:])}")


def _head_fault(columns: Sequence[str]) -> str | None:
    for column in columns:
        if column not in COLUMNS:
            close = difflib.get_close_matches(column, COLUMNS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            return f"the first line names the columns, of {', '.join(COLUMNS)}; one of them is none of these{hint}"
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        return f"the first line names no column {' and '.join(missing)}"
    return "a column is named twice" if len(set(columns)) != len(columns) else None


def _row(fields: Sequence[str], columns: Sequence[str], line: int, stem: str) -> Row | FileFault:
    if len(fields) > len(columns) and any(field.strip() for field in fields[len(columns) :]):
        return FileFault(line, f"there are {len(fields)} fields for {len(columns)} columns; put quotes around commas")
    given = dict(zip(columns, map(str.strip, fields), strict=False))
    whole = "".join(fields)  # a million lines: what holds for all of one holds for each of its fields
    if len(whole) > MAX_FIELD_CHARS or not whole.isprintable():
        for column, value in given.items():
            if len(value) > MAX_FIELD_CHARS or not value.isprintable():
                return FileFault(line, f"{column} is too long, or holds a character that cannot be printed")
    said = given.get
    kind = _KINDS.get(said("kind", ""))
    if kind is None:
        return FileFault(line, _choice("kind", said("kind", ""), list(ListKind)))
    action = _TREATMENTS.get(said("action", ""))
    if action is None:
        return FileFault(line, _choice("action", said("action", ""), list(Treatment)))
    entry = ListEntry(
        kind=kind,
        value=said("value", ""),
        action=action,
        tenant=said("tenant", ""),
        owner=said("owner", ""),
        reason=said("reason", ""),
        created=said("created", ""),
        expires=said("expires", ""),
    )
    return Row(line, said("id") or f"{stem}:{line}", entry)


def _choice(column: str, given: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(given[:50], choices, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{column} is none of {', '.join(choices)}{hint}"
