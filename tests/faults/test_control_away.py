"""Can all blocking be stopped while Kafka is away, and is every order obeyed when it is back?

These tests break the broker, so they start one of their own.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

import pytest

from spamguard.types import Outgoing
from tests.cast import LOTTERY
from tests.integration.serving import Names, Serving, awake, create, kafka_broker, publish, read
from tests.integration.test_kafka_control import settings, spamguard

OBEY_S: Final = 2.0


def lotteries(name: str, count: int = 20) -> dict[int, list[Outgoing]]:
    bodies = [{"message_id": f"{name}-{number}", "text": LOTTERY} for number in range(count)]
    return {0: [Outgoing(key=None, value=json.dumps(body).encode()) for body in bodies]}


async def until(worker: Serving, name: str, value: float, *, patience_s: float) -> float:
    """Return how long it took until a metric had a value."""
    started = time.monotonic()
    while worker.total(name) != value:
        assert time.monotonic() - started < patience_s, f"{name} is not {value}"
        await asyncio.sleep(0.05)
    return time.monotonic() - started


@pytest.mark.parametrize(("fault", "mend"), [("kill", "start"), ("pause", "resume")])
async def test_the_file_stops_all_blocking_while_kafka_is_away_and_the_topic_is_obeyed_again_afterwards(
    node: Any, topic: str, tiny_model: Path, tmp_path: Path, fault: str, mend: str
) -> None:
    broker, names = kafka_broker(node.bootstrap), Names.of(topic)
    await create(broker, names, partitions=1)
    environment = settings(names, tiny_model, node.bootstrap)

    async def reasons(name: str, at_least: int) -> set[str]:
        records = [json.loads(record.value or b"") for record in await read(broker, names.decisions, at_least)]
        return {record["reason"] for record in records if record["message_id"].startswith(name)}

    with Serving(tmp_path, environment) as worker:
        worker.await_ready()
        await publish(broker, names.inbound, lotteries("before"))
        assert await reasons("before", 20) == {"spam_score"}
        await asyncio.to_thread(getattr(node, fault))

        refused = await spamguard(
            environment | {"SPAMGUARD_REQUEST_TIMEOUT_S": "2"}, tmp_path, "allow-all", "on", "--reason", "x"
        )
        assert refused.returncode == 5
        assert "allow-all on --file" in refused.stderr
        by_file = await spamguard(environment, tmp_path, "allow-all", "on", "--file", "--reason", "Kafka is away")
        assert by_file.returncode == 0, by_file.stderr
        took_s = await until(worker, "spamguard_allow_all", 1, patience_s=OBEY_S)
        print(f"{fault}: obeyed the file {took_s:.2f} s after the command had ended")
        await asyncio.to_thread(getattr(node, mend))
        await awake(broker, names)
        await publish(broker, names.inbound, lotteries("under"))
        assert await reasons("under", 40) == {"allow_all"}

        # the topic is heard again: an order for observe, and the file's end
        ordered = await spamguard(environment, tmp_path, "mode", "observe", "--reason", "let us look first")
        assert ordered.returncode == 0, ordered.stderr
        off = await spamguard(environment, tmp_path, "allow-all", "off", "--file")
        assert off.returncode == 0, off.stderr
        await until(worker, "spamguard_allow_all", 0, patience_s=OBEY_S)
        await until(worker, "spamguard_control_read", 1, patience_s=15.0)
        started = time.monotonic()
        while not any(event.get("switch") == "mode" for event in worker.events()):
            assert time.monotonic() - started < 15.0
            await asyncio.sleep(0.05)
        await publish(broker, names.inbound, lotteries("after"))
        assert await reasons("after", 60) == {"observed"}
        assert worker.terminate() == 0
