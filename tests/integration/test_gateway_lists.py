"""Does the HTTP gateway hear of lists and of a policy as fast as the workers do?

The real gateway over real sockets, its topics on the broker in memory.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spamguard.core.codec import encode
from spamguard.types import ListChange, ListEntry, ListKind, Outgoing, Partition, Treatment
from tests.cast import LOTTERY, MUM
from tests.integration.asking import Running, gateway_settings

REACH_S = 2.0


def within_two_seconds(ask: Callable[[], Any], wanted: Any) -> float:
    """Return how long it took until an answer is the wanted one."""
    began_s = time.monotonic()
    while (found := ask()) != wanted:
        assert time.monotonic() - began_s < REACH_S, found
        time.sleep(0.02)
    return time.monotonic() - began_s


def test_an_entry_and_a_policy_reach_the_gateway_in_two_seconds(tiny_model: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "first"\n', encoding="utf-8")
    settings = gateway_settings(tiny_model, tmp_path, gateway_kafka=True, policy=policy)
    with Running(settings) as gateway:

        def reason(text: str) -> str:
            said: str = gateway.ask({"message_id": "m", "text": text, "sender": "106900770001"}).json()["reason"]
            return said

        assert reason(MUM) == "ham_score"
        entry = ListEntry(kind=ListKind.SENDER, value="10690077*", action=Treatment.BLOCK)
        change = Outgoing(key=b"L1", value=encode(ListChange(entry=entry, who="night")))
        gateway.in_loop(lambda: gateway.broker.append(Partition("sms.lists", 0), [change]))
        print(f"entry: {within_two_seconds(lambda: reason(MUM), 'list_block'):.3f} s")
        policy.write_text('name = "second"\nmode = "observe"\n', encoding="utf-8")
        print(f"policy: {within_two_seconds(lambda: reason(LOTTERY), 'observed'):.3f} s")
