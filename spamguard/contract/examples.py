"""What does each value of the contract look like, filled in?

Invented: numbers, hosts and companies of these messages do not exist.
"""

from typing import Final

import msgspec

from spamguard.contract.problems import KINDS, PREFIX
from spamguard.types import (
    Action,
    Category,
    Clue,
    DeadLetter,
    DeadReason,
    Decision,
    Label,
    ListChange,
    ListEntry,
    ListKind,
    Message,
    Mode,
    OptOut,
    Order,
    Problem,
    Reason,
    Release,
    ReviewCopy,
    ShadowOpinion,
    ShadowReport,
    Timings,
    Treatment,
)

MESSAGE: Final = Message(
    message_id="m1",
    sender="10690000001",
    recipient="13900000002",
    text="代开各类发*票，加薇信 fp0006 咨询",
    direction="MT",
    received_at="2026-11-24T10:00:00+08:00",
    tenant="acme",
)
BLOCKED: Final = Decision(
    decision_id="6a94bb0bb3a52c8a4ae98a78d8feb0d8",
    message_id="m1",
    action=Action.BLOCK,
    would_be=Action.BLOCK,
    reason=Reason.SPAM_SCORE,
    score=0.99213,
    ham_cutoff=0.288598,
    spam_cutoff=0.708941,
    review=True,
    category=Category.ILLEGAL,
    clues=(
        Clue(feature="各类", start=2, end=4, pull=1.911873),
        Clue(feature="加", start=8, end=9, pull=1.405488),
    ),
    model="sms-zh-en/2026.11.25.2",
    policy="standard",
    code_version="0.1.0",
    suggested_smpp_status=101,
    timings=Timings(queue_ms=3.0, score_ms=1.204),
    decided_at="2026-11-24T02:00:00.005Z",
)
_CHALLENGED: Final = ShadowOpinion(
    model="sms-zh-en/2026.11.25.2",
    score=0.99213,
    ham_cutoff=0.288598,
    spam_cutoff=0.708941,
    would_be=Action.BLOCK,
    reason=Reason.SPAM_SCORE,
    category=Category.ILLEGAL,
)

#: By the name of the value; the first of each is the usual case.
EXAMPLES: Final[dict[str, dict[str, msgspec.Struct]]] = {
    "message": {
        "message": MESSAGE,
        "message-as-payload": Message(
            message_id="m2",
            sender="Brightleaf",
            recipient="13900000002",
            payload_hex="60a8597d",
            protocol="cmpp",
            data_coding=8,
            received_at=1795485600000,
        ),
    },
    "decision": {
        "decision": BLOCKED,
        "decision-allowed": Decision(
            decision_id="b51d9b1f9a5cf1a5a3f9d3f5a1f6a0c2",
            message_id="m3",
            action=Action.ALLOW,
            would_be=Action.ALLOW,
            reason=Reason.HAM_SCORE,
            score=0.002305,
            ham_cutoff=0.288598,
            spam_cutoff=0.708941,
            model="sms-zh-en/2026.11.25.2",
            policy="standard",
            code_version="0.1.0",
            timings=Timings(queue_ms=1.0, score_ms=0.311),
            decided_at="2026-11-24T02:00:00.005Z",
        ),
        "decision-unanswered": Decision(
            decision_id="0f2c7a1f2f0a4d58a8a77b3f25f9c1de",
            message_id="m4",
            action=Action.ALLOW,
            would_be=Action.ALLOW,
            reason=Reason.UNANSWERED,
            ham_cutoff=0.288598,
            spam_cutoff=0.708941,
            model="sms-zh-en/2026.11.25.2",
            policy="standard",
            code_version="0.1.0",
            degraded=True,
            decided_at="2026-11-24T02:00:00.505Z",
        ),
    },
    "review-copy": {"review-copy": ReviewCopy(decision=BLOCKED, message=MESSAGE, source="sms.inbound-3@1042")},
    "dead-letter": {
        "dead-letter": DeadLetter(
            reason=DeadReason.NO_MESSAGE_ID,
            topic="sms.inbound",
            partition=3,
            offset=1043,
            size_bytes=118,
            seen_at_ms=1795485600021,
        )
    },
    "shadow-report": {
        "shadow-report": ShadowReport(
            decision_id=BLOCKED.decision_id,
            message_id="m1",
            outcome="would_allow",
            champion=_CHALLENGED,
            challenger=msgspec.structs.replace(
                _CHALLENGED,
                model="sms-zh-en/2026.12.01.1",
                score=0.611204,
                would_be=Action.ALLOW,
                reason=Reason.UNSURE,
            ),
            decided_at="2026-11-24T02:00:00.005Z",
        )
    },
    "order": {
        "order": Order(
            on=True,
            mode=Mode.OBSERVE,
            reason="a new customer",
            who="ling@ops-1",
            since="2026-11-24T02:10:00.000+00:00",
        )
    },
    "list-change": {
        "list-change": ListChange(
            entry=ListEntry(
                kind=ListKind.HOST,
                value="evil.example",
                action=Treatment.BLOCK,
                owner="abuse desk",
                reason="phishing wave",
                created="2026-11-24",
                expires="2026-12-31",
            ),
            who="ling@ops-1",
            why="phishing wave",
            at="2026-11-24T02:12:00.000+00:00",
        ),
        "list-change-removed": ListChange(who="ling@ops-1", why="a mistake", at="2026-11-24T02:20:00.000+00:00"),
    },
    "opt-out": {
        "opt-out": OptOut(
            subscriber="13900001234",
            sender="106900770001",
            message_id="m7",
            at="2026-11-24T02:30:00.000+00:00",
        )
    },
    "release": {
        "release": Release(
            release_id="0c1f4b7a9d2e6f30",
            decision_id=BLOCKED.decision_id,
            message=MESSAGE,
            reason="case",
            released_by="reader-7",
            released_at="2026-11-24T03:30:00Z",
        )
    },
    "label": {
        "label": Label(
            label_id="5e2d8c61b0a94f17",
            decision_id=BLOCKED.decision_id,
            message_id="m1",
            label="spam",
            category=Category.ILLEGAL,
            reader="reader-7",
            trust="two",
            copies=12,
            model=BLOCKED.model,
            score=BLOCKED.score,
            labelled_at="2026-11-24T03:31:00Z",
        )
    },
    "problem": {
        "problem": Problem(
            type=f"{PREFIX}no-message-id",
            title=KINDS["no-message-id"].title,
            status=KINDS["no-message-id"].status,
            detail="Nothing was judged; give each message an id of at most 1,000 characters and send all again.",
            places=(4,),
        )
    },
}
