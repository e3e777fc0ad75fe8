"""`spamguard cutoffs`: what would each choice of cutoff have blocked?"""

import json
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from spamguard.backends import artifacts, registry
from spamguard_training.cutoffs import BUDGETS, Choice, Ledger, Refused
from spamguard_training.measure import ANY
from spamguard_training.recipe import DEFAULT_MIX
from spamguard_training.scores import read_scores


def cutoffs(
    scores: Annotated[
        Path, typer.Option(help="out-of-fold scores, kept by spamguard train --scores", show_default=False)
    ],
    model: Annotated[str, typer.Argument(help="alias, name, name/version or folder")] = registry.CHAMPION,
    models: Annotated[
        Path | None, typer.Option(help="folder of models; the shipped ones when left out", envvar="SPAMGUARD_MODELS")
    ] = None,
    cost_ham: Annotated[float, typer.Option(help="cost of a good message that is blocked", min=0)] = 100.0,
    cost_spam: Annotated[float, typer.Option(help="cost of a spam that passes", min=0)] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="print every figure as JSON")] = False,
) -> None:
    """Show what each budget blocks, and the cutoff that costs least.

    The scores are those of rows that the scoring model had not seen. Nothing is changed.
    """
    manifest = artifacts.read_manifest(registry.resolve(model, models or registry.shipped_models()))
    scored = read_scores(scores)
    ledger = Ledger(scored, manifest.budget.mix or DEFAULT_MIX)
    unsure_from = manifest.ham_cutoff
    found = [ledger.within(budget, unsure_from) for budget in BUDGETS]
    shipped = ledger.at(manifest.spam_cutoff, unsure_from)
    cheapest, cost = ledger.cheapest(
        cost_ham=cost_ham, cost_spam=cost_spam, prior=manifest.prior, ham_cutoff=unsure_from
    )
    if as_json:
        figures = {
            "model": manifest.full_name,
            "ham_cutoff": unsure_from,
            "shipped": msgspec.to_builtins(shipped),
            "budgets": [msgspec.to_builtins(choice) for choice in found],
            "cheapest": {**msgspec.to_builtins(cheapest), "cost_per_1000": cost},
        }
        json.dump(figures, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    screen = Console()
    if manifest.counts.get("rows", len(scored)) != len(scored):
        screen.print(
            f"{scores.name} holds {len(scored):,} rows, the model learned from {manifest.counts['rows']:,}: "
            "these may be another model's scores\n",
            highlight=False,
        )
    table = Table(title=f"{manifest.full_name}, unsure from {unsure_from:.4f}", title_justify="left", box=None)
    table.add_column("budget")
    for heading in ("cutoff", "good lost", "at most", *shipped.caught, "unsure"):
        table.add_column(heading, justify="right")
    for choice in found:
        if isinstance(choice, Choice):
            table.add_row(f"{choice.budget:.2%}", *_cells(choice))
    table.add_section()
    table.add_row("shipped", *_cells(shipped))
    table.add_row("cheapest", *_cells(cheapest))
    screen.print(table, highlight=False)
    for choice in found:
        if isinstance(choice, Refused):
            screen.print(f"\n{choice.budget:.2%}: {choice.reason}", highlight=False)
    mix = manifest.budget.mix or DEFAULT_MIX
    whose = "all of them" if ANY in mix else ", ".join(mix)
    screen.print(
        f"\ngood lost: share of good messages blocked, with its 95 % bound, on "
        f"{whose}; {', '.join(shipped.caught)}: share of spam caught; "
        "unsure: good messages offered for review.\n"
        f"cheapest: a lost good message costs {cost_ham:g}, a passed spam {cost_spam:g}, {manifest.prior:.0%} of the "
        f"traffic is spam: {cost:,.1f} per 1,000 messages.",
        highlight=False,
    )


def _cells(choice: Choice) -> tuple[str, ...]:
    return (
        f"{choice.cutoff:.4f}",
        f"{choice.estimate:.3%}",
        f"{choice.upper_bound:.3%}",
        *(f"{share:.1%}" for share in choice.caught.values()),
        f"{choice.unsure_ham:.2%}",
    )
