"""What does the filter say of these messages, without a broker?

With --jsonl it is the stream's oracle: the same decoding, engine and policy as the service, one line out for each line
in, in order. Lines are judged as they arrive, a chunk at a time, so a file of any size takes the same memory and
`tail -f … | spamguard score --jsonl` answers at once.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple

import msgspec
import typer
from rich.cells import cell_len
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from spamguard import config
from spamguard.cli.options import Model, Models, ModeOption, PolicyFile, Preset
from spamguard.cli.screen import ACTION_STYLE, DIM, Screen, printable, score_style, score_text, shortened
from spamguard.core.codec import decision_id, decode_message, encode
from spamguard.core.decide import Request
from spamguard.core.sms import mend
from spamguard.engine.filter import LiveFilter
from spamguard.errors import DataError
from spamguard.service import judging
from spamguard.types import DeadReason, Decision, Message, Partition

#: Read at once; about 1,000 messages.
CHUNK_BYTES: Final = 1 << 18
#: A longer line loses its middle, so that a file without line breaks cannot take all memory.
MAX_LINE_BYTES: Final = 16 << 20
#: Messages judged together.
BATCH: Final = 512
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: What is done sooner needs no progress bar.
BAR_AFTER_S: Final = 1.0
STANDARD_INPUT: Final = "-"
#: A longer text cannot be the name of a file.
MAX_NAME_CHARS: Final = 255


class LineError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a line is no message."""

    reason: DeadReason
    line: int  #: from 1


class ErrorLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is written in the place of a decision."""

    error: LineError


class Counts(NamedTuple):
    """How many lines there were."""

    lines: int = 0
    errors: int = 0  #: that are no message
    failed: int = 0  #: whose judging raised
    defective: int = 0  #: judged although some of their fields could not be read

    def plus(self, other: "Counts") -> "Counts":
        """Return the sum."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


#: Told how many more bytes, and how many lines in all, have been judged.
Advance = Callable[[int, int], None]


def register(app: typer.Typer) -> None:
    """Add `score`."""
    app.command()(score)


def score(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT|FILE|-",
            help="texts; with --jsonl one file of messages; - is standard input",
            show_default=False,
        ),
    ] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="read one JSON message a line, write one JSON decision a line")
    ] = False,
    topic: Annotated[str, typer.Option(help="topic that decision ids are made for (--jsonl)")] = "offline",
    partition: Annotated[
        int, typer.Option(help="its partition; a line's number from 0 is the offset (--jsonl)", min=0)
    ] = 0,
    model: Model = None,
    models: Models = None,
    mode: ModeOption = None,
    preset: Preset = None,
    policy: PolicyFile = None,
) -> None:
    """Judge texts, or a file of messages, without a broker.

    With --jsonl every line in gives exactly one line out, in the same order: the decision, or an object with an
    [bold]error[/] that names reason and line. Nothing else is written to standard output, and the exit code is 1 when
    any line was an error. A message needs [bold]message_id[/] and [bold]text[/]; the other fields of the contract are
    optional. Whether it is late is for the stream to say; here nothing ever is.

      $ spamguard score '代开各类发票加微信' 'see you at eight'
      $ spamguard score --jsonl messages.jsonl > decisions.jsonl
    """
    if not inputs and not jsonl:
        raise typer.BadParameter("give a text, or - to read one text a line from standard input", param_hint="TEXT")
    if jsonl and len(inputs or ()) > 1:
        raise typer.BadParameter("--jsonl reads one file, or - for standard input", param_hint="FILE")
    overrides = {"model": model, "models": models, "mode": mode, "preset": preset, "policy": policy}
    engine = judging.offline_filter(config.load(overrides))
    if not jsonl:
        _score_texts(inputs or [], engine)
        return
    with _opened((inputs or [STANDARD_INPUT])[0]) as stream:
        counts = _score_lines(stream, _whole(sys.stdout.buffer), engine, Partition(topic, partition))
    screen = Screen(stderr=True)
    if counts.failed:
        screen.say(f"{counts.failed:,} of {counts.lines:,} lines could not be judged; they pass, marked as degraded.")
    if counts.defective:
        said = "a field that could not be read (is the file in UTF-8?); the output names it in defects"
        hold = "holds" if counts.defective == 1 else "hold"
        screen.say(f"{counts.defective:,} of {counts.lines:,} lines {hold} {said}.")
    if counts.errors:
        hold = "holds" if counts.errors == 1 else "hold"
        screen.say(f"{counts.errors:,} of {counts.lines:,} lines {hold} no message; the output says why.")
        raise typer.Exit(1)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open a file of messages for reading. Raises DataError."""
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115 - only opening it may fail in this way, not what is done with it
    except OSError as error:
        raise DataError(detail=f"{printable(name)} cannot be read ({error.strerror})") from None
    with stream:
        yield stream


def _whole(output: BinaryIO) -> BinaryIO:
    """Return an output that writes all it is given: under `python -u` standard output is raw and may write less."""
    return open(output.fileno(), "wb", closefd=False) if isinstance(output, io.RawIOBase) else output


def _score_lines(stream: BinaryIO, output: BinaryIO, engine: LiveFilter, place: Partition) -> Counts:
    """Judge every line."""
    counts = Counts()
    with _progress(stream) as advance:
        for lines in lines_of(stream):
            for first in range(0, len(lines), BATCH):
                part = lines[first : first + BATCH]
                written, found = judged(part, counts.lines, engine, place)
                output.write(b"".join(written))
                counts = counts.plus(found)
                advance(sum(map(len, part)) + len(part), counts.lines)
            output.flush()
    return counts


def lines_of(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines that have arrived, without their line breaks, as soon as there are some.

    >>> import io
    >>> list(lines_of(io.BytesIO(b"one\\n\\nthree")))
    [[b'one', b''], [b'three']]
    """
    unfinished = b""
    while piece := stream.read1(CHUNK_BYTES):  # type: ignore[attr-defined]  # every buffered reader has it
        *lines, unfinished = (unfinished + piece).split(b"\n")
        if lines:
            yield lines
        unfinished = unfinished[:MAX_LINE_BYTES]
    if unfinished:
        yield [unfinished]


def judged(lines: Sequence[bytes], first: int, engine: LiveFilter, place: Partition) -> tuple[list[bytes], Counts]:
    """Return one line of output a line of input, with the counts; `first` is the first line's offset."""
    now_ms = int(time.time() * 1000)
    requests: list[Request] = []
    places: list[int] = []
    written: list[bytes] = [b""] * len(lines)
    for index, line in enumerate(lines):
        offset = first + index
        content = line.removeprefix(BYTE_ORDER_MARK) if offset == 0 else line
        message = decode_message(content.removesuffix(b"\r"))
        if isinstance(message, DeadReason):
            written[index] = encode(ErrorLine(error=LineError(reason=message, line=offset + 1))) + b"\n"
        else:
            places.append(index)
            requests.append(Request(message, decision_id(place, offset), now_ms))
    decisions = engine.judge_now(requests) if requests else []
    for index, decision in zip(places, decisions, strict=True):
        written[index] = encode(decision) + b"\n"
    degraded = sum(decision.degraded for decision in decisions)
    defective = sum(bool(decision.defects) for decision in decisions)
    return written, Counts(len(lines), len(lines) - len(requests), degraded, defective)


@contextmanager
def _progress(stream: BinaryIO) -> Iterator[Advance]:
    """Return who is told of the progress: a bar on a terminal that shows nothing else, or nobody."""
    screen = Screen(stderr=True)
    if not screen.is_terminal or sys.stdout.isatty():
        yield lambda size, lines: None
        return
    total = os.fstat(stream.fileno()).st_size or None  # a pipe has no size
    columns = (
        TextColumn("{task.fields[lines]:,} messages"),
        BarColumn(),
        *((TextColumn("{task.percentage:>3.0f} %"),) if total else ()),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=screen, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task("", total=total, lines=0)
    began_s = time.monotonic()

    def advance(size: int, lines: int) -> None:
        bar.update(task, advance=size, lines=lines)
        if time.monotonic() - began_s > BAR_AFTER_S:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()


def _score_texts(texts: Sequence[str], engine: LiveFilter) -> None:
    """Print a row for each text, or for each line of standard input as it arrives."""
    screen = Screen()
    screen.say(Text(f"{'score':<7} {'action':<6} {'reason':<16} {'category':<9} text", style=DIM))
    if list(texts) == [STANDARD_INPUT]:
        for lines in lines_of(sys.stdin.buffer):
            for first in range(0, len(lines), BATCH):
                _print_rows([line.decode("utf-8", "replace") for line in lines[first : first + BATCH]], engine, screen)
    else:
        for text in texts:
            if len(text) < MAX_NAME_CHARS and Path(text).is_file():
                sys.stderr.write(f"note: '{text}' is a file; its name is judged. Did you mean --jsonl {text}?\n")
        _print_rows(texts, engine, screen)


def _print_rows(texts: Sequence[str], engine: LiveFilter, screen: Screen) -> None:
    texts = [mend(text) for text in texts]
    now_ms = int(time.time() * 1000)
    requests = [Request(Message(message_id="typed", text=text), "", now_ms) for text in texts]
    for text, decision in zip(texts, engine.judge_now(requests), strict=True):
        screen.say(_row(text, decision, screen))


def _row(text: str, decision: Decision, screen: Screen) -> Text:
    row = Text()
    row.append(f"{score_text(decision.score):<7} ", style=score_style(decision))
    row.append(f"{decision.action:<6} ", style=ACTION_STYLE[decision.action])
    reason = f"{decision.reason} {decision.guard}" if decision.reason == "guard" else str(decision.reason)
    row.append(f"{reason:<16} {decision.category or '–':<9} ")
    room = screen.width - cell_len(row.plain) if screen.is_terminal else sys.maxsize
    row.append(shortened(text, max(8, room)))
    return row
