"""Does `spamguard gateway` keep its promises on a real Kafka: audit, review copies, switches, a clean end?"""

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from spamguard.config import load
from spamguard.service.orders import give_order
from spamguard.types import Order
from tests.cast import LOTTERY, MUM
from tests.integration.serving import Names, Serving, create, kafka_broker, read

NUMBER: Final = "13912345678"
PATIENCE_S: Final = 30.0


def ask(port: int, key: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/decisions",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Spamguard-Deadline-Ms": "20000",
        },
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


async def test_decisions_copies_and_orders_go_over_a_real_kafka_and_nothing_of_it_into_the_log(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    names, broker = Names.of(topic), kafka_broker(kafka)
    await create(broker, names, partitions=3)
    settings = {
        **names.environment(),
        "SPAMGUARD_BROKERS": kafka,
        "SPAMGUARD_MODEL": str(tiny_model),
        "SPAMGUARD_BREAKER": "false",
        "SPAMGUARD_GATEWAY_PORT": "0",
    }
    add = [sys.executable, "-m", "spamguard", "gateway", "keys", "add", "test", "--any-tenant"]
    made = await asyncio.to_thread(subprocess.run, add, cwd=tmp_path, capture_output=True, text=True, check=True)
    key = made.stdout.strip()
    with Serving(tmp_path, settings, "gateway") as gateway:
        port = await asyncio.to_thread(ready, gateway)
        messages = [
            {"message_id": f"m{n}", "text": LOTTERY if n % 2 else MUM, "sender": "10690000001", "recipient": NUMBER}
            for n in range(60)
        ]
        answers = await asyncio.to_thread(ask, port, key, messages)
        assert [one["action"] for one in answers] == ["allow", "block"] * 30
        order = Order(on=True, reason="wrong model", who="test", since="2026-11-24T10:00:00Z")
        orders = {"brokers": kafka, "control_topic": names.control}
        await give_order(load(orders, environ={}), "allow_all", order)
        deadline = time.monotonic() + PATIENCE_S
        while (await asyncio.to_thread(ask, port, key, messages[1]))["reason"] != "allow_all":
            assert time.monotonic() < deadline
        assert await asyncio.to_thread(gateway.terminate) == 0
        published = {
            json.loads(one.value or b"")["decision_id"]: one for one in await read(broker, names.decisions, 60)
        }
        copies = [json.loads(one.value or b"") for one in await read(broker, names.review, 30)]
    for answer in answers:
        record = published[answer["decision_id"]]
        assert (record.key or b"").decode() == answer["decision_id"]
    blocked = {one["decision_id"] for one in answers if one["action"] == "block"}
    assert blocked <= {copy["decision"]["decision_id"] for copy in copies}
    assert {copy["source"] for copy in copies} == {"http/"}
    assert not [secret for secret in (LOTTERY, MUM, NUMBER, key, key.rpartition("_")[2]) if secret in gateway.log]
    assert gateway.sentences() == []


def ready(gateway: Serving) -> int:
    """Return the port once it answers."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and gateway.process.poll() is None:
        for event in gateway.events():
            if event["event"] == "gateway_serving":
                port = int(event["port"])
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                        return port
                except urllib.error.URLError:
                    pass
        time.sleep(0.1)
    raise AssertionError(f"it did not become ready:\n{gateway.log}")
