"""What does the filter do, seen in a minute on any machine?

The main job with only the network left out: the real worker, model, policy and metrics server, on a broker in this
process's memory, fed with the invented messages that come with spamguard. Because the messages are our own, and only
because of that, their texts are shown.
"""

import asyncio
import http.client
import shlex
import shutil
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, time
from typing import Annotated, Final, NamedTuple
from zlib import crc32

import msgspec
import typer
from rich.cells import cell_len
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spamguard import config, logs
from spamguard.cli.options import WATCHING, MetricsHost, Model, Models, ModeOption, PolicyFile, Preset
from spamguard.cli.screen import (
    ACTION_STYLE,
    DIM,
    SPAM_STYLE,
    Screen,
    plain_table,
    printable,
    score_style,
    score_text,
    shortened,
)
from spamguard.config import Settings
from spamguard.core.codec import decode_message
from spamguard.core.sms import text_of
from spamguard.service import judging, streams
from spamguard.service.worker import Worker
from spamguard.types import Action, DeadReason, Decision, Message, Outgoing, Partition, Record

PARTITIONS: Final = 3
SHOWN: Final = 12  #: decisions in the live table
LOOK_EVERY_S: Final = 0.05
#: So long without a new decision, and the rest is taken for lost.
PATIENCE_S: Final = 15.0
SENDER_CELLS: Final = 14
TEXT_CELLS: Final = 60
#: Without these the review pages are not installed, and not proposed.
PAGES_NEED: Final = ("sqlalchemy", "starlette")
#: A terminal of this width has room for the category.
WIDE_CELLS: Final = 100
#: Widths of a line's parts where no terminal limits it, in the order of `_cells`.
COLUMNS: Final = ("action", "score", "reason", "category", "sender", "clues", "text")
LINE_CELLS: Final = (6, 6, 16, 9, SENDER_CELLS, 24, TEXT_CELLS)

_DECISIONS: Final = msgspec.json.Decoder(Decision)


class Seen(NamedTuple):
    """A message with the decision on it, and the time from the one's record to the other's."""

    message: Message
    decision: Decision
    took_ms: int


class Ending(NamedTuple):
    """What there is to tell at the end."""

    seen: Sequence[Seen]
    fed: int
    seconds: float
    metrics_url: str
    metrics_counted: int | None  #: decisions as /metrics had them


def register(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command()(demo)


def demo(
    rate: Annotated[float, typer.Option(help="messages a second; 0 is as fast as it goes", min=0)] = 80.0,
    model: Model = None,
    models: Models = None,
    mode: ModeOption = None,
    preset: Preset = None,
    policy: PolicyFile = None,
    metrics_host: MetricsHost = None,
    metrics_port: Annotated[
        int, typer.Option(help="port of /metrics; 0 takes any free one", min=0, max=65535, rich_help_panel=WATCHING)
    ] = 0,
) -> None:
    """Watch the filter at work on invented messages, here and now.

    The real worker judges them on a broker in memory: no Kafka, no network, nothing is kept. The exit code is 1 when a
    message got no decision.
    """
    overrides = {
        "model": model,
        "models": models,
        "mode": mode,
        "preset": preset,
        "policy": policy,
        "metrics_host": metrics_host,
        "metrics_port": metrics_port,
    }
    settings = config.load(overrides)
    logs.configure("error", "text")
    values = judging.sample_messages().read_bytes().splitlines()
    screen = Screen()
    pace = f"{rate:g} a second" if rate else "all at once"
    screen.say(f"{len(values)} invented messages, {pace}, through the real worker in memory\n")
    with _shown(screen, len(values)) as show:
        ending = asyncio.run(run(settings, values, rate=rate, show=show))
    _print_ending(screen, ending, paced=rate > 0)
    if len(ending.seen) < ending.fed:
        raise typer.Exit(1)


async def run(settings: Settings, values: Sequence[bytes], *, rate: float, show: Callable[[Seen], None]) -> Ending:
    """Run a worker on these messages and show each decision as it is published."""
    broker = streams.memory_broker(settings, partitions=PARTITIONS)
    worker = Worker(settings, broker=broker)
    serving = asyncio.Event()
    running = asyncio.create_task(worker.run(on_serving=serving.set))
    starting = asyncio.create_task(serving.wait())
    try:
        await asyncio.wait({running, starting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        began_s = monotonic()
        waiting: dict[str, tuple[Message, int]] = {}
        feeding = asyncio.create_task(_feed(broker.append, settings.inbound_topic, values, rate, waiting))
        seen = []
        async for one in _watch(broker.logs[settings.decisions_topic], waiting, len(values)):
            seen.append(one)
            show(one)
        seconds = monotonic() - began_s
        await feeding
        host, port = settings.metrics_host, worker.metrics_port or 0
        counted = await asyncio.to_thread(_decisions_counted, host, port)
        return Ending(seen, len(values), seconds, f"http://{host}:{port}/metrics", counted)
    finally:
        starting.cancel()
        worker.stop()
        await running


async def _feed(
    put: Callable[[Partition, Sequence[Outgoing], int], None],
    topic: str,
    values: Sequence[bytes],
    rate: float,
    waiting: dict[str, tuple[Message, int]],
) -> None:
    """Put the messages in, keyed as a gateway would key them, at a steady pace."""
    began_s = monotonic()
    for number, value in enumerate(values):
        if rate:
            await asyncio.sleep(began_s + number / rate - monotonic())
        message = decode_message(value)
        key = b"" if isinstance(message, DeadReason) else f"{message.sender}\0{message.recipient}".encode()
        now_ms = int(time() * 1000)
        if not isinstance(message, DeadReason):
            waiting[message.message_id] = message, now_ms
        put(Partition(topic, crc32(key) % PARTITIONS), [Outgoing(key=key, value=value)], now_ms)


async def _watch(
    logs_of_partitions: Sequence[Sequence[Record]], waiting: Mapping[str, tuple[Message, int]], expected: int
) -> AsyncIterator[Seen]:
    """Yield each published decision with its message, until all are there or no more come."""
    positions = [0] * len(logs_of_partitions)
    last_s = monotonic()
    while sum(positions) < expected and monotonic() - last_s < PATIENCE_S:
        for number, log in enumerate(logs_of_partitions):
            for record in log[positions[number] :]:
                positions[number] += 1
                last_s = monotonic()
                decision = _DECISIONS.decode(record.value or b"")
                message, fed_ms = waiting[decision.message_id]
                yield Seen(message, decision, record.timestamp_ms - fed_ms)
        await asyncio.sleep(LOOK_EVERY_S)


def _decisions_counted(host: str, port: int) -> int | None:
    """Return how many decisions the metrics server tells of, or None when it does not answer."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    except OSError:
        return None
    finally:
        connection.close()
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("spamguard_decisions_total{")))


@contextmanager
def _shown(screen: Screen, expected: int) -> Iterator[Callable[[Seen], None]]:
    """Return who shows a decision: a live table on a terminal, else one line each."""
    if not screen.is_terminal:
        screen.say(_line([Text(name) for name in COLUMNS]))
        yield lambda one: screen.say(_line(_cells(one)))
        return
    latest: deque[Seen] = deque(maxlen=SHOWN)
    counts: Counter[Action] = Counter()
    with Live(console=screen, refresh_per_second=15) as live:

        def show(one: Seen) -> None:
            latest.append(one)
            counts[one.decision.action] += 1
            live.update(Group(_table(latest, wide=screen.width >= WIDE_CELLS), _tally(counts, expected)))

        yield show


def _cells(one: Seen) -> list[Text]:
    """Return action, score, reason, category, sender, clues and text of a decision, coloured."""
    message, decision, _ = one
    words = [clue.feature for clue in decision.clues if clue.pull > 0 and any(map(str.isalnum, clue.feature))]
    text = text_of(message)
    return [
        Text(decision.action, ACTION_STYLE[decision.action]),
        Text(score_text(decision.score), score_style(decision)),
        Text(f"guard {decision.guard}" if decision.guard else decision.reason),
        Text(decision.category or ""),
        Text(printable(logs.mask(message.sender))),
        Text(" ".join(words[:3]), SPAM_STYLE),
        Text(f"({message.kind})" if text is None else shortened(text, TEXT_CELLS), DIM),
    ]


def _table(latest: Sequence[Seen] | deque[Seen], *, wide: bool) -> Table:
    table = plain_table(expand=True, header_style=DIM)
    table.add_column("action", no_wrap=True)
    table.add_column("score", no_wrap=True)
    table.add_column("reason", no_wrap=True, min_width=11)
    if wide:
        table.add_column("category", no_wrap=True, min_width=9)
    table.add_column("sender", no_wrap=True, min_width=SENDER_CELLS, max_width=SENDER_CELLS)
    table.add_column("clues", no_wrap=True, ratio=2, overflow="ellipsis")
    table.add_column("text", no_wrap=True, ratio=3, overflow="ellipsis")
    for one in latest:
        cells = _cells(one)
        table.add_row(*(cells if wide else (*cells[:3], *cells[4:])))
    for _ in range(SHOWN - len(latest)):
        table.add_row("")
    return table


def _tally(counts: Counter[Action], expected: int) -> Text:
    done = counts.total()
    return Text.assemble(
        (f"\n{counts[Action.ALLOW]} allowed", ACTION_STYLE[Action.ALLOW]),
        "  ",
        (f"{counts[Action.BLOCK]} blocked", ACTION_STYLE[Action.BLOCK]),
        (f"  {done} of {expected} messages" if done < expected else "", DIM),
    )


def _line(cells: Sequence[Text]) -> Text:
    """Return the cells of a decision as one line of plain text, in columns of terminal cells."""
    row = Text()
    for cell, width in zip(cells, LINE_CELLS, strict=True):
        plain = shortened(cell.plain, width)
        row.append(plain, cell.style).append(" " * (width - cell_len(plain) + 2))
    row.rstrip()
    return row


def _print_ending(screen: Screen, ending: Ending, *, paced: bool) -> None:
    seen, number = ending.seen, len(ending.seen)
    totals = plain_table(show_header=False)
    totals.add_column(no_wrap=True)
    totals.add_column(overflow="fold")
    for action, word in ((Action.ALLOW, "allowed"), (Action.BLOCK, "blocked")):
        decisions = [one.decision for one in seen if one.decision.action is action]
        told = _told(str(decision.reason) for decision in decisions)
        if action is Action.BLOCK and decisions:
            told += f" ({_told(str(decision.category) for decision in decisions)})"
        totals.add_row(Text(f"{len(decisions)} {word}", ACTION_STYLE[action]), told)
    pace = " (the pace they were sent at; --rate 0 sends all at once)" if paced else ""
    totals.add_row("throughput", f"{number / ending.seconds:,.0f} messages/s{pace}")
    times = sorted(one.took_ms for one in seen)
    if times:
        told = " · ".join(f"p{part} {_percentile(times, part)} ms" for part in (50, 95, 99))
        totals.add_row("latency", f"{told}, from a message's record to its decision's")
    counted = "no answer" if ending.metrics_counted is None else f"{ending.metrics_counted} decisions"
    totals.add_row("metrics", f"{ending.metrics_url} while it ran: {counted}; /healthz and /readyz beside it")
    screen.say()
    model = f", judged by {seen[0].decision.model}" if seen else ""
    screen.say(f"{number} decisions on {ending.fed} messages in {ending.seconds:.1f} s{model}", "bold")
    screen.lay_out(totals)
    if number < ending.fed:
        screen.say(f"{ending.fed - number} messages got no decision", "bold red")
    program = _program()
    screen.say("\nTry next", "bold")
    pages = ("review --demo",) if all(map(find_spec, PAGES_NEED)) else ()
    for command in (f"explain {shlex.quote(_example(seen))}", *pages, "check"):
        screen.print(f"  {program} {command}", soft_wrap=True)  # in one piece, to be copied


def _told(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in Counter(names).most_common())


def _percentile(times: Sequence[int], percent: int) -> int:
    """Return the smallest time that at least so many percent do not exceed.

    >>> _percentile([1, 2, 3, 4], 50)
    2
    """
    return times[max(0, -(-len(times) * percent // 100) - 1)]


def _example(seen: Sequence[Seen]) -> str:
    """Return a blocked text short enough to type."""
    blocked = (text_of(one.message) or "" for one in seen if one.decision.action is Action.BLOCK)
    return next((text for text in blocked if 8 <= len(text) <= 30 and text.isprintable()), "代开发*票，加薇信")


def _program() -> str:
    """Return how this program is called from here: by its name where the shell finds it, else by its path."""
    called = Path(sys.argv[0])
    found = shutil.which("spamguard")
    if called.name != "spamguard" or (found and Path(found).resolve() == called.resolve()):
        return "spamguard"
    return str(called)
