"""Is everything in place that the service needs, and if not, what is the next step?

Every check runs even when an earlier one failed, as far as it can: whoever reads the list sees all that is to be done.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from spamguard import config, logs
from spamguard.backends.clock import SystemClock
from spamguard.cli.options import Brokers, Group, Model, Models
from spamguard.cli.screen import DIM, Screen
from spamguard.config import Settings
from spamguard.errors import SpamguardError, TopicUnfit
from spamguard.interfaces import Admin, Broker
from spamguard.service import catalogue, listing, orders, policies, streams

FINE, WARNING, FAULT, SKIPPED = "✓", "!", "✗", "–"
_STYLES: Final = {FINE: "bold green", WARNING: "bold yellow", FAULT: "bold red", SKIPPED: DIM}

#: Spam changes with the seasons; a model that has not seen the last half-year misses what came since.
OLD_MODEL_DAYS: Final = 180
#: Clocks kept by NTP differ by milliseconds; five seconds are a clock that nobody keeps.
CLOCK_SKEW_S: Final = 5.0
#: Some ten seconds of a busy stream.
LONG_LAG_RECORDS: Final = 10_000
DEFAULT_PARTITIONS: Final = 6


WHAT_CELLS: Final = 9


class Finding(NamedTuple):
    """One line of the list."""

    mark: str
    what: str
    sentence: str
    exit_code: int = 0


def register(app: typer.Typer) -> None:
    """Add `check`."""
    app.command()(check)


def check(
    brokers: Brokers = None,
    group: Group = None,
    model: Model = None,
    models: Models = None,
    no_broker: Annotated[bool, typer.Option("--no-broker", help="ask no broker: settings and model only")] = False,
    create_topics: Annotated[bool, typer.Option("--create-topics", help="create the topics that are missing")] = False,
    partitions: Annotated[
        int | None,
        typer.Option(
            help=f"partitions of created topics; as many as the inbound topic has, else {DEFAULT_PARTITIONS}", min=1
        ),
    ] = None,
) -> None:
    """Check what the service needs, with the next step for each.

    ✓ fine, ! worth a look, ✗ the service would not start. The exit code is that of the worst: 0 when there is no ✗,
    else 3 settings, 4 model, 5 broker or topics.
    """
    if create_topics and no_broker:
        raise typer.BadParameter("cannot be done without asking the broker", param_hint="--create-topics")
    screen = Screen()
    overrides: dict[str, object] = {"brokers": brokers, "group": group, "model": model, "models": models}
    findings = asyncio.run(
        _run(screen, overrides, ask_broker=not no_broker, create_topics=create_topics, number=partitions)
    )
    raise typer.Exit(max(finding.exit_code for finding in findings))


async def _run(
    screen: Screen, overrides: dict[str, object], *, ask_broker: bool, create_topics: bool, number: int | None
) -> list[Finding]:
    """Print every finding as it is made, and return them all."""
    findings = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_column(width=1)
        row.add_column(width=WHAT_CELLS)
        row.add_column(overflow="fold")
        row.add_row(Text(finding.mark, _STYLES[finding.mark]), finding.what, finding.sentence)
        screen.lay_out(row)

    try:
        settings = config.load(overrides)
    except SpamguardError as error:
        tell(_fault("settings", error))
        tell(Finding(SKIPPED, "the rest", "not checked: it depends on the settings"))
        return findings
    tell(settings_finding(overrides))
    tell(model_finding(settings, datetime.now(UTC)))
    tell(policy_finding(settings))
    if not ask_broker:
        tell(Finding(SKIPPED, "broker", "not asked (--no-broker)"))
        return findings
    for name in logs.CHATTY:  # what a client library complains of is told here in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    broker = streams.kafka(settings)
    admin = broker.admin()
    try:
        now = datetime.now(UTC)
        async for finding in broker_findings(
            settings, admin, now, create_topics=create_topics, number=number, broker=broker
        ):
            tell(finding)
    finally:
        await admin.close()
    return findings


def _fault(what: str, error: SpamguardError) -> Finding:
    return Finding(FAULT, what, str(error), error.exit_code)


def settings_finding(overrides: dict[str, object]) -> Finding:
    """Return how many settings were given, and where; they are valid."""
    origins: dict[str, int] = {}
    for _, origin in config.gather(overrides).values():
        origin = "environment" if origin.startswith(config.PREFIX) else origin
        origins[origin] = origins.get(origin, 0) + 1
    given = ", ".join(f"{number} from {origin}" for origin, number in origins.items())
    return Finding(FINE, "settings", f"{given}; the rest are defaults" if given else "all defaults")


def model_finding(settings: Settings, now: datetime) -> Finding:
    """Return whether the model can be trusted and whether it is old."""
    try:
        _, manifest = catalogue.load_judge(settings)
    except SpamguardError as error:
        return _fault("model", error)
    created = datetime.fromisoformat(manifest.created)
    days = (now - (created if created.tzinfo else created.replace(tzinfo=UTC))).days
    digest = next(iter(manifest.files.values()))[:12]
    age = "today" if days < 1 else f"{days} day{'s' if days > 1 else ''} ago"
    sentence = (
        f"{manifest.full_name}: digests ({digest}…) and {len(manifest.self_tests)} self-tests hold, trained {age}"
    )
    if days > OLD_MODEL_DAYS:
        return Finding(WARNING, "model", f"{sentence}; train it again on recent messages: `spamguard train --help`")
    return Finding(FINE, "model", sentence)


async def broker_findings(
    settings: Settings,
    admin: Admin,
    now: datetime,
    *,
    create_topics: bool = False,
    number: int | None = None,
    broker: Broker | None = None,
) -> AsyncIterator[Finding]:
    """Yield what the broker says of itself, the topics, the switches, the clocks and the group."""
    names = streams.needed_topics(settings)
    try:
        others = (*streams.compacted_topics(settings), *streams.reviewers_topics(settings))
        found = dict(await admin.partitions((*names, *others)))
    except SpamguardError as error:
        yield _fault("broker", error)
        yield Finding(SKIPPED, "topics", "not checked, nor clock and lag: no broker answers")
        return
    yield Finding(FINE, "broker", f"{settings.brokers} answers")
    if create_topics:
        wanted = (*names, *streams.reviewers_topics(settings))
        missing = {name: number or found.get(names[0], DEFAULT_PARTITIONS) for name in wanted if name not in found}
        missing |= {topic: 1 for topic in streams.compacted_topics(settings) if topic not in found}
        try:
            await streams.create_topics(settings, admin, missing)
        except SpamguardError as error:
            yield _fault("created", error)
        else:
            found |= missing
            made = f"partitions: {_listed(missing)}" if missing else "nothing: every topic was there"
            yield Finding(FINE, "created", made)
    yield _topics_finding(settings, found)
    if settings.control_topic not in found:
        sentence = f"{settings.control_topic} does not exist, so `spamguard allow-all on` would reach no worker; "
        yield Finding(WARNING, "control", f"{sentence}create it: spamguard check --create-topics")
    elif broker is not None:
        yield await _control_finding(settings, broker)
    yield await _lists_finding(settings, found, broker)
    kept = [topic for topic in streams.compacted_topics(settings) if topic in found]
    if kept:
        yield await _compaction_finding(admin, kept)
    if settings.inbound_topic not in found:
        yield Finding(SKIPPED, "clock", f"not checked, nor lag: {settings.inbound_topic} does not exist")
        return
    yield await _clock_finding(settings, admin, now)
    yield await _lag_finding(settings, admin)


def _listed(topics: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {partitions}" for name, partitions in topics.items())


def _topics_finding(settings: Settings, found: Mapping[str, int]) -> Finding:
    names = streams.needed_topics(settings)
    faults = streams.topic_faults(settings, found)
    if not faults:
        return Finding(FINE, "topics", f"partitions: {_listed({name: found[name] for name in names})}")
    if all(name in found for name in names):
        step = f"add partitions: kafka-topics.sh --alter --topic {settings.decisions_topic} --partitions "
        step += str(found[settings.inbound_topic])
    else:
        step = "create what is missing: spamguard check --create-topics"
    return Finding(FAULT, "topics", f"{'; '.join(faults)}. Next, {step}", TopicUnfit.exit_code)


async def _control_finding(settings: Settings, broker: Broker) -> Finding:
    """Return what is switched; a service that cannot read it runs all the same."""
    if orders.control_file(settings).since() is not None:
        return Finding(WARNING, "control", f"allow-all is ON here: {settings.control_file} exists; nothing is blocked")
    try:
        controls = await orders.read_controls(settings, broker=broker)
    except SpamguardError as error:
        return Finding(WARNING, "control", f"{error} The service would run, and not hear `spamguard allow-all on`.")
    if controls.allow_all:
        return Finding(WARNING, "control", "allow-all is ON: nothing is blocked; see `spamguard allow-all status`")
    modes = len(controls.modes)
    return Finding(FINE, "control", f"allow-all is off, {modes} mode{'' if modes == 1 else 's'} ordered")


async def _lists_finding(settings: Settings, found: Mapping[str, int], broker: Broker | None) -> Finding:
    """Return where the lists are; a service without any runs all the same."""
    if settings.lists_topic not in found:
        where = f"the file {settings.lists} counts" if settings.lists else "no lists are used"
        return Finding(FINE, "lists", f"{where}: {settings.lists_topic} does not exist (--create-topics makes it)")
    if broker is None:
        return Finding(FINE, "lists", f"{settings.lists_topic} is there")
    try:
        ledger = await listing.read_topic(settings, broker=broker)
    except SpamguardError as error:
        return Finding(WARNING, "lists", f"{error} The service would run with its last entries, and say so.")
    number = len(ledger.changes)
    if settings.lists is not None and not number:
        step = f"import it: spamguard lists import {settings.lists} --yes"
        return Finding(WARNING, "lists", f"{settings.lists_topic} is empty and counts, not {settings.lists}; {step}")
    return Finding(FINE, "lists", f"{number:,} entr{'y' if number == 1 else 'ies'} in {settings.lists_topic}")


def policy_finding(settings: Settings) -> Finding:
    """Return whether policy and file of lists are sound."""
    try:
        name = policies.policy_of(settings).name
        lists = listing.first_lists(settings, SystemClock())
    except SpamguardError as error:
        return _fault("policy", error)
    entries = "" if settings.lists is None else f"; {len(lists):,} entries in {settings.lists}"
    return Finding(FINE, "policy", f"{name}{entries}")


async def _compaction_finding(admin: Admin, topics: list[str]) -> Finding:
    """Return whether what must outlive every retention does."""
    try:
        policies = await admin.cleanup_policies(topics)
    except SpamguardError as error:
        return Finding(WARNING, "kept", f"not known whether {', '.join(topics)} is compacted: {error}")
    deleting = {topic: policy for topic, policy in policies.items() if policy != "compact"}
    if deleting:
        told = ", ".join(f"{topic} has cleanup.policy={policy}" for topic, policy in deleting.items())
        step = "kafka-configs.sh --alter --entity-type topics --add-config cleanup.policy=compact --entity-name "
        step += next(iter(deleting))
        sentence = f"{told}: its records are deleted with age, and a worker that starts later would not know of them"
        return Finding(WARNING, "kept", f"{sentence}. Next, {step}")
    return Finding(FINE, "kept", f"compacted, so that the last record of every key stays: {', '.join(topics)}")


async def _clock_finding(settings: Settings, admin: Admin, now: datetime) -> Finding:
    """Return whether the newest record comes from the future."""
    try:
        newest_ms = await admin.newest_timestamp_ms(settings.inbound_topic)
    except SpamguardError as error:
        return _fault("clock", error)
    if newest_ms is None:
        return Finding(FINE, "clock", "no record to compare with yet")
    ahead_s = newest_ms / 1000 - now.timestamp()
    if ahead_s > CLOCK_SKEW_S:
        sentence = (
            f"the newest record is {ahead_s:,.0f} s in the future; synchronise this clock and its producers' (NTP)"
        )
        return Finding(WARNING, "clock", sentence)
    return Finding(FINE, "clock", f"the newest record is {_ago(max(0.0, -ahead_s))} old")


def _ago(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}s"
    return f"{seconds:.0f} s"


async def _lag_finding(settings: Settings, admin: Admin) -> Finding:
    """Return how far the group is behind."""
    try:
        lags = await admin.group_lag(settings.group, settings.inbound_topic)
    except SpamguardError as error:
        return _fault("lag", error)
    total = sum(lags.values())
    sentence = f"group {settings.group} is {total:,} records behind in {settings.inbound_topic}"
    if total > LONG_LAG_RECORDS:
        return Finding(WARNING, "lag", f"{sentence}; start more workers: `spamguard serve`, one a partition at most")
    return Finding(FINE, "lag", sentence)
