"""How often may somebody try what can be guessed: a password, a receipt number?

Tries are counted in the database, whatever number of processes there is, by a keyed hash of who tries.
"""

from typing import Final

from sqlalchemy import Connection, delete, insert, select

from spamguard.interfaces import Clock
from spamguard.review.database import Database
from spamguard.review.tables import attempts
from spamguard.review.vault import Vault

#: What may be tried how often: (tries, within milliseconds).
LIMITS: Final = {
    "login-name-address": (5, 900_000),
    "login-address": (30, 900_000),
    "login-name": (50, 900_000),
    "receipt": (20, 600_000),
    "password": (5, 900_000),
}


class Attempts:
    """The tries of a database."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    def allow(self, what: str, who: str) -> bool:
        """Return whether something may be tried once more, and count the try."""
        with self._database.write() as connection:
            if self.wait_s(connection, what, who) > 0:
                return False
            self.tried(connection, what, who)
        return True

    def wait_s(self, connection: Connection, what: str, who: str) -> int:
        """Return how long to wait before the next try; 0 is not at all."""
        most, within_ms = LIMITS[what]
        now = self._now()
        mine = attempts.c.what == self._hash(what, who)
        query = select(attempts.c.at_ms).where(mine, attempts.c.at_ms > now - within_ms)
        times = list(connection.execute(query.order_by(attempts.c.at_ms.desc()).limit(most)).scalars())
        return 0 if len(times) < most else max(1, (times[-1] + within_ms - now) // 1000)

    def tried(self, connection: Connection, what: str, who: str) -> None:
        """Count a try, in the transaction of what was tried."""
        now = self._now()
        connection.execute(delete(attempts).where(attempts.c.at_ms < now - max(ms for _, ms in LIMITS.values())))
        connection.execute(insert(attempts).values(what=self._hash(what, who), at_ms=now))

    def forget(self, connection: Connection, what: str, who: str) -> None:
        """Count no longer what was tried: it went right."""
        connection.execute(delete(attempts).where(attempts.c.what == self._hash(what, who)))

    def _hash(self, what: str, who: str) -> str:
        return self._vault.secret_hash(f"{what}|{who}")

    def _now(self) -> int:
        return int(self._clock.now() * 1000)
