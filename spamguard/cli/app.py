"""Which commands are there, and what does one of them cost to start?

Only the table below is read at the start. A command's module, and with it numpy, Kafka's client or scikit-learn, is
imported when that command is asked for; so `--help`, completion and a usage error answer at once. A module offers its
commands by a function `register(app)`; packages outside this one do the same through the entry-point group
`spamguard.commands`.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group

from spamguard.errors import MissingExtra

ENTRY_POINTS: Final = "spamguard.commands"

START: Final = "Start here"
RUN: Final = "Run the filter"
STEER: Final = "Steer it while it runs"
REVIEW: Final = "Review and complaints"
MODELS: Final = "Models in use"
TRAIN: Final = "Train and compare"


class Command(NamedTuple):
    """What is to know of a command before it is loaded."""

    panel: str
    sentence: str  #: the first sentence of its help
    module: str | None  #: where its `register` is; None for an entry point


#: The sentences fit on one line of a terminal of 80 columns, so that the whole list can be taken in at a glance.
COMMANDS: Final = {
    "demo": Command(START, "Watch the filter at work on invented messages, here and now.", "spamguard.cli.demo"),
    "explain": Command(START, "Show why a text gets its decision.", "spamguard.cli.explain"),
    "score": Command(START, "Judge texts, or a file of messages, without a broker.", "spamguard.cli.score"),
    "check": Command(RUN, "Check what the service needs, with the next step for each.", "spamguard.cli.check"),
    "serve": Command(RUN, "Read messages from Kafka and publish decisions until stopped.", "spamguard.cli.serve"),
    "gateway": Command(RUN, "Answer HTTP requests for decisions until stopped.", "spamguard.cli.gateway"),
    "config": Command(RUN, "Look at the settings.", "spamguard.cli.settings"),
    "loadgen": Command(RUN, "Send invented traffic; report what was decided, lost and late.", "spamguard.cli.loadgen"),
    "dead-letters": Command(RUN, "List and replay records that got no decision.", "spamguard.cli.dead_letters"),
    "allow-all": Command(STEER, "Stop all blocking, on every worker, within two seconds.", "spamguard.cli.control"),
    "mode": Command(STEER, "Switch to observe or enforce, for all or for one tenant.", "spamguard.cli.control"),
    "breaker": Command(STEER, "Close a tenant's breaker, or turn all breakers off.", "spamguard.cli.control"),
    "policy": Command(STEER, "Check a policy file, and show which decisions it would change.", "spamguard.cli.policy"),
    "lists": Command(STEER, "Block, allow or review by sender, host, contact, pattern, ….", "spamguard.cli.lists"),
    "review": Command(REVIEW, "Serve the pages for reviewers and front-line staff.", "spamguard.cli.review"),
    "labels": Command(REVIEW, "Write reviewers' verdicts as training rows.", "spamguard.cli.labels"),
    "audit": Command(REVIEW, "Check the log of who did and saw what in the review pages.", "spamguard.cli.audit"),
    "models": Command(MODELS, "List, show, verify and sign models; say which one decides.", "spamguard.cli.models"),
    "replay": Command(MODELS, "Show what another model or policy would have decided.", "spamguard.cli.replay"),
    "drift": Command(MODELS, "Show whether traffic still looks like what the model knows.", "spamguard.cli.drift"),
    "train": Command(TRAIN, "Train a model from labelled messages, and write its card.", None),
    "evaluate": Command(TRAIN, "Measure a model on labelled messages it has not seen.", None),
    "compare": Command(TRAIN, "Compare two models on the same messages: who is right where.", None),
    "gate": Command(TRAIN, "Measure whether a model may become the champion.", None),
    "retrain": Command(TRAIN, "Train again, measure, make it the challenger: for cron.", None),
    "cutoffs": Command(TRAIN, "Show what each budget blocks, and the cutoff that costs least.", None),
    "audit-labels": Command(TRAIN, "Find the labels most likely wrong, for a person to read.", None),
}
#: Packages that two extras bring: the one that is meant has the command's name.
SHARED: Final = frozenset(("starlette", "uvicorn"))
#: Packages that only one extra brings, by its name.
EXTRAS: Final = {
    "sklearn": "train",
    "scipy": "train",
    "joblib": "train",
    "matplotlib": "train",
    "spamguard_training": "train",
    "sqlalchemy": "review",
    "alembic": "review",
    "argon2": "review",
    "psycopg": "review",
    "jinja2": "review",
}

_HELP: Final = """
Filter spam SMS in the stream: Chinese first, English too; every decision says why.

Begin with [bold]spamguard demo[/]. Settings come from options, else SPAMGUARD_… variables, else spamguard.toml;
[bold]spamguard config show[/] tells which.
"""
_EPILOG: Final = """
[bold]Exit codes[/]
  0 ok · 1 some inputs were errors, or messages lost · 2 usage · 3 settings
  4 model · 5 broker or topics · 6 data · 7 missing extra · 8 gate closed
  9 another one is running · 10 review · 70 a fault of ours · 130 Ctrl-C
"""
#: What Python calls the types of options, and what a person does.
_TYPE_WORDS: Final = {"str": "text", "int": "number", "float": "number", "Path": "path"}


class CommandGroup(TyperGroup):
    """The root of the command line: it lists the table, and loads what is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is meant, loaded. Raises MissingExtra when its package is not installed."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        try:
            command = load(name)
        except ImportError as error:
            if not ctx.resilient_parsing:  # completion: better no options than a traceback in somebody's prompt
                raise _missing(error, name) from error
        _plain(command, ctx)
        if not {"-h", "--help"}.isdisjoint(rest):
            _fold_long_words()
        return name, command, rest

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the root's own options."""
        return _plain_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a package that it misses half-way is a missing extra too."""
        try:
            return super().invoke(ctx)
        except ImportError as error:
            raise _missing(error, ctx.invoked_subcommand or "") from error
        except BrokenPipeError:
            raise _ReaderGone from None


class _ReaderGone(BrokenPipeError):
    """A broken pipe without an errno: Typer ends the process by itself on the one that has it."""


def _missing(error: ImportError, command: str) -> Exception:
    """Return the missing extra that explains a failed import, or the failure itself."""
    package = (error.name or "").partition(".")[0]
    extra = command if package in SHARED else EXTRAS.get(package)
    return error if extra is None else MissingExtra(command=f"spamguard {command}", extra=extra)


def load(name: str) -> Any:
    """Return a command, its module imported. Raises ImportError, and MissingExtra when no package offers it."""
    module = COMMANDS[name].module
    holder = typer.Typer()
    if module is not None:
        import_module(module).register(holder)
    else:
        for entry_point in entry_points(group=ENTRY_POINTS):
            entry_point.load()(holder)
    commands = get_group(holder).commands if holder.registered_commands or holder.registered_groups else {}
    if name not in commands:
        raise MissingExtra(command=f"spamguard {name}", extra="train")
    return commands[name]


def _plain(command: Any, ctx: typer.Context) -> None:
    """Mend what Typer's help makes of a command: lines of a paragraph are joined, except those set in."""
    command.help = _joined(command.help or "")
    _plain_flags(command.get_params(ctx))
    for inner in getattr(command, "commands", {}).values():
        _plain(inner, ctx)


def _plain_flags(params: list[Any]) -> list[Any]:
    """Return the parameters: a flag takes no value, so its help shows no <bool>; arguments shout; types have words."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        elif param.param_type_name == "argument" and param.metavar is None:
            param.metavar = param.name.upper()
        if not isinstance(getattr(param, "display_type_rich", None), partial | None):
            param.display_type_rich = partial(_type_in_words, param.display_type_rich)
    return params


def _type_in_words(told: Callable[..., str | None], ctx: Any) -> str | None:
    """Return the type of a value for people: of many values that of one, and no bounds, which stand beside it."""
    said = told(ctx=ctx)
    if said is None or "|" in said:
        return said
    bare = said.strip("<>").removesuffix(" range")
    repeated = bare.startswith("list[")
    bare = bare.removeprefix("list[").removesuffix("]")
    return f"<{_TYPE_WORDS.get(bare, bare)}>{'…' if repeated else ''}" if bare else said


@cache
def _fold_long_words() -> None:
    """Once, let Rich break a word that is wider than its column, where it would cut a setting's variable short."""
    from typer import rich_utils

    made = getattr(rich_utils, "_make_rich_text", None)  # Typer offers no other way in
    if made is None:
        return

    def folded(**given: Any) -> Any:
        text = made(**given)
        text.overflow = "fold"
        return text

    rich_utils._make_rich_text = folded


def _joined(text: str) -> str:
    r"""Return a help text with each paragraph on one line, which Rich wraps to the terminal's width.

    >>> _joined("one\ntwo\n\n  kept\n  kept")
    'one two\n\n  kept\n  kept'
    """
    paragraphs = text.strip("\n").split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else part.replace("\n", " ") for part in paragraphs)


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help=_joined(_HELP),
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from spamguard import __version__

        typer.echo(f"spamguard {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and exit", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Stand for the root command, which only has options."""


def _placeholder() -> None:
    """Stand in the list for a command that is not loaded yet."""


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.sentence, rich_help_panel=_command.panel)(_placeholder)
