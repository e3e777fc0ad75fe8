"""How is the matrix of writings shown: what evasion gains, and what it costs honest people?"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spamguard.backends.samples import guard_tricks_suite
from spamguard.core.decide import Judge
from spamguard_training.attacks import matrix
from spamguard_training.baits import read_tricks
from spamguard_training.corpus import Row


def attack(rows: list[Row], judge: Judge, variants: Path | None, *, seed: int, queries: int, as_json: bool) -> None:
    """Print the matrix of writings."""
    screen = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=screen, transient=True
    ) as bar:
        task = bar.add_task("attacking", total=None)
        figures = matrix(
            rows,
            judge,
            variants=variants,
            tricks=read_tricks(guard_tricks_suite()),
            seed=seed,
            queries=queries,
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    if as_json:
        json.dump(figures, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    screen = Console()
    screen.print(_matrix_table(figures), crop=False)
    for line in _bait_lines(figures["guard_tricks"]):
        screen.print(line, highlight=False)
    for name, why in figures["not_run"].items():
        screen.print(f"not run: {name} ({why})", markup=False)


def _matrix_table(figures: Mapping[str, Any]) -> Table:
    """Return the matrix for a terminal."""
    title = f"{figures['model']}: {figures['spam']:,} spam, {figures['ham']:,} ham, {figures['groups']:,} groups"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("writing")
    for heading in ("changed", "recall", "kept", "95 %", "ham blocked", "more than clean", "95 %", "table undone"):
        table.add_column(heading, justify="right")
    for name, found in {"clean": figures["clean"], **figures["writings"], **figures["attackers"]}.items():
        kept, cells = found["recall_kept"], ["", "", ""]
        if "ham_blocked" in found:
            more = found["ham_difference"]
            cells = [
                f"{found['ham_blocked']['value']:.2%}",
                f"{more['value']:+.2%}",
                f"{more['low']:+.2%} – {more['high']:+.2%}",
            ]
        table.add_row(
            name,
            f"{found['changed']:.0%}" if "changed" in found else "",
            f"{found['recall']['value']:.1%}",
            f"{kept['value']:.1%}",
            f"{kept['low']:.1%} – {kept['high']:.1%}",
            *cells,
            f"{figures['overlap'][name]['share']:.0%}" if name in figures["overlap"] else "",
        )
    return table


def _bait_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what baits let through, in words."""
    passed, suite = found["let_through"], found["suite"]
    by_guard = ", ".join(f"{guard} {share:.1%}" for guard, share in found["by_guard"].items())
    return [
        f"guard tricks: {passed['value']:.1%} ({passed['low']:.1%} – {passed['high']:.1%}) get through of "
        f"{found['tried']:,} adverts with a bait that are blocked without it; a guard let {found['guarded']:,} in",
        f"  by what the bait imitates: {by_guard or 'nothing was blocked'}",
        f"  the suite's own adverts: {suite['let_through']:,} of {suite['tried']:,} get through",
        f"  good messages with a bait: {found['ham_blocked']:,} of {found['ham_tried']:,} are blocked",
    ]
