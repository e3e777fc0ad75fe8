"""Was this model released by somebody whose key we trust?

A manifest names the digest of every file of its model, so one Ed25519 signature over the manifest vouches for all of
them. It lies beside the manifest as `manifest.sig`, a small JSON object. Keys are raw 32 bytes in base64, one line:
the secret one in a file that only its owner may read, the public one wherever models are loaded.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from spamguard.errors import ConfigError, DataError, ModelRejected

if TYPE_CHECKING:  # the library takes a tenth of a second to load, and most commands sign nothing
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE: Final = "manifest.sig"
#: Stands before what is signed, so that a signature of ours means a manifest and nothing else.
_PURPOSE: Final = b"spamguard model manifest, version 1\n"
_KEY_BYTES: Final = 32

#: Public keys, each of which may have signed; without any, nothing needs a signature.
Keys = Sequence[bytes]
NO_KEYS: Final[Keys] = ()


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `manifest.sig`."""

    algorithm: Literal["ed25519"] = "ed25519"
    key: str  #: which key signed: first 16 hexadecimal digits of the SHA-256 of the public key
    signature: str  #: base64


class KeyPair(NamedTuple):
    """A new pair of keys, as their files hold them."""

    secret: str
    public: str


def key_name(public: bytes) -> str:
    """Return the short name of a public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def new_keys() -> KeyPair:
    """Return a new pair of keys."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.generate()
    return KeyPair(_text(secret.private_bytes_raw()), _text(secret.public_key().public_bytes_raw()))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def write_keys(path: Path, pair: KeyPair) -> Path:
    """Write the secret key to `path`, for its owner alone, the public one beside it; return the latter's path.

    Raises DataError; a key that is there already is never written over.
    """
    public = path.with_name(f"{path.name}.pub")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, text, mode in ((path, pair.secret, 0o600), (public, pair.public, 0o644)):
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(f"{text}\n")
    except FileExistsError as error:
        raise DataError(detail=f"{error.filename} exists already and is not written over; name another file") from None
    except OSError as error:
        raise DataError(detail=f"{path} cannot be written ({error.strerror}); name another file") from None
    return public


def read_public(stated: str) -> list[bytes]:
    """Return the public keys that a setting states: base64, or files of it, comma-separated. Raises ConfigError."""
    keys = []
    for part in filter(None, map(str.strip, stated.split(","))):
        found = _raw(part)
        if found is None:
            try:
                found = _raw(Path(part).read_text(encoding="ascii"))
            except (OSError, ValueError):
                found = None
        if found is None:
            detail = (
                "model_key names no public key; it is the line that `spamguard models keygen` prints, or the "
                "file ending in .pub that holds it"
            )
            raise ConfigError(detail=detail)
        keys.append(found)
    return keys


def _raw(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == _KEY_BYTES else None


def read_secret(path: Path) -> "Ed25519PrivateKey":
    """Return a secret key. Raises DataError, which never quotes it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        raw = _raw(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise DataError(detail=f"{path} cannot be read as a key ({type(error).__name__})") from None
    if raw is None:
        raise DataError(detail=f"{path} holds no secret key; `spamguard models keygen` makes one")
    return Ed25519PrivateKey.from_private_bytes(raw)


def sign(folder: Path, manifest: bytes, secret: "Ed25519PrivateKey") -> Signature:
    """Write the signature of a folder's manifest, in one step; an older one is replaced. Raises DataError."""
    public = secret.public_key().public_bytes_raw()
    signature = Signature(key=key_name(public), signature=_text(secret.sign(_PURPOSE + manifest)))
    draft = folder / f".{SIGNATURE}.{os.getpid()}"
    try:
        draft.write_bytes(msgspec.json.encode(signature) + b"\n")
        draft.replace(folder / SIGNATURE)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DataError(
            detail=f"{folder} cannot be written ({error.strerror}); sign where the model was made"
        ) from None
    return signature


def require(folder: Path, manifest: bytes, keys: Keys) -> str | None:
    """Return the name of the key that signed a manifest; None when no key is asked for. Raises ModelRejected."""
    if not keys:
        return None
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        found = msgspec.json.decode((folder / SIGNATURE).read_bytes(), type=Signature)
        signature = base64.b64decode(found.signature, validate=True)
    except FileNotFoundError:
        detail = "it is not signed, and model_key (SPAMGUARD_MODEL_KEY) asks for that; `spamguard models sign` signs it"
        raise ModelRejected(path=folder, detail=detail) from None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ModelRejected(path=folder, detail=f"{SIGNATURE} cannot be read ({type(error).__name__})") from None
    for key in keys:
        if key_name(key) != found.key:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, _PURPOSE + manifest)
        except InvalidSignature:
            raise ModelRejected(
                path=folder, detail="its signature is of another manifest: the model was changed after it was signed"
            ) from None
        return found.key
    known = ", ".join(map(key_name, keys))
    detail = f"it was signed by the key {printable_name(found.key)}, and model_key trusts {known}"
    raise ModelRejected(path=folder, detail=detail)


def printable_name(stated: str) -> str:
    """Return the name of a key as a stranger's file states it, cut to what a name can be."""
    return "".join(char for char in stated[:16] if char in "0123456789abcdef") or "(no name)"
