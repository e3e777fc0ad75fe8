"""How can a blocked message be released, though nobody who reads the database learns whom it was for?

What names a person is encrypted (AES-256-GCM, bound to the row it belongs to) under a key that is not in the database,
and found by a keyed hash (HMAC-SHA-256). Keys have versions: the newest one encrypts, every one decrypts and finds.
A key file holds a line a key, `version:64 hexadecimal digits`; `spamguard review` makes one when there is none.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spamguard.errors import DatabaseUnfit

_NONCE_BYTES: Final = 12
_LINE: Final = re.compile(r"(\d{1,4}):([0-9a-fA-F]{64})")
_PREFIX: Final = re.compile(r"^(?:\+|00)?86(?=1[3-9]\d{9}$)")


class Vault:
    """Encrypts, decrypts and hashes what names a person.

    >>> vault = Vault({1: bytes(32)})
    >>> vault.open(vault.seal("+8613900001234", "d-1"), "d-1")
    '+8613900001234'
    >>> vault.lookup("+86 139 0000 1234") == vault.lookup("13900001234")
    True
    """

    def __init__(self, keys: dict[int, bytes]) -> None:
        if not keys:
            raise DatabaseUnfit(detail="its key file holds no key")
        self._sealing = {version: AESGCM(_derived(key, b"seal")) for version, key in keys.items()}
        self._finding = {version: _derived(key, b"find") for version, key in keys.items()}
        self.newest = max(keys)

    def seal(self, value: str, place: str) -> bytes:
        """Return a value encrypted; `place` names the row, and only there it can be decrypted."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._sealing[self.newest].encrypt(nonce, value.encode(errors="surrogatepass"), place.encode())
        return self.newest.to_bytes(2, "big") + nonce + sealed

    def open(self, sealed: bytes, place: str) -> str:
        """Return what was encrypted. Raises DatabaseUnfit when the key is missing or the row was tampered with."""
        version, nonce, body = int.from_bytes(sealed[:2], "big"), sealed[2:14], sealed[14:]
        if version not in self._sealing:
            raise DatabaseUnfit(detail=f"version {version} of its key is missing from the key file")
        try:
            return self._sealing[version].decrypt(nonce, body, place.encode()).decode(errors="surrogatepass")
        except InvalidTag:
            raise DatabaseUnfit(
                detail="an encrypted number is not what was stored, or the key is another one"
            ) from None

    def lookup(self, number: str) -> str:
        """Return the hash by which a number is stored; an empty one has an empty hash."""
        return self._hash(self.newest, number) if number else ""

    def lookups(self, number: str) -> Sequence[str]:
        """Return every hash by which a number may have been stored, newest key first."""
        return [self._hash(version, number) for version in sorted(self._finding, reverse=True)] if number else []

    def secret_hash(self, value: str) -> str:
        """Return a keyed hash of something that is only ever compared, such as where a login came from."""
        return hmac.new(self._finding[self.newest], b"secret|" + value.encode(), hashlib.sha256).hexdigest()[:40]

    def _hash(self, version: int, number: str) -> str:
        mac = hmac.new(self._finding[version], canonical(number).encode(errors="surrogatepass"), hashlib.sha256)
        return f"{version}:{mac.hexdigest()}"


def canonical(number: str) -> str:
    """Return the one writing of a number or of a sender's name.

    >>> canonical("+86 139-0000-1234"), canonical(" ALERT")
    ('13900001234', 'alert')
    """
    bare = re.sub(r"[\s\-().]", "", number)
    return _PREFIX.sub("", bare).removeprefix("+") if re.fullmatch(r"\+?\d+", bare) else number.strip().casefold()


def masked(number: str) -> str:
    """Return what is shown of a number; a short code and a sender's name are nobody's private number.

    >>> masked("+8613900001234"), masked("10690000"), masked("ALERT")
    ('+8613*******34', '10690000', 'ALERT')
    """
    figures = sum(char.isdigit() for char in number)
    if figures < 9 or number.lstrip("+").startswith(("106", "955", "100")):
        return number[:32]
    head = 5 if number.startswith("+") else 3
    return number[:head] + "*" * max(1, len(number) - head - 2) + number[-2:] if len(number) <= 40 else "*" * 10


def read_keys(path: Path, *, create: bool) -> Vault:
    """Return the vault of a key file, which is made where there is none and `create` says so. Raises DatabaseUnfit."""
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"1:{secrets.token_hex(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was faster: its key it is
        finally:
            draft.unlink()
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError):
        raise DatabaseUnfit(detail=f"its key file {path} cannot be read") from None
    if path.stat().st_mode & 0o077:
        raise DatabaseUnfit(detail=f"others may read its key file {path}; chmod 600 it")
    found = [_LINE.fullmatch(line) for line in lines if line and not line.startswith("#")]
    if not all(found):
        raise DatabaseUnfit(detail=f"its key file {path} has a line that is not version:64 hexadecimal digits")
    return Vault({int(match.group(1)): bytes.fromhex(match.group(2)) for match in found if match})


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, b"spamguard review " + purpose, hashlib.sha256).digest()
