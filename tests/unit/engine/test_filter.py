"""Does the live filter judge every message, off the loop, and can no hostile text take others with it?"""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge, Reading, Request
from spamguard.core.policy import Policy
from spamguard.core.scorer import Explanation, LinearScorer
from spamguard.engine import filter as filter_module
from spamguard.engine.control import Controls
from spamguard.engine.filter import SLICE, SLICE_CHARS, LiveFilter
from spamguard.engine.holder import ModelHolder
from spamguard.types import Action, Decision, Message, Mode, Reason
from tests.cast import EVERYONE, GOOD, LOTTERY, MUM

HOSTILE = "this text makes the scorer raise"


class Fragile:
    """A scorer that raises on one text, at a step of its choice, and remembers its threads."""

    def __init__(self, scorer: LinearScorer, step: str = "score") -> None:
        self.scorer = scorer
        self.step = step
        self.threads: set[int] = set()
        self.sizes: list[int] = []

    def _check(self, step: str, texts: Sequence[str]) -> None:
        self.threads.add(threading.get_ident())
        if step == self.step and HOSTILE in texts:
            raise ZeroDivisionError(f"choked on {HOSTILE}")

    def read(self, texts: Sequence[str]) -> "FragileReading":
        """Score, or raise."""
        self.sizes.append(len(texts))
        self._check("score", texts)
        return FragileReading(self, self.scorer.read(texts))


class FragileReading:
    """What a fragile scorer read."""

    def __init__(self, scorer: Fragile, reading: Reading) -> None:
        self._scorer = scorer
        self._reading = reading
        self.scores = reading.scores

    def explain(self, places: Sequence[int], originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Explain, or raise."""
        self._scorer._check("explain", originals)
        return self._reading.explain(places, originals, most=most)


def requests(*texts: str) -> list[Request]:
    """Return requests, numbered."""
    return [Request(Message(message_id=f"m{n}", text=text), f"d{n}", 0) for n, text in enumerate(texts)]


def judged(live: LiveFilter, asked: Sequence[Request]) -> list[Decision]:
    """Return the decisions of one call."""
    return asyncio.run(live.judge(asked))


@pytest.fixture
def failures() -> list[tuple[str, str]]:
    """What was reported as failed."""
    return []


@pytest.fixture
def fragile(scorer: LinearScorer) -> Fragile:
    """A scorer that raises on the hostile text."""
    return Fragile(scorer)


@pytest.fixture
def live(fragile: Fragile, failures: list[tuple[str, str]]) -> Iterator[LiveFilter]:
    """A live filter over the fragile scorer."""
    engine = LiveFilter(
        ModelHolder(Judge(fragile, "fragile/1", 0.3, 0.7)),
        clock=ManualClock(1000.0),
        code_version="0.1.0",
        on_failure=lambda message_id, error: failures.append((message_id, error)),
    )
    yield engine
    engine.close()


def test_a_long_batch_is_judged_in_slices_off_the_loop_and_in_order(live: LiveFilter, fragile: Fragile) -> None:
    short = [text for text in EVERYONE if (len(text) + 3) * SLICE <= SLICE_CHARS]
    texts = [short[number % len(short)] for number in range(2 * SLICE + 5)]
    decisions = judged(live, requests(*(f"{text}{number}" for number, text in enumerate(texts))))
    assert [decision.message_id for decision in decisions] == [f"m{number}" for number in range(len(texts))]
    assert [decision.action for decision in decisions] == [
        Action.ALLOW if text in GOOD else Action.BLOCK for text in texts
    ]
    assert fragile.sizes == [SLICE, SLICE, 5]
    assert threading.get_ident() not in fragile.threads
    assert len(fragile.threads) == 1


def test_long_messages_make_small_slices_and_a_slice_is_never_empty(live: LiveFilter, fragile: Fragile) -> None:
    texts = [MUM * 200] * 2 + [LOTTERY] * 3 + [MUM * (SLICE_CHARS // len(MUM))] * 2
    decisions = judged(live, requests(*(f"{number}{text}" for number, text in enumerate(texts))))
    assert [decision.message_id for decision in decisions] == [f"m{number}" for number in range(len(texts))]
    assert fragile.sizes == [5, 1, 1]


def test_whoever_waits_for_the_judging_thread_gets_it_before_a_long_batch_is_done(
    live: LiveFilter, fragile: Fragile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_module, "VISIT_S", 0.0)

    many = requests(*(f"{MUM}{number}" for number in range(2 * SLICE)))

    async def both() -> None:
        await asyncio.gather(live.judge(many), live.judge(requests(LOTTERY)))

    asyncio.run(both())
    assert fragile.sizes == [SLICE, 1, SLICE]


def test_nothing_to_judge_is_no_work(live: LiveFilter, fragile: Fragile) -> None:
    assert judged(live, []) == []
    assert fragile.sizes == []


@pytest.mark.parametrize("step", ["score", "explain"])
def test_one_hostile_message_is_isolated_counted_and_passes_degraded(
    live: LiveFilter, fragile: Fragile, failures: list[tuple[str, str]], step: str
) -> None:
    fragile.step = step
    live.holder.swap(live.holder.judge._replace(ham_cutoff=1e-9, spam_cutoff=0.7))
    expected = judged(live, requests(LOTTERY, MUM, LOTTERY))
    found = judged(live, requests(LOTTERY, HOSTILE, MUM, LOTTERY))
    assert [found[place].reason for place in (0, 2, 3)] == [decision.reason for decision in expected]
    assert [found[place].action for place in (0, 2, 3)] == [decision.action for decision in expected]
    assert [found[place].score for place in (0, 2, 3)] == [decision.score for decision in expected]
    assert (found[1].action, found[1].reason) == (Action.ALLOW, Reason.SCORING_FAILED)
    assert [decision.degraded for decision in found] == [False, True, False, False]
    assert failures == [("m1", "ZeroDivisionError")]


def test_switches_take_effect_with_the_next_batch(live: LiveFilter) -> None:
    asked = requests(LOTTERY)
    assert judged(live, asked)[0].action is Action.BLOCK
    live.controls = Controls(file="")
    assert judged(live, asked)[0].reason is Reason.ALLOW_ALL
    live.controls = Controls()
    live.policy = Policy(name="watch", mode=Mode.OBSERVE)
    watched = judged(live, asked)[0]
    assert (watched.action, watched.reason, watched.policy) == (Action.ALLOW, Reason.OBSERVED, "watch")


def test_a_batch_keeps_the_model_it_began_with(live: LiveFilter, fragile: Fragile, scorer: LinearScorer) -> None:
    class Swapping(Fragile):
        """Swaps another model in while it scores."""

        def read(self, texts: Sequence[str]) -> FragileReading:
            live.holder.swap(Judge(scorer, "next/1", 0.3, 0.7))
            return super().read(texts)

    live.holder.swap(Judge(Swapping(scorer), "first/1", 0.3, 0.7))
    first = judged(live, requests(*[MUM] * (SLICE + 1)))
    assert {decision.model for decision in first} == {"first/1"}
    assert judged(live, requests(MUM))[0].model == "next/1"


def test_repeats_carry_the_same_decision(live: LiveFilter) -> None:
    asked = requests(*EVERYONE)
    assert judged(live, asked) == judged(live, asked)
