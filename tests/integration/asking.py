"""How is the real gateway run in a test: in a thread of its own, on a broker in memory, asked over real sockets?"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings, load
from spamguard.interfaces import Broker
from spamguard.service import api_keys
from spamguard.service.gateway import GatewayProcess
from spamguard.service.streams import memory_broker

PATIENCE_S: Final = 20.0


def gateway_settings(model: Path, folder: Path, **more: Any) -> Settings:
    """Return settings under which tests do not meet each other."""
    given = {
        "model": str(model),
        "gateway_port": 0,
        "metrics_port": 0,
        "gateway_keys": folder / "keys.json",
        "control_file": folder / "allow-all",
        "gateway_deadline_ms": 10_000,
        "breaker": False,
        **more,
    }
    return load(given, environ={})


class Running:
    """A gateway that answers while the block runs."""

    def __init__(self, settings: Settings, broker: Broker | None = None) -> None:
        self.settings = settings
        self.broker: Any = broker or (memory_broker(settings, partitions=2) if settings.gateway_kafka else None)
        self.process = GatewayProcess(settings, broker=self.broker)
        self.key, self.kept = api_keys.add_key(
            settings, "test", tenants=["acme", "beta"], messages_per_s=1e6, who="tests"
        )
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.process.run(on_serving=self._up.set))
        except BaseException as error:
            self._failure = error
        finally:
            self._up.set()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def __enter__(self) -> "Running":
        self._thread.start()
        self._up.wait(PATIENCE_S)
        if self._failure is not None:
            raise self._failure
        self.url = f"http://127.0.0.1:{self.process.port}"
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE_S, headers={"Authorization": f"Bearer {self.key}"})
        self.until(lambda: self.http.get("/readyz").status_code == 200)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(self.process.stop)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def in_loop(self, call: Callable[[], Any]) -> None:
        """Let the gateway's own thread call something."""
        done = threading.Event()

        def run() -> None:
            call()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(PATIENCE_S)

    def ask(self, body: Any, **headers: str) -> httpx.Response:
        """Ask for decisions."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/v1/decisions", json=body, headers=named)

    def published(self, topic: str) -> list[dict[str, Any]]:
        """Return the values of a topic in memory."""

        broker: MemoryBroker = self.broker
        return [json.loads(record.value or b"") for record in broker.records(topic)]

    @staticmethod
    def until(holds: Callable[[], bool]) -> None:
        """Return when it holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "it did not come to hold"
            time.sleep(0.02)
