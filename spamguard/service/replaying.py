"""What would another model or policy have decided on what was recorded?

Two engines judge the same messages, or one is held against the decisions that were recorded. Counts cover everything;
of what differs the most consequential is kept, so that a topic of any size takes the same memory.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from spamguard.core.changes import ORDER, Turn, changes, masked, moved
from spamguard.core.decide import Request
from spamguard.core.sms import text_of
from spamguard.engine.filter import LiveFilter
from spamguard.stream.recordings import Recorded
from spamguard.types import Decision, Message

#: Changes that are kept to be shown; all are counted.
KEPT: Final = 1000


class Shown(NamedTuple):
    """A message that would be decided otherwise; its text is masked."""

    turn: Turn
    before: Decision
    after: Decision
    text: str


class Replay:
    """Judges recorded messages and keeps what would change."""

    def __init__(self, after: LiveFilter, before: LiveFilter | None, *, believe_records: bool = True) -> None:
        """`before` judges what has no recorded decision, or everything when those are not to be believed."""
        self._after = after
        self._before = before
        self._believe_records = believe_records
        self.messages = 0
        self.without_text = 0  #: decisions alone: there is nothing to judge
        self.without_decision = 0  #: messages that nobody had decided on, with no model to ask
        self.blocked = [0, 0]  #: before, after
        self.turns: Counter[Turn] = Counter()
        self._kept: list[tuple[tuple[int, float, int], Shown]] = []

    def take(self, batch: Sequence[Recorded]) -> None:
        """Judge a batch."""
        pairs: list[tuple[Message, Decision | None, str | None]] = []
        for one in batch:
            if one.message is None:
                self.without_text += 1
            elif one.decision is None and self._before is None:
                self.without_decision += 1
            else:
                pairs.append((one.message, one.decision, one.label))
        if not pairs:
            return
        requests = [Request(message, "", 0) for message, _, _ in pairs]
        now = self._after.judge_now(requests)
        then = self._then(requests, [decision for _, decision, _ in pairs])
        first = self.messages
        self.messages += len(pairs)
        for place, decisions in enumerate((then, now)):
            self.blocked[place] += sum(decision.would_be == "block" for decision in decisions)
        for change in changes(then, now, [label for _, _, label in pairs]):
            self.turns[change.turn] += 1
            text = masked(text_of(pairs[change.place][0]) or "")
            key = (-ORDER[change.turn], moved(change), -first - change.place)
            entry = (key, Shown(change.turn, change.before, change.after, text))
            if len(self._kept) < KEPT:
                heapq.heappush(self._kept, entry)
            else:
                heapq.heappushpop(self._kept, entry)

    def _then(self, requests: Sequence[Request], recorded: Sequence[Decision | None]) -> list[Decision]:
        """Return what was decided, or what the model before says now."""
        known: list[Decision | None] = list(recorded) if self._believe_records else [None] * len(recorded)
        places = [place for place, decision in enumerate(known) if decision is None]
        if places and self._before is not None:
            judged = self._before.judge_now([requests[place] for place in places])
            for place, decision in zip(places, judged, strict=True):
                known[place] = decision
        return [decision for decision in known if decision is not None]

    def shown(self) -> list[Shown]:
        """Return what would change, most consequential first."""
        return [shown for _, shown in sorted(self._kept, key=lambda entry: entry[0], reverse=True)]
