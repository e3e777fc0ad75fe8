"""Who may ask over HTTP: what is a key, and what is kept of it?

A key is `sg_<id>_<secret>`: a public id to find it by, and 256 random bits. Kept is the secret's SHA-256, which is
enough for what nobody could guess: slow password hashes protect guessable secrets, and would cost every request.
"""

import hashlib
import hmac
from typing import Final, NamedTuple

import msgspec

PREFIX: Final = "sg"
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key; never the key."""

    id: str  #: the public part, in hexadecimal figures
    name: str  #: what it is for, as the operator called it
    digest: str  #: SHA-256 of the secret, in hexadecimal figures
    tenants: tuple[str, ...] = ()  #: it speaks for these; the first is meant where a message names none; empty: all
    accounts: tuple[str, ...] = ()  #: it speaks for these; a single one is meant where a message names none
    any_account: bool = False  #: its holder authenticates accounts itself, so whatever it states is believed
    messages_per_s: float = 1000.0  #: its limit; a burst of one second's worth is let through
    created: str = ""  #: RFC 3339, UTC
    who: str = ""  #: who made it
    revoked: str = ""  #: when it was revoked, RFC 3339, UTC


class NewKey(NamedTuple):
    """A key at its birth, the only moment it is seen."""

    key: str
    id: str
    digest: str


def new_key(randomness: bytes) -> NewKey:
    """Return a key made of 38 random bytes.

    >>> new_key(bytes(38)).key[:20]
    'sg_000000000000_0000'
    """
    identity, secret = randomness[:ID_BYTES].hex(), randomness[ID_BYTES : ID_BYTES + SECRET_BYTES].hex()
    return NewKey(f"{PREFIX}_{identity}_{secret}", identity, digest_of(secret))


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def holder_of(presented: str, keys: dict[str, ApiKey]) -> ApiKey | None:
    """Return whose key this is, among those by id; None for a wrong or revoked one."""
    prefix, _, rest = presented.partition("_")
    identity, _, secret = rest.partition("_")
    kept = keys.get(identity)
    right = hmac.compare_digest(digest_of(secret), kept.digest if kept else "0" * 64)
    return kept if right and kept and prefix == PREFIX and not kept.revoked else None
