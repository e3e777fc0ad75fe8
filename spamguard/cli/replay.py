"""What would change if another model or policy decided, before anything is switched?"""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.table import Table
from rich.text import Text

from spamguard import config, logs
from spamguard.cli.dead_letters import Since, moment
from spamguard.cli.options import Brokers, Model, Models, ModeOption, Preset
from spamguard.cli.screen import DIM, NARROW, Screen, plain_table, score_text, shortened
from spamguard.config import Settings
from spamguard.core.changes import Turn
from spamguard.errors import DataError
from spamguard.service import judging, streams
from spamguard.service.replaying import Replay, Shown
from spamguard.stream.recordings import Recordings

_STYLES: Final = {
    Turn.GOOD_BLOCKED: "bold red", Turn.BLOCKED: "red", Turn.SPAM_PASSED: "yellow", Turn.PASSED: "yellow",
    Turn.SPAM_BLOCKED: "green", Turn.GOOD_PASSED: "green", Turn.REVIEW: DIM,
}  # fmt: skip
Until = Annotated[str | None, typer.Option("--until", help="only up to this moment, stated like --since")]


def register(app: typer.Typer) -> None:
    """Add `replay`."""
    app.command()(replay)


def replay(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="recorded messages or review copies, one JSON object a line", show_default=False),
    ] = None,
    topic: Annotated[
        Literal["review", "inbound"] | None,
        typer.Option(help="read the review or the inbound topic instead, without joining any group"),
    ] = None,
    since: Since = None,
    until: Until = None,
    before: Annotated[
        str | None,
        typer.Option(
            help="model to compare with, under the settings' policy: alias, name, name/version or folder; else the "
            "recorded decisions, and the champion for messages without one",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    models: Models = None,
    preset: Preset = None,
    mode: ModeOption = None,
    limit: Annotated[int, typer.Option(help="changes shown; all are counted", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print counts and changes as JSON, texts masked")] = False,
    brokers: Brokers = None,
) -> None:
    """Show what another model or policy would have decided.

    Newly blocked messages come first: each could be a good one that is lost. Lines are messages, review copies (which
    hold what was decided then), or labelled rows; of a topic, the records between --since and --until. Numbers in texts
    are covered. Nothing is published, no offset is committed, no alias moves.

      $ spamguard replay messages.jsonl --model challenger
      $ spamguard replay --topic review --since 24h --preset fraud-only
      $ spamguard replay --topic inbound --since 2h --before champion --model sms/2026.11.24.2
    """
    if bool(files) == (topic is not None):
        raise typer.BadParameter("give files of records, or --topic", param_hint="FILES")
    for name in logs.CHATTY:  # what the client library complains of is told here in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = config.load({"brokers": brokers, "models": models, "preset": preset, "mode": mode, "model": model})
    present = config.load({"brokers": brokers, "models": models, "model": before})
    after = judging.offline_filter(settings)
    recorded = before is None and topic == "review"
    run = Replay(after, None if recorded else judging.offline_filter(present), believe_records=before is None)
    recordings = Recordings()
    with suppress(KeyboardInterrupt):  # what was read so far is shown
        if topic is None:
            for batch in recordings.of_files(files or []):
                run.take(batch)
        else:
            asyncio.run(_take_topic(run, recordings, settings, topic, since, until))
    if topic is None and not run.messages and not run.without_text:
        raise DataError(detail="no message could be read there; give recorded messages, one JSON object a line")
    if as_json:
        json.dump(_figures(run, recordings, limit), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    _tell(Screen(), run, recordings, limit)


async def _take_topic(
    run: Replay, recordings: Recordings, settings: Settings, topic: str, since: str | None, until: str | None
) -> None:
    name = settings.review_topic if topic == "review" else settings.inbound_topic
    reader = streams.kafka(settings).reader(name)
    try:
        async for batch in recordings.of_topic(reader, since_ms=moment(since), until_ms=moment(until)):
            run.take(batch)
    finally:
        await reader.stop()


def _figures(run: Replay, recordings: Recordings, limit: int) -> dict[str, Any]:
    return {
        "messages": run.messages,
        "unreadable": recordings.unreadable,
        "without_text": run.without_text,
        "blocked": {"before": run.blocked[0], "after": run.blocked[1]},
        "turns": {str(turn): run.turns[turn] for turn in Turn if run.turns[turn]},
        "changes": [
            {
                "turn": str(one.turn),
                "message_id": one.after.message_id,
                "before": _opinion(one, after=False),
                "after": _opinion(one, after=True),
                "text": one.text,
            }
            for one in run.shown()[:limit]
        ],
    }


def _opinion(one: Shown, *, after: bool) -> dict[str, Any]:
    decision = one.after if after else one.before
    return {
        "would_be": str(decision.would_be),
        "reason": str(decision.reason),
        "score": decision.score,
        "category": decision.category and str(decision.category),
        "model": decision.model,
        "policy": decision.policy,
    }


def _tell(screen: Screen, run: Replay, recordings: Recordings, limit: int) -> None:
    for line in _lead(run, recordings):
        screen.say(line)
    if not run.turns:
        return
    screen.say()
    for turn in Turn:
        if run.turns[turn]:
            screen.say(Text.assemble((f"{run.turns[turn]:>9,}  ", "bold"), (str(turn), _STYLES[turn])))
    shown = run.shown()[:limit]
    if shown:
        screen.say()
        if screen.width >= NARROW:
            screen.lay_out(_table(shown))
        else:
            _tell_each(screen, shown)
    if len(shown) < run.turns.total():
        screen.say(f"{run.turns.total() - len(shown):,} more; --limit shows more of them", DIM)


def _lead(run: Replay, recordings: Recordings) -> Iterator[str]:
    differ = run.turns.total()
    yield f"{run.messages:,} messages: {run.blocked[0]:,} blocked before, {run.blocked[1]:,} after; {differ:,} differ"
    if recordings.unreadable:
        yield f"{recordings.unreadable:,} records hold no message and are left out"
    if run.without_text:
        yield f"{run.without_text:,} are decisions without their message: nothing to judge; replay the messages instead"
    if not run.messages and not run.without_text and not recordings.unreadable:
        yield "nothing was recorded there"


def _table(shown: list[Shown]) -> Table:
    table = plain_table()
    for column in ("change", "score", "reason", "category", "message"):
        table.add_column(column, no_wrap=column != "message")
    for one in shown:
        table.add_row(*_cells(one), Text(shortened(one.text, 60)))
    return table


def _tell_each(screen: Screen, shown: list[Shown]) -> None:
    """Print two lines a change: what changes, and under it the message."""
    for one in shown:
        screen.say(Text("  ").join(Text(cell) if isinstance(cell, str) else cell for cell in _cells(one)))
        screen.say(Text(f"  {shortened(one.text, screen.width - 2)}"))


def _cells(one: Shown) -> tuple[Text | str, ...]:
    return (
        Text(str(one.turn), _STYLES[one.turn]),
        f"{score_text(one.before.score)} → {score_text(one.after.score)}",
        " → ".join(dict.fromkeys((str(one.before.reason), str(one.after.reason)))),
        str(one.after.category or one.before.category or "–"),
    )
