"""How do reviewers get their desk, and administrators their accounts, from a shell?"""

import asyncio
import json
import signal
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from spamguard import config, logs
from spamguard.cli.desk import PAGES, Database, KeyFile, opened_desk, rows_said
from spamguard.cli.options import KAFKA, Brokers, LogFormat, LogLevel, MetricsHost, MetricsPort, setting
from spamguard.cli.screen import DIM, Screen, plain_table, printable
from spamguard.config import Settings
from spamguard.review import demo
from spamguard.review.values import Role
from spamguard.service import process, review

Host = Annotated[str | None, setting("review_host", PAGES)]
Port = Annotated[int | None, setting("review_port", PAGES)]
SecureCookies = Annotated[bool | None, setting("review_secure_cookies", PAGES)]
Group = Annotated[str | None, setting("review_group", KAFKA)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="the account's name")]
Number = Annotated[str, typer.Option("--number", help="the subscriber's number", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add `review` with all its commands."""
    desk = typer.Typer(invoke_without_command=True)
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
    """Serve the pages for reviewers and front-line staff.

    Until it is stopped it also reads review copies from Kafka, and publishes releases and labels. In earnest, make the
    first account before. In front of the pages belongs a proxy that speaks TLS; then set --review-secure-cookies.

      $ spamguard review --demo
      $ spamguard review users add NAME --role admin
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
            table = plain_table("", "")
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


def add_user(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="what the person may do")] = Role.REVIEWER,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Make an account and print its first password, which holds for one login."""
    with opened_desk(review_database, review_key_file, create=True) as desk:
        person, password = desk.people.add(name, role)
    screen = Screen()
    screen.say(f"{person.name} ({person.role}) can log in with this password, and must then choose another:")
    screen.say(Text(password, "bold"))


def list_users(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """List the accounts with role, state and last login."""
    with opened_desk(review_database, review_key_file) as desk:
        people = desk.people.list()
    table = plain_table("name", "role", "state", "last login")
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
    with opened_desk(review_database, review_key_file) as desk:
        password = desk.people.reset_password(name)
    screen = Screen()
    screen.say(f"{printable(name)} can log in with this password, and must then choose another:")
    screen.say(Text(password, "bold"))


def disable_user(name: Name, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Switch an account off; its sessions end at once."""
    with opened_desk(review_database, review_key_file) as desk:
        desk.people.set_active(name, False)
    Screen().say(f"{printable(name)} is switched off.")


def enable_user(name: Name, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Switch an account on again."""
    with opened_desk(review_database, review_key_file) as desk:
        desk.people.set_active(name, True)
    Screen().say(f"{printable(name)} is switched on.")


def add_token(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="which system it is for")],
    role: Annotated[Role, typer.Option("--role", help="what the system may do")] = Role.AGENT,
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """Print a new token, which is stored nowhere: Authorization: Bearer TOKEN."""
    with opened_desk(review_database, review_key_file) as desk:
        token = desk.tokens.add(label, role)
    Screen().say(token)


def list_tokens(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """List the tokens with role and last use, never themselves."""
    with opened_desk(review_database, review_key_file) as desk:
        tokens = desk.tokens.all()
    table = plain_table("for", "role", "made", "last used")
    for label, role, made, used in tokens:
        table.add_row(printable(label), str(role), _when(made), _when(used))
    Screen().lay_out(table)


def revoke_token(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="which system it was for")],
    review_database: Database = None,
    review_key_file: KeyFile = None,
) -> None:
    """End a token at once."""
    with opened_desk(review_database, review_key_file) as desk:
        desk.tokens.revoke(label)
    Screen().say(f"The token of {printable(label)} is revoked.")


def export_subject(number: Number, review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Print as JSON everything that is kept about a number: messages, decisions, cases, list entries, notes."""
    with opened_desk(review_database, review_key_file) as desk:
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
    with opened_desk(review_database, review_key_file) as desk:
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
    with opened_desk(review_database, review_key_file) as desk:
        now, last = desk.database.revision()
        verified = desk.audit.verify()
        table = plain_table("", "")
        table.add_row("tables", f"step {now} of {last}")
        table.add_row("keys", f"version {desk.vault.newest} encrypts")
        table.add_row(
            "audit log", f"{rows_said(verified.rows)}, " + ("whole" if verified.broken_at is None else "BROKEN")
        )
        table.add_row("backlog", f"{desk.store.backlog()} items nobody has read")
        table.add_row("outbox", f"{desk.outbox.waiting()} records to publish")
        table.add_row("overdue", f"{desk.cases.overdue()} cases")
    Screen().lay_out(table)
    if verified.broken_at is not None:
        raise typer.Exit(1)


def sweep(review_database: Database = None, review_key_file: KeyFile = None) -> None:
    """Delete what is older than the retention, now; the service does it every hour."""
    with opened_desk(review_database, review_key_file) as desk:
        gone = desk.retention.sweep()
    Screen().say(f"Deleted: {gone.decisions} messages, {gone.items} items; {gone.cases} cases emptied.")


def _when(ms: int | None) -> str:
    return "never" if ms is None else datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
