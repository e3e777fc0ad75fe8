"""Does a batch of messages become the right decisions, each with its reason, whatever its neighbours are?"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.codec import encode, received_ms
from spamguard.core.decide import (
    SMPP_BLOCKED,
    Conditions,
    Judge,
    Reading,
    Request,
    decide,
    failed,
    without_review,
)
from spamguard.core.normalize import MAX_TEXT_CHARS
from spamguard.core.policy import EVIDENCE_FLOOR, STANDARD, Cutoffs, Policy, Terms, everywhere, preset
from spamguard.core.scorer import Explanation, Scores
from spamguard.types import Action, Category, Clue, Decision, DefectiveMessage, Message, Mode, Reason
from tests.cast import BANK_CODE, EVERYONE, GOOD, INVOICE, LOTTERY, MUM, NASTY, PARCEL, SALE, SPAM

NOW_S = 1_795_485_600.0
#: As many words as are evidence, together with the score behind them, and one less.
ENOUGH = "word " * (EVIDENCE_FLOOR - 2) + "word"
LITTLE = ENOUGH.removeprefix("word ")
NOON = "2026-11-24T10:00:00+08:00"


class Scripted:
    """A scorer that reads its score out of the text: `70` is 0.70, with as much evidence as it has words."""

    def __init__(self, kind: str | None = "fraud") -> None:
        self.kind = kind

    def read(self, texts: Sequence[str]) -> "ScriptedReading":
        """Score by the last word."""
        probability = np.array([float(text.split()[-1].strip("abc")) if " " in text else 0.5 for text in texts])
        scores = Scores(probability, probability, np.array([len(text.split()) for text in texts]))
        return ScriptedReading(scores, self.kind)


class ScriptedReading(NamedTuple):
    """What it read."""

    scores: Scores
    kind: str | None

    def explain(self, places: Sequence[int], originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Point at the first characters."""
        clues = [Clue(feature=original[:1], start=0, end=1, pull=1.0) for original in originals]
        return [Explanation(1.0, 0.0, (clue,), 0.0, self.kind) for clue in clues]


def conditions(policy: Policy = STANDARD, *, allow_all: bool = False) -> Conditions:
    """Return what holds for a batch at noon."""
    return Conditions(policy, allow_all, "0.1.0", NOW_S, lambda: 7.0)


def asked(*messages: Message) -> list[Request]:
    """Return requests for messages that began to wait 40 ms ago."""
    return [Request(message, f"d{number}", int(NOW_S * 1000) - 40) for number, message in enumerate(messages)]


def decided(
    judge: Judge, text: str | None, policy: Policy = STANDARD, *, allow_all: bool = False, **fields: Any
) -> Decision:
    """Return the decision on one message."""
    message = Message(message_id="m", text=text, **fields)
    [decision] = decide(asked(message), judge, conditions(policy, allow_all=allow_all))
    return decision


@pytest.fixture
def at_cutoffs(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """A judge whose scores are written in the texts."""
    monkeypatch.setattr("spamguard.core.decide.normalize_batch", list)
    return Judge(Scripted(), "scripted/1", 0.3, 0.7)


@pytest.mark.parametrize(
    ("text", "action", "reason", "review"),
    [
        ("ENOUGH 0.299999", Action.ALLOW, Reason.HAM_SCORE, False),
        ("ENOUGH 0.3", Action.ALLOW, Reason.UNSURE, True),
        ("ENOUGH 0.699999", Action.ALLOW, Reason.UNSURE, True),
        ("ENOUGH 0.6999996", Action.BLOCK, Reason.SPAM_SCORE, True),
        ("ENOUGH 0.7", Action.BLOCK, Reason.SPAM_SCORE, True),
        ("ENOUGH 0.99", Action.BLOCK, Reason.SPAM_SCORE, True),
        ("LITTLE 0.99", Action.ALLOW, Reason.NO_EVIDENCE, False),
    ],
)
def test_the_cutoffs_belong_to_the_upper_side_and_too_little_evidence_is_none(
    at_cutoffs: Judge, text: str, action: Action, reason: Reason, review: bool
) -> None:
    decision = decided(at_cutoffs, text.replace("ENOUGH", ENOUGH).replace("LITTLE", LITTLE))
    assert (decision.action, decision.reason, decision.review) == (action, reason, review)
    assert (decision.ham_cutoff, decision.spam_cutoff) == (0.3, 0.7)
    assert decision.suggested_smpp_status == (SMPP_BLOCKED if action is Action.BLOCK else 0)
    suspicious = reason in (Reason.UNSURE, Reason.SPAM_SCORE)
    assert bool(decision.clues) is suspicious
    assert decision.category is (Category.FRAUD if suspicious else None)


def test_a_model_without_categories_still_blocks(at_cutoffs: Judge) -> None:
    judge = at_cutoffs._replace(scorer=Scripted(kind=None))
    decision = decided(judge, f"{ENOUGH} 0.9", preset("fraud-only"))
    assert (decision.action, decision.category) == (Action.BLOCK, None)


@pytest.mark.parametrize("text", SPAM)
def test_the_bad_of_the_cast_are_blocked_with_clues_into_their_own_text(judge: Judge, text: str) -> None:
    decision = decided(judge, text)
    assert (decision.action, decision.would_be, decision.reason) == (Action.BLOCK, Action.BLOCK, Reason.SPAM_SCORE)
    assert decision.review
    assert 1 <= len(decision.clues) <= 5
    assert decision.clues[0].pull > 0
    assert all(text[clue.start : clue.end].strip() for clue in decision.clues)


@pytest.mark.parametrize("text", GOOD)
def test_the_good_of_the_cast_are_allowed_without_clues(judge: Judge, text: str) -> None:
    decision = decided(judge, text)
    assert (decision.action, decision.would_be, decision.reason) == (Action.ALLOW, Action.ALLOW, Reason.HAM_SCORE)
    assert (decision.clues, decision.category, decision.review) == ((), None, False)


@pytest.mark.parametrize(("text", "guard"), [(BANK_CODE, "code"), (PARCEL, "pick_up")])
def test_a_guard_protects_a_good_message_from_a_model_gone_mad(judge: Judge, text: str, guard: str) -> None:
    mad = judge._replace(ham_cutoff=1e-9, spam_cutoff=1e-8)
    decision = decided(mad, text)
    assert (decision.action, decision.reason, decision.guard) == (Action.ALLOW, Reason.GUARD, guard)
    assert decision.review
    assert decided(mad, f"{text} 详情——t.cn/a8").action is Action.BLOCK


@pytest.mark.parametrize("text", ["", " ", "13", "👍", "\ud800", "\u200b\u200b", "啊啊啊啊啊啊"])
def test_a_text_that_says_nothing_is_allowed_as_no_evidence(judge: Judge, text: str) -> None:
    decision = decided(judge._replace(ham_cutoff=1e-9, spam_cutoff=1e-8), text)
    assert (decision.action, decision.reason) == (Action.ALLOW, Reason.NO_EVIDENCE)


@pytest.mark.parametrize(
    "fields",
    [{"kind": "receipt"}, {"kind": "binary"}, {"payload_hex": "0", "text": None}, {"data_coding": 4, "text": None}],
)
def test_what_is_no_text_is_allowed_as_not_text_and_not_scored(judge: Judge, fields: dict[str, Any]) -> None:
    message = Message(message_id="m", **({"text": LOTTERY, "payload_hex": "00"} | fields))
    [decision] = decide(asked(message), judge, conditions())
    assert (decision.action, decision.reason, decision.score) == (Action.ALLOW, Reason.NOT_TEXT, None)


def test_a_payload_is_judged_like_the_text_it_carries(judge: Judge) -> None:
    by_payload = decided(judge, None, payload_hex=LOTTERY.encode("utf-16-be").hex(), encoding="ucs2")
    by_text = decided(judge, LOTTERY)
    assert (by_payload.score, by_payload.clues) == (by_text.score, by_text.clues)


def test_consented_marketing_passes_and_its_category_is_said(judge: Judge) -> None:
    decision = decided(judge, SALE, consent="opt_in")
    assert (decision.action, decision.reason, decision.category) == (
        Action.ALLOW,
        Reason.CONSENTED,
        Category.MARKETING,
    )
    assert decided(judge, SALE, consent="opt_out").action is Action.BLOCK


def test_fraud_only_lets_marketing_pass(judge: Judge) -> None:
    policy = preset("fraud-only")
    decision = decided(judge, SALE, policy)
    assert (decision.reason, decision.policy) == (Reason.CATEGORY_ALLOWED, "fraud-only")
    assert decided(judge, LOTTERY, policy).action is Action.BLOCK


def test_a_tenant_may_have_cutoffs_of_its_own_and_its_decisions_name_them(at_cutoffs: Judge) -> None:
    terms = {**everywhere(Terms()), ("careful", "MT", "unknown"): Terms(cutoffs=Cutoffs(spam=0.95))}
    policy = Policy(terms=terms)
    passed = decided(at_cutoffs, f"{ENOUGH} 0.9", policy, tenant="careful")
    assert (passed.action, passed.reason, passed.spam_cutoff) == (Action.ALLOW, Reason.UNSURE, 0.95)
    blocked = decided(at_cutoffs, f"{ENOUGH} 0.9", policy, tenant="other")
    assert (blocked.action, blocked.spam_cutoff) == (Action.BLOCK, 0.7)
    strict = decided(at_cutoffs, f"{ENOUGH} 0.55", preset("strict"))
    assert (strict.action, strict.ham_cutoff, strict.spam_cutoff) == (Action.BLOCK, 0.3, 0.5)


def test_one_tenant_observes_while_the_others_enforce(judge: Judge) -> None:
    policy = Policy(modes={"qingxi/MT": Mode.OBSERVE})
    watched = decided(judge, LOTTERY, policy, tenant="qingxi")
    assert (watched.action, watched.would_be, watched.reason) == (Action.ALLOW, Action.BLOCK, Reason.OBSERVED)
    assert watched.suggested_smpp_status == 0
    assert decided(judge, LOTTERY, policy, tenant="qingxi", direction="MO").action is Action.BLOCK


def test_the_kill_switch_allows_everything_and_says_so(judge: Judge) -> None:
    decision = decided(judge, LOTTERY, allow_all=True)
    assert (decision.action, decision.would_be, decision.reason) == (Action.ALLOW, Action.BLOCK, Reason.ALLOW_ALL)
    assert decided(judge, MUM, allow_all=True).reason is Reason.HAM_SCORE


@pytest.mark.parametrize(
    ("received_at", "late"),
    [
        (int(NOW_S * 1000) - 60_000, False),
        (int(NOW_S * 1000) - 60_001, True),
        (int(NOW_S * 1000) + 60_001, False),
        ("2026-11-24T09:58:59+08:00", True),
        ("2026-11-24T09:59:30+08:00", False),
        ("yesterday", False),
        (None, False),
        (-(10**18), True),
    ],
)
def test_a_decision_after_the_limit_is_marked_late(judge: Judge, received_at: Any, late: bool) -> None:
    assert decided(judge, MUM, received_at=received_at).late is late


def test_times_are_read_with_and_without_a_zone() -> None:
    moment = int(NOW_S * 1000)
    for stated in (NOON, "2026-11-24T02:00:00Z", "2026-11-24T02:00:00", "2026-11-24 02:00:00.000", moment):
        assert received_ms(Message(message_id="m", received_at=stated)) == moment
    for stated in ("", "24/11/2026", "2026-11-24\ufffd", "9999-99-99"):
        assert received_ms(Message(message_id="m", received_at=stated)) is None


def test_a_decision_says_who_decided_when_and_how_long_it_took(judge: Judge) -> None:
    decision = decided(judge, MUM)
    assert (decision.message_id, decision.decision_id) == ("m", "d0")
    assert (decision.model, decision.policy, decision.code_version) == ("small/1.0", "standard", "0.1.0")
    assert decision.decided_at == "2026-11-24T02:00:00.000+00:00"
    assert decision.timings is not None
    assert (decision.timings.queue_ms, decision.timings.score_ms) == (40.0, 0.0)


def test_defects_of_a_message_stand_in_its_decision(judge: Judge) -> None:
    message = DefectiveMessage(message_id="m", text=MUM, defects=("sender",))
    [decision] = decide(asked(message), judge, conditions())
    assert decision.defects == ("sender",)


def test_clues_of_a_long_text_point_into_its_tail(judge: Judge) -> None:
    filler = "".join(chr(0x3400 + number) for number in range(MAX_TEXT_CHARS))
    text = filler + INVOICE
    decision = decided(judge, text)
    assert decision.action is Action.BLOCK
    found = {(clue.feature, text[clue.start : clue.end]) for clue in decision.clues}
    assert found & {("微", "薇 信"), ("信", "薇 信")}
    assert all(clue.start >= len(filler) for clue in decision.clues)


def test_a_clue_over_the_seam_of_head_and_tail_covers_both_its_ends(judge: Judge) -> None:
    filler = chr(0x3400)
    text = filler * 1497 + "代开各" + filler * 700 + "类发票，点数优惠" + filler * 492
    clues = {clue.feature: clue for clue in decided(judge, text).clues}
    assert text[clues["代"].start : clues["代"].end] == "代"
    assert text[clues["各类"].start] == "各"
    assert text[clues["各类"].end - 1] == "类"


def test_spam_behind_a_long_head_is_not_hidden(judge: Judge) -> None:
    assert decided(judge, MUM * 200 + LOTTERY * 10).score != decided(judge, MUM * 200).score


def test_without_its_review_copy_a_block_becomes_a_degraded_allow(judge: Judge) -> None:
    block = decided(judge, LOTTERY)
    passed = without_review(block)
    assert (passed.action, passed.would_be) == (Action.ALLOW, Action.BLOCK)
    assert (passed.reason, passed.degraded) == (Reason.REVIEW_UNAVAILABLE, True)
    assert passed.suggested_smpp_status == 0
    assert (passed.decision_id, passed.score, passed.clues) == (block.decision_id, block.score, block.clues)


def test_what_could_not_be_judged_is_allowed_and_marked(judge: Judge) -> None:
    [decision] = failed(asked(Message(message_id="m", text=LOTTERY)), judge, conditions())
    assert (decision.action, decision.reason) == (Action.ALLOW, Reason.SCORING_FAILED)
    assert decision.degraded
    assert decision.score is None


def test_a_campaign_is_read_once_and_each_of_its_messages_has_the_decision_it_has_alone(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = LOTTERY * 100
    texts = [LOTTERY, MUM, LOTTERY, long, long[:-1] + "呀", "", LOTTERY, MUM, long]
    messages = [
        Message(message_id=f"m{number}", text=text, sender=f"s{number}", direction="MO" if number == 6 else "MT")
        for number, text in enumerate(texts)
    ]
    alone = [decide([request], judge, conditions())[0] for request in asked(*messages)]
    read: list[int] = []
    real = judge.scorer.read

    def counted(found: Sequence[str]) -> Reading:
        read.append(len(found))
        return real(found)

    monkeypatch.setattr(judge.scorer, "read", counted)
    assert decide(asked(*messages), judge, conditions()) == alone
    assert read == [5]


@given(
    st.lists(st.sampled_from([*EVERYONE, NASTY, "", "\ud800"]) | st.text(max_size=30) | st.none(), max_size=6),
    st.data(),
)
def test_a_decision_is_the_same_in_any_batch_and_can_always_be_published(
    judge: Judge, texts: list[str | None], data: st.DataObject
) -> None:
    requests = asked(*(Message(message_id=f"m{number}", text=text) for number, text in enumerate(texts)))
    together = decide(requests, judge, conditions())
    assert [decision.decision_id for decision in together] == [request.decision_id for request in requests]
    for decision, request in zip(together, requests, strict=True):
        [alone] = decide([request], judge, conditions())
        assert msgspec.structs.replace(alone, clues=()) == msgspec.structs.replace(decision, clues=())
        assert [(c.feature, c.start, c.end) for c in alone.clues] == [
            (c.feature, c.start, c.end) for c in decision.clues
        ]
        assert msgspec.json.decode(encode(decision), type=Decision).action is decision.action
