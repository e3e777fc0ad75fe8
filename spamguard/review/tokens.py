"""Which systems of a call centre may open cases and ask after them? Those with a token, of which a hash is kept."""

import hashlib
import secrets
from typing import Final, NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.access import demand_management, name_of
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.tables import api_tokens
from spamguard.review.values import Person, Role

MAX_LABEL_CHARS: Final = 50


class Token(NamedTuple):
    """What is known of a token, which itself is nowhere."""

    label: str
    role: Role
    created_ms: int
    used_ms: int | None


class Tokens:
    """The tokens of a database."""

    def __init__(self, database: Database, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def add(self, label: str, role: Role = Role.AGENT, *, by: Person | None = None) -> str:
        """Return a new token for a system, shown this once. Raises Conflict."""
        demand_management(by)
        label = label.strip()[:MAX_LABEL_CHARS]
        if not label or role is Role.ADMIN:
            raise ReviewInvalid(detail="a token needs a name, and is never an administrator's", key="token.name")
        token = "sgr_" + secrets.token_urlsafe(32)
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(api_tokens).values(
                        label=label, token_hash=hashed(token), role=Role(role), created_ms=self._now()
                    )
                )
                self._audit.write(connection, name_of(by), "token.add", label, role=str(role))
        except IntegrityError:
            raise Conflict(
                detail=f"there is a token {label} already; revoke it first", key="token.there", label=label
            ) from None
        return token

    def person(self, token: str) -> Person | None:
        """Return who a token stands for."""
        query = select(api_tokens).where(api_tokens.c.token_hash == hashed(token[:100]))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        now = self._now()
        if row.used_ms is None or now - row.used_ms > 60_000:
            with self._database.write() as connection:
                connection.execute(update(api_tokens).where(api_tokens.c.label == row.label).values(used_ms=now))
        return Person(id=0, name=f"api:{row.label}", role=Role(row.role))

    def all(self, *, by: Person | None = None) -> tuple[Token, ...]:
        """Return what is known of every token."""
        demand_management(by)
        with self._database.read() as connection:
            rows = connection.execute(select(api_tokens).order_by(api_tokens.c.label))
            return tuple(Token(row.label, Role(row.role), row.created_ms, row.used_ms) for row in rows)

    def revoke(self, label: str, *, by: Person | None = None) -> None:
        """End a token. Raises NotThere."""
        demand_management(by)
        with self._database.write() as connection:
            if not connection.execute(delete(api_tokens).where(api_tokens.c.label == label)).rowcount:
                raise NotThere(what="token")
            self._audit.write(connection, name_of(by), "token.revoke", label)

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def hashed(token: str) -> str:
    """Return the hash by which a token, or a session's, is kept."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
