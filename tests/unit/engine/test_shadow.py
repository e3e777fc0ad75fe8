"""Does the challenger score what the champion decided, and can it never touch a decision?"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.backends.metrics import MemoryMetrics
from spamguard.core.codec import encode
from spamguard.core.decide import Judge, Reading, Request
from spamguard.core.policy import Policy
from spamguard.core.scorer import LinearScorer
from spamguard.engine.control import Controls
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder
from spamguard.engine.shadow import SLICE, Shadow
from spamguard.types import Action, Message, Mode, ShadowReport
from tests.cast import BANK_CODE, EVERYONE, GOOD, LOTTERY, MUM, SPAM

NEVER, ALWAYS = (0.999_998, 0.999_999), (1e-6, 2e-6)


class Scoring:
    """A scorer with something in its way."""

    def __init__(self, scorer: LinearScorer) -> None:
        self.scorer = scorer
        self.threads: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scorer, name)

    def read(self, texts: Sequence[str]) -> Reading:
        """Score."""
        self.threads.add(threading.current_thread().name.rstrip("0123456789"))
        return self.scorer.read(texts)


class Raising(Scoring):
    """A scorer that raises."""

    def read(self, texts: Sequence[str]) -> Reading:
        """Raise."""
        raise ZeroDivisionError(texts[0])


class Waiting(Scoring):
    """A scorer that waits for a sign."""

    def __init__(self, scorer: LinearScorer) -> None:
        super().__init__(scorer)
        self.go = threading.Event()

    def read(self, texts: Sequence[str]) -> Reading:
        """Wait, then score."""
        assert self.go.wait(30)
        return super().read(texts)


@pytest.fixture
def engine(judge: Judge) -> Iterator[LiveFilter]:
    """The deciding engine."""
    live = LiveFilter(ModelHolder(judge), clock=ManualClock(1000.0), code_version="0.1.0")
    yield live
    live.close()


@pytest.fixture
def metrics() -> MemoryMetrics:
    """What is counted."""
    return MemoryMetrics()


def requests(*texts: str) -> list[Request]:
    return [Request(Message(message_id=f"m{n}", text=text), f"d{n}", 0) for n, text in enumerate(texts)]


def outcomes(metrics: MemoryMetrics) -> dict[str, float]:
    found = {
        name: metrics.total("spamguard_shadow_total", outcome=name) for name in ("agree", "would_block", "would_allow")
    }
    return {name: number for name, number in found.items() if number}


async def shadowed(engine: LiveFilter, shadow: Shadow, *texts: str) -> None:
    """Judge a batch, offer it, and wait for the challenger."""
    asked = requests(*texts)
    shadow.offer(asked, await engine.judge(asked))
    await shadow.settle()


@pytest.mark.parametrize(
    ("cutoffs", "expected"),
    [
        ((0.3, 0.7), {"agree": 12}),
        (NEVER, {"agree": len(GOOD), "would_allow": len(SPAM)}),
        (ALWAYS, {"would_block": 2, "agree": 10}),  # MUM and FRIEND; codes and notices are guarded
    ],
)
async def test_disagreements_are_those_at_each_models_own_cutoffs_and_guards_hold_for_both(
    engine: LiveFilter,
    metrics: MemoryMetrics,
    scorer: LinearScorer,
    cutoffs: tuple[float, float],
    expected: dict[str, int],
) -> None:
    shadow = Shadow(engine, metrics=metrics)
    shadow.challenger = Judge(scorer, "small/2.0", *cutoffs)
    await shadowed(engine, shadow, *EVERYONE)
    assert outcomes(metrics) == expected
    await shadow.close()


async def test_in_observe_mode_and_under_the_kill_switch_the_comparison_is_the_same(
    engine: LiveFilter, metrics: MemoryMetrics, scorer: LinearScorer
) -> None:
    shadow = Shadow(engine, metrics=metrics)
    shadow.challenger = Judge(scorer, "small/2.0", *NEVER)
    engine.policy = Policy(name="watch", mode=Mode.OBSERVE)
    await shadowed(engine, shadow, LOTTERY, MUM)
    engine.controls = Controls(file="for this test")
    await shadowed(engine, shadow, LOTTERY, MUM)
    assert outcomes(metrics) == {"agree": 2, "would_allow": 2}
    await shadow.close()


async def test_nothing_is_compared_without_a_challenger_or_with_one_that_became_the_champion(
    engine: LiveFilter, metrics: MemoryMetrics, judge: Judge
) -> None:
    shadow = Shadow(engine, metrics=metrics)
    await shadowed(engine, shadow, LOTTERY)
    shadow.challenger = judge
    await shadowed(engine, shadow, LOTTERY)
    assert metrics.values == {}
    await shadow.close()


async def test_a_sampled_disagreement_holds_both_opinions_and_no_text(
    engine: LiveFilter, metrics: MemoryMetrics, scorer: LinearScorer
) -> None:
    reports: list[ShadowReport] = []

    async def keep(found: Sequence[ShadowReport]) -> None:
        reports.extend(found)

    shadow = Shadow(engine, metrics=metrics, sample=1.0, on_sample=keep)
    shadow.challenger = Judge(scorer, "small/2.0", *NEVER)
    await shadowed(engine, shadow, LOTTERY, MUM, BANK_CODE)
    [report] = reports
    assert (report.decision_id, report.message_id, report.outcome) == ("d0", "m0", "would_allow")
    assert (report.champion.model, report.challenger.model) == ("small/1.0", "small/2.0")
    assert (report.champion.would_be, report.challenger.would_be) == (Action.BLOCK, Action.ALLOW)
    assert report.champion.score == report.challenger.score
    assert not any(piece in encode(report).decode() for piece in (LOTTERY[:6], "98000", "prize"))
    await shadow.close()


async def test_a_challenger_that_raises_is_counted_and_harms_nothing(
    engine: LiveFilter, metrics: MemoryMetrics, scorer: LinearScorer
) -> None:
    shadow = Shadow(engine, metrics=metrics)
    shadow.challenger = Judge(Raising(scorer), "small/2.0", 0.3, 0.7)
    await shadowed(engine, shadow, *EVERYONE)
    await shadowed(engine, shadow, *EVERYONE)
    assert metrics.total("spamguard_shadow_dropped_total", reason="failed") == 2 * len(EVERYONE)
    assert metrics.total("spamguard_scoring_failures_total") == 0
    shadow.challenger = Judge(scorer, "small/2.0", 0.3, 0.7)
    await shadowed(engine, shadow, *EVERYONE)
    assert outcomes(metrics) == {"agree": len(EVERYONE)}
    await shadow.close()


async def test_samples_that_cannot_be_published_cost_no_comparison(
    engine: LiveFilter, metrics: MemoryMetrics, scorer: LinearScorer
) -> None:
    async def refuse(found: Sequence[ShadowReport]) -> None:
        raise ConnectionError("nobody there")

    shadow = Shadow(engine, metrics=metrics, sample=1.0, on_sample=refuse)
    shadow.challenger = Judge(scorer, "small/2.0", *NEVER)
    await shadowed(engine, shadow, *[LOTTERY] * (SLICE + 1))
    assert outcomes(metrics) == {"would_allow": SLICE + 1}
    assert metrics.total("spamguard_shadow_dropped_total") == 0
    await shadow.close()


async def test_under_load_messages_are_dropped_and_counted_and_deciding_goes_on(
    engine: LiveFilter, metrics: MemoryMetrics, scorer: LinearScorer
) -> None:
    slow = Waiting(scorer)
    shadow = Shadow(engine, metrics=metrics, most_waiting=10)
    shadow.challenger = Judge(slow, "small/2.0", 0.3, 0.7)
    asked = requests(*EVERYONE)
    for _ in range(5):
        decisions = await engine.judge(asked)
        shadow.offer(asked, decisions)
        assert [decision.action is Action.BLOCK for decision in decisions] == [text in SPAM for text in EVERYONE]
    dropped = metrics.total("spamguard_shadow_dropped_total", reason="busy")
    assert 5 * len(asked) - 20 <= dropped < 5 * len(asked)  # at most ten wait, and ten are in hand
    slow.go.set()
    await shadow.settle()
    assert outcomes(metrics) == {"agree": 5 * len(asked) - dropped}
    assert slow.threads == {"shadow_"}
    await shadow.close()


async def test_a_slice_of_the_shadow_waits_while_a_batch_is_judged(
    engine: LiveFilter, metrics: MemoryMetrics, scorer: LinearScorer, judge: Judge
) -> None:
    slow = Waiting(scorer)
    shadow = Shadow(engine, metrics=metrics)
    shadow.challenger = Judge(scorer, "small/2.0", 0.3, 0.7)
    asked = requests(*EVERYONE)
    decided = await engine.judge(asked)
    engine.holder.swap(judge._replace(scorer=slow))
    judging = asyncio.create_task(engine.judge(asked))
    await asyncio.sleep(0)
    shadow.offer(asked, decided)
    await asyncio.sleep(0.05)
    assert outcomes(metrics) == {}
    slow.go.set()
    await judging
    await shadow.settle()
    assert outcomes(metrics) == {"agree": len(asked)}
    await shadow.close()
