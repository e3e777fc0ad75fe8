"""Which models are there, what do they say of themselves, and are they whole?"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from spamguard import config, service
from spamguard.cli.options import Models
from spamguard.cli.screen import DIM, Screen, printable
from spamguard.core.manifest import Manifest
from spamguard.errors import ModelNotFound, SpamguardError

CARD: Final = "card.md"
_REFERENCE: Final = "alias, name, name/version or folder"


def register(app: typer.Typer) -> None:
    """Add `models list`, `models show` and `models verify`."""
    group = typer.Typer(no_args_is_help=True, help="List, show and verify models.")
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("verify")(verify)
    app.add_typer(group, name="models")


def list_models(models: Models = None) -> None:
    """List the models in the folder, the aliases beside those they stand for."""
    settings = config.load({"models": models})
    found = service.known_models(settings)
    if not found:
        raise ModelNotFound(path=service.models_folder(settings))
    screen = Screen()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold")
    table.add_column("alias")
    table.add_column("features", justify="right")
    table.add_column("cutoffs ham–spam")
    table.add_column("size", justify="right")
    table.add_column("created")
    refused = []
    for model in found:
        name = Text(model.name, "bold" if model.aliases else "")
        aliases = Text(", ".join(model.aliases), "green")
        try:
            manifest = service.read_manifest(model.folder)
        except SpamguardError as error:
            refused.append(error)
            table.add_row(name, aliases, Text("–", DIM), Text("not readable", "red"))
            continue
        table.add_row(
            name,
            aliases,
            f"{manifest.features:,}",
            f"{manifest.ham_cutoff:.4f}–{manifest.spam_cutoff:.4f}",
            _size(model.folder),
            manifest.created[:10],
        )
    screen.lay_out(table)
    if refused:
        raise refused[0]


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6:,.1f} MB"


def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_REFERENCE, show_default=True)] = "champion",
    card: Annotated[bool, typer.Option("--card", help="show the model's card instead")] = False,
    models: Models = None,
) -> None:
    """Show what a model says of itself: where it comes from, how it was measured, what it holds."""
    folder = service.model_folder(config.load({"model": model, "models": models}))
    screen = Screen()
    if card:
        _print_card(screen, folder / CARD)
        return
    manifest = service.read_manifest(folder)
    screen.say(Text.assemble((manifest.full_name, "bold"), (f"  {folder}", DIM)))
    for title, facts in _sections(manifest):
        screen.say()
        screen.say(title, "bold")
        table = Table(box=None, padding=(0, 0, 0, 2), show_header=False)
        table.add_column(style=DIM, no_wrap=True)
        table.add_column(overflow="fold")
        for name, fact in facts:
            table.add_row(name, printable(fact))
        screen.lay_out(table)


def _print_card(screen: Screen, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ModelNotFound(path=path) from None
    if screen.is_terminal:
        screen.print(Markdown(text))
    else:
        screen.say(text.rstrip("\n"))


def _sections(manifest: Manifest) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the manifest as titled lists of facts."""
    budget = manifest.budget
    yield (
        "How it decides",
        [
            ("cutoffs", f"allowed below {manifest.ham_cutoff:.4f}, spam from {manifest.spam_cutoff:.4f}"),
            (
                "budget",
                f"{budget.false_positive_rate:.2%} of good messages; measured {budget.estimate:.3%}, at most "
                f"{budget.upper_bound:.3%} (95 %), on {budget.ham_rows:,} of them",
            ),
            ("mix of good messages", _listed(budget.mix, "{:.0%}")),
            ("share of spam", f"{manifest.prior:.1%} of the traffic the scores are calibrated to"),
            ("categories", ", ".join(manifest.kinds) or "none"),
        ],
    )
    yield (
        "How it was made",
        [
            ("created", datetime.fromisoformat(manifest.created).strftime("%Y-%m-%d %H:%M %Z").strip()),
            ("classifier", manifest.classifier),
            ("calibration", manifest.calibration),
            ("features", f"{manifest.features:,}"),
            *((f"  {view.name}", f"{view.shortest}–{view.longest}-grams") for view in manifest.views),
            ("seed", str(manifest.seed)),
            ("spamguard", f"{manifest.code_version}, normaliser {manifest.normalizer_version}, {manifest.tokenizer}"),
            ("libraries", _listed(manifest.libraries, "{}")),
        ],
    )
    yield (
        "What it was trained on",
        [
            *((name, f"{number:,}") for name, number in manifest.counts.items() if " " not in name),
            *((source.name, f"{_rows(source.rows)}sha256 {source.sha256[:12]}…") for source in manifest.sources),
        ],
    )
    more = "on its card: spamguard models show --card"
    yield "What was measured", [*_figures(manifest.metrics), ("more", more)]
    yield "Files", [(name, f"sha256 {digest[:12]}…") for name, digest in manifest.files.items()]


def _rows(number: int) -> str:
    return f"{number:,} rows, " if number else ""


def _listed(values: Mapping[str, Any], pattern: str) -> str:
    return ", ".join(f"{name} {pattern.format(value)}" for name, value in values.items()) or "none"


def _figures(metrics: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the figures that come with an interval: the headline ones, which are worth quoting."""
    for name, value in metrics.items():
        path = f"{above} {name}".strip()
        if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys():
            yield path, f"{value['value']:.4f} ({value['low']:.4f}–{value['high']:.4f})"
        elif isinstance(value, Mapping):
            yield from _figures(value, path)


def verify(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=f"{_REFERENCE}; every model when left out")
    ] = None,
    models: Models = None,
) -> None:
    """Check every file's digest, then the arrays and self-tests: one line a file, exit code 4 when one is wrong."""
    settings = config.load({"model": model, "models": models})
    if model is None:
        folders = {known.name: known.folder for known in service.known_models(settings)}
    else:
        folders = {model: service.model_folder(settings)}
    if not folders:
        raise ModelNotFound(path=service.models_folder(settings))
    screen = Screen()
    wrong: list[SpamguardError] = []
    for name, folder in folders.items():
        for checked, error in service.verify_model(folder):
            mark = ("✗", "bold red") if error else ("✓", "bold green")
            screen.say(Text.assemble(mark, f" {name}  {checked}"))
            wrong += [error] if error else []
    if wrong:
        raise wrong[0]
