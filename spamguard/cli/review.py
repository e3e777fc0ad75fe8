"""How do reviewers get their desk, and administrators their accounts, from a shell?"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.table import Table
from rich.text import Text

from spamguard import config, logs
from spamguard.cli.options import KAFKA, Brokers, LogFormat, LogLevel, MetricsHost, MetricsPort, setting
from spamguard.cli.screen import DIM, Screen, printable
from spamguard.config import Settings
from spamguard.errors import DatabaseUnfit
from spamguard.review import demo
from spamguard.review.desk import Desk
from spamguard.review.values import Role
from spamguard.service import process, review

PAGES: Final = "Pages and database"
Database = Annotated[str | None, setting("review_database", PAGES)]
KeyFile = Annotated[Path | None, setting("review_key_file", PAGES)]
Host = Annotated[str | None, setting("review_host", PAGES)]
Port = Annotated[int | None, setting("review_port", PAGES)]
SecureCookies = Annotated[bool | None, setting("review_secure_cookies", PAGES)]
Group = Annotated[str | None, setting("review_group", KAFKA)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="the account's name")]
Number = Annotated[str, typer.Option("--number", help="the subscriber's number", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add `review` and `audit`."""
    desk = typer.Typer(
        invoke_without_command=True,
        help="Serve the pages for reviewers and front-line staff.",
    )
    desk.callback()(serve)
    users = typer.Typer(no_args_is_help=True, help="Make accounts, list them, give them new passwords.")
    users.command("add")(add_user)
    users.command("list")(list_users)
    users.command("reset-password")(reset_password)
    users.command("disable")(disable_user)
    users.command("enable")(enable_user)
    desk.add_typer(users, name="users")
    tokens = typer.Typer(no_args_is_help=True, help="Make and revoke tokens for the systems of a call centre.")
    tokens.command("add")(add_token)
    tokens.command("list")(list_tokens)
    tokens.command("revoke")(revoke_token)
    desk.add_typer(tokens, name="tokens")
    subject = typer.Typer(no_args_is_help=True, help="Give a subscriber what is kept about them, or delete it.")
    subject.command("export")(export_subject)
    subject.command("erase")(erase_subject)
    desk.add_typer(subject, name="subject")
    desk.command("check")(check)
    desk.command("sweep")(sweep)
    app.add_typer(desk, name="review")
    audit = typer.Typer(no_args_is_help=True, help="Check the log of who did and saw what in the review pages.")
    audit.command("verify")(verify)
    audit.command("head")(head)
    app.add_typer(audit, name="audit")
    labels = typer.Typer(no_args_is_help=True, help="Write reviewers' verdicts as training rows.")
    labels.command("export")(export_labels)
    app.add_typer(labels, name="labels")


def serve(
    ctx: typer.Context,
    with_demo: Annotated[
        bool, typer.Option("--demo", help="invented weeks of work in a database that is gone afterwards; no Kafka")
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="pages alone; another process reads the topics")
    ] = False,
    review_database: Database = None,
    review_key_file: KeyFile = None,
    review_host: Host = None,
    review_port: Port = None,
    review_secure_cookies: SecureCookies = None,
    brokers: Brokers = None,
    review_group: Group = None,
    metrics_host: MetricsHost = None,
    metrics_port: MetricsPort = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Serve the pages, read review copies from Kafka, and publish releases and labels, until stopped.

    Try it: [bold]spamguard review --demo[/]. In earnest, make the first account before: [bold]spamguard review users
    add NAME --role admin[/]. Behind the pages belongs a proxy that speaks TLS; then set --review-secure-cookies.
    """
    if ctx.invoked_subcommand is not None:
        return
    given = {name: value for name, value in ctx.params.items() if name not in ("with_demo", "no_stream")}
    settings = config.load(given)
    logs.configure("warning" if with_demo and log_level is None else settings.log_level, settings.log_format)
    if with_demo:
        _demo(settings)
        return
    one = review.service(settings, stream=not no_stream)
    server = review.metrics_server(one)
    try:
        _run(one)
    finally:
        server.close()
        one.desk.close()


def _demo(settings: Settings) -> None:
    screen = Screen(stderr=True)
    screen.say("Making up some weeks of work…", DIM)
    with review.demo_service(settings) as one:

        def tell() -> None:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
            for name, role in demo.PEOPLE.items():
                table.add_row(Text(name, "bold"), str(role))
            screen.say(Text(f"http://{settings.review_host}:{one.port}/", "bold underline"))
            screen.say(f"Log in as one of these; everybody's password is: {demo.DEMO_PASSWORD}")
            screen.lay_out(table)
            screen.say("Ctrl-C ends it, and nothing is kept.", DIM)

        _run(one, tell)


def _run(one: review.ReviewService, tell: Callable[[], None] = lambda: None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, one.stop)
        await one.run(on_serving=tell)

    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        runner.run(main())


@contextmanager
def _desk(database: str | None, keys: Path | None, *, create: bool = False) -> Iterator[Desk]:
    """Yield the desk a command works at; its library's log lines would only be in the way.

    Looking makes no database: a new one in the wrong folder has a whole audit log, and no labels to export.
    """
    logs.configure("error", "text")
    settings = config.load({"review_database": database, "review_key_file": keys})
    file = review.database_file(settings)
    if not create and file is not None and not file.exists():
        raise DatabaseUnfit(
            detail=f"there is no file {file}; --review-database names another one, and "
            "`spamguard review users add NAME --role admin` makes it"
        )
    desk = review.open_desk(settings)
    try:
        yield desk
    finally:
        desk.close()


def add_user(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="what the person may do")] = Role.REVIEWER,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Make an account and print its first password, which holds for one login."""
    with _desk(review_database, review_key_file, create=True) as desk:
        person, password = desk.people.add(name, role)
    screen = Screen()
    screen.say(f"{person.name} ({person.role}) can log in with this password, and must then choose another:")
    screen.say(Text(password, "bold"))


def list_users(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """List the accounts with role, state and last login."""
    with _desk(review_database, review_key_file) as desk:
        people = desk.people.list()
    table = _table("name", "role", "state", "last login")
    for person in people:
        state = Text("active", "green") if person.active else Text("disabled", "red")
        if person.active and person.must_change:
            state = Text("must choose a password", "yellow")
        table.add_row(person.name, str(person.role), state, _when(person.last_login_ms))
    screen = Screen()
    screen.lay_out(table)
    if not people:
        screen.say("There is no account yet: spamguard review users add NAME --role admin")


def reset_password(name: Name, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Print a new password for an account, which holds for one login; its sessions end."""
    with _desk(review_database, review_key_file) as desk:
        password = desk.people.reset_password(name)
    screen = Screen()
    screen.say(f"{printable(name)} can log in with this password, and must then choose another:")
    screen.say(Text(password, "bold"))


def disable_user(name: Name, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Switch an account off; its sessions end at once."""
    with _desk(review_database, review_key_file) as desk:
        desk.people.set_active(name, False)
    Screen().say(f"{printable(name)} is switched off.")


def enable_user(name: Name, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Switch an account on again."""
    with _desk(review_database, review_key_file) as desk:
        desk.people.set_active(name, True)
    Screen().say(f"{printable(name)} is switched on.")


def add_token(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="which system it is for")],
    role: Annotated[Role, typer.Option("--role", help="what the system may do")] = Role.AGENT,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Print a new token, which is stored nowhere: Authorization: Bearer TOKEN."""
    with _desk(review_database, review_key_file) as desk:
        token = desk.people.api_token(label, role)
    Screen().say(token)


def list_tokens(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """List the tokens with role and last use, never themselves."""
    with _desk(review_database, review_key_file) as desk:
        tokens = desk.people.api_tokens()
    table = _table("for", "role", "made", "last used")
    for label, role, made, used in tokens:
        table.add_row(printable(label), str(role), _when(made), _when(used))
    Screen().lay_out(table)


def revoke_token(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="which system it was for")],
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """End a token at once."""
    with _desk(review_database, review_key_file) as desk:
        desk.people.revoke_token(label)
    Screen().say(f"The token of {printable(label)} is revoked.")


def export_subject(number: Number, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Print as JSON everything that is kept about a number: messages, decisions, cases, list entries, notes."""
    with _desk(review_database, review_key_file) as desk:
        typer.echo(json.dumps(desk.retention.export(number), ensure_ascii=False, indent=2))


def erase_subject(
    number: Number,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Delete everything that is kept about a number; messages that wait for release are then not released.

    Where somebody typed it into a note, an answer or a case, stars take its place. List entries that name it and still
    act are counted and stay: withdraw them first.
    """
    if not yes:
        typer.confirm("Delete every message and case of this number for good?", abort=True)
    with _desk(review_database, review_key_file) as desk:
        gone = desk.retention.erase(number)
    screen = Screen()
    screen.say(
        f"Deleted: {gone.decisions} messages, {gone.items} items; {gone.cases} cases and {gone.entries} list entries "
        f"emptied; covered in {gone.notes} notes."
    )
    if gone.held:
        screen.say(
            f"{gone.held} list entries still act on the number; withdraw them on the page List entries and erase again",
            "yellow",
        )


def check(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Say where the database stands: its tables, its keys, its audit log, what waits."""
    with _desk(review_database, review_key_file) as desk:
        now, last = desk.database.revision()
        verified = desk.audit.verify()
        table = _table("", "")
        table.add_row("tables", f"step {now} of {last}")
        table.add_row("keys", f"version {desk.vault.newest} encrypts")
        table.add_row("audit log", f"{_rows(verified.rows)}, " + ("whole" if verified.broken_at is None else "BROKEN"))
        table.add_row("backlog", f"{desk.store.backlog()} items nobody has read")
        table.add_row("outbox", f"{desk.outbox.waiting()} records to publish")
        table.add_row("overdue", f"{desk.cases.overdue()} cases")
    Screen().lay_out(table)
    if verified.broken_at is not None:
        raise typer.Exit(1)


def sweep(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Delete what is older than the retention, now; the service does it every hour."""
    with _desk(review_database, review_key_file) as desk:
        gone = desk.retention.sweep()
    Screen().say(f"Deleted: {gone.decisions} messages, {gone.items} items; {gone.cases} cases emptied.")


def verify(
    head_hash: Annotated[
        str | None, typer.Option("--head", help="a head that was logged: it must still be there", metavar="HASH")
    ] = None,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Check that no row of the audit log was changed, taken out or put in; exit code 1 when one was."""
    with _desk(review_database, review_key_file) as desk:
        found = desk.audit.verify(head=head_hash)
    screen = Screen()
    if found.broken_at is None:
        screen.say(Text.assemble(("whole", "green"), f": {_rows(found.rows)}, head {found.head}"))
        return
    screen.say(Text.assemble(("BROKEN", "bold red"), f" at row {found.broken_at}: {found.why}"))
    raise typer.Exit(1)


def head(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Print the number and hash of the last row; keep it elsewhere, and `verify --head` shows it later."""
    with _desk(review_database, review_key_file) as desk:
        seq, last = desk.audit.head()
    Screen().say(f"{seq} {last}")


def export_labels(
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="file to write; standard output when left out")
    ] = None,
    form: Annotated[
        Literal["corpus", "overlay"],
        typer.Option("--format", help="corpus: rows with texts, for train; overlay: ids and labels alone"),
    ] = "corpus",
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Write a JSON line for each item whose verdict holds: label, category, reader, time, trust.

    What waits for a second reader, or is disputed, is left out; a complaint is never a label.

      $ spamguard labels export -o verdicts.jsonl && spamguard train verdicts.jsonl …
    """
    count = 0
    with _desk(review_database, review_key_file) as desk:
        stream = sys.stdout.buffer if output is None else output.open("wb")
        try:
            for line in desk.labels.export(None, form):
                stream.write(line)
                count += 1
        finally:
            if output is not None:
                stream.close()
    if output is not None:
        Screen(stderr=True).say(f"{_rows(count)} in {output}")
    elif not count:
        Screen(stderr=True).say("no verdict holds yet: nothing to write")


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _when(ms: int | None) -> str:
    return "never" if ms is None else datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
