"""Would it be decided the same today, and can the decision of then be shown again?

The stored message is judged again: by the model that decided, which must give the stored score to the last digit, and
by the model of now, whose difference is shown. Lists and switches of then are not restored: the score is what is
compared.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy import select

from spamguard.core.decide import Conditions, Judge, Request, decide
from spamguard.core.policy import Policy
from spamguard.errors import NotThere
from spamguard.interfaces import Clock
from spamguard.review.access import demand
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.shown import decision_of, message_of
from spamguard.review.tables import decisions
from spamguard.review.values import Person, Replayed
from spamguard.review.vault import Vault
from spamguard.types import Decision, Message

#: Returns a model by name/version, or None when it is no longer there.
FindJudge = Callable[[str], Judge | None]
#: Scores are published with six digits; the same model gives the same ones.
SAME: Final = 1e-9


class Replay:
    """Judges stored decisions again."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        audit: Audit,
        clock: Clock,
        *,
        find: FindJudge,
        current: Callable[[], Judge],
        policy: Policy,
    ) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._clock = clock
        self._find = find
        self._current = current
        self._policy = policy

    def __call__(self, who: Person, decision_id: str) -> Replayed:
        """Return what a stored decision would be again, and now. Raises NotThere."""
        demand(who, "item.replay")
        with self._database.write() as connection:
            query = select(decisions).where(decisions.c.decision_id == decision_id)
            row = connection.execute(query).first()
            if row is None:
                raise NotThere(what="decision")
            message, stored = message_of(row, self._vault), decision_of(row)
            self._audit.write(connection, who, "decision.replay", decision_id[:100])
        return self.compare(message, stored)

    def compare(self, message: Message, stored: Decision) -> Replayed:
        """Return a decision beside what its own model and the current one say of the message."""
        own = self._find(stored.model)
        again = None if own is None else self._judged(message, own).score
        now = self._judged(message, self._current())
        same = None if own is None else again == stored.score or _close(again, stored.score)
        difference = None if now.score is None or stored.score is None else round(now.score - stored.score, 6)
        return Replayed(
            decision_id=stored.decision_id,
            model=stored.model,
            stored=stored.score,
            again=again,
            same=same,
            current_model=now.model,
            current=now.score,
            current_would_be=now.would_be,
            current_reason=now.reason,
            difference=difference,
        )

    def _judged(self, message: Message, judge: Judge) -> Decision:
        conditions = Conditions(
            policy=self._policy,
            allow_all=False,
            code_version="",
            now_s=self._clock.now(),
            stopwatch=self._clock.monotonic,
        )
        return decide([Request(message, "", 0)], judge, conditions)[0]


def _close(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= SAME
