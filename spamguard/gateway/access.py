"""Who may ask, for which tenants and accounts, and how much?

Keys are 256 random bits, so guessing is hopeless; what is limited is the work and the noise of trying. An address from
which ten wrong keys came within a minute is refused unread until the minute is over, unless a right key came from it
lately: behind one proxy, somebody's mistakes must not lock the others out.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from spamguard.core.keys import ApiKey, holder_of
from spamguard.interfaces import Clock
from spamguard.types import DefectiveMessage, Message

MOST_GUESSES: Final = 10
GUESSES_FORGOTTEN_S: Final = 60.0
#: How long a right key speaks for its address.
TRUSTED_S: Final = 600.0
#: Addresses remembered; the longest unseen goes first.
MOST_ADDRESSES: Final = 10_000


class Refused(Exception):
    """A request that is not let in; `kind` names the problem."""

    def __init__(
        self, kind: str, *, detail: str = "", places: tuple[int, ...] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail
        self.places = places
        self.retry_after_s = retry_after_s


class _Bucket:
    """Counts messages against a limit; a list may overdraw it, and is paid off before the next."""

    def __init__(self, per_s: float, now_s: float) -> None:
        self.per_s = per_s
        self._left = max(1.0, per_s)
        self._at_s = now_s

    def take(self, number: int, now_s: float) -> float:
        """Return 0 when there is room, else how many seconds to wait."""
        self._left = min(max(1.0, self.per_s), self._left + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return (1.0 - self._left) / self.per_s
        self._left -= number
        return 0.0


class _Address:
    def __init__(self) -> None:
        self.guesses: list[float] = []
        self.trusted_until_s = 0.0


class Access:
    """The keys of the moment, their limits, and the addresses that guess."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def let_in(self, keys: Iterable[ApiKey]) -> None:
        """Take these keys in place of all others; the limit of one that stays goes on where it is."""
        self._keys = {key.id: key for key in keys if not key.revoked}
        self._buckets = {
            name: bucket
            for name, bucket in self._buckets.items()
            if name in self._keys and bucket.per_s == self._keys[name].messages_per_s
        }

    @property
    def open_keys(self) -> int:
        """Return how many keys there are that are not revoked."""
        return len(self._keys)

    def holder(self, authorization: str, address: str) -> ApiKey:
        """Return whose key a header presents. Raises Refused."""
        now_s = self._clock.monotonic()
        known = self._addresses.get(address)
        if known is not None:
            known.guesses = [at_s for at_s in known.guesses if now_s - at_s < GUESSES_FORGOTTEN_S]
            if len(known.guesses) >= MOST_GUESSES and known.trusted_until_s < now_s:
                wait_s = known.guesses[0] + GUESSES_FORGOTTEN_S - now_s
                raise Refused("too-many-guesses", retry_after_s=wait_s)
        scheme, _, presented = authorization.partition(" ")
        key = holder_of(presented.strip(), self._keys) if scheme.lower() == "bearer" and presented.isascii() else None
        if key is None:
            if authorization:
                self._remember(address).guesses.append(now_s)
                del self._remember(address).guesses[:-MOST_GUESSES]
            raise Refused("no-key")
        self._remember(address).trusted_until_s = now_s + TRUSTED_S
        return key

    def _remember(self, address: str) -> _Address:
        found = self._addresses.setdefault(address, _Address())
        self._addresses.move_to_end(address)
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        return found

    def take(self, key: ApiKey, number: int) -> None:
        """Count messages against a key's limit. Raises Refused."""
        now_s = self._clock.monotonic()
        bucket = self._buckets.setdefault(key.id, _Bucket(key.messages_per_s, now_s))
        wait_s = bucket.take(number, now_s)
        if wait_s > 0:
            detail = f"The limit is {key.messages_per_s:g} messages a second."
            raise Refused("too-fast", detail=detail, retry_after_s=wait_s)


def in_tenancy(messages: list[Message], key: ApiKey) -> list[Message]:
    """Return the messages with the tenant they belong to. Raises Refused when the key does not speak for one.

    >>> key = ApiKey(id="1", name="n", digest="", tenants=("acme",))
    >>> in_tenancy([Message(message_id="m")], key)[0].tenant
    'acme'
    """
    if not key.tenants:
        return messages
    wrong = [place for place, one in enumerate(messages) if one.tenant and one.tenant not in key.tenants]
    if wrong:
        detail = "Leave the tenant out, or use that tenant's key. Nothing was judged."
        raise Refused("other-tenant", detail=detail, places=tuple(wrong[:100]))
    return [one if one.tenant else msgspec.structs.replace(one, tenant=key.tenants[0]) for one in messages]


def of_accounts(messages: list[Message], key: ApiKey) -> list[Message]:
    """Return the messages with the account the key vouches for. Raises Refused when it names accounts, and not one.

    An entry of a list may allow an account together with a sender, so an account is worth what its key is. A key
    without accounts vouches for none: what is stated is set aside and named among the defects, and the message judged.

    >>> key = ApiKey(id="1", name="n", digest="", accounts=("acme-codes",))
    >>> of_accounts([Message(message_id="m")], key)[0].account
    'acme-codes'
    """
    if key.any_account:
        return messages
    if not key.accounts:
        return [_without_account(one) if one.account else one for one in messages]
    wrong = [place for place, one in enumerate(messages) if one.account and one.account not in key.accounts]
    if wrong:
        detail = "Leave the account out, or use a key made with --account for it. Nothing was judged."
        raise Refused("other-account", detail=detail, places=tuple(wrong[:100]))
    meant = key.accounts[0] if len(key.accounts) == 1 else None
    return [one if one.account else msgspec.structs.replace(one, account=meant) for one in messages]


def _without_account(message: Message) -> DefectiveMessage:
    before = message.defects if isinstance(message, DefectiveMessage) else ()
    fields = msgspec.structs.asdict(message) | {"account": None, "defects": tuple(sorted({*before, "account"}))}
    return DefectiveMessage(**fields)
