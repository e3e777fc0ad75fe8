"""`spamguard compare` and `spamguard gate`: is the other model better, and may it decide?"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from spamguard import __version__
from spamguard.backends import evidence, registry, samples
from spamguard.core.gate import Evidence, Finding, findings, refusals, shown
from spamguard.core.manifest import Source
from spamguard.errors import DataError, GateClosed, ModelNotFound
from spamguard_training import sheet
from spamguard_training.compare import Compared, Contender, contender
from spamguard_training.compare import compare as compare_models
from spamguard_training.corpus import CorpusFile, Row, corpus_paths, stored_rows
from spamguard_training.families import generate, read_families
from spamguard_training.overlay import lay_over, overlay_file, read_overlay
from spamguard_training.recipe import Recipe, read_recipe
from spamguard_training.train import gather

#: Messages made of each family of the zero-blocked suite, and the seed they are made with: those of the tests.
SUITE_EACH: Final = 25
SUITE_SEED: Final = 20261124
#: Messages that change sides on a screen; JSON and the page hold more.
ON_SCREEN: Final = 15
#: How wide tables may be in a pipe or a file, where nobody wraps.
FILE_COLUMNS: Final = 160

_REFERENCE: Final = "alias, name, name/version or folder"
Data = Annotated[
    list[Path],
    typer.Option(
        "--data", help="labelled messages neither model was trained on: a file or folder; may be repeated",
        show_default=False,
    ),
]  # fmt: skip
Models = Annotated[
    Path | None, typer.Option(help="folder of models; the shipped ones when left out", envvar="SPAMGUARD_MODELS")
]
Overlay = Annotated[Path | None, typer.Option(help="readers' labels by id, laid over the rows")]
RecipeFile = Annotated[Path | None, typer.Option(help="recipe in TOML: names the headline sources", show_default=False)]
Suite = Annotated[
    Path | None,
    typer.Option(help="families of good messages of which none may be blocked; the shipped ones when left out"),
]
Variants = Annotated[
    Path | None, typer.Option(help="a folder of tables of evasive variants; without it some writings are not run")
]
AttackRows = Annotated[int, typer.Option("--attack-rows", help="rows that are written in every evasive way", min=1)]
Seed = Annotated[int, typer.Option(help="seed of the resampling, of the writings and of the sample")]
Html = Annotated[Path | None, typer.Option(help="write one self-contained page here", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="print every figure as JSON")]


def compare(
    first: Annotated[str, typer.Argument(metavar="FIRST", help=f"the model as it is: {_REFERENCE}")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="the one that may come after it")],
    data: Data,
    overlay: Overlay = None,
    recipe: RecipeFile = None,
    suite: Suite = None,
    variants: Variants = None,
    attack_rows: AttackRows = 1000,
    seed: Seed = 0,
    html: Html = None,
    as_json: AsJson = False,
    models: Models = None,
) -> None:
    """Compare two models on the same messages: who is right where.

    Won, tied and lost by source, category, kind of good message and evasive writing; intervals from resampled
    near-duplicate groups, McNemar's test; every message that changes sides, newly blocked good ones first, numbers
    covered; speed and size. Both models are judged as the service judges, each at its own cutoffs.

      $ spamguard compare champion challenger --data holdout.jsonl --html compared.html

    When FIRST is the champion, what was found is kept as evidence for [bold]spamguard models promote[/].
    """
    root = models or registry.shipped_models()
    contenders = (contender(registry.resolve(first, root)), contender(registry.resolve(second, root)))
    rows, files = labelled(data, overlay, read_recipe(recipe))
    compared = measured(rows, files, *contenders, recipe, suite, variants, attack_rows, seed)
    found = findings(evidence_of(compared, files, *contenders))
    tell(compared, found, html, as_json)
    if registry.read_aliases(root).get(registry.CHAMPION) == contenders[0].ref.name and _lives_in(root, contenders[1]):
        keep(root, compared, files, *contenders)


def gate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"the model that wants to decide: {_REFERENCE}")],
    data: Data,
    overlay: Overlay = None,
    recipe: RecipeFile = None,
    suite: Suite = None,
    variants: Variants = None,
    attack_rows: AttackRows = 1000,
    seed: Seed = 0,
    html: Html = None,
    as_json: AsJson = False,
    models: Models = None,
) -> None:
    """Measure whether a model may become the champion.

    The evidence is kept for spamguard models promote. Against the champion of the folder, or against absolute
    floors when there is none yet. Exit code 8 when the gate stays closed: the model is worse beyond the interval of
    the difference, and the table says where and by how much.

      $ spamguard gate sms/2026.11.24.2 --data holdout.jsonl && spamguard models promote sms/2026.11.24.2 --reason "…"
    """
    root = models or registry.shipped_models()
    challenger = contender(registry.resolve(model, root))
    champion = champion_of(root)
    rows, files = labelled(data, overlay, read_recipe(recipe))
    compared = measured(rows, files, champion, challenger, recipe, suite, variants, attack_rows, seed)
    found = findings(evidence_of(compared, files, champion, challenger))
    tell(compared, found, html, as_json)
    keep(root, compared, files, champion, challenger)
    if closed := refusals(found):
        raise GateClosed(model=challenger.ref.name, detail="; ".join(closed))


def champion_of(root: Path) -> Contender | None:
    """Return the champion of a folder; None when there is none, or when it is gone. Raises ModelRejected."""
    target = registry.read_aliases(root).get(registry.CHAMPION)
    try:
        return None if target is None else contender(registry.resolve(target, root))
    except ModelNotFound:
        return None


def _lives_in(root: Path, model: Contender) -> bool:
    return (root / model.ref.name).is_dir()


def labelled(data: Sequence[Path], overlay: Path | None, recipe: Recipe) -> tuple[Sequence[Row], list[CorpusFile]]:
    """Return the rows to compare on, and what they were read from. Raises DataError."""
    rows, files = gather([path for given in data for path in corpus_paths(given)], [], recipe)
    if overlay is not None:
        readings = read_overlay(overlay)
        rows = stored_rows(lay_over(rows, readings))
        files.append(overlay_file(overlay, readings))
    return rows, files


def suite_rows(suite: Path | None) -> list[Row]:
    """Return the good messages of which none may be blocked. Raises DataError."""
    return list(generate(read_families([suite or samples.zero_blocked_suite()]), each=SUITE_EACH, seed=SUITE_SEED))


def measured(
    rows: Sequence[Row],
    files: Sequence[CorpusFile],
    first: Contender | None,
    second: Contender,
    recipe: Path | None,
    suite: Path | None,
    variants: Path | None,
    attack_rows: int,
    seed: int,
) -> Compared:
    """Return the comparison, with a bar on a terminal. Raises DataError."""
    if not any(row.is_spam for row in rows) or all(row.is_spam for row in rows):
        raise DataError(detail="comparing needs rows of both labels, spam and ham")
    screen = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=screen, transient=True
    ) as bar:
        task = bar.add_task("judging", total=None)
        return compare_models(
            rows,
            files,
            first,
            second,
            suite_rows(suite),
            recipe=read_recipe(recipe),
            variants=variants,
            attack_rows=attack_rows,
            seed=seed,
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )


def evidence_of(
    compared: Compared, files: Sequence[CorpusFile], first: Contender | None, second: Contender
) -> Evidence:
    """Return what was found as the gate reads it."""
    return Evidence(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=__version__,
        challenger=second.ref,
        champion=None if first is None else first.ref,
        budget=compared.figures["budget"],
        data=tuple(Source(name=file.name, sha256=file.sha256, rows=file.rows) for file in files),
        measures=compared.measures,
    )


def keep(
    root: Path, compared: Compared, files: Sequence[CorpusFile], first: Contender | None, second: Contender
) -> Path:
    """Write the evidence for `models promote` and say where. Raises DataError."""
    path = evidence.write(root, evidence_of(compared, files, first, second))
    Console(stderr=True).print(f"evidence: {path}", highlight=False, markup=False, soft_wrap=True)
    return path


def tell(compared: Compared, found: Sequence[Finding], html: Path | None, as_json: bool) -> None:
    """Print the comparison as tables or JSON, and write the page where one is wanted."""
    figures = compared.figures
    figures["gate"] = [{"measure": one.check.title, "passed": one.passed, "found": one.sentence} for one in found]
    figures["measures"] = {name: msgspec.to_builtins(measure) for name, measure in compared.measures.items()}
    if html is not None:
        _write_page(compared, found, html)
    if as_json:
        json.dump(figures, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    out = Console(markup=False, highlight=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = FILE_COLUMNS
    out.print(Text(title_of(figures), "bold"))
    out.print(lead_of(figures))
    for section in _on_screen(figures, found):
        out.print()
        out.print(Text(section.title, "bold"))
        out.print(_table(section), crop=False)
        if section.title.startswith(("Differences", "Messages")):
            out.print(section.note, style="bright_black")
    for warning in figures["warnings"]:
        out.print(warning, style="yellow")
    if html is not None:
        Console(stderr=True).print(f"written: {html}", highlight=False, markup=False, soft_wrap=True)


def title_of(figures: dict[str, Any]) -> str:
    """Return what was compared."""
    return " → ".join(figures["models"])


def lead_of(figures: dict[str, Any]) -> str:
    """Return on what it was compared."""
    rows = figures["rows"]
    lead = f"{rows['spam']:,} spam and {rows['ham']:,} good messages in {rows['groups']:,} near-duplicate groups; "
    return lead + f"{figures['suite']['messages']:,} messages of the zero-blocked suite."


def verdict(found: Sequence[Finding]) -> list[tuple[str, str, str, str, str]]:
    """Return the gate's findings as rows of a table."""
    rows = []
    for one in found:
        measure = one.measure
        if measure is None:
            rows.append(("✗", one.check.title, "", "not measured", ""))
            continue
        alone = measure.champion is None
        floor = one.check.floor
        if alone:
            sign = "≥" if one.check.better == "higher" else "≤"
            between = "" if floor is None else f"{sign} {shown(one.check, floor)}"
        elif one.check.unit == "share":
            between = f"{100 * measure.low:+.2f} to {100 * measure.high:+.2f} points"
        elif one.check.unit == "per_s":
            between = f"{measure.low:+.1%} to {measure.high:+.1%}"
        else:
            between = f"{measure.low:+.0f}"
        rows.append(
            (
                "✓" if one.passed else "✗",
                one.check.title,
                "" if measure.champion is None else shown(one.check, measure.champion),
                shown(one.check, measure.challenger),
                between,
            )
        )
    return rows


def _on_screen(figures: dict[str, Any], found: Sequence[Finding]) -> list[sheet.Section]:
    sections = []
    for section in sheet.compared(figures, verdict(found)):
        shown_rows = list(section.rows)
        if section.title.startswith("Messages"):
            shown_rows = [(*row[:2], _short(row[-1])) for row in shown_rows[:ON_SCREEN]]
            section = section._replace(head=(*section.head[:2], section.head[-1]))
        sections.append(section._replace(rows=shown_rows))
    return sections


def _short(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:47]}…"


def _table(section: sheet.Section) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(section.head):
        left = place == 0 or name in ("measure", "message, numbers covered")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for row in section.rows:
        cells = [Text(cell) for cell in row]
        if cells[0].plain in ("✓", "✗"):
            cells[0].stylize("bold green" if cells[0].plain == "✓" else "bold red")
        table.add_row(*cells)
    return table


def _write_page(compared: Compared, found: Sequence[Finding], path: Path) -> None:
    from spamguard_training.plots import cjk_font, draw_pair  # matplotlib takes a second to load

    figures = compared.figures
    png = {}
    notes = list(figures["warnings"])
    if len(compared.scores) == 2:
        cutoffs = [blocked_from for _, blocked_from in figures["cutoffs"]]
        pictures = draw_pair(
            compared.spam, compared.scores, figures["models"], cutoffs, figures["by_source"], cjk_font()
        )
        png, notes = dict(pictures.png), [*notes, *pictures.notes]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = sheet.page(title_of(figures), lead_of(figures), notes, sheet.compared(figures, verdict(found)), png)
    path.write_text(text, encoding="utf-8")
