"""Which models are there, what do they say of themselves, are they whole, and which of them decides?"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from spamguard import config
from spamguard.backends.login import who_am_i
from spamguard.cli import control
from spamguard.cli.options import Brokers, ControlTopic, Models, Who, setting
from spamguard.cli.screen import DIM, NARROW, Screen, indented, plain_table, printable
from spamguard.core.gate import Finding
from spamguard.core.manifest import Manifest
from spamguard.engine.control import MODEL
from spamguard.errors import ModelNotFound, SpamguardError
from spamguard.service import catalogue

CARD: Final = "card.md"
_REFERENCE: Final = "alias, name, name/version or folder"

Role = Annotated[
    Literal["champion", "challenger"],
    typer.Option("--as", help="alias to move: the champion decides, the challenger only scores along"),
]
Reason = Annotated[str, typer.Option("--reason", help="why; kept in the history", show_default=False)]
Key = Annotated[str | None, setting("model_key")]


def register(app: typer.Typer) -> None:
    """Add `models` with all its commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="""List, show, verify and sign models; say which one decides.

The alias champion decides, the alias challenger scores along; workers follow both while they run.

  $ spamguard models list
  $ spamguard models promote NAME/VERSION --as challenger --reason "to see"
  $ spamguard models rollback --reason "it blocks good messages"
""",
    )
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("keygen")(keygen)
    group.command("sign")(sign)
    group.command("promote")(promote)
    group.command("rollback")(rollback)
    group.command("history")(history)
    group.command("order")(order)
    group.command("prune")(prune)
    app.add_typer(group, name="models")


def list_models(models: Models = None) -> None:
    """List the models in the folder, the aliases beside those they stand for."""
    settings = config.load({"models": models})
    found = catalogue.known_models(settings)
    if not found:
        raise ModelNotFound(path=catalogue.models_folder(settings))
    screen = Screen()
    table = plain_table()
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
            manifest = catalogue.read_manifest(model.folder)
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
    folder = catalogue.model_folder(config.load({"model": model, "models": models}))
    screen = Screen()
    if card:
        _print_card(screen, folder / CARD)
        return
    manifest = catalogue.read_manifest(folder)
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
    key: Key = None,
    models: Models = None,
) -> None:
    """Check every file's digest, then the arrays and self-tests: one line a file, exit code 4 when one is wrong.

    With a key, the signature is checked too: it covers the manifest, which covers every file.
    """
    settings = config.load({"model": model, "models": models, "model_key": key})
    if model is None:
        folders = {known.name: known.folder for known in catalogue.known_models(settings)}
    else:
        folders = {model: catalogue.model_folder(settings)}
    if not folders:
        raise ModelNotFound(path=catalogue.models_folder(settings))
    screen = Screen()
    wrong: list[SpamguardError] = []
    for name, folder in folders.items():
        for checked, error in catalogue.verify_model(folder, catalogue.trusted_keys(settings)):
            mark = ("✗", "bold red") if error else ("✓", "bold green")
            screen.say(Text.assemble(mark, f" {name}  {checked}"))
            wrong += [error] if error else []
    if wrong:
        raise wrong[0]


def keygen(
    file: Annotated[Path, typer.Argument(help="file of the secret key; the public one goes beside it, as FILE.pub")],
) -> None:
    """Make a pair of keys: the secret one signs models, the public one is what workers trust.

    Keep the secret key where models are released and nowhere else. Give the workers the printed line, or the .pub file,
    as [bold]SPAMGUARD_MODEL_KEY[/]: from then on they load no model that is not signed. To change keys, let the workers
    trust both, comma-separated, sign again, and then drop the old one.
    """
    public, path = catalogue.new_keys(file)
    screen = Screen(stderr=True)
    screen.say(f"secret key in {file} (only you may read it), public key in {path}")
    print(public)  # noqa: T201 - the one line of output a script may read


def sign(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_REFERENCE)],
    secret: Annotated[
        Path,
        typer.Option(
            "--secret", help="file of the secret key, from spamguard models keygen", envvar="SPAMGUARD_MODEL_SECRET"
        ),
    ],
    models: Models = None,
) -> None:
    """Sign a model that passes every check; the signature lies beside its manifest and covers every file.

    Signing again replaces the signature; the model itself is never touched.
    """
    folder, key = catalogue.sign_model(config.load({"models": models}), model, secret)
    Screen().say(Text.assemble(("✓", "bold green"), f" {folder.parent.name}/{folder.name}  signed by key {key}"))


def promote(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_REFERENCE)],
    reason: Reason,
    role: Role = "champion",
    override: Annotated[
        str | None, typer.Option("--override", help="why to go past a closed gate; kept in the history")
    ] = None,
    who: Who = None,
    models: Models = None,
) -> None:
    """Let an alias stand for a model, once every digest, its normaliser and its self-tests are checked.

    A champion must pass the gate: measured against the present one by [bold]spamguard gate[/] (or compare), and not
    worse beyond the interval on spam caught, good messages blocked, evasive writing, calibration or speed; a first one
    must reach absolute floors. A challenger decides nothing and needs no evidence.

    Running workers that follow the alias swap within their model_poll_s (a second), between two batches; nothing is
    restarted. [bold]spamguard models rollback[/] takes it back.
    """
    settings = config.load({"models": models})
    who = who or who_am_i()
    if override is not None:
        override = _said(override, "--override")
    move, found = catalogue.promote_model(settings, model, alias=role, who=who, reason=_said(reason), override=override)
    screen = Screen()
    _show_findings(screen, found)
    if move is None:
        screen.say(f"{role} already stands for this model; nothing moved")
    else:
        _tell(screen, move.alias, move.source, move.target)


def rollback(
    reason: Reason,
    role: Role = "champion",
    who: Who = None,
    models: Models = None,
) -> None:
    """Let an alias stand again for the model before, which is checked like a new one; again goes one further back.

    The gate has no say: the way back is always open.
    """
    settings = config.load({"models": models})
    move = catalogue.roll_back(settings, alias=role, who=who or who_am_i(), reason=_said(reason))
    _tell(Screen(), move.alias, move.source, move.target)


def order(
    reason: Annotated[str, typer.Option("--reason", help="why; it is shown, logged and kept", show_default=False)],
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="alias, name or name/version")] = None,
    back: Annotated[bool, typer.Option("--back", help="take the order back: the workers' own setting holds")] = False,
    override: Annotated[str | None, typer.Option("--override", help="why to go past a closed gate")] = None,
    who: Who = None,
    models: Models = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
) -> None:
    """Order which model decides, over Kafka: where machines share no folder of models, or an alias cannot be moved.

    The model is checked here as for a promotion, and by every worker before it takes over: one that lacks the model in
    its own folder, or finds it unfit, goes on with the last good one, raises spamguard_model_rejected and logs why. The
    order goes before the alias, outlives restarts, and holds until [bold]spamguard models order --back[/].
    """
    settings = config.load({"models": models, "brokers": brokers, "control_topic": control_topic})
    if (model is None) is not back:
        raise typer.BadParameter("name a model, or take the order back with --back", param_hint="MODEL")
    why, screen = _said(reason), Screen()
    if model is None:
        control.give(settings, MODEL, control.ordered(False, why, who))
        screen.say("no model is ordered: acknowledged, every worker follows its own setting again.")
        return
    name, found = catalogue.fit_for_order(settings, model, override=override)
    _show_findings(screen, found)
    if override is not None:
        why = f"{why} (past the gate: {_said(override, '--override')})"
    control.give(settings, MODEL, msgspec.structs.replace(control.ordered(True, why, who), model=name))
    screen.say(
        f"{name} is ordered: acknowledged; workers that have it swap within a second or two. "
        "See spamguard_model_info and spamguard_model_rejected. Back: spamguard models order --back --reason …"
    )


def _show_findings(screen: Screen, found: Sequence[Finding]) -> None:
    for finding in found:
        mark = ("✓", "bold green") if finding.passed else ("✗", "bold red")
        screen.say(Text.assemble(mark, f" {finding.sentence}"))


def _said(reason: str, option: str = "--reason") -> str:
    """Return a reason that says something."""
    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint=option)
    return reason.strip()


def _tell(screen: Screen, alias: str, before: str | None, after: str) -> None:
    screen.say(Text.assemble((alias, "green"), f": {before or 'nothing'} → ", (after, "bold")))


def history(models: Models = None) -> None:
    """List every move of an alias, oldest first: when, what, from, to, who and why."""
    moves, aliases = catalogue.alias_history(config.load({"models": models}))
    screen = Screen()
    if not moves:
        screen.say("no alias was moved yet")
    table = plain_table()
    for column in ("when", "what", "alias", "from", "to", "who"):
        table.add_column(column, no_wrap=column == "when")
    table.add_column("why", overflow="fold")
    for move in moves:
        why = move.reason if move.override is None else f"{move.reason} · past the gate: {move.override}"
        row = (move.at, move.kind, move.alias, move.source or "–", move.target, move.who, why)
        table.add_row(*(printable(cell) for cell in row))
        if screen.width < NARROW:
            screen.say(printable(f"{move.at}  {move.kind}  {move.alias}: {row[3]} → {move.target}  {move.who}"))
            screen.lay_out(indented(printable(why)))
    if moves and screen.width >= NARROW:
        screen.lay_out(table)
    last = {move.alias: move.target for move in moves}
    for alias in sorted(last):
        if aliases.get(alias) != last[alias]:
            screen.say(f"{alias} stands for {aliases.get(alias, 'nothing')} now: it was moved without this history")


def prune(
    keep: Annotated[
        int, typer.Option(help="how many models each alias stood for before its present one are kept", min=0)
    ] = 3,
    yes: Annotated[bool, typer.Option("--yes", help="remove them; without it nothing is touched")] = False,
    models: Models = None,
) -> None:
    """Remove old models: a dry run unless --yes.

    Kept are whatever an alias stands for, the last --keep models each alias stood for before, so that a rollback finds
    them, and every version newer than those. A removed model is out of the workers' sight at once, and whole.
    """
    going, staying = catalogue.prune_models(config.load({"models": models}), keep=keep, really=yes)
    screen = Screen()
    for name, why in staying:
        screen.say(Text.assemble(("kept     ", "green"), name, (f"  {why}", DIM)))
    for name in going:
        screen.say(Text.assemble(("removed  " if yes else "would go ", "yellow"), name))
    if not going:
        screen.say("nothing to remove")
    elif not yes:
        screen.say("nothing was touched; --yes removes them")
