"""Who is it? Accounts, logins, sessions, and the tokens of a call centre's systems.

Passwords are kept as argon2id hashes, tokens as hashes; a login makes a new session each time, so none can be planted
beforehand. Guessing is slowed down per name and per address, in the database, whatever number of processes there is.
"""

import hashlib
import secrets
from contextlib import suppress
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from spamguard.errors import Conflict, LoginRefused, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.access import demand
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.tables import api_tokens, attempts, people, sessions
from spamguard.review.values import Person, Role, Rules, Session
from spamguard.review.vault import Vault

LEAST_PASSWORD_CHARS: Final = 12
MOST_PASSWORD_CHARS: Final = 200
#: A session ends after this long without a request.
IDLE_MS: Final = 3_600_000
#: What may be tried how often: (tries, within milliseconds).
LIMITS: Final = {
    "login-name-address": (5, 900_000),
    "login-address": (30, 900_000),
    "login-name": (50, 900_000),
    "receipt": (20, 600_000),
    "password": (5, 900_000),
}
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
        vault: Vault,
        audit: Audit,
        rules: Rules,
        clock: Clock,
        *,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
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
            wait_s = max(self._wait_s(connection, limit, who) for limit, who in tries.items())
            row = connection.execute(select(people).where(people.c.name == name)).first()
        if wait_s > 0:
            raise LoginRefused(detail=f"too many tries; wait {wait_s} seconds", wait_s=wait_s)
        right = self._is_right(row.password if row is not None else self._nobody, password)
        with self._database.write() as connection:
            if row is None or not right or not row.active:
                for limit, who in tries.items():
                    self._tried(connection, limit, who)
                self._audit.write(connection, "?", "login.refused", row.name if row is not None else "")
                refused = True
            else:
                refused = False
                self._forget_tries(connection, "login-name-address", tries["login-name-address"])
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
                token_hash=_hashed(token),
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
            .where(sessions.c.token_hash == _hashed(token))
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None or not row.active or row.expires_ms <= now or row.seen_ms + IDLE_MS <= now:
            return None
        if now - row.seen_ms > 60_000:
            with self._database.write() as connection:
                connection.execute(update(sessions).where(sessions.c.token_hash == _hashed(token)).values(seen_ms=now))
        return Session(token=token, csrf=row.csrf, person=_person(row), expires_ms=row.expires_ms)

    def logout(self, token: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            query = (select(people.c.name).join(sessions, sessions.c.person_id == people.c.id)).where(
                sessions.c.token_hash == _hashed(token)
            )
            name = connection.execute(query).scalar()
            connection.execute(delete(sessions).where(sessions.c.token_hash == _hashed(token)))
            if name is not None:
                self._audit.write(connection, name, "logout")

    def allow(self, what: str, who: str) -> bool:
        """Return whether something that can be guessed may be tried once more, and count the try."""
        with self._database.write() as connection:
            if self._wait_s(connection, what, who) > 0:
                return False
            self._tried(connection, what, who)
        return True

    def _wait_s(self, connection: Connection, limit: str, who: str) -> int:
        most, within_ms = LIMITS[limit]
        now = self._now()
        mine = attempts.c.what == self._vault.secret_hash(f"{limit}|{who}")
        query = select(attempts.c.at_ms).where(mine, attempts.c.at_ms > now - within_ms)
        times = list(connection.execute(query.order_by(attempts.c.at_ms.desc()).limit(most)).scalars())
        return 0 if len(times) < most else max(1, (times[-1] + within_ms - now) // 1000)

    def _tried(self, connection: Connection, limit: str, who: str) -> None:
        now = self._now()
        connection.execute(delete(attempts).where(attempts.c.at_ms < now - max(ms for _, ms in LIMITS.values())))
        connection.execute(insert(attempts).values(what=self._vault.secret_hash(f"{limit}|{who}"), at_ms=now))

    def _forget_tries(self, connection: Connection, limit: str, who: str) -> None:
        connection.execute(delete(attempts).where(attempts.c.what == self._vault.secret_hash(f"{limit}|{who}")))

    # -- one's own account -----------------------------------------------------------------------------------------

    def change_password(self, who: Person, old: str, new: str) -> None:
        """Set one's own password; every session of the person ends. Raises ReviewInvalid or LoginRefused.

        Whoever found a desk unlocked may not guess on: wrong tries are limited as those of a login are.
        """
        with self._database.read() as connection:
            row = self._row(connection, who.name)
            wait_s = self._wait_s(connection, "password", who.name)
        if wait_s > 0:
            raise LoginRefused(detail=f"too many tries; wait {wait_s} seconds", wait_s=wait_s)
        if not self._is_right(row.password, old):
            with self._database.write() as connection:
                self._tried(connection, "password", who.name)
                self._audit.write(connection, who, "password.refused", who.name)
            raise LoginRefused(detail="the password of now is another one", wait_s=0)
        if new == old:
            raise ReviewInvalid(detail="the new password is the old one", key="password.same")
        _check_password(new, who.name)
        with self._database.write() as connection:
            self._set_password(connection, row.id, new, must_change=False)
            self._forget_tries(connection, "password", who.name)
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
        _demand(by)
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
                self._audit.write(connection, _who(by), "people.add", name, role=str(role))
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
        _demand(by)
        password = _first_password()
        with self._database.write() as connection:
            row = self._row(connection, name.strip().casefold())
            self._set_password(connection, row.id, password, must_change=True)
            self._audit.write(connection, _who(by), "password.reset", row.name)
        return password

    def _set_password(self, connection: Connection, person_id: int, password: str, *, must_change: bool) -> None:
        values = {"password": self._hasher.hash(password), "must_change": must_change}
        connection.execute(update(people).where(people.c.id == person_id).values(**values))
        connection.execute(delete(sessions).where(sessions.c.person_id == person_id))

    def set_role(self, name: str, role: Role, *, by: Person | None = None) -> None:
        """Give an account another role. Raises NotThere, and Conflict for the last administrator."""
        _demand(by)
        with self._database.write() as connection:
            row = self._row(connection, name)
            connection.execute(update(people).where(people.c.id == row.id).values(role=Role(role)))
            self._keep_an_admin(connection, row)
            self._audit.write(connection, _who(by), "people.role", row.name, role=str(role))

    def set_active(self, name: str, active: bool, *, by: Person | None = None) -> None:
        """Switch an account on or off; its sessions end. Raises NotThere, and Conflict for the last administrator."""
        _demand(by)
        with self._database.write() as connection:
            row = self._row(connection, name)
            connection.execute(update(people).where(people.c.id == row.id).values(active=active))
            connection.execute(delete(sessions).where(sessions.c.person_id == row.id))
            self._keep_an_admin(connection, row)
            self._audit.write(connection, _who(by), "people.active", row.name, active=active)

    def _keep_an_admin(self, connection: Connection, was: Row[Any]) -> None:
        query = select(func.count()).where(people.c.role == Role.ADMIN, people.c.active.is_(True))
        if was.role == Role.ADMIN and not connection.execute(query.select_from(people)).scalar_one():
            raise Conflict(detail="it is the last administrator; make another one first", key="account.last_admin")

    def list(self, *, by: Person | None = None) -> tuple[Person, ...]:
        """Return all accounts, by name."""
        _demand(by)
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

    # -- systems ---------------------------------------------------------------------------------------------------

    def api_token(self, label: str, role: Role = Role.AGENT, *, by: Person | None = None) -> str:
        """Return a new token for a system, shown this once. Raises Conflict."""
        _demand(by)
        label = label.strip()[:50]
        if not label or role is Role.ADMIN:
            raise ReviewInvalid(detail="a token needs a name, and is never an administrator's", key="token.name")
        token = "sgr_" + secrets.token_urlsafe(32)
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(api_tokens).values(
                        label=label, token_hash=_hashed(token), role=Role(role), created_ms=self._now()
                    )
                )
                self._audit.write(connection, _who(by), "token.add", label, role=str(role))
        except IntegrityError:
            raise Conflict(
                detail=f"there is a token {label} already; revoke it first", key="token.there", label=label
            ) from None
        return token

    def api_person(self, token: str) -> Person | None:
        """Return who a token stands for."""
        query = select(api_tokens).where(api_tokens.c.token_hash == _hashed(token[:100]))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        now = self._now()
        if row.used_ms is None or now - row.used_ms > 60_000:
            with self._database.write() as connection:
                connection.execute(update(api_tokens).where(api_tokens.c.label == row.label).values(used_ms=now))
        return Person(id=0, name=f"api:{row.label}", role=Role(row.role))

    def api_tokens(self, *, by: Person | None = None) -> tuple[tuple[str, Role, int, int | None], ...]:
        """Return every token's name and role, when it was made and last used."""
        _demand(by)
        with self._database.read() as connection:
            rows = connection.execute(select(api_tokens).order_by(api_tokens.c.label))
            return tuple((row.label, Role(row.role), row.created_ms, row.used_ms) for row in rows)

    def revoke_token(self, label: str, *, by: Person | None = None) -> None:
        """End a token. Raises NotThere."""
        _demand(by)
        with self._database.write() as connection:
            if not connection.execute(delete(api_tokens).where(api_tokens.c.label == label)).rowcount:
                raise NotThere(what="token")
            self._audit.write(connection, _who(by), "token.revoke", label)

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


def _demand(by: Person | None) -> None:
    """Return when the caller may manage accounts: an administrator, or the command line, which has the key file."""
    if by is not None:
        demand(by, "people.manage")


def _who(by: Person | None) -> str:
    return "command line" if by is None else by.name


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


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
