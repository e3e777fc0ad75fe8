"""Who wants no more from whom, known without keeping a number?

A subscriber answers a sender with R, T, TD, N, 退订 or STOP. That pair is remembered as a keyed hash (BLAKE2b), from
which nobody without the key can tell the numbers; its key's version stands before it, so that a key can be changed.
Ten million mutes are a sorted array of 64-bit hashes: 80 MB, and a small set of what changed since.
"""

import base64
import binascii
import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from spamguard.core import things
from spamguard.types import Message

#: What a whole answer is, after normalising; anything more is a message.
ANSWERS: Final = frozenset(("r", "t", "td", "n", "退订", "stop", "unsubscribe"))
#: The name under which such an answer is guarded.
GUARD: Final = "opt_out"
MAX_ANSWER_CHARS: Final = 16
#: What every commercial message has to say, and nothing else does: how to be rid of it.
NOTICE: Final = re.compile(
    r"退订|拒收|回复?[a-z]{1,2}退|unsubscribe|opt[ -]?out|(?:reply|text|txt|send) (?:stop|t|n|td)(?![a-z])"
)
_AROUND: Final = " .,;:!?'\"()[]-"
_MUTE: Final = re.compile(rb"[A-Za-z0-9_-]{1,16}\.([0-9a-f]{32})")
MIN_KEY_BYTES: Final = 16
#: More changes than these, and than a sixteenth of the array, are worked into it.
MAX_DELTA: Final = 20_000


def is_answer(message: Message, normalised: str) -> bool:
    """Return whether a message is somebody's wish to be left alone.

    >>> is_answer(Message(message_id="m", direction="MO"), "td.")
    True
    """
    if message.direction != "MO" or len(normalised) > MAX_ANSWER_CHARS:
        return False
    return "".join(normalised.strip(_AROUND).split()) in ANSWERS


class MuteKey(NamedTuple):
    """A secret with its version."""

    version: str
    secret: bytes


def read_keys(text: str) -> tuple[MuteKey, ...]:
    """Return the keys of a file, the newest first: lines of VERSION:BASE64. Raises ValueError, never with a secret.

    >>> read_keys("k1:MDEyMzQ1Njc4OWFiY2RlZg==")[0].version
    'k1'
    """
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        version, _, secret = line.strip().partition(":")
        try:
            key = base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,16}", version) or not MIN_KEY_BYTES <= len(key) <= 64:
            raise ValueError(f"line {number} is no key; write VERSION:BASE64 of {MIN_KEY_BYTES} to 64 random bytes")
        keys.append(MuteKey(version, key))
    if not keys or len({key.version for key in keys}) != len(keys):
        raise ValueError("there is no key in it, or two of one version")
    return tuple(keys)


def mute_of(key: MuteKey, subscriber: str, *, sender: str = "", signature: str = "") -> str:
    """Return the mute of a subscriber for a sender, or for a signature, as the opt-out topic's key has it."""
    what = f"signature\0{things.signature(signature)}" if signature else f"sender\0{things.sender(sender)}"
    hashed = hashlib.blake2b(
        f"{things.sender(subscriber)}\0{what}".encode("utf-8", "replace"), key=key.secret, digest_size=16
    )
    return f"{key.version}.{hashed.hexdigest()}"


def _short(mute: bytes) -> int | None:
    found = _MUTE.fullmatch(mute)
    return None if found is None else int(found.group(1)[:16], 16)


class Mutes:
    """Every mute at one moment; a change is another value."""

    def __init__(
        self,
        keys: Sequence[MuteKey] = (),
        held: memoryview | None = None,
        added: frozenset[int] = frozenset(),
        removed: frozenset[int] = frozenset(),
    ) -> None:
        self.keys = tuple(keys)
        self._held = np.zeros(0, dtype=np.uint64).data if held is None else held
        self._added = added
        self._removed = removed

    def __len__(self) -> int:
        """Return about how many there are: exactly, but for removals of what was never there."""
        return len(self._held) + len(self._added) - len(self._removed)

    def changed(self, changes: Iterable[tuple[bytes, bool]]) -> "Mutes":
        """Return the mutes after changes: a record's key, and whether it mutes. What is no mute is left out."""
        added, removed = set(self._added), set(self._removed)
        for mute, muted in changes:
            short = _short(mute)
            if short is None:
                continue
            added.discard(short)
            removed.discard(short)
            if muted != self._has(short):
                (added if muted else removed).add(short)
        found = Mutes(self.keys, self._held, frozenset(added), frozenset(removed))
        room = max(MAX_DELTA, len(self._held) // 16)  # so that reading ten million sorts some dozen times
        return found if len(added) + len(removed) <= room else found.settled()

    def settled(self) -> "Mutes":
        """Return the same with all changes worked into the array."""
        held = np.frombuffer(self._held, dtype=np.uint64)
        if self._removed:
            held = held[~np.isin(held, np.array(sorted(self._removed), dtype=np.uint64))]
        joined = np.sort(np.concatenate([held, np.fromiter(self._added, dtype=np.uint64, count=len(self._added))]))
        return Mutes(self.keys, joined.data)

    def _has(self, short: int) -> bool:
        place = bisect_left(self._held, short)
        return place < len(self._held) and self._held[place] == short

    def mutes(self, message: Message, signatures: Sequence[str]) -> bool:
        """Return whether a message's recipient wants no more from its sender, or under its signature."""
        if not self or not message.recipient or message.direction == "MO":
            return False
        for key in self.keys:
            mutes = [mute_of(key, message.recipient, sender=message.sender)] if message.sender else []
            mutes += [mute_of(key, message.recipient, signature=signature) for signature in signatures]
            for mute in mutes:
                short = int(mute.rpartition(".")[2][:16], 16)
                if short in self._added or (short not in self._removed and self._has(short)):
                    return True
        return False


NO_MUTES: Final = Mutes()
