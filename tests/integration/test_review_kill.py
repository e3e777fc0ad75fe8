"""Is a release lost when the process dies between the verdict's commit and the publish, or before its acknowledgement?

A real process gives the verdict and is killed with SIGKILL at that very moment; another one starts over the same
database and publishes.
"""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

import msgspec
import pytest

from spamguard.backends.memory import MemoryBroker
from spamguard.backends.metrics import MemoryMetrics
from spamguard.review.outbox import Relay, release_id
from spamguard.review.values import Filters, Role, Status
from spamguard.types import Release
from tests.cast import BANK_CODE
from tests.reviewing import copy_of, open_desk

ROOT: Final = Path(__file__).parents[2]
TOPICS: Final = {"sms.released": 1, "sms.labels": 1}
#: What the process does before it is killed: in `publish`, the broker may have the record or not.
MURDER: Final = """
    import asyncio, os, signal, sys
    from spamguard.backends.memory import MemoryBroker
    from spamguard.backends.metrics import MemoryMetrics
    from spamguard.review.outbox import Relay
    from tests.reviewing import open_desk

    url, moment = sys.argv[1:]
    desk = open_desk(url)
    rui = desk.people.get("rui")
    [item] = desk.store.queue(rui).items

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    class Producer:
        async def publish(self, partition, batch):
            die()

    if moment == "before the commit":
        from spamguard.review import outbox
        outbox.put_releases = lambda *args, **named: die()
    desk.store.release(rui, item.id)
    if moment == "after the commit":
        die()
    topics = {"sms.released": 1, "sms.labels": 1}
    relay = Relay(desk.outbox, Producer(), released_topic="sms.released", labels_topic="sms.labels",
                  lists_topic="sms.lists", partitions=topics, metrics=MemoryMetrics())
    asyncio.run(relay.turn())
"""


@pytest.mark.parametrize("moment", ["before the commit", "after the commit", "while publishing"])
def test_a_release_survives_kill_9_at_any_moment(tmp_path: Path, moment: str) -> None:
    url = f"sqlite:///{tmp_path}/review.db"
    copy = copy_of(BANK_CODE)
    desk = open_desk(url)
    rui, _ = desk.people.add("rui", Role.REVIEWER)
    desk.intake.take([copy])
    desk.close()

    command = [sys.executable, "-c", dedent(MURDER), url, moment]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    desk = open_desk(url)
    if moment == "before the commit":
        [item] = desk.store.queue(rui, Filters(status=Status.OPEN)).items  # neither verdict nor release: not half of it
        assert (item.verdict, item.released) == (None, 0)
        desk.store.release(rui, item.id)
    broker = MemoryBroker(TOPICS)
    relay = Relay(
        desk.outbox,
        broker.producer(),
        released_topic="sms.released",
        labels_topic="sms.labels",
        lists_topic="sms.lists",
        partitions=TOPICS,
        metrics=MemoryMetrics(),
    )
    asyncio.run(relay.turn())
    [record] = broker.records("sms.released")
    release = msgspec.json.decode(record.value or b"", type=Release)
    assert release.release_id == release_id(copy.decision.decision_id)
    assert release.message == copy.message
    assert len(broker.records("sms.labels")) == 1
    assert desk.audit.verify().broken_at is None
    desk.close()
