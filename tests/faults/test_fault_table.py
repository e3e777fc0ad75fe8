"""What does each fault cost: how much is lost, repeated, wrong, how long is nothing decided, does the switch work?

Real workers on a real Kafka, one row a fault; `make faults` prints the table and renews it in the documents. The last
tests take a protection away and must see the harm, or the table would prove nothing.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from spamguard.backends import registry
from spamguard.types import Outgoing, Record
from tests.components import kafka_launcher, missing
from tests.faults import launcher
from tests.faults.rig import Rig, Row, renew, table, write_wanted
from tests.integration.serving import awake, hostile, varied

ROOT: Final = Path(__file__).parents[2]
OPERATIONS: Final = ROOT / "docs" / "operations.md"
SEED: Final = 20261124
KILLS: Final = 10
FROZEN_S: Final = 20.0
CUT_S: Final = 10.0
SWAPS: Final = 50
FIRST, SECOND = "small/1.0", "small/2.0"

#: The rows in the order of the table.
KILLED: Final = "worker killed (-9) in the middle of batches, ten times"
RESTARTED: Final = "broker killed (-9) and restarted"
FROZEN: Final = "broker frozen for 20 s"
REBALANCED: Final = "members join and leave under load"
CUT: Final = "network of one of two workers cut for 10 s"
HOSTILE: Final = "poison and hostile records"
SCORER: Final = "scorer hangs for 8 s, and raises"
REVIEW: Final = "review topic refuses writes, then is deleted"
SWAPPED: Final = "50 model swaps under load"
FULL: Final = "disk full under the models"
CLOCK: Final = "clock jumps by hours, both ways"
FAULTS: Final = (KILLED, RESTARTED, FROZEN, REBALANCED, CUT, HOSTILE, SCORER, REVIEW, SWAPPED, FULL, CLOCK)


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """The rows of this run; printed at its end, and written into the documents when asked for."""
    rows: list[Row] = []
    yield rows
    rows.sort(key=lambda row: FAULTS.index(row.fault))
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{table(rows)}\n")
    if write_wanted():
        assert [row.fault for row in rows] == list(FAULTS), "only a whole run renews the documents"
        renew(OPERATIONS, "fault table", table(rows))
        for page, summary in SUMMARIES.items():
            renew(page, "fault summary", summary(rows))


def _totals(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "faults": len(rows),
        "came": sum(row.came for row in rows),
        "lost": sum(row.lost for row in rows),
        "wrong": sum(row.wrong for row in rows),
        "repeated": sum(row.repeated for row in rows),
        "switch_s": max(0.1, *(float(row.switch.split()[1]) for row in rows)),  # nobody believes 0.0 s
    }


#: What the front pages say of the last run.
SUMMARIES: Final[dict[Path, Callable[[Sequence[Row]], str]]] = {
    ROOT / "README.md": lambda rows: (
        "Last run: {faults} faults, {came:,} messages in, **{lost} lost, {wrong} wrong** against the offline oracle, "
        "{repeated:,} repeated\nunder the same `decision_id`; in every fault one command stopped all blocking, obeyed "
        "within {switch_s:.1f} s."
    ).format(**_totals(rows)),
    ROOT / "README.zh-CN.md": lambda rows: (
        "上次运行：{faults} 种故障，输入 {came:,} 条消息，**丢失 {lost} 条，与离线结果不符 {wrong} 条**，"
        "重复 {repeated:,} 条（`decision_id` 相同）；\n"
        "每种故障当中，一条命令停止全部拦截，最慢 {switch_s:.1f} 秒生效。"
    ).format(**_totals(rows)),
}


@pytest.fixture(scope="module")
def breakable() -> Iterator[Any]:
    """A Kafka that these tests may break."""
    launched = kafka_launcher()
    reason = launched.available()
    if reason is not None:
        missing("kafka", f"real Kafka: {reason.rstrip('.')}", enable="make kafka-jars")
    with launched.KafkaNode() as node:
        yield node


def sound(row: Row, rows: list[Row]) -> None:
    """Keep a row, in which nothing may be lost or wrong."""
    rows.append(row)
    assert (row.lost, row.wrong) == (0, 0), row
    assert row.came == row.decided > 1000
    assert row.switch


async def test_a_worker_that_is_killed_in_the_middle_of_batches(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row]
) -> None:
    dice = random.Random(SEED)
    async with Rig(kafka, topic, tmp_path, model=tiny_model, SPAMGUARD_MAX_RECORDS="200") as rig:
        await rig.create()

        async def kill_and_replace() -> None:
            worker = await rig.start(
                SPAMGUARD_MEMBER="one"
            )  # the same member, so the next one has its partitions at once
            await rig.progress(100)
            await asyncio.sleep(dice.random() * 0.4)
            worker.process.kill()
            await asyncio.to_thread(worker.process.wait)

        async with rig.feeding(ahead=3000):
            for _ in range(KILLS // 2):
                await kill_and_replace()
            await rig.start(SPAMGUARD_MEMBER="one")
            async with rig.blocking_stopped("topic"):
                await rig.progress()
                rig.workers[-1].process.kill()
                for _ in range(KILLS // 2 - 1):
                    await kill_and_replace()
                await rig.start(SPAMGUARD_MEMBER="one")
                await rig.progress()
            await rig.progress()
        row = await rig.finish(KILLED)
    sound(row, seen)


@pytest.mark.parametrize(
    ("fault", "break_", "mend", "away_s"), [(RESTARTED, "kill", "start", 3.0), (FROZEN, "pause", "resume", FROZEN_S)]
)
async def test_a_broker_that_goes_away_and_comes_back(
    breakable: Any, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row],
    fault: str, break_: str, mend: str, away_s: float,
) -> None:  # fmt: skip
    async with Rig(breakable.bootstrap, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        await rig.start()
        async with rig.feeding():
            await rig.progress()
            await asyncio.to_thread(getattr(breakable, break_))
            async with rig.blocking_stopped("file"):
                await asyncio.sleep(away_s)
                await asyncio.to_thread(getattr(breakable, mend))
                await awake(rig.broker, rig.names)
                await rig.progress()
            await rig.progress()
        row = await rig.finish(fault)
    sound(row, seen)
    assert row.gap_s >= away_s * 0.8


@pytest.fixture
def far_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str], Callable[[str], None]]]:
    """A broker at the end of a cable: its address, what a process runs under beyond the cable, and `down` or `up`.

    A network namespace with a veth pair is the real thing: packets vanish both ways, connections stay half-open, new
    ones find no route. A proxy would end connections in good order, which is what a cut cable never does.
    """
    number = os.getpid() % 250
    name, near, far = f"sg{number}", f"sg{number}a", f"sg{number}b"
    inside = ["ip", "netns", "exec", name]

    def ip(*arguments: str, under: Sequence[str] = ()) -> None:
        done = subprocess.run([*under, "ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            missing("netns", f"network namespaces: {done.stderr.strip()}", enable="run as root, with iproute2")

    launched = kafka_launcher()
    reason = launched.available()
    if reason is not None:
        missing("kafka", f"real Kafka: {reason.rstrip('.')}", enable="make kafka-jars")
    if shutil.which("ip") is None:
        missing("netns", "network namespaces: there is no ip", enable="apt-get install iproute2")
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("addr", "add", f"10.231.{number}.1/24", "dev", near)
        ip("link", "set", near, "up")
        ip("addr", "add", f"10.231.{number}.2/24", "dev", far, under=inside)
        for device in ("lo", far):
            ip("link", "set", device, "up", under=inside)
        with launched.KafkaNode(host=f"10.231.{number}.1") as node:
            yield node.bootstrap, inside, lambda state: ip("link", "set", far, state, under=inside)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)  # and the cable with it


async def test_a_network_that_is_cut_and_healed(
    far_away: tuple[str, list[str], Callable[[str], None]],
    topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row],
) -> None:  # fmt: skip
    address, inside, cable = far_away
    async with Rig(address, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        await rig.start()
        beyond = await rig.start(under=inside)
        async with rig.feeding():
            await rig.progress()
            cable("down")
            async with rig.blocking_stopped("file"):
                await asyncio.sleep(CUT_S)  # longer than its session: the other worker takes its partitions over
                await rig.progress()
                cable("up")
                assigned = beyond.log.count('"partitions_assigned"')
                await rig.until(lambda: beyond.log.count('"partitions_assigned"') > assigned, beyond)
                await rig.progress()
            await rig.progress()
        row = await rig.finish(CUT)
    sound(row, seen)


async def test_members_that_join_and_leave_under_load(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row]
) -> None:
    async with Rig(kafka, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        first = await rig.start()
        async with rig.feeding(ahead=2000):
            await rig.progress()
            second = await rig.start()
            async with rig.blocking_stopped("topic"):
                await rig.start()
                assert await asyncio.to_thread(first.terminate) == 0
                await rig.progress()
                await rig.start()
                assert await asyncio.to_thread(second.terminate) == 0
                await rig.progress()
            await rig.progress()
        row = await rig.finish(REBALANCED)
    sound(row, seen)


async def test_poison_and_hostile_records(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row]
) -> None:
    feed = [*varied(300), *hostile(3)]
    random.Random(SEED).shuffle(feed)
    async with Rig(kafka, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        await rig.start()
        async with rig.feeding(messages=feed):
            await rig.progress()
            async with rig.blocking_stopped("topic"):
                await rig.progress(500)
            await rig.progress(500)
        row = await rig.finish(HOSTILE)
    sound(row, seen)


def marked(word: str) -> Outgoing:
    return Outgoing(key=b"marked", value=f'{{"message_id": "{word}", "text": "{word} 代开发票加薇信"}}'.encode())


async def test_a_scorer_that_hangs_and_raises(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row]
) -> None:
    feed = varied(3000)
    feed[600] = marked(launcher.HANGS)
    feed[700:1500:100] = [marked(launcher.RAISES)] * 8
    async with Rig(kafka, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        worker = await rig.start(part="scorer-hangs-and-raises", SPAMGUARD_MAX_RECORDS="100")
        async with rig.feeding(messages=feed):
            await rig.until(lambda: "partitions_paused" in worker.log)
            async with rig.blocking_stopped("topic"):
                await rig.progress(1000)
            await rig.progress(500)
        row = await rig.finish(SCORER, may_degrade=lambda record, _: launcher.RAISES.encode() in (record.value or b""))
    sound(row, seen)
    assert row.gap_s >= launcher.HANG_S * 0.8
    log = worker.log
    assert log.count('"scoring_failed"') >= 8
    assert log.count('"partitions_assigned"') == 1  # it kept its membership
    assert '"partitions_resumed"' in log


async def test_a_review_topic_that_refuses_writes_and_one_that_is_gone(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row]
) -> None:
    def would_block(_: Record, answer: dict[str, Any]) -> bool:
        return bool(answer["action"] == "block")

    async with Rig(kafka, topic, tmp_path, model=tiny_model) as rig:
        await rig.create(topic_configs={rig.names.review: {"max.message.bytes": "100"}})
        worker = await rig.start()

        def passed() -> float:
            return worker.total("spamguard_decisions_total", reason="review_unavailable")

        async with rig.feeding():
            await rig.until(lambda: passed() > 20, worker)  # refused at once
            async with rig.blocking_stopped("topic"):
                await rig.progress()
            await rig.delete(rig.names.review)
            before = passed()
            await rig.until(lambda: passed() > before + 20, worker)  # given up: brokers answer, and do not acknowledge
            assert worker.total("spamguard_decisions_total", action="block") == 0
            await rig.create()
            await rig.until(lambda: worker.total("spamguard_decisions_total", action="block") > 20, worker)
        row = await rig.finish(REVIEW, may_degrade=would_block)
    sound(row, seen)


async def test_fifty_model_swaps_under_load(
    kafka: str, topic: str, two_models: Path, tmp_path: Path, seen: list[Row]
) -> None:
    more = {"SPAMGUARD_MODELS": str(two_models), "SPAMGUARD_MODEL_POLL_S": "0.02"}
    async with Rig(kafka, topic, tmp_path, model="champion", **more) as rig:
        await rig.create()
        worker = await rig.start()

        async def swap(numbers: range) -> None:
            for number in numbers:
                registry.write_alias(two_models, registry.CHAMPION, (SECOND, FIRST)[number % 2])
                await rig.until(lambda number=number: worker.log.count('"model_swapped"') == number + 1)  # type: ignore[misc]
                await rig.progress(20)

        async with rig.feeding(500):
            await rig.progress()
            await swap(range(SWAPS - 10))
            async with rig.blocking_stopped("topic"):
                await swap(range(SWAPS - 10, SWAPS))
            await rig.progress()
        row = await rig.finish(SWAPPED, models=(two_models / FIRST, two_models / SECOND))
    sound(row, seen)
    assert "model_rejected" not in worker.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        missing("mount", f"a small disk: {mounted.stderr.strip()}", enable="run as root, with mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_is_full_under_the_models(
    kafka: str, topic: str, two_models: Path, tmp_path: Path, small_disk: Path, seen: list[Row]
) -> None:
    root = small_disk / "models"
    shutil.copytree(two_models / FIRST, root / FIRST)
    registry.write_alias(root, registry.CHAMPION, FIRST)
    more = {"SPAMGUARD_MODELS": str(root), "SPAMGUARD_MODEL_POLL_S": "0.1"}
    async with Rig(kafka, topic, tmp_path, model="champion", **more) as rig:
        await rig.create()
        worker = await rig.start()
        async with rig.feeding():
            await rig.progress()
            ballast = small_disk / "ballast"
            fill(ballast)
            with pytest.raises((OSError, shutil.Error)):
                shutil.copytree(two_models / SECOND, root / SECOND)
            for arguments in (("promote", SECOND, "--override", "a test"), ("rollback",)):
                with pytest.raises(AssertionError, match="spamguard"):
                    await rig.command("models", *arguments, "--reason", "x")
            async with rig.blocking_stopped("topic"):
                await rig.progress()
            assert worker.total("spamguard_model_info", model=FIRST) == 1
            ballast.unlink()
            shutil.rmtree(root / SECOND)
            shutil.copytree(two_models / SECOND, root / SECOND)
            await rig.command("models", "promote", SECOND, "--reason", "there is room", "--override", "a test")
            await rig.until(lambda: '"model_swapped"' in worker.log, worker)
            await rig.progress()
        row = await rig.finish(FULL, models=(two_models / FIRST, two_models / SECOND))
    sound(row, seen)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with pytest.raises(OSError, match="space"), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def test_a_clock_that_jumps_both_ways(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path, seen: list[Row]
) -> None:
    async with Rig(kafka, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        await rig.start(part="clock-jumps")
        async with rig.feeding():
            await rig.progress()
            async with rig.blocking_stopped("topic"):
                await asyncio.sleep(launcher.JUMP_EVERY_S * 3)
                await rig.progress()
            await asyncio.sleep(launcher.JUMP_EVERY_S * 3)
            await rig.progress()
        row = await rig.finish(CLOCK)
    sound(row, seen)


async def test_the_table_sees_a_commit_that_comes_before_its_decisions(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    async with Rig(kafka, topic, tmp_path, model=tiny_model, SPAMGUARD_MAX_RECORDS="200") as rig:
        await rig.create()
        async with rig.feeding(ahead=3000):
            for _ in range(3):
                worker = await rig.start(part="commits-first", SPAMGUARD_MEMBER="one")
                await rig.progress(300)
                worker.process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(worker.process.wait)
        await rig.start(SPAMGUARD_MEMBER="one")
        row = await rig.finish("control")
    assert row.lost > 0
    assert row.wrong == 0


async def test_the_table_sees_a_scorer_that_lies(kafka: str, topic: str, tiny_model: Path, tmp_path: Path) -> None:
    async with Rig(kafka, topic, tmp_path, model=tiny_model) as rig:
        await rig.create()
        await rig.start(part="scorer-lies")
        async with rig.feeding():
            await rig.progress(500)
        row = await rig.finish("control")
    assert row.lost == 0
    assert row.wrong > 0


def test_the_documents_hold_a_row_for_every_fault() -> None:
    told = (
        OPERATIONS.read_text(encoding="utf-8").partition("<!-- fault table -->")[2].partition("<!-- /fault table -->")
    )
    rows = [line.split("|")[1].strip() for line in told[0].splitlines() if line.startswith("| ")]
    assert rows[1:] == list(FAULTS)
