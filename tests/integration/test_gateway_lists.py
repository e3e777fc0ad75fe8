"""Does the HTTP gateway hear of lists and of a policy as fast as the workers do?

The real gateway over real sockets, its topics on the broker in memory.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spamguard.core.codec import encode
from spamguard.service import api_keys
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


def test_an_allow_entry_holds_for_the_key_that_speaks_for_its_account_and_for_no_other(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = gateway_settings(tiny_model, tmp_path, gateway_kafka=True)
    with Running(settings) as gateway:
        bound, _ = api_keys.add_key(
            settings, "codes", tenants=["acme"], accounts=["acme-codes"], messages_per_s=1e6, who="tests"
        )
        entry = ListEntry(kind=ListKind.LINK, value="acme-codes/10690001", tenant="acme", action=Treatment.ALLOW)
        change = Outgoing(key=b"L1", value=encode(ListChange(entry=entry, who="night")))
        gateway.in_loop(lambda: gateway.broker.append(Partition("sms.lists", 0), [change]))

        def reason(key: str, sender: str = "10690001", **more: str) -> str:
            message = {"message_id": "m", "text": LOTTERY, "sender": sender, "tenant": "acme", **more}
            headers = {"Authorization": f"Bearer {key}"}
            answer = gateway.http.post("/v1/decisions", json=message, headers=headers).json()
            return str(answer.get("reason") or answer["type"].rpartition(":")[2])

        assert reason(gateway.key) == "spam_score"  # from here on the address is known, and asking early is no guessing
        gateway.until(lambda: reason(bound) == "list_allow")  # the key's only account is meant
        assert reason(bound, account="acme-codes") == "list_allow"
        assert reason(bound, sender="10690002") == "spam_score"
        assert reason(bound, account="the-bank") == "other-account"
        for claimed in ("acme-codes", "acme-codes/10690001"):
            assert reason(gateway.key, account=claimed) == "spam_score", "a claim without a key for it opens nothing"
