"""Do the worker's metrics tell of the last hour, of nothing too thin, and anew with another model?"""

import msgspec
import numpy as np
import pytest

from spamguard.backends.metrics import MemoryMetrics
from spamguard.core.ageing import EDGES, Observed, Reference, Tally, reference_of
from spamguard.core.decide import Request
from spamguard.engine.ageing import EVERY, SLOT_S, SLOTS, Ageing, Expectation
from spamguard.types import Decision, Message
from tests.unit.core.test_changes import decision


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s


def batch(scores: list[float], model: str = "m/1") -> tuple[list[Request], list[Decision]]:
    requests = [Request(Message(message_id="m", text="晚上一起吃饭吗"), "", 0) for _ in scores]
    return requests, [msgspec.structs.replace(decision(score), model=model) for score in scores]


def expected(model: str = "m/1") -> Reference:
    tally = Tally(EDGES)
    scores = np.random.default_rng(1).random(20_000) * 0.3
    tally.add(Observed({"score": scores}, {"blocked": np.zeros(20_000, dtype=np.int64)}))
    return reference_of(tally)


def test_the_metrics_tell_of_the_last_hour_and_of_nothing_too_thin() -> None:
    clock, metrics = Clock(), MemoryMetrics()
    ageing = Ageing(lambda: Expectation("m/1", expected(), {}), metrics=metrics, clock=clock)
    rng = np.random.default_rng(2)

    def shown() -> dict[str, float]:
        return {dict(labels)["feature"]: value for (name, labels), value in metrics.values.items()
                if name == "spamguard_drift_psi"}  # fmt: skip

    ageing.offer(*batch((rng.random(500) * 0.3).tolist()))
    assert shown() == {}
    for _ in range(4):
        clock.now_s += 11
        ageing.offer(*batch((rng.random(500) * 0.3).tolist()))
    assert set(shown()) == {"score", "blocked"}
    assert shown()["score"] < 0.1
    clock.now_s += SLOT_S * SLOTS
    for _ in range(4):
        clock.now_s += 11
        ageing.offer(*batch((0.6 + rng.random(500) * 0.4).tolist()))
    assert shown()["score"] > 0.25
    assert metrics.values[("spamguard_drift_messages", ())] == 2000
    clock.now_s += SLOT_S * SLOTS
    ageing.offer(*batch([0.1]))
    assert shown() == {}


def test_another_model_begins_anew_with_its_own_reference_and_one_without_says_nothing() -> None:
    clock, metrics = Clock(), MemoryMetrics()
    asked: list[str] = []
    now = ["m/1"]

    def expectation() -> Expectation:
        asked.append(now[0])
        return Expectation(now[0], expected() if now[0] == "m/1" else None, {})

    ageing = Ageing(expectation, metrics=metrics, clock=clock)
    ageing.offer(*batch([0.1] * 1200))
    assert metrics.values[("spamguard_drift_messages", ())] == 1200
    now[0] = "m/2"
    ageing.offer(*batch([0.1] * 1200, "m/2"))
    ageing.offer(*batch([0.1] * 1200, "m/2"))
    assert asked == ["m/1", "m/2"]
    assert not [key for key in metrics.values if key[0] == "spamguard_drift_psi"]


def test_texts_are_looked_at_one_in_so_many_however_small_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def observe(texts: list[str], known: object) -> Observed:
        looked.append(len(texts))
        return Observed({}, {})

    monkeypatch.setattr("spamguard.engine.ageing.observe_texts", observe)
    ageing = Ageing(lambda: Expectation("m/1", expected(), {}), metrics=MemoryMetrics(), clock=Clock())
    for size in [1] * 64 + [7] * 64 + [1000]:
        ageing.offer(*batch([0.1] * size))
    assert sum(looked) == -(-(64 + 448 + 1000) // EVERY)


def test_watching_that_raises_costs_no_decision() -> None:
    def broken() -> Expectation:
        raise RuntimeError("nothing here")

    Ageing(broken, metrics=MemoryMetrics(), clock=Clock()).offer(*batch([0.1]))
