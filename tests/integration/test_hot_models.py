"""Does the worker follow its model while it serves: nothing lost, nothing mixed, nothing bad let in?

The real worker on the broker in memory, and a real process on a real Kafka. The oracle is the engine without a broker:
a decision must be what the model it names says offline.
"""

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
from structlog.testing import capture_logs

from spamguard.backends import registry
from spamguard.backends.memory import MemoryBroker, MemoryProducer
from spamguard.config import Settings, load
from spamguard.core.codec import decision_id, decode_message
from spamguard.core.decide import Judge, Request
from spamguard.core.scorer import Explanation, LinearScorer, Scores
from spamguard.service.catalogue import promote_model
from spamguard.service.judging import offline_filter
from spamguard.service.streams import memory_broker
from spamguard.types import DeadReason, Outgoing, Partition, Record
from tests.cast import EVERYONE
from tests.integration.serving import Names, Serving, create, kafka_broker, publish, read, spread, varied
from tests.integration.test_memory_service import decided, decisions, lag, message, metric, published, serving, until

PARTITIONS: Final = 3
SWAPS: Final = 50
FIRST, SECOND = "small/1.0", "small/2.0"


@pytest.fixture
def settings(two_models: Path) -> Settings:
    values = {"models": str(two_models), "metrics_port": 0, "max_records": 50, "model_poll_s": 0.01}
    return load(values, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return memory_broker(settings, partitions=PARTITIONS)


def oracle(settings: Settings, records: list[Record], model: str) -> dict[str, dict[str, Any]]:
    """Return what a model decides offline on inbound records, by decision id."""
    requests = []
    for record in records:
        found = decode_message(record.value)
        assert not isinstance(found, DeadReason)
        requests.append(Request(found, decision_id(record.partition, record.offset), record.timestamp_ms))
    engine = offline_filter(settings.model_copy(update={"model": model}))
    try:
        return {decision.decision_id: vars_of(decision) for decision in engine.judge_now(requests)}
    finally:
        engine.close()


def vars_of(decision: Any) -> dict[str, Any]:
    return {name: str(getattr(decision, name)) for name in ("action", "reason", "score", "spam_cutoff", "model")}


def as_published(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(decision.get(name)) for name in ("action", "reason", "score", "spam_cutoff", "model")}


def deciding(worker: Any) -> list[str]:
    """Return the models that the metrics say decide."""
    return [
        sample.labels["model"]
        for family in worker.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "spamguard_model_info" and sample.value
    ]


async def test_fifty_swaps_under_load_lose_nothing_and_every_decision_is_its_models_own(
    settings: Settings, broker: MemoryBroker, two_models: Path
) -> None:
    feed = varied(2_000)
    sent = 0

    async def load_on() -> None:
        """Keep a few batches waiting all the time, so that every swap falls into a stream."""
        nonlocal sent
        while True:
            while lag(broker) < 200:
                broker.append(Partition("sms.inbound", sent % PARTITIONS), [feed[sent % len(feed)]])
                sent += 1
            await asyncio.sleep(0.005)

    settings = settings.model_copy(update={"shadow": False})
    async with serving(settings, broker) as worker:
        await until(lambda: worker.health.waiting_for() == [])
        loading = asyncio.create_task(load_on())
        for number in range(SWAPS):
            target = (SECOND, FIRST)[number % 2]
            registry.write_alias(two_models, "champion", target)
            await until(lambda target=target: deciding(worker) == [target])  # type: ignore[misc]
            seen = len(broker.records("sms.decisions")) + 50  # beyond a batch in flight
            await until(lambda seen=seen: len(broker.records("sms.decisions")) > seen)  # type: ignore[misc]
        assert metric(worker, "spamguard_model_reloads_total", role="champion", outcome="swapped") == SWAPS
        assert metric(worker, "spamguard_model_reloads_total", outcome="rejected") == 0
        loading.cancel()
        await until(lambda: lag(broker) == 0)
        assert worker.health.waiting_for() == []
    records = broker.records("sms.inbound")
    found = decisions(broker)
    assert len(found) == len({decision["decision_id"] for decision in found}) == len(records) == sent
    expected = {model: oracle(settings, records, model) for model in (FIRST, SECOND)}
    wrong = [d["decision_id"] for d in found if as_published(d) != expected[d["model"]][d["decision_id"]]]
    assert wrong == []
    named = Counter(decision["model"] for decision in found)
    assert min(named[FIRST], named[SECOND]) >= SWAPS


async def test_a_replaced_model_leaves_no_memory_behind(
    settings: Settings, broker: MemoryBroker, two_models: Path
) -> None:
    def scorers() -> int:
        gc.collect()
        return sum(isinstance(thing, LinearScorer) for thing in gc.get_objects())

    before = scorers()
    async with serving(settings, broker) as worker:
        await until(lambda: worker.health.waiting_for() == [])
        for target in (SECOND, FIRST, SECOND):
            registry.write_alias(two_models, "champion", target)
            await until(lambda target=target: deciding(worker) == [target])  # type: ignore[misc]
            await until(lambda: scorers() == before + 1)


def tampered(folder: Path) -> None:
    path = folder / "weights.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncated(folder: Path) -> None:
    path = folder / "vocabulary.txt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_copied(folder: Path) -> None:
    (folder / "weights.npz").unlink()


def headless(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def of_another_normaliser(folder: Path) -> None:
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"normalizer_version": "0"}))


def with_other_self_tests(folder: Path) -> None:
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"self_tests": [{"text": "晚上一起吃饭吗", "log_odds": 99.0}]}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (tampered, "weights.npz is not the file the manifest describes"),
        (truncated, "vocabulary.txt is not the file the manifest describes"),
        (half_copied, "weights.npz"),
        (headless, "There is no model"),
        (of_another_normaliser, "trained under normaliser 0"),
        (with_other_self_tests, "self-test"),
    ],
)
async def test_a_bad_model_changes_nothing_says_why_once_and_a_mended_one_takes_over(
    settings: Settings, broker: MemoryBroker, two_models: Path, spoil: Callable[[Path], None], said: str
) -> None:
    whole = two_models / "whole"
    shutil.copytree(two_models / SECOND, whole)
    spoil(two_models / SECOND)
    with capture_logs() as logs:
        async with serving(settings, broker) as worker:
            await until(lambda: worker.health.waiting_for() == [])
            registry.write_alias(two_models, "champion", SECOND)
            await until(lambda: metric(worker, "spamguard_model_rejected", role="champion") == 1)
            for number, text in enumerate(EVERYONE):
                broker.append(Partition("sms.inbound", number % PARTITIONS), [message(f"m{number}", text)])
            await until(lambda: len(decided(broker)) == len(EVERYONE))
            await asyncio.sleep(0.2)  # many more looks
            assert {decision["model"] for decision in decisions(broker)} == {FIRST}
            assert deciding(worker) == [FIRST]
            assert worker.health.waiting_for() == []
            assert metric(worker, "spamguard_model_reloads_total", role="champion", outcome="rejected") == 1
            shutil.rmtree(two_models / SECOND)
            shutil.copytree(whole, two_models / "small" / ".2.0")
            (two_models / "small" / ".2.0").rename(two_models / SECOND)
            await until(lambda: deciding(worker) == [SECOND])
            assert metric(worker, "spamguard_model_rejected", role="champion") == 0
    [first, *_] = [line for line in logs if line["event"] == "model_rejected"]
    assert said in first["why"]
    assert [line["event"] for line in logs].count("model_swapped") == 1


async def test_an_order_over_the_control_topic_goes_before_the_alias_and_a_bad_one_changes_nothing(
    settings: Settings, broker: MemoryBroker, two_models: Path
) -> None:
    def order(value: dict[str, Any] | None) -> None:
        told = None if value is None else json.dumps(value).encode()
        broker.append(Partition("sms.control", 0), [Outgoing(key=b"model", value=told)])

    with capture_logs() as logs:
        async with serving(settings, broker) as worker:
            await until(lambda: worker.health.waiting_for() == [])
            order({"on": True, "model": SECOND, "who": "mei", "reason": "the alias cannot be moved"})
            await until(lambda: deciding(worker) == [SECOND])
            order({"on": True, "model": "small/9.9"})
            await until(lambda: metric(worker, "spamguard_model_rejected", role="champion") == 1)
            order({"on": True, "model": "../elsewhere/1.0"})  # a path is no name, and no order
            await until(lambda: "control_not_understood" in [line["event"] for line in logs])
            assert deciding(worker) == [SECOND]
            assert worker.health.waiting_for() == []
            order({"on": True, "model": SECOND})
            await until(lambda: metric(worker, "spamguard_model_rejected", role="champion") == 0)
        broker.append(Partition("sms.inbound", 0), [message("m", EVERYONE[0])])
        async with serving(settings, broker) as worker:  # one that starts late obeys from its first batch on
            await until(lambda: len(decided(broker)) == 1)
            order({"on": False})
            await until(lambda: deciding(worker) == [FIRST])
    assert {decision["model"] for decision in decisions(broker)} == {SECOND}
    [told, *_] = [line for line in logs if line["event"] == "switched"]
    assert (told["switch"], told["model"], told["who"]) == ("model", SECOND, "mei")


async def test_broken_aliases_change_nothing_and_the_mended_ones_make_all_well(
    settings: Settings, broker: MemoryBroker, two_models: Path
) -> None:
    async with serving(settings, broker) as worker:
        await until(lambda: worker.health.waiting_for() == [])
        (two_models / "aliases.json").write_text("{")
        await until(lambda: metric(worker, "spamguard_model_rejected", role="champion") == 1)
        assert deciding(worker) == [FIRST]
        (two_models / "aliases.json").write_text(json.dumps({"champion": FIRST}))
        await until(lambda: metric(worker, "spamguard_model_rejected", role="champion") == 0)
        assert metric(worker, "spamguard_model_reloads_total", outcome="swapped") == 0


async def test_a_volume_of_kubernetes_that_swaps_its_link_swaps_the_model(
    settings: Settings, broker: MemoryBroker, tmp_path: Path, two_models: Path
) -> None:
    volume = tmp_path / "volume"
    for name, model in (("..2026_01", FIRST), ("..2026_02", SECOND)):
        shutil.copytree(two_models / model, volume / name / "small")
    (volume / "..data").symlink_to("..2026_01")
    (volume / "small").symlink_to("..data/small")
    async with serving(settings.model_copy(update={"model": str(volume / "small")}), broker) as worker:
        await until(lambda: worker.health.waiting_for() == [])
        assert deciding(worker) == [FIRST]
        (volume / "..data_tmp").symlink_to("..2026_02")
        (volume / "..data_tmp").replace(volume / "..data")
        shutil.rmtree(volume / "..2026_01")
        await until(lambda: deciding(worker) == [SECOND])
        assert metric(worker, "spamguard_model_reloads_total", outcome="rejected") == 0


async def test_the_challenger_scores_along_its_disagreements_are_counted_and_sampled_without_text(
    settings: Settings, broker: MemoryBroker, two_models: Path
) -> None:
    registry.write_alias(two_models, "challenger", SECOND)
    broker.add_topic("sms.shadow", 2)
    feed = varied(1500)
    async with serving(settings.model_copy(update={"shadow_sample": 0.5}), broker) as worker:
        await until(lambda: worker.shadow is not None and worker.shadow.challenger is not None)
        for number, outgoing in enumerate(feed):
            broker.append(Partition("sms.inbound", number % PARTITIONS), [outgoing])
        await until(lambda: lag(broker) == 0)
        assert worker.shadow is not None
        await worker.shadow.settle()
        total = metric(worker, "spamguard_shadow_total")
        outcomes = {
            outcome: metric(worker, "spamguard_shadow_total", outcome=outcome)
            for outcome in ("agree", "would_block", "would_allow")
        }
        dropped = metric(worker, "spamguard_shadow_dropped_total", reason="busy")
        assert metric(worker, "spamguard_shadow_dropped_total", reason="failed") == 0
        assert metric(worker, "spamguard_shadow_info", model=SECOND) == 1
    records = broker.records("sms.inbound")
    champion, challenger = (oracle(settings, records, model) for model in (FIRST, SECOND))
    assert {d["decision_id"]: as_published(d) for d in decisions(broker)} == champion  # it decides nothing
    scored = [identity for identity, decision in champion.items() if decision["score"] != "None"]
    apart = {i for i in scored if champion[i]["action"] != challenger[i]["action"]}
    assert total + dropped == len(scored)
    assert total > 0
    if not dropped:  # on a busy machine some batches are
        assert outcomes["would_allow"] + outcomes["would_block"] == len(apart) > 0
    reports = published(broker, "sms.shadow")
    assert 0 < len(reports) < len(apart)
    texts = {json.loads(outgoing.value or b"")["message_id"]: outgoing.value or b"" for outgoing in feed}
    for report in reports:
        assert report["decision_id"] in apart
        assert str(report["champion"]["score"]) == champion[report["decision_id"]]["score"]
        assert str(report["challenger"]["score"]) == challenger[report["decision_id"]]["score"]
        original = json.loads(texts[report["message_id"]])
        line = json.dumps(report, ensure_ascii=False)
        assert not any(original.get(name) and original[name] in line for name in ("text", "sender", "recipient"))


async def test_a_challenger_comes_and_goes_with_its_alias_and_a_bad_one_is_said(
    settings: Settings, broker: MemoryBroker, two_models: Path
) -> None:
    async with serving(settings, broker) as worker:
        await until(lambda: worker.health.waiting_for() == [])
        assert worker.shadow is not None
        registry.write_alias(two_models, "challenger", SECOND)
        await until(lambda: metric(worker, "spamguard_shadow_info", model=SECOND) == 1)
        truncated(two_models / FIRST)
        registry.write_alias(two_models, "challenger", FIRST)
        await until(lambda: metric(worker, "spamguard_model_rejected", role="challenger") == 1)
        assert metric(worker, "spamguard_shadow_info", model=SECOND) == 1
        (two_models / "aliases.json").write_text(json.dumps({"champion": FIRST}))
        await until(lambda: metric(worker, "spamguard_shadow_info") == 0)
        assert metric(worker, "spamguard_model_rejected") == 0
        assert worker.shadow.challenger is None


class Contrary:
    """A scorer that takes every message for spam."""

    def read(self, texts: Sequence[str]) -> "ContraryReading":
        """Score."""
        ones = np.ones(len(texts))
        return ContraryReading(Scores(ones, 30 * ones, 9 * ones.astype(np.int64)))


class ContraryReading(NamedTuple):
    """What it read."""

    scores: Scores

    def explain(self, places: Sequence[int], originals: Sequence[str], *, most: int = 5) -> list[Explanation]:
        """Explain nothing."""
        return [Explanation(30.0, 0.0, (), 30.0, None) for _ in originals]


async def test_a_challenger_that_raises_and_a_shadow_topic_that_hangs_touch_no_decision(
    settings: Settings, broker: MemoryBroker, two_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raising:
        """A scorer that raises."""

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

    real = MemoryProducer.publish

    async def hang(self: MemoryProducer, partition: Partition, batch: list[Outgoing]) -> None:
        if partition.topic == "sms.shadow":
            await asyncio.Event().wait()
        await real(self, partition, batch)

    monkeypatch.setattr(MemoryProducer, "publish", hang)
    broker.add_topic("sms.shadow", 1)
    feed = varied(300)
    async with serving(settings.model_copy(update={"shadow_sample": 1.0}), broker) as worker:
        await until(lambda: worker.shadow is not None)
        assert worker.shadow is not None
        worker.shadow.challenger = Judge(Raising(), "raising/1", 0.3, 0.7)
        for number, outgoing in enumerate(feed[:150]):
            broker.append(Partition("sms.inbound", number % PARTITIONS), [outgoing])
        await until(lambda: lag(broker) == 0)
        await worker.shadow.settle()
        assert metric(worker, "spamguard_shadow_dropped_total", reason="failed") > 0
        worker.shadow.challenger = Judge(Contrary(), "contrary/1", 0.3, 0.7)
        for number, outgoing in enumerate(feed[150:]):
            broker.append(Partition("sms.inbound", number % PARTITIONS), [outgoing])
        await until(lambda: lag(broker) == 0)
        assert metric(worker, "spamguard_scoring_failures_total") == 0
        assert metric(worker, "spamguard_degraded_total") == 0
    found = {decision["decision_id"]: as_published(decision) for decision in decisions(broker)}
    assert len(decisions(broker)) == len(feed)
    assert found == oracle(settings, broker.records("sms.inbound"), FIRST)


async def test_a_promotion_is_verified_first(settings: Settings, two_models: Path) -> None:
    tampered(two_models / SECOND)
    with pytest.raises(Exception, match="SHA-256"):
        promote_model(settings, SECOND, alias="champion", who="mei", reason="newer", override="a test")
    assert registry.read_aliases(two_models) == {"champion": FIRST}
    assert registry.read_history(two_models) == []


def spamguard(models: Path, folder: Path, *arguments: str) -> str:
    """Run a command and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")}
    command = [sys.executable, "-m", "spamguard", *arguments, "--models", str(models)]
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


async def test_a_serving_process_on_kafka_follows_a_promotion_and_a_rollback_within_five_seconds(
    kafka: str, topic: str, two_models: Path, tmp_path: Path
) -> None:
    broker, names = kafka_broker(kafka), Names.of(topic)
    await create(broker, names, partitions=2)
    environment = {
        **names.environment(),
        "SPAMGUARD_BROKERS": kafka,
        "SPAMGUARD_MODELS": str(two_models),
        "SPAMGUARD_LOG_LEVEL": "info",
    }
    feed = varied(300)

    def awaits(worker: Serving, model: str) -> float:
        began = time.monotonic()
        while worker.total("spamguard_model_info", model=model) != 1:
            assert time.monotonic() - began < 30, worker.log
            time.sleep(0.05)
        return time.monotonic() - began

    with Serving(tmp_path, environment) as worker:
        worker.await_ready()
        steps = (
            (FIRST, ()),
            (SECOND, ("promote", SECOND, "--reason", "fewer false alarms", "--override", "a test")),
            (FIRST, ("rollback", "--reason", "complaints")),
        )
        for number, (model, arguments) in enumerate(steps):
            if arguments:
                await asyncio.to_thread(spamguard, two_models, tmp_path, "models", *arguments)
            took_s = await asyncio.to_thread(awaits, worker, model)
            assert took_s < 5
            assert worker.total("spamguard_model_info") == 1
            part = feed[100 * number : 100 * (number + 1)]
            await publish(broker, names.inbound, spread(part, 2))
            await read(broker, names.decisions, 100 * (number + 1))
        found = [json.loads(record.value or b"") for record in await read(broker, names.decisions, 300)]
        assert worker.get("/readyz")[0] == 200
        assert worker.total("spamguard_model_reloads_total", outcome="swapped") == 2
        assert worker.terminate() == 0
    by_model = {f"m-{number:05}": steps[number // 100][0] for number in range(300)}
    assert {decision["message_id"]: decision["model"] for decision in found} == by_model
    told = spamguard(two_models, tmp_path, "models", "history")
    assert ["promote" in told, "rollback" in told, "fewer false alarms" in told] == [True] * 3
