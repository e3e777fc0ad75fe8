"""Does recorded traffic still look like what the model was made for, and is what it blocks still spam?"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.text import Text

from spamguard import config
from spamguard.cli.options import Model, Models, setting
from spamguard.cli.screen import DIM, Screen, plain_table, printable
from spamguard.core import ageing
from spamguard.core.ageing import NAMES, Reference, Shift, Tally, WordCounts
from spamguard.core.decide import Request
from spamguard.core.normalize import clip, normalize_batch, readable
from spamguard.core.sms import text_of
from spamguard.engine.filter import LiveFilter
from spamguard.errors import DataError
from spamguard.service import ages, catalogue, judging
from spamguard.stream.recordings import Recorded, Recordings
from spamguard.types import Action

#: Bins of a moved feature that are shown: those that moved most.
BINS: Final = 4
Z: Final = 1.96


class Precision(NamedTuple):
    """What delayed labels say of what the model blocks."""

    labelled: int
    blocked: int  #: of those labelled
    right: int  #: of those blocked: labelled spam
    missed: int  #: labelled spam and let pass


class Measured(NamedTuple):
    """What recorded messages look like."""

    tally: Tally
    words: WordCounts
    messages: int
    precision: Precision


def register(app: typer.Typer) -> None:
    """Add `drift`."""
    app.command()(drift)


def drift(
    files: Annotated[
        list[Path],
        typer.Argument(help="recorded messages or review copies, one JSON object a line", show_default=False),
    ],
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="labels that came later: lines with message_id (or text) and label", show_default=False),
    ] = None,
    reference: Annotated[Path | None, setting("reference")] = None,
    calm: Annotated[
        list[Path] | None,
        typer.Option(help="recorded calm traffic to compare with instead of the reference", show_default=False),
    ] = None,
    write_reference: Annotated[
        Path | None, typer.Option(help="keep what these messages look like, as the calm traffic to compare with later")
    ] = None,
    alarm: Annotated[
        float, typer.Option(help="exit code 1 when a feature moved further than this", min=0.0)
    ] = ageing.MOVED,
    model: Model = None,
    models: Models = None,
    as_json: Annotated[bool, typer.Option("--json", help="print every figure as JSON")] = False,
) -> None:
    """Show whether traffic still looks like what the model knows.

    The population stability index (PSI) of six features against the model's reference, or against calm traffic of your
    own, which tells more: below 0.1 is calm, above 0.25 something moved. It names the feature, the bins and the words
    that moved, and with --labels how much of what is blocked is spam. What is too little to compare says so.

      $ spamguard drift calm-week.jsonl --write-reference calm.json
      $ spamguard drift yesterday.jsonl --reference calm.json --labels labels.jsonl
    """
    settings = config.load({"model": model, "models": models, "reference": reference})
    engine = judging.offline_filter(settings)
    manifest = catalogue.read_manifest(catalogue.model_folder(settings))
    expected = ages.expectation_of(engine.holder.judge, manifest, ages.stated_reference(settings))
    said = _labels(labels or [])
    if calm:
        then = _measured(calm, engine, expected.words, Tally(), {})
        against: Reference | None = ageing.reference_of(then.tally, then.words.known(expected.words))
    else:
        against = expected.reference
    edges = ageing.EDGES if against is None else against.edges
    now = _measured(files, engine, expected.words, Tally(edges), said)
    if not now.messages:
        raise DataError(detail="no message could be read there; give recorded messages, one JSON object a line")
    screen = Screen()
    if write_reference is not None:
        ages.write_reference(write_reference, ageing.reference_of(now.tally, now.words.known(expected.words)))
        Screen(stderr=True).say(f"written: {write_reference} ({now.messages:,} messages)")
        if not calm and reference is None and not as_json:
            return
    if against is None:
        raise DataError(
            detail=f"{manifest.full_name} keeps no reference (it was made by an older release); compare with --calm "
            "FILE, or with a --reference that --write-reference made"
        )
    found = ageing.shifts(now.tally, against)
    moved = ageing.moved_words(now.words.repeated(against.words), now.messages, against)
    if as_json:
        json.dump(_figures(now, found, moved), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
    else:
        _tell(screen, now, against, found, moved)
    if any(shift.psi is not None and shift.psi > alarm for shift in found):
        raise typer.Exit(1)


def _labels(paths: Sequence[Path]) -> dict[str, str]:
    """Return what later labels say, by message id or by text. Raises DataError."""
    said: dict[str, str] = {}
    number = 0
    for path in paths:
        try:
            with path.open("rb") as stream:
                for number, line in enumerate(stream, start=1):  # noqa: B007 - an error names it
                    if line.strip():
                        row = json.loads(line)
                        if row.get("label") not in ("spam", "ham") or row.get("withdrawn"):
                            continue
                        said[str(row.get("message_id") or row["text"])] = row["label"]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            place = f"{path} line {number}" if not isinstance(error, OSError) else str(path)
            raise DataError(
                detail=f"{place} is no label ({type(error).__name__}); it needs label, and message_id or text"
            ) from None
    return said


def _measured(files: Sequence[Path], engine: LiveFilter, known: Any, tally: Tally, said: dict[str, str]) -> Measured:
    """Return what the messages of some files look like. Raises DataError."""
    recordings = Recordings()
    words = WordCounts()
    messages = labelled = blocked = right = missed = 0
    for batch in recordings.of_files(files):
        kept = [one for one in batch if one.message is not None]
        requests = [Request(one.message, "", 0) for one in kept if one.message is not None]
        decisions = engine.judge_now(requests)
        tally.add(ageing.observe_decisions(decisions))
        texts = [text_of(request.message) for request in requests]
        clipped = [clip(text) for text in texts if text is not None]
        normalized = normalize_batch(clipped)
        tally.add(ageing.observe_normalized(clipped, normalized, known))
        words.add(normalized)
        messages += len(requests)
        for one, text, decision in zip(kept, texts, decisions, strict=True):
            label = _label_of(one, text, said)
            if label is not None:
                blocks = decision.would_be is Action.BLOCK
                labelled += 1
                blocked += blocks
                right += blocks and label == "spam"
                missed += not blocks and label == "spam"
    return Measured(tally, words, messages, Precision(labelled, blocked, right, missed))


def _label_of(one: Recorded, text: str | None, said: dict[str, str]) -> str | None:
    if one.message is not None and one.message.message_id in said:
        return said[one.message.message_id]
    return said.get(text or "", one.label)


def interval(right: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    >>> [round(end, 3) for end in interval(95, 100)]
    [0.888, 0.978]
    """
    if not of:
        return 0.0, 1.0
    share, square = right / of, Z * Z / of
    centre = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / of + square / (4 * of)) / (1 + square)
    return centre - half, centre + half


def _figures(now: Measured, found: Sequence[Shift], moved: Sequence[ageing.Moved]) -> dict[str, Any]:
    low, high = interval(now.precision.right, now.precision.blocked)
    return {
        "messages": now.messages,
        "features": {s.feature: {"psi": s.psi, "messages": s.messages, "now": s.now, "then": s.then} for s in found},
        "words": [word._asdict() for word in moved],
        "precision": now.precision._asdict() | {"low": round(low, 4), "high": round(high, 4)},
    }


def _tell(
    screen: Screen, now: Measured, against: Reference, found: Sequence[Shift], moved: Sequence[ageing.Moved]
) -> None:
    screen.say(f"{now.messages:,} messages against a reference of {against.messages:,}")
    if all(shift.psi is None for shift in found):
        least, most = min(ageing.LEAST.values()), max(ageing.LEAST.values())
        screen.say(f"Too few to compare: a feature needs {least:,} to {most:,} messages on both sides.")
        _tell_precision(screen, now.precision)
        return
    screen.say()
    table = plain_table()
    for column in ("PSI", "", "what", "counted on", "what moved most: share then → now"):
        table.add_column(column, justify="right" if column in ("PSI", "counted on") else "left")
    for shift in found:
        word, style = _told(shift)
        psi = "–" if shift.psi is None else f"{shift.psi:.3f}"
        bins = "" if shift.psi is None or shift.psi < ageing.CALM else ", ".join(_bins(shift, against))
        table.add_row(psi, Text(word, style), ageing.SENTENCES[shift.feature], f"{shift.messages:,}", bins)
    screen.lay_out(table)
    if moved and moved[0].strength and abs(moved[0].strength) > 3:
        screen.say()
        screen.say("Words that moved most, as shares of the messages (then → now)", "bold")
        for one in moved:
            if abs(one.strength) > 3:
                arrow = ("↑", "red") if one.strength > 0 else ("↓", "blue")
                screen.say(Text.assemble(arrow, f" {printable(readable(one.word))}  {one.then:.2%} → {one.now:.2%}"))
    _tell_precision(screen, now.precision)


def _told(shift: Shift) -> tuple[str, str]:
    if shift.psi is None:
        return f"too few, needs {ageing.LEAST[shift.feature]:,}", DIM
    if shift.psi < ageing.CALM:
        return "calm", "green"
    return ("moved", "bold red") if shift.psi > ageing.MOVED else ("look", "yellow")


def _bins(shift: Shift, against: Reference) -> list[str]:
    names = NAMES.get(shift.feature)
    order = sorted(range(len(shift.now)), key=lambda place: -abs(shift.now[place] - shift.then[place]))[:BINS]
    return [
        f"{names[place] if names else ageing.bin_name(against.edges[shift.feature], place)}: "
        f"{shift.then[place]:.1%} → {shift.now[place]:.1%}"
        for place in order
    ]


def _tell_precision(screen: Screen, found: Precision) -> None:
    if not found.labelled:
        return
    low, high = interval(found.right, found.blocked)
    screen.say()
    screen.say(
        f"Labels: {found.labelled:,} of these messages; of {found.blocked:,} blocked ones {found.right:,} are spam "
        f"(precision {found.right / max(1, found.blocked):.2%}, 95 %: {low:.2%} to {high:.2%}), "
        f"{found.blocked - found.right:,} are good; {found.missed:,} spam passed"
    )
