"""Does an entry that two people agreed on in the review application reach a running worker, and its withdrawal too?

The real worker and the real review application, on one broker in memory.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spamguard import config
from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings
from spamguard.review.desk import Desk
from spamguard.review.entries import NewEntry
from spamguard.review.outbox import list_id
from spamguard.review.values import CaseKind, ListKind, Outcome, Role
from spamguard.service import listing, streams
from spamguard.service.review import ReviewService, open_desk
from spamguard.stream import compacted
from tests.cast import MUM, PHISHING
from tests.integration.test_memory_control import Traffic
from tests.integration.test_memory_service import metric, serving, until

SOON_MS = 30 * 86_400_000


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> Settings:
    given = {
        "model": str(tiny_model), "metrics_port": 0, "control_file": tmp_path / "allow-all", "breaker": False,
        "review_database": f"sqlite:///{tmp_path}/review.db",
    }  # fmt: skip
    return config.load(given, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    broker = streams.memory_broker(settings, partitions=1)
    for topic in streams.reviewers_topics(settings):
        broker.add_topic(topic, 1)
    return broker


@asynccontextmanager
async def reviewing(settings: Settings, desk: Desk, broker: MemoryBroker) -> AsyncIterator[None]:
    """Run the review application without its pages while the block runs."""
    service = ReviewService(settings, desk, broker=broker)
    running = asyncio.create_task(service.run(pages=False))
    try:
        yield
    finally:
        service.stop()
        await running


async def test_entries_of_cases_reach_a_worker_and_leave_it(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacted, "POLL_S", 0.02)
    desk = open_desk(settings, in_earnest=False)
    rui, lee, ada = (
        desk.people.add(name, role)[0]
        for name, role in (("rui", Role.REVIEWER), ("lee", Role.LEAD), ("ada", Role.ADMIN))
    )
    soon = desk.now_ms() + SOON_MS

    def listed(kind: ListKind, what: str, value: str) -> tuple[int, str]:
        """Return the inner and the outer id of a new entry out of a case."""
        case = desk.cases.open(rui, kind=CaseKind.QUESTION, text=value, tenant="acme")
        entry = NewEntry(kind=kind, what=what, value=value, owner="ops", reason="a wave", expires_ms=soon)
        desk.cases.resolve(rui, case.receipt, Outcome.LIST_ENTRY, "listed", entry=entry)
        newest = desk.entries.all(rui)[0]
        return newest.id, list_id(case.receipt, newest.id)

    traffic = Traffic(broker)
    async with serving(settings, broker) as worker, reviewing(settings, desk, broker):

        async def ruled(text: str, **fields: str) -> tuple[str, str | None]:
            [decision] = await traffic.judged(text, **fields)
            return decision["reason"], decision.get("list_entry")

        def live() -> float:
            return float(metric(worker, "spamguard_list_entries", state="live"))

        blocked, its_id = listed(ListKind.BLOCK, "sender", "139-0000-1234")
        await until(lambda: live() == 1)
        assert await ruled(MUM, sender="+8613900001234") == ("list_block", its_id)

        allowed, its_other_id = listed(ListKind.ALLOW, "link", "acc-7/10690001")
        account = {"sender": "10690001", "account": "acc-7"}
        await until(lambda: desk.outbox.waiting() == 0)
        assert live() == 1, "one person is not enough for an account"
        desk.entries.approve(lee, allowed)
        await until(lambda: live() == 2)
        assert await ruled(PHISHING, tenant="acme", **account) == ("list_allow", its_other_id)
        assert await ruled(PHISHING, tenant="other", **account) == ("spam_score", None)

        desk.entries.withdraw(ada, blocked)
        await until(lambda: live() == 1)
        assert (await ruled(MUM, sender="+8613900001234"))[0] == "ham_score"
    assert all(entry.published_ms for entry in desk.entries.all(rui))
    ledger = await listing.read_topic(settings, broker=broker)
    [change] = ledger.changes.values()
    assert change.entry is not None
    assert (change.who, change.why, change.entry.owner, change.entry.tenant) == ("lee", "a wave", "ops", "acme")
    desk.close()


async def test_entries_wait_in_the_outbox_for_a_topic_that_does_not_exist(settings: Settings) -> None:
    topics = (settings.review_topic, *streams.reviewers_topics(settings))
    broker = MemoryBroker(dict.fromkeys(topics, 1))
    desk = open_desk(settings, in_earnest=False)
    rui = desk.people.add("rui", Role.REVIEWER)[0]
    case = desk.cases.open(rui, kind=CaseKind.QUESTION, text="x")
    entry = NewEntry(
        kind=ListKind.BLOCK, what="host", value="evil.example", owner="ops", reason="phishing",
        expires_ms=desk.now_ms() + SOON_MS,
    )  # fmt: skip
    async with reviewing(settings, desk, broker):
        desk.cases.resolve(rui, case.receipt, Outcome.LIST_ENTRY, "listed", entry=entry)
        await asyncio.sleep(0.6)
    assert desk.outbox.waiting() == 1
    broker = streams.memory_broker(settings, partitions=1)
    for topic in streams.reviewers_topics(settings):
        broker.add_topic(topic, 1)
    async with reviewing(settings, desk, broker):
        await until(lambda: desk.outbox.waiting() == 0)
    [record] = broker.records(settings.lists_topic)
    assert record.key == list_id(case.receipt, 1).encode()
    desk.close()
