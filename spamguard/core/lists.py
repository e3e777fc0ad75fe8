"""What do the operators' lists say of a message, fast with a million entries?

An entry is found by a hash of its kind, tenant and canonical value: sorted arrays of 64-bit hashes behind a bitmap,
about forty bytes an entry, and a small dictionary of what changed since they were built. The hash is Python's own,
keyed anew in every process, so nobody can prepare two values that meet. Patterns are one RE2 set.

Allow wins over block, block over review. An entry without a tenant holds for every tenant's messages, unless it allows:
then for those without a tenant alone, since another tenant may have an account of the same name.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard.core import things
from spamguard.core.entries import Fault, Key, canonical_pattern, check_id, expires_s, hash_of, key_of, re2_options
from spamguard.core.things import NOTHING, Things
from spamguard.types import ListEntry, ListKind, Message, Treatment

MAX_PATTERNS: Final = 1000
#: More changes than these since the arrays were built are worked into them.
MAX_DELTA: Final = 4096
#: The bitmap has this many bits an entry: one look-up in sixteen of what is on no list goes on to the arrays.
BITS_AN_ENTRY: Final = 16
_RANK: Final = {Treatment.ALLOW: 0, Treatment.BLOCK: 1, Treatment.REVIEW: 2}
_TREATMENTS: Final = tuple(_RANK)
#: In a builder: the id was taken away.
_REMOVED: Final = 255


class Hit(NamedTuple):
    """An entry that matches."""

    treatment: Treatment
    entry: str  #: its id
    expires_s: int


class Patterns:
    """The patterns of all lists, searched for at once."""

    def __init__(self, entries: Mapping[str, ListEntry]) -> None:
        """Raises Fault when there are too many, or RE2 would need too much memory."""
        import re2

        if len(entries) > MAX_PATTERNS:
            raise Fault(
                f"there are more than {MAX_PATTERNS:,} patterns; hosts, contacts and signatures have kinds of their own"
            )
        self.entries = dict(entries)
        self._hits = [
            (entry.tenant, Hit(entry.action, identity, expires_s(entry))) for identity, entry in entries.items()
        ]
        self._set = re2.Set.SearchSet(re2_options())
        for entry in entries.values():
            self._set.Add(canonical_pattern(entry.value))
        try:
            self._set.Compile()
        except re2.error:
            raise Fault("the patterns together are more than RE2 may hold; write fewer, or simpler ones") from None

    def hits(self, text: str, tenant: str) -> Iterator[Hit]:
        """Yield the entries whose pattern is in a normalised text."""
        for index in self._set.Match(text) or ():
            whose, hit = self._hits[index]
            if whose in ("", tenant):
                yield hit


class _Table(NamedTuple):
    """Entries in arrays, in the order of their keys' hashes."""

    hashes: memoryview  #: uint64, sorted
    expires: memoryview  #: uint32, seconds since the epoch; 0 is never
    treatments: bytes  #: places in `_TREATMENTS`
    ids: NDArray[np.bytes_]
    by_id: NDArray[np.uint32]  #: places in the order of ids
    bits: bytes
    mask: int

    def place(self, hashed: int) -> int | None:
        """Return where a hash stands."""
        if not self.bits[(hashed & self.mask) >> 3] >> (hashed & 7) & 1:
            return None
        place = bisect_left(self.hashes, hashed)
        return place if place < len(self.hashes) and self.hashes[place] == hashed else None

    def hit(self, place: int) -> Hit:
        """Return the entry at a place."""
        identity = self.ids[place].decode("ascii")
        return Hit(_TREATMENTS[self.treatments[place]], identity, self.expires[place])

    def place_of_id(self, identity: str) -> int | None:
        """Return where the entry of an id stands."""
        wanted = identity.encode("ascii", "replace")
        low, high = 0, len(self.by_id)
        while low < high:
            middle = (low + high) // 2
            if self.ids[self.by_id[middle]] < wanted:
                low = middle + 1
            else:
                high = middle
        if low < len(self.by_id) and self.ids[self.by_id[low]] == wanted:
            return int(self.by_id[low])
        return None


def _table(
    hashes: NDArray[np.uint64], expires: NDArray[np.uint32], treatments: NDArray[np.uint8], ids: NDArray[np.bytes_]
) -> _Table:
    order = np.argsort(hashes, kind="stable")
    hashes, ids = hashes[order], ids[order]
    size = max(1 << 10, 1 << int(len(hashes) * BITS_AN_ENTRY - 1).bit_length()) if len(hashes) else 1 << 10
    bits = np.zeros(size, dtype=np.uint8)
    bits[hashes & np.uint64(size - 1)] = 1
    return _Table(
        np.ascontiguousarray(hashes).data,
        np.ascontiguousarray(expires[order]).data,
        treatments[order].tobytes(),
        ids,
        np.argsort(ids, kind="stable").astype(np.uint32),
        np.packbits(bits, bitorder="little").tobytes(),
        size - 1,
    )


class Shape(NamedTuple):
    """Which look-ups can find anything at all; it only grows until the arrays are built anew."""

    kinds: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    prefix_lengths: frozenset[int] = frozenset()

    def with_key(self, key: Key) -> "Shape":
        """Return the shape with another key in it."""
        lengths = self.prefix_lengths
        if key.kind.endswith("*"):
            lengths |= {len(key.value.rpartition("/")[2])}
        return Shape(self.kinds | {key.kind}, self.tenants | ({key.tenant} - {""}), lengths)


class Lists:
    """Every entry at one moment; a change is another value."""

    def __init__(
        self,
        table: _Table,
        shape: Shape,
        patterns: Patterns | None,
        delta: Mapping[int, Hit | None] | None = None,
        hidden: Mapping[int, tuple[Hit, ...]] | None = None,
    ) -> None:
        """`hidden` holds, by hash, entries over which a later one of the same key lies: they count when it goes."""
        self._table = table
        self._shape = shape
        self._patterns = patterns
        self._delta = dict(delta or {})
        self._delta_ids = {hit.entry: hashed for hashed, hit in self._delta.items() if hit is not None}
        self._hidden = dict(hidden or {})

    def __len__(self) -> int:
        """Return how many entries there are, expired ones that were there when the arrays were built left out."""
        gone = sum(self._table.place(hashed) is not None for hashed in self._delta)
        patterns = 0 if self._patterns is None else len(self._patterns.entries)
        gone -= sum(map(len, self._hidden.values()))
        return len(self._table.hashes) + sum(hit is not None for hit in self._delta.values()) - gone + patterns

    def expired(self, now_s: float) -> int:
        """Return how many of the entries no longer count."""
        ends = np.frombuffer(self._table.expires, dtype=np.uint32)
        changed = [hit for hit in self._delta.values() if hit is not None]
        return int(np.count_nonzero((ends > 0) & (ends <= now_s))) + sum(0 < hit.expires_s <= now_s for hit in changed)

    def find(self, key: Key) -> Hit | None:
        """Return the entry under a key, whether or not it has expired."""
        return self._hit(key.hash)

    def _hit(self, hashed: int) -> Hit | None:
        if self._delta and hashed in self._delta:
            return self._delta[hashed]
        place = self._table.place(hashed)
        return None if place is None else self._table.hit(place)

    def changed(self, changes: Iterable[tuple[str, ListEntry | None]]) -> tuple["Lists", dict[int, Fault]]:
        """Return the lists after changes, in order, and what was left out, by its place; None takes an id away."""
        delta, shape, faults = _Delta(self._table, self._delta, self._delta_ids, self._hidden), self._shape, {}
        patterns = {} if self._patterns is None else dict(self._patterns.entries)
        before = dict(patterns)
        for place, (identity, entry) in enumerate(changes):
            try:
                check_id(identity)
                key = None if entry is None else key_of(entry)
            except Fault as fault:
                faults[place] = fault
                continue
            patterns.pop(identity, None)
            delta.drop(identity)
            if entry is None or key is None:
                continue
            if entry.kind is ListKind.PATTERN:
                patterns[identity] = entry
                continue
            delta.put(key.hash, Hit(entry.action, identity, expires_s(entry)))
            shape = shape.with_key(key)
        compiled = self._patterns
        if patterns != before:
            try:
                compiled = Patterns(patterns) if patterns else None
            except Fault as fault:
                faults[-1] = fault
        lists = Lists(self._table, shape, compiled, delta.hits, delta.hidden)
        return lists if len(delta.hits) <= MAX_DELTA else lists.settled(), faults

    def settled(self) -> "Lists":
        """Return the same with all changes worked into the arrays."""
        if not self._delta:
            return self
        table = self._table
        hashes = np.frombuffer(table.hashes, dtype=np.uint64)
        kept = ~np.isin(hashes, np.fromiter(self._delta, dtype=np.uint64, count=len(self._delta)))
        added = [(hashed, hit) for hashed, hit in self._delta.items() if hit is not None]
        joined = _table(
            np.concatenate([hashes[kept], np.array([hashed for hashed, _ in added], dtype=np.uint64)]),
            np.concatenate(
                [
                    np.frombuffer(table.expires, dtype=np.uint32)[kept],
                    np.array([hit.expires_s for _, hit in added], dtype=np.uint32),
                ]
            ),
            np.concatenate(
                [
                    np.frombuffer(table.treatments, dtype=np.uint8)[kept],
                    np.array([_RANK[hit.treatment] for _, hit in added], dtype=np.uint8),
                ]
            ),
            np.concatenate([table.ids[kept], np.array([hit.entry.encode() for _, hit in added], dtype=np.bytes_)])
            if added
            else table.ids[kept],
        )
        return Lists(joined, self._shape, self._patterns, hidden=self._hidden)

    def match(
        self, messages: Sequence[Message], originals: Sequence[str], normalised: Sequence[str], *, now_s: float
    ) -> dict[int, Hit]:
        """Return the entry that counts for each message that any matches, by the message's place."""
        kinds = self._shape.kinds
        if not kinds and self._patterns is None:
            return {}
        found: list[Things] | None = None
        if ListKind.HOST in kinds or ListKind.CONTACT in kinds:
            found = things.things_of(originals, normalised, contacts=ListKind.CONTACT in kinds)
        matched = {}
        for place, message in enumerate(messages):
            hits = self._hits(message, normalised[place], NOTHING if found is None else found[place])
            counting = [hit for hit in hits if not 0 < hit.expires_s <= now_s]
            if counting:
                matched[place] = min(counting, key=lambda hit: (_RANK[hit.treatment], hit.entry))
        return matched

    def _hits(self, message: Message, text: str, found: Things) -> Iterator[Hit]:
        tenant = message.tenant
        own = bool(tenant) and tenant in self._shape.tenants
        for kind, value in self._probes(message, text, found):
            hit = self._hit(hash_of(kind, "", value))
            if hit is not None and (not tenant or hit.treatment is not Treatment.ALLOW):
                yield hit
            if own and (hit := self._hit(hash_of(kind, tenant, value))) is not None:
                yield hit
        if self._patterns is not None:
            yield from self._patterns.hits(text, tenant)

    def _probes(self, message: Message, text: str, found: Things) -> Iterator[tuple[str, str]]:
        """Yield what to look up for a message."""
        kinds, lengths = self._shape.kinds, self._shape.prefix_lengths
        by_sender, by_link = _SENDERS & kinds, _LINKS & kinds
        if by_sender or by_link:
            sender = things.sender(message.sender)
            account = things.account(message.account) if by_link and message.account else None
            if by_sender and sender:
                yield "sender", sender
                for length in lengths:
                    if length <= len(sender):
                        yield "sender*", sender[:length]
            if account:
                yield "link", account
                yield "link", f"{account}/{sender}"
                for length in lengths:
                    if length <= len(sender):
                        yield "link*", f"{account}/{sender[:length]}"
        if "signature" in kinds:
            for signature in things.signatures(text):
                yield "signature", signature
        if "host" in kinds:
            for host in found.hosts:
                for above in things.host_and_parents(host):
                    yield "host", above
        if "contact" in kinds:
            for contact in found.contacts:
                yield "contact", contact


class _Delta:
    """Changes over a table while they are being made."""

    def __init__(
        self,
        table: _Table,
        hits: Mapping[int, Hit | None],
        ids: Mapping[str, int],
        hidden: Mapping[int, tuple[Hit, ...]],
    ) -> None:
        self._table = table
        self._ids = dict(ids)
        self.hits = dict(hits)
        self.hidden = dict(hidden)

    def put(self, hashed: int, hit: Hit) -> None:
        """Lay an entry over whatever has the same key; its id is nobody's."""
        if (held := self._held(hashed)) is not None:
            self._ids.pop(held.entry, None)
            self.hidden[hashed] = (*self.hidden.get(hashed, ()), held)
        self.hits[hashed] = hit
        self._ids[hit.entry] = hashed

    def drop(self, identity: str) -> None:
        """Take an id's entry away, so that the one beneath it counts again."""
        hashed = self._ids.pop(identity, None)
        if hashed is None and (place := self._table.place_of_id(identity)) is not None:
            hashed = self._table.hashes[place]
            hashed = None if hashed in self.hits else hashed
        if hashed is None:
            self._unhide(identity)
            return
        beneath = self.hidden.pop(hashed, ())
        self.hits[hashed] = beneath[-1] if beneath else None
        if beneath:
            self._ids[beneath[-1].entry] = hashed
        if len(beneath) > 1:
            self.hidden[hashed] = beneath[:-1]

    def _held(self, hashed: int) -> Hit | None:
        if hashed in self.hits:
            return self.hits[hashed]
        place = self._table.place(hashed)
        return None if place is None else self._table.hit(place)

    def _unhide(self, identity: str) -> None:
        for hashed, beneath in self.hidden.items():  # few: the command gives what matches the same the same id
            left = tuple(hit for hit in beneath if hit.entry != identity)
            if len(left) != len(beneath):
                if left:
                    self.hidden[hashed] = left
                else:
                    del self.hidden[hashed]
                return


_SENDERS: Final = frozenset(("sender", "sender*"))
_LINKS: Final = frozenset(("link", "link*"))


class ListBuilder:
    """Collects entries and builds the lists of them at once.

    Of one id the last entry is meant. Of several ids with one key the last one counts, and those beneath it when it
    goes: so whoever reads a topic from its beginning, compacted or not, knows what those know who heard every change.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._expires = array("I")
        self._treatments = bytearray()
        self._ids: list[bytes] = []
        self._shape = Shape()
        self._patterns: dict[str, ListEntry] = {}

    def __len__(self) -> int:
        """Return how many entries were added, patterns left out."""
        return len(self._hashes)

    def add(self, identity: str, entry: ListEntry) -> Key:
        """Add an entry. Raises Fault when it breaks a rule."""
        check_id(identity)
        key = key_of(entry)
        if entry.kind is ListKind.PATTERN:
            self._append(0, 0, _REMOVED, identity)  # what had the id before
            self._patterns[identity] = entry
            return key
        self._patterns.pop(identity, None)
        shape = self._shape
        if key.kind not in shape.kinds or (key.tenant and key.tenant not in shape.tenants) or key.kind.endswith("*"):
            self._shape = shape.with_key(key)
        self._append(key.hash, expires_s(entry), _RANK[entry.action], identity)
        return key

    def remove(self, identity: str) -> None:
        """Take away what was added under an id."""
        self._patterns.pop(identity, None)
        self._append(0, 0, _REMOVED, identity)

    def _append(self, hashed: int, expires: int, treatment: int, identity: str) -> None:
        self._hashes.append(hashed)
        self._expires.append(expires)
        self._treatments.append(treatment)
        self._ids.append(identity.encode("ascii", "replace"))

    def same_keys(self) -> list[tuple[int, int, bool]]:
        """Return the places of entries that share their key, by twos, and whether they want the same done."""
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        pairs = [(int(order[place]), int(order[place + 1])) for place in same]
        return [
            (one, other, self._treatments[one] == self._treatments[other])
            for one, other in pairs
            if self._treatments[other] != _REMOVED
        ]

    def same_ids(self) -> list[tuple[int, int]]:
        """Return the places of entries that share their id, by twos."""
        ids = np.array(self._ids or [b""], dtype=np.bytes_)
        order = np.argsort(ids, kind="stable")
        same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
        return [(int(order[place]), int(order[place + 1])) for place in same]

    def build(self) -> Lists:
        """Return the lists. Raises Fault when the patterns together are too much."""
        patterns = Patterns(self._patterns) if self._patterns else None
        ids = np.array(self._ids or [b""], dtype=np.bytes_)[: len(self._ids)]
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        treatments = np.frombuffer(bytes(self._treatments), dtype=np.uint8)
        kept = _last(ids)
        kept = kept[treatments[kept] != _REMOVED]
        top = kept[_last(hashes[kept])]
        hidden: dict[int, tuple[Hit, ...]] = {}
        for place in np.setdiff1d(kept, top).tolist():
            hit = Hit(_TREATMENTS[self._treatments[place]], self._ids[place].decode("ascii"), self._expires[place])
            hidden[self._hashes[place]] = (*hidden.get(self._hashes[place], ()), hit)
        expires = np.frombuffer(self._expires, dtype=np.uint32)[top]
        table = _table(hashes[top], expires, treatments[top], ids[top])
        return Lists(table, self._shape, patterns, hidden=hidden)


def _last(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the places of each value's last appearance, in order."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    _, first = np.unique(values[::-1], return_index=True)
    return np.sort(len(values) - 1 - first)


def lists_of(entries: Iterable[tuple[str, ListEntry]]) -> Lists:
    """Return the lists of some entries. Raises Fault.

    >>> lists = lists_of([("L1", ListEntry(kind=ListKind.HOST, value="evil.example", action=Treatment.BLOCK))])
    >>> lists.find(Key("host", "", "evil.example")).entry
    'L1'
    """
    builder = ListBuilder()
    for identity, entry in entries:
        builder.add(identity, entry)
    return builder.build()


NO_LISTS: Final = lists_of(())
