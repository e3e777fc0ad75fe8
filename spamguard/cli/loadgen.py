"""How is traffic sent to a service, and what came back of it?"""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time
from typing import Annotated, Final, Literal

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spamguard import config, logs
from spamguard.cli.options import KAFKA, Brokers, DecisionsTopic, InboundTopic
from spamguard.cli.screen import Screen
from spamguard.errors import DataError
from spamguard.load import run
from spamguard.load.traffic import MIX, Traffic, parse_mix, without_malformed
from spamguard.service import judging, process, streams

DEFAULT_SECONDS: Final = 10.0
REFRESH_S: Final = 0.25
#: Where nobody watches a line a while is enough.
PLAIN_EVERY_S: Final = 5.0


def register(app: typer.Typer) -> None:
    """Add `loadgen`."""
    app.command()(loadgen)


def loadgen(
    rate: Annotated[float, typer.Option(help="messages a second; 0 is as fast as it goes", min=0)] = 100.0,
    count: Annotated[int | None, typer.Option(help="how many messages; --seconds decides when left out", min=1)] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help=f"how long to send; {DEFAULT_SECONDS:g} when --count is left out too", min=0.001),
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed makes the same messages, except ids and times")] = 1,
    mix: Annotated[
        str | None,
        typer.Option(
            help="shares of the kinds of messages; default "
            + ", ".join(f"{kind}={share:g}" for kind, share in MIX.items()),
            show_default=False,
        ),
    ] = None,
    no_malformed: Annotated[
        bool, typer.Option("--no-malformed", help="send no record that a gateway should not send")
    ] = False,
    partition_key: Annotated[
        Literal["sender+recipient", "sender", "recipient", "none"],
        typer.Option(help="what records are keyed and spread over partitions by", rich_help_panel=KAFKA),
    ] = "sender+recipient",
    wait: Annotated[
        float,
        typer.Option(help="seconds without a decision, after the last message, until what is missing is lost", min=0),
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="the report as one JSON object")] = False,
    brokers: Brokers = None,
    inbound_topic: InboundTopic = None,
    decisions_topic: DecisionsTopic = None,
) -> None:
    """Send invented traffic; report what was decided, lost and late.

    For trying out and sizing a cluster: the messages go into the inbound topic like any others (their tenant is
    "loadgen"), and their decisions into the decisions topic. Latency runs from handing a message to the producer until
    its decision is read. The exit code is 1 when a message was lost or refused.

      $ spamguard loadgen --rate 1000 --seconds 60
    """
    for name in logs.CHATTY:  # what the client library complains of shows in the report
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = config.load({"brokers": brokers, "inbound_topic": inbound_topic, "decisions_topic": decisions_topic})
    try:
        shares = parse_mix(mix) if mix else dict(MIX)
    except DataError as error:
        raise typer.BadParameter(str(error.fields["detail"]), param_hint="--mix") from None
    traffic = Traffic(
        seed=seed,
        run=f"load-{int(time() * 1000):x}",
        samples=judging.sample_messages().read_bytes().splitlines(),
        mix=without_malformed(shares) if no_malformed else shares,
    )
    plan = run.Plan(
        inbound=settings.inbound_topic,
        decisions=settings.decisions_topic,
        rate=rate,
        messages=count,
        seconds=DEFAULT_SECONDS if count is None and seconds is None else seconds,
        wait_s=wait,
        key_by=partition_key,
    )
    generator = run.Generator(streams.kafka(settings), traffic, plan)
    with (
        _shown(Screen(stderr=True), plan) as (show, every_s),
        asyncio.Runner(loop_factory=process.loop_factory()) as runner,
    ):
        report = runner.run(run.generate(generator, show, every_s=every_s))
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _print(Screen(), report)
    if not report.whole:
        raise typer.Exit(1)


def _words(progress: run.Progress) -> str:
    sent = f"{progress.sent:,} sent ({progress.sent_per_second:,.0f}/s)"
    return f"{sent} · {progress.decided:,} decided · {progress.missing:,} to come"


@contextmanager
def _shown(screen: Screen, plan: run.Plan) -> Iterator[tuple[Callable[[run.Progress], None], float]]:
    """Return who shows how far it is, and how often: one line that moves on a terminal, else a line now and then."""
    if not screen.is_terminal:
        yield lambda progress: screen.say(_words(progress)) if progress.sent else None, PLAIN_EVERY_S
        return
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(progress: run.Progress) -> None:
            by_count = progress.sent / plan.messages if plan.messages else 0.0
            by_time = progress.seconds / plan.seconds if plan.seconds else 0.0
            bar.update(task, description=_words(progress), completed=min(1.0, max(by_count, by_time)))

        yield show, REFRESH_S


def _print(screen: Screen, report: run.Report) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column()
    for name, number, words in (
        ("sent", report.sent, f"{report.sent_per_second:,.0f} a second, {report.bytes_mean:.0f} bytes each"),
        ("decided", report.decided, f"{report.decided_per_second:,.0f} a second; {report.blocked:,} blocked"),
        ("undecidable", report.undecidable, "sent without a readable id: dead letters"),
        ("lost", report.lost, "no decision"),
        ("refused", report.refused, "the broker did not take them"),
        ("repeated", report.repeated, "decisions that came again, with the same id"),
        ("conflicting", report.conflicting, "decisions that came again, with another id"),
        ("unexpected", report.unexpected, "decisions on what could have none"),
        ("wrong key", report.wrong_key, "not the record's"),
        ("wrong partition", report.wrong_partition, "not the record's"),
        ("late", report.late, "marked late"),
        ("degraded", report.degraded, "marked degraded"),
    ):
        table.add_row(name, f"{number:,}", words)
    screen.lay_out(table)
    if report.latency_ms is not None:
        latency = report.latency_ms
        screen.say(
            f"latency          p50 {latency.p50:,.1f} ms · p95 {latency.p95:,.1f} ms · p99 {latency.p99:,.1f} ms · "
            f"max {latency.max:,.1f} ms"
        )
