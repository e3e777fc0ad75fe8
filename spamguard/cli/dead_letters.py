"""Which records got no decision, and how are they given a second chance?

Coordinates, reasons and sizes only: nothing here shows a text or a number.
"""

import asyncio
import heapq
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from spamguard import config, logs
from spamguard.cli.options import Brokers
from spamguard.cli.screen import Screen, plain_table
from spamguard.config import Settings
from spamguard.interfaces import Broker
from spamguard.service import streams
from spamguard.stream.dead_letters import Fate, Found, Letters, by_topic, distinct, fit_target, look_up, replay
from spamguard.types import DeadLetter

#: Lines of a replay that name single records.
NAMED: Final = 20
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SENTENCES: Final = {
    Fate.READABLE: "can be read now",
    Fate.STILL_DEAD: "still unreadable",
    Fate.GONE: "no longer kept by the topic",
    Fate.ANOTHER: "another record stands there now",
}

Since = Annotated[
    str | None,
    typer.Option("--since", help="only from this moment on: 30m, 2h, 7d, or a time like 2026-11-24T10:00:00+08:00"),
]


def register(app: typer.Typer) -> None:
    """Add `dead-letters list` and `dead-letters replay`."""
    group = typer.Typer(no_args_is_help=True, help="List and replay records that got no decision.")
    group.command("list")(list_letters)
    group.command("replay")(replay_letters)
    app.add_typer(group, name="dead-letters")


def list_letters(
    since: Since = None,
    limit: Annotated[int, typer.Option(help="most letters shown, the newest; all are counted", min=0)] = 50,
    brokers: Brokers = None,
) -> None:
    """Show dead letters: when, why, where the record stands, and its size; at the end how many by reason."""
    settings = _settings(brokers)
    asyncio.run(_list(Screen(), settings, streams.kafka(settings), since_ms=moment(since), limit=limit))


def replay_letters(
    every: Annotated[bool, typer.Option("--all", help="every dead letter there is")] = False,
    topic: Annotated[str | None, typer.Option(help="only records of this topic")] = None,
    partition: Annotated[int | None, typer.Option(help="only records of this partition", min=0)] = None,
    offset: Annotated[int | None, typer.Option(help="only the record at this offset", min=0)] = None,
    since: Since = None,
    to: Annotated[str | None, typer.Option(help="topic to publish into; the inbound topic when left out")] = None,
    stdout_count: Annotated[
        bool, typer.Option("--stdout-count", help="print how many would be replayed, a number and nothing else")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="also what is still unreadable")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="really publish; without it this is a dry run")] = False,
    brokers: Brokers = None,
) -> None:
    """Read the records behind dead letters again, and with --yes publish those that can be read now.

    The record is published as it was, key and partition kept (headers are not), and judged like any new one: it gets
    a decision id of its own. The dead letter stays, so a second run publishes again. A record that is still unreadable
    would only die again and is left out; one that its topic no longer keeps cannot be had back. The exit code is 1
    when a record that was asked for is not replayed.
    """
    if not every and topic is None and partition is None and offset is None:
        raise typer.BadParameter("say which: --topic, --partition and --offset, or --all", param_hint="--all")
    if stdout_count and (yes or to is not None):
        raise typer.BadParameter("only counts; leave --yes and --to out", param_hint="--stdout-count")
    settings = _settings(brokers)

    def chosen(letter: DeadLetter) -> bool:
        return (
            (topic is None or letter.topic == topic)
            and (partition is None or letter.partition == partition)
            and (offset is None or letter.offset == offset)
        )

    replayed, asked = asyncio.run(
        _replay(
            Screen(),
            settings,
            streams.kafka(settings),
            chosen,
            since_ms=moment(since),
            to=to or settings.inbound_topic,
            force=force,
            yes=yes,
            count_only=stdout_count,
        )
    )
    if replayed < asked:
        raise typer.Exit(1)


def _settings(brokers: str | None) -> Settings:
    for name in logs.CHATTY:  # what the client library complains of is told here in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return config.load({"brokers": brokers})


def moment(since: str | None, now: datetime | None = None) -> int | None:
    """Return a moment in epoch milliseconds, stated as a time or as how long ago.

    >>> moment("2h", datetime(2026, 11, 24, 12, tzinfo=UTC)) == moment("2026-11-24T10:00:00+00:00")
    True
    """
    if since is None:
        return None
    if match := re.fullmatch(r"(\d{1,6})([smhd])", since):
        moment = (now or datetime.now(UTC)) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    else:
        try:
            moment = datetime.fromisoformat(since).astimezone()
        except ValueError:
            raise typer.BadParameter(
                f"{since!r} is neither a span like 30m, 2h, 7d nor a time like 2026-11-24T10:00:00+08:00",
                param_hint="--since",
            ) from None
    return int(moment.timestamp() * 1000)


def _time(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _list(screen: Screen, settings: Settings, broker: Broker, *, since_ms: int | None, limit: int) -> None:
    reader = broker.reader(settings.dead_letter_topic)
    letters = Letters(reader, since_ms=since_ms)
    newest: list[tuple[int, int, DeadLetter]] = []
    counts: Counter[str] = Counter()
    try:
        async for letter in letters:
            counts[str(letter.reason)] += 1
            entry = letter.seen_at_ms, counts.total(), letter
            if len(newest) < limit:
                heapq.heappush(newest, entry)
            elif limit:
                heapq.heappushpop(newest, entry)
    finally:
        await reader.stop()
    if newest:
        table = plain_table()
        for heading in ("seen", "reason", "topic", "partition", "offset", "bytes"):
            table.add_column(heading, justify="right" if heading in ("partition", "offset", "bytes") else "left")
        for seen_ms, _, letter in sorted(newest):
            place = letter.topic, str(letter.partition), str(letter.offset)
            table.add_row(_time(seen_ms), str(letter.reason), *place, str(letter.size_bytes))
        screen.lay_out(table)
        screen.say()
    for reason, number in counts.most_common():
        screen.say(f"{number:>8,}  {reason}")
    total = counts.total()
    hidden = f"; the newest {len(newest)} are shown" if len(newest) < total else ""
    screen.say(f"{total:>8,}  dead letters{hidden}" if total else f"no dead letters in {settings.dead_letter_topic}")
    if letters.foreign:
        screen.say(f"{letters.foreign:>8,}  other records in {settings.dead_letter_topic} are no dead letters")


async def _replay(
    screen: Screen,
    settings: Settings,
    broker: Broker,
    chosen: Callable[[DeadLetter], bool],
    *,
    since_ms: int | None,
    to: str,
    force: bool,
    yes: bool,
    count_only: bool,
) -> tuple[int, int]:
    """Do it, or show what would be done; return how many are replayed and how many were asked for."""
    letters = await _chosen(settings, broker, chosen, since_ms)
    if not letters and not count_only:
        screen.say(f"no dead letter in {settings.dead_letter_topic} is meant; `spamguard dead-letters list` shows them")
        return 0, 1
    if letters and not count_only:
        admin = broker.admin()
        try:
            await fit_target(admin, to, letters)
        finally:
            await admin.close()

    def wanted(one: Found) -> bool:
        return one.fate is Fate.READABLE or (force and one.fate is Fate.STILL_DEAD)

    counts: Counter[Fate] = Counter()
    replayed = named = 0
    producer = broker.producer() if yes else None
    if producer is not None:
        await producer.start()
    try:
        found = _found(broker, letters)
        if producer is not None:
            found = replay(producer, to, found, wanted=wanted)
        async with aclosing(found):  # type: ignore[type-var]
            async for one in found:
                counts[one.fate] += 1
                replayed += wanted(one)
                if not wanted(one) and not count_only and named < NAMED:
                    named += 1
                    why = f" ({one.reason})" if one.reason else ""
                    letter = one.letter
                    place = f"{letter.topic}-{letter.partition}@{letter.offset}"
                    screen.say(f"left out  {place}  {_SENTENCES[one.fate]}{why}")
    finally:
        if producer is not None:
            await producer.stop()
    if count_only:
        screen.say(str(replayed))
        return replayed, len(letters)
    for line in _summary(counts, replayed, to, force=force, yes=yes):
        screen.say(line)
    return replayed, len(letters)


async def _chosen(
    settings: Settings, broker: Broker, chosen: Callable[[DeadLetter], bool], since_ms: int | None
) -> list[DeadLetter]:
    reader = broker.reader(settings.dead_letter_topic)
    try:
        return distinct([letter async for letter in Letters(reader, since_ms=since_ms) if chosen(letter)])
    finally:
        await reader.stop()


async def _found(broker: Broker, letters: list[DeadLetter]) -> AsyncIterator[Found]:
    for topic, mine in by_topic(letters).items():
        reader = broker.reader(topic)
        try:
            async for one in look_up(reader, mine):
                yield one
        finally:
            await reader.stop()


def _summary(counts: Counter[Fate], replayed: int, to: str, *, force: bool, yes: bool) -> Iterator[str]:
    for fate, number in counts.most_common():
        yield f"{number:>8,}  {_SENTENCES[fate]}"
    if yes:
        yield f"{replayed:,} records were published into {to}."
    elif replayed:
        yield f"A dry run: nothing was published. With --yes {replayed:,} records go into {to}."
    else:
        yield "A dry run: nothing was published, and nothing would be."
    if counts[Fate.STILL_DEAD] and not force:
        yield "What is still unreadable would only die again; --force publishes it all the same."
