"""Why does this text get its decision?

The log-odds are taken apart: the clues' pulls, the rest, and the intercept add up to them, and the score is their
logistic. What is shown here is what the model used, nothing is estimated.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from spamguard import config
from spamguard.cli.options import Model, Models, ModeOption, PolicyFile, Preset
from spamguard.cli.screen import (
    ACTION_STYLE,
    DIM,
    HAM_STYLE,
    SPAM_STYLE,
    Screen,
    plain_table,
    printable,
    score_style,
    score_text,
)
from spamguard.core.decide import Request
from spamguard.core.guards import guard_of
from spamguard.core.normalize import MAX_TEXT_CHARS, clip, normalize, readable
from spamguard.core.scorer import Explanation
from spamguard.core.sms import mend
from spamguard.service import judging
from spamguard.types import Clue, Decision, Message, Reason

#: Pulls weaker than this share of the strongest are not coloured in the text; they would only make it noisy.
COLOURED_FROM: Final = 0.25
BAR_CELLS: Final = 40
PULL_CELLS: Final = 14

_SENTENCES: Final = {
    Reason.SPAM_SCORE: "the score reaches the spam cutoff",
    Reason.HAM_SCORE: "the score stays below the ham cutoff",
    Reason.UNSURE: "the score lies between the cutoffs: allowed, and offered for review",
    Reason.NO_EVIDENCE: "too little that the model knows to say anything",
    Reason.GUARD: "a guard protects this class of good message",
    Reason.CATEGORY_ALLOWED: "the policy allows this category of spam",
    Reason.LIST_ALLOW: "an entry of a list allows it, whatever the score",
    Reason.LIST_BLOCK: "an entry of a list blocks it, whatever the score",
    Reason.LIST_REVIEW: "allowed, and offered for review because an entry of a list asks for it",
    Reason.OBSERVED: "observe mode: it would have been blocked",
    Reason.SCORING_FAILED: "the scorer failed on it; it passes, marked degraded",
}


def register(app: typer.Typer) -> None:
    """Add `explain`."""
    app.command()(explain)


def explain(
    text: Annotated[str, typer.Argument(metavar="TEXT|-", help="one whole SMS; - reads it from standard input")],
    clues: Annotated[int, typer.Option(help="how many clues to list", min=1, max=1000)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print it all as JSON")] = False,
    model: Model = None,
    models: Models = None,
    mode: ModeOption = None,
    preset: Preset = None,
    policy: PolicyFile = None,
) -> None:
    """Show why a text gets its decision.

    Clues are coloured in the text: red speaks for spam, green for ham. Their pulls, the rest (weaker clues, and the
    message's shape: its length, how many links, prices and requests) and the intercept add up to the log-odds, and the
    score is 1 / (1 + exp(−log-odds)).

      $ spamguard explain '代开发*票，各行业均可，加薇信'
    """
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n")
    overrides = {"model": model, "models": models, "mode": mode, "preset": preset, "policy": policy}
    engine = judging.offline_filter(config.load(overrides))
    whole = mend(text)
    judged = clip(whole)
    decision = engine.judge_now([Request(Message(message_id="explained", text=whole), "", int(time.time() * 1000))])[0]
    normalised = normalize(judged)
    explanation = engine.holder.judge.scorer.read([normalised]).explain([0], [judged], most=clues)[0]
    guard = guard_of(normalised)
    if as_json:
        typer.echo(json.dumps(_as_json(decision, explanation, judged, normalised, guard), ensure_ascii=False, indent=2))
        return
    screen = Screen()
    _print_decision(screen, decision, guard)
    _print_text(screen, judged, explanation.clues, cut=len(whole) > len(judged))
    screen.say(Text.assemble(("read as  ", DIM), printable(readable(normalised))))
    screen.say()
    screen.lay_out(_pull_table(explanation, decision))


def _as_json(
    decision: Decision, explanation: Explanation, text: str, normalised: str, guard: str | None
) -> dict[str, Any]:
    """Return everything that is known, for programs."""
    return {
        "action": decision.action,
        "would_be": decision.would_be,
        "reason": decision.reason,
        "score": decision.score,
        "ham_cutoff": decision.ham_cutoff,
        "spam_cutoff": decision.spam_cutoff,
        "guard": guard,
        "category": decision.category,
        "text": text,
        "normalised": readable(normalised),
        "log_odds": explanation.log_odds,
        "intercept": explanation.intercept,
        "clues": [msgspec.structs.asdict(clue) for clue in explanation.clues],
        "rest": explanation.rest,
        "model": decision.model,
        "policy": decision.policy,
    }


def _print_decision(screen: Screen, decision: Decision, guard: str | None) -> None:
    headline = Text.assemble(
        (f" {decision.action.upper()} ", f"reverse {ACTION_STYLE[decision.action]}"),
        f"  {decision.reason}: {_SENTENCES.get(decision.reason, '')}",
    )
    screen.say(headline)
    screen.say()
    facts = [
        ("score", Text.assemble((score_text(decision.score), score_style(decision)), "  ", _score_bar(decision))),
        (
            "",
            Text(f"allowed below {decision.ham_cutoff:.4f}, unsure between, spam from {decision.spam_cutoff:.4f}", DIM),
        ),
        ("category", Text(str(decision.category) if decision.category else "none, since it is not suspected")),
        ("guard", Text(f"{guard}: such a message passes whatever its score" if guard else "none applies")),
        ("model", Text(f"{decision.model}, policy {decision.policy}")),
    ]
    for name, fact in facts:
        screen.say(Text.assemble((f"{name:<9}", DIM), fact))
    screen.say()


def _score_bar(decision: Decision) -> Text:
    """Return the score as a bar from 0 to 1, with a mark at each cutoff."""
    filled = round((decision.score or 0.0) * BAR_CELLS)
    marks = {min(BAR_CELLS - 1, int(cutoff * BAR_CELLS)) for cutoff in (decision.ham_cutoff, decision.spam_cutoff)}
    bar = Text("0 ", style=DIM)
    for cell in range(BAR_CELLS):
        if cell in marks:
            bar.append("│", style="bold")
        elif cell < filled:
            bar.append("━", style=score_style(decision))
        else:
            bar.append("─", style=DIM)
    return bar.append(" 1", style=DIM)


def _print_text(screen: Screen, text: str, clues: Sequence[Clue], *, cut: bool) -> None:
    shown = Text(printable(text).replace("␊", "\n"))
    strongest = max((abs(clue.pull) for clue in clues), default=0.0)
    for clue in clues:
        if abs(clue.pull) >= COLOURED_FROM * strongest:
            shown.stylize(_pull_style(clue.pull, strong=abs(clue.pull) >= strongest / 2), clue.start, clue.end)
    screen.say(shown)
    if cut:
        screen.say(f"(only this much is judged: head and tail, {MAX_TEXT_CHARS:,} characters)", DIM)
    screen.say()


def _pull_style(pull: float, *, strong: bool = False) -> str:
    style = SPAM_STYLE if pull > 0 else HAM_STYLE
    return f"bold reverse {style}" if strong else f"bold {style}"


def _pull_table(explanation: Explanation, decision: Decision) -> Table:
    """Return the sum that makes the log-odds, line by line."""
    pulls: dict[str, list[float]] = {}
    for clue in explanation.clues:
        pulls.setdefault(clue.feature, []).append(clue.pull)
    sums = sorted(((sum(found), feature, len(found)) for feature, found in pulls.items()), key=lambda one: -abs(one[0]))
    strongest = abs(sums[0][0]) if sums else 0.0
    table = plain_table()
    table.add_column("clue", overflow="fold")
    table.add_column("pull", justify="right", no_wrap=True)
    table.add_column("← ham │ spam →", no_wrap=True)
    for pull, feature, times in sums:
        name = Text(printable(feature), _pull_style(pull)).append(f" ×{times}" if times > 1 else "", DIM)
        table.add_row(name, Text(f"{pull:+.3f}", _pull_style(pull)), _pull_bar(pull, strongest))
    table.add_row(Text("weaker clues, shape", DIM), Text(f"{explanation.rest:+.3f}", DIM), "")
    table.add_row(Text("intercept", DIM), Text(f"{explanation.intercept:+.3f}", DIM), "")
    total = f"→ score {score_text(decision.score)}"
    table.add_row(Text("log-odds", "bold"), Text(f"{explanation.log_odds:+.3f}", "bold"), total)
    return table


def _pull_bar(pull: float, strongest: float) -> Text:
    """Return a pull as a bar to the left (ham) or to the right (spam) of a line."""
    half = PULL_CELLS // 2
    cells = max(1, round(abs(pull) / strongest * half)) if pull else 0
    left, right = (" " * half, "▇" * cells) if pull > 0 else (("▇" * cells).rjust(half), "")
    return Text.assemble((left, HAM_STYLE), ("│", DIM), (right, SPAM_STYLE))
