"""What is every setting worth here, and who said so?"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from spamguard import config
from spamguard.cli.screen import DIM, Screen, plain_table
from spamguard.errors import ConfigError

COVERED: Final = "••••"


def register(app: typer.Typer) -> None:
    """Add `config show`."""
    group = typer.Typer(no_args_is_help=True, help="Look at the settings.")
    group.command("show")(show)
    app.add_typer(group, name="config")


def show(
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="try values, as if the command line had given them"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print them as JSON")] = False,
) -> None:
    """Show every setting: its value, where it came from, and what it means.

    A value comes from the command line, else from SPAMGUARD_<NAME>, else from the file that SPAMGUARD_CONFIG names (or
    spamguard.toml here), else from the default. Passwords are covered.
    """
    overrides = dict(map(_pair, assignments or ()))
    settings = config.load(overrides)
    origins = {name: origin for name, (_, origin) in config.gather(overrides).items()}
    rows = [
        {
            "name": name,
            "value": _shown(name, getattr(settings, name)),
            "from": origins.get(name, "default"),
            "description": field.description,
        }
        for name, field in config.Settings.model_fields.items()
    ]
    if as_json:
        typer.echo(json.dumps({"settings": rows}, ensure_ascii=False, indent=2))
        return
    table = plain_table()
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    table.add_column("what it is", style=DIM)
    for row in rows:
        given = row["from"] != "default"
        value = "unset" if row["value"] is None else str(row["value"])
        table.add_row(
            Text(str(row["name"]), style="bold"),
            Text(value, style="cyan" if given else ""),
            Text(str(row["from"]), style="cyan" if given else DIM),
            str(row["description"]),
        )
    Screen().lay_out(table)


def _pair(assignment: str) -> tuple[str, str]:
    name, sign, value = assignment.partition("=")
    if not sign:
        raise ConfigError(detail=f"'{name}' is not NAME=VALUE")
    return name.strip().replace("-", "_"), value


def _shown(name: str, value: Any) -> Any:
    """Return a value as JSON can carry it; a secret is covered, of a database's address the password alone."""
    if value is not None and not config.Settings.model_fields[name].repr:
        return _address(value) if name == "review_database" else COVERED
    return str(value) if isinstance(value, (str, Path)) else value


def _address(url: str) -> str:
    """Return a database's address without what could be a secret.

    >>> _address("postgresql://ann:secret@db/review?password=secret")
    'postgresql://ann:••••@db/review?••••'
    """
    covered = re.sub(r"(//[^:/@]*:).*@", rf"\1{COVERED}@", url)
    address, asked, _ = covered.partition("?")
    return address + (asked and f"?{COVERED}")
