"""What does a page, a command or the consumer receive? One desk, with everything that may be done at it."""

from collections.abc import Callable

from argon2 import PasswordHasher

from spamguard.core.decide import Judge
from spamguard.core.policy import STANDARD, Policy
from spamguard.interfaces import Clock
from spamguard.review.attempts import Attempts
from spamguard.review.audit import Audit
from spamguard.review.cases import Cases
from spamguard.review.database import Database
from spamguard.review.entries import Entries
from spamguard.review.figures import FigureBook
from spamguard.review.intake import Intake
from spamguard.review.labels import Labels
from spamguard.review.outbox import Outbox
from spamguard.review.people import People
from spamguard.review.replay import FindJudge, Replay
from spamguard.review.retention import Retention
from spamguard.review.store import Store
from spamguard.review.tokens import Tokens
from spamguard.review.values import Rules
from spamguard.review.vault import Vault


class Desk:
    """Everything over one database; safe to be used from several threads."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        clock: Clock,
        find_judge: FindJudge,
        current_judge: Callable[[], Judge],
        rules: Rules | None = None,
        policy: Policy = STANDARD,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.rules = rules = rules or Rules()
        self.database = database
        self.vault = vault
        self.clock = clock
        self.audit = Audit(database, clock)
        self.intake = Intake(database, vault, rules)
        self.store = Store(database, vault, self.audit, rules, clock)
        self.entries = Entries(database, vault, self.audit, clock)
        self.cases = Cases(database, vault, self.audit, self.store, self.entries, rules, clock)
        self.attempts = Attempts(database, vault, clock)
        self.people = People(database, self.audit, self.attempts, rules, clock, hasher=hasher)
        self.tokens = Tokens(database, self.audit, clock)
        self.figures = FigureBook(database, self.audit, clock)
        self.labels = Labels(database, self.audit)
        self.outbox = Outbox(database, vault, clock)
        self.retention = Retention(database, vault, self.audit, self.entries, rules, clock)
        self.replay = Replay(database, vault, self.audit, clock, find=find_judge, current=current_judge, policy=policy)

    def now_ms(self) -> int:
        """Return the moment, in epoch milliseconds."""
        return int(self.clock.now() * 1000)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
