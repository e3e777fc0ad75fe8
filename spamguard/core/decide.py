"""How does a batch of messages become a batch of decisions?

text → normalise → score → (only for what is not plainly ham) guards, category, clues → policy → decision. Pure: the
same batch, model, policy and moment give the same decisions, and each message's decision is the same in any batch.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np

from spamguard.core.codec import received_ms
from spamguard.core.guards import guard_of
from spamguard.core.lists import NO_LISTS, Lists
from spamguard.core.marks import UNMARKED, Mark, marks_of
from spamguard.core.normalize import HEAD_CHARS, clip, normalize_batch
from spamguard.core.optouts import GUARD as OPT_OUT
from spamguard.core.optouts import NO_MUTES, Mutes
from spamguard.core.policy import EVIDENCE_FLOOR, Cutoffs, Policy, Ruling, rule
from spamguard.core.scorer import Explanation, Scores
from spamguard.core.sms import text_of
from spamguard.core.things import signatures
from spamguard.types import Action, Category, Clue, Decision, DefectiveMessage, Message, Reason, Timings, Treatment

MAX_CLUES: Final = 5
#: Scores are published and compared with this precision, so that no rounding of a vector unit shows.
SCORE_DIGITS: Final = 6
#: ESME_RX_P_APPN, "permanent application error": what SMPP knows for a message that will never be delivered.
SMPP_BLOCKED: Final = 0x0065


#: What is said of a message that is not suspected of anything, by reason.
_PASSED: Final = {reason: Ruling(Action.ALLOW, Action.ALLOW, reason, False) for reason in Reason}
#: What is said of a subscriber's wish to be left alone.
_ANSWERED: Final = Ruling(Action.ALLOW, Action.ALLOW, Reason.GUARD, False)


class Reading(Protocol):
    """A batch that a model read once: its scores, and whatever explaining some of its messages needs."""

    @property
    def scores(self) -> Scores:
        """Return the scores of all messages."""

    def explain(self, places: Sequence[int], originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Return the clues and the category of the messages at `places`; clues point into their original texts."""


class Scorer(Protocol):
    """What deciding needs of a model; the one seam a faster engine has to fit."""

    def read(self, texts: Sequence[str]) -> Reading:
        """Read normalised texts."""


class Judge(NamedTuple):
    """A model ready to decide: its scorer, name and cutoffs."""

    scorer: Scorer
    name: str
    ham_cutoff: float
    spam_cutoff: float


class Request(NamedTuple):
    """A message to decide on."""

    message: Message
    decision_id: str
    queued_at_ms: int  #: when it began to wait, in epoch milliseconds


class Conditions(NamedTuple):
    """What holds for a whole batch."""

    policy: Policy
    allow_all: bool  #: the kill switch
    code_version: str
    now_s: float  #: wall time, seconds since the epoch
    stopwatch: Callable[[], float]  #: monotonic seconds, to say how long judging took
    tripped: frozenset[str] = frozenset()  #: tenants whose breaker is open
    lists: Lists = NO_LISTS
    mutes: Mutes = NO_MUTES


def decide(requests: Sequence[Request], judge: Judge, conditions: Conditions) -> list[Decision]:
    """Return one decision a request, in order."""
    draft = _Draft(judge, conditions)
    texts = [text_of(request.message) for request in requests]
    readable = [index for index, text in enumerate(texts) if text is not None]
    originals = [clip(texts[index] or "") for index in readable]
    distinct, which = _distinct(originals)
    canonical = normalize_batch(distinct)
    reading = judge.scorer.read(canonical)
    probability = np.round(reading.scores.probability, SCORE_DIGITS).tolist()
    found = reading.scores.evidence.tolist()
    normalised = [canonical[number] for number in which]
    scores, evidence = [probability[number] for number in which], [found[number] for number in which]
    draft.score_ms = draft.elapsed_ms()
    messages = [requests[index].message for index in readable]
    lists, mutes = conditions.lists, conditions.mutes
    marks = marks_of(messages, originals, normalised, lists=lists, mutes=mutes, now_s=conditions.now_s)
    decisions: list[Decision | None] = [None] * len(requests)
    suspects = []
    for place, index in enumerate(readable):
        mark = marks.get(place, UNMARKED)
        if mark.answer:
            decisions[index] = draft.suspect(requests[index], _ANSWERED, scores[place], OPT_OUT, None, (), None)
        elif mark.treatment is Treatment.BLOCK or mark.muted:
            suspects.append(place)
        elif evidence[place] < EVIDENCE_FLOOR:
            decisions[index] = draft.allowed(requests[index], Reason.NO_EVIDENCE, scores[place], mark)
        elif scores[place] < draft.cutoffs(requests[index].message)[0]:
            decisions[index] = draft.allowed(requests[index], Reason.HAM_SCORE, scores[place], mark)
        else:
            suspects.append(place)
    asked = list(dict.fromkeys(which[place] for place in suspects))
    explained = reading.explain(asked, [distinct[number] for number in asked], most=MAX_CLUES)
    explanations = dict(zip(asked, explained, strict=True))
    for place in suspects:
        request = requests[readable[place]]
        mark = marks.get(place, UNMARKED)
        guard = guard_of(normalised[place])
        explanation = explanations[which[place]]
        kind = explanation.kind
        ham_cutoff, spam_cutoff = draft.cutoffs(request.message)
        suspected = scores[place] >= ham_cutoff and evidence[place] >= EVIDENCE_FLOOR
        category = None if kind is None or not suspected else Category(kind)
        spam = suspected and scores[place] >= spam_cutoff
        advertises = category is Category.MARKETING and bool(mutes)
        muted = mark.muted or (advertises and mutes.mutes(request.message, signatures(normalised[place])))
        ruling = rule(
            conditions.policy,
            request.message,
            spam=spam,
            guard=guard,
            category=category,
            allow_all=conditions.allow_all,
            tripped=request.message.tenant in conditions.tripped,
            listed=mark.treatment,
            muted=muted,
        )
        clues = _clues(explanation, texts[readable[place]] or "")
        decisions[readable[place]] = draft.suspect(request, ruling, scores[place], guard, category, clues, mark.entry)
    return [
        decision or draft.allowed(request, Reason.NOT_TEXT, None)
        for decision, request in zip(decisions, requests, strict=True)
    ]


def _distinct(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the different texts of a batch, and which of them each message has: a campaign is read once.

    >>> _distinct(["a", "b", "a"])
    (['a', 'b'], [0, 1, 0])
    """
    numbers: dict[str, int] = {}
    which = [numbers.setdefault(text, len(numbers)) for text in texts]
    return list(numbers), which


def _clues(explanation: Explanation, text: str) -> tuple[Clue, ...]:
    """Return the clues as they are published: pulls rounded like the score, so that a repeat is the same to the letter.

    Of a long text only head and tail were judged; offsets point into the whole.
    """
    moved = len(text) - len(clip(text))
    return tuple(
        Clue(
            feature=clue.feature,
            start=clue.start if clue.start < HEAD_CHARS else clue.start + moved,
            end=clue.end if clue.end <= HEAD_CHARS else clue.end + moved,
            pull=round(clue.pull, SCORE_DIGITS),
        )
        for clue in explanation.clues
    )


def failed(requests: Sequence[Request], judge: Judge, conditions: Conditions) -> list[Decision]:
    """Return the decisions for messages whose judging raised: allowed, degraded, so that it is counted and seen."""
    draft = _Draft(judge, conditions)
    return [draft.allowed(request, Reason.SCORING_FAILED, None, degraded=True) for request in requests]


def without_review(decision: Decision) -> Decision:
    """Return a block as it is when its review copy could not be stored: allowed, degraded."""
    return msgspec.structs.replace(
        decision, action=Action.ALLOW, reason=Reason.REVIEW_UNAVAILABLE, degraded=True, suggested_smpp_status=0
    )


def let_through(decision: Decision) -> Decision:
    """Return a block as it is when the kill switch was turned on before it could be published."""
    return msgspec.structs.replace(decision, action=Action.ALLOW, reason=Reason.ALLOW_ALL, suggested_smpp_status=0)


class _Draft:
    """Fills in what all decisions of a batch share."""

    def __init__(self, judge: Judge, conditions: Conditions) -> None:
        self._judge = judge
        self._conditions = conditions
        self._now_ms = int(conditions.now_s * 1000)
        self._decided_at = datetime.fromtimestamp(conditions.now_s, UTC).isoformat(timespec="milliseconds")
        self._started = conditions.stopwatch()
        self.score_ms = 0.0  #: how long normalising and scoring the batch took
        self._model_cutoffs = judge.ham_cutoff, judge.spam_cutoff
        self._own_cutoffs: dict[Cutoffs, tuple[float, float]] = {}

    def cutoffs(self, message: Message) -> tuple[float, float]:
        """Return the ham and spam cutoff that hold for a message."""
        if not self._conditions.policy.own_cutoffs:
            return self._model_cutoffs
        own = self._conditions.policy.terms_of(message).cutoffs
        if own is None:
            return self._model_cutoffs
        if own not in self._own_cutoffs:
            self._own_cutoffs[own] = own.over(*self._model_cutoffs)
        return self._own_cutoffs[own]

    def elapsed_ms(self) -> float:
        """Return how long ago judging began."""
        return round((self._conditions.stopwatch() - self._started) * 1000, 3)

    def allowed(
        self, request: Request, reason: Reason, score: float | None, mark: Mark = UNMARKED, *, degraded: bool = False
    ) -> Decision:
        """Return a decision for what is not suspected of anything; an entry of a list may ask for its review."""
        if mark.treatment is Treatment.REVIEW:
            ruling = Ruling(Action.ALLOW, Action.ALLOW, Reason.LIST_REVIEW, True)
            return self._decision(request, ruling, score, None, None, (), mark.entry, degraded=degraded)
        return self._decision(request, _PASSED[reason], score, None, None, (), None, degraded=degraded)

    def suspect(
        self,
        request: Request,
        ruling: Ruling,
        score: float,
        guard: str | None,
        category: Category | None,
        clues: tuple[Clue, ...],
        entry: str | None,
    ) -> Decision:
        """Return a decision for what scored at least the ham cutoff, or is on a list."""
        return self._decision(request, ruling, score, guard, category, clues, entry, degraded=False)

    def _decision(
        self,
        request: Request,
        ruling: Ruling,
        score: float | None,
        guard: str | None,
        category: Category | None,
        clues: tuple[Clue, ...],
        entry: str | None,
        *,
        degraded: bool,
    ) -> Decision:
        message = request.message
        received = received_ms(message)
        ham_cutoff, spam_cutoff = self.cutoffs(message)
        late = received is not None and self._now_ms - received > self._conditions.policy.late_after_s * 1000
        return Decision(
            decision_id=request.decision_id,
            message_id=message.message_id,
            action=ruling.action,
            would_be=ruling.would_be,
            reason=ruling.reason,
            guard=guard,
            score=score,
            ham_cutoff=ham_cutoff,
            spam_cutoff=spam_cutoff,
            review=ruling.review,
            category=category,
            clues=clues,
            list_entry=entry,
            model=self._judge.name,
            policy=self._conditions.policy.name,
            code_version=self._conditions.code_version,
            degraded=degraded,
            late=late,
            defects=message.defects if isinstance(message, DefectiveMessage) else (),
            breaker=ruling.breaker,
            suggested_smpp_status=SMPP_BLOCKED if ruling.action is Action.BLOCK else 0,
            timings=Timings(queue_ms=float(max(0, self._now_ms - request.queued_at_ms)), score_ms=self.score_ms),
            decided_at=self._decided_at,
        )
