"""Which allowed messages do reviewers get to see, so that misses can be counted?

A lot that falls on the decision's id: the same for every repeat, and nobody can choose it. Off by default; what a
person writes to a person stays out of it unless that is switched on by itself.
"""

import hashlib
from typing import Final, NamedTuple

from spamguard.types import Action, Decision, Message

#: The one direction in which an application writes for certain.
_APPLICATION: Final = "AO"


class Lot(NamedTuple):
    """How many allowed messages are drawn, and from which."""

    share: float = 0.0
    person_to_person: bool = False

    def draws(self, message: Message, decision: Decision) -> bool:
        """Return whether an allowed message, which is not offered for review anyhow, is drawn."""
        if decision.action is not Action.ALLOW or decision.review or decision.score is None:
            return False
        if message.direction != _APPLICATION and not self.person_to_person:
            return False
        digest = hashlib.blake2b(decision.decision_id.encode(), digest_size=8, person=b"allowed").digest()
        return int.from_bytes(digest, "big") < self.share * 2**64


NO_LOT: Final = Lot()
