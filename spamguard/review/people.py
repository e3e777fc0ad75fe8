"""Who is it? Accounts, logins and sessions.

Passwords are kept as argon2id hashes, a session's token as a hash; a login makes a new session each time, so none can
be planted beforehand. Guessing is slowed down per name and per address (attempts).
"""

import secrets
from contextlib import suppress
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from spamguard.errors import Conflict, LoginRefused, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.access import demand_management, name_of
from spamguard.review.attempts import Attempts
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.tables import people, sessions
from spamguard.review.tokens import hashed
from spamguard.review.values import Person, Role, Rules, Session

LEAST_PASSWORD_CHARS: Final = 12
MOST_PASSWORD_CHARS: Final = 200
#: A session ends after this long without a request.
IDLE_MS: Final = 3_600_000
#: Passwords hashed cheaply, for the demo and for tests.
CHEAP: Final = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
#: Verified when there is no such name, so that an answer's time tells nothing.
_NOBODY: Final = "nobody has this password"
#: Passwords that everybody tries first, beside the person's own name.
_COMMON: Final = ("password", "123456", "qwerty", "letmein", "spamguard", "iloveyou", "111111", "abc123", "admin")


class People:
    """The accounts of a database."""

    def __init__(
        self,
        database: Database,
        audit: Audit,
        attempts: Attempts,
        rules: Rules,
        clock: Clock,
        *,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._database = database
        self._audit = audit
        self._attempts = attempts
        self._rules = rules
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash(_NOBODY)

    # -- coming in -------------------------------------------------------------------------------------------------

    def login(self, name: str, password: str, *, address: str) -> Session:
        """Return a new session. Raises LoginRefused, with `wait_s` in its fields when there were too many tries."""
        name = name.strip().casefold()[:60]
        tries = {
            "login-name-address": f"{name}|{address}",
            "login-address": address,
            "login-name": name,
        }
        with self._database.read() as connection:
            wait_s = max(self._attempts.wait_s(connection, limit, who) for limit, who in tries.items())
            row = connection.execute(select(people).where(people.c.name == name)).first()
        if wait_s > 0:
            raise LoginRefused(detail=f"too many tries; wait {wait_s} seconds", wait_s=wait_s)
        right = self._is_right(row.password if row is not None else self._nobody, password)
        with self._database.write() as connection:
            if row is None or not right or not row.active:
                for limit, who in tries.items():
                    self._attempts.tried(connection, limit, who)
                self._audit.write(connection, "?", "login.refused", row.name if row is not None else "")
                refused = True
            else:
                refused = False
                self._attempts.forget(connection, "login-name-address", tries["login-name-address"])
                connection.execute(update(people).where(people.c.id == row.id).values(last_login_ms=self._now()))
                if self._hasher.check_needs_rehash(row.password):
                    connection.execute(
                        update(people).where(people.c.id == row.id).values(password=self._hasher.hash(password))
                    )
                self._audit.write(connection, row.name, "login")
                session = self._begin(connection, row)
        if refused:
            raise LoginRefused(detail="name or password is wrong, or the account is switched off", wait_s=0)
        return session

    def _is_right(self, stored: str, password: str) -> bool:
        with suppress(VerificationError, InvalidHashError):
            return self._hasher.verify(stored, password[:MOST_PASSWORD_CHARS])
        return False

    def _begin(self, connection: Connection, row: Row[Any]) -> Session:
        token, csrf, now = secrets.token_urlsafe(32), secrets.token_urlsafe(24), self._now()
        expires = now + int(self._rules.session_h * 3_600_000)
        connection.execute(delete(sessions).where(sessions.c.expires_ms < now))
        connection.execute(
            insert(sessions).values(
                token_hash=hashed(token),
                csrf=csrf,
                person_id=row.id,
                created_ms=now,
                seen_ms=now,
                expires_ms=expires,
            )
        )
        return Session(token=token, csrf=csrf, person=_person(row), expires_ms=expires)

    def session(self, token: str) -> Session | None:
        """Return the session of a cookie; None when it ended, or its person was switched off."""
        if not token or len(token) > 100:
            return None
        now = self._now()
        query = (
            select(people, sessions.c.csrf, sessions.c.expires_ms, sessions.c.seen_ms)
            .join(sessions, sessions.c.person_id == people.c.id)
            .where(sessions.c.token_hash == hashed(token))
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None or not row.active or row.expires_ms <= now or row.seen_ms + IDLE_MS <= now:
            return None
        if now - row.seen_ms > 60_000:
            with self._database.write() as connection:
                connection.execute(update(sessions).where(sessions.c.token_hash == hashed(token)).values(seen_ms=now))
        return Session(token=token, csrf=row.csrf, person=_person(row), expires_ms=row.expires_ms)

    def logout(self, token: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            query = (select(people.c.name).join(sessions, sessions.c.person_id == people.c.id)).where(
                sessions.c.token_hash == hashed(token)
            )
            name = connection.execute(query).scalar()
            connection.execute(delete(sessions).where(sessions.c.token_hash == hashed(token)))
            if name is not None:
                self._audit.write(connection, name, "logout")

    # -- one's own account -----------------------------------------------------------------------------------------

    def change_password(self, who: Person, old: str, new: str) -> None:
        """Set one's own password; every session of the person ends. Raises ReviewInvalid or LoginRefused.

        Whoever found a desk unlocked may not guess on: wrong tries are limited as those of a login are.
        """
        with self._database.read() as connection:
            row = self._row(connection, who.name)
            wait_s = self._attempts.wait_s(connection, "password", who.name)
        if wait_s > 0:
            raise LoginRefused(detail=f"too many tries; wait {wait_s} seconds", wait_s=wait_s)
        if not self._is_right(row.password, old):
            with self._database.write() as connection:
                self._attempts.tried(connection, "password", who.name)
                self._audit.write(connection, who, "password.refused", who.name)
            raise LoginRefused(detail="the password of now is another one", wait_s=0)
        if new == old:
            raise ReviewInvalid(detail="the new password is the old one", key="password.same")
        _check_password(new, who.name)
        with self._database.write() as connection:
            self._set_password(connection, row.id, new, must_change=False)
            self._attempts.forget(connection, "password", who.name)
            self._audit.write(connection, who, "password.change", who.name)

    def set_language(self, who: Person, language: str) -> None:
        """Remember which language somebody reads; empty follows the browser."""
        if language not in ("", "zh", "en"):
            raise ReviewInvalid(detail="the language is zh or en", key="language")
        with self._database.write() as connection:
            connection.execute(update(people).where(people.c.id == who.id).values(language=language))

    # -- accounts --------------------------------------------------------------------------------------------------

    def add(self, name: str, role: Role, *, by: Person | None = None) -> tuple[Person, str]:
        """Make an account and return it with its first password, which holds for one login. Raises Conflict."""
        demand_management(by)
        name = name.strip().casefold()
        if not 2 <= len(name) <= 40 or not set(name) <= _NAME:
            raise ReviewInvalid(detail="a name has 2 to 40 of a-z, 0-9, dot, dash and underscore", key="account.name")
        password = _first_password()
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(people).values(
                        name=name,
                        role=Role(role),
                        password=self._hasher.hash(password),
                        active=True,
                        must_change=True,
                        language="",
                        created_ms=self._now(),
                    )
                )
                self._audit.write(connection, name_of(by), "people.add", name, role=str(role))
                return _person(self._row(connection, name)), password
        except IntegrityError:
            raise Conflict(detail=f"there is an account {name} already", key="account.there", name=name) from None

    def set_password(self, name: str, password: str) -> None:
        """Set an account's password for good; for the demo and for tests."""
        with self._database.write() as connection:
            row = self._row(connection, name)
            self._set_password(connection, row.id, password, must_change=False)

    def reset_password(self, name: str, *, by: Person | None = None) -> str:
        """Return a new password for an account, which holds for one login; its sessions end. Raises NotThere."""
        demand_management(by)
        password = _first_password()
        with self._database.write() as connection:
            row = self._row(connection, name.strip().casefold())
            self._set_password(connection, row.id, password, must_change=True)
            self._audit.write(connection, name_of(by), "password.reset", row.name)
        return password

    def _set_password(self, connection: Connection, person_id: int, password: str, *, must_change: bool) -> None:
        values = {"password": self._hasher.hash(password), "must_change": must_change}
        connection.execute(update(people).where(people.c.id == person_id).values(**values))
        connection.execute(delete(sessions).where(sessions.c.person_id == person_id))

    def set_role(self, name: str, role: Role, *, by: Person | None = None) -> None:
        """Give an account another role. Raises NotThere, and Conflict for the last administrator."""
        demand_management(by)
        with self._database.write() as connection:
            row = self._row(connection, name)
            connection.execute(update(people).where(people.c.id == row.id).values(role=Role(role)))
            self._keep_an_admin(connection, row)
            self._audit.write(connection, name_of(by), "people.role", row.name, role=str(role))

    def set_active(self, name: str, active: bool, *, by: Person | None = None) -> None:
        """Switch an account on or off; its sessions end. Raises NotThere, and Conflict for the last administrator."""
        demand_management(by)
        with self._database.write() as connection:
            row = self._row(connection, name)
            connection.execute(update(people).where(people.c.id == row.id).values(active=active))
            connection.execute(delete(sessions).where(sessions.c.person_id == row.id))
            self._keep_an_admin(connection, row)
            self._audit.write(connection, name_of(by), "people.active", row.name, active=active)

    def _keep_an_admin(self, connection: Connection, was: Row[Any]) -> None:
        query = select(func.count()).where(people.c.role == Role.ADMIN, people.c.active.is_(True))
        if was.role == Role.ADMIN and not connection.execute(query.select_from(people)).scalar_one():
            raise Conflict(detail="it is the last administrator; make another one first", key="account.last_admin")

    def list(self, *, by: Person | None = None) -> tuple[Person, ...]:
        """Return all accounts, by name."""
        demand_management(by)
        with self._database.read() as connection:
            return tuple(_person(row) for row in connection.execute(select(people).order_by(people.c.name)))

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Return the names of active people with one of these roles, of all when none is named."""
        query = select(people.c.name).where(people.c.active.is_(True)).order_by(people.c.name)
        with self._database.read() as connection:
            return tuple(connection.execute(query.where(people.c.role.in_(roles)) if roles else query).scalars())

    def get(self, name: str) -> Person:
        """Return an account. Raises NotThere."""
        with self._database.read() as connection:
            return _person(self._row(connection, name))

    def _row(self, connection: Connection, name: str) -> Row[Any]:
        row = connection.execute(select(people).where(people.c.name == name)).first()
        if row is None:
            raise NotThere(what="account")
        return row

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _person(row: Row[Any]) -> Person:
    return Person(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        active=bool(row.active),
        must_change=bool(row.must_change),
        language=row.language,
        created_ms=row.created_ms,
        last_login_ms=row.last_login_ms,
    )


def _first_password() -> str:
    return "-".join(secrets.token_hex(3) for _ in range(4))


def _check_password(password: str, name: str) -> None:
    """Return when a password will do. Raises ReviewInvalid."""
    if not LEAST_PASSWORD_CHARS <= len(password) <= MOST_PASSWORD_CHARS:
        raise ReviewInvalid(
            detail=f"a password has {LEAST_PASSWORD_CHARS} to {MOST_PASSWORD_CHARS} characters; a sentence does well",
            key="password.length",
            least=LEAST_PASSWORD_CHARS,
            most=MOST_PASSWORD_CHARS,
        )
    inner = password.casefold()
    rest = inner.replace(name, "")
    for word in _COMMON:
        rest = rest.replace(word, "")
    if len(set(inner)) < 5 or len(rest) < LEAST_PASSWORD_CHARS // 2:
        raise ReviewInvalid(detail="this password is one that is tried first", key="password.common")
