"""What may the stream rely on, whichever broker carries it?

One suite for the broker in memory and for real Kafka: a difference that shows here would be a test of the service that
proves nothing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Final
from uuid import uuid4

import pytest

from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.backends.memory import MemoryBroker
from spamguard.errors import CommitRefused, PublishFailed, TopicUnfit
from spamguard.interfaces import Broker, Consumer, Producer, Reader
from spamguard.types import Offsets, Outgoing, Partition, Record

COMMIT_S: Final = 5.0
#: Longer than a group takes to form or re-form here.
PATIENCE_S: Final = 30.0


@pytest.fixture(params=["memory", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker there is, without any topic of ours."""
    if request.param == "memory":
        return MemoryBroker()
    address = request.getfixturevalue("kafka")
    return KafkaBroker(KafkaConfig(brokers=address, session_timeout_s=6.0, rebalance_timeout_s=20.0))


class Cast:
    """The members and producers of a test; all leave when it ends."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker = broker
        self.topic = topic
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Cast":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def place(self, number: int) -> Partition:
        return Partition(self.topic, number)

    async def topics(self, partitions: int, name: str | None = None) -> None:
        admin = self.broker.admin()
        self._stack.push_async_callback(admin.close)
        await admin.create({name or self.topic: partitions}, configs={})

    async def producer(self) -> Producer:
        producer = self.broker.producer()
        self._stack.push_async_callback(producer.stop)
        await producer.start()
        return producer

    async def publish(self, batches: Mapping[int, Sequence[str]]) -> None:
        producer = await self.producer()
        for number, values in batches.items():
            await producer.publish(self.place(number), [outgoing(value) for value in values])

    async def member(self, group: str) -> "Member":
        member = Member(self.broker.consumer([self.topic], group=group))
        self._stack.push_async_callback(member.consumer.stop)
        await member.consumer.start(
            on_assigned=lambda partitions: member.on_assigned(partitions),  # a test may set another one later
            on_revoked=lambda partitions: member.on_revoked(partitions),
        )
        return member


class Member:
    """A consumer with what it was told and what it was given."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.told: list[tuple[str, frozenset[Partition]]] = []

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        self.told.append(("assigned", partitions))

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        self.told.append(("revoked", partitions))

    async def read(self, count: int, *, patience_s: float = PATIENCE_S, most: int = 1000) -> list[Record]:
        """Return the next `count` records, or what came while patience lasted."""
        found: list[Record] = []
        deadline = time.monotonic() + patience_s
        while len(found) < count and time.monotonic() < deadline:
            batch = await self.consumer.poll(max_records=min(most, count - len(found)), timeout_s=0.2)
            found += [record for records in batch.values() for record in records]
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        """Poll, as a member must, until something holds; records that come meanwhile are not wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "it never came to hold"
            await self.consumer.poll(max_records=1000, timeout_s=0.1)
            await asyncio.sleep(0.01)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds that others bring about."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        await asyncio.sleep(0.05)


def outgoing(value: str) -> Outgoing:
    return Outgoing(key=f"key of {value}".encode(), value=value.encode())


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


def behind(records: Sequence[Record]) -> Offsets:
    """Return the offsets that commit these records."""
    return {record.partition: record.offset + 1 for record in records}


async def test_what_is_published_comes_back_in_order_with_key_partition_and_time(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(3)
        before_ms = int(time.time() * 1000)
        await cast.publish({0: [f"a{n}" for n in range(50)], 2: [f"c{n}" for n in range(50)]})
        after_ms = int(time.time() * 1000)
        records = await (await cast.member(topic)).read(100)
        for number, letter in ((0, "a"), (2, "c")):
            mine = [record for record in records if record.partition == cast.place(number)]
            assert values(mine) == [f"{letter}{n}" for n in range(50)]
            assert [record.offset for record in mine] == list(range(50))
            assert [record.key for record in mine] == [f"key of {value}".encode() for value in values(mine)]
            assert all(before_ms <= record.timestamp_ms <= after_ms for record in mine)


@pytest.mark.parametrize("patience_s", [None, 5.0])
async def test_what_is_published_together_is_all_there_and_in_order_but_for_the_partitions_that_are_named(
    broker: Broker, topic: str, patience_s: float | None
) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(3)
        batches = {cast.place(n): [outgoing(f"{n}-{place}") for place in range(50)] for n in (2, 0, 9, 1)}
        producer = broker.producer(patience_s=patience_s)
        await producer.start()
        assert await producer.publish_each(batches) == {cast.place(9)}
        assert not await producer.publish_each({cast.place(1): [outgoing("1-50"), outgoing("1-" + "x" * 400_000)]})
        assert not await producer.publish_each({cast.place(1): [outgoing("1-" + "y" * 400_000)] * 2})
        await producer.stop()
        records = await (await cast.member(topic)).read(154)
        for number in range(3):
            mine = values([record for record in records if record.partition == cast.place(number)])
            assert mine[:50] == [f"{number}-{place}" for place in range(50)]
            assert [value[:4] for value in mine[50:]] == (["1-50", "1-xx", "1-yy", "1-yy"] if number == 1 else [])


async def test_a_record_may_lack_its_key_or_its_value(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        keyless, valueless = Outgoing(key=None, value=b"x"), Outgoing(key=b"k", value=None)
        await (await cast.producer()).publish(cast.place(0), [keyless, valueless])
        records = await (await cast.member(topic)).read(2)
        assert [(record.key, record.value) for record in records] == [(None, b"x"), (b"k", None)]


async def test_a_poll_brings_no_more_than_it_was_asked_for_and_loses_none_of_the_rest(
    broker: Broker, topic: str
) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        await cast.publish({0: [f"a{n}" for n in range(25)], 1: [f"b{n}" for n in range(25)]})
        member = await cast.member(topic)
        sizes, found = [], 0
        deadline = time.monotonic() + PATIENCE_S
        while found < 50 and time.monotonic() < deadline:
            batch = await member.consumer.poll(max_records=7, timeout_s=0.2)
            sizes.append(sum(map(len, batch.values())))
            found += sizes[-1]
        assert found == 50
        assert max(sizes) <= 7


async def test_a_partition_with_a_backlog_keeps_no_other_waiting(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(3)
        await cast.publish({n: [f"{n}:{m}" for m in range(1000)] for n in range(3)})
        member = await cast.member(topic)
        found = await member.read(90, most=10)
        served = Counter(record.partition.number for record in found)
        assert max(served.values()) <= 60, served  # a partition whose first fetch is late begins late, but not last


async def test_a_poll_of_an_idle_topic_returns_nothing_when_its_time_is_over(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        member = await cast.member(topic)
        await member.until(member.consumer.joined)
        started = time.monotonic()
        assert await member.consumer.poll(max_records=10, timeout_s=0.4) == {}
        assert 0.3 <= time.monotonic() - started <= 1.0


async def test_a_poll_keeps_its_time_limit_while_the_group_waits_for_another_member(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        slow = await cast.member(topic)
        await slow.until(slow.consumer.joined)
        let_go = asyncio.Event()

        async def hold(partitions: frozenset[Partition]) -> None:
            if partitions:
                await let_go.wait()

        slow.on_revoked = hold  # type: ignore[method-assign]
        polling = asyncio.create_task(slow.until(let_go.is_set))
        joining = asyncio.create_task(cast.member(topic))
        await asyncio.sleep(1.0)
        if joining.done():  # the broker in memory lets nobody in until the others are ready: then there is no poll
            started = time.monotonic()
            assert await joining.result().consumer.poll(max_records=10, timeout_s=0.3) == {}
            assert time.monotonic() - started <= 1.0
        let_go.set()
        await polling
        quick = await joining
        await asyncio.gather(*(member.until(lambda m=member: m.consumer.assignment()) for member in (slow, quick)))  # type: ignore[misc]


async def test_the_next_member_goes_on_where_the_last_one_committed(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        await cast.publish({0: [f"m{n}" for n in range(10)]})
        first = await cast.member(topic)
        read = await first.read(6)
        await first.consumer.commit(behind(read[:4]), timeout_s=COMMIT_S)
        assert await first.consumer.committed(cast.place(0)) == 4
        await first.consumer.stop()
        second = await cast.member(topic)
        assert values(await second.read(6)) == [f"m{n}" for n in range(4, 10)]


async def test_what_nobody_committed_comes_again(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        await cast.publish({0: ["m0", "m1", "m2"]})
        first = await cast.member(topic)
        assert values(await first.read(3)) == ["m0", "m1", "m2"]
        assert await first.consumer.committed(cast.place(0)) is None
        await first.consumer.stop()
        assert values(await (await cast.member(topic)).read(3)) == ["m0", "m1", "m2"]


async def test_groups_do_not_know_of_each_other(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        await cast.publish({0: ["m0", "m1"]})
        one, other = await cast.member(f"{topic}-one"), await cast.member(f"{topic}-other")
        await one.consumer.commit(behind(await one.read(2)), timeout_s=COMMIT_S)
        assert values(await other.read(2)) == ["m0", "m1"]


async def test_a_paused_partition_is_kept_but_not_delivered_until_it_is_resumed(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        member = await cast.member(topic)
        await member.until(lambda: len(member.consumer.assignment()) == 2)
        member.consumer.pause(frozenset((cast.place(0),)))
        await cast.publish({0: ["a0", "a1"], 1: ["b0", "b1"]})
        assert values(await member.read(4, patience_s=1.5)) == ["b0", "b1"]
        assert cast.place(0) in member.consumer.assignment()
        member.consumer.resume(frozenset((cast.place(0),)))
        assert values(await member.read(2)) == ["a0", "a1"]


async def test_pausing_what_is_not_held_does_nothing(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        member = await cast.member(topic)
        await member.until(member.consumer.joined)
        member.consumer.pause(frozenset((cast.place(7),)))
        member.consumer.resume(frozenset((cast.place(7),)))
        await cast.publish({0: ["a0"]})
        assert values(await member.read(1)) == ["a0"]


async def test_a_group_whose_members_come_and_go_sees_everything_and_hands_over_in_good_order(
    broker: Broker, topic: str
) -> None:
    """Three members on six partitions; each commits what it handled, and one leaves and another comes on the way."""
    total = 1200
    async with Cast(broker, topic) as cast:
        await cast.topics(6)
        seen: Counter[str] = Counter()
        handed_over: list[str] = []
        stop = asyncio.Event()

        async def work(member: Member, leave: asyncio.Event) -> None:
            in_hand = asyncio.Lock()

            async def on_revoked(partitions: frozenset[Partition]) -> None:
                async with in_hand:  # the batch in hand is committed before the partitions are given away
                    handed_over.extend(str(partition.number) for partition in partitions)

            member.on_revoked = on_revoked  # type: ignore[method-assign]
            while not (stop.is_set() or leave.is_set()):
                batch = await member.consumer.poll(max_records=20, timeout_s=0.1)
                async with in_hand:
                    records = [record for records in batch.values() for record in records]
                    await asyncio.sleep(0.005)
                    seen.update(values(records))
                    if records:
                        with suppress(CommitRefused):  # then the next owner reads them again
                            await member.consumer.commit(behind(records), timeout_s=COMMIT_S)
            await member.consumer.stop()

        async def join(leave: asyncio.Event) -> "asyncio.Task[None]":
            member = await cast.member(topic)
            task = asyncio.create_task(work(member, leave))
            await eventually(lambda: bool(member.consumer.assignment()))
            return task

        async def produce() -> None:
            producer = await cast.producer()
            for first in range(0, total, 60):
                for number in range(6):
                    batch = [outgoing(f"m{n}") for n in range(first + number * 10, first + number * 10 + 10)]
                    await producer.publish(cast.place(number), batch)
                await asyncio.sleep(0.2)

        producing = asyncio.create_task(produce())
        leaves = [asyncio.Event() for _ in range(4)]
        workers = [await join(leave) for leave in leaves[:3]]
        leaves[0].set()
        await workers[0]
        workers.append(await join(leaves[3]))
        await producing
        await eventually(lambda: len(seen) == total)
        stop.set()
        await asyncio.gather(*workers)
        assert handed_over
        admin = broker.admin()
        try:
            assert sum((await admin.group_lag(topic, topic)).values()) == 0
        finally:
            await admin.close()


async def test_partitions_move_only_after_on_revoked_has_returned(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        first = await cast.member(topic)
        await first.until(lambda: len(first.consumer.assignment()) == 2)
        events: list[str] = []

        async def on_revoked(partitions: frozenset[Partition]) -> None:
            await asyncio.sleep(0.3)
            events.append("handed in")

        first.on_revoked = on_revoked  # type: ignore[method-assign]
        polling = asyncio.create_task(first.until(lambda: len(first.consumer.assignment()) == 1))
        second = await cast.member(topic)
        told = second.on_assigned

        async def on_assigned(partitions: frozenset[Partition]) -> None:
            events.append("taken over")
            await told(partitions)

        second.on_assigned = on_assigned  # type: ignore[method-assign]
        await second.until(lambda: len(second.consumer.assignment()) == 1)
        await polling
        assert events[0] == "handed in"
        assert first.consumer.assignment() | second.consumer.assignment() == {cast.place(0), cast.place(1)}


async def test_a_commit_for_a_lost_partition_is_refused_and_what_is_still_held_is_committed(
    broker: Broker, topic: str
) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        await cast.publish({0: ["a0", "a1"], 1: ["b0", "b1"]})
        first = await cast.member(topic)
        read = await first.read(4)
        polling = asyncio.create_task(first.until(lambda: len(first.consumer.assignment()) == 1))
        second = await cast.member(topic)
        await second.until(lambda: len(second.consumer.assignment()) == 1)
        await polling
        with pytest.raises(CommitRefused):
            await first.consumer.commit(behind(read), timeout_s=COMMIT_S)
        (held,), (lost,) = first.consumer.assignment(), second.consumer.assignment()
        assert await first.consumer.committed(held) == 2
        assert await second.consumer.committed(lost) is None


async def test_a_member_without_a_partition_has_joined_all_the_same(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        members = [await cast.member(topic)]
        await members[0].until(members[0].consumer.joined)
        polling = asyncio.create_task(members[0].until(lambda: len(members[0].told) >= 3))
        members.append(await cast.member(topic))
        await members[1].until(members[1].consumer.joined)
        await polling
        assert all(member.consumer.joined() for member in members)
        assert sorted(len(member.consumer.assignment()) for member in members) == [0, 1]
        idle = next(member for member in members if not member.consumer.assignment())
        assert await idle.consumer.poll(max_records=10, timeout_s=0.1) == {}


async def test_a_consumer_of_a_topic_that_does_not_exist_says_so(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        with pytest.raises(TopicUnfit, match=topic):
            await cast.member(topic)


async def test_publishing_to_a_partition_that_does_not_exist_fails(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        producer = await cast.producer()
        with pytest.raises(PublishFailed, match="no partition 5"):
            await producer.publish(cast.place(5), [outgoing("x")])
        await producer.publish(cast.place(0), [outgoing("y")])
        assert values(await (await cast.member(topic)).read(1)) == ["y"]


async def test_a_record_too_large_fails_its_batch_and_no_later_one(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        producer = await cast.producer()
        await producer.publish(cast.place(0), [outgoing("before")])
        with pytest.raises(PublishFailed):
            await producer.publish(cast.place(0), [outgoing("x" * 1_200_000)])
        for number in (0, 0, 1):
            await producer.publish(cast.place(number), [outgoing("after")])
        assert Counter(values(await (await cast.member(topic)).read(4))) == {"before": 1, "after": 3}


async def test_more_than_one_batch_at_once_keeps_its_order(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        texts = [f"{n}:" + "x" * 30_000 for n in range(100)]
        await cast.publish({0: texts})
        assert values(await (await cast.member(topic)).read(100)) == texts


async def test_topics_can_be_created_twice_and_are_counted(broker: Broker, topic: str) -> None:
    admin = broker.admin()
    try:
        await admin.create({topic: 3, f"{topic}-b": 1}, configs={topic: {"retention.ms": "60000"}})
        await admin.create({topic: 5, f"{topic}-c": 2}, configs={})
        await admin.create({}, configs={})
        assert await admin.partitions([topic, f"{topic}-b", f"{topic}-c", f"{topic}-missing"]) == {
            topic: 3,
            f"{topic}-b": 1,
            f"{topic}-c": 2,
        }
    finally:
        await admin.close()


async def test_the_admin_knows_which_topics_are_compacted(broker: Broker, topic: str) -> None:
    admin = broker.admin()
    try:
        await admin.create({topic: 1, f"{topic}-b": 1}, configs={topic: {"cleanup.policy": "compact"}})
        asked = [topic, f"{topic}-b", f"{topic}-missing"]
        assert await admin.cleanup_policies(asked) == {topic: "compact", f"{topic}-b": "delete"}
        assert await admin.cleanup_policies([]) == {}
    finally:
        await admin.close()


async def test_a_poll_returns_nothing_of_an_assignment_that_was_taken_away(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        await cast.publish({0: [f"a{n}" for n in range(400)], 1: [f"b{n}" for n in range(400)]})
        first = await cast.member(topic)
        held: dict[int, int] = {}  #: the next offset this assignment must bring, by partition

        async def begins_anew(partitions: frozenset[Partition]) -> None:
            held.clear()
            await first.consumer.poll(max_records=5, timeout_s=0)  # whatever it brings, nobody is told

        first.on_revoked = begins_anew  # type: ignore[method-assign]
        joining: asyncio.Task[Member] | None = None
        deadline = time.monotonic() + PATIENCE_S
        while len(first.consumer.assignment()) != 1 or not held:
            assert time.monotonic() < deadline
            for partition, records in (await first.consumer.poll(max_records=5, timeout_s=0.05)).items():
                # nothing was committed, so an assignment begins at 0; a gap would be records that nobody handles
                assert records[0].offset == held.get(partition.number, 0)
                held[partition.number] = records[-1].offset + 1
            if joining is None and held:
                joining = asyncio.create_task(cast.member(topic))
        assert joining is not None
        await joining


async def test_the_lag_of_a_group_is_what_it_has_not_committed(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        await cast.publish({0: ["a0", "a1", "a2"], 1: ["b0", "b1"]})
        admin = broker.admin()
        try:
            everything = {cast.place(0): 3, cast.place(1): 2}
            assert await admin.group_lag(f"nobody-{uuid4().hex}", topic) == everything
            member = await cast.member(topic)
            read = [record for record in await member.read(5) if record.partition == cast.place(0)]
            await member.consumer.commit(behind(read[:2]), timeout_s=COMMIT_S)
            assert await admin.group_lag(topic, topic) == {cast.place(0): 1, cast.place(1): 2}
            assert await admin.group_lag(topic, f"{topic}-missing") == {}
        finally:
            await admin.close()


async def test_a_member_knows_how_far_it_is_behind(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        await cast.publish({0: [f"m{n}" for n in range(10)]})
        member = await cast.member(topic)
        await member.read(4, most=4)
        assert member.consumer.lag() == {cast.place(0): 6}


async def test_the_newest_timestamp_is_that_of_the_last_record_of_any_partition(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(3)
        admin = broker.admin()
        try:
            assert await admin.newest_timestamp_ms(topic) is None
            assert await admin.newest_timestamp_ms(f"{topic}-missing") is None
            await cast.publish({0: ["old"], 2: ["old"]})
            await asyncio.sleep(0.05)
            before_ms = int(time.time() * 1000)
            await cast.publish({1: ["m0", "new"]})
            newest = await admin.newest_timestamp_ms(topic)
            assert newest is not None
            assert before_ms <= newest <= time.time() * 1000
        finally:
            await admin.close()


async def test_everything_can_be_stopped_twice_and_before_it_started(broker: Broker, topic: str) -> None:
    consumer, producer, admin = broker.consumer([topic], group=topic), broker.producer(), broker.admin()
    for _ in range(2):
        await consumer.stop()
        await producer.stop()
        await admin.close()


async def test_a_follower_gets_everything_first_and_then_what_comes_and_needs_no_group(
    broker: Broker, topic: str
) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        producer = await cast.producer()
        await producer.publish(cast.place(0), [outgoing("a"), outgoing("b")])
        await producer.publish(cast.place(1), [outgoing("c")])
        async with aclosing(broker.follow(topic)) as one, aclosing(broker.follow(topic)) as other:
            for batches in (one, other):
                assert sorted(values(await anext(batches))) == ["a", "b", "c"]
            coming = asyncio.create_task(anext(one))
            await asyncio.sleep(0.5)
            assert not coming.done()
            started = time.monotonic()
            await producer.publish(cast.place(0), [outgoing("d"), Outgoing(key=b"k", value=None)])
            assert [record.value for record in await coming] == [b"d", None]
            assert time.monotonic() - started < 2.0
            assert [record.offset for record in await anext(other)] == [2, 3]


async def test_the_first_batch_of_an_empty_topic_is_empty(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)
        async with aclosing(broker.follow(topic)) as batches:
            async with asyncio.timeout(PATIENCE_S):
                assert await anext(batches) == []
            coming = asyncio.create_task(anext(batches))
            await asyncio.sleep(0.1)
            await cast.publish({0: ["first"]})
            assert values(await coming) == ["first"]


async def test_a_follower_that_is_left_waiting_can_be_cancelled(broker: Broker, topic: str) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(1)

        async def follow() -> None:
            async with aclosing(broker.follow(topic)) as batches:
                async for _ in batches:
                    waiting.set()

        waiting = asyncio.Event()
        task = asyncio.create_task(follow())
        await waiting.wait()
        await asyncio.sleep(0.1)
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait((task,))
        assert task.cancelled()


async def test_following_a_topic_that_does_not_exist_says_so(broker: Broker, topic: str) -> None:
    with pytest.raises(TopicUnfit, match=topic):
        await anext(broker.follow(topic))


async def test_a_reader_without_a_group_finds_ends_and_moments_and_reads_from_where_it_is_told(
    broker: Broker, topic: str
) -> None:
    async with Cast(broker, topic) as cast:
        await cast.topics(2)
        await cast.publish({0: ["a0", "a1", "a2"], 1: ["b0"]})
        await asyncio.sleep(0.05)
        moment_ms = int(time.time() * 1000)
        await asyncio.sleep(0.05)
        await cast.publish({0: ["a3"]})
        reader = broker.reader(topic)
        try:
            assert dict(await reader.start()) == {cast.place(0): (0, 4), cast.place(1): (0, 1)}
            assert dict(await reader.offsets_at(moment_ms)) == {cast.place(0): 3, cast.place(1): 1}
            assert await reader.poll(max_records=10, timeout_s=0.1) == {}
            for offset, expected in ((1, ["a1", "a2", "a3"]), (3, ["a3"]), (0, ["a0", "a1", "a2", "a3"])):
                reader.seek({cast.place(0): offset})
                assert values(await read_by(reader, len(expected))) == expected
            reader.seek({cast.place(0): 4, cast.place(1): 1})
            await cast.publish({1: ["b1"]})
            assert values(await read_by(reader, 1)) == ["b1"]
        finally:
            await reader.stop()


async def test_a_reader_of_a_topic_that_does_not_exist_says_so(broker: Broker, topic: str) -> None:
    reader = broker.reader(topic)
    with pytest.raises(TopicUnfit, match=topic):
        await reader.start()
    await reader.stop()


async def read_by(reader: Reader, count: int) -> list[Record]:
    """Return the next records, and whatever else comes within a moment."""
    found: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        batch = await reader.poll(max_records=10, timeout_s=0.2)
        found += [record for records in batch.values() for record in records]
        if len(found) >= count and not batch:
            break
    return found
