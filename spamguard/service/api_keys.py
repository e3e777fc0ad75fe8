"""How are the keys of the HTTP gateway made, looked up and revoked?"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from spamguard.backends.key_file import KeyFile
from spamguard.config import Settings
from spamguard.core.keys import ID_BYTES, SECRET_BYTES, ApiKey, new_key
from spamguard.errors import DataError


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def list_keys(settings: Settings) -> list[ApiKey]:
    """Return all keys, revoked ones too. Raises ConfigError."""
    return KeyFile(settings.gateway_keys).read()


def add_key(
    settings: Settings,
    name: str,
    *,
    tenants: Sequence[str],
    accounts: Sequence[str] = (),
    any_account: bool = False,
    messages_per_s: float,
    who: str,
) -> tuple[str, ApiKey]:
    """Make a key and return it, the only time it is seen, with what is kept of it. Raises ConfigError."""
    file = KeyFile(settings.gateway_keys)
    made = new_key(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
    kept = ApiKey(
        id=made.id,
        name=name,
        digest=made.digest,
        tenants=tuple(tenants),
        accounts=tuple(accounts),
        any_account=any_account,
        messages_per_s=messages_per_s,
        created=_now(),
        who=who,
    )
    file.write([*file.read(), kept])
    return made.key, kept


def revoke_key(settings: Settings, identity: str) -> ApiKey:
    """Revoke a key by its id; gateways refuse it within a second. Raises ConfigError, and DataError for no such key."""
    file = KeyFile(settings.gateway_keys)
    keys = file.read()
    found = next((key for key in keys if key.id == identity), None)
    if found is None:
        raise DataError(detail=f"no key has the id {identity}; `spamguard gateway keys list` shows them")
    if not found.revoked:
        found = msgspec.structs.replace(found, revoked=_now())
        file.write([found if key.id == identity else key for key in keys])
    return found
